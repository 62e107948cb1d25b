//! The loads by a clock moved by hand, and what is told again.

use super::*;

fn value<'a>(messages: &'a [SysMessage], topic: &str) -> Option<&'a str> {
    let topic = format!("$SYS/broker/{topic}");
    let found = messages.iter().find(|message| message.topic == topic)?;
    Some(&found.value)
}

fn sockets(total: u64) -> SysValues {
    let mut values = SysValues::default();
    values.traffic.sockets_total = total;
    values
}

/// The figures that mosquitto 2.0.11 published, every two seconds, after one client had connected.
#[test]
fn a_load_falls_as_it_does_in_mosquitto() {
    let mut tree = SysTree::new(None);
    let mut now = Time::ZERO;
    tree.update(&sockets(0), now);
    for expected in ["0.98", "0.95", "0.92", "0.89", "0.86"] {
        now = now.plus_secs(2);
        let changed = tree.update(&sockets(1), now);
        assert_eq!(value(&changed, "load/sockets/1min"), Some(expected));
    }
}

#[test]
fn a_steady_rate_becomes_the_load_of_every_minute_whatever_the_interval() {
    for interval_secs in [1_u32, 10, 47] {
        let mut load = LoadAverage::default();
        let mut total = 0;
        for _ in 0..7200 {
            total += u64::from(2 * interval_secs);
            load.update(total, f64::from(interval_secs));
        }
        for average in load.update(
            total + u64::from(2 * interval_secs),
            f64::from(interval_secs),
        ) {
            assert!((average - 120.0).abs() < 0.1, "{average}");
        }
    }
}

#[test]
fn the_weights_are_those_of_one_five_and_fifteen_minutes() {
    let mut load = LoadAverage::default();
    load.update(60, 60.0);
    // A minute of silence leaves e^-1, e^-1/5 and e^-1/15 of what was there.
    let before = load.averages;
    let after = load.update(60, 60.0);
    for ((before, after), minutes) in before.into_iter().zip(after).zip(MINUTES) {
        let kept = (-1.0 / minutes).exp();
        assert!((after - before * kept).abs() < 1e-9, "{minutes}");
    }
    assert!((before[0] - 60.0 * (1.0 - (-1.0_f64).exp())).abs() < 1e-9);
}

#[test]
fn no_time_and_a_smaller_total_do_no_harm() {
    let mut load = LoadAverage::default();
    let before = load.update(60, 60.0);
    assert_eq!(load.update(100, 0.0), before);
    let after = load.update(0, 1.0);
    assert!(after[0] < before[0] && after[0] > 0.0);
}

#[test]
fn only_what_has_changed_is_told_again() {
    let mut tree = SysTree::new(None);
    let mut values = SysValues::default();
    let first = tree.update(&values, Time::ZERO.plus_secs(1));
    assert_eq!(value(&first, "uptime"), Some("1 seconds"));
    assert_eq!(value(&first, "clients/total"), Some("0"));
    assert_eq!(value(&first, "load/bytes/sent/15min"), Some("0.00"));
    assert_eq!(first.len(), 50);
    assert_eq!(tree.update(&values, Time::ZERO.plus_secs(1)), []);
    values.sizes.sessions = 3;
    values.census.connected = 1;
    let changed = tree.update(&values, Time::ZERO.plus_secs(1));
    let topics: Vec<_> = changed.iter().map(|message| message.topic).collect();
    assert_eq!(
        topics,
        [
            "total",
            "inactive",
            "disconnected",
            "active",
            "connected",
            "maximum"
        ]
        .map(|name| format!("$SYS/broker/clients/{name}"))
    );
    assert_eq!(value(&changed, "clients/disconnected"), Some("2"));
}

#[test]
fn the_most_clients_there_were_are_remembered() {
    let mut tree = SysTree::new(None);
    let mut values = SysValues::default();
    for (connected, maximum) in [(2, Some("2")), (5, Some("5")), (1, None), (6, Some("6"))] {
        values.census.connected = connected;
        let changed = tree.update(&values, Time::ZERO);
        assert_eq!(value(&changed, "clients/maximum"), maximum);
    }
}

#[test]
fn the_version_is_told_only_if_asked_for() {
    let told = SysTree::new(None).update(&SysValues::default(), Time::ZERO);
    assert_eq!(value(&told, "version"), None);
    let mut tree = SysTree::new(Some("1.2.3"));
    let told = tree.update(&SysValues::default(), Time::ZERO);
    assert_eq!(value(&told, "version"), Some("moat version 1.2.3"));
    let again = tree.update(&SysValues::default(), Time::ZERO);
    assert_eq!(value(&again, "version"), None);
}

#[test]
fn every_topic_is_told_once() {
    let told = SysTree::new(Some("1")).update(&SysValues::default(), Time::ZERO);
    let mut topics: Vec<_> = told.iter().map(|message| message.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(topics.len(), told.len());
    assert!(topics.iter().all(|topic| topic.starts_with("$SYS/broker/")));
}
