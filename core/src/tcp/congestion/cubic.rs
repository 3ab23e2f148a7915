//! CUBIC (RFC 9438) in integers: bytes, milliseconds.

use super::{CongestionEvent, Controller, MAX_CWND, Window};
use crate::tcp::coarse::millis;

/// Multiplicative decrease: 0.7 (RFC 9438, 4.6).
const BETA: (u64, u64) = (7, 10);
/// (1 + beta) / 2: 0.85 (RFC 9438, 4.7).
const FAST_CONVERGENCE: (u64, u64) = (17, 20);
/// 3 * (1 - beta) / (1 + beta): 9 / 17 (RFC 9438, 4.3).
const ALPHA: (u64, u64) = (9, 17);
/// Longest time from the inflection point that the curve is followed, a
/// quarter of an hour: by then it has left every window behind.
const MAX_TIME_MS: u32 = 1 << 20;

/// State of congestion avoidance. Windows are in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cubic {
    /// The window before the last reduction: where the curve is flat.
    w_max: u32,
    /// `cwnd` before the last reduction (RFC 9438, 4.1.2: cwnd_prior).
    cwnd_prior: u32,
    /// Milliseconds from the epoch's begin to the flat part.
    k_ms: u32,
    /// When this stage of congestion avoidance began, milliseconds modulo 2^32.
    epoch_ms: u32,
    /// When the window was last seen to limit the sender.
    limited_ms: u32,
    /// What Reno would have (RFC 9438, 4.3).
    w_est: u32,
    /// Bytes acknowledged and not in `w_est` yet.
    uncounted: u32,
    /// Growth of less than a byte, in units of 1/cwnd.
    fraction: u32,
    in_epoch: bool,
}

impl Cubic {
    pub(crate) const NEW: Self = Self {
        w_max: 0,
        cwnd_prior: 0,
        k_ms: 0,
        epoch_ms: 0,
        limited_ms: 0,
        w_est: 0,
        uncounted: 0,
        fraction: 0,
        in_epoch: false,
    };

    /// RFC 9438, 4.2 and 4.8: a stage of congestion avoidance begins. Where
    /// nothing is known of an earlier maximum, the curve begins at its flat
    /// part.
    fn begin_epoch(&mut self, window: &Window, now_ms: u32) {
        self.in_epoch = true;
        self.epoch_ms = now_ms;
        self.limited_ms = now_ms;
        self.w_est = window.cwnd;
        self.uncounted = 0;
        self.fraction = 0;
        if self.w_max > window.cwnd {
            self.k_ms = time_to(self.w_max - window.cwnd, window.mss);
        } else {
            self.w_max = window.cwnd;
            self.k_ms = 0;
        }
    }

    /// Time since the epoch began. RFC 9438, 4.2: it "MUST NOT include periods
    /// during which cwnd has not been updated due to application-limited
    /// behavior".
    fn elapsed_ms(&mut self, window: &Window, now_ms: u32) -> u32 {
        let srtt_ms = window.srtt_us.div_ceil(1000);
        let gap = now_ms.wrapping_sub(self.limited_ms);
        self.limited_ms = now_ms;
        if gap > 2 * srtt_ms + APPLICATION_LIMITED_MS {
            self.epoch_ms = self.epoch_ms.wrapping_add(gap - srtt_ms);
        }
        now_ms.wrapping_sub(self.epoch_ms)
    }

    /// RFC 9438, 4.2, figure 1: W_cubic(t) = C * (t - K)^3 + W_max.
    pub(super) fn window_at(&self, elapsed_ms: u32, mss: u32) -> u32 {
        let distance = elapsed_ms.abs_diff(self.k_ms);
        let difference = curve(distance, mss);
        if elapsed_ms < self.k_ms {
            self.w_max.saturating_sub(difference)
        } else {
            self.w_max.saturating_add(difference).min(MAX_CWND)
        }
    }

    /// RFC 9438, 4.3, figure 4: W_est += alpha * segments_acked / cwnd. Counted
    /// in eighths of a window, so that no fraction of a byte is lost on the way.
    fn grow_estimate(&mut self, window: &Window, acked: u32) {
        self.uncounted = self.uncounted.saturating_add(acked);
        if self.uncounted < window.cwnd / 8 {
            return;
        }
        let (numerator, denominator) = if self.w_est < self.cwnd_prior {
            ALPHA
        } else {
            // "after W_est reaches cwnd_prior, alpha SHOULD be set to 1"
            (1, 1)
        };
        let acked = u64::from(self.uncounted) * u64::from(window.mss) * numerator;
        let growth = acked / (u64::from(window.cwnd.max(1)) * denominator);
        self.uncounted = 0;
        self.w_est = saturate(u64::from(self.w_est) + growth);
    }

    fn reduce(&mut self, window: &mut Window) {
        self.in_epoch = false;
        self.cwnd_prior = window.cwnd;
        // RFC 9438, 4.7: "if cwnd < W_max and fast convergence is enabled,
        // further reduce W_max".
        self.w_max = if window.cwnd < self.w_max {
            scale(window.cwnd, FAST_CONVERGENCE)
        } else {
            window.cwnd
        };
        window.set_threshold(scale(window.flight.min(window.cwnd), BETA));
    }
}

/// Acknowledgements may stay away this long beyond two round trips before the
/// application is held for the cause: a delayed ACK's time.
const APPLICATION_LIMITED_MS: u32 = 40;

impl Controller for Cubic {
    fn on_ack(&mut self, window: &mut Window, acked: u32, _rtt_us: Option<u32>) {
        if window.cwnd < window.ssthresh {
            window.slow_start(acked);
            return;
        }
        let now_ms = millis(window.now);
        if !self.in_epoch {
            self.begin_epoch(window, now_ms);
        }
        let elapsed = self.elapsed_ms(window, now_ms);
        self.grow_estimate(window, acked);
        if self.window_at(elapsed, window.mss) < self.w_est {
            // RFC 9438, 4.3: the Reno-friendly region: "cwnd SHOULD be set to
            // W_est at each reception of an ACK".
            window.cwnd = window.cwnd.max(self.w_est).min(MAX_CWND);
            return;
        }
        // RFC 9438, 4.2: the target a round trip ahead, from cwnd to 1.5 * cwnd,
        // and 4.4, 4.5: "cwnd MUST be incremented by (target - cwnd)/cwnd for
        // each received new ACK".
        let ahead = elapsed.saturating_add(window.srtt_us / 1000);
        let target = self
            .window_at(ahead, window.mss)
            .clamp(window.cwnd, scale(window.cwnd, (3, 2)));
        let cwnd = u64::from(window.cwnd.max(1));
        let growth = u64::from(target - window.cwnd) * u64::from(acked) + u64::from(self.fraction);
        self.fraction = saturate(growth % cwnd);
        window.cwnd = saturate(cwnd + growth / cwnd).min(MAX_CWND);
    }

    fn on_congestion_event(&mut self, window: &mut Window, _event: CongestionEvent) {
        self.reduce(window);
    }

    /// RFC 9438, 4.8: after a timeout, K is 0 and W_max what the window is when
    /// congestion avoidance begins.
    fn on_timeout(&mut self, window: &mut Window) {
        self.reduce(window);
        self.w_max = 0;
    }

    fn on_recovery_exit(&mut self, _window: &mut Window) {
        self.in_epoch = false;
    }

    fn memory(&self) -> u32 {
        self.w_max
    }

    /// RFC 9438, 4.9. The curve is the same wherever its epoch begins, so
    /// `w_max` is all that need be restored.
    fn undo(&mut self, _window: &mut Window, w_max: u32) {
        self.w_max = w_max;
        self.in_epoch = false;
    }
}

fn saturate(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn scale(bytes: u32, (numerator, denominator): (u64, u64)) -> u32 {
    saturate(u64::from(bytes) * numerator / denominator)
}

/// C * t^3, in bytes: C is 0.4 segments per second cubed (RFC 9438, 5.1).
/// No overflow: (2^20)^3 * 2 and, after the first division, 2^40 * 2^16.
fn curve(time_ms: u32, mss: u32) -> u32 {
    let time = u64::from(time_ms.min(MAX_TIME_MS));
    let thousandths = time * time * time / 2_500_000;
    saturate(thousandths * u64::from(mss) / 1000)
}

/// K = cbrt (bytes / C), in milliseconds.
fn time_to(bytes: u32, mss: u32) -> u32 {
    cube_root(u64::from(bytes) * 2_500_000_000 / u64::from(mss.max(1)))
}

/// The whole part of the cube root, bit by bit (Hacker's Delight, 11-2).
fn cube_root(of: u64) -> u32 {
    let (mut rest, mut root) = (of, 0u64);
    for shift in (0..=63).rev().step_by(3) {
        root *= 2;
        let step = 3 * root * (root + 1) + 1;
        if rest >> shift >= step {
            rest -= step << shift;
            root += 1;
        }
    }
    saturate(root)
}
