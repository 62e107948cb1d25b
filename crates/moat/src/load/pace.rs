//! When the next message is due.

use std::time::{Duration, Instant};

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// An even rate. What could not be sent in its time is due at once: the rate is that of the whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    per_sec: u64,
    start: Instant,
    given: u64,
}

impl Pace {
    /// The first message is due at `start`.
    pub(super) fn new(per_sec: u64, start: Instant) -> Self {
        Self {
            per_sec: per_sec.max(1),
            start,
            given: 0,
        }
    }

    /// Messages that are due now.
    pub(super) fn due(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        let all = nanos * u128::from(self.per_sec) / NANOS_PER_SEC + 1;
        u64::try_from(all)
            .unwrap_or(u64::MAX)
            .saturating_sub(self.given)
    }

    /// A message was sent.
    pub(super) fn give(&mut self) {
        self.given += 1;
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        let nanos = (u128::from(self.given) * NANOS_PER_SEC).div_ceil(u128::from(self.per_sec));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even_and_what_was_late_is_due_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(3, start);
        assert_eq!(pace.due(start), 1);
        pace.give();
        assert_eq!(pace.due(start), 0);
        let next = pace.next();
        assert_eq!(pace.due(next), 1);
        assert_eq!(pace.due(next - Duration::from_nanos(2)), 0);
        assert_eq!(pace.due(start + Duration::from_secs(10)), 30);
    }
}
