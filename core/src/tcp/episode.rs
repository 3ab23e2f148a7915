//! What only a flow in trouble keeps: whose segments were lost or overtook each
//! other, on whose path a size is being sought.
//!
//! Few flows are in trouble at a time, so they share a stock of [`Episode`]s that
//! is made at boot, one for each [`FLOWS_PER_EPISODE`] flows, and an idle
//! connection pays for a pointer. A flow takes one at the first sign and keeps
//! it: later losses profit from what was learnt of the path. When the stock runs
//! low, flows that are in order again give theirs back ([`Tcp::reclaim`]).
//!
//! Where none can be had, TCP does without (`tcp-no-episode` counts it): it
//! ignores selective acknowledgements, repairs losses after a timeout, takes no
//! data out of order, and does not look for larger segments.
//!
//! [`Tcp::reclaim`]: super::table::Tcp::reclaim

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Env;
use super::blocks::Arrivals;
use super::congestion::Prior;
use super::dsack::Duplicate;
use super::node::{Nodes, Queue};
use super::path_mtu::PathMtu;
use super::recovery::{DISORDER, Recovery};
use super::seq::SeqNum;
use super::tcb::{Cold, Hot, Tcb, flag};
use crate::Counter;

/// One flow in this many may be in trouble at a time.
pub(crate) const FLOWS_PER_EPISODE: usize = 8;
/// A small stack has this many, if it has as many flows.
const LEAST: usize = 16;

/// Bytes of the stock for each flow, where there are not few.
pub(crate) const BYTES_PER_FLOW: usize =
    (size_of::<Episode>() + size_of::<Box<Episode>>()).div_ceil(FLOWS_PER_EPISODE);

/// What is known of a flow's trouble, sent and received.
pub(crate) struct Episode {
    pub(crate) recovery: Recovery,
    /// The windows before the last reduction, to undo it.
    pub(crate) prior: Prior,
    pub(crate) path: PathMtu,
    pub(crate) out_of_order: Queue,
    /// The last segments out of order: their blocks lead the SACK option.
    pub(crate) arrivals: Arrivals,
    pub(crate) duplicate: Duplicate,
    /// Where the FIN is that came before data that precedes it.
    pub(crate) early_fin: SeqNum,
    /// Segments received out of order and queued.
    pub(crate) out_of_order_count: u16,
}

impl Episode {
    /// Nothing ever happened.
    pub(crate) const NONE: Self = Self {
        recovery: Recovery::EMPTY,
        prior: Prior::NONE,
        path: PathMtu::EMPTY,
        out_of_order: Queue::EMPTY,
        arrivals: [SeqNum::new(0); 3],
        duplicate: Duplicate::EMPTY,
        early_fin: SeqNum::new(0),
        out_of_order_count: 0,
    };
}

/// The stock.
pub(crate) struct Episodes {
    #[expect(clippy::vec_box, reason = "the boxes move between here and the flows")]
    spare: Vec<Box<Episode>>,
    /// How many there are in all.
    most: usize,
}

impl Episodes {
    /// Enough for a stack of `flows`.
    pub(crate) fn new(flows: usize) -> Self {
        let most = (flows / FLOWS_PER_EPISODE).max(LEAST).min(flows);
        Self {
            spare: (0..most).map(|_| Box::new(Episode::NONE)).collect(),
            most,
        }
    }

    /// Whether fewer than a quarter are left.
    #[inline]
    pub(crate) fn are_low(&self) -> bool {
        self.spare.len() < self.most / 4
    }

    /// Puts one back. What it queued must be gone.
    pub(crate) fn put_back(&mut self, mut episode: Box<Episode>) {
        *episode = Episode::NONE;
        self.spare.push(episode);
    }

    /// How many flows have one.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.most - self.spare.len()
    }

    /// Takes all that are left.
    #[cfg(test)]
    pub(crate) fn hoard(&mut self) -> Box<[Box<Episode>]> {
        core::mem::take(&mut self.spare).into_boxed_slice()
    }
}

impl Cold {
    /// The flow's episode, to read; as good as new where it has none.
    #[inline]
    pub(crate) fn episode(&self) -> &Episode {
        self.episode.as_deref().unwrap_or(&Episode::NONE)
    }

    /// The flow's episode, to change, if it has one.
    #[inline]
    pub(crate) fn episode_mut(&mut self) -> Option<&mut Episode> {
        self.episode.as_deref_mut()
    }

    /// Gives the episode up, and what it queued.
    #[inline]
    pub(crate) fn end_episode(&mut self, nodes: &mut Nodes) {
        if self.episode.is_some() {
            self.give_up_episode(nodes);
        }
    }

    #[cold]
    fn give_up_episode(&mut self, nodes: &mut Nodes) {
        if let Some(mut episode) = self.episode.take() {
            nodes.clear(&mut episode.out_of_order);
            nodes.episodes.put_back(episode);
        }
    }
}

/// Whether a flow has an episode that it does not need now.
#[inline]
pub(crate) fn is_over(hot: &Hot, cold: &Cold) -> bool {
    cold.episode.is_some() && !hot.has(DISORDER | flag::OUT_OF_ORDER | flag::WATCHED)
}

impl Tcb<'_> {
    /// The flow's episode, begun if need be; `None` when the stock is empty.
    pub(crate) fn begin_episode(&mut self, env: &mut Env<'_>) -> Option<&mut Episode> {
        if self.cold.episode.is_none() {
            self.cold.episode = env.nodes.episodes.spare.pop();
            if self.cold.episode.is_none() {
                env.counters.inc(Counter::TcpNoEpisode);
            }
        }
        self.cold.episode.as_deref_mut()
    }
}
