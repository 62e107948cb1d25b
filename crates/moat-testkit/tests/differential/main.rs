//! The same bytes, valid and not, to moat and to Debian's mosquitto: the same answers, or a difference with the
//! number of the statement that explains it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answer;
mod dice;
mod drive;
mod explained;
mod generate;
mod mosquitto;
mod mutate;
mod sequence;
mod shape;
use std::sync::atomic::{AtomicU32, Ordering};

use moat_testkit::TestBroker;

#[test]
fn explore() {
    let from: u64 = std::env::var("FROM").map_or(0, |s| s.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(10, |s| s.parse().unwrap());
    let other = mosquitto::Mosquitto::start();
    let broker = TestBroker::builder()
        .user(mosquitto::USER, mosquitto::PASSWORD)
        .limits(|limits| {
            limits.packet = moat_codec::Limits::generous();
            limits.publishes_per_sec_max = 0;
            limits.keep_alive_secs_max = 0;
            limits.session_expiry_secs_max = u32::MAX;
        })
        .start();
    static RUN: AtomicU32 = AtomicU32::new(0);
    let mut equal = 0;
    let start = std::time::Instant::now();
    for seed in from..from + count {
        let sequence = generate::sequence(seed);
        let nonce = shape::nonce(RUN.fetch_add(1, Ordering::Relaxed));
        let ours = drive::run(broker.plain, &sequence, nonce);
        let theirs = drive::run(other.address, &sequence, nonce);
        if let Some(step) = (0..ours.len()).find(|n| ours[*n] != theirs[*n]) {
            eprintln!("SEED {seed} at {step}\n{sequence}");
            for slot in 0..4 {
                if ours[step][slot] != theirs[step][slot] {
                    eprintln!("  slot {slot}\n   moat      {:?}\n   mosquitto {:?}", ours[step][slot], theirs[step][slot]);
                }
            }
        } else {
            equal += 1;
        }
    }
    eprintln!("{equal} of {count} equal, {:?}", start.elapsed());
}
