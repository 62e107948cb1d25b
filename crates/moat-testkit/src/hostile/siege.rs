//! An attack with an honest client beside it, and what came of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::honest::rest;
use super::{Attack, Ceiling, Fort, Honest, RoundTrips};

/// Bytes per hostile packet that a broker must not be able to lose unnoticed.
pub const LEAK_BYTES: u64 = 1024;

/// Round trips before the attack: connected, warmed up, and the base of the memory.
const WARM_UP_ROUND_TRIPS: usize = 50;

/// What came of a siege.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The attack.
    pub name: &'static str,
    /// The honest client's round trips without the attack.
    pub quiet: RoundTrips,
    /// And beside it.
    pub attacked: RoundTrips,
    /// The most bytes of memory the broker had.
    pub peak_bytes: u64,
    /// What it may have had.
    pub ceiling: Ceiling,
    /// Hostile packets (or connections) in all.
    pub packets: u64,
}

impl Outcome {
    /// Whether the memory stayed below the ceiling.
    #[must_use]
    pub fn is_below_ceiling(&self) -> bool {
        self.peak_bytes <= self.ceiling.total()
    }

    /// Whether a broker that loses [`LEAK_BYTES`] per hostile packet would have broken the ceiling.
    #[must_use]
    pub fn would_show_a_leak(&self) -> bool {
        self.peak_bytes + self.packets * LEAK_BYTES > self.ceiling.total()
    }
}

/// How long a siege lasts.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// Without pauses, until a leak would show, or at most so long.
    UntilALeakShows(Duration),
    /// At the attack's own pace: so many rounds of so long quiet, and so long attacked.
    Rounds(u32, Duration),
}

/// Runs `attack` against a fresh `moat` with an honest client beside it. Fails if the honest client loses a message, or if the broker
/// ends, panics or does not stop cleanly.
#[must_use]
pub fn siege(binary: &Path, attack: &mut dyn Attack, length: Length) -> Outcome {
    let fort = Fort::start(binary, attack.listeners(), attack.limits());
    let mut honest = Honest::connect(&fort.target);
    let mut quiet = honest.run(WARM_UP_ROUND_TRIPS, Duration::ZERO);
    let ceiling = fort.ceiling(attack.packet_bytes_sent_max());
    let mut attacked = RoundTrips::default();
    let mut packets = 0;
    match length {
        Length::UntilALeakShows(at_most) => {
            let enough = |packets: u64| {
                fort.resident_bytes() + packets * LEAK_BYTES > ceiling.total() + (1 << 20)
            };
            let until = Instant::now() + at_most;
            attacked = beside(&mut honest, Duration::from_millis(5), || {
                while Instant::now() < until && !enough(packets) {
                    packets += attack.step(&fort.target);
                }
            });
        }
        Length::Rounds(rounds, each) => {
            quiet = RoundTrips::default();
            for _ in 0..rounds {
                let pause = Duration::from_millis(2);
                let stop_after = || rest(each);
                quiet.add(&beside(&mut honest, pause, stop_after));
                attacked.add(&beside(&mut honest, pause, || {
                    packets += paced(attack, &fort, each);
                }));
            }
        }
    }
    // What is still under way is handled by then.
    honest.round_trip();
    assert!(fort.is_alive(), "moat has ended");
    let peak_bytes = fort.peak_bytes();
    fort.stop();
    Outcome {
        name: attack.name(),
        quiet,
        attacked,
        peak_bytes,
        ceiling,
        packets,
    }
}

/// The honest client's round trips while `act` runs.
fn beside(honest: &mut Honest, pause: Duration, act: impl FnOnce()) -> RoundTrips {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trips = scope.spawn(|| honest.run_until(&stop, pause));
        // Also if the attack fails: nobody may wait for the honest client for ever.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        let trips = trips.join();
        match (acted, trips) {
            (Ok(()), Ok(trips)) => trips,
            (Err(cause), _) | (_, Err(cause)) => std::panic::resume_unwind(cause),
        }
    })
}

fn paced(attack: &mut dyn Attack, fort: &Fort, each: Duration) -> u64 {
    let interval = Duration::from_secs(1) / attack.steps_per_sec();
    let (start, mut packets, mut steps) = (Instant::now(), 0, 0);
    while start.elapsed() < each {
        packets += attack.step(&fort.target);
        steps += 1;
        rest((interval * steps).saturating_sub(start.elapsed()));
    }
    packets
}
