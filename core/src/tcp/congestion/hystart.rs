//! HyStart++ (RFC 9406): the first slow start ends when the round trip grows,
//! before the bottleneck's queue overflows.

use super::{CongestionControl, MAX_CWND, Window};
use crate::SeqNum;

/// RFC 9406, 4.3.
const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const RTT_SAMPLES: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

/// State of the first slow start. Round-trip times are in microseconds, 0 for
/// "none yet".
#[derive(Clone, Copy, Debug)]
pub(crate) struct HyStart {
    /// The round ends when this is acknowledged.
    window_end: SeqNum,
    last_round_min: u32,
    this_round_min: u32,
    /// Set in conservative slow start: the round trip that led there.
    css_baseline: u32,
    samples: u8,
    css_rounds: u8,
    started: bool,
    /// What follows.
    pub(super) then: CongestionControl,
}

impl HyStart {
    /// Nothing known yet; `then` follows.
    pub(super) const fn new(then: CongestionControl) -> Self {
        Self {
            window_end: SeqNum::new(0),
            last_round_min: 0,
            this_round_min: 0,
            css_baseline: 0,
            samples: 0,
            css_rounds: 0,
            started: false,
            then,
        }
    }

    /// Grows the window; `una` and `nxt` say where the flow stands. Sets
    /// `ssthresh` once slow start is over.
    ///
    /// RFC 9406, 4.2 leaves growth unlimited (L = infinity) to paced senders and
    /// says that others SHOULD take 8 segments per ACK. Our bursts are bounded
    /// by the turn, and a limit would punish stretch ACKs.
    pub(crate) fn on_ack(
        &mut self,
        window: &mut Window,
        acked: u32,
        rtt_us: Option<u32>,
        una: SeqNum,
        nxt: SeqNum,
    ) {
        if !self.started || una.at_or_after(self.window_end) {
            self.start_round(window, nxt);
        }
        if let Some(rtt) = rtt_us {
            let known = self.this_round_min;
            self.this_round_min = if known == 0 { rtt } else { known.min(rtt) };
            self.samples = self.samples.saturating_add(1);
        }
        if self.css_baseline == 0 {
            window.cwnd = window.cwnd.saturating_add(acked).min(MAX_CWND);
            self.watch_delay();
            return;
        }
        let growth = acked / CSS_GROWTH_DIVISOR;
        window.cwnd = window.cwnd.saturating_add(growth).min(MAX_CWND);
        if self.samples >= RTT_SAMPLES && self.this_round_min < self.css_baseline {
            // "exit of slow start was spurious, resume slow start"
            self.css_baseline = 0;
        }
    }

    fn start_round(&mut self, window: &mut Window, nxt: SeqNum) {
        if self.css_baseline != 0 {
            self.css_rounds += 1;
            if self.css_rounds >= CSS_ROUNDS {
                window.ssthresh = window.cwnd;
            }
        }
        self.started = true;
        self.window_end = nxt;
        self.last_round_min = self.this_round_min;
        self.this_round_min = 0;
        self.samples = 0;
    }

    /// "if (currentRoundMinRTT >= (lastRoundMinRTT + RttThresh))": enters
    /// conservative slow start.
    fn watch_delay(&mut self) {
        if self.samples < RTT_SAMPLES || self.this_round_min == 0 || self.last_round_min == 0 {
            return;
        }
        let threshold =
            (self.last_round_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
        if self.this_round_min >= self.last_round_min.saturating_add(threshold) {
            self.css_baseline = self.this_round_min;
            self.css_rounds = 0;
        }
    }
}
