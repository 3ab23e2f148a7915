//! Loss detection and recovery.
//!
//! | file | what it holds |
//! |---|---|
//! | [`scoreboard`] | what is known of each segment sent: selectively acknowledged, lost, sent again (RFC 2018, 6675) |
//! | [`rack`] | loss by time (RFC 8985, 6): the rule for flows with SACK |
//! | [`prr`] | what a loss does to `cwnd` while it is repaired (RFC 9937) |
//! | [`probe`] | tail loss probes (RFC 8985, 7) |
//! | [`resend`] | what goes out in disorder |
//! | [`undo`] | retransmissions that were not needed (RFC 3522, 5682, D-SACK) |
//! | [`duplicates`] | loss by duplicate ACKs (RFC 5681, 6582): for those without |
//!
//! None of its state is touched while acknowledgements come in order: RACK's is
//! derived anew when the first selective acknowledgement arrives, for then
//! everything outstanding was sent after whatever was acknowledged before.

mod duplicates;
mod probe;
mod prr;
mod rack;
mod resend;
mod scoreboard;
mod undo;

use pollwire_rings::Instant;

use self::probe::Probe;
use self::prr::Reduction;
use self::rack::Rack;
use self::undo::Undo;
use super::Env;
use super::congestion::CongestionEvent;
use super::tcb::{Cold, Tcb, flag, mark};
use crate::Counter;

/// RFC 5681, 3.2; RFC 6675, 2; RFC 8985, 6.2: DupThresh.
const DUP_THRESH: u32 = 3;

/// Shortest wait before a peer that seems to have reneged is served again.
const RENEGE_NANOS: u64 = 10_000_000;

/// A flow is in disorder while any of these is set: acknowledgements take the
/// full path, and recovery's state counts.
pub(crate) const DISORDER: u32 = flag::RECOVERY | flag::UNORDERED_ACKS;

/// What recovery keeps of a flow beside the marks of its queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovery {
    rack: Rack,
    probe: Probe,
    reduction: Reduction,
    undo: Undo,
}

impl Recovery {
    pub(crate) const EMPTY: Self = Self {
        rack: Rack::EMPTY,
        probe: Probe::EMPTY,
        reduction: Reduction::EMPTY,
        undo: Undo::EMPTY,
    };
}

impl Cold {
    /// Recovery's state, to read.
    fn recovery(&self) -> &Recovery {
        &self.episode().recovery
    }

    /// Recovery's state, to change, if the flow has some.
    fn recovery_mut(&mut self) -> Option<&mut Recovery> {
        self.episode_mut().map(|episode| &mut episode.recovery)
    }
}

impl Tcb<'_> {
    /// Enters recovery, or marks more losses in it, as the scoreboard says; then
    /// sees whether disorder lasts, and sets the timer for that. `delivered`: the
    /// bytes that an ACK newly acknowledged in whatever way; `advanced`: some of
    /// them by its number.
    pub(crate) fn detect_loss(&mut self, env: &mut Env<'_>, delivered: u32, advanced: bool) {
        let (mut wait_nanos, mut lost) = (0, 0);
        if self.hot.flight() > 0 {
            let lost_before = self.hot.lost;
            if self.hot.has(flag::SACK) {
                wait_nanos = self.detect_loss_by_time(env);
            } else if u32::from(self.hot.dup_acks) >= DUP_THRESH
                && self.begin_episode(env).is_some()
            {
                self.detect_loss_by_duplicates(env);
            }
            lost = self.hot.lost - lost_before.min(self.hot.lost);
        }
        if lost > 0 && !self.hot.has(flag::RECOVERY) {
            self.enter_fast_recovery(env, delivered);
        }
        if self.hot.has(flag::FAST_RECOVERY) {
            let safe = advanced && lost == 0 && self.hot.has(flag::SACK);
            self.reduce(delivered, safe);
        }
        self.note_disorder();
        if self.hot.flight() == 0 {
            self.restart_rtx(env);
        } else if !self.hot.has(DISORDER) {
            // RFC 8985, 7.2: a probe is put off by what acknowledges something.
            // A peer that reports parts of segments does not.
            if advanced || self.hot.has(flag::RTO_TIMER | flag::REORDER_TIMER) {
                self.restart_rtx(env);
            }
        } else if wait_nanos > 0 {
            // Segments are late, but not lost yet.
            self.hot.clear(flag::TIMER_MODES);
            self.hot.set(flag::REORDER_TIMER);
            self.hot.rtx_at = env.now.plus_nanos(wait_nanos);
        } else if self.has_reneged(env) {
            // Half a round trip for whatever else may explain it; then a
            // timeout forgets what the peer said.
            self.start_rto(env.now);
            let srtt = u64::from(self.hot.rtt.srtt_us) * 1000;
            let patience = (srtt / 2).max(RENEGE_NANOS);
            self.hot.rtx_at = self.hot.rtx_at.min(env.now.plus_nanos(patience));
        } else if !self.hot.has(flag::RTO_TIMER) {
            // RFC 8985, 7.2: no probe is sent in disorder.
            self.start_rto(env.now);
        }
    }

    /// Keeps the flag that header prediction looks at.
    fn note_disorder(&mut self) {
        self.hot.clear(flag::UNORDERED_ACKS);
        let marked = self.hot.sacked | self.hot.lost | u32::from(self.hot.dup_acks) != 0;
        if marked || self.cold.episode().recovery.probe.is_out() {
            self.hot.set(flag::UNORDERED_ACKS);
        }
    }

    /// Starts the retransmission timer proper.
    pub(super) fn start_rto(&mut self, now: Instant) {
        self.hot.clear(flag::TIMER_MODES);
        self.hot.set(flag::RTO_TIMER);
        self.hot.rtx_at = self.rto_from(now);
    }

    /// How long the retransmission timer runs from now on, nanoseconds: until a
    /// probe, where RFC 8985, 7.2 has one; else the RTO.
    #[inline(always)]
    pub(super) fn rtx_timeout(&mut self) -> u64 {
        if self.hot.flags & (flag::SACK | DISORDER) == flag::SACK {
            if self.hot.flight() > u32::from(self.hot.mss) {
                return self.hot.rtt.probe_nanos();
            }
            self.hot.set(flag::LONE_TIMER);
        }
        self.hot.rtt.rto_nanos()
    }

    /// More than a segment is in flight now: its ACK will not be held back.
    pub(super) fn hasten_probe(&mut self, now: Instant) {
        if self.hot.flight() > u32::from(self.hot.mss) {
            self.hot.clear(flag::LONE_TIMER);
            let at = now.plus_nanos(self.hot.rtt.probe_nanos());
            self.hot.rtx_at = self.hot.rtx_at.min(at);
        }
    }

    /// RACK's reordering timer fired: what was late is lost now.
    pub(crate) fn on_reorder_timer(&mut self, env: &mut Env<'_>) {
        env.counters.inc(Counter::TcpReorderTimeouts);
        self.start_rto(env.now);
        self.detect_loss(env, 0, false);
    }

    fn enter_fast_recovery(&mut self, env: &mut Env<'_>, delivered: u32) {
        if self.is_mtu_probe_lost(env) {
            return self.on_mtu_probe_lost(env);
        }
        self.abandon_mtu_probe();
        env.counters.inc(Counter::TcpFastRecoveries);
        self.begin_undo(env, false);
        self.on_congestion_event(env.now, CongestionEvent::Loss);
        self.cold.recover = self.hot.snd_nxt;
        self.hot.set(flag::FAST_RECOVERY);
        self.begin_reduction(delivered);
        self.forget_probe();
    }

    /// Leaves recovery once `recover` is acknowledged.
    pub(crate) fn maybe_leave_recovery(&mut self, env: &Env<'_>) {
        if self.hot.snd_una.before(self.cold.recover) {
            return;
        }
        if self.hot.has(flag::FAST_RECOVERY) {
            self.hot.cwnd = self.cold.ssthresh;
        }
        self.on_recovery_exit(env.now);
        self.hot.clear(flag::RECOVERY);
        self.cold.marks &= !mark::FORCED;
        self.hot.dup_acks = 0;
        if let Some(episode) = self.cold.episode_mut() {
            episode.recovery.rack.on_recovery_exit();
        }
        if !self.hot.has(flag::SACK) {
            self.hot.sacked = 0;
        }
    }
}
