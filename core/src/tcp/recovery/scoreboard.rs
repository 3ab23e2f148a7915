//! The scoreboard: marks on the nodes of the send queue, and their sums in
//! `Hot` (RFC 2018; RFC 6675, 4).
//!
//! | mark | sum | meaning |
//! |---|---|---|
//! | `SACKED` | `sacked` | the peer holds it; it may still renege |
//! | `LOST` | `lost` | taken for lost, and not known to have arrived since |
//! | `LOST`, `RETRANSMITTED` | `lost`, `retransmitted` | sent again since |

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use super::rack::Delivered;
use crate::Counter;
use crate::tcp::Env;
use crate::tcp::node::{EVER_RETRANSMITTED, LOST, Link, Node, RETRANSMITTED, SACKED, SENT};
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Hot, Tcb, flag};

/// Blocks of a SACK option, as in the header.
pub(crate) type Blocks = [(u32, u32)];

impl Hot {
    /// Adds `bytes` of a node with `marks` to the sums.
    fn mark(&mut self, marks: u8, bytes: u32) {
        let counted = |mark: u8| if marks & mark != 0 { bytes } else { 0 };
        self.sacked += counted(SACKED);
        self.lost += counted(LOST);
        self.retransmitted += counted(RETRANSMITTED);
    }

    /// Takes `bytes` of a node with `marks` out of the sums.
    fn unmark(&mut self, marks: u8, bytes: u32) {
        if marks & SACKED != 0 {
            self.sacked -= bytes.min(self.sacked);
        }
        if marks & LOST != 0 {
            self.lost -= bytes.min(self.lost);
        }
        if marks & RETRANSMITTED != 0 {
            self.retransmitted -= bytes.min(self.retransmitted);
        }
    }
}

impl Tcb<'_> {
    /// Marks what the blocks of a SACK option cover; blocks that make no sense
    /// are ignored. Returns where the report of a duplicate ends, if one is
    /// there. Follows [`on_new_ack`](Self::on_new_ack).
    pub(crate) fn on_sack(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        blocks: &Blocks,
    ) -> Option<SeqNum> {
        let mut duplicate = None;
        let mut sane = ArrayVec::<(SeqNum, SeqNum), 4>::new();
        for (index, &(left, right)) in blocks.iter().enumerate() {
            let (left, right) = (SeqNum::new(left), SeqNum::new(right));
            if !left.before(right) || right.after(self.hot.snd_nxt) {
                continue;
            }
            if index == 0 && self.is_duplicate_report(seg.ack, left, right, blocks.get(1)) {
                duplicate = Some(right);
                self.on_duplicate_report(env, left, right);
            } else if left.at_or_after(self.hot.snd_una) && !sane.is_full() {
                sane.push((left, right));
            }
        }
        let highest = sane.iter().map(|block| block.1).reduce(SeqNum::later);
        if let Some(highest) = highest
            && self.begin_disorder(env)
        {
            self.mark_sacked(env, seg, &sane, highest);
        }
        duplicate
    }

    /// RFC 2883, 4: the first block is a duplicate report (D-SACK) when it lies
    /// below the acknowledgement number, or within the second block.
    fn is_duplicate_report(
        &self,
        ack: SeqNum,
        left: SeqNum,
        right: SeqNum,
        second: Option<&(u32, u32)>,
    ) -> bool {
        let oldest = self.hot.snd_una - self.cold.max_snd_wnd.max(1 << 16);
        let old = right.at_or_before(ack) && left.at_or_after(oldest);
        let within = second.is_some_and(|&(from, to)| {
            left.at_or_after(SeqNum::new(from)) && right.at_or_before(SeqNum::new(to))
        });
        old || within
    }

    fn on_duplicate_report(&mut self, env: &mut Env<'_>, left: SeqNum, right: SeqNum) {
        env.counters.inc(Counter::TcpDsacksIn);
        let (una, nxt) = (self.hot.snd_una, self.hot.snd_nxt);
        if let Some(recovery) = self.cold.recovery_mut() {
            recovery.rack.on_dsack(una, nxt);
        }
        self.undo_by_report(env, left, right);
    }

    fn mark_sacked(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        blocks: &[(SeqNum, SeqNum)],
        highest: SeqNum,
    ) {
        let echo = seg.timestamps.map(|(_, echo)| echo);
        let mut newest = None;
        let mut at = self.hot.send.head;
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            if node.seq.at_or_after(highest) {
                break;
            }
            at = node.next;
            let covered = |&(left, right): &(SeqNum, SeqNum)| {
                node.seq.at_or_after(left) && node.end().at_or_before(right)
            };
            if node.has(SACKED) || !blocks.iter().any(covered) {
                continue;
            }
            let segment = delivered(node);
            self.hot.unmark(node.marks, node.len);
            self.hot.sacked += node.len;
            node.marks = (node.marks & !(LOST | RETRANSMITTED)) | SACKED;
            if !segment.retransmitted {
                newest = newest.max(Some(segment.sent_at));
            }
            self.on_delivered(env.now, segment, echo);
        }
        // What the acknowledgement number says nothing of measures the path as
        // well.
        if let Some(sent_at) = newest
            && seg.ack.at_or_before(self.hot.snd_una)
            && self.hot.send.head.is_some()
        {
            self.hot.rtt.sample(env.now.nanos_since(sent_at) / 1000);
        }
    }

    /// Takes acknowledged nodes off the queue that something is known of.
    /// Returns when the newest of them was sent, if that gives a valid sample
    /// (Karn; and one acknowledged selectively gave its own when it was).
    #[cold]
    pub(crate) fn drop_marked(
        &mut self,
        env: &mut Env<'_>,
        ack: SeqNum,
        echo: Option<u32>,
    ) -> Option<Instant> {
        let mut sent_at = None;
        while let Some(node) = self.hot.send.head.and_then(|id| env.nodes.get_mut(id)) {
            if node.seq.at_or_after(ack) {
                break;
            }
            let gone = ack.bytes_since(node.seq).min(node.len);
            let (segment, marks) = (delivered(node), node.marks);
            self.hot.unmark(marks, gone);
            if gone < node.len {
                node.trim_front(gone);
                break;
            }
            drop(env.nodes.pop_front(&mut self.hot.send));
            if marks & SACKED == 0 {
                sent_at = (!segment.retransmitted).then_some(segment.sent_at);
                self.on_delivered(env.now, segment, echo);
            }
        }
        sent_at
    }

    /// Nodes left the queue that were sent once and that nothing was known of;
    /// the last of them was sent at `sent_at`.
    pub(crate) fn on_delivered_in_order(
        &mut self,
        env: &Env<'_>,
        sent_at: Instant,
        echo: Option<u32>,
    ) {
        let next = self.hot.send.head.and_then(|id| env.nodes.get(id));
        let end = next.map_or(self.hot.snd_una, |node| node.seq);
        let segment = Delivered {
            sent_at,
            end: end.earlier(self.hot.snd_una),
            retransmitted: false,
        };
        self.on_delivered(env.now, segment, echo);
    }

    /// Takes the first segment for lost.
    pub(crate) fn mark_head_lost(&mut self, env: &mut Env<'_>) {
        let head = self.hot.send.head;
        let Some(node) = head.and_then(|id| env.nodes.get_mut(id)) else {
            return;
        };
        if node.has(SENT) && !node.has(SACKED | LOST) {
            node.marks |= LOST;
            self.hot.lost += node.len;
        }
    }

    /// The path carries segments of `mss` bytes: cuts what is longer, and takes
    /// what of it is in flight for lost.
    pub(crate) fn cut_to(&mut self, env: &mut Env<'_>, mss: u32) {
        let (mut at, mut sent) = (self.hot.send.head, true);
        while let Some(id) = at {
            sent &= at != self.hot.unsent;
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            let long = node.len > mss;
            if long && sent && !node.has(SACKED) {
                self.hot.unmark(node.marks, node.len);
                node.marks = (node.marks & (EVER_RETRANSMITTED | SENT)) | LOST;
                self.hot.mark(node.marks, node.len);
            }
            if long && !env.nodes.split(&mut self.hot.send, id, mss) {
                break;
            }
            at = env.nodes.next(id);
        }
    }

    /// Takes what was sent from `from` to `end` for lost.
    pub(crate) fn mark_lost_between(&mut self, env: &mut Env<'_>, from: SeqNum, end: SeqNum) {
        let mut at = self.hot.send.head;
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            at = node.next;
            let within = node.seq.at_or_after(from) && node.seq.before(end);
            if within && !node.has(SACKED | LOST) {
                node.marks |= LOST;
                self.hot.lost += node.len;
            }
        }
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

    /// The peer acknowledged up to a segment that it said it held: it reneged,
    /// as RFC 2018, 8 lets it.
    pub(crate) fn has_reneged(&self, env: &Env<'_>) -> bool {
        let head = self.hot.send.head.and_then(|id| env.nodes.get(id));
        head.is_some_and(|node| node.has(SACKED))
    }

    /// The retransmission timer fired: marks what is lost.
    ///
    /// RFC 8985, 6.3: the first segment, and what is overdue by RACK's measure.
    /// RFC 2018, 8: "After a retransmit timeout the data sender SHOULD turn off
    /// all of the SACKed bits, since the timeout might indicate that the data
    /// receiver has reneged." RFC 8985 and RFC 6675, 5.1 keep them, for what
    /// they save; so do we until there is reason for doubt: the first segment
    /// is marked, or this timeout is not the first in a row.
    pub(crate) fn mark_lost_on_timeout(&mut self, env: &mut Env<'_>) {
        if self.has_reneged(env) {
            env.counters.inc(Counter::TcpReneges);
        }
        let trusting =
            self.hot.has(flag::SACK) && self.hot.rtt.backoff == 0 && !self.has_reneged(env);
        let window_us = self.reordering_window(env);
        self.begin_disorder(env);
        (self.hot.sacked, self.hot.retransmitted, self.hot.lost) = (0, 0, 0);
        self.hot.dup_acks = 0;
        let mut at = self.hot.send.head;
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            let first = at == self.hot.send.head;
            at = node.next;
            let late = first || !trusting || self.is_overdue(env.now, node, window_us);
            if late && !(trusting && node.has(SACKED)) {
                node.marks = (node.marks & (EVER_RETRANSMITTED | SENT)) | LOST;
            }
            self.hot.mark(node.marks, node.len);
        }
    }

    /// Nothing is lost after all.
    pub(super) fn forget_losses(&mut self, env: &mut Env<'_>) {
        (self.hot.lost, self.hot.retransmitted) = (0, 0);
        let mut at = self.hot.send.head;
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            at = node.next;
            node.marks &= !(LOST | RETRANSMITTED);
        }
    }

    /// The first lost segment, from `from` on, that has not been sent again.
    pub(crate) fn next_lost(&self, env: &Env<'_>, from: Link) -> Link {
        let mut at = from;
        while let Some(id) = at.filter(|_| self.hot.lost > 0 && at != self.hot.unsent) {
            let node = env.nodes.get(id)?;
            if node.marks & (LOST | RETRANSMITTED) == LOST {
                return at;
            }
            at = node.next;
        }
        None
    }
}

fn delivered(node: &Node) -> Delivered {
    Delivered {
        sent_at: node.sent_at,
        end: node.end(),
        retransmitted: node.has(EVER_RETRANSMITTED),
    }
}
