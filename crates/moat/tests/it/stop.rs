//! How a broker ends.

use moat_codec::{Connect, ReasonCode, Version};
use moat_testkit::RawClient;
use moat_testkit::process::PROCESS_DEADLINE;
use rustix::process::Signal;

use crate::folder::{ANYWHERE, Folder, names};

#[test]
fn a_signal_ends_it_with_0_and_without_leftovers() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let mut broker = folder.start(&ANYWHERE);
        broker.signal(signal);
        assert!(broker.wait().success());
        broker.wait_for(|line| line.contains("server.stopped").then_some(()));
        assert!(!names(&folder.data()).contains(&"moat.sock".to_owned()));
        folder.moat(&["status"]).failed(1, &["no broker runs"]);
    }
}

#[test]
fn clients_are_told_that_the_server_is_going() {
    let folder = Folder::new();
    let mut broker = folder.start(&["--dev", "--bind", "127.0.0.1:0"]);
    let mut client = RawClient::connect(broker.address());
    client.set_deadline(PROCESS_DEADLINE);
    let connect = Connect::new(Version::V5, "told");
    assert_eq!(client.connect_with(&connect), ReasonCode::Success);
    broker.terminate();
    assert_eq!(client.expect_disconnect(), ReasonCode::ServerShuttingDown);
    assert!(broker.wait().success());
}

#[test]
fn a_broker_that_was_killed_starts_again() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    broker.kill();
    assert!(!broker.wait().success());
    assert!(names(&folder.data()).contains(&"moat.sock".to_owned()));
    let broker = folder.start(&ANYWHERE);
    assert_eq!(folder.status()["pid"], broker.id());
}

#[test]
fn a_second_signal_does_not_wait_for_clients() {
    let folder = Folder::new();
    let mut broker = folder.start(&["--dev", "--bind", "127.0.0.1:0"]);
    let mut client = RawClient::connect(broker.address());
    client.hello("does not hang up");
    broker.terminate();
    broker.wait_for(|line| line.contains("server.stopping").then_some(()));
    broker.terminate();
    let ended = broker.wait();
    let cut = |line: &String| line.contains("stopped at once by a second signal");
    assert_eq!(ended.code(), Some(1));
    assert!(broker.output().iter().any(cut), "{:?}", broker.output());
}
