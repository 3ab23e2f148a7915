//! Queue nodes: one slab for the send, receive and out-of-order queues of all
//! flows.
//!
//! A node holds a view of a frame, where it stands in sequence space, and what
//! the sender knows of it (sent when, how often, selectively acknowledged,
//! lost). Links are indices, so one frame may stand in several queues through
//! several handles.

use core::mem::ManuallyDrop;
use core::num::NonZeroU32;

use pollwire_rings::{FrameRef, Instant, Region};

use super::episode::Episodes;
use super::seq::SeqNum;

/// Index of a node, from 1; `Option<NodeId>` is four bytes and all-zero is
/// `None`.
pub(crate) type NodeId = NonZeroU32;

/// A link of a list.
pub(crate) type Link = Option<NodeId>;

/// Sent at least once.
pub(crate) const SENT: u8 = 1;
/// Selectively acknowledged (RFC 2018); the peer may still renege.
pub(crate) const SACKED: u8 = 2;
/// Taken for lost; to be retransmitted.
pub(crate) const LOST: u8 = 4;
/// Retransmitted since it was taken for lost.
pub(crate) const RETRANSMITTED: u8 = 8;
/// Retransmitted at least once: gives no round-trip sample (Karn's rule).
pub(crate) const EVER_RETRANSMITTED: u8 = 16;

/// A stretch of a flow's byte stream. All-zero is an unused node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) frame: Option<FrameRef>,
    /// When it was last sent.
    pub(crate) sent_at: Instant,
    /// Sequence number of its first byte.
    pub(crate) seq: SeqNum,
    /// Bytes of payload, as `frame.len()`, kept here to spare a cache line.
    pub(crate) len: u32,
    pub(crate) next: Link,
    /// `SENT`, `SACKED`, ...
    pub(crate) marks: u8,
}

impl Node {
    pub(crate) const EMPTY: Self = Self {
        frame: None,
        sent_at: Instant::ZERO,
        seq: SeqNum::new(0),
        len: 0,
        next: None,
        marks: 0,
    };

    /// Sequence number behind its last byte.
    #[inline]
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.len
    }

    #[inline]
    pub(crate) fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Drops `count` bytes at the front.
    pub(crate) fn trim_front(&mut self, count: u32) {
        let count = count.min(self.len);
        if let Some(frame) = &mut self.frame {
            frame.trim_front(count as usize);
        }
        self.seq += count;
        self.len -= count;
    }

    /// Keeps `len` bytes at most.
    pub(crate) fn truncate(&mut self, len: u32) {
        self.len = self.len.min(len);
        if let Some(frame) = &mut self.frame {
            frame.truncate(self.len as usize);
        }
    }
}

/// A singly linked list of nodes. All-zero is empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) head: Link,
    pub(crate) tail: Link,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self {
        head: None,
        tail: None,
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

/// The slab. Unused nodes form a list of their own; nodes past `fresh` were
/// never used, so static memory needs no set-up.
pub(crate) struct Nodes {
    /// The other stock that flows take from.
    pub(crate) episodes: Episodes,
    slab: Region<Node>,
    free: Link,
    fresh: u32,
    in_use: u32,
}

impl Nodes {
    pub(crate) fn new(slab: Region<Node>, episodes: Episodes) -> Self {
        Self {
            episodes,
            slab,
            free: None,
            fresh: 0,
            in_use: 0,
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.slab.len() - self.in_use as usize
    }

    #[inline]
    fn slot(id: NodeId) -> usize {
        id.get() as usize - 1
    }

    /// The node, or `None` for an index out of the slab (never, for links that
    /// the slab itself made).
    #[inline]
    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.slab.get(Self::slot(id))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.slab.get_mut(Self::slot(id))
    }

    #[inline]
    pub(crate) fn next(&self, id: NodeId) -> Link {
        self.get(id).and_then(|node| node.next)
    }

    /// A node for `frame` at `seq`; gives the frame back when none is left.
    #[inline(always)]
    pub(crate) fn alloc(&mut self, seq: SeqNum, frame: FrameRef) -> Result<NodeId, FrameRef> {
        let id = match self.free {
            Some(id) => id,
            None if (self.fresh as usize) < self.slab.len() => {
                self.fresh += 1;
                let Some(id) = NodeId::new(self.fresh) else {
                    return Err(frame);
                };
                id
            }
            None => return Err(frame),
        };
        let Some(node) = self.slab.get_mut(Self::slot(id)) else {
            return Err(frame);
        };
        // A node never used before links to none, as the list's last does.
        self.free = node.next;
        node.len = u32::try_from(frame.len()).unwrap_or(0);
        node.seq = seq;
        node.next = None;
        node.marks = 0;
        // An unused node holds no frame that would have to be dropped.
        let _none = ManuallyDrop::new(node.frame.replace(frame));
        self.in_use += 1;
        Ok(id)
    }

    /// Gives a node back; returns its frame.
    #[inline]
    pub(crate) fn free(&mut self, id: NodeId) -> Option<FrameRef> {
        let free = self.free;
        let node = self.get_mut(id)?;
        let frame = node.frame.take();
        node.next = free;
        self.free = Some(id);
        self.in_use -= 1;
        frame
    }

    #[inline]
    pub(crate) fn push_back(&mut self, queue: &mut Queue, id: NodeId) {
        match queue.tail {
            Some(tail) => {
                if let Some(tail) = self.get_mut(tail) {
                    tail.next = Some(id);
                }
            }
            None => queue.head = Some(id),
        }
        queue.tail = Some(id);
    }

    /// Unlinks the first node and gives it back; returns its frame.
    #[inline]
    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<FrameRef> {
        let head = queue.head?;
        let free = self.free;
        let node = self.get_mut(head)?;
        let next = core::mem::replace(&mut node.next, free);
        let frame = node.frame.take();
        self.free = Some(head);
        self.in_use -= 1;
        queue.head = next;
        if next.is_none() {
            queue.tail = None;
        }
        frame
    }

    /// Gives back the queue's only node if it was sent once, nothing else is
    /// known of it, and it ends at `ack`. Returns when it was sent.
    #[inline(always)]
    pub(crate) fn pop_only(&mut self, queue: &mut Queue, ack: SeqNum) -> Option<Instant> {
        let id = queue.head.filter(|_| queue.head == queue.tail)?;
        let free = self.free;
        let node = self.get_mut(id)?;
        if node.marks != SENT || node.end() != ack {
            return None;
        }
        if let Some(frame) = node.frame.take() {
            frame.release();
        }
        node.next = free;
        let sent_at = node.sent_at;
        self.free = Some(id);
        self.in_use -= 1;
        *queue = Queue::EMPTY;
        Some(sent_at)
    }

    /// Gives back the nodes at the front that end at or before `ack`, as long
    /// as they were sent once and nothing else is known of them. Returns when
    /// the last of them was sent.
    #[inline]
    pub(crate) fn pop_acked(&mut self, queue: &mut Queue, ack: SeqNum) -> Option<Instant> {
        let first = queue.head?;
        let (mut last, mut next, mut count, mut sent_at) = (first, queue.head, 0, None);
        while let Some(id) = next {
            let Some(node) = self.get_mut(id) else { break };
            if node.marks != SENT || node.end().after(ack) {
                break;
            }
            if let Some(frame) = node.frame.take() {
                frame.release();
            }
            sent_at = Some(node.sent_at);
            (last, next) = (id, node.next);
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let free = self.free.replace(first);
        if let Some(node) = self.get_mut(last) {
            node.next = free;
        }
        self.in_use -= count;
        queue.head = next;
        if next.is_none() {
            queue.tail = None;
        }
        sent_at
    }

    /// Links `id` behind `after`, or first when that is `None`.
    pub(crate) fn insert_after(&mut self, queue: &mut Queue, after: Link, id: NodeId) {
        let next = match after {
            Some(after) => self.get_mut(after).and_then(|node| node.next.replace(id)),
            None => queue.head.replace(id),
        };
        match next {
            Some(next) => {
                if let Some(node) = self.get_mut(id) {
                    node.next = Some(next);
                }
            }
            None => queue.tail = Some(id),
        }
    }

    /// Gives back every node of a queue and so every frame.
    pub(crate) fn clear(&mut self, queue: &mut Queue) {
        while queue.head.is_some() {
            drop(self.pop_front(queue));
        }
    }

    /// Cuts node `id` after `len` bytes; the rest becomes a node behind it.
    /// `false`, and no change, when no node is left.
    pub(crate) fn split(&mut self, queue: &mut Queue, id: NodeId, len: u32) -> bool {
        let Some((seq, frame, sent_at, marks)) = self.get(id).and_then(|node| {
            let rest = node
                .frame
                .as_ref()?
                .slice(len as usize, node.len as usize)?;
            Some((node.seq + len, rest, node.sent_at, node.marks))
        }) else {
            return false;
        };
        let Ok(rest) = self.alloc(seq, frame) else {
            return false;
        };
        if let Some(node) = self.get_mut(rest) {
            node.sent_at = sent_at;
            node.marks = marks;
        }
        if let Some(node) = self.get_mut(id) {
            node.truncate(len);
        }
        self.insert_after(queue, Some(id), rest);
        true
    }
}
