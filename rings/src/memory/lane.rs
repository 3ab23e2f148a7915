//! One direction of the wire.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use super::line::Line;
use super::segment::Plan;
use super::{Impairment, WireStats};
use crate::{
    FramePool, FrameRef, Instant, RX_PIECES, RxBurst, RxChecksum, RxMeta, TxBurst, TxChecksum,
    TxMeta,
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

#[derive(Clone, Copy)]
struct Packet {
    pieces: u16,
    meta: TxMeta,
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
    pieces: VecDeque<FrameRef>,
    packets: VecDeque<Packet>,
    /// Segments of the front packet that were delivered already.
    segments_done: usize,
    line: Option<Box<Line>>,
    now: Instant,
    stats: WireStats,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            pieces: VecDeque::with_capacity(PIECES),
            packets: VecDeque::with_capacity(PIECES),
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
        if !self.packets.is_empty() {
            return Some(self.now);
        }
        self.line.as_ref()?.next_event()
    }

    pub(super) fn send(&mut self, burst: &mut TxBurst) -> usize {
        let accepted = if let Some(line) = &mut self.line {
            line.send(self.now, burst, &mut self.stats)
        } else {
            let room = PIECES - self.pieces.len();
            let (pieces, packets) = (&mut self.pieces, &mut self.packets);
            burst.move_out(
                room,
                |pieces, meta| packets.push_back(Packet { pieces, meta }),
                |piece| pieces.push_back(piece),
            )
        };
        self.stats.sent += accepted as u64;
        accepted
    }

    pub(super) fn receive(
        &mut self,
        receiver: Receiver,
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> usize {
        let before = out.packets();
        while let Some(&packet) = self.packets.front() {
            let whole = packet.meta.gso.is_none() || receiver.coalesces;
            let result = match (whole, packet.pieces) {
                (true, 1) => self.receive_single(packet.meta, pool, out),
                (true, _) => self.receive_whole(packet, pool, out),
                (false, _) => self.receive_segments(packet, receiver, pool, out),
            };
            match result {
                Ok(()) => {}
                Err(Stop::Later) => break,
                Err(Stop::Unfit) => self.stats.too_long += 1,
                Err(Stop::BadRequest) => self.stats.bad_request += 1,
            }
            self.remove_front(packet);
        }
        if self.line.is_some() && self.packets.is_empty() {
            self.receive_arrived(pool, out);
        }
        let added = out.packets() - before;
        self.stats.delivered += added as u64;
        added
    }

    fn remove_front(&mut self, packet: Packet) {
        self.packets.pop_front();
        self.segments_done = 0;
        match packet.pieces {
            1 => drop(self.pieces.pop_front()),
            count => drop(
                self.pieces
                    .drain(..usize::from(count).min(self.pieces.len())),
            ),
        }
    }

    /// The common case: one piece into one frame.
    #[inline]
    fn receive_single(
        &mut self,
        meta: TxMeta,
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> Result<(), Stop> {
        let piece = self.pieces.front().ok_or(Stop::BadRequest)?;
        if !out.has_room(1) {
            return Err(Stop::Later);
        }
        let mut frame = pool.alloc().ok_or(Stop::Later)?;
        if frame.tailroom() < piece.len() {
            drop(frame);
            return self.receive_whole(Packet { pieces: 1, meta }, pool, out);
        }
        frame.extend_from_slice(piece);
        self.stats.delivered_bytes += piece.len() as u64;
        out.push(frame, rx_meta(meta, piece.len()))
            .map_err(|_| Stop::Later)
    }

    /// A packet of any number of pieces, as it is, into as many frames as it
    /// needs.
    fn receive_whole(
        &mut self,
        packet: Packet,
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> Result<(), Stop> {
        let pieces = self.pieces.iter().take(usize::from(packet.pieces));
        let len = pieces.clone().map(|piece| piece.len()).sum();
        let meta = rx_meta(packet.meta, len);
        copy_in(pieces.map(|piece| &piece[..]), len, meta, pool, out)?;
        self.stats.delivered_bytes += len as u64;
        Ok(())
    }

    /// A packet cut into segments, each in one frame. Stops where the burst or
    /// the pool ends and goes on there the next time.
    fn receive_segments(
        &mut self,
        packet: Packet,
        receiver: Receiver,
        pool: &FramePool,
        out: &mut RxBurst,
    ) -> Result<(), Stop> {
        let pieces = self.pieces.iter().take(usize::from(packet.pieces));
        let len = pieces.clone().map(|piece| piece.len()).sum();
        let plan = Plan::new(packet.meta, len).map_err(|_| Stop::BadRequest)?;
        let meta = RxMeta {
            checksum: if receiver.verifies {
                RxChecksum::Verified
            } else {
                RxChecksum::Unknown
            },
            ..RxMeta::default()
        };
        while self.segments_done < plan.segments() {
            if !out.has_room(1) {
                return Err(Stop::Later);
            }
            let mut frame = pool.alloc().ok_or(Stop::Later)?;
            let len = plan.segment_len(self.segments_done);
            let room = frame.push_back(len).ok_or(Stop::Unfit)?;
            plan.write(
                pieces.clone().map(|piece| &piece[..]),
                self.segments_done,
                room,
            )
            .map_err(|_| Stop::BadRequest)?;
            out.push(frame, meta).map_err(|_| Stop::Later)?;
            self.segments_done += 1;
            self.stats.delivered_bytes += len as u64;
        }
        Ok(())
    }

    fn receive_arrived(&mut self, pool: &FramePool, out: &mut RxBurst) {
        let Some(line) = &mut self.line else { return };
        while let Some(bytes) = line.arrived(self.now) {
            let len = bytes.len();
            match copy_in(core::iter::once(bytes), len, RxMeta::default(), pool, out) {
                Ok(()) => self.stats.delivered_bytes += len as u64,
                Err(Stop::Later) => break,
                Err(_) => self.stats.too_long += 1,
            }
            line.remove(&mut self.stats);
        }
    }
}

/// What the receiver learns of a packet that crosses unchanged.
#[inline]
fn rx_meta(meta: TxMeta, len: usize) -> RxMeta {
    let checksum = match meta.checksum {
        TxChecksum::Done => RxChecksum::Unknown,
        TxChecksum::Partial { .. } => RxChecksum::Partial,
    };
    let gso_size = match meta.gso {
        Some(gso) if len > usize::from(gso.header_len) + usize::from(gso.size) => gso.size,
        _ => 0,
    };
    RxMeta {
        checksum,
        gso_size,
        ..RxMeta::default()
    }
}

/// Copies `len` bytes into frames of `pool` and adds them to `out` as one
/// packet: all of it or nothing.
fn copy_in<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    len: usize,
    meta: RxMeta,
    pool: &FramePool,
    out: &mut RxBurst,
) -> Result<(), Stop> {
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
    out.push(frame, meta).map_err(|_| Stop::Later)
}
