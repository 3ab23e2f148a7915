//! Random streams, and what the same seed does to them on their way.

use std::time::Duration;

use pollwire::Instant;
use pollwire::rings::memory::{Fate, Impairment, Impairments, SeededImpairment};

use super::random::Random;

/// Bytes that both ends can compute.
pub(crate) struct Stream {
    random: Random,
    word: [u8; 8],
    at: usize,
    /// Bytes still to come.
    pub(crate) left: usize,
}

impl Stream {
    pub(crate) fn new(seed: u64, len: usize) -> Self {
        Self {
            random: Random::new(seed),
            word: [0; 8],
            at: 8,
            left: len,
        }
    }

    /// The next bytes, up to `most`.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.left);
        self.left -= count;
        (0..count).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        if self.at == 8 {
            self.word = self.random.next_u64().to_le_bytes();
            self.at = 0;
        }
        self.at += 1;
        self.word[self.at - 1]
    }

    /// Compares what arrived with what comes next.
    pub(crate) fn check(&mut self, arrived: &[u8]) -> Result<(), String> {
        if arrived.len() > self.left {
            return Err(format!("{} bytes too many", arrived.len() - self.left));
        }
        let left = self.left;
        if self.take(arrived.len()) != arrived {
            return Err(format!("other bytes, {left} before the end"));
        }
        Ok(())
    }
}

/// What a seed stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// pollwire connects, or else the other does.
    pub(crate) we_connect: bool,
    /// Bytes from pollwire, and to it.
    pub(crate) lengths: [usize; 2],
    pub(crate) path: Impairments,
}

impl Plan {
    pub(crate) fn new(seed: u64, longest: usize) -> Self {
        let mut random = Random::new(!seed);
        let mut below = |bound: u64| random.next_u64() % bound;
        let mut length = || usize::try_from(below(longest as u64)).expect("a length");
        let lengths = [length(), length()];
        let mut share = |most: f64| below(1000) as f64 / 1000.0 * most;
        let path = Impairments {
            loss: share(0.04),
            duplicate: share(0.02),
            reorder: share(0.04),
            corrupt: share(0.01),
            delay: Duration::from_micros(below(20_000)),
            reorder_by: Duration::from_micros(100 + below(10_000)),
            rate: Some(10_000_000 + below(90_000_000)),
            queue_limit: 32_768 + below(200_000),
            ..Impairments::NONE
        };
        Self {
            seed,
            we_connect: below(2) == 0,
            lengths,
            path,
        }
    }

    /// The two streams, as their writers and as their readers have them.
    pub(crate) fn stream(&self, from_us: bool) -> Stream {
        if from_us {
            Stream::new(self.seed, self.lengths[0])
        } else {
            Stream::new(!self.seed, self.lengths[1])
        }
    }

    /// Of the paths from pollwire and to it.
    pub(crate) fn seeds(&self) -> [u64; 2] {
        [self.seed.wrapping_mul(2), self.seed.wrapping_mul(2) + 1]
    }
}

/// Harms TCP only: ARP has no checksum, and one flipped bit in it can name a
/// wrong neighbour for a minute.
pub(crate) struct Sparing {
    pub(crate) path: SeededImpairment,
    pub(crate) delay: Duration,
}

impl Impairment for Sparing {
    fn judge(&mut self, now: Instant, packet: &mut [u8]) -> Fate {
        if packet.get(12..14) == Some(&[8, 0]) {
            self.path.judge(now, packet)
        } else {
            Fate::arrives(now + self.delay)
        }
    }
}
