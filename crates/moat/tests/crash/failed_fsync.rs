//! A sync fails: what is on the disk is not known any more, so the broker stops, loudly, and starts again when told to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use moat_testkit::fume::Dice;

use crate::fleet::{Fleet, clients};
use crate::kill::seed;
use crate::place::{Place, Settings};

const PUBLISHERS: u32 = 6;
const SUBSCRIBERS: u32 = 12;
/// Which sync of a thread fails: the commits are made by one thread, and no other makes so many in so short a time.
const FAILS_FROM: [u32; 2] = [120, 300];
/// On a machine where the clients alone take so many until they are there, a later one fails; this at the latest.
const FAILS_FROM_MAX: u32 = 2400;
/// How long the broker may take to come so far, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_failed_sync_ends_the_broker_and_nothing_acknowledged_is_lost() {
    let seed = seed();
    for mut fails_from in FAILS_FROM {
        while !nothing_is_lost_when_a_sync_fails(fails_from, seed) {
            fails_from *= 2;
            assert!(
                fails_from <= FAILS_FROM_MAX,
                "it always failed before anything was acknowledged"
            );
        }
    }
}

/// Returns whether anything was acknowledged before that sync, so that something could have been lost.
fn nothing_is_lost_when_a_sync_fails(fails_from: u32, seed: u64) -> bool {
    let place = Place::new();
    let settings = Settings::default();
    // Keys are made, so that the syncs to come are those of the store.
    let (mut process, _) = place.start(settings);
    process.terminate();
    assert!(process.wait().success());

    let inject = format!("inject=fsync,fdatasync:error=EIO:when={fails_from}+");
    let log = place.beside("strace").display().to_string();
    let strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        &log,
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        &inject,
    ];
    let (mut process, address) = place.start_under(&strace, settings);
    let mut fleet = Fleet::new(
        clients(PUBLISHERS, SUBSCRIBERS),
        address,
        Dice::new(seed, 0),
    );
    fleet.expect_death();
    fleet.connect_all(&BTreeSet::new());
    fleet.budget = usize::MAX;
    let until = Instant::now() + PATIENCE;
    while (0..fleet.clients.len()).any(|place| fleet.has_line(place)) {
        assert!(
            Instant::now() < until,
            "it does not end: {}",
            place.last_words()
        );
        fleet.turn();
    }
    let status = process.wait();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    place.wait_for_log("store.failed");
    fleet.bury();
    let was_acknowledged = fleet.acknowledged > 0;

    // The disk is well again: one start is enough, and it stays.
    let (mut process, address) = place.start(settings);
    fleet.started(address);
    fleet.read_retained();
    fleet.budget = 200;
    fleet.connect_all(&BTreeSet::new());
    fleet.run_until_all_are_there();
    assert!(
        fleet.run_until(PATIENCE, |fleet| fleet.budget == 0),
        "it takes nothing new"
    );
    let verdict = fleet.verdict();
    assert!(
        verdict.is_clean(),
        "seed {seed}, sync {fails_from}: {verdict}"
    );
    process.terminate();
    assert!(process.wait().success());
    was_acknowledged
}
