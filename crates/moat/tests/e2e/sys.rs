//! `$SYS` as `mosquitto_sub` sees it, beside what Debian's mosquitto publishes there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use moat_testkit::process::PROCESS_DEADLINE;

use crate::broker::PASSWORD;
use crate::clients::text;
use crate::unix::{CONFIG, Place, client};

/// What moat does not publish though mosquitto does, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    (
        "$SYS/broker/version",
        "tells what to attack; the key sys_version publishes it",
    ),
    (
        "$SYS/broker/heap/current",
        "moat does not count the allocations of its allocator; ask the system",
    ),
    ("$SYS/broker/heap/maximum", "as heap/current"),
];
/// Both brokers publish it last.
const LAST: &str = "$SYS/broker/load/connections/15min";
const POLICY: &str = "version = 1\n[[rule]]\nwho = [\"dashboard\"]\nallow = [\"subscribe\"]\ntopics = [\"$SYS/#\"]\n\
                      [[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n";
/// Seconds a subscriber listens.
const LISTENS_SECS: &str = "3";

fn place(keys: &str) -> Place {
    let place = Place::new();
    place.configure(&format!(
        "shards = 2\nsys_interval_secs = 1\n{keys}\n{CONFIG}"
    ));
    std::fs::write(place.data().join("policy.toml"), POLICY).unwrap();
    place
}

/// What a subscriber to `filter` gets, by topic, the latest of each.
fn values(socket: &Path, identity: &[&str], filter: &str) -> BTreeMap<String, String> {
    let mut subscribe = client("mosquitto_sub", socket, identity);
    subscribe.args(["-t", filter, "-F", "%t\t%p", "-W", LISTENS_SECS]);
    let output = subscribe.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let pairs = lines.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(t, p)| (t.to_owned(), p.to_owned())).collect()
}

/// The same once the last topic there is has come, since the first are published after the start.
fn all_values(socket: &Path, identity: &[&str]) -> BTreeMap<String, String> {
    let until = Instant::now() + PROCESS_DEADLINE;
    loop {
        let values = values(socket, identity, "$SYS/#");
        if values.contains_key(LAST) {
            return values;
        }
        assert!(Instant::now() < until, "{values:?}");
    }
}

struct Mosquitto {
    child: Child,
    folder: tempfile::TempDir,
}

impl Mosquitto {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("m.sock");
        let config = folder.path().join("m.conf");
        let text = format!(
            "listener 0 {}\nallow_anonymous true\nsys_interval 1\nuser root\n",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's mosquitto is needed; apt-get install mosquitto");
        Mosquitto { child, folder }
    }

    fn values(&self) -> BTreeMap<String, String> {
        all_values(&self.folder.path().join("m.sock"), &[])
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn every_name_of_mosquitto_is_published_or_left_out_for_a_reason() {
    let place = place("");
    place.add_user("dashboard");
    let _broker = place.start();
    let ours = all_values(
        &place.socket(),
        &["-u", "dashboard", "-P", PASSWORD, "-q", "1"],
    );
    let theirs = Mosquitto::start().values();

    let left_out: BTreeSet<&str> = LEFT_OUT.map(|(topic, _)| topic).into();
    let missing: BTreeSet<&str> = theirs
        .keys()
        .map(String::as_str)
        .filter(|topic| !ours.contains_key(*topic))
        .collect();
    assert_eq!(missing, left_out);
    let unknown: Vec<_> = ours
        .keys()
        .filter(|topic| !theirs.contains_key(*topic))
        .collect();
    assert_eq!(unknown, [""; 0]);

    // The same form of value: a number, a number with two decimals, or seconds.
    for (topic, value) in &ours {
        assert_eq!(form(value), form(&theirs[topic]), "{topic}: {value}");
    }
    assert_eq!(ours["$SYS/broker/clients/connected"], "1");
    assert_ne!(ours["$SYS/broker/bytes/sent"], "0");
    assert_ne!(ours[LAST], "0.00");
    assert_eq!(ours["$SYS/broker/retained messages/count"], "0");
}

fn form(value: &str) -> String {
    value
        .replace(|c: char| c.is_ascii_digit(), "9")
        .replace("99", "9")
        .replace("99", "9")
        .replace("99", "9")
}

#[test]
fn who_has_no_rule_for_it_gets_nothing_of_it() {
    let place = place("");
    place.add_user("meter");
    place.add_user("dashboard");
    let _broker = place.start();
    // It is there.
    all_values(&place.socket(), &["-u", "dashboard", "-P", PASSWORD]);
    let as_meter = ["-u", "meter", "-P", PASSWORD];
    for filter in ["#", "$SYS/#", "+/broker/uptime", "$SYS/broker/uptime"] {
        let got = values(&place.socket(), &as_meter, filter);
        assert_eq!(got, BTreeMap::new(), "{filter}");
    }
    let forge = [
        "-V",
        "5",
        "-q",
        "1",
        "-r",
        "-t",
        "$SYS/broker/uptime",
        "-m",
        "x",
    ];
    for user in ["meter", "dashboard"] {
        let mut publish = client(
            "mosquitto_pub",
            &place.socket(),
            &["-u", user, "-P", PASSWORD],
        );
        let output = text(&publish.args(forge).arg("-d").output().unwrap());
        assert!(
            output.contains("Not authorized") || output.contains("rc135"),
            "{output}"
        );
    }
}

#[test]
fn the_version_is_told_where_a_key_says_so_and_nothing_with_an_interval_of_0() {
    let told = place("sys_version = true");
    told.add_user("dashboard");
    let _broker = told.start();
    let as_dashboard = ["-u", "dashboard", "-P", PASSWORD];
    let version = &all_values(&told.socket(), &as_dashboard)["$SYS/broker/version"];
    assert!(version.starts_with("moat version "), "{version}");

    let silent = Place::new();
    silent.configure(&format!("sys_interval_secs = 0\n{CONFIG}"));
    std::fs::write(silent.data().join("policy.toml"), POLICY).unwrap();
    silent.add_user("dashboard");
    let _broker = silent.start();
    assert_eq!(
        values(&silent.socket(), &as_dashboard, "$SYS/#"),
        BTreeMap::new()
    );
}
