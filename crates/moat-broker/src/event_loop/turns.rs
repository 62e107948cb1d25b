//! How long turns take: what is ready while one goes on waits for its end.

use std::time::Duration;

use moat_core::Time;

/// The time of which the longest turn is told: this one and the one before, so at least one and at most two. Unit: milliseconds.
const SPAN_MILLIS: u64 = 60_000;

/// The longest turns of late.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Which span of [`SPAN_MILLIS`] the latest turn was in.
    span: u64,
    in_span: Duration,
    in_last_span: Duration,
}

impl Turns {
    /// A turn that ended at `now` took so long, the waiting for events not counted.
    pub(super) fn note(&mut self, took: Duration, now: Time) {
        self.move_to(now);
        self.in_span = self.in_span.max(took);
    }

    /// The longest turn of the last minute or two.
    pub(super) fn longest(&mut self, now: Time) -> Duration {
        self.move_to(now);
        self.in_span.max(self.in_last_span)
    }

    fn move_to(&mut self, now: Time) {
        let span = now.millis() / SPAN_MILLIS;
        if span == self.span {
            return;
        }
        let is_next = span == self.span + 1;
        self.in_last_span = if is_next {
            self.in_span
        } else {
            Duration::ZERO
        };
        (self.span, self.in_span) = (span, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_told_for_a_minute_and_for_two_at_most() {
        let at = |secs: u64| Time::from_millis(secs * 1000);
        let mut turns = Turns::default();
        turns.note(Duration::from_millis(5), at(600));
        turns.note(Duration::from_millis(9), at(659));
        turns.note(Duration::from_millis(2), at(661));
        assert_eq!(turns.longest(at(700)), Duration::from_millis(9));
        assert_eq!(turns.longest(at(719)), Duration::from_millis(9));
        assert_eq!(turns.longest(at(720)), Duration::from_millis(2));
        assert_eq!(turns.longest(at(900)), Duration::ZERO);
    }
}
