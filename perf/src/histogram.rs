/// Buckets per power of two: a value is known to 1/64, about 1.6 %.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values below 2 * STEPS have a bucket of their own; each of the powers of two
/// above has STEPS buckets.
const BUCKETS: usize = 2 * STEPS + (63 - STEP_BITS as usize) * STEPS;

/// A log-linear histogram of `u64` values (HdrHistogram's layout) of fixed
/// size, about 30 KB. Values below 128 are exact, all others to 1/64; the
/// whole range of `u64` fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: u64,
    max: u64,
    /// The complement of the smallest value, so that empty is all zeros.
    not_min: u64,
}

/// The bucket of a value, below BUCKETS.
#[inline(always)]
const fn bucket_of(value: u64) -> usize {
    // How far to shift so that at most STEP_BITS + 1 bits are left.
    let shift = (63 - STEP_BITS).saturating_sub((value | STEPS as u64).leading_zeros());
    shift as usize * STEPS + (value >> shift) as usize
}

/// The largest value of a bucket.
const fn top_of(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = (bucket - shift * STEPS) as u64;
    (step << shift) + ((1 << shift) - 1)
}

impl Histogram {
    /// An empty histogram: all zeros.
    #[must_use]
    pub const fn new() -> Self {
        Histogram {
            buckets: [0; BUCKETS],
            sum: 0,
            max: 0,
            not_min: 0,
        }
    }

    /// Counts one value: a handful of instructions and one cache line of the
    /// buckets.
    #[inline]
    pub fn record(&mut self, value: u64) {
        if let Some(count) = self.buckets.get_mut(bucket_of(value)) {
            *count += 1;
        }
        self.sum = self.sum.wrapping_add(value);
        self.max = self.max.max(value);
        self.not_min = self.not_min.max(!value);
    }

    /// How many values were recorded. Walks over all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The largest value, exactly; 0 if there is none.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value, exactly; 0 if there is none.
    #[must_use]
    pub fn min(&self) -> u64 {
        // Empty would give u64::MAX, which only a histogram of nothing but
        // u64::MAX gives too, and then max() has it.
        (!self.not_min).min(self.max)
    }

    /// The mean, rounded down; 0 if there is no value. Exact while the sum of
    /// all values fits 64 bits (of nanoseconds: 584 years).
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// The value that `per_mille` (0 to 1000) thousandths of all values do not
    /// exceed: 500 is the median, 999 is p99.9. At most 1/64 too high, never
    /// above [`Histogram::max`]; 0 if there is no value.
    #[must_use]
    pub fn quantile(&self, per_mille: u32) -> u64 {
        let count = u128::from(self.count());
        let share = u128::from(per_mille.min(1000));
        // At least one value is needed, so that quantile(0) is the smallest.
        let wanted = (count * share).div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen += u128::from(*n);
            if seen >= wanted {
                return top_of(bucket).clamp(self.min(), self.max);
            }
        }
        self.max
    }

    /// Adds all that `other` recorded.
    pub fn merge(&mut self, other: &Histogram) {
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to += from;
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
        self.not_min = self.not_min.max(other.not_min);
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.buckets.fill(0);
        (self.sum, self.max, self.not_min) = (0, 0, 0);
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn buckets_are_contiguous() {
        assert_eq!(bucket_of(0), 0);
        for bucket in 0..BUCKETS {
            let top = top_of(bucket);
            assert_eq!(bucket_of(top), bucket);
            match top.checked_add(1) {
                Some(next) => assert_eq!(bucket_of(next), bucket + 1),
                None => assert_eq!(bucket, BUCKETS - 1),
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn empty_is_zero() {
        let empty = Histogram::new();
        let all = [empty.count(), empty.min(), empty.max(), empty.mean()];
        assert_eq!(all, [0; 4]);
        assert_eq!(empty.quantile(500), 0);
    }

    #[test]
    fn reset_forgets() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.min(), u64::MAX);
        assert_eq!(histogram.quantile(1000), u64::MAX);
        histogram.reset();
        assert_eq!(histogram, Histogram::new());
    }

    proptest! {
        #[test]
        fn quantiles_match_sorted_values(values in proptest::collection::vec(
            any::<u64>().prop_flat_map(|v| (Just(v), 0u32..64)).prop_map(|(v, s)| v >> s), 1..300),
            per_mille in 0u32..=1000) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let mut histogram = Histogram::new();
            values.iter().for_each(|v| histogram.record(*v));
            let rank = (values.len() * per_mille as usize).div_ceil(1000).max(1) - 1;
            let got = histogram.quantile(per_mille);
            prop_assert!(got >= sorted[rank]);
            prop_assert!(got - sorted[rank] <= sorted[rank] / 64);
            prop_assert_eq!(histogram.min(), sorted[0]);
            prop_assert_eq!(histogram.max(), sorted[sorted.len() - 1]);
            prop_assert_eq!(histogram.count(), values.len() as u64);
        }

        #[test]
        fn merging_is_recording_all(a in proptest::collection::vec(0u64..1 << 50, 0..99),
                                    b in proptest::collection::vec(0u64..1 << 50, 0..99)) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::new();
                values.iter().for_each(|v| histogram.record(*v));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert!(merged == of(&all));
            let mean = all.iter().sum::<u64>().checked_div(all.len() as u64).unwrap_or(0);
            prop_assert_eq!(merged.mean(), mean);
        }
    }
}
