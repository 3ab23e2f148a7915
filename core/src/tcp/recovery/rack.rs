//! RACK: a segment is lost when one sent sufficiently later has arrived (RFC
//! 8985, 6).
//!
//! "Sufficiently" is the reordering window: nothing at first, once three
//! segments arrived past a hole; a quarter of the shortest round trip where the
//! path is known to reorder; more where the peer's duplicate reports (D-SACK)
//! say that even that was too short. Retransmissions are segments like any
//! other, so their loss is seen too.

use pollwire_rings::Instant;

use super::{DISORDER, DUP_THRESH, Recovery};
use crate::Counter;
use crate::tcp::Env;
use crate::tcp::node::{LOST, Node, RETRANSMITTED, SACKED};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, flag};

/// Recoveries without a duplicate report after which the reordering window
/// falls back (RFC 8985, 6.2, step 4).
const PERSIST: u8 = 16;
/// By what part of its distance to the smoothed round trip the minimum rises
/// with each disorder: a path that became longer is believed in time.
const MIN_RTT_DRIFT: u32 = 16;

/// State of a flow (RFC 8985, 5.3, by its names).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rack {
    /// When the segment sent last of those that arrived was sent: "xmit_ts".
    sent_at: Instant,
    /// Where it ends.
    end_seq: SeqNum,
    /// The round trip that it measured, microseconds.
    rtt_us: u32,
    /// The shortest round trip of late, microseconds; 0 before the first.
    min_rtt_us: u32,
    /// Behind the highest byte acknowledged in whatever way.
    fack: SeqNum,
    /// `snd_nxt` when a duplicate report last widened the window.
    dsack_round: SeqNum,
    in_dsack_round: bool,
    /// Quarters of the shortest round trip beyond the first.
    widened: u8,
    /// Recoveries until `widened` falls back to 0.
    persist: u8,
    reordering_seen: bool,
}

/// A transmission that is known to have arrived.
#[derive(Clone, Copy)]
pub(super) struct Delivered {
    pub(super) sent_at: Instant,
    pub(super) end: SeqNum,
    /// It was sent more than once: the ACK may be of an earlier time.
    pub(super) retransmitted: bool,
}

impl Rack {
    pub(crate) const EMPTY: Self = Self {
        sent_at: Instant::ZERO,
        end_seq: SeqNum::new(0),
        rtt_us: 0,
        min_rtt_us: 0,
        fack: SeqNum::new(0),
        dsack_round: SeqNum::new(0),
        in_dsack_round: false,
        widened: 0,
        persist: 0,
        reordering_seen: false,
    };

    /// Disorder begins: nothing outstanding was sent before what is
    /// acknowledged.
    pub(super) fn begin(&mut self, una: SeqNum) {
        self.sent_at = Instant::ZERO;
        self.end_seq = una;
        self.fack = una;
    }

    /// RFC 8985, 6.2, step 1.
    fn update_min_rtt(&mut self, rtt_us: u32) {
        if self.min_rtt_us == 0 || rtt_us <= self.min_rtt_us {
            self.min_rtt_us = rtt_us.max(1);
        }
    }

    /// The minimum is of late: it follows the smoothed round trip slowly.
    fn age_min_rtt(&mut self, srtt_us: u32) {
        self.update_min_rtt(srtt_us);
        self.min_rtt_us += (srtt_us - self.min_rtt_us.min(srtt_us)) / MIN_RTT_DRIFT;
    }

    /// The peer reports that it received something twice: the window was too
    /// short. It grows once a round trip.
    pub(super) fn on_dsack(&mut self, una: SeqNum, nxt: SeqNum) {
        if self.in_dsack_round && una.before(self.dsack_round) {
            return;
        }
        self.in_dsack_round = true;
        self.dsack_round = nxt;
        self.widened = self.widened.saturating_add(1);
        self.persist = PERSIST;
    }

    pub(super) fn on_recovery_exit(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.widened = 0;
        }
    }

    /// RACK_sent_after: whether what RACK knows of was sent after `node`. Two
    /// segments of one moment went out in the order of their numbers.
    fn is_after(&self, node: &Node) -> bool {
        self.sent_at > node.sent_at
            || (self.sent_at == node.sent_at && self.end_seq.after(node.end()))
    }
}

impl Tcb<'_> {
    /// The first selective acknowledgement, or a probe: RACK's state counts from
    /// now on. Returns whether the flow has room for it.
    pub(crate) fn begin_disorder(&mut self, env: &mut Env<'_>) -> bool {
        if self.hot.has(DISORDER) {
            return self.cold.episode.is_some();
        }
        let (una, srtt_us) = (self.hot.snd_una, self.hot.rtt.srtt_us);
        let Some(episode) = self.begin_episode(env) else {
            return false;
        };
        episode.recovery.rack.begin(una);
        if srtt_us > 0 {
            episode.recovery.rack.age_min_rtt(srtt_us);
        }
        self.hot.set(flag::UNORDERED_ACKS);
        true
    }

    /// A segment arrived (RFC 8985, 6.2, steps 1 to 3). Those of one ACK are
    /// given in ascending order; `echo` is the ACK's timestamp echo.
    pub(super) fn on_delivered(&mut self, now: Instant, segment: Delivered, echo: Option<u32>) {
        let Delivered {
            sent_at,
            end,
            retransmitted,
        } = segment;
        let sent_stamp = self.timestamp(sent_at);
        let Some(Recovery { rack, .. }) = self.cold.recovery_mut() else {
            return;
        };
        if end.after(rack.fack) {
            rack.fack = end;
        } else if end.before(rack.fack) && !retransmitted {
            rack.reordering_seen = true;
        }
        if !retransmitted {
            self.note_original(end);
        }
        let Some(Recovery { rack, .. }) = self.cold.recovery_mut() else {
            return;
        };
        let rtt_us = u32::try_from(now.nanos_since(sent_at) / 1000).unwrap_or(u32::MAX);
        if retransmitted {
            // Which transmission arrived? Not this one, if the echo is of an
            // earlier time, or if it came sooner than anything could.
            let earlier = echo.is_some_and(|echo| echo.wrapping_sub(sent_stamp).cast_signed() < 0);
            if earlier || rtt_us < rack.min_rtt_us {
                return;
            }
        } else {
            rack.update_min_rtt(rtt_us);
        }
        if sent_at > rack.sent_at || (sent_at == rack.sent_at && end.after(rack.end_seq)) {
            rack.sent_at = sent_at;
            rack.end_seq = end;
            rack.rtt_us = rtt_us;
        }
    }

    /// Everything up to `snd_una` has arrived.
    pub(crate) fn raise_fack(&mut self) {
        if let Some(Recovery { rack, .. }) = self.cold.recovery_mut() {
            rack.fack = rack.fack.later(self.hot.snd_una);
        }
    }

    /// RACK_update_reo_wnd, microseconds (RFC 8985, 6.2, step 4).
    pub(super) fn reordering_window(&self, env: &Env<'_>) -> u32 {
        let rack = &self.cold.recovery().rack;
        if !rack.reordering_seen
            && (self.hot.has(flag::RECOVERY) || self.sacked_segments(env) >= DUP_THRESH)
        {
            return 0;
        }
        let quarters = u64::from(rack.widened) + 1;
        let window = quarters * u64::from(rack.min_rtt_us) / 4;
        u32::try_from(window)
            .unwrap_or(u32::MAX)
            .min(self.hot.rtt.srtt_us)
    }

    /// Segments selectively acknowledged, counted up to DupThresh.
    fn sacked_segments(&self, env: &Env<'_>) -> u32 {
        let (mut count, mut at) = (0, self.hot.send.head);
        while let Some(id) = at.filter(|_| at != self.hot.unsent && count < DUP_THRESH) {
            let Some(node) = env.nodes.get(id) else { break };
            count += u32::from(node.has(SACKED));
            at = node.next;
        }
        count
    }

    /// RACK_detect_loss (RFC 8985, 6.2, step 5): marks what is lost. Returns in
    /// how many nanoseconds more may be.
    pub(super) fn detect_loss_by_time(&mut self, env: &mut Env<'_>) -> u64 {
        let rack = self.cold.recovery().rack;
        if rack.sent_at == Instant::ZERO {
            return 0;
        }
        let patience = u64::from(rack.rtt_us) + u64::from(self.reordering_window(env));
        let (mut wait, mut lost, mut again) = (0, 0, 0);
        let mut at = self.hot.send.head;
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            at = node.next;
            let waiting = node.marks & (LOST | RETRANSMITTED) == LOST;
            if waiting || node.has(SACKED) || !rack.is_after(node) {
                continue;
            }
            let due = node.sent_at.plus_nanos(patience * 1000);
            if due > env.now {
                wait = wait.max(due.nanos_since(env.now));
            } else if node.has(RETRANSMITTED) {
                node.marks &= !RETRANSMITTED;
                again += node.len;
                env.counters.inc(Counter::TcpLostRetransmits);
            } else {
                node.marks |= LOST;
                lost += node.len;
            }
        }
        self.hot.lost += lost;
        self.hot.retransmitted -= again.min(self.hot.retransmitted);
        wait
    }

    /// Whether a timeout takes `node`, not the first, for lost too: it was due
    /// by now (RFC 8985, 6.3).
    pub(super) fn is_overdue(&self, now: Instant, node: &Node, window_us: u32) -> bool {
        let rtt = self.cold.recovery().rack.rtt_us.max(self.hot.rtt.srtt_us);
        let patience = (u64::from(rtt) + u64::from(window_us)) * 1000;
        node.sent_at.plus_nanos(patience) <= now
    }
}
