//! How often a connection may publish or subscribe: a bucket of tokens that time refills.

use crate::Time;

/// A token bucket. Tokens are counted in thousandths, so that a millisecond's share is whole.
#[derive(Clone, Copy, Debug)]
pub struct PublishRate {
    millitokens: u64,
    /// Tokens taken beyond what was there; refilled first.
    owed: u64,
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
            owed: 0,
            refilled: now,
            reported: false,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// With the time from which one will be there. A rate of 0 has no limit.
    pub fn take(&mut self, per_sec_max: u32, burst_max: u32, now: Time) -> Result<(), Time> {
        self.take_many(1, per_sec_max, burst_max, now)
    }

    /// Takes `count` tokens if there is one. Those that are not there are owed: what is large passes once and is paid for before the next.
    ///
    /// # Errors
    /// With the time from which one will be there. A rate of 0 has no limit.
    pub fn take_many(
        &mut self,
        count: u32,
        per_sec_max: u32,
        burst_max: u32,
        now: Time,
    ) -> Result<(), Time> {
        if per_sec_max == 0 {
            return Ok(());
        }
        self.refill(per_sec_max, burst_max, now);
        if self.millitokens < 1000 {
            let missing = self.owed + 1000 - self.millitokens;
            return Err(now.plus_millis(missing.div_ceil(u64::from(per_sec_max)).max(1)));
        }
        let cost = u64::from(count) * 1000;
        self.owed = cost.saturating_sub(self.millitokens);
        self.millitokens = self.millitokens.saturating_sub(cost);
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
        let paid = earned.min(self.owed);
        self.owed -= paid;
        self.millitokens = self.millitokens.saturating_add(earned - paid).min(full);
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
    fn what_is_larger_than_the_burst_passes_once_and_is_paid_for() {
        let mut rate = PublishRate::new(10, Time::ZERO);
        rate.take_many(110, 10, 10, Time::ZERO).unwrap();
        let next = rate.take_many(1, 10, 10, Time::ZERO).unwrap_err();
        // A hundred are owed, and one has to be there.
        assert_eq!(next, Time::from_millis(10_100));
        let early = Time::from_millis(10_099);
        assert_eq!(rate.take_many(1, 10, 10, early).unwrap_err(), next);
        rate.take_many(1, 10, 10, next).unwrap();
    }

    #[test]
    fn a_rate_of_zero_has_no_limit() {
        let mut rate = PublishRate::new(0, Time::ZERO);
        for _ in 0..10_000 {
            rate.take(0, 0, Time::ZERO).unwrap();
        }
    }
}
