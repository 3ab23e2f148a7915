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
    pub(crate) fn report_duplicate(&mut self, env: &mut Env<'_>, left: SeqNum, right: SeqNum) {
        if self.hot.has(flag::SACK)
            && left.before(right)
            && let Some(episode) = self.begin_episode(env)
            && !episode.duplicate.is_some()
        {
            episode.duplicate = Duplicate { left, right };
            self.hot.set(flag::OUT_OF_ORDER);
        }
    }

    /// Puts the report before the blocks of a SACK option. RFC 2883, 4: "a D-SACK
    /// block is only used to report a duplicate contiguous sequence of data
    /// received by the receiver in the most recent packet."
    pub(super) fn add_report(&self, blocks: &mut ArrayVec<(u32, u32), 4>, most: usize) {
        let duplicate = self.cold.episode().duplicate;
        if duplicate.is_some() {
            let Duplicate { left, right } = duplicate;
            blocks.truncate(most.saturating_sub(1));
            blocks.insert(0, (left.raw(), right.raw()));
        }
    }

    /// An ACK with SACK blocks has gone out: what it reported is not reported
    /// again.
    #[cold]
    pub(super) fn reported(&mut self, env: &mut Env<'_>) {
        if let Some(episode) = self.cold.episode_mut()
            && episode.duplicate.is_some()
        {
            episode.duplicate = Duplicate::EMPTY;
            env.counters.inc(Counter::TcpDsacksOut);
        }
        self.note_out_of_order();
    }

    /// Keeps the flag that says that ACKs carry SACK blocks, or that a FIN waits
    /// for data before it.
    pub(super) fn note_out_of_order(&mut self) {
        let early_fin = self.cold.marks & mark::EARLY_FIN != 0;
        let episode = self.cold.episode();
        if episode.out_of_order.is_empty() && !episode.duplicate.is_some() && !early_fin {
            self.hot.clear(flag::OUT_OF_ORDER);
        }
    }
}
