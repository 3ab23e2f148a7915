//! Pacing: a window's segments spread over the round trip instead of leaving in
//! bursts.
//!
//! A paced flow sends what it may in a millisecond, then waits for its timer in
//! the wheel that it has anyway. It takes the full path out, so flows that are
//! not paced pay nothing.

use pollwire_rings::Instant;

use crate::tcp::coarse::micros;
use crate::tcp::tcb::{Tcb, flag};

/// Whether a connection spreads its segments over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pacing {
    /// Sends what the window allows at once.
    #[default]
    Off,
    /// Sends at twice the rate of the window in slow start, at 1.2 times that
    /// rate after it, once the round trip is known.
    Auto,
}

/// Sent at once: what the rate gives in this part of a second.
const BURSTS_PER_SECOND: u64 = 1000;
/// The same at most, bytes.
const LARGEST_BURST: u64 = 64 * 1024;

/// A pause is never longer: what seems so is long over.
const LONGEST_PAUSE_US: u32 = 60_000_000;

impl Tcb<'_> {
    pub(in crate::tcp) fn set_pacing(&mut self, pacing: Pacing) {
        match pacing {
            Pacing::Off => self.hot.clear(flag::PACED),
            Pacing::Auto => self.hot.set(flag::PACED),
        }
    }

    pub(in crate::tcp) fn pacing(&self) -> Pacing {
        if self.hot.has(flag::PACED) {
            Pacing::Auto
        } else {
            Pacing::Off
        }
    }

    /// Bytes that a paced flow may send now.
    pub(in crate::tcp) fn pacing_budget(&self, now: Instant) -> u32 {
        if self.pause(now).is_some() {
            return 0;
        }
        let Some(rate) = self.pacing_rate(now) else {
            return u32::MAX;
        };
        let least = 2 * u64::from(self.hot.mss);
        let burst = (rate / BURSTS_PER_SECOND).clamp(least, LARGEST_BURST);
        u32::try_from(burst).unwrap_or(u32::MAX)
    }

    /// A paced flow sent `bytes`: the next may follow when they are through.
    pub(in crate::tcp) fn note_paced(&mut self, now: Instant, bytes: u32) {
        if let Some(rate) = self.pacing_rate(now)
            && let Some(nanos) = (u64::from(bytes) * 1_000_000_000).checked_div(rate)
        {
            // Never 0, which would be no time.
            self.cold.congestion.paced_until = micros(now.plus_nanos(nanos)) | 1;
        }
    }

    /// Microseconds until a paced flow may send again.
    fn pause(&self, now: Instant) -> Option<u32> {
        let until = self.cold.congestion.paced_until;
        let left = until.wrapping_sub(micros(now));
        (until != 0 && (1..=LONGEST_PAUSE_US).contains(&left)).then_some(left)
    }

    /// When a paced flow goes on, if it has something to send.
    pub(crate) fn paced_deadline(&self, now: Instant) -> Option<Instant> {
        self.hot.unsent?;
        let left = self.pause(now)?;
        Some(now.plus_nanos(u64::from(left) * 1000))
    }
}
