//! The SACK blocks that the receiver sends (RFC 2018, 4).

use arrayvec::ArrayVec;

use super::Env;
use super::node::Link;
use super::seq::SeqNum;
use super::tcb::Tcb;

/// Most blocks of an option.
const MOST: usize = 4;
/// Arrivals remembered: as many as there are blocks beside timestamps.
const REMEMBERED: usize = 3;

/// Where the last segments out of order arrived, newest first; one entry for
/// each stretch, as far as is known without a look at the queue.
pub(crate) type Arrivals = [SeqNum; REMEMBERED];

impl Tcb<'_> {
    /// A segment was queued at `seq`, behind the node `after`. One that continues
    /// the stretch of the last takes its place.
    pub(super) fn note_arrival(&mut self, env: &Env<'_>, seq: SeqNum, after: Link) {
        let Some(episode) = self.cold.episode_mut() else {
            return;
        };
        let recent = &mut episode.arrivals;
        let before = after.and_then(|id| env.nodes.get(id));
        let continues = before.is_some_and(|node| node.seq == recent[0] && node.end() == seq);
        if !continues && seq != recent[0] {
            recent.rotate_right(1);
        }
        recent[0] = seq;
    }

    /// The SACK blocks to send, at most `most`. RFC 2018, 4: "The first SACK
    /// block [...] MUST specify the contiguous block of data containing the
    /// segment which triggered this ACK", and "The SACK option SHOULD be filled
    /// out by repeating the most recently reported SACK blocks".
    pub(crate) fn sack_blocks(&mut self, env: &Env<'_>, most: usize) -> ArrayVec<(u32, u32), MOST> {
        let mut recent = [None; REMEMBERED];
        let mut others = ArrayVec::<(SeqNum, SeqNum), MOST>::new();
        let episode = self.cold.episode();
        let mut at = episode.out_of_order.head;
        while let Some(node) = at.and_then(|id| env.nodes.get(id)) {
            let (left, mut right) = (node.seq, node.end());
            at = node.next;
            while let Some(next) = at.and_then(|id| env.nodes.get(id))
                && next.seq == right
            {
                right = next.end();
                at = next.next;
            }
            let holds = |seq: &SeqNum| left.at_or_before(*seq) && right.after(*seq);
            let place = episode.arrivals.iter().position(holds);
            match place.and_then(|place| recent.get_mut(place)) {
                Some(place) => *place = Some((left, right)),
                None if others.is_full() => {}
                None => others.push((left, right)),
            }
        }
        let stretches = recent.into_iter().flatten().chain(others);
        let mut blocks = ArrayVec::new();
        let mut arrivals = episode.arrivals;
        for (index, (left, right)) in stretches.take(MOST).enumerate() {
            blocks.push((left.raw(), right.raw()));
            if let Some(arrival) = arrivals.get_mut(index) {
                *arrival = left;
            }
        }
        if let Some(episode) = self.cold.episode_mut() {
            episode.arrivals = arrivals;
        }
        blocks.truncate(most);
        self.add_report(&mut blocks, most);
        blocks
    }
}
