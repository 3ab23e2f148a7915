//! NewReno (RFC 5681, RFC 6582) with appropriate byte counting (RFC 3465).

use super::{CongestionEvent, Controller, MAX_CWND, Window};

/// State of congestion avoidance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReno {
    /// Bytes acknowledged since `cwnd` last grew.
    bytes_acked: u32,
}

impl NewReno {
    pub(crate) const NEW: Self = Self { bytes_acked: 0 };

    /// RFC 5681, 3.1, equation 4: ssthresh = max (FlightSize / 2, 2*SMSS).
    fn halve(&mut self, window: &mut Window) {
        self.bytes_acked = 0;
        window.set_threshold(window.flight / 2);
    }
}

impl Controller for NewReno {
    fn on_ack(&mut self, window: &mut Window, acked: u32, _rtt_us: Option<u32>) {
        if window.cwnd < window.ssthresh {
            // RFC 3465's limit of 2*SMSS per ACK is meant against misbehaving
            // receivers; it would punish stretch ACKs, which every
            // receive-coalescing peer sends.
            window.slow_start(acked);
            return;
        }
        // RFC 3465, 2.1: a segment more for each window acknowledged.
        self.bytes_acked = self.bytes_acked.saturating_add(acked);
        if self.bytes_acked >= window.cwnd {
            self.bytes_acked -= window.cwnd;
            window.cwnd = window.cwnd.saturating_add(window.mss).min(MAX_CWND);
        }
    }

    fn on_congestion_event(&mut self, window: &mut Window, _event: CongestionEvent) {
        self.halve(window);
    }

    fn on_timeout(&mut self, window: &mut Window) {
        self.halve(window);
    }

    fn on_recovery_exit(&mut self, _window: &mut Window) {}

    fn undo(&mut self, _window: &mut Window, _memory: u32) {}
}
