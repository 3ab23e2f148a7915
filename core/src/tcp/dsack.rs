//! Reports of duplicates that arrived: the first block of the next ACK (D-SACK,
//! RFC 2883). They tell the sender that it retransmitted in vain.

use arrayvec::ArrayVec;

use super::seq::SeqNum;
use super::tcb::{Tcb, flag, mark};
use crate::Counter;
use crate::tcp::Env;

/// A stretch that arrived twice, to be reported once; empty for none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Duplicate {
    left: SeqNum,
    right: SeqNum,
}

impl Duplicate {
    pub(crate) const EMPTY: Self = Self {
        left: SeqNum::new(0),
        right: SeqNum::new(0),
    };

    fn is_some(self) -> bool {
        self.left != self.right
    }
}

impl Tcb<'_> {
    /// The bytes from `left` to `right` arrived once more: the next ACK says so.
    /// Of several before that ACK, the first counts.
    pub(crate) fn report_duplicate(&mut self, left: SeqNum, right: SeqNum) {
        if self.hot.has(flag::SACK) && left.before(right) && !self.cold.duplicate.is_some() {
            self.cold.duplicate = Duplicate { left, right };
            self.hot.set(flag::OUT_OF_ORDER);
        }
    }

    /// Puts the report before the blocks of a SACK option. RFC 2883, 4: "a D-SACK
    /// block is only used to report a duplicate contiguous sequence of data
    /// received by the receiver in the most recent packet."
    pub(super) fn add_report(&self, blocks: &mut ArrayVec<(u32, u32), 4>, most: usize) {
        let Duplicate { left, right } = self.cold.duplicate;
        if self.cold.duplicate.is_some() {
            blocks.truncate(most.saturating_sub(1));
            blocks.insert(0, (left.raw(), right.raw()));
        }
    }

    /// An ACK with SACK blocks has gone out: what it reported is not reported
    /// again.
    #[cold]
    pub(super) fn reported(&mut self, env: &mut Env<'_>) {
        if self.cold.duplicate.is_some() {
            env.counters.inc(Counter::TcpDsacksOut);
            self.cold.duplicate = Duplicate::EMPTY;
        }
        self.note_out_of_order();
    }

    /// Keeps the flag that says that ACKs carry SACK blocks, or that a FIN waits
    /// for data before it.
    pub(super) fn note_out_of_order(&mut self) {
        let early_fin = self.cold.marks & mark::EARLY_FIN != 0;
        if self.cold.out_of_order.is_empty() && !self.cold.duplicate.is_some() && !early_fin {
            self.hot.clear(flag::OUT_OF_ORDER);
        }
    }
}
