//! The simulation: a thousand seeds without a broken promise, and three planted bugs that it has to find.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use moat_testkit::simulation::{Coverage, Planted, run};

/// Seeds of CI; `cargo xtask simulate` runs as many as asked for.
const SEEDS: u64 = 1000;
/// Seeds per test, so that tests share the processors.
const SEEDS_PER_TEST: u64 = SEEDS / 4;
/// Seeds within which a planted bug has to be found.
const PLANTED_SEEDS_MAX: u64 = 300;

/// Runs a quarter of the seeds. Returns what they came by.
fn quarter(number: u64) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in number * SEEDS_PER_TEST..(number + 1) * SEEDS_PER_TEST {
        let outcome = run(seed, None, false);
        assert!(
            outcome.is_clean(),
            "{outcome}\nagain, with all that happened: cargo xtask simulate --seed {seed}"
        );
        coverage.add(&outcome.coverage);
    }
    println!("{coverage}");
    let missing = coverage.missing();
    assert!(missing.is_empty(), "never reached: {missing:?}");
    coverage
}

#[test]
fn every_promise_is_kept_in_the_first_quarter_of_the_seeds() {
    let coverage = quarter(0);
    assert!(coverage.operations >= 500 * coverage.seeds);
    assert!(coverage.crashes >= coverage.seeds);
}

#[test]
fn every_promise_is_kept_in_the_second_quarter_of_the_seeds() {
    quarter(1);
}

#[test]
fn every_promise_is_kept_in_the_third_quarter_of_the_seeds() {
    quarter(2);
}

#[test]
fn every_promise_is_kept_in_the_last_quarter_of_the_seeds() {
    quarter(3);
}

#[test]
fn a_seed_happens_again_as_it_did() {
    for seed in 0..20 {
        let [first, second] = [run(seed, None, false), run(seed, None, true)];
        assert_eq!(first.fingerprint(), second.fingerprint(), "seed {seed}");
    }
}

fn is_found(planted: Planted) {
    let found = (0..PLANTED_SEEDS_MAX).find(|seed| !run(*seed, Some(planted), false).is_clean());
    let seed = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
    println!("{planted:?} is found by seed {seed}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    is_found(Planted::AckBeforeCommit);
}

#[test]
fn a_cursor_ahead_of_its_log_is_found() {
    is_found(Planted::CursorAheadOfLog);
}

#[test]
fn a_lost_will_is_found() {
    is_found(Planted::LostWill);
}
