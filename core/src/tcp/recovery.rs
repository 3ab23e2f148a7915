//! Loss detection and recovery: duplicate and selective acknowledgements
//! (RFC 5681, 6582, 6675), and what a timeout means for the queue.

use super::Env;
use super::congestion::CongestionEvent;
use super::node::{EVER_RETRANSMITTED, LOST, Link, RETRANSMITTED, SACKED, SENT};
use super::seq::SeqNum;
use super::tcb::{Tcb, flag};
use crate::Counter;

/// RFC 5681, 3.2; RFC 6675, 2: DupThresh.
const DUP_THRESH: u32 = 3;

impl Tcb<'_> {
    /// Marks what the blocks of a SACK option cover. Returns the bytes newly
    /// covered. Blocks that make no sense are ignored.
    pub(crate) fn on_sack(&mut self, env: &mut Env<'_>, blocks: &[(u32, u32)]) -> u32 {
        let mut newly = 0;
        for &(left, right) in blocks {
            let (left, right) = (SeqNum::new(left), SeqNum::new(right));
            let sane = left.before(right)
                && left.at_or_after(self.hot.snd_una)
                && right.at_or_before(self.hot.snd_nxt);
            if sane {
                newly += self.mark_sacked(env, left, right);
            }
        }
        newly
    }

    fn mark_sacked(&mut self, env: &mut Env<'_>, left: SeqNum, right: SeqNum) -> u32 {
        let mut newly = 0;
        let mut at = self.hot.send.head;
        while let Some(id) = at {
            if at == self.hot.unsent {
                break;
            }
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            if node.seq.at_or_after(right) {
                break;
            }
            at = node.next;
            if node.has(SACKED) || node.seq.before(left) || node.end().after(right) {
                continue;
            }
            if node.has(LOST) {
                self.hot.lost -= node.len;
            }
            if node.has(RETRANSMITTED) {
                self.hot.retransmitted -= node.len;
            }
            node.marks = (node.marks & !(LOST | RETRANSMITTED)) | SACKED;
            self.hot.sacked += node.len;
            newly += node.len;
        }
        newly
    }

    /// A duplicate ACK came (RFC 5681, 2). Without SACK each stands for one
    /// segment that left the network.
    pub(crate) fn on_duplicate_ack(&mut self) {
        self.hot.dup_acks = self.hot.dup_acks.saturating_add(1);
        if !self.hot.has(flag::SACK) {
            let mss = u32::from(self.hot.mss);
            let most = self.hot.flight().saturating_sub(mss + self.hot.lost);
            self.hot.sacked = (self.hot.sacked + mss).min(most.max(self.hot.sacked));
        }
    }

    /// Enters recovery, or marks more losses in it, as the scoreboard says.
    pub(crate) fn detect_loss(&mut self, env: &mut Env<'_>) {
        if self.hot.flight() == 0 {
            return;
        }
        let mss = u32::from(self.hot.mss);
        if !self.hot.has(flag::RECOVERY) {
            // RFC 6582, 4: no second reduction for losses of the same window.
            let stale = self.cold.recover.after(self.hot.snd_una)
                && self.cold.recover.at_or_before(self.hot.snd_nxt);
            let dup_acks = u32::from(self.hot.dup_acks) >= DUP_THRESH && !stale;
            let sacked = self.hot.has(flag::SACK) && self.hot.sacked > (DUP_THRESH - 1) * mss;
            if !dup_acks && !sacked {
                return;
            }
            self.enter_fast_recovery(env);
        }
        if self.hot.has(flag::SACK) {
            self.mark_lost_by_sack(env);
        }
    }

    fn enter_fast_recovery(&mut self, env: &mut Env<'_>) {
        env.counters.inc(Counter::TcpFastRecoveries);
        self.on_congestion_event(env.now, CongestionEvent::Loss);
        self.hot.cwnd = self.cold.ssthresh;
        self.cold.recover = self.hot.snd_nxt;
        // RFC 6675, 5, step 4.3: the first lost segment goes out at once.
        self.hot.set(flag::FAST_RECOVERY | flag::FORCE_RETRANSMIT);
        self.mark_lost_at(env, self.hot.send.head);
    }

    /// Takes the first segment for lost: what a partial ACK says (RFC 6582).
    pub(crate) fn mark_head_lost(&mut self, env: &mut Env<'_>) {
        self.mark_lost_at(env, self.hot.send.head);
    }

    /// The first segment may be sent once more: its retransmission is known to
    /// have met a closed window.
    pub(crate) fn forget_retransmission(&mut self, env: &mut Env<'_>) {
        let Some(node) = self.hot.send.head.and_then(|id| env.nodes.get_mut(id)) else {
            return;
        };
        if node.has(RETRANSMITTED) {
            node.marks &= !RETRANSMITTED;
            self.hot.retransmitted -= node.len.min(self.hot.retransmitted);
        }
    }

    fn mark_lost_at(&mut self, env: &mut Env<'_>, id: Link) {
        let Some(node) = id.and_then(|id| env.nodes.get_mut(id)) else {
            return;
        };
        if node.has(SENT) && !node.has(SACKED | LOST) {
            node.marks |= LOST;
            self.hot.lost += node.len;
        }
    }

    /// RFC 6675, 4, IsLost: a segment is lost when more than (DupThresh - 1) *
    /// SMSS bytes above it have been selectively acknowledged.
    fn mark_lost_by_sack(&mut self, env: &mut Env<'_>) {
        let enough = (DUP_THRESH - 1) * u32::from(self.hot.mss);
        let mut above = self.hot.sacked;
        let mut at = self.hot.send.head;
        while let Some(id) = at {
            if at == self.hot.unsent || above <= enough {
                break;
            }
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            at = node.next;
            if node.has(SACKED) {
                above -= node.len.min(above);
            } else if !node.has(LOST) {
                node.marks |= LOST;
                self.hot.lost += node.len;
            }
        }
    }

    /// The retransmission timer fired: everything unacknowledged is lost.
    ///
    /// RFC 2018, 8: "the data sender MUST NOT" rely on SACKed data being kept:
    /// "After a retransmit timeout the data sender SHOULD turn off all of the
    /// SACKed bits".
    pub(crate) fn mark_all_lost(&mut self, env: &mut Env<'_>) {
        self.hot.sacked = 0;
        self.hot.retransmitted = 0;
        self.hot.lost = 0;
        self.hot.dup_acks = 0;
        self.hot.set(flag::UNORDERED_ACKS);
        let mut at = self.hot.send.head;
        while let Some(id) = at {
            if at == self.hot.unsent {
                break;
            }
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            at = node.next;
            node.marks = (node.marks & EVER_RETRANSMITTED) | SENT | LOST;
            self.hot.lost += node.len;
        }
    }

    /// The first lost segment that has not been sent again.
    pub(crate) fn next_lost(&self, env: &Env<'_>) -> Link {
        if self.hot.lost == 0 {
            return None;
        }
        let mut at = self.hot.send.head;
        while let Some(id) = at {
            if at == self.hot.unsent {
                return None;
            }
            let node = env.nodes.get(id)?;
            if node.has(LOST) && !node.has(RETRANSMITTED) {
                return at;
            }
            at = node.next;
        }
        None
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
        self.hot.dup_acks = 0;
        if !self.hot.has(flag::SACK) {
            self.hot.sacked = 0;
        }
    }
}
