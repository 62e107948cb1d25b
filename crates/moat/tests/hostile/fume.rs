//! A bounded number of broken sessions; `cargo xtask fume --minutes N` tries more.

use std::path::Path;
use std::time::Duration;

use moat_testkit::fume::{Campaign, run};

/// A fixed seed: a failure here is one that everybody can replay.
const SEED: u64 = 20_261_122;

#[test]
fn broken_sessions_break_nothing() {
    let campaign = Campaign {
        seed: SEED,
        first: 0,
        batches_max: 400,
        time_max: Duration::from_secs(15),
    };
    let tried = run(Path::new(crate::MOAT), &campaign).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(
        tried.batches > 0 && tried.mutated > 0 && tried.answers > 0,
        "{tried:?}"
    );
}
