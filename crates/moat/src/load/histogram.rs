//! Durations, counted in little memory.

use std::time::Duration;

/// Steps between a power of two and the next: what is told is at most one 64th too high.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Buckets for every number of 64 bits.
const BUCKETS: usize = 64 * (64 - STEP_BITS as usize + 1);

/// How often which duration was seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max_nanos: u64,
}

impl Histogram {
    /// Empty.
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            max_nanos: 0,
        }
    }

    /// Counts a duration.
    pub(super) fn record(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max_nanos = self.max_nanos.max(nanos);
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_nanos)
    }

    /// The duration that `per_mille` of them did not exceed.
    pub(super) fn quantile(&self, per_mille: u64) -> Duration {
        let rank = u128::from(self.count) * u128::from(per_mille);
        let wanted = u64::try_from(rank.div_ceil(1_000)).unwrap_or(u64::MAX);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(upper_bound(bucket as u64).min(self.max_nanos));
            }
        }
        self.max()
    }
}

/// Below 128 each number has a bucket, above it each power of two has 64.
fn bucket_of(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let bucket = u64::from(shift) * STEPS + (nanos >> shift);
    usize::try_from(bucket).unwrap_or(BUCKETS)
}

/// The largest number of a bucket.
fn upper_bound(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let top = bucket - shift * STEPS;
    let end = u128::from(top + 1) << shift;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_a_bucket_that_ends_at_most_a_64th_above_it() {
        for bits in 0..64 {
            for nanos in [
                1_u64 << bits,
                (1 << bits) - 1,
                (1 << bits) + (1 << bits) / 3,
            ] {
                let bucket = bucket_of(nanos);
                assert!(bucket < BUCKETS, "{nanos}");
                let bound = upper_bound(bucket as u64);
                assert!(bound >= nanos && bound - nanos <= nanos / 64, "{nanos}");
            }
        }
        assert_eq!(upper_bound(bucket_of(u64::MAX) as u64), u64::MAX);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_hundred_are_those_of_a_hundred() {
        let mut histogram = Histogram::new();
        for nanos in 1..=100 {
            histogram.record(nanos);
        }
        let nanos = |per_mille| histogram.quantile(per_mille).as_nanos();
        assert_eq!(
            [nanos(500), nanos(900), nanos(990), nanos(999), nanos(1000)],
            [50, 90, 99, 100, 100]
        );
        assert_eq!(histogram.count(), 100);
        assert_eq!(Histogram::new().quantile(500), Duration::ZERO);
    }
}
