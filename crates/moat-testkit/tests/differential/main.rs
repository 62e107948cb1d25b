//! The same bytes, valid and not, to moat and to Debian's mosquitto: the same answers, or a difference with the
//! number of the statement that explains it.
//!
//! A sequence is drawn from a seed ([`generate`], [`mutate`]), run against both brokers ([`drive`]), its answers are
//! freed of what the standard leaves open ([`answer`]) and compared ([`compare`]). [`rules`] is the table of the
//! differences that are meant. `MOAT_DIFFERENTIAL_CASES` runs another number of sequences, from
//! `MOAT_DIFFERENTIAL_SEED` on.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answer;
mod compare;
mod dice;
mod drive;
mod explained;
mod generate;
mod mosquitto;
mod mutate;
mod rules;
mod scenario;
mod sequence;
mod shape;

use std::env;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use moat_testkit::TestBroker;

use compare::{Comparison, End, Pair};
use mosquitto::{Mosquitto, PASSWORD, USER};
use rules::RULES;

/// Sequences of one run, unless it is told otherwise.
const CASES: u64 = 2000;
/// Out of a hundred sequences, those that must be compared to their last step: otherwise the rules hide too much.
const WHOLE_PERCENT_MIN: u64 = 75;
/// Threads, each with two brokers of its own.
const THREADS: usize = 2;
/// Unexplained sequences that are made short and shown; the rest is counted.
const SHOWN_MAX: usize = 10;

/// What all threads found.
struct Found {
    fired: Vec<u64>,
    whole: u64,
    unexplained: u64,
    shown: Vec<Comparison>,
}

#[test]
fn moat_and_mosquitto_answer_alike_or_a_statement_says_why_not() {
    let number = |name: &str, default| {
        env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let cases = number("MOAT_DIFFERENTIAL_CASES", CASES);
    let first = number("MOAT_DIFFERENTIAL_SEED", 0);
    let next = AtomicU64::new(first);
    let found = Mutex::new(Found {
        fired: vec![0; RULES.len()],
        whole: 0,
        unexplained: 0,
        shown: Vec::new(),
    });
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| compare_all(&next, first + cases, &found));
        }
    });
    let found = found.into_inner().unwrap();
    let mut wrong = String::new();
    for comparison in &found.shown {
        writeln!(wrong, "not explained, {comparison}").unwrap();
    }
    if found.unexplained > 0 {
        writeln!(wrong, "{} of {cases} not explained", found.unexplained).unwrap();
    }
    // Fewer sequences may not show what is rare.
    let silent = RULES
        .iter()
        .zip(&found.fired)
        .filter(|(_, fired)| cases >= CASES && **fired == 0);
    for (rule, _) in silent {
        writeln!(
            wrong,
            "no sequence shows the difference {:?} any more ({}; right: {:?}): take it out of the table",
            rule.name, rule.statement, rule.right
        )
        .unwrap();
    }
    if found.whole * 100 < cases * WHOLE_PERCENT_MIN {
        writeln!(
            wrong,
            "only {} of {cases} were compared to the end",
            found.whole
        )
        .unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every rule says what it rests on.
#[test]
fn every_explanation_names_a_statement_or_a_section() {
    for rule in RULES {
        let named = rule.statement.contains("MQTT-") || rule.statement.contains("section ");
        assert!(named && !rule.why.is_empty(), "{}", rule.name);
        assert_eq!(
            RULES.iter().filter(|other| other.name == rule.name).count(),
            1
        );
    }
}

fn compare_all(next: &AtomicU64, end: u64, found: &Mutex<Found>) {
    let (moat, mosquitto) = (moat(), Mosquitto::start());
    let pair = Pair {
        moat: moat.plain,
        mosquitto: mosquitto.address,
    };
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let comparison = pair.compare(generate::sequence(seed));
        let mut all = found.lock().unwrap();
        for rule in &comparison.fired {
            all.fired[*rule] += 1;
        }
        match comparison.end {
            End::Whole => all.whole += 1,
            End::Apart => {}
            End::Unexplained(_) => {
                all.unexplained += 1;
                let show = all.shown.len() < SHOWN_MAX;
                drop(all);
                if show {
                    let short = pair.shrink(comparison);
                    found.lock().unwrap().shown.push(short);
                }
            }
        }
    }
}

/// A broker with mosquitto's limits: only the protocol is to differ.
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
