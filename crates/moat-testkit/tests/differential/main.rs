//! The same bytes, valid and not, to moat and to Debian's mosquitto: the same answers, or a difference with the
//! number of the statement that explains it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answer;
mod compare;
mod dice;
mod drive;
mod explained;
mod generate;
mod mosquitto;
mod mutate;
mod sequence;
mod shape;

use moat_testkit::TestBroker;

use compare::{End, Pair};
use mosquitto::{Mosquitto, PASSWORD, USER};

/// What mosquitto takes: only the protocol is to differ.
fn moat() -> TestBroker {
    TestBroker::builder()
        .user(USER, PASSWORD)
        .limits(|limits| {
            limits.packet = moat_codec::Limits::generous();
            limits.publishes_per_sec_max = 0;
            limits.keep_alive_secs_max = u16::MAX;
            limits.session_expiry_secs_max = u32::MAX;
            // All strangers are one identity, and sequences leave much behind.
            limits.retained_messages_max = 1_000_000;
            limits.retained_per_identity_max = 1_000_000;
            limits.sessions_max = 1_000_000;
        })
        .start()
}

#[test]
fn explore() {
    let from: u64 = std::env::var("FROM").map_or(0, |s| s.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(10, |s| s.parse().unwrap());
    let show: usize = std::env::var("SHOW").map_or(10, |s| s.parse().unwrap());
    let other = Mosquitto::start();
    let broker = moat();
    let pair = Pair { moat: broker.plain, mosquitto: other.address };
    let mut ends = [0; 3];
    let start = std::time::Instant::now();
    let mut kinds: std::collections::BTreeMap<String, (usize, String)> = Default::default();
    let mut fired = vec![0; explained::RULES.len()];
    for seed in from..from + count {
        let comparison = pair.compare(generate::sequence(seed));
        for f in &comparison.fired { fired[*f] += 1; }
        match comparison.end {
            End::Whole => ends[0] += 1,
            End::Apart => ends[1] += 1,
            End::Unexplained(_) => {
                ends[2] += 1;
                let small = pair.shrink(comparison);
                let End::Unexplained(step) = small.end else { unreachable!() };
                let strip = |all: &[answer::Said]| -> String { all.iter().map(|s| { let t = format!("{s:?}"); match s { answer::Said::Publish(m) => format!("Pub q{} r{} d{} ", m.qos, m.retain, m.dup), answer::Said::ConnAck { reason, about, present, .. } => format!("ConnAck {present} {reason} {about:?} "), _ => t + " " } }).collect() };
                let mut key = String::new();
                for slot in 0..4 { if small.moat[step][slot] != small.mosquitto[step][slot] { key += &format!("{} | {}\n", strip(&small.moat[step][slot]), strip(&small.mosquitto[step][slot])); } }
                let entry = kinds.entry(key).or_insert_with(|| (0, small.to_string()));
                entry.0 += 1;
            }
        }
    }
    let mut all: Vec<_> = kinds.into_iter().collect();
    all.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    for (key, (n, text)) in all.iter().take(show) { eprintln!("=== {n} times {key}\n{text}"); }
    for (rule, n) in explained::RULES.iter().zip(fired) { eprintln!("{n:5} {}", rule.name); }
    eprintln!("{} kinds; {ends:?} whole, apart, unexplained; {:?}", all.len(), start.elapsed());
}
