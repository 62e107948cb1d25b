//! Plausible sessions with broken bytes in them, over TCP, TLS and WebSocket, against the real program.
//!
//! A batch is a few clients of any version that take turns: each sends what makes sense where its session stands ([`Actor`]), and now and then
//! bytes of it are flipped, lost, doubled or lied about ([`mutate()`]). After each batch the broker has to be alive, below the ceiling of
//! its limits, and an honest client's message has to come back. All of it follows from a seed and the batch's number.

mod actor;
mod dice;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

pub use actor::Actor;
pub use dice::Dice;
pub use mutate::mutate;

use crate::hostile::{Fort, Honest, Listeners, Target, raise_open_files};

/// Clients of one batch.
const ACTORS_MAX: u64 = 4;
/// Turns of one batch.
const TURNS_MAX: u64 = 120;

/// Limits of the fort: many connections, since those that were broken linger for two seconds.
const LIMITS: &[(&str, &str)] = &[
    ("connections_max", "4000"),
    ("unauthenticated_per_address_max", "4000"),
    ("sessions_max", "64"),
    ("session_expiry_secs_max", "5"),
    ("connect_timeout_secs", "2"),
];

/// How much is tried, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The number of the first batch.
    pub first: u64,
    /// Batches at most.
    pub batches_max: u64,
    /// Time at most; the batch at hand is finished.
    pub time_max: Duration,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    /// Batches.
    pub batches: u64,
    /// Connections.
    pub connections: u64,
    /// Packets sent, whole or broken.
    pub packets: u64,
    /// Of these, with bytes changed.
    pub mutated: u64,
    /// Packets of the broker that were read and had to make sense.
    pub answers: u64,
    /// The most bytes of memory the broker had, and may have had.
    pub peak_bytes: u64,
    /// See `peak_bytes`.
    pub ceiling_bytes: u64,
}

/// Runs a campaign against a fresh `moat`.
///
/// # Errors
/// With the seed and the number of the batch after which something was wrong, and what.
pub fn run(binary: &Path, campaign: &Campaign) -> Result<Tried, String> {
    raise_open_files();
    let fort = Fort::start(binary, Listeners::All, LIMITS);
    let mut honest = Honest::connect(&fort.target);
    honest.run(20, Duration::ZERO);
    let ceiling_bytes = fort.ceiling(None).total();
    let mut tried = Tried {
        ceiling_bytes,
        ..Tried::default()
    };
    let start = Instant::now();
    while tried.batches < campaign.batches_max && start.elapsed() < campaign.time_max {
        let number = campaign.first + tried.batches;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            batch(&fort.target, campaign.seed, number, &mut tried);
            assert!(fort.is_alive(), "moat has ended");
            honest.round_trip();
            tried.peak_bytes = fort.peak_bytes();
            assert!(
                tried.peak_bytes <= ceiling_bytes,
                "{} bytes of memory, and the ceiling is {ceiling_bytes}",
                tried.peak_bytes
            );
        }));
        if let Err(cause) = outcome {
            return Err(replay(campaign.seed, number, &fort, cause));
        }
        tried.batches += 1;
    }
    drop(honest);
    match catch_unwind(AssertUnwindSafe(|| fort.stop())) {
        Ok(()) => Ok(tried),
        Err(cause) => resume_unwind(cause),
    }
}

fn replay(seed: u64, batch: u64, fort: &Fort, cause: Box<dyn std::any::Any + Send>) -> String {
    let words = cause.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| cause.downcast_ref::<&str>().copied());
    let words = words.unwrap_or("a panic without words");
    let log = if fort.is_alive() {
        String::new()
    } else {
        format!("\nits log ends:\n{}", fort.last_words())
    };
    format!(
        "batch {batch} of seed {seed}: {words}{log}\nto replay: cargo xtask fume --seed {seed} --first {batch} --batches 1\n\
         if it needs what came before: cargo xtask fume --seed {seed} --batches {}",
        batch + 1
    )
}

/// One batch: a few clients take turns.
fn batch(target: &Target, seed: u64, number: u64, tried: &mut Tried) {
    let mut dice = Dice::new(seed, number);
    let actors = 1 + dice.below(ACTORS_MAX);
    let mut actors: Vec<Actor> = (0..actors).map(|n| Actor::new(n, &mut dice)).collect();
    for _ in 0..10 + dice.below(TURNS_MAX) {
        let at = usize::try_from(dice.below(actors.len() as u64)).unwrap();
        actors[at].turn(target, &mut dice);
    }
    for actor in &mut actors {
        actor.end(&mut dice);
        tried.connections += actor.connections;
        tried.packets += actor.packets;
        tried.mutated += actor.mutated;
        tried.answers += actor.answers;
    }
}
