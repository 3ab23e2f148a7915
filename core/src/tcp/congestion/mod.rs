//! Congestion control: how much may be in the network at once.
//!
//! | file | what it holds |
//! |---|---|
//! | [`cubic`] | CUBIC (RFC 9438), the default |
//! | [`newreno`] | NewReno (RFC 5681, RFC 6582) |
//! | [`hystart`] | HyStart++ (RFC 9406), which ends the first slow start |
//! | [`pacing`] | segments spread over the round trip, by wish |
//!
//! `cwnd` lies with the hot state, for every segment sent asks for it. All else
//! is touched only by acknowledgements that arrive while `cwnd`, not the
//! application or the peer's window, holds the sender back.
//!
//! Loss detection and recovery decide *when* something happened and call
//! [`Tcb::on_congestion_event`], [`Tcb::on_congestion_timeout`],
//! [`Tcb::on_recovery_exit`] and [`Tcb::undo_congestion`]; the flow's
//! [`Controller`] decides *what it means*.

pub(crate) mod cubic;
pub(crate) mod hystart;
pub(crate) mod newreno;
pub(crate) mod pacing;

#[cfg(test)]
mod tests;

use pollwire_rings::{FramePool, Instant};

use super::Env;
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use cubic::Cubic;
use hystart::HyStart;
use newreno::NewReno;
pub use pacing::Pacing;

/// Initial window in segments (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;
/// `cwnd` grows no further: half of what windows can express.
const MAX_CWND: u32 = 1 << 29;

/// Which algorithm controls a connection's sending rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CongestionControl {
    /// CUBIC (RFC 9438): grows by time since the last loss, so long paths are
    /// filled as fast as short ones.
    #[default]
    Cubic = 0,
    /// NewReno (RFC 5681, RFC 6582): one segment per round trip.
    NewReno,
}

/// What told of congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CongestionEvent {
    /// A segment was lost.
    Loss,
    /// The peer echoed a mark (RFC 3168).
    Ecn,
}

/// What a controller sees of its flow, and the two windows that it sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Bytes that may be in the network.
    pub(crate) cwnd: u32,
    /// Slow start below, congestion avoidance from here on.
    pub(crate) ssthresh: u32,
    /// Largest payload of a segment.
    pub(crate) mss: u32,
    /// Sequence space sent and not acknowledged.
    pub(crate) flight: u32,
    /// Smoothed round-trip time, microseconds; 0 before the first sample.
    pub(crate) srtt_us: u32,
    pub(crate) now: Instant,
}

impl Window {
    /// Slow start (RFC 5681, 3.1), by bytes: grows by what was acknowledged, up
    /// to `ssthresh`.
    fn slow_start(&mut self, acked: u32) {
        let limit = self.ssthresh.max(self.mss);
        self.cwnd = self.cwnd.saturating_add(acked).min(limit).min(MAX_CWND);
    }

    /// Bytes per second: twice the rate of `cwnd` in slow start, so that it can
    /// double, 1.2 times after; `None` before a round trip is known.
    fn default_pacing_rate(&self) -> Option<u64> {
        let rate = (u64::from(self.cwnd) * 1_000_000).checked_div(u64::from(self.srtt_us))?;
        Some(if self.cwnd < self.ssthresh {
            rate * 2
        } else {
            rate * 6 / 5
        })
    }

    /// RFC 5681, 3.1, equation 4, and RFC 9438, 4.6: never below two segments.
    fn set_threshold(&mut self, bytes: u32) {
        self.ssthresh = bytes.max(2 * self.mss);
    }
}

/// An algorithm. One that is driven by rates (BBR) fits as well: it is told of
/// every acknowledgement that may change its mind, sets `cwnd` as it likes, and
/// names the rate to pace at.
pub(crate) trait Controller {
    /// `acked` bytes were newly acknowledged while `cwnd` limited the sender,
    /// outside of recovery; `rtt_us` is the sample that they gave.
    fn on_ack(&mut self, window: &mut Window, acked: u32, rtt_us: Option<u32>);

    /// The first sign of congestion in a window of data: sets `ssthresh`.
    /// `cwnd` follows by the caller's rule (RFC 6937 on loss, at once on ECN).
    fn on_congestion_event(&mut self, window: &mut Window, event: CongestionEvent);

    /// The retransmission timer fired: sets `ssthresh`.
    fn on_timeout(&mut self, window: &mut Window);

    /// Everything that was lost has arrived.
    fn on_recovery_exit(&mut self, window: &mut Window);

    /// What of its state an undo must know later.
    fn memory(&self) -> u32 {
        0
    }

    /// The last reduction was for nothing; `cwnd` and `ssthresh` are what they
    /// were before, and `memory` is what [`memory`](Self::memory) was.
    fn undo(&mut self, window: &mut Window, memory: u32);

    /// Bytes per second at which to pace, if segments shall be paced.
    fn pacing_rate(&self, window: &Window) -> Option<u64> {
        window.default_pacing_rate()
    }
}

/// The algorithm of one flow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl Algorithm {
    fn new(kind: CongestionControl) -> Self {
        match kind {
            CongestionControl::Cubic => Self::Cubic(Cubic::NEW),
            CongestionControl::NewReno => Self::NewReno(NewReno::NEW),
        }
    }

    fn kind(&self) -> CongestionControl {
        match self {
            Self::Cubic(_) => CongestionControl::Cubic,
            Self::NewReno(_) => CongestionControl::NewReno,
        }
    }
}

/// The first slow start knows nothing of the path yet; what comes later is the
/// algorithm's.
#[derive(Clone, Copy, Debug)]
enum Stage {
    First(HyStart),
    Later(Algorithm),
}

impl Controller for Algorithm {
    fn on_ack(&mut self, window: &mut Window, acked: u32, rtt_us: Option<u32>) {
        match self {
            Self::Cubic(cubic) => cubic.on_ack(window, acked, rtt_us),
            Self::NewReno(reno) => reno.on_ack(window, acked, rtt_us),
        }
    }

    fn on_congestion_event(&mut self, window: &mut Window, event: CongestionEvent) {
        match self {
            Self::Cubic(cubic) => cubic.on_congestion_event(window, event),
            Self::NewReno(reno) => reno.on_congestion_event(window, event),
        }
    }

    fn on_timeout(&mut self, window: &mut Window) {
        match self {
            Self::Cubic(cubic) => cubic.on_timeout(window),
            Self::NewReno(reno) => reno.on_timeout(window),
        }
    }

    fn on_recovery_exit(&mut self, window: &mut Window) {
        match self {
            Self::Cubic(cubic) => cubic.on_recovery_exit(window),
            Self::NewReno(reno) => reno.on_recovery_exit(window),
        }
    }

    fn memory(&self) -> u32 {
        match self {
            Self::Cubic(cubic) => cubic.memory(),
            Self::NewReno(reno) => reno.memory(),
        }
    }

    fn undo(&mut self, window: &mut Window, memory: u32) {
        match self {
            Self::Cubic(cubic) => cubic.undo(window, memory),
            Self::NewReno(reno) => reno.undo(window, memory),
        }
    }

    fn pacing_rate(&self, window: &Window) -> Option<u64> {
        match self {
            Self::Cubic(cubic) => cubic.pacing_rate(window),
            Self::NewReno(reno) => reno.pacing_rate(window),
        }
    }
}

/// A flow's congestion state beside `cwnd` and `ssthresh`. All-zero is CUBIC
/// before its first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    stage: Stage,
    /// A paced flow sends no more before this: microseconds modulo 2^32, 0 for
    /// any time.
    paced_until: u32,
    /// Acknowledgements up to here are of a time when `cwnd` was full.
    limited_until: SeqNum,
    /// A mark shrank the window for what was in flight up to here.
    ecn_until: SeqNum,
}

/// What was before a reduction of the window, to undo it. All-zero: nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prior {
    cwnd: u32,
    ssthresh: u32,
    /// See [`Controller::memory`].
    memory: u32,
}

impl Prior {
    pub(crate) const NONE: Self = Self {
        cwnd: 0,
        ssthresh: 0,
        memory: 0,
    };
}

impl Congestion {
    pub(crate) const EMPTY: Self = Self {
        stage: Stage::Later(Algorithm::Cubic(Cubic::NEW)),
        paced_until: 0,
        limited_until: SeqNum::new(0),
        ecn_until: SeqNum::new(0),
    };

    /// Has the algorithm do something: the first slow start is over.
    fn decide<T>(&mut self, decision: impl FnOnce(&mut Algorithm) -> T) -> T {
        let mut algorithm = match self.stage {
            Stage::First(start) => Algorithm::new(start.then),
            Stage::Later(algorithm) => algorithm,
        };
        let decided = decision(&mut algorithm);
        self.stage = Stage::Later(algorithm);
        decided
    }

    /// The state of the first slow start, begun anew when an undo leads back to
    /// it.
    fn first_slow_start(&self) -> HyStart {
        match self.stage {
            Stage::First(start) => start,
            Stage::Later(algorithm) => HyStart::new(algorithm.kind()),
        }
    }
}

impl Tcb<'_> {
    /// RFC 6928, 2: min (10*MSS, max (2*MSS, 14600)).
    fn initial_window(&self) -> u32 {
        let mss = u32::from(self.hot.mss);
        match self.cold.initial_window {
            0 => (INITIAL_SEGMENTS * mss).min((2 * mss).max(14_600)),
            count => u32::from(count) * mss,
        }
    }

    /// First values, once the segment size is known.
    pub(crate) fn init_congestion(&mut self) {
        self.hot.cwnd = self.initial_window();
        self.cold.ssthresh = u32::MAX;
        self.cold.congestion = Congestion {
            ecn_until: self.hot.snd_una - 1,
            stage: Stage::First(HyStart::new(self.congestion_control())),
            ..Congestion::EMPTY
        };
    }

    /// Changes the algorithm; the windows stay.
    pub(crate) fn set_congestion_control(&mut self, kind: CongestionControl) {
        if kind == self.congestion_control() {
            return;
        }
        match &mut self.cold.congestion.stage {
            Stage::First(start) => start.then = kind,
            Stage::Later(algorithm) => *algorithm = Algorithm::new(kind),
        }
    }

    pub(crate) fn congestion_control(&self) -> CongestionControl {
        match &self.cold.congestion.stage {
            Stage::First(start) => start.then,
            Stage::Later(algorithm) => algorithm.kind(),
        }
    }

    /// There is more to send than `cwnd` allows. What is in flight now, and its
    /// acknowledgements, count as limited by `cwnd` (RFC 9438, 5.8; RFC 7661
    /// calls the flow "cwnd-limited").
    #[inline]
    pub(super) fn note_cwnd_limited(&mut self) {
        self.hot.set(flag::CWND_LIMITED);
        self.cold.congestion.limited_until = self.hot.snd_nxt;
    }

    /// `acked` bytes are acknowledged of what a sender without more to send had
    /// in flight. That may have been all that `cwnd` allows.
    #[inline]
    pub(super) fn note_window_use(&mut self, acked: u32) {
        let used = self.hot.flight().saturating_add(acked);
        if used > self.hot.cwnd / 2 {
            self.again().note_full_use(used);
        }
    }

    /// RFC 7661, 4.3: more than half of `cwnd` in flight validates it. Like Linux,
    /// slow start takes that for enough; congestion avoidance asks for all of it.
    #[cold]
    fn note_full_use(&mut self, used: u32) {
        if self.is_reduced_by_ecn(self.hot.snd_una) {
            return;
        }
        let full = used.saturating_add(u32::from(self.hot.mss)) > self.hot.cwnd;
        if full || self.hot.cwnd < self.cold.ssthresh {
            self.note_cwnd_limited();
        }
    }

    /// Grows the window for `acked` bytes newly acknowledged, if it was what
    /// held the sender back.
    #[inline(always)]
    pub(crate) fn grow_window(&mut self, env: &Env<'_>, acked: u32, rtt_us: Option<u32>) {
        if self.hot.flags & (flag::CWND_LIMITED | flag::FAST_RECOVERY) == flag::CWND_LIMITED {
            self.again()
                .grow_limited_window(env.now, env.pool, acked, rtt_us);
        }
    }

    #[inline(never)]
    fn grow_limited_window(
        &mut self,
        now: Instant,
        pool: &FramePool,
        acked: u32,
        rtt_us: Option<u32>,
    ) {
        let (una, nxt) = (self.hot.snd_una, self.hot.snd_nxt);
        if una.at_or_after(self.cold.congestion.limited_until) {
            self.hot.clear(flag::CWND_LIMITED);
        }
        let mut window = self.window(now);
        if self.hot.has(flag::LOSS_RECOVERY) && window.cwnd < window.ssthresh {
            // RFC 3465, 2.3: after a timeout, no more than a segment per ACK, for
            // it may cover what arrived long ago.
            window.slow_start(acked.min(window.mss));
        } else if window.ssthresh == u32::MAX {
            let mut start = self.cold.congestion.first_slow_start();
            start.on_ack(&mut window, acked, rtt_us, una, nxt);
            self.cold.congestion.stage = Stage::First(start);
        } else {
            let congestion = &mut self.cold.congestion;
            congestion.decide(|algorithm| algorithm.on_ack(&mut window, acked, rtt_us));
        }
        self.set_window(&window);
        self.grow_send_buffer(pool);
    }

    /// The first sign of congestion in a window of data: `ssthresh` becomes what
    /// the algorithm makes of it. After a loss, `cwnd` is the caller's to bring
    /// down to it.
    pub(crate) fn on_congestion_event(&mut self, now: Instant, event: CongestionEvent) {
        self.remember_windows();
        // The lost segment is the first that is not acknowledged.
        if event == CongestionEvent::Loss && self.is_reduced_by_ecn(self.hot.snd_una + 1) {
            return;
        }
        let mut window = self.window(now);
        let congestion = &mut self.cold.congestion;
        congestion.decide(|algorithm| algorithm.on_congestion_event(&mut window, event));
        if event == CongestionEvent::Ecn {
            self.cold.congestion.ecn_until = self.hot.snd_nxt;
            // RFC 9438, 4.6: "reduction on ECE, cwnd is at least 1 MSS".
            window.cwnd = if window.cwnd > window.ssthresh {
                window.ssthresh
            } else {
                window.mss
            };
        }
        self.set_window(&window);
        self.announce_reduction();
    }

    /// Whether a mark shrank the window for what `ack` acknowledges: then neither
    /// a further mark nor a loss does (RFC 3168, 6.1.2).
    pub(super) fn is_reduced_by_ecn(&self, ack: SeqNum) -> bool {
        let until = self.cold.congestion.ecn_until;
        self.hot.has(flag::ECN) && until.at_or_after(ack) && until.at_or_before(self.hot.snd_nxt)
    }

    /// RFC 3168, 6.1.2: when the window shrinks "for any reason", "the TCP sender
    /// sets the CWR flag in the TCP header of the first new data packet sent
    /// after the window reduction".
    fn announce_reduction(&mut self) {
        if self.hot.has(flag::ECN) {
            self.hot.set(flag::ECN_CWR);
        }
    }

    /// The retransmission timer fired. Called before the flags of recovery
    /// change.
    ///
    /// RFC 5681, 3.1: "when a TCP sender detects segment loss using the
    /// retransmission timer and the given segment has already been retransmitted
    /// by way of the retransmission timer at least once, the value of ssthresh
    /// is held constant." And: "cwnd MUST be set to no more than the loss
    /// window, LW, which equals 1 full-sized segment".
    pub(crate) fn on_congestion_timeout(&mut self, now: Instant) {
        if self.hot.rtt.backoff == 0 {
            if !self.hot.has(flag::RECOVERY) {
                self.remember_windows();
            }
            let mut window = self.window(now);
            let congestion = &mut self.cold.congestion;
            congestion.decide(|algorithm| algorithm.on_timeout(&mut window));
            self.set_window(&window);
            self.announce_reduction();
        }
        self.hot.cwnd = u32::from(self.hot.mss);
    }

    /// Recovery is over: everything sent before it is acknowledged. `cwnd` is
    /// the caller's to set, before.
    pub(crate) fn on_recovery_exit(&mut self, now: Instant) {
        let mut window = self.window(now);
        let congestion = &mut self.cold.congestion;
        congestion.decide(|algorithm| algorithm.on_recovery_exit(&mut window));
        self.set_window(&window);
    }

    /// The last reduction was for nothing (RFC 4015, RFC 9438, 4.9): both
    /// windows are what they were. Returns whether there was one to undo.
    pub(crate) fn undo_congestion(&mut self, now: Instant) -> bool {
        let Some(episode) = self.cold.episode_mut() else {
            return false;
        };
        let prior = core::mem::replace(&mut episode.prior, Prior::NONE);
        if prior.cwnd == 0 {
            return false;
        }
        self.hot.cwnd = self.hot.cwnd.max(prior.cwnd);
        self.cold.ssthresh = self.cold.ssthresh.max(prior.ssthresh);
        let mut window = self.window(now);
        let congestion = &mut self.cold.congestion;
        congestion.decide(|algorithm| algorithm.undo(&mut window, prior.memory));
        self.set_window(&window);
        true
    }

    /// Nothing is in flight, and a timer fired, if only one that is out of date:
    /// `cwnd` says less and less of the path.
    ///
    /// RFC 5681, 4.1: "TCP SHOULD set cwnd to no more than RW before beginning
    /// transmission if the TCP has not sent data in an interval exceeding the
    /// retransmission timeout", RW being the initial window. As RFC 2861, 3, and
    /// Linux have it, it halves with each timeout that passes until it is there.
    #[cold]
    pub(super) fn on_idle(&mut self, env: &Env<'_>) {
        let restart_window = self.initial_window();
        let cwnd = self.hot.cwnd;
        let open = matches!(self.hot.state, TcpState::Established | TcpState::CloseWait);
        if self.hot.flight() > 0 || !open {
            return;
        }
        self.hot.clear(flag::IDLE);
        self.hot.rtx_at = Instant::ZERO;
        self.cold.congestion.paced_until = 0;
        if cwnd <= restart_window {
            return;
        }
        let rto = self.hot.rtt.rto_nanos();
        let due = self.cold.stuck_since.plus_nanos(rto);
        self.hot.set(flag::IDLE);
        if env.now < due {
            self.hot.rtx_at = due;
            return;
        }
        // RFC 2861, 3: what was known of the path is not all forgotten.
        self.cold.ssthresh = self.cold.ssthresh.max(cwnd - cwnd / 4);
        self.hot.cwnd = (cwnd / 2).max(restart_window);
        self.hot.clear(flag::CWND_LIMITED);
        self.cold.stuck_since = env.now;
        self.hot.rtx_at = env.now.plus_nanos(rto);
    }

    /// Bytes per second at which the algorithm would pace, if it would.
    pub(crate) fn pacing_rate(&self, now: Instant) -> Option<u64> {
        let window = self.window(now);
        match &self.cold.congestion.stage {
            Stage::First(_) => window.default_pacing_rate(),
            Stage::Later(algorithm) => algorithm.pacing_rate(&window),
        }
    }

    fn remember_windows(&mut self) {
        let prior = Prior {
            cwnd: self.hot.cwnd,
            ssthresh: self.cold.ssthresh,
            memory: match &self.cold.congestion.stage {
                Stage::First(_) => 0,
                Stage::Later(algorithm) => algorithm.memory(),
            },
        };
        if let Some(episode) = self.cold.episode_mut() {
            episode.prior = prior;
        }
    }

    fn window(&self, now: Instant) -> Window {
        Window {
            cwnd: self.hot.cwnd,
            ssthresh: self.cold.ssthresh,
            mss: u32::from(self.hot.mss),
            flight: self.hot.flight(),
            srtt_us: self.hot.rtt.srtt_us,
            now,
        }
    }

    fn set_window(&mut self, window: &Window) {
        self.hot.cwnd = window.cwnd;
        self.cold.ssthresh = window.ssthresh;
    }
}
