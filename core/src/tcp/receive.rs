//! The receive side: data in order and out of order, and the window.
//!
//! ```text
//!            recv queue            promised window
//!       |<--- unread --->|<-------------------------->|
//!   ----+----------------+----------------------------+----
//!                     rcv_nxt                      rcv_adv
//!                        |   out_of_order: holes between
//! ```
//!
//! Memory is accounted in slot bytes: a segment of one byte holds a whole slot.
//! The window counts payload, at half the slot bytes.

use pollwire_rings::{FramePool, FrameRef, Instant};

use super::node::Queue;
use super::open::QUICK_ACKS;
use super::seq::SeqNum;
use super::tcb::{Tcb, flag};
use super::{Env, is_scarce};
use crate::{Counter, DropReason};

/// Payloads up to this long are copied behind unread data instead of holding a
/// slot each.
const COPY_BREAK: usize = 256;
/// Most segments in a flow's out-of-order queue, however large its buffer.
const MAX_OUT_OF_ORDER: u16 = 16_384;
/// Longest that an ACK is held back, nanoseconds (RFC 9293, 3.8.6.3: MUST be
/// less than 0.5 seconds).
const DELAYED_ACK_NANOS: u64 = 40_000_000;

impl Tcb<'_> {
    /// Takes the payload of an acceptable segment. `frame` holds just the
    /// payload, from `seq` on.
    #[inline]
    pub(crate) fn on_data(
        &mut self,
        env: &mut Env<'_>,
        seq: SeqNum,
        frame: FrameRef,
    ) -> Result<(), DropReason> {
        let len = u32::try_from(frame.len()).unwrap_or(0);
        if seq == self.hot.rcv_nxt && !self.hot.has(flag::OUT_OF_ORDER) {
            return self.take_in_order(env, frame, len);
        }
        let end = seq + len;
        if end.at_or_before(self.hot.rcv_nxt) {
            self.report_duplicate(env, seq, end);
            self.ack_now();
            return Err(DropReason::TcpDuplicate);
        }
        let mut frame = frame;
        let old = self.hot.rcv_nxt.bytes_since(seq);
        frame.trim_front(old as usize);
        self.report_duplicate(env, seq, seq + old);
        let seq = seq + old;
        // RFC 5681, 4.2: out-of-order segments and those that fill a hole
        // SHOULD be acknowledged at once.
        self.ack_now();
        if seq == self.hot.rcv_nxt {
            let len = len - old;
            self.take_in_order(env, frame, len)?;
            self.drain_out_of_order(env);
            // The sender's window is small now, and grows by acknowledgements: like
            // Linux, it is not to wait for every second segment.
            self.cold.quick_acks = self.cold.quick_acks.max(QUICK_ACKS);
            return Ok(());
        }
        self.queue_out_of_order(env, seq, frame)
    }

    #[inline(always)]
    pub(crate) fn take_in_order(
        &mut self,
        env: &mut Env<'_>,
        frame: FrameRef,
        len: u32,
    ) -> Result<(), DropReason> {
        if self.hot.has(flag::READ_SHUT) {
            self.hot.rcv_nxt += len;
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64 KiB")]
        let cost = frame.slot_size() as u32;
        if self.hot.recv.is_empty() && self.cold.first_unread.is_none() {
            self.cold.first_unread = Some(frame);
        } else if frame.len() <= COPY_BREAK && self.extend_unread(&mut env.again(), &frame, len) {
            self.hot.rcv_nxt += len;
            return Ok(());
        } else {
            let Ok(id) = env.nodes.alloc(self.hot.rcv_nxt, frame) else {
                return Err(DropReason::TcpNoMemory);
            };
            env.nodes.push_back(&mut self.hot.recv, id);
        }
        self.hot.rcv_held = self.hot.rcv_held.saturating_add(cost);
        self.hot.rcv_nxt += len;
        Ok(())
    }

    /// Copies a small payload behind the last unread data, if that is nobody
    /// else's and has room.
    #[inline(never)]
    fn extend_unread(&mut self, env: &mut Env<'_>, frame: &FrameRef, len: u32) -> bool {
        let mut node = self.hot.recv.tail.and_then(|id| env.nodes.get_mut(id));
        let last = match &mut node {
            Some(node) => node.frame.as_mut(),
            None => self.cold.first_unread.as_mut(),
        };
        let Some(last) = last.filter(|last| last.unique_tailroom() >= frame.len()) else {
            return false;
        };
        let copied = last.extend_if_unique(frame);
        if let Some(node) = node {
            node.len += len;
        }
        env.counters.add(Counter::CopiedBytes, copied as u64);
        true
    }

    /// The segments behind a hole.
    fn out_of_order(&self) -> Queue {
        self.cold.episode().out_of_order
    }

    /// Files a segment behind a hole, trimmed so that no byte is held twice.
    fn queue_out_of_order(
        &mut self,
        env: &mut Env<'_>,
        seq: SeqNum,
        mut frame: FrameRef,
    ) -> Result<(), DropReason> {
        let cost = u32::try_from(frame.slot_size()).unwrap_or(u32::MAX);
        let held = self.hot.rcv_held.saturating_add(cost);
        // Full segments have room for a whole window; a peer that sends small
        // ones out of order holds no more slots than they would.
        let Some(episode) = self.begin_episode(env) else {
            return Err(DropReason::TcpNoMemory);
        };
        if episode.out_of_order_count >= MAX_OUT_OF_ORDER
            || held > self.cold.rcv_limit.saturating_mul(2)
            || env.scarce()
        {
            return Err(DropReason::TcpNoMemory);
        }
        let first = seq;
        let mut seq = seq;
        let mut after = self.out_of_order().tail.filter(|&tail| {
            // Most often behind all others.
            env.nodes
                .get(tail)
                .is_some_and(|last| last.end().at_or_before(seq))
        });
        let mut at = match after {
            Some(_) => None,
            None => self.out_of_order().head,
        };
        while let Some(id) = at {
            let Some(node) = env.nodes.get(id) else { break };
            if node.seq.after(seq) {
                break;
            }
            after = at;
            at = node.next;
            let len = u32::try_from(frame.len()).unwrap_or(0);
            let covered = node.end().bytes_since(seq).min(len);
            frame.trim_front(covered as usize);
            self.report_duplicate(env, seq, seq + covered);
            seq += covered;
        }
        if frame.is_empty() {
            self.note_arrival(env, first, None);
            return Err(DropReason::TcpDuplicate);
        }
        let end = seq + u32::try_from(frame.len()).unwrap_or(0);
        self.drop_covered(env, after, end);
        if let Some(next) = after.map_or(self.out_of_order().head, |id| env.nodes.next(id))
            && let Some(node) = env.nodes.get(next)
            && node.seq.before(end)
        {
            frame.truncate(node.seq.bytes_since(seq) as usize);
            self.report_duplicate(env, node.seq, end);
        }
        let Ok(id) = env.nodes.alloc(seq, frame) else {
            return Err(DropReason::TcpNoMemory);
        };
        let Some(episode) = self.cold.episode_mut() else {
            return Err(DropReason::TcpNoMemory);
        };
        env.nodes.insert_after(&mut episode.out_of_order, after, id);
        episode.out_of_order_count += 1;
        self.hot.rcv_held = self.hot.rcv_held.saturating_add(cost);
        self.note_arrival(env, seq, after);
        self.hot.set(flag::OUT_OF_ORDER);
        env.counters.inc(Counter::TcpOutOfOrder);
        Ok(())
    }

    /// Removes queued segments behind `after` that end at or before `end`.
    fn drop_covered(&mut self, env: &mut Env<'_>, after: super::node::Link, end: SeqNum) {
        loop {
            let next = after.map_or(self.out_of_order().head, |id| env.nodes.next(id));
            let Some(id) = next else { return };
            let Some(node) = env.nodes.get(id) else {
                return;
            };
            if node.end().after(end) {
                return;
            }
            let beyond = node.next;
            self.report_duplicate(env, node.seq, node.end());
            let Some(episode) = self.cold.episode_mut() else {
                return;
            };
            match after.and_then(|id| env.nodes.get_mut(id)) {
                Some(before) => before.next = beyond,
                None => episode.out_of_order.head = beyond,
            }
            if beyond.is_none() {
                episode.out_of_order.tail = after;
            }
            self.forget_out_of_order(env.nodes.free(id));
        }
    }

    fn forget_out_of_order(&mut self, frame: Option<FrameRef>) {
        let cost = frame.map_or(0, |frame| frame.slot_size());
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        self.hot.rcv_held = self.hot.rcv_held.saturating_sub(cost);
        if let Some(episode) = self.cold.episode_mut() {
            episode.out_of_order_count = episode.out_of_order_count.saturating_sub(1);
        }
        if self.out_of_order().is_empty() {
            self.note_out_of_order();
        }
    }

    /// Moves what is now in order to the receive queue.
    fn drain_out_of_order(&mut self, env: &mut Env<'_>) {
        while let Some(id) = self.out_of_order().head {
            let Some(node) = env.nodes.get(id) else {
                return;
            };
            if node.seq.after(self.hot.rcv_nxt) {
                return;
            }
            let old = self.hot.rcv_nxt.bytes_since(node.seq);
            let (seq, twice) = (node.seq, old.min(node.len));
            self.report_duplicate(env, seq, seq + twice);
            let Some(episode) = self.cold.episode_mut() else {
                return;
            };
            let frame = env.nodes.pop_front(&mut episode.out_of_order);
            let Some(mut frame) = frame else { return };
            let cost = u32::try_from(frame.slot_size()).unwrap_or(u32::MAX);
            self.hot.rcv_held = self.hot.rcv_held.saturating_sub(cost);
            self.forget_out_of_order(None);
            frame.trim_front(old as usize);
            if frame.is_empty() {
                continue;
            }
            let len = u32::try_from(frame.len()).unwrap_or(0);
            if self.take_in_order(env, frame, len).is_err() {
                return;
            }
        }
    }

    /// Decides when the data just taken is acknowledged (RFC 9293, 3.8.6.3;
    /// RFC 5681, 4.2): every second full segment at once, else delayed.
    #[inline(always)]
    pub(crate) fn schedule_ack(&mut self, env: &mut Env<'_>, len: u32, push: bool) {
        if len > u32::from(self.hot.rcv_mss) {
            self.again().grow_rcv_mss(len);
        }
        let unacked = self
            .hot
            .rcv_nxt
            .raw()
            .wrapping_sub(self.hot.last_ack_sent.raw());
        if unacked >= 2 * u32::from(self.hot.rcv_mss) {
            self.ack_now();
            if self.is_window_due() {
                self.again().look_at_window(&env.again(), unacked);
            }
        } else if !push && self.cold.quick_acks > 0 {
            self.cold.quick_acks -= 1;
            self.ack_now();
        } else if self.hot.ack_at == Instant::ZERO {
            self.hot.ack_at = env.now.plus_nanos(DELAYED_ACK_NANOS);
        }
    }

    /// The peer sends longer segments than was thought. A packet longer than
    /// what we asked for was coalesced, and says nothing of its segments.
    #[cold]
    fn grow_rcv_mss(&mut self, len: u32) {
        if len <= u32::from(self.cold.our_mss) {
            self.hot.rcv_mss = u16::try_from(len).unwrap_or(self.hot.rcv_mss);
            self.align_window();
        }
    }

    /// Payload bytes that could be offered now, from `rcv_nxt` on.
    #[inline]
    fn free_space(&self, pool: &FramePool) -> u32 {
        let held = self.hot.rcv_held / 2;
        let space = self.cold.rcv_limit.saturating_sub(held);
        if is_scarce(pool) {
            space.min(2 * u32::from(self.hot.rcv_mss))
        } else {
            space
        }
    }

    /// Moves the promised right edge and returns the window to announce, in
    /// bytes. RFC 9293, 3.8.6.2.2: the edge moves only by a segment or by half
    /// the buffer, and never back (MUST NOT shrink, 3.8.6).
    #[inline(always)]
    pub(crate) fn advance_window(&mut self, pool: &FramePool) -> u32 {
        let promised = self.hot.rcv_adv.bytes_since(self.hot.rcv_nxt);
        let limit = self.cold.rcv_limit;
        let step = u32::from(self.hot.rcv_mss).min(limit / 2);
        // All the space that there can be would not move it.
        if promised + step > limit {
            return promised;
        }
        let edge = self.hot.rcv_nxt + self.free_space(pool);
        let gain = edge.bytes_since(self.hot.rcv_adv);
        if gain >= step {
            self.hot.rcv_adv = edge;
        }
        self.hot.rcv_adv.bytes_since(self.hot.rcv_nxt)
    }

    /// Whether reading has opened the window far enough to tell the peer:
    /// by two segments or half the buffer.
    #[inline]
    pub(crate) fn window_update_due(&self, env: &Env<'_>) -> bool {
        let half = self.cold.rcv_limit / 2;
        if self.hot.rcv_adv.bytes_since(self.hot.rcv_nxt) >= half {
            return false;
        }
        let edge = self.hot.rcv_nxt + self.free_space(env.pool);
        let gain = edge.bytes_since(self.hot.rcv_adv);
        gain >= (2 * u32::from(self.hot.rcv_mss)).min(half)
    }
}
