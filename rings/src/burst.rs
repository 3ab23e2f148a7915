//! Bursts: what one turn of the loop moves between a device and the stack.

use alloc::vec::Vec;

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
#[derive(Debug, Default)]
pub struct RxBurst {
    frames: ArrayVec<RxFrame, RX_PIECES>,
    packets: usize,
}

impl RxBurst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: ArrayVec::new_const(),
            packets: 0,
        }
    }

    /// Whether another packet of up to `pieces` frames fits.
    #[must_use]
    pub fn has_room(&self, pieces: usize) -> bool {
        self.packets < RX_BURST && self.frames.remaining_capacity() >= pieces
    }

    /// Adds a frame; a full burst gives it back.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    pub fn push(&mut self, frame: FrameBuf, meta: RxMeta) -> Result<(), FrameBuf> {
        if self.frames.is_full() {
            return Err(frame);
        }
        self.packets += usize::from(!meta.continues);
        self.frames.push(RxFrame { frame, meta });
        Ok(())
    }

    /// Packets in the burst.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames, oldest first.
    #[must_use]
    pub fn frames(&self) -> &[RxFrame] {
        &self.frames
    }

    /// Takes all frames out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = RxFrame> + '_ {
        self.packets = 0;
        self.frames.drain(..)
    }
}

/// Where a packet ends in the flat array of pieces; it begins where the one
/// before it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) end: u16,
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
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Packets to transmit, oldest first. Pieces lie flat in one array.
#[derive(Debug, Default)]
pub struct TxBurst {
    pieces: ArrayVec<FrameRef, TX_PIECES>,
    packets: ArrayVec<Bounds, TX_PACKETS>,
}

impl TxBurst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: ArrayVec::new_const(),
            packets: ArrayVec::new_const(),
        }
    }

    /// Whether a packet of `pieces` pieces fits.
    #[must_use]
    #[inline]
    pub fn has_room(&self, pieces: usize) -> bool {
        !self.packets.is_full() && self.pieces.remaining_capacity() >= pieces
    }

    /// Adds a packet of one piece.
    ///
    /// # Errors
    /// The frame, when the burst is full.
    #[inline]
    pub fn push(&mut self, frame: FrameRef, meta: TxMeta) -> Result<(), FrameRef> {
        if !self.has_room(1) {
            return Err(frame);
        }
        self.pieces.push(frame);
        self.seal(meta);
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
        self.pieces.push(frame);
        Ok(())
    }

    /// Ends the packet under construction. Without a piece or room for a
    /// packet it does nothing but drop the pieces.
    #[inline]
    pub fn seal(&mut self, meta: TxMeta) {
        let start = self.packets.last().map_or(0, |last| usize::from(last.end));
        if self.pieces.len() == start {
            return;
        }
        if self.packets.is_full() {
            self.pieces.truncate(start);
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most TX_PIECES")]
        self.packets.push(Bounds {
            end: self.pieces.len() as u16,
            meta,
        });
    }

    /// Packets in the burst.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Whether it holds no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packet `index`, counted from the oldest.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TxPacket<'_>> {
        let bounds = self.packets.get(index)?;
        let start = match index {
            0 => 0,
            _ => usize::from(self.packets.get(index - 1)?.end),
        };
        let pieces = self.pieces.get(start..usize::from(bounds.end))?;
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
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.packets.len());
        if count == self.packets.len() {
            self.packets.clear();
            self.pieces.clear();
            return;
        }
        let Some(last) = count.checked_sub(1).and_then(|last| self.packets.get(last)) else {
            return;
        };
        let removed = last.end;
        self.pieces.drain(..usize::from(removed));
        self.packets.drain(..count);
        for bounds in &mut self.packets {
            bounds.end -= removed;
        }
    }

    /// Moves the packets at the front that hold at most `room` pieces together
    /// to the ends of `pieces` and `packets`. Returns how many packets that was.
    pub(crate) fn move_into(
        &mut self,
        room: usize,
        pieces: &mut Vec<FrameRef>,
        packets: &mut Vec<Bounds>,
    ) -> usize {
        let count = if self.pieces.len() <= room {
            self.packets.len()
        } else {
            self.packets
                .partition_point(|bounds| usize::from(bounds.end) <= room)
        };
        let Some(last) = count.checked_sub(1).and_then(|last| self.packets.get(last)) else {
            return 0;
        };
        let end = last.end;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the callers' lanes are short"
        )]
        let base = pieces.len() as u16;
        let first = packets.len();
        packets.extend_from_slice(self.packets.get(..count).unwrap_or_default());
        if base > 0 {
            for bounds in packets.iter_mut().skip(first) {
                bounds.end += base;
            }
        }
        if usize::from(end) == self.pieces.len() && count == self.packets.len() {
            self.packets.clear();
            append_all(&mut self.pieces, pieces);
        } else {
            pieces.extend(self.pieces.drain(..usize::from(end)));
            self.packets.drain(..count);
            for bounds in &mut self.packets {
                bounds.end -= end;
            }
        }
        count
    }

    /// Takes the pieces of the oldest packet out one by one and removes it.
    pub fn pop_front(&mut self, mut each: impl FnMut(FrameRef)) -> Option<TxMeta> {
        let first = *self.packets.first()?;
        self.pieces
            .drain(..usize::from(first.end))
            .for_each(&mut each);
        self.packets.remove(0);
        for bounds in &mut self.packets {
            bounds.end -= first.end;
        }
        Some(first.meta)
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
