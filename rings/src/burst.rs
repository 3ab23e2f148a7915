//! Bursts: what one turn of the loop moves between a device and the stack.

use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;
use core::slice;

use arrayvec::ArrayVec;

use crate::{FrameBuf, FrameRef, RxMeta, TxMeta};

/// Most packets in one receive burst.
pub const RX_BURST: usize = 32;
/// Most frames in one receive burst; a coalesced packet takes several.
pub const RX_PIECES: usize = 80;
/// Most packets in one transmit burst.
pub const TX_PACKETS: usize = 64;
/// Most frames in one transmit burst.
pub const TX_PIECES: usize = 160;

/// One received frame and what the device says of it.
#[derive(Debug)]
pub struct RxFrame {
    /// The frame, from its Ethernet header on.
    pub frame: FrameBuf,
    /// The device's word on it.
    pub meta: RxMeta,
}

/// Received packets, oldest first. A packet is one frame, or several of which
/// all but the last have [`RxMeta::continues`] set.
///
/// A flat array that is filled by a device and emptied in order: `head..tail`
/// is what it holds.
pub struct RxBurst {
    /// Invariant: `head <= tail <= RX_PIECES`, and exactly the places
    /// `head..tail` hold a frame.
    frames: [MaybeUninit<RxFrame>; RX_PIECES],
    head: usize,
    tail: usize,
    packets: usize,
}

impl RxBurst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: [const { MaybeUninit::uninit() }; RX_PIECES],
            head: 0,
            tail: 0,
            packets: 0,
        }
    }

    /// Whether another packet of up to `pieces` frames fits.
    #[must_use]
    #[inline]
    pub fn has_room(&self, pieces: usize) -> bool {
        self.packets < RX_BURST && RX_PIECES - self.tail >= pieces
    }

    /// The free places for packets of one frame each.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [MaybeUninit<RxFrame>] {
        let left = RX_BURST.saturating_sub(self.packets);
        let end = RX_PIECES.min(self.tail + left);
        self.frames.get_mut(self.tail..end).unwrap_or_default()
    }

    /// The first place, if nothing was put in since the burst was emptied.
    #[inline(always)]
    pub(crate) fn first_place(&mut self) -> Option<&mut MaybeUninit<RxFrame>> {
        (self.tail == 0).then_some(&mut self.frames[0])
    }

    /// Adds the packets that were written to the first `count` places of
    /// [`spare`](Self::spare).
    ///
    /// # Safety
    /// There are as many places, and they were written to.
    #[inline]
    pub(crate) unsafe fn add_packets(&mut self, count: usize) {
        self.tail += count;
        self.packets += count;
    }

    /// Adds a frame; a full burst gives it back.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    #[inline]
    pub fn push(&mut self, frame: FrameBuf, meta: RxMeta) -> Result<(), FrameBuf> {
        let Some(place) = self.frames.get_mut(self.tail) else {
            return Err(frame);
        };
        place.write(RxFrame { frame, meta });
        self.tail += 1;
        self.packets += usize::from(!meta.continues);
        Ok(())
    }

    /// Packets in the burst.
    #[must_use]
    #[inline]
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// Whether it is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// The frames, oldest first.
    #[must_use]
    pub fn frames(&self) -> &[RxFrame] {
        // SAFETY: the places `head..tail` lie in the array and hold frames, and
        // `MaybeUninit<T>` has the layout of `T`.
        unsafe {
            let first = self.frames.as_ptr().add(self.head).cast::<RxFrame>();
            slice::from_raw_parts(first, self.tail - self.head)
        }
    }

    /// Takes all frames out, oldest first.
    #[inline]
    pub fn drain(&mut self) -> RxDrain<'_> {
        RxDrain { burst: self }
    }

    #[inline]
    fn pop(&mut self) -> Option<RxFrame> {
        if self.head >= self.tail {
            return None;
        }
        // SAFETY: `head < tail`, so the place lies in the array and holds a
        // frame. Moving `head` on makes it an empty place: the frame leaves it
        // once only.
        let frame = unsafe { self.frames.get_unchecked(self.head).assume_init_read() };
        self.head += 1;
        Some(frame)
    }

    /// Drops what is left, and starts again at the array's beginning.
    #[inline]
    fn clear(&mut self) {
        while let Some(frame) = self.pop() {
            drop(frame);
        }
        (self.head, self.tail, self.packets) = (0, 0, 0);
    }
}

impl Default for RxBurst {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RxBurst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for RxBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxBurst")
            .field("frames", &self.frames())
            .field("packets", &self.packets)
            .finish()
    }
}

/// What [`RxBurst::drain`] takes out. Whatever is left in the end is dropped.
#[derive(Debug)]
pub struct RxDrain<'a> {
    burst: &'a mut RxBurst,
}

impl RxDrain<'_> {
    /// Whether just one frame is left.
    #[must_use]
    #[inline]
    pub fn is_last(&self) -> bool {
        self.burst.head + 1 == self.burst.tail
    }

    /// The next frame, left where it is.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<&RxFrame> {
        if self.burst.head >= self.burst.tail {
            return None;
        }
        // SAFETY: `head < tail`, so the place lies in the array and holds a
        // frame.
        let place = unsafe { self.burst.frames.get_unchecked(self.burst.head) };
        // SAFETY: as above.
        Some(unsafe { place.assume_init_ref() })
    }
}

impl Iterator for RxDrain<'_> {
    type Item = RxFrame;

    #[inline]
    fn next(&mut self) -> Option<RxFrame> {
        self.burst.pop()
    }
}

impl Drop for RxDrain<'_> {
    #[inline]
    fn drop(&mut self) {
        self.burst.clear();
    }
}

/// Where a packet ends in the flat array of pieces; it begins where the one
/// before it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) end: u32,
    pub(crate) meta: TxMeta,
}

/// A packet of a transmit burst: one frame in one or more pieces.
#[derive(Clone, Copy, Debug)]
pub struct TxPacket<'a> {
    /// The pieces, in order; the first begins with the Ethernet header.
    pub pieces: &'a [FrameRef],
    /// What is asked of the device.
    pub meta: TxMeta,
}

impl TxPacket<'_> {
    /// Bytes of all pieces together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Whether it carries no byte.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Packets to transmit, oldest first. Pieces lie flat in one array.
#[derive(Debug, Default)]
pub struct TxBurst {
    pieces: ArrayVec<FrameRef, TX_PIECES>,
    packets: ArrayVec<Bounds, TX_PACKETS>,
    /// Pieces of whole packets: where the one under construction begins.
    sealed: u32,
}

impl TxBurst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: ArrayVec::new_const(),
            packets: ArrayVec::new_const(),
            sealed: 0,
        }
    }

    /// Whether a packet of `pieces` pieces fits.
    #[must_use]
    #[inline]
    pub fn has_room(&self, pieces: usize) -> bool {
        !self.packets.is_full() && self.pieces.remaining_capacity() >= pieces
    }

    /// How many packets of `pieces` pieces each fit.
    #[must_use]
    #[inline]
    pub fn room(&self, pieces: usize) -> usize {
        let left = self.pieces.remaining_capacity() / pieces.max(1);
        left.min(self.packets.remaining_capacity())
    }

    /// The place of a packet of one piece; `None` when the burst is full. Pieces
    /// of a packet under construction would become part of it.
    #[must_use]
    #[inline(always)]
    pub fn place(&mut self) -> Option<TxPlace<'_>> {
        let full = self.packets.is_full() || self.pieces.is_full();
        (!full).then_some(TxPlace { burst: self })
    }

    /// Adds a packet of one piece.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    #[inline]
    pub fn push(&mut self, frame: FrameRef, meta: TxMeta) -> Result<(), FrameRef> {
        match self.place() {
            Some(place) => place.put(frame, meta),
            None => return Err(frame),
        }
        Ok(())
    }

    /// Adds a piece to the packet under construction; [`seal`](Self::seal) ends
    /// it. Ask [`has_room`](Self::has_room) for all pieces first.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    #[inline]
    pub fn push_piece(&mut self, frame: FrameRef) -> Result<(), FrameRef> {
        if self.pieces.is_full() {
            return Err(frame);
        }
        // SAFETY: it is not full.
        unsafe { self.pieces.push_unchecked(frame) };
        Ok(())
    }

    /// Ends the packet under construction. Without a piece or room for a
    /// packet it does nothing but drop the pieces.
    #[inline]
    pub fn seal(&mut self, meta: TxMeta) {
        if self.pieces.len() == self.sealed as usize || self.packets.is_full() {
            self.drop_unsealed();
            return;
        }
        // SAFETY: `packets` is not full.
        unsafe { self.seal_unchecked(meta) };
    }

    /// # Safety
    /// `packets` is not full.
    #[inline]
    unsafe fn seal_unchecked(&mut self, meta: TxMeta) {
        #[expect(clippy::cast_possible_truncation, reason = "at most TX_PIECES")]
        let end = self.pieces.len() as u32;
        self.sealed = end;
        // SAFETY: not full, says our caller.
        unsafe { self.packets.push_unchecked(Bounds { end, meta }) };
    }

    #[cold]
    fn drop_unsealed(&mut self) {
        self.pieces.truncate(self.sealed as usize);
    }

    /// Packets in the burst.
    #[must_use]
    #[inline]
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Whether it holds no packet.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packet `index`, counted from the oldest.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TxPacket<'_>> {
        let bounds = self.packets.get(index)?;
        let start = match index {
            0 => 0,
            _ => self.packets.get(index - 1)?.end as usize,
        };
        let pieces = self.pieces.get(start..bounds.end as usize)?;
        Some(TxPacket {
            pieces,
            meta: bounds.meta,
        })
    }

    /// The packets, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = TxPacket<'_>> {
        (0..self.packets.len()).filter_map(|index| self.get(index))
    }

    /// Removes the `count` oldest packets.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        if count >= self.packets.len() {
            self.packets.clear();
            self.pieces.clear();
            self.sealed = 0;
        } else {
            self.consume_some(count);
        }
    }

    fn consume_some(&mut self, count: usize) {
        let Some(last) = count.checked_sub(1).and_then(|last| self.packets.get(last)) else {
            return;
        };
        let removed = last.end;
        self.pieces.drain(..removed as usize);
        self.removed(count, removed);
    }

    /// The oldest `packets` packets' `pieces` pieces are gone: so are they.
    fn removed(&mut self, packets: usize, pieces: u32) {
        self.packets.drain(..packets);
        self.sealed -= pieces;
        for bounds in &mut self.packets {
            bounds.end -= pieces;
        }
    }

    /// Takes the only packet out, if it has one piece.
    #[inline(always)]
    pub(crate) fn take_lone(&mut self) -> Option<(FrameRef, TxMeta)> {
        if self.packets.len() != 1 || self.pieces.len() != 1 {
            return None;
        }
        self.sealed = 0;
        // SAFETY: each array holds one element; it forgets it before this takes
        // it over, so the piece has one owner at every moment. `Bounds` has no
        // owner to care for.
        unsafe {
            self.packets.set_len(0);
            self.pieces.set_len(0);
            let piece = self.pieces.as_ptr().read();
            Some((piece, (*self.packets.as_ptr()).meta))
        }
    }

    /// Moves the packets at the front that hold at most `room` pieces together
    /// to the ends of `pieces` and `packets`, whose bounds count from `base`.
    /// Returns how many packets that was.
    #[inline]
    pub(crate) fn move_into(
        &mut self,
        room: usize,
        base: u32,
        pieces: &mut Vec<FrameRef>,
        packets: &mut Vec<Bounds>,
    ) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the callers' lanes are short"
        )]
        let base = base.wrapping_add(pieces.len() as u32);
        self.move_block_into(base, room, pieces, packets)
    }

    #[inline(never)]
    fn move_block_into(
        &mut self,
        base: u32,
        room: usize,
        pieces: &mut Vec<FrameRef>,
        packets: &mut Vec<Bounds>,
    ) -> usize {
        let count = if self.pieces.len() <= room {
            self.packets.len()
        } else {
            self.packets
                .partition_point(|bounds| bounds.end as usize <= room)
        };
        let Some(last) = count.checked_sub(1).and_then(|last| self.packets.get(last)) else {
            return 0;
        };
        let end = last.end;
        let first = packets.len();
        packets.extend_from_slice(self.packets.get(..count).unwrap_or_default());
        if base > 0 {
            for bounds in packets.iter_mut().skip(first) {
                bounds.end = bounds.end.wrapping_add(base);
            }
        }
        if end as usize == self.pieces.len() && count == self.packets.len() {
            self.packets.clear();
            self.sealed = 0;
            append_all(&mut self.pieces, pieces);
        } else {
            pieces.extend(self.pieces.drain(..end as usize));
            self.removed(count, end);
        }
        count
    }

    /// Takes the pieces of the oldest packet out one by one and removes it.
    pub fn pop_front(&mut self, each: impl FnMut(FrameRef)) -> Option<TxMeta> {
        let first = *self.packets.first()?;
        self.pieces.drain(..first.end as usize).for_each(each);
        self.removed(1, first.end);
        Some(first.meta)
    }
}

/// Room for one packet in a [`TxBurst`].
#[derive(Debug)]
pub struct TxPlace<'a> {
    /// Invariant: neither `pieces` nor `packets` is full.
    burst: &'a mut TxBurst,
}

impl TxPlace<'_> {
    /// Adds the packet.
    #[inline(always)]
    pub fn put(self, frame: FrameRef, meta: TxMeta) {
        // SAFETY: neither is full, by the invariant.
        unsafe {
            self.burst.pieces.push_unchecked(frame);
            self.burst.seal_unchecked(meta);
        }
    }
}

/// Moves all of `from` to the end of `to` as one block.
#[inline]
fn append_all<const N: usize>(from: &mut ArrayVec<FrameRef, N>, to: &mut Vec<FrameRef>) {
    let count = from.len();
    to.reserve(count);
    let end = to.len();
    // SAFETY: `reserve` made room for `count` more elements behind `end`, and
    // the two buffers are distinct allocations. The elements are moved: `from`
    // forgets them before `to` takes them over, so each has one owner at every
    // moment and none is dropped twice.
    unsafe {
        from.set_len(0);
        to.as_mut_ptr()
            .add(end)
            .copy_from_nonoverlapping(from.as_ptr(), count);
        to.set_len(end + count);
    }
}
