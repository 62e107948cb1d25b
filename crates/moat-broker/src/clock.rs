//! What time it is, for event loops and the store.

use std::time::{Instant, SystemTime};

use moat_core::Time;

/// UNIX time that never goes back: the wall clock as it was at the start, and what has passed since.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    unix_millis: u64,
    started: Instant,
}

impl Clock {
    /// The clock of a broker that starts now.
    #[must_use]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Clock {
            unix_millis: unix.map_or(0, |unix| millis(unix.as_millis())),
            started: Instant::now(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.at(Instant::now())
    }

    /// What time it was, or is, at `instant`.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Time {
        let passed = instant.saturating_duration_since(self.started);
        Time::from_millis(self.unix_millis).plus_millis(millis(passed.as_millis()))
    }
}

fn millis(millis: u128) -> u64 {
    u64::try_from(millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_unix_time_and_does_not_go_back() {
        let clock = Clock::start();
        let first = clock.now();
        // The third of November 2025, when this was not yet written.
        assert!(first > Time::from_millis(1_762_128_000_000));
        assert!(clock.now() >= first);
    }
}
