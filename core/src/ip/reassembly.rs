//! Reassembly of fragments, for both versions of IP (RFC 791, RFC 815 in
//! spirit; RFC 8200, 4.5; RFC 5722).
//!
//! Fragments stay in the frames in which they came, in order of their offsets,
//! and a complete datagram leaves as a chain of those frames. Memory is fixed
//! at boot: so many datagrams, so many frames, and of both at most a share for
//! each source. Where there is no room the oldest datagram gives way.
//!
//! RFC 5722, 4: "When reassembling an IPv6 datagram, if one or more its
//! constituent fragments is determined to be an overlapping fragment, the entire
//! datagram (and any constituent fragments, including those not yet received)
//! MUST be silently discarded." IPv4 is held to the same. RFC 8200, 4.5, lets
//! exact duplicates pass for what they are.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::{FrameBuf, Instant};

use crate::tcp::MAX_REST;
use crate::{Counter, Counters, DropReason};

/// Datagrams that may be incomplete at once.
pub(crate) const MAX_DATAGRAMS: usize = 64;
/// How many of them may be from one source.
pub(crate) const MAX_PER_SOURCE: usize = 16;
/// Frames that an incomplete datagram may hold: the longest one has 45
/// fragments where the link carries 1500 bytes.
const MAX_FRAMES: u16 = 64;
/// Frames that all of them together may hold, however large the pool.
const MAX_FRAMES_TOTAL: usize = 1024;
/// How long the fragments of an IPv4 datagram wait for the others.
pub(crate) const TIMEOUT_V4: Duration = Duration::from_secs(30);
/// RFC 8200, 4.5: "If insufficient fragments are received to complete
/// reassembly of a packet within 60 seconds of the reception of the
/// first-arriving fragment of that packet, reassembly of that packet must be
/// abandoned".
pub(crate) const TIMEOUT_V6: Duration = Duration::from_secs(60);

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentKey {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) ident: u32,
    /// IPv4's protocol; 0 for IPv6, whose fragments may differ in it.
    pub(crate) protocol: u8,
}

/// What a fragment's headers say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    pub(crate) key: FragmentKey,
    /// Where its data begins in the datagram's, in bytes.
    pub(crate) offset: u32,
    /// More fragments follow.
    pub(crate) more: bool,
    /// Most bytes of data that the datagram can have.
    pub(crate) limit: u32,
    pub(crate) head: Head,
}

/// What the headers before a fragment's data say. The first fragment's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// What the data begins with.
    pub(crate) protocol: u8,
    /// Bytes of the headers: they lie in the frame's headroom, right before its
    /// data.
    pub(crate) header_len: u8,
    pub(crate) ttl: u8,
    /// Traffic class, or type of service, its last two bits those of RFC 3168,
    /// 5.
    pub(crate) class: u8,
    /// The destination is broadcast or multicast.
    pub(crate) broadcast: bool,
}

/// A datagram put together: its first frame. The rest is in the chain that was
/// given to [`Reassembly::insert`].
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) frame: FrameBuf,
    pub(crate) head: Head,
}

/// A datagram whose time is up.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) key: FragmentKey,
    /// The first fragment, if it was received: the error about the datagram is
    /// made of it (RFC 792; RFC 4443, 3.3).
    pub(crate) first: Option<(FrameBuf, Head)>,
}

/// No node.
const NIL: u16 = u16::MAX;

/// A frame of an incomplete datagram, and where its data belongs.
struct Node {
    frame: Option<FrameBuf>,
    offset: u32,
    next: u16,
}

impl Node {
    fn end(&self) -> u32 {
        let len = self.frame.as_ref().map_or(0, |frame| frame.len());
        self.offset
            .saturating_add(u32::try_from(len).unwrap_or(u32::MAX))
    }
}

/// A datagram that is not complete.
struct Partial {
    key: FragmentKey,
    due: Instant,
    /// Nodes in order of their offsets.
    first: u16,
    last: u16,
    frames: u16,
    /// Fragments taken, for the count of drops.
    fragments: u32,
    /// Bytes of data held.
    held: u32,
    /// Bytes of data in all, once the last fragment has told.
    total: Option<u32>,
    head: Option<Head>,
    /// One bit for each ECN codepoint seen.
    ecn_seen: u8,
    /// Why it was given up. It holds nothing then, and turns away what comes
    /// late until its time is up.
    given_up: Option<DropReason>,
}

/// Where a fragment belongs.
enum Place {
    /// Behind this node; [`NIL`] for the front.
    After(u16),
    Duplicate,
    Overlap,
}

/// All incomplete datagrams.
pub(crate) struct Reassembly {
    /// Oldest first.
    partials: Vec<Partial>,
    nodes: Vec<Node>,
    /// First free node.
    free: u16,
    in_use: usize,
}

impl Reassembly {
    /// Room for a quarter of a pool with `capacity` frames.
    pub(crate) fn new(capacity: usize) -> Self {
        let count = (capacity / 4).min(MAX_FRAMES_TOTAL);
        let nodes = (1..=count)
            .map(|next| Node {
                frame: None,
                offset: 0,
                next: if next == count { NIL } else { to_link(next) },
            })
            .collect();
        Self {
            partials: Vec::with_capacity(MAX_DATAGRAMS),
            nodes,
            free: if count == 0 { NIL } else { 0 },
            in_use: 0,
        }
    }

    /// Takes a fragment whose data is `frame`. Returns the datagram when this
    /// completes it, its frames behind the first in `rest`, which must be empty.
    /// What it gives up on the way is counted in `counters`.
    ///
    /// # Errors
    /// Why the fragment was dropped; that one has not been counted.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        frame: FrameBuf,
        rest: &mut ArrayVec<FrameBuf, MAX_REST>,
        counters: &mut Counters,
    ) -> Result<Option<Whole>, DropReason> {
        // RFC 791, 3.2: fragments but the last have a multiple of eight bytes;
        // one without any would never come to an end.
        if frame.is_empty() || (fragment.more && !frame.len().is_multiple_of(8)) {
            return Err(DropReason::FragmentBadLength);
        }
        self.insert_part(now, fragment, frame, rest, counters)
    }

    /// The same, for a part of a fragment: it may have any length but none.
    pub(crate) fn insert_part(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        frame: FrameBuf,
        rest: &mut ArrayVec<FrameBuf, MAX_REST>,
        counters: &mut Counters,
    ) -> Result<Option<Whole>, DropReason> {
        let end = fragment.check(&frame)?;
        let at = self.find_or_open(now, &fragment.key, counters);
        let partial = self.partials.get(at).ok_or(DropReason::FragmentNoRoom)?;
        if let Some(reason) = partial.given_up {
            return Err(reason);
        }
        let after = match self.place(partial, fragment, &frame, end) {
            Place::After(node) => node,
            Place::Duplicate => return Err(DropReason::FragmentDuplicate),
            Place::Overlap => {
                self.give_up(at, DropReason::FragmentOverlap, counters);
                return Err(DropReason::FragmentOverlap);
            }
        };
        let taken = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let at = self.store(at, after, fragment.offset, frame, counters)?;
        let Some(partial) = self.partials.get_mut(at) else {
            return Ok(None);
        };
        partial.fragments += 1;
        partial.held = partial.held.saturating_add(taken);
        partial.ecn_seen |= 1 << (fragment.head.class & 3);
        if fragment.offset == 0 {
            partial.head = Some(fragment.head);
        }
        if !fragment.more {
            partial.total = Some(end);
        }
        // Nothing overlaps, so as many bytes as there are in all are all bytes.
        if partial.total != Some(partial.held) {
            return Ok(None);
        }
        self.finish(at, rest, counters).map(Some)
    }

    /// When [`expire`](Self::expire) next has work.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.partials.iter().map(|partial| partial.due).min()
    }

    /// Gives up a datagram whose time is up, and counts its fragments.
    pub(crate) fn expire(&mut self, now: Instant, counters: &mut Counters) -> Option<Expired> {
        let at = self
            .partials
            .iter()
            .position(|partial| partial.due <= now)?;
        let partial = self.partials.get(at)?;
        let (key, head, first) = (partial.key, partial.head, partial.first);
        // The first fragment is the first in the list.
        let first = head.and_then(|head| Some((self.node_mut(first)?.frame.take()?, head)));
        self.give_up(at, DropReason::FragmentTimedOut, counters);
        self.partials.remove(at);
        Some(Expired { key, first })
    }

    /// Incomplete datagrams, and the frames that they hold.
    #[cfg(test)]
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.partials.len(), self.in_use)
    }

    fn node(&self, at: u16) -> Option<&Node> {
        self.nodes.get(usize::from(at))
    }

    fn node_mut(&mut self, at: u16) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(at))
    }

    /// The datagram's place in `partials`: a new one when there is none.
    fn find_or_open(&mut self, now: Instant, key: &FragmentKey, counters: &mut Counters) -> usize {
        let found = self.partials.iter().position(|partial| partial.key == *key);
        if let Some(at) = found {
            return at;
        }
        let from_source = |partial: &&Partial| partial.key.src == key.src;
        if self.partials.iter().filter(from_source).count() >= MAX_PER_SOURCE {
            self.evict(Some(key.src), None, counters);
        }
        if self.partials.len() >= MAX_DATAGRAMS {
            self.evict(None, None, counters);
        }
        let timeout = if key.src.is_ipv4() {
            TIMEOUT_V4
        } else {
            TIMEOUT_V6
        };
        self.partials.push(Partial {
            key: *key,
            due: now + timeout,
            first: NIL,
            last: NIL,
            frames: 0,
            fragments: 0,
            held: 0,
            total: None,
            head: None,
            ecn_seen: 0,
            given_up: None,
        });
        self.partials.len() - 1
    }

    /// Where a fragment that ends at `end` belongs among those that came before.
    fn place(&self, partial: &Partial, fragment: &Fragment, frame: &[u8], end: u32) -> Place {
        let last = self.node(partial.last);
        let held_to = last.map_or(0, Node::end);
        let beyond = |total: u32| end > total || (!fragment.more && end != total);
        // In order, as fragments mostly come.
        let mut before = partial.last;
        if last.is_some_and(|last| last.offset > fragment.offset) {
            before = NIL;
            let mut at = partial.first;
            while let Some(node) = self.node(at).filter(|node| node.offset <= fragment.offset) {
                before = at;
                at = node.next;
            }
        }
        let follower = match self.node(before) {
            Some(node) if node.end() > fragment.offset => {
                return if node.holds(fragment.offset, frame) {
                    Place::Duplicate
                } else {
                    Place::Overlap
                };
            }
            Some(node) => node.next,
            None => partial.first,
        };
        let overlaps = self.node(follower).is_some_and(|node| node.offset < end);
        let past_the_end = partial.total.is_some_and(beyond) || (!fragment.more && held_to > end);
        if overlaps || past_the_end {
            Place::Overlap
        } else {
            Place::After(before)
        }
    }

    /// Keeps a fragment's frame behind the node `after`: in a node of its own,
    /// or copied into the frame before it where it continues that and fits.
    /// Returns where the datagram stands then.
    fn store(
        &mut self,
        at: usize,
        after: u16,
        offset: u32,
        frame: FrameBuf,
        counters: &mut Counters,
    ) -> Result<usize, DropReason> {
        if let Some(before) = self.node_mut(after)
            && before.end() == offset
            && let Some(held) = &mut before.frame
            && held.tailroom() >= frame.len()
        {
            let copied = held.extend_from_slice(&frame);
            counters.add(Counter::CopiedBytes, copied as u64);
            return Ok(at);
        }
        let Some(at) = self.make_room(at, counters) else {
            self.give_up(at, DropReason::FragmentNoRoom, counters);
            return Err(DropReason::FragmentNoRoom);
        };
        let new = self.free;
        let (Some(partial), Some(node)) = (
            self.partials.get_mut(at),
            self.nodes.get_mut(usize::from(new)),
        ) else {
            return Err(DropReason::FragmentNoRoom);
        };
        self.free = node.next;
        self.in_use += 1;
        partial.frames += 1;
        *node = Node {
            frame: Some(frame),
            offset,
            next: NIL,
        };
        let follower = match self.nodes.get_mut(usize::from(after)) {
            Some(before) => core::mem::replace(&mut before.next, new),
            None => core::mem::replace(&mut partial.first, new),
        };
        if follower == NIL {
            partial.last = new;
        }
        if let Some(node) = self.node_mut(new) {
            node.next = follower;
        }
        Ok(at)
    }

    /// Sees to it that datagram `at` may have another frame; returns where it
    /// stands then. `None` when others cannot give way for it.
    fn make_room(&mut self, at: usize, counters: &mut Counters) -> Option<usize> {
        let partial = self.partials.get(at)?;
        let key = partial.key;
        if partial.frames >= MAX_FRAMES {
            return None;
        }
        let share = self.nodes.len().div_ceil(2);
        while self.frames_of(key.src) >= share {
            self.evict(Some(key.src), Some(&key), counters)?;
        }
        while self.free == NIL {
            self.evict(None, Some(&key), counters)?;
        }
        self.partials.iter().position(|partial| partial.key == key)
    }

    /// Frames that a source's datagrams hold.
    fn frames_of(&self, src: IpAddr) -> usize {
        self.partials
            .iter()
            .filter(|partial| partial.key.src == src)
            .map(|partial| usize::from(partial.frames))
            .sum()
    }

    /// Drops the oldest datagram, of one source or of all; given-up ones first.
    fn evict(
        &mut self,
        src: Option<IpAddr>,
        keep: Option<&FragmentKey>,
        counters: &mut Counters,
    ) -> Option<()> {
        // Of equals the first is taken: the oldest.
        let (at, _) = self
            .partials
            .iter()
            .enumerate()
            .filter(|(_, partial)| src.is_none_or(|src| partial.key.src == src))
            .filter(|(_, partial)| keep.is_none_or(|keep| partial.key != *keep))
            .min_by_key(|(_, partial)| partial.given_up.is_none())?;
        self.give_up(at, DropReason::FragmentNoRoom, counters);
        self.partials.remove(at);
        Some(())
    }

    /// Lets a datagram's frames go, and counts its fragments as drops.
    fn give_up(&mut self, at: usize, reason: DropReason, counters: &mut Counters) {
        let Some(partial) = self.partials.get_mut(at) else {
            return;
        };
        let mut node = core::mem::replace(&mut partial.first, NIL);
        partial.last = NIL;
        partial.frames = 0;
        partial.given_up = Some(reason);
        counters.drop_many(reason, core::mem::take(&mut partial.fragments).into());
        while node != NIL {
            let (_, next) = self.take_node(node);
            node = next;
        }
    }

    /// Frees a node; returns its frame and the node behind it.
    fn take_node(&mut self, at: u16) -> (Option<FrameBuf>, u16) {
        let free = self.free;
        let Some(node) = self.node_mut(at) else {
            return (None, NIL);
        };
        let next = core::mem::replace(&mut node.next, free);
        let frame = node.frame.take();
        self.free = at;
        self.in_use = self.in_use.saturating_sub(1);
        (frame, next)
    }

    /// Takes a complete datagram out.
    fn finish(
        &mut self,
        at: usize,
        rest: &mut ArrayVec<FrameBuf, MAX_REST>,
        counters: &mut Counters,
    ) -> Result<Whole, DropReason> {
        let partial = self.partials.get(at).ok_or(DropReason::FragmentNoRoom)?;
        let (ecn, head) = (merged_ecn(partial.ecn_seen), partial.head);
        let (Some(ecn), Some(head)) = (ecn, head) else {
            // The fragment at hand is counted by the caller.
            if let Some(partial) = self.partials.get_mut(at) {
                partial.fragments -= 1;
            }
            self.give_up(at, DropReason::FragmentBadEcn, counters);
            return Err(DropReason::FragmentBadEcn);
        };
        let partial = self.partials.remove(at);
        let (first, mut node) = self.take_node(partial.first);
        let mut whole = Whole {
            frame: first.ok_or(DropReason::FragmentNoRoom)?,
            head: Head {
                class: head.class & !3 | ecn,
                ..head
            },
        };
        // Frames beyond what a chain can have are filled up from behind.
        let fill = usize::from(partial.frames) > MAX_REST + 1;
        while node != NIL {
            let (frame, next) = self.take_node(node);
            node = next;
            let Some(mut frame) = frame else { continue };
            if fill {
                let last = rest.last_mut().unwrap_or(&mut whole.frame);
                let moved = last.extend_from_slice(&frame);
                counters.add(Counter::CopiedBytes, moved as u64);
                // Down to its front, for there must be room behind it, too.
                frame.copy_within(moved.., 0);
                let left = frame.len() - moved;
                frame.truncate(left);
            }
            if !frame.is_empty() && rest.try_push(frame).is_err() {
                rest.clear();
                counters.drop_many(
                    DropReason::TooManyPieces,
                    u64::from(partial.fragments.saturating_sub(1)),
                );
                while node != NIL {
                    node = self.take_node(node).1;
                }
                return Err(DropReason::TooManyPieces);
            }
        }
        counters.inc(Counter::Reassembled);
        Ok(whole)
    }
}

impl Node {
    /// Whether it holds `bytes` at `offset` already, in whole and the same.
    fn holds(&self, offset: u32, bytes: &[u8]) -> bool {
        let start = offset.checked_sub(self.offset).map(|start| start as usize);
        start.is_some_and(|start| {
            let held = self.frame.as_deref().unwrap_or_default();
            held.get(start..)
                .and_then(|held| held.get(..bytes.len()))
                .is_some_and(|held| held == bytes)
        })
    }
}

impl Fragment {
    /// Refuses what no sender makes; returns where the data ends.
    fn check(&self, frame: &[u8]) -> Result<u32, DropReason> {
        u32::try_from(frame.len())
            .ok()
            .and_then(|len| self.offset.checked_add(len))
            .filter(|&end| end <= self.limit)
            .ok_or(DropReason::FragmentTooLong)
    }
}

/// The ECN codepoint of a datagram from those of its fragments; `None` when it
/// must not be delivered.
///
/// RFC 3168, 5.3: where a fragment has CE, "Set the CE codepoint on the
/// reassembled packet. However, this MUST NOT occur if any of the other
/// fragments contributing to this reassembly carries the Not-ECT codepoint";
/// such a datagram is dropped.
fn merged_ecn(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1;
    match seen {
        NOT_ECT => Some(0),
        seen if seen & NOT_ECT != 0 && seen & 0b1000 != 0 => None,
        seen if seen & NOT_ECT != 0 => Some(0),
        seen if seen & 0b1000 != 0 => Some(3),
        0b0010 => Some(1),
        _ => Some(2),
    }
}

fn to_link(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(NIL)
}
