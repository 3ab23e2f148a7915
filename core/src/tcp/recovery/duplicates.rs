//! Loss by duplicate ACKs, for flows without SACK (RFC 5681, 3.2; RFC 6582).

use super::DUP_THRESH;
use crate::tcp::Env;
use crate::tcp::tcb::{Tcb, flag};

impl Tcb<'_> {
    /// A duplicate ACK came (RFC 5681, 2): it stands for one segment that left
    /// the network. With SACK only its blocks count.
    pub(crate) fn on_duplicate_ack(&mut self) {
        if self.hot.has(flag::SACK) {
            return;
        }
        self.hot.dup_acks = self.hot.dup_acks.saturating_add(1);
        let mss = u32::from(self.hot.mss);
        let most = self.hot.flight().saturating_sub(mss + self.hot.lost);
        self.hot.sacked = (self.hot.sacked + mss).min(most.max(self.hot.sacked));
    }

    pub(super) fn detect_loss_by_duplicates(&mut self, env: &mut Env<'_>) {
        // RFC 6582, 4: no second reduction for losses of the same window.
        let stale = self.cold.recover.after(self.hot.snd_una)
            && self.cold.recover.at_or_before(self.hot.snd_nxt);
        if self.hot.has(flag::RECOVERY) || u32::from(self.hot.dup_acks) < DUP_THRESH || stale {
            return;
        }
        self.mark_head_lost(env);
    }

    /// An ACK of new data within recovery, of a flow without SACK.
    pub(crate) fn on_partial_ack(&mut self, env: &mut Env<'_>, acked: u32) {
        let beyond = acked.saturating_sub(u32::from(self.hot.mss));
        let left = self.hot.sacked.saturating_sub(beyond);
        self.hot.sacked = left.min(self.hot.flight());
        if self.hot.has(flag::FAST_RECOVERY) {
            // RFC 6582, 3.2, step 3: a partial ACK means that the segment after
            // it was lost as well.
            self.mark_head_lost(env);
        }
    }
}
