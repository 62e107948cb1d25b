//! What one command makes of an empty place.

use std::fs;

use moat_codec::{Connect, ReasonCode, Version};
use moat_testkit::RawClient;

use crate::folder::{ANYWHERE, Folder, mode, names};

#[test]
fn it_makes_the_folder_with_files_that_only_the_broker_can_read() {
    let folder = Folder::new();
    let _broker = folder.start(&ANYWHERE);
    assert_eq!(names(folder.parent()), ["data"]);
    let data = folder.data();
    assert_eq!(
        names(&data),
        [
            "moat.lock",
            "moat.sock",
            "pki",
            "policy.toml",
            "store",
            "users"
        ]
    );
    let modes = [
        "",
        "pki",
        "store",
        "users",
        "moat.sock",
        "pki/root.key",
        "pki/server.key",
    ];
    assert_eq!(
        modes.map(|name| mode(&data.join(name))),
        [0o700, 0o700, 0o700, 0o600, 0o600, 0o600, 0o600]
    );
    assert_eq!(fs::read(data.join("users")).unwrap(), b"");
}

#[test]
fn it_says_where_it_listens_whom_to_trust_and_what_to_type_next() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    let address = broker.address();
    assert!(address.ip().is_loopback() && address.port() != 0);
    let fingerprint =
        broker.wait_for(|line| Some(line.split("SHA-256 ").nth(1)?.split(':').count()));
    assert_eq!(fingerprint, 32);
    let data = folder.data().display().to_string();
    let next = format!("moat device add NAME --data {data}");
    broker.wait_for(|line| line.contains(&next).then_some(()));
    let banner = broker.output().iter().filter(|line| line.starts_with("  "));
    assert!((8..=12).contains(&banner.count()));
}

#[test]
fn the_second_start_keeps_everything() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    broker.terminate();
    assert!(broker.wait().success());
    let read = |name: &str| fs::read(folder.data().join(name)).unwrap();
    let files = ["pki/root.crt", "pki/server.crt", "policy.toml"];
    let before = files.map(read);
    let _broker = folder.start(&ANYWHERE);
    assert_eq!(files.map(read), before);
}

#[test]
fn dev_needs_no_folder_and_lets_everybody_in_with_a_warning() {
    let folder = Folder::new();
    let mut broker = folder.start(&["--dev", "--bind", "127.0.0.1:0"]);
    broker.wait_for(|line| line.contains("listener.anonymous").then_some(()));
    assert_eq!(names(&folder.data()), ["moat.lock", "moat.sock"]);
    let mut client = RawClient::connect(broker.address());
    assert_eq!(client.try_hello("anybody"), ReasonCode::Success);
    let mut named = RawClient::connect(broker.address());
    let connect = Connect {
        username: Some("anna"),
        password: Some(b"anything"),
        ..Connect::new(Version::V5, "named")
    };
    assert_eq!(named.connect_with(&connect), ReasonCode::Success);
}
