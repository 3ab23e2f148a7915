//! Congestion control: NewReno (RFC 5681, RFC 6582) with byte counting.

use super::tcb::{Tcb, flag};

/// Initial window in segments (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;

impl Tcb<'_> {
    /// RFC 6928, 2: min (10*MSS, max (2*MSS, 14600)).
    pub(crate) fn init_congestion(&mut self) {
        let mss = u32::from(self.hot.mss);
        self.hot.cwnd = match self.cold.initial_window {
            0 => (INITIAL_SEGMENTS * mss).min((2 * mss).max(14_600)),
            count => u32::from(count) * mss,
        };
        self.cold.ssthresh = u32::MAX;
        self.cold.bytes_acked = 0;
    }

    /// Grows the window for `acked` bytes newly acknowledged. `was_limited`:
    /// the window, not the application, held the sender back.
    #[inline]
    pub(crate) fn grow_window(&mut self, acked: u32, was_limited: bool) {
        if self.hot.has(flag::FAST_RECOVERY) || !was_limited {
            return;
        }
        let mss = u32::from(self.hot.mss);
        if self.hot.cwnd < self.cold.ssthresh {
            // Slow start. RFC 3465's limit of 2*SMSS per ACK is meant against
            // misbehaving receivers; it would punish stretch ACKs, which every
            // receive-coalescing peer sends.
            self.hot.cwnd = self
                .hot
                .cwnd
                .saturating_add(acked)
                .min(self.cold.ssthresh.max(mss));
            return;
        }
        // Congestion avoidance by bytes (RFC 3465, 2.1).
        self.cold.bytes_acked = self.cold.bytes_acked.saturating_add(acked);
        if self.cold.bytes_acked >= self.hot.cwnd {
            self.cold.bytes_acked -= self.hot.cwnd;
            self.hot.cwnd = self.hot.cwnd.saturating_add(mss);
        }
    }

    /// RFC 5681, 3.1, equation 4: ssthresh = max (FlightSize / 2, 2*SMSS).
    pub(crate) fn halve_threshold(&mut self) {
        let mss = u32::from(self.hot.mss);
        self.cold.ssthresh = (self.hot.flight() / 2).max(2 * mss);
        self.cold.bytes_acked = 0;
    }
}
