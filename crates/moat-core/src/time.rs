//! Time as an argument: milliseconds since an origin that only the driver knows.

use std::fmt;
use std::num::NonZeroU64;

/// A moment, in milliseconds since the driver's origin.
///
/// Eight bytes, totally ordered and made only by the driver, so a test can move it by hand. Whoever keeps moments in a store makes
/// 1970-01-01 UTC the origin, so that they mean the same to the next process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// One more than the milliseconds, so that a moment that may be missing takes eight bytes, too: every message has one.
pub struct Time(NonZeroU64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(NonZeroU64::MIN);
    /// A moment that never comes.
    pub const NEVER: Time = Time(NonZeroU64::MAX);

    /// `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Time {
        Time::ZERO.plus_millis(millis)
    }

    /// Milliseconds since the origin.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0.get() - 1
    }

    /// The moment `secs` seconds later.
    #[must_use]
    pub const fn plus_secs(self, secs: u64) -> Time {
        self.plus_millis(secs.saturating_mul(1000))
    }

    /// The moment `millis` milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Time {
        Time(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; 0 when it lies in the future.
    #[must_use]
    pub const fn millis_since(self, earlier: Time) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// Whole seconds from now until this moment, rounded up; 0 when it has passed.
    #[must_use]
    pub fn secs_from(self, now: Time) -> u32 {
        u32::try_from(self.millis_since(now).div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl Default for Time {
    fn default() -> Time {
        Time::ZERO
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.millis()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_may_be_missing_takes_eight_bytes() {
        assert_eq!(size_of::<Option<Time>>(), 8);
    }

    #[test]
    fn millis_are_what_they_were() {
        for millis in [0, 1, 1_700_000_000_000] {
            assert_eq!(Time::from_millis(millis).millis(), millis);
        }
        assert_eq!(Time::default(), Time::ZERO);
        // Written to a store and read again, the end of time stays that.
        assert_eq!(Time::from_millis(u64::MAX), Time::NEVER);
        assert_eq!(Time::from_millis(Time::NEVER.millis()), Time::NEVER);
        assert_eq!(Time::NEVER.plus_secs(1), Time::NEVER);
    }
}
