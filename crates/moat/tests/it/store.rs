//! The store, as the command line sees it.

use std::fs;
use std::path::Path;

use moat_codec::{Packet, PacketId, Publish, QoS, ReasonCode};
use moat_testkit::RawClient;

use crate::folder::{ANYWHERE, Folder, is_root, names};

const PAYLOAD: &[u8] = b"payload of the kept message";

const ANYBODY: &str = "
[[listener]]
protocol = \"tcp\"
bind = [\"127.0.0.1:0\"]
anonymous = true
[policy]
files = [\"rules.acl\"]
";

/// A folder with a broker's store in it that holds two retained messages.
fn used(more: &str) -> Folder {
    let folder = Folder::configured(&format!("{ANYBODY}{more}"));
    folder.write("rules.acl", "topic readwrite #\n");
    let mut broker = folder.start(&[]);
    let mut client = RawClient::connect(broker.address());
    assert_eq!(client.try_hello("c"), ReasonCode::Success);
    // The last bytes of a journal can be those of a torn write; what stands before others cannot.
    for (topic, payload) in [("kept", PAYLOAD), ("later", b"l")] {
        client.send_packet(&Packet::Publish(Publish {
            qos: QoS::AtLeastOnce,
            packet_id: Some(PacketId::MIN),
            retain: true,
            ..Publish::new(topic, payload)
        }));
        client.recv(|packet| assert!(matches!(packet, Packet::PubAck(_)), "{packet:?}"));
    }
    // As hard as can be: the acknowledgement has promised enough.
    broker.kill();
    broker.wait();
    folder
}

#[test]
fn a_store_without_damage_is_verified_and_counted() {
    let folder = used("");
    let verified = folder.moat(&["store", "verify", "--json"]).json();
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(verified["retained"], 2, "{verified}");
    let text = folder.moat(&["store", "verify"]).done();
    assert!(text.out.contains("2 retained messages"), "{text:?}");
    assert_eq!(text.err, "");
    let stats = folder.moat(&["store", "stats", "--json"]).json();
    assert_eq!(stats["retained"], 2, "{stats}");
    let buckets = stats["buckets"].as_array().unwrap();
    let retained = buckets.iter().find(|bucket| bucket["name"] == "retained");
    assert_eq!(retained.unwrap()["keys"], 2, "{stats}");
    let text = folder.moat(&["store", "stats"]).done();
    assert!(text.out.contains("bucket retained: 2 keys"), "{text:?}");
}

#[test]
fn commands_leave_the_store_of_a_running_broker_alone() {
    let folder = used("");
    let _broker = folder.start(&[]);
    for command in ["verify", "stats"] {
        folder
            .moat(&["store", command])
            .failed(1, &["another moat uses this store"]);
    }
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let folder = Folder::configured("");
    for command in ["verify", "stats"] {
        folder
            .moat(&["store", command])
            .failed(1, &["there is no store"]);
    }
    assert_eq!(names(&folder.data()), ["moat.toml"]);
}

#[test]
fn two_brokers_do_not_share_a_store() {
    let folder = used("");
    let _broker = folder.start(&[]);
    let path = folder.data().join("store");
    let other = Folder::configured(&format!("[store]\npath = \"{}\"\n", path.display()));
    other
        .start_fails(&ANYWHERE)
        .failed(1, &["another moat uses this store"]);
}

#[test]
fn damage_is_named_by_verify_and_keeps_the_broker_from_starting() {
    let folder = used("");
    flip_a_byte_of(&folder.data().join("store"), PAYLOAD);
    let verified = folder.moat(&["store", "verify"]);
    assert_eq!(verified.code, 1, "{verified:?}");
    assert!(verified.out.contains("error: "), "{verified:?}");
    assert!(verified.err.contains("1 problem found"), "{verified:?}");
    let started = folder.start_fails(&[]);
    assert!(started.err.contains("store verify"), "{started:?}");
}

/// Changes `text` wherever a file below `folder` holds it.
fn flip_a_byte_of(folder: &Path, text: &[u8]) {
    let mut found = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(text.len()).position(|part| part == text) {
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
                found += 1;
            }
        }
    }
    assert_eq!(found, 1, "the message is in one file");
}

#[test]
fn the_store_of_another_user_is_not_opened_by_a_command() {
    if !is_root("to give a folder away") {
        return;
    }
    let folder = used("");
    let store = folder.data().join("store");
    std::os::unix::fs::chown(&store, Some(65_534), None).unwrap();
    folder
        .moat(&["store", "verify"])
        .failed(1, &["belongs to user id 65534", "sudo -u '#65534'"]);
}

#[test]
fn the_status_shows_the_store_or_that_there_is_none() {
    let folder = used("");
    let broker = folder.start(&[]);
    let status = folder.status();
    assert_eq!(status["store"]["durability"], "fsync", "{status}");
    assert_eq!(status["store"]["is_full"], false);
    assert_eq!(status["retained_messages"], 2);
    drop(broker);
    folder.write(
        "moat.toml",
        &format!("{ANYBODY}[store]\ndurability = \"none\"\n"),
    );
    let _broker = folder.start(&[]);
    assert!(folder.status()["store"].is_null());
    assert_eq!(folder.status()["retained_messages"], 0);
    let text = folder.moat(&["status"]).done().out;
    assert!(
        text.contains("none: sessions and messages end with the broker"),
        "{text}"
    );
}

#[test]
fn what_the_durability_costs_is_told_by_check() {
    let folder = Folder::configured("[store]\ndurability = \"none\"\n");
    let checked = folder.moat(&["check"]).done();
    assert!(
        checked.out.contains("every end of moat loses"),
        "{checked:?}"
    );
    assert!(checked.out.contains("store: none"), "{checked:?}");
}
