//! How far a run has come, for people who wait.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::plan::{Mode, Plan};
use super::tally::Tally;

/// A line on standard error that is written over, if that is a terminal.
pub(super) struct Progress {
    is_shown: bool,
    last: Instant,
    last_count: u64,
    is_dirty: bool,
}

impl Progress {
    /// Nothing is shown yet; never if the reader is a program.
    pub(super) fn new(is_json: bool, now: Instant) -> Self {
        Self {
            is_shown: !is_json && io::stderr().is_terminal(),
            last: now,
            last_count: 0,
            is_dirty: false,
        }
    }

    /// Shows what happened; called once a second.
    pub(super) fn show(&mut self, plan: &Plan, tally: &Tally, now: Instant) {
        if !self.is_shown {
            return;
        }
        let count = counted(plan.mode, tally);
        let passed = now.saturating_duration_since(self.last);
        let line = line(plan, tally, per_sec(count - self.last_count, passed));
        (self.last, self.last_count, self.is_dirty) = (now, count, true);
        // Without a terminal there is nobody to show it to.
        let _gone = write!(io::stderr().lock(), "\r{line}\x1b[K");
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            let _gone = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// What a mode counts.
pub(super) fn counted(mode: Mode, tally: &Tally) -> u64 {
    match mode {
        Mode::Pub => tally.sent,
        Mode::Sub | Mode::Latency => tally.received,
        Mode::Connect => tally.connected,
    }
}

/// A rate in whole numbers.
pub(super) fn per_sec(count: u64, passed: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / passed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn line(plan: &Plan, tally: &Tally, rate: u64) -> String {
    let what = match plan.mode {
        Mode::Pub => format!("{} sent, {} acknowledged", tally.sent, tally.acknowledged),
        Mode::Sub => format!("{} received", tally.received),
        Mode::Connect => format!("{} of {} connected", tally.connected, plan.connections()),
        Mode::Latency => format!("{} sent, {} received", tally.sent, tally.received),
    };
    let errors = tally.errors();
    format!(
        "{}: {what}, {rate} per second, {errors} errors",
        plan.mode.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_its_mode_counts() {
        let mut tally = Tally::new();
        (tally.sent, tally.received, tally.connected) = (3, 2, 1);
        let line = |mode| line(&Plan::new(mode, Vec::new()), &tally, 7);
        assert_eq!(
            line(Mode::Pub),
            "pub: 3 sent, 0 acknowledged, 7 per second, 0 errors"
        );
        assert!(line(Mode::Sub).contains("2 received"));
        assert!(line(Mode::Connect).contains("1 of 0 connected"));
        assert_eq!(counted(Mode::Latency, &tally), 2);
        assert_eq!(per_sec(10, Duration::from_millis(500)), 20);
        assert_eq!(per_sec(10, Duration::ZERO), 10_000_000_000);
    }
}
