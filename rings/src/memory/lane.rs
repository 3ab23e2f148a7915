//! One direction of the wire.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;

use super::line::Line;
use super::segment::Plan;
use super::{Impairment, WireStats};
use crate::burst::Bounds;
use crate::{
    FrameBuf, FramePool, FrameRef, Instant, RX_PIECES, RxBurst, RxChecksum, RxFrame, RxMeta,
    TxBurst, TxChecksum, TxMeta,
};

/// Most pieces that a direction holds.
const PIECES: usize = 1024;

/// What the receiving end asks of the wire.
#[derive(Clone, Copy)]
pub(super) struct Receiver {
    /// Takes packets of several segments.
    pub(super) coalesces: bool,
    /// Has the wire verify what it segmented.
    pub(super) verifies: bool,
}

/// Why a packet cannot be received.
enum Stop {
    /// Not now: the burst is full or the pool is empty.
    Later,
    /// Never: it is dropped and counted.
    Unfit,
    BadRequest,
}

pub(super) struct Lane {
    /// A packet of one piece that found the lane empty, as in an exchange of
    /// small messages; the lists below are empty then.
    lone: Option<(FrameRef, TxMeta)>,
    /// The pieces of all packets, flat, as in a [`TxBurst`].
    pieces: Vec<FrameRef>,
    packets: Vec<Bounds>,
    /// What the packets' bounds count from: how many pieces left since the
    /// lane was empty last. So nothing needs to be renumbered.
    base: u32,
    /// Segments of the front packet that were delivered already.
    segments_done: usize,
    line: Option<Box<Line>>,
    now: Instant,
    stats: WireStats,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            lone: None,
            pieces: Vec::with_capacity(PIECES),
            packets: Vec::with_capacity(PIECES),
            base: 0,
            segments_done: 0,
            line: None,
            now: Instant::ZERO,
            stats: WireStats::default(),
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("lone", &self.lone.is_some())
            .field("packets", &self.packets.len())
            .field("impaired", &self.line.is_some())
            .field("now", &self.now)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn impair(&mut self, impairment: Box<dyn Impairment>) {
        match &mut self.line {
            Some(line) => line.set_impairment(impairment),
            None => self.line = Some(Box::new(Line::new(impairment))),
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn stats(&self) -> WireStats {
        self.stats
    }

    pub(super) fn next_event(&self) -> Option<Instant> {
        if self.lone.is_some() || !self.packets.is_empty() {
            return Some(self.now);
        }
        self.line.as_ref()?.next_event()
    }

    #[inline]
    pub(super) fn send(&mut self, burst: &mut TxBurst) -> usize {
        let accepted = if let Some(line) = &mut self.line {
            line.send(self.now, burst, &mut self.stats)
        } else if self.lone.is_none() && self.packets.is_empty() {
            self.lone = burst.take_lone();
            if self.lone.is_some() {
                1
            } else {
                self.queue(burst)
            }
        } else {
            self.queue(burst)
        };
        self.stats.sent += accepted as u64;
        accepted
    }

    #[inline(never)]
    fn queue(&mut self, burst: &mut TxBurst) -> usize {
        if let Some(lone) = self.lone.take() {
            self.queue_lone(lone);
        }
        let room = PIECES.saturating_sub(self.pieces.len());
        burst.move_into(room, self.base, &mut self.pieces, &mut self.packets)
    }

    fn queue_lone(&mut self, (piece, meta): (FrameRef, TxMeta)) {
        let end = self.base.wrapping_add(1);
        self.pieces.push(piece);
        self.packets.push(Bounds { end, meta });
    }

    #[inline]
    pub(super) fn receive(
        &mut self,
        receiver: Receiver,
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> usize {
        let added = match self.lone.take() {
            Some(lone) => match self.receive_lone(lone, pool, out) {
                Ok(()) => 1,
                Err(lone) => {
                    self.queue_lone(lone);
                    self.receive_queued(receiver, pool, out)
                }
            },
            None => self.receive_queued(receiver, pool, out),
        };
        self.stats.delivered += added as u64;
        added
    }

    #[inline(never)]
    fn receive_queued(&mut self, receiver: Receiver, pool: &FramePool, out: &mut RxBurst) -> usize {
        let plain = self.receive_plain(pool, out);
        if self.packets.is_empty() && self.line.is_none() {
            plain
        } else {
            plain + self.receive_any(receiver, pool, out)
        }
    }

    /// Delivers packets from the front as long as each is of one piece, needs
    /// no segmentation, and fits.
    #[inline(never)]
    fn receive_plain(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let (mut done, mut bytes, mut end) = (0, 0, self.base);
        let room = pool.frame_size() - crate::HEADROOM;
        let packets = self.packets.iter().zip(&self.pieces).zip(out.spare());
        for ((packet, piece), place) in packets {
            end = end.wrapping_add(1);
            let plain = packet.end == end && packet.meta.gso.is_none();
            if !plain || piece.len() > room {
                break;
            }
            let Some(frame) = pool.alloc() else {
                break;
            };
            // SAFETY: the frame is new, and `room` is what its slot has.
            unsafe { deliver(piece, packet.meta, frame, place) };
            done += 1;
            bytes += piece.len() as u64;
        }
        // SAFETY: the loop wrote to `done` places.
        unsafe { out.add_packets(done) };
        self.stats.delivered_bytes += bytes;
        self.remove_front(done, done);
        done
    }

    /// Delivers the only packet if [`receive_plain`](Self::receive_plain)
    /// would, into an empty burst; else gives it back.
    #[inline(always)]
    fn receive_lone(
        &mut self,
        (piece, meta): (FrameRef, TxMeta),
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> Result<(), (FrameRef, TxMeta)> {
        let room = pool.frame_size() - crate::HEADROOM;
        let fits = meta.gso.is_none() && piece.len() <= room;
        let (Some(place), true) = (out.first_place(), fits) else {
            return Err((piece, meta));
        };
        let Some(frame) = pool.alloc() else {
            return Err((piece, meta));
        };
        // SAFETY: the frame is new, and `room` is what its slot has.
        unsafe { deliver(&piece, meta, frame, place) };
        self.stats.delivered_bytes += piece.len() as u64;
        // SAFETY: the first place was written to, and the burst was empty.
        unsafe { out.add_packets(1) };
        Ok(())
    }

    /// Delivers packets of every shape.
    #[inline(never)]
    fn receive_any(&mut self, receiver: Receiver, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        let (mut done, mut start) = (0, 0);
        for packet in &self.packets {
            let end = packet.end.wrapping_sub(self.base) as usize;
            let pieces = self.pieces.get(start..end).unwrap_or_default();
            let whole = packet.meta.gso.is_none() || receiver.coalesces;
            let result = if whole {
                copy_whole(pieces, packet.meta, pool, out)
            } else {
                let done = &mut self.segments_done;
                copy_segments(pieces, packet.meta, receiver, done, pool, out)
            };
            match result {
                Ok(bytes) => self.stats.delivered_bytes += bytes as u64,
                Err(Stop::Later) => break,
                Err(Stop::Unfit) => self.stats.too_long += 1,
                Err(Stop::BadRequest) => self.stats.bad_request += 1,
            }
            self.segments_done = 0;
            (done, start) = (done + 1, end);
        }
        self.remove_front(done, start);
        if self.line.is_some() && self.packets.is_empty() {
            self.receive_arrived(pool, out);
        }
        out.packets() - before
    }

    /// Removes the `packets` oldest packets, `pieces` pieces together: their
    /// sender may write in them again.
    #[inline]
    fn remove_front(&mut self, packets: usize, pieces: usize) {
        if packets == self.packets.len() {
            self.packets.clear();
            self.pieces.clear();
            self.base = 0;
        } else if packets > 0 {
            self.remove_some(packets, pieces);
        }
    }

    fn remove_some(&mut self, packets: usize, pieces: usize) {
        self.packets.drain(..packets);
        self.pieces.drain(..pieces);
        #[expect(clippy::cast_possible_truncation, reason = "at most PIECES")]
        let removed = pieces as u32;
        self.base = self.base.wrapping_add(removed);
    }

    fn receive_arrived(&mut self, pool: &FramePool, out: &mut RxBurst) {
        let Some(line) = &mut self.line else { return };
        while let Some(bytes) = line.arrived(self.now) {
            let len = bytes.len();
            match copy_in(core::iter::once(bytes), len, RxMeta::default(), pool, out) {
                Ok(_) => self.stats.delivered_bytes += len as u64,
                Err(Stop::Later) => break,
                Err(_) => self.stats.too_long += 1,
            }
            line.remove(&mut self.stats);
        }
    }
}

/// Copies a packet of one piece into `frame`, and puts that in its place.
///
/// # Safety
/// `frame` is as [`FramePool::alloc`] gave it, with room for `piece`.
#[inline]
unsafe fn deliver(
    piece: &FrameRef,
    meta: TxMeta,
    mut frame: FrameBuf,
    place: &mut MaybeUninit<RxFrame>,
) {
    let meta = RxMeta {
        checksum: rx_checksum(meta),
        ..RxMeta::default()
    };
    // SAFETY: the slot has that many bytes behind its headroom, says our
    // caller. The frame is its slot's only handle, so `piece` lies elsewhere,
    // and the slot stays where it is when the handle moves to `place`.
    unsafe {
        let data = frame.set_len_unchecked(piece.len());
        place.write(RxFrame { frame, meta });
        data.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
    }
}

/// What the receiver learns of a checksum that crosses unchanged.
#[inline]
fn rx_checksum(meta: TxMeta) -> RxChecksum {
    match meta.checksum {
        TxChecksum::Done => RxChecksum::Unknown,
        TxChecksum::Partial { .. } => RxChecksum::Partial,
    }
}

/// What the receiver learns of a packet that crosses unchanged.
#[inline]
fn rx_meta(meta: TxMeta, len: usize) -> RxMeta {
    let gso_size = match meta.gso {
        Some(gso) if len > usize::from(gso.header_len) + usize::from(gso.size) => gso.size,
        _ => 0,
    };
    RxMeta {
        checksum: rx_checksum(meta),
        gso_size,
        ..RxMeta::default()
    }
}

/// Copies a packet as it is: into one frame if it fits. Returns its length.
#[inline]
fn copy_whole(
    pieces: &[FrameRef],
    meta: TxMeta,
    pool: &FramePool,
    out: &mut RxBurst,
) -> Result<usize, Stop> {
    let len = pieces.iter().map(|piece| piece.len()).sum();
    let meta = rx_meta(meta, len);
    if !out.has_room(1) {
        return Err(Stop::Later);
    }
    let mut frame = pool.alloc().ok_or(Stop::Later)?;
    let Some(mut room) = frame.push_back(len) else {
        drop(frame);
        return copy_in(pieces.iter().map(|piece| &piece[..]), len, meta, pool, out);
    };
    for piece in pieces {
        let Some((now, later)) = room.split_at_mut_checked(piece.len()) else {
            return Err(Stop::BadRequest);
        };
        now.copy_from_slice(piece);
        room = later;
    }
    out.push(frame, meta).map_err(|_| Stop::Later)?;
    Ok(len)
}

/// Copies a packet cut into segments, each in one frame, from segment `done`
/// on. Stops where the burst or the pool ends, to go on there the next time.
/// Returns the bytes of all segments.
fn copy_segments(
    pieces: &[FrameRef],
    meta: TxMeta,
    receiver: Receiver,
    done: &mut usize,
    pool: &FramePool,
    out: &mut RxBurst,
) -> Result<usize, Stop> {
    let pieces = pieces.iter().map(|piece| &piece[..]);
    let plan = Plan::new(meta, pieces.clone().map(<[u8]>::len).sum());
    let plan = plan.map_err(|_| Stop::BadRequest)?;
    let checksum = if receiver.verifies {
        RxChecksum::Verified
    } else {
        RxChecksum::Unknown
    };
    let meta = RxMeta {
        checksum,
        ..RxMeta::default()
    };
    while *done < plan.segments() {
        if !out.has_room(1) {
            return Err(Stop::Later);
        }
        let mut frame = pool.alloc().ok_or(Stop::Later)?;
        let room = frame
            .push_back(plan.segment_len(*done))
            .ok_or(Stop::Unfit)?;
        plan.write(pieces.clone(), *done, room)
            .map_err(|_| Stop::BadRequest)?;
        out.push(frame, meta).map_err(|_| Stop::Later)?;
        *done += 1;
    }
    Ok((0..plan.segments())
        .map(|index| plan.segment_len(index))
        .sum())
}

/// Copies `len` bytes into frames of `pool` and adds them to `out` as one
/// packet: all of it or nothing. Returns `len`.
fn copy_in<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    len: usize,
    meta: RxMeta,
    pool: &FramePool,
    out: &mut RxBurst,
) -> Result<usize, Stop> {
    let room = pool.frame_size() - crate::HEADROOM;
    let frames = len.div_ceil(room).max(1);
    if frames > RX_PIECES || frames > pool.capacity() {
        return Err(Stop::Unfit);
    }
    if !out.has_room(frames) || pool.available() < frames {
        return Err(Stop::Later);
    }
    let mut frame = pool.alloc().ok_or(Stop::Later)?;
    for mut piece in pieces {
        loop {
            let copied = frame.extend_from_slice(piece);
            piece = piece.get(copied..).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            let next = pool.alloc().ok_or(Stop::Later)?;
            let full = core::mem::replace(&mut frame, next);
            let continues = RxMeta {
                continues: true,
                ..meta
            };
            out.push(full, continues).map_err(|_| Stop::Later)?;
        }
    }
    out.push(frame, meta).map_err(|_| Stop::Later)?;
    Ok(len)
}
