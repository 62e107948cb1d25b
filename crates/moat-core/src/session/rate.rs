//! How often a connection may publish: a bucket of tokens that time refills.

use crate::Time;

/// A token bucket. Tokens are counted in thousandths, so that a millisecond's share is whole.
#[derive(Clone, Copy, Debug)]
pub struct PublishRate {
    millitokens: u64,
    refilled: Time,
    /// Whether the limit was already reported since the bucket was last full.
    pub reported: bool,
}

impl PublishRate {
    /// A full bucket.
    #[must_use]
    pub fn new(burst_max: u32, now: Time) -> Self {
        PublishRate {
            millitokens: u64::from(burst_max) * 1000,
            refilled: now,
            reported: false,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// With the time from which one will be there. A rate of 0 has no limit.
    pub fn take(&mut self, per_sec_max: u32, burst_max: u32, now: Time) -> Result<(), Time> {
        if per_sec_max == 0 {
            return Ok(());
        }
        self.refill(per_sec_max, burst_max, now);
        if self.millitokens < 1000 {
            let missing = 1000 - self.millitokens;
            return Err(now.plus_millis(missing.div_ceil(u64::from(per_sec_max)).max(1)));
        }
        self.millitokens -= 1000;
        Ok(())
    }

    /// Returns the token of a publish that was not handled after all.
    pub fn give_back(&mut self) {
        self.millitokens = self.millitokens.saturating_add(1000);
    }

    fn refill(&mut self, per_sec_max: u32, burst_max: u32, now: Time) {
        let full = u64::from(burst_max.max(1)) * 1000;
        let earned = now
            .millis_since(self.refilled)
            .saturating_mul(u64::from(per_sec_max));
        self.millitokens = self.millitokens.saturating_add(earned).min(full);
        self.refilled = now;
        if self.millitokens == full {
            self.reported = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut rate = PublishRate::new(3, Time::ZERO);
        for _ in 0..3 {
            rate.take(10, 3, Time::ZERO).unwrap();
        }
        let next = rate.take(10, 3, Time::ZERO).unwrap_err();
        assert_eq!(next, Time::from_millis(100));
        rate.take(10, 3, next).unwrap();
        assert!(rate.take(10, 3, next).is_err());
    }

    #[test]
    fn a_rate_of_zero_has_no_limit() {
        let mut rate = PublishRate::new(0, Time::ZERO);
        for _ in 0..10_000 {
            rate.take(0, 0, Time::ZERO).unwrap();
        }
    }
}
