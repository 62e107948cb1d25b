//! A whole broker on a virtual clock: shards, sessions, a store that loses what it was not told to keep, a network that cuts, clients
//! that come and go, and crashes at any point. Everything follows from a seed, so what goes wrong once goes wrong again.
//!
//! - `plan`: what a seed decides at first; `coverage`: how often it came by what it is for.
//! - `world`: the clock and all there is; `network`: bytes on their way.
//! - `broker`: the shards, driven in turns as the real event loop does it; `storage`: the storage thread; [`store`]: what the disk keeps.
//! - `crash`: when the broker dies, and how the next one starts.
//! - `client`: what a client is; `act`: what it does; `react`: what it makes of what it gets; `ledger`: which sessions there have to be.
//! - `end`: everything is drained, and every promise is checked.

mod act;
mod broker;
mod client;
mod coverage;
mod crash;
mod end;
mod ledger;
mod network;
mod plan;
mod react;
mod storage;
pub mod store;
mod world;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::history::{History, Verdict};

pub use coverage::Coverage;

/// Whether what waits in a group of a shared subscription survives a crash. Its loss is not complained of until it does.
const SHARED_IS_DURABLE: bool = true;

/// Whether a crash leaves the wills alone of a client that came back while its will was on its way. Until it does, either may be lost.
const WILLS_ARE_APART: bool = true;

/// A fault put into the simulated driver or disk, to see that the simulation finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// The driver says that a batch is durable when it hands it over.
    AckBeforeCommit,
    /// After a crash, the disk has the progress of queues, and not the records they follow from.
    CursorAheadOfLog,
    /// The disk takes a will away without the message that it has become.
    LostWill,
}

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How often it came by what it is for.
    pub coverage: Coverage,
    /// What the history's checker says; absent after a panic.
    pub verdict: Option<Verdict>,
    /// Broken promises of other kinds.
    pub complaints: Vec<String>,
    /// What happened, if asked for.
    pub trace: Vec<String>,
    history: History,
}

impl Outcome {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.complaints.is_empty() && self.verdict.as_ref().is_some_and(Verdict::is_clean)
    }

    /// A number that two runs of a seed have in common.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for event in self.history.events() {
            event.to_string().hash(&mut hasher);
        }
        self.coverage.to_string().hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        for complaint in &self.complaints {
            writeln!(f, "seed {}: {complaint}", self.seed)?;
        }
        match &self.verdict {
            Some(verdict) if !verdict.is_clean() => write!(f, "seed {}: {verdict}", self.seed),
            Some(_) => Ok(()),
            None => writeln!(f, "seed {}: panicked", self.seed),
        }
    }
}

/// Runs a seed, with a fault or without.
#[must_use]
pub fn run(seed: u64, planted: Option<Planted>, is_traced: bool) -> Outcome {
    let mut world = world::World::new(seed, planted, is_traced);
    let verdict = catch_unwind(AssertUnwindSafe(|| world.run()));
    let mut complaints = std::mem::take(&mut world.complaints);
    let verdict = verdict.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        complaints.push(format!("panic: {}", text.unwrap_or_default()));
    });
    Outcome {
        seed,
        coverage: world.coverage,
        verdict: verdict.ok(),
        complaints,
        trace: world.trace.take().unwrap_or_default(),
        history: world.history,
    }
}
