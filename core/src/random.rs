//! Random numbers that nobody outside can foresee: ports, initial sequence
//! numbers, hash keys, jitter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A generator (ChaCha8) seeded once with the platform's entropy. Equal seeds
/// give equal numbers, which is what makes simulations repeatable.
#[derive(Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// A generator from 32 bytes of entropy.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// A number below `bound`, each equally likely; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        // Lemire, "Fast Random Integer Generation in an Interval" (2019): the
        // high half of a product is even once the few low halves that would
        // favour some results are refused.
        let reject = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
            let low = product as u32;
            if low >= reject {
                return u32::try_from(product >> 32).unwrap_or(0);
            }
        }
    }
}

impl core::fmt::Debug for Random {
    /// Shows nothing of the state.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_repeat_and_others_differ() {
        let draw = |seed: u8| {
            let mut random = Random::new([seed; 32]);
            [random.next_u64(), random.next_u64()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn below_is_within_bounds_and_reaches_all() {
        let mut random = Random::new([7; 32]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(
            seen.iter().all(|&count| (800..1200).contains(&count)),
            "{seen:?}"
        );
        assert!((0..100).all(|_| random.below(u32::MAX) < u32::MAX));
    }

    #[test]
    fn fill_fills_odd_lengths() {
        let mut random = Random::new([3; 32]);
        let mut bytes = [0; 13];
        random.fill(&mut bytes);
        assert!(bytes.iter().filter(|&&byte| byte == 0).count() < 4);
    }
}
