//! Who does not get in: a wrong CA, nothing to show, an expired certificate, a wrong password.

use std::path::Path;
use std::time::{Duration, SystemTime};

use moat_pki::{Authority, Existing, SubjectTemplate};

use crate::broker::{Broker, PASSWORD};
use crate::clients::{as_device, mosquitto, text};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn try_to_publish(broker: &Broker, identity: &[String]) -> (bool, String) {
    let arguments = ["-t", "devices/press-1/hello", "-m", "hi", "-q", "1"];
    let output = mosquitto("mosquitto_pub", broker, identity, &arguments);
    (output.status.success(), text(&output))
}

fn only_ca(broker: &Broker) -> Vec<String> {
    vec![
        "--cafile".into(),
        broker.data().join("pki/ca.crt").to_str().unwrap().into(),
    ]
}

/// A device certificate and key written where the mosquitto clients can read them.
fn write_device(authority: &Authority, folder: &Path, issued_at: SystemTime) -> Vec<String> {
    let issued = authority
        .device_certificate("press-9", issued_at, Existing::Refuse)
        .unwrap();
    let (certificate, key) = (folder.join("press-9.crt"), folder.join("press-9.key"));
    std::fs::write(&certificate, &issued.cert_chain_pem).unwrap();
    std::fs::write(&key, issued.key_pem.as_bytes()).unwrap();
    vec![
        "--cert".into(),
        certificate.to_str().unwrap().into(),
        "--key".into(),
        key.to_str().unwrap().into(),
    ]
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let mut broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let stranger =
        Authority::create(&folder.path().join("pki"), now, &SubjectTemplate::default()).unwrap();
    let identity = [
        only_ca(&broker),
        write_device(&stranger, folder.path(), now),
    ]
    .concat();
    let (published, output) = try_to_publish(&broker, &identity);
    assert!(!published, "{output}");
    broker.wait_for_log(&["tls.", "127.0.0.1"]);
}

#[test]
fn a_client_that_trusts_another_ca_does_not_talk_to_us() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    Authority::create(&folder.path().join("pki"), now, &SubjectTemplate::default()).unwrap();
    let mut identity = as_device(&broker, "press-1");
    identity[1] = folder.path().join("pki/ca.crt").to_str().unwrap().into();
    let (published, output) = try_to_publish(&broker, &identity);
    assert!(!published, "{output}");
}

#[test]
fn neither_certificate_nor_password_is_refused() {
    let mut broker = Broker::start();
    let (published, output) = try_to_publish(&broker, &only_ca(&broker));
    assert!(!published && output.contains("not authori"), "{output}");
    broker.wait_for_log(&["auth", "127.0.0.1", "no certificate"]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let mut broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let authority = Authority::open(&broker.data().join("pki"), now).unwrap();
    let identity = [
        only_ca(&broker),
        write_device(&authority, folder.path(), now - 100 * DAY),
    ]
    .concat();
    let (published, output) = try_to_publish(&broker, &identity);
    assert!(!published, "{output}");
    broker.wait_for_log(&["tls.", "xpired"]);
}

#[test]
fn a_wrong_password_is_refused_like_an_unknown_user() {
    let mut broker = Broker::start();
    broker.wait_for_reload();
    let user = |name: &str, password: &str| {
        [
            only_ca(&broker),
            vec!["-u".into(), name.into(), "-P".into(), password.into()],
        ]
        .concat()
    };
    let (published, wrong) = try_to_publish(&broker, &user("wall-display", "not the password"));
    assert!(!published, "{wrong}");
    let (published, unknown) = try_to_publish(&broker, &user("nobody-here", PASSWORD));
    assert!(!published, "{unknown}");
    assert_eq!(wrong, unknown);
    let failed = broker.wait_for_log(&["identity=wall-display", "wrong password"]);
    assert!(
        failed.contains("127.0.0.1") && !failed.contains("not the password"),
        "{failed}"
    );
}
