//! What the kernel says about the running process.

use std::fs;
use std::os::unix::fs::MetadataExt;

use moat_testkit::RawClient;

use crate::folder::{ANYWHERE, Folder, is_root, mode, set_mode};

/// A user of every Debian.
const NOBODY: u32 = 65_534;

/// A field of `/proc/PID/status`, of every thread.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).unwrap();
    threads
        .map(|thread| {
            let status = read(thread.unwrap());
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .unwrap();
            value.trim_start_matches(':').trim().to_owned()
        })
        .collect()
}

#[test]
fn no_thread_has_a_capability_or_can_get_one() {
    if !is_root("to have capabilities to drop") {
        return;
    }
    let folder = Folder::new();
    let broker = folder.start(&ANYWHERE);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let values = of_threads(broker.id(), set);
        assert!(values.len() > 1);
        assert!(
            values.iter().all(|value| value == "0000000000000000"),
            "{set}: {values:?}"
        );
    }
    assert!(
        of_threads(broker.id(), "NoNewPrivs")
            .iter()
            .all(|value| value == "1")
    );
    let limits = fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
}

#[test]
fn with_the_key_user_root_binds_and_becomes_that_user() {
    if !is_root("to become another user") {
        return;
    }
    let folder = Folder::configured("user = \"nobody\"\n");
    set_mode(folder.parent(), 0o755);
    let mut broker = folder.start(&ANYWHERE);
    broker.wait_for(|line| line.contains("became user nobody").then_some(()));
    let uids = of_threads(broker.id(), "Uid");
    let wanted = [NOBODY.to_string().as_str()].repeat(4).join("\t");
    assert!(uids.iter().all(|uid| *uid == wanted), "{uids:?}");
    assert!(
        of_threads(broker.id(), "CapEff")
            .iter()
            .all(|value| value == "0000000000000000")
    );
    for name in [
        "",
        "moat.lock",
        "moat.sock",
        "pki/intermediate.key",
        "users",
        "policy.toml",
    ] {
        let owner = fs::metadata(folder.data().join(name)).unwrap().uid();
        assert_eq!(owner, NOBODY, "{name:?}");
    }
    assert_eq!(mode(&folder.data()), 0o700);
    assert_eq!(folder.status()["hardening"]["user"], "nobody");
    // What root adds later, the broker can read: the reload says so.
    folder.moat(&["user", "add", "anna", "--generate"]).done();
    broker.wait_for(|line| line.contains("reload.succeeded what=users").then_some(()));
    folder.moat(&["device", "add", "meter-1"]).done();
    broker.terminate();
    assert!(broker.wait().success());
    folder.start(&ANYWHERE);
}

#[test]
fn a_unix_socket_belongs_to_the_user_that_root_becomes() {
    if !is_root("to become another user") {
        return;
    }
    let folder = Folder::configured(
        "user = \"nobody\"\n[[listener]]\nprotocol = \"unix\"\nsocket = \"../run/mqtt.sock\"\nanonymous = true\n",
    );
    set_mode(folder.parent(), 0o755);
    let run = folder.parent().join("run");
    fs::create_dir(&run).unwrap();
    let refused = folder.start_fails(&[]);
    refused.failed(1, &["mqtt.sock", "a folder that it can write to"]);

    std::os::unix::fs::chown(&run, Some(NOBODY), None).unwrap();
    let mut broker = folder.start(&[]);
    let socket = run.join("mqtt.sock");
    assert_eq!(fs::metadata(&socket).unwrap().uid(), NOBODY);
    assert_eq!(mode(&socket), 0o660);
    RawClient::connect_unix(&socket).hello("a client that is root");
    broker.wait_for(|line| line.contains("address=unix:uid:0,gid:0,pid:").then_some(()));
    broker.terminate();
    assert!(broker.wait().success());
    assert!(!socket.exists());
}

#[test]
fn a_folder_out_of_the_users_reach_is_told_at_the_start() {
    if !is_root("to become another user") {
        return;
    }
    let folder = Folder::configured("user = \"nobody\"\n");
    set_mode(folder.parent(), 0o700);
    let refused = folder.start_fails(&ANYWHERE);
    refused.failed(1, &["cannot be reached by user nobody"]);
}

#[test]
fn open_files_are_enough_for_every_connection() {
    let folder = Folder::configured("[limits]\nconnections_max = 2000\n");
    let broker = folder.start(&ANYWHERE);
    let limits = fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let soft: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft > 2000, "{files}");
}
