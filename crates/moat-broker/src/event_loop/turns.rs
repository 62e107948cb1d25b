//! How long turns take: what is ready while one goes on waits for its end.

use std::time::{Duration, Instant};

use moat_core::Time;

/// The time of which the longest turn is told: this one and the one before, so at least one and at most two. Unit: milliseconds.
const SPAN_MILLIS: u64 = 60_000;

/// How long a turn serves those who are ready, and then how long it flushes, before the rest has to wait for the next one: so nobody
/// waits for all of the others, however many come or go at once.
const PART_TIME_MAX: Duration = Duration::from_millis(1);
/// Connections served or flushed, or envelopes handled, between two looks at the clock. A turn of fewer does not look at all.
const CONNECTIONS_PER_LOOK: usize = 8;

/// A part of a turn that goes through connections or envelopes.
#[derive(Debug, Default)]
pub(super) struct Part {
    first_look: Option<Instant>,
}

impl Part {
    /// Whether it has lasted so long, `done` connections so far, that what is left is for the next turn.
    #[inline]
    pub(super) fn is_over(&mut self, done: usize) -> bool {
        if done % CONNECTIONS_PER_LOOK != CONNECTIONS_PER_LOOK - 1 {
            return false;
        }
        match self.first_look {
            Some(first) => first.elapsed() >= PART_TIME_MAX,
            None => {
                self.first_look = Some(Instant::now());
                false
            }
        }
    }
}

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
    fn a_part_of_a_turn_is_over_after_its_time_and_never_before_the_second_look() {
        let mut part = Part::default();
        let looks = |part: &mut Part, done: usize| part.is_over(done);
        assert!(!(0..CONNECTIONS_PER_LOOK).any(|done| looks(&mut part, done)));
        let begun = Instant::now();
        while begun.elapsed() < PART_TIME_MAX {}
        assert!(!looks(&mut part, CONNECTIONS_PER_LOOK), "it does not look");
        assert!(looks(&mut part, 2 * CONNECTIONS_PER_LOOK - 1));
    }

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
