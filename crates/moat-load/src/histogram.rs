//! A histogram of times, filled by many tasks.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Sub-buckets per power of two: a value is known to about 3 %.
const PER_OCTAVE: usize = 32;
/// As many buckets as 64 bits need.
const BUCKETS: usize = 64 * PER_OCTAVE;

/// Log-linear buckets of nanoseconds.
pub(crate) struct Histogram(Vec<AtomicU32>);

impl Histogram {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }

    #[inline]
    pub(crate) fn add(&self, nanos: u64) {
        self.0[bucket(nanos)].fetch_add(1, Relaxed);
    }

    pub(crate) fn clear(&self) {
        for count in &self.0 {
            count.store(0, Relaxed);
        }
    }

    /// The middle of the bucket in which `quantile` (0 to 1) lies, in microseconds; 0 without values.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let total: u64 = self
            .0
            .iter()
            .map(|count| u64::from(count.load(Relaxed)))
            .sum();
        if total == 0 {
            return 0.0;
        }
        let want = ((total as f64) * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.0.iter().enumerate() {
            seen += u64::from(count.load(Relaxed));
            if seen >= want {
                return middle(index) as f64 / 1e3;
            }
        }
        0.0
    }
}

fn bucket(value: u64) -> usize {
    if value < PER_OCTAVE as u64 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros() as usize;
    (exponent - 4) * PER_OCTAVE + ((value >> (exponent - 5)) as usize & (PER_OCTAVE - 1))
}

fn middle(bucket: usize) -> u64 {
    if bucket < PER_OCTAVE {
        return bucket as u64;
    }
    let exponent = bucket / PER_OCTAVE + 4;
    let sub = (bucket % PER_OCTAVE) as u64;
    (1u64 << exponent) + (sub << (exponent - 5)) + (1u64 << (exponent - 5)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_within_three_percent() {
        let histogram = Histogram::new();
        for millis in 1..=1000 {
            histogram.add(millis * 1_000_000);
        }
        for (quantile, expected_us) in [(0.5, 500e3), (0.99, 990e3), (1.0, 1000e3)] {
            let found = histogram.quantile_us(quantile);
            assert!(
                (found / expected_us - 1.0).abs() < 0.03,
                "{quantile}: {found}"
            );
        }
    }

    #[test]
    fn every_value_has_a_bucket_and_an_empty_histogram_says_nothing() {
        let histogram = Histogram::new();
        assert_eq!(histogram.quantile_us(0.5), 0.0);
        histogram.add(0);
        histogram.add(u64::MAX);
        histogram.clear();
        assert_eq!(histogram.quantile_us(1.0), 0.0);
    }
}
