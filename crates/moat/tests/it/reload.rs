//! Files that are read again: at once by SIGHUP, within a second by themselves; sessions stay.

use std::fs;

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_testkit::certs::{Authority, write_private};
use moat_testkit::process::PROCESS_DEADLINE;
use moat_testkit::{MoatProcess, RawClient};

use crate::folder::{ANYWHERE, Folder};

/// Everybody may come, and read and write below `open/`.
const OPEN: &str = "version = 1\n[[rule]]\nname = \"open\"\nwho = [\"<anonymous>\"]\nallow = [\"publish\", \"subscribe\"]\n\
                    topics = [\"open/#\"]\n";
const PLAIN: &str =
    "[[listener]]\nprotocol = \"tcp\"\nbind = [\"127.0.0.1:0\"]\nanonymous = true\n";

fn wait_for(broker: &mut MoatProcess, words: &[&str]) -> String {
    broker.wait_for(|line| {
        let has_all = words.iter().all(|word| line.contains(word));
        has_all.then(|| line.to_owned())
    })
}

#[test]
fn a_bad_policy_changes_nothing_and_a_good_one_decides_at_once() {
    let folder = Folder::configured(PLAIN);
    folder.write("policy.toml", OPEN);
    let mut broker = folder.start(&[]);
    let mut client = RawClient::connect(broker.address());
    client.hello("stays").subscribe("open/#", QoS::AtMostOnce);

    folder.write("policy.toml", &OPEN.replace("allow", "alow"));
    broker.hang_up();
    let failed = wait_for(&mut broker, &["reload.failed", "what=policy"]);
    assert!(
        failed.contains("policy.toml:5:1") && failed.contains("alow"),
        "{failed}"
    );
    assert_eq!(folder.status()["policy_version"], 1);
    client.publish("open/1", b"as before", QoS::AtMostOnce, 0);
    assert_eq!(client.message().payload, b"as before");

    folder.write("policy.toml", &OPEN.replace("open/#", "shut/#"));
    wait_for(&mut broker, &["reload.succeeded", "what=policy"]);
    assert_eq!(folder.status()["policy_version"], 2);
    assert!(client.try_subscribe("open/2", QoS::AtMostOnce).is_error());
    client.subscribe("shut/#", QoS::AtMostOnce);
}

#[test]
fn a_hang_up_reads_everything_and_reopens_the_log() {
    let folder = Folder::configured("[log]\ndestination = \"moat.log\"\n");
    let broker = folder.start(&ANYWHERE);
    let (log, moved) = (
        folder.data().join("moat.log"),
        folder.data().join("moat.log.1"),
    );
    fs::rename(&log, &moved).unwrap();
    broker.hang_up();
    let deadline = std::time::Instant::now() + PROCESS_DEADLINE;
    let complete = |text: &str| {
        [
            "log.reopened",
            "what=policy",
            "what=users",
            "what=certificates",
        ]
        .iter()
        .all(|part| text.contains(part))
    };
    // A file tells nobody when it is written.
    while !complete(&fs::read_to_string(&log).unwrap_or_default()) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(
        fs::read_to_string(&moved)
            .unwrap()
            .contains("server.started")
    );
}

#[test]
fn a_new_user_is_known_without_a_signal() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    folder.moat(&["user", "add", "anna", "--generate"]).done();
    wait_for(&mut broker, &["reload.succeeded", "what=users"]);
    folder.write("users", "anna: no hash\n");
    let failed = wait_for(&mut broker, &["reload.failed", "what=users"]);
    assert!(failed.contains("users:1"), "{failed}");
}

#[test]
fn who_is_taken_out_of_the_users_file_is_put_out() {
    let folder = Folder::configured(
        "shards = 2\n[[listener]]\nprotocol = \"unix\"\nsocket = \"mqtt.sock\"\nanonymous = true\n",
    );
    let password = "a long enough password";
    for user in ["anna", "otto"] {
        folder
            .moat_reading(&["user", "add", user, "--password-file", "-"], password)
            .done();
    }
    let mut broker = folder.start(&[]);
    let connected = |id: &'static str, user: Option<&'static str>| {
        let mut client = RawClient::connect_unix(&folder.data().join("mqtt.sock"));
        client.set_deadline(PROCESS_DEADLINE);
        let mut connect = Connect::new(Version::V5, id);
        connect.username = user;
        connect.password = user.map(|_| password.as_bytes());
        let answer = client.connect_with(&connect);
        (client, answer)
    };
    let (mut anna, answer) = connected("a", Some("anna"));
    assert_eq!(answer, ReasonCode::Success);
    let (mut otto, _) = connected("o", Some("otto"));
    let (mut anonymous, _) = connected("n", None);

    folder.moat(&["user", "remove", "anna"]).done();
    assert_eq!(anna.expect_disconnect(), ReasonCode::NotAuthorized);
    let gone = wait_for(&mut broker, &["client.disconnected", "identity=anna"]);
    assert!(gone.contains("no users file any more"), "{gone}");
    assert!(connected("a", Some("anna")).1.is_error());
    // The others notice nothing.
    for client in [&mut otto, &mut anonymous] {
        client.send_packet(&Packet::PingReq);
        client.recv(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    }
}

#[test]
fn a_new_certificate_is_served_and_a_bad_pair_is_not() {
    let folder = Folder::configured(
        "[[listener]]\nbind = [\"127.0.0.1:0\"]\ncertificate = \"my.crt\"\nkey = \"my.key\"\n",
    );
    let authority = Authority::new("ca");
    let write = |name: &str, text: &str| write_private(&folder.data().join(name), text);
    let first = authority.server_named("first.example");
    first.write(&folder.data(), "my");
    let mut broker = folder.start(&[]);
    let subject = || folder.status()["certificates"][0]["subject"].to_string();
    assert!(subject().contains("first.example"));

    let second = authority.server_named("second.example");
    write("my.crt", &second.cert_pem);
    let failed = wait_for(&mut broker, &["reload.failed", "what=certificates"]);
    assert!(failed.contains("do not belong together"), "{failed}");
    assert!(subject().contains("first.example"));
    write("my.key", &second.key_pem);
    wait_for(&mut broker, &["reload.succeeded", "what=certificates"]);
    assert!(subject().contains("second.example"));
}
