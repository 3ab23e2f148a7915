//! Impairments: what a bad wire does to packets, in virtual time.

use core::time::Duration;

use crate::Instant;

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// When it arrives; `None` when it does not.
    pub arrives: Option<Instant>,
    /// When a second copy arrives.
    pub again: Option<Instant>,
    /// Its bytes were changed. For the statistics only.
    pub corrupted: bool,
    /// It does not arrive because a queue was full, not by chance. For the
    /// statistics only.
    pub overflowed: bool,
}

impl Fate {
    /// The packet is lost.
    pub const LOST: Self = Self {
        arrives: None,
        again: None,
        corrupted: false,
        overflowed: false,
    };

    /// The packet arrives once, unharmed.
    #[must_use]
    pub const fn arrives(at: Instant) -> Self {
        Self {
            arrives: Some(at),
            ..Self::LOST
        }
    }
}

/// Decides what becomes of each packet of one direction.
pub trait Impairment {
    /// The fate of `packet` (one Ethernet frame, checksums complete), sent at
    /// `now`. The bytes may be changed in place.
    fn judge(&mut self, now: Instant, packet: &mut [u8]) -> Fate;
}

/// The usual impairments. Probabilities lie in `0.0..=1.0` and are drawn per
/// packet, independently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairments {
    /// Time from one end to the other.
    pub delay: Duration,
    /// Further random delay, uniform in `0..=jitter`. It does not reorder.
    pub jitter: Duration,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that a packet is held back by `reorder_by`, so that later
    /// ones overtake it.
    pub reorder: f64,
    /// How long a reordered packet is held back.
    pub reorder_by: Duration,
    /// Probability that bits of a packet flip.
    pub corrupt: f64,
    /// How many random bits flip in a corrupted packet. The Internet checksum
    /// finds every single flip, but misses about one in 32 pairs.
    pub corrupt_bits: u32,
    /// Line rate in bits per second; `None` is infinite.
    pub rate: Option<u64>,
    /// Bytes that may wait for the line at a finite `rate`; what comes on top
    /// is dropped.
    pub queue_limit: u64,
}

impl Impairments {
    /// A perfect wire without delay. The fields that qualify others have
    /// usable values: 1 ms of reordering, one flipped bit, 128 KiB of queue.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        reorder_by: Duration::from_millis(1),
        corrupt: 0.0,
        corrupt_bits: 1,
        rate: None,
        queue_limit: 128 * 1024,
    };

    /// These impairments with their randomness drawn from `seed`: the same seed
    /// and packets give the same fates.
    #[must_use]
    pub const fn seeded(self, seed: u64) -> SeededImpairment {
        SeededImpairment {
            config: self,
            state: seed,
            line_free: Instant::ZERO,
            last_arrival: Instant::ZERO,
        }
    }
}

/// [`Impairments`] with a random generator and the state of the line.
#[derive(Clone, Debug)]
pub struct SeededImpairment {
    config: Impairments,
    state: u64,
    line_free: Instant,
    last_arrival: Instant,
}

impl SeededImpairment {
    /// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough to draw
    /// test conditions.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A random number in `0..bound`; 0 when `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.random()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    fn chance(&mut self, probability: f64) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 random bits are exact in an f64"
        )]
        let drawn = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        drawn < probability
    }

    /// When the last bit of a packet leaves the line; `None` when the queue has
    /// no room for it.
    fn departure(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else {
            return Some(now);
        };
        let rate = u128::from(rate.max(1));
        let waiting = u128::from(self.line_free.nanos_since(now)) * rate / 8_000_000_000;
        let bytes = bytes as u128;
        if waiting + bytes > u128::from(self.config.queue_limit) {
            return None;
        }
        let nanos = bytes * 8_000_000_000 / rate;
        let start = self.line_free.max(now);
        self.line_free = start.plus_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.line_free)
    }

    fn flip_bits(&mut self, packet: &mut [u8]) {
        for _ in 0..self.config.corrupt_bits {
            let bit = self.below(packet.len() as u64 * 8);
            let byte = usize::try_from(bit / 8).unwrap_or(0);
            if let Some(byte) = packet.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn arrival(&mut self, departure: Instant) -> Instant {
        let jitter = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = self.below(jitter.saturating_add(1));
        let arrival = (departure + self.config.delay).plus_nanos(jitter);
        if self.chance(self.config.reorder) {
            return arrival + self.config.reorder_by;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}

impl Impairment for SeededImpairment {
    fn judge(&mut self, now: Instant, packet: &mut [u8]) -> Fate {
        let Some(departure) = self.departure(now, packet.len()) else {
            return Fate {
                overflowed: true,
                ..Fate::LOST
            };
        };
        if self.chance(self.config.loss) {
            return Fate::LOST;
        }
        let corrupted = self.chance(self.config.corrupt);
        if corrupted {
            self.flip_bits(packet);
        }
        let arrives = Some(self.arrival(departure));
        let again = self
            .chance(self.config.duplicate)
            .then(|| self.arrival(departure));
        Fate {
            arrives,
            again,
            corrupted,
            overflowed: false,
        }
    }
}
