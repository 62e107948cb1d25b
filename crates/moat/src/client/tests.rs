//! Against a broker in this process.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;

use clap::Parser;
use moat_codec::{Limits, QoS, TopicFilter};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::certs::{Authority, Validity, write_private};

use super::{ClientError, ConnectArgs, Session};
use crate::data_folder::DataPlace;
use crate::output::Output;

const PASSWORD: &str = "correct horse battery";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Connects as the command line says, with an empty data folder unless it names a CA.
fn connect(arguments: &[&str]) -> Result<Session, String> {
    connect_in(Path::new("no-such-data-folder"), arguments)
}

fn connect_in(data: &Path, arguments: &[&str]) -> Result<Session, String> {
    let arguments = std::iter::once(&"test")
        .chain(arguments)
        .map(OsString::from);
    let line = Line::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let place = DataPlace::new(data.to_owned(), None);
    line.connect
        .connect(&place, &Output::new(true))
        .map_err(|failure| failure.text())
}

fn refusal(arguments: &[&str]) -> String {
    match connect(arguments) {
        Ok(_) => panic!("{arguments:?} was let in"),
        Err(text) => text,
    }
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text, &Limits::generous()).unwrap()
}

fn url(broker: &TestBroker, transport: Transport) -> String {
    let scheme = if transport.is_tls() { "mqtts" } else { "mqtt" };
    format!("{scheme}://{}", broker.address(transport))
}

/// The CA of the broker, as a file.
fn ca(broker: &TestBroker) -> String {
    let path = broker.folder().join("trusted.crt");
    write_private(&path, broker.authority.pem());
    path.to_str().unwrap().to_owned()
}

/// Everything a device needs, in a folder of its own.
fn device(broker: &TestBroker, authority: &Authority, validity: Validity) -> String {
    let folder = broker.folder().join("press-1");
    std::fs::create_dir(&folder).unwrap();
    authority
        .client_valid("press-1", validity)
        .write(&folder, "press-1");
    write_private(&folder.join("ca.crt"), broker.authority.pem());
    let settings = serde_json::json!({
        "enable": true, "url": url(broker, Transport::Tls), "skip_cn_check": false, "client_id": "press-1",
    });
    write_private(&folder.join("press-1.json"), &settings.to_string());
    folder.to_str().unwrap().to_owned()
}

#[test]
fn messages_arrive_at_every_qos_in_both_versions_with_and_without_tls() {
    let broker = TestBroker::builder().shards(2).start();
    let ca = ca(&broker);
    for transport in [Transport::Plain, Transport::Tls] {
        for version in [&[][..], &["--v311"]] {
            let url = url(&broker, transport);
            let arguments = [&["--url", &url, "--ca", &ca], version].concat();
            let mut subscriber = connect(&arguments).unwrap();
            subscriber
                .subscribe(&[filter("a/+"), filter("b")], QoS::ExactlyOnce)
                .unwrap();
            let mut publisher = connect(&arguments).unwrap();
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for topic in ["a/1", "b"] {
                    publisher
                        .publish(topic, topic.as_bytes(), qos, false)
                        .unwrap();
                    let message = subscriber.message().unwrap();
                    assert_eq!(
                        (&*message.topic, &*message.payload, message.qos),
                        (topic, topic.as_bytes(), qos)
                    );
                }
            }
            publisher.close();
            subscriber.close();
        }
    }
    broker.stop();
}

#[test]
fn what_was_published_last_is_not_lost_by_closing() {
    let broker = TestBroker::builder()
        .limits(|limits| limits.publishes_per_sec_max = 0)
        .start();
    let url = url(&broker, Transport::Plain);
    let mut subscriber = connect(&["--url", &url]).unwrap();
    subscriber
        .subscribe(&[filter("t")], QoS::AtMostOnce)
        .unwrap();
    let mut publisher = connect(&["--url", &url]).unwrap();
    for number in 0..1000_u32 {
        publisher
            .publish("t", &number.to_be_bytes(), QoS::AtMostOnce, false)
            .unwrap();
    }
    publisher.close();
    for number in 0..1000_u32 {
        assert_eq!(subscriber.message().unwrap().payload, number.to_be_bytes());
    }
    subscriber.close();
    broker.stop();
}

#[test]
fn the_data_folder_says_whom_to_trust() {
    let broker = TestBroker::builder().start();
    let pki = broker.folder().join("pki");
    std::fs::create_dir(&pki).unwrap();
    write_private(&pki.join("ca.crt"), broker.authority.pem());
    let port = broker.tls.port().to_string();
    connect_in(broker.folder(), &["-H", "127.0.0.1", "-p", &port])
        .unwrap()
        .close();
    connect_in(
        broker.folder(),
        &["--url", &format!("mqtts://localhost:{port}")],
    )
    .unwrap()
    .close();
    assert!(refusal(&["-H", "127.0.0.1", "-p", &port]).contains("--ca FILE"));
    broker.stop();
}

#[test]
fn a_device_is_let_in_with_its_folder_and_held_to_its_own_topics() {
    let broker = TestBroker::builder()
        .identity_required()
        .built_in_policy()
        .start();
    let folder = device(&broker, &broker.authority, Validity::Now);
    for version in [&[][..], &["--v311"]] {
        let mut session = connect(&[&["--device", &*folder], version].concat()).unwrap();
        session
            .subscribe(&[filter("devices/press-1/#")], QoS::AtLeastOnce)
            .unwrap();
        session
            .publish("devices/press-1/state", b"on", QoS::AtLeastOnce, false)
            .unwrap();
        assert_eq!(session.message().unwrap().payload, b"on");
        let refused = session
            .subscribe(
                &[filter("devices/press-1/#"), filter("devices/#")],
                QoS::AtMostOnce,
            )
            .unwrap_err();
        assert!(
            refused.to_string().contains("devices/#") && refused.to_string().contains("log"),
            "{refused}"
        );
        let published = session.publish("devices/press-2/state", b"on", QoS::ExactlyOnce, false);
        // 3.1.1 has no way to say so.
        assert_eq!(published.is_err(), version.is_empty());
        if let Err(refused) = published {
            assert!(
                refused
                    .to_string()
                    .contains("not authorized (0x87); the broker's log names the rule"),
                "{refused}"
            );
        }
        session.close();
    }
    broker.stop();
}

#[test]
fn a_user_is_let_in_with_the_right_password_only() {
    let broker = TestBroker::builder()
        .identity_required()
        .user("anna", PASSWORD)
        .start();
    let (ca, url) = (ca(&broker), url(&broker, Transport::Tls));
    let file = broker.folder().join("password");
    let file = file.to_str().unwrap();
    let arguments = [
        "--url",
        &url,
        "--ca",
        &ca,
        "--user",
        "anna",
        "--password-file",
        file,
    ];
    for version in [&[][..], &["--v311"]] {
        write_private(file.as_ref(), &format!("{PASSWORD}\n"));
        connect(&[&arguments[..], version].concat())
            .unwrap()
            .close();
        write_private(file.as_ref(), "another horse battery\n");
        let refused = refusal(&[&arguments[..], version].concat());
        assert!(
            refused.contains("bad user name or password") && refused.contains("moat user passwd"),
            "{refused}"
        );
        assert!(!refused.contains("another horse"), "{refused}");
    }
    let nobody = refusal(&["--url", &url, "--ca", &ca]);
    assert!(
        nobody.contains("not authorized (0x87)") && nobody.contains("--device DIR"),
        "{nobody}"
    );
    broker.stop();
}

#[test]
fn a_certificate_the_broker_does_not_take_is_named_as_the_cause() {
    for (validity, own, cause) in [
        (Validity::Expired, true, "it has expired"),
        (Validity::Now, false, "does not know the CA"),
    ] {
        let broker = TestBroker::builder().identity_required().start();
        let stranger = Authority::new("stranger");
        let folder = device(
            &broker,
            if own { &broker.authority } else { &stranger },
            validity,
        );
        let refused = refusal(&["--device", &folder]);
        assert!(
            refused.contains("refused this client's certificate") && refused.contains(cause),
            "{refused}"
        );
        broker.stop();
    }
}

#[test]
fn a_broker_of_another_ca_is_not_trusted() {
    let broker = TestBroker::builder().start();
    let file = broker.folder().join("other.crt");
    write_private(&file, Authority::new("other").pem());
    let refused = refusal(&[
        "--url",
        &url(&broker, Transport::Tls),
        "--ca",
        file.to_str().unwrap(),
    ]);
    assert!(
        refused.contains("not trusted: another CA issued it") && refused.contains("--ca FILE"),
        "{refused}"
    );
    broker.stop();
}

#[test]
fn a_broker_under_another_name_is_not_trusted() {
    let broker = TestBroker::builder().start();
    // The name resolves to 127.0.0.2, which is loopback as well, but not in the certificate.
    let refused = refusal(&[
        "--url",
        &format!("mqtts://127.0.0.2:{}", broker.tls.port()),
        "--ca",
        &ca(&broker),
    ]);
    // The broker of the test listens on 127.0.0.1 only.
    assert!(refused.contains("nobody listens at 127.0.0.2"), "{refused}");
    let error = rustls::CertificateError::NotValidForNameContext {
        expected: "other".try_into().unwrap(),
        presented: vec![
            "DnsName(\"localhost\")".to_owned(),
            "IpAddress(127.0.0.1)".to_owned(),
        ],
    };
    let error = std::io::Error::other(rustls::Error::InvalidCertificate(error));
    let text = ClientError::of_io(&error, &"mqtts://other".parse().unwrap(), 1).to_string();
    assert!(
        text.contains("is for other names: localhost, 127.0.0.1; connect by one of them"),
        "{text}"
    );
    broker.stop();
}

#[test]
fn a_port_where_nobody_listens_says_what_to_check() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = refusal(&["--url", &format!("mqtt://127.0.0.1:{port}")]);
    assert!(
        refused.contains("nobody listens at 127.0.0.1") && refused.contains("moat status"),
        "{refused}"
    );
}

#[test]
fn tls_and_plain_ports_are_told_apart() {
    let broker = TestBroker::builder().start();
    let refused = refusal(&[
        "--url",
        &format!("mqtts://{}", broker.plain),
        "--ca",
        &ca(&broker),
    ]);
    assert!(
        refused.contains("does not speak TLS") || refused.contains("closed the connection"),
        "{refused}"
    );
    let refused = refusal(&["--url", &format!("mqtt://{}", broker.tls)]);
    assert!(refused.contains("say mqtts://"), "{refused}");
    broker.stop();
}

#[test]
fn waiting_ends_when_it_is_stopped_or_the_broker_goes() {
    let broker = TestBroker::builder().start();
    let (ca, url) = (ca(&broker), url(&broker, Transport::Tls));
    let mut waiting = connect(&["--url", &url, "--ca", &ca]).unwrap();
    let stopper = waiting.stopper().unwrap();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| stopper.stop());
        waiting.message().unwrap_err()
    });
    assert_eq!(stopped, ClientError::Stopped);
    waiting.close();
    let mut left = connect(&["--url", &url, "--ca", &ca]).unwrap();
    let ended = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| broker.stop());
        let ended = left.message().unwrap_err();
        drop(left);
        stopping.join().unwrap();
        ended
    });
    assert!(
        ended.to_string().contains("server shutting down (0x8b)"),
        "{ended}"
    );
}

#[test]
fn a_message_larger_than_the_broker_takes_is_not_sent() {
    let broker = TestBroker::builder()
        .limits(|limits| limits.packet.packet_bytes_max = 10_000)
        .start();
    let mut session = connect(&["--url", &url(&broker, Transport::Plain)]).unwrap();
    let refused = session
        .publish("t", &[0; 10_000], QoS::AtLeastOnce, false)
        .unwrap_err();
    assert!(
        matches!(
            refused,
            ClientError::TooLarge {
                bytes_max: 10_000,
                ..
            }
        ),
        "{refused:?}"
    );
    session
        .publish("t", &[0; 9_000], QoS::AtLeastOnce, false)
        .unwrap();
    session.close();
    broker.stop();
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let broker = TestBroker::builder().start();
    let (ca, url) = (ca(&broker), url(&broker, Transport::Tls));
    let empty = broker.folder().join("empty");
    write_private(&empty, "");
    let empty = empty.to_str().unwrap();
    assert!(refusal(&["--url", &url, "--ca", empty]).contains("empty: holds no PEM certificate"));
    assert!(refusal(&["--url", &url, "--ca", "/no/such"]).contains("/no/such: cannot be read"));
    let (cert, _) = broker.authority.client("a").write(broker.folder(), "a");
    let (_, other_key) = broker.authority.client("b").write(broker.folder(), "b");
    let (cert, other_key) = (cert.to_str().unwrap(), other_key.to_str().unwrap());
    let refused = refusal(&[
        "--url", &url, "--ca", &ca, "--cert", cert, "--key", other_key,
    ]);
    assert!(
        refused.contains("does not fit the certificate"),
        "{refused}"
    );
    assert!(
        refusal(&["--url", &url, "--ca", &ca, "--cert", cert, "--key", empty])
            .contains("no PEM private key")
    );
    broker.stop();
}

#[test]
fn no_argument_takes_a_password() {
    for arguments in [
        &["--user", "anna", "--password", "x"][..],
        &["--url", "mqtts://anna:x@broker"],
        &["--password-file", "x"],
    ] {
        assert!(
            Line::try_parse_from([&["test"], arguments].concat()).is_err(),
            "{arguments:?}"
        );
    }
}
