//! What the back ends for Linux share: descriptors, scatter lists, statistics.

pub(crate) mod sys;

use core::time::Duration;
use std::io::{IoSlice, IoSliceMut};

use arrayvec::ArrayVec;

use crate::scarce::is_unwelcome;
use crate::{FrameBuf, FramePool, RX_PIECES, RxBurst, RxMeta, TX_PIECES, TxPacket};

/// What happened at a host device, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received, Ethernet headers included.
    pub rx_bytes: u64,
    /// Packets transmitted, before segmentation by the device.
    pub tx_packets: u64,
    /// Bytes transmitted, Ethernet headers included.
    pub tx_bytes: u64,
    /// Packets that the host refused; they are dropped.
    pub tx_errors: u64,
    /// Times that the host had no room for a packet; it stays in the burst.
    pub tx_full: u64,
    /// Receive calls that failed for another reason than "nothing there".
    pub rx_errors: u64,
    /// Receive calls that found the frame pool empty; packets stay with the host.
    pub rx_no_frame: u64,
    /// Received packets of more than 128 bytes dropped because frames were scarce:
    /// the last sixteenth of the pool is for what frees frames.
    pub rx_scarce: u64,
    /// Received packets dropped because they were longer than the free frames.
    pub rx_truncated: u64,
    /// Received packets dropped because they were too short for an Ethernet
    /// header.
    pub rx_runt: u64,
}

/// Longest sleep of a device that had no frame to receive into: packets that wait
/// with the host would wake it at once, again and again, and nothing tells of frames
/// that come free.
pub(crate) const STARVED: Duration = Duration::from_millis(1);

/// Shortest frame that has an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Free frames to receive one packet into. They go back to the pool when the
/// receive call is over.
pub(crate) struct Landing {
    frames: ArrayVec<FrameBuf, RX_PIECES>,
    wanted: usize,
}

impl Landing {
    /// A landing for packets of up to `bytes` bytes in frames of `pool`.
    pub(crate) fn new(pool: &FramePool, bytes: usize) -> Self {
        // One byte more than the longest packet: a full landing was too short.
        let frame = pool.frame_size() - crate::HEADROOM;
        let wanted = (bytes + 1).div_ceil(frame).min(RX_PIECES);
        Self {
            frames: ArrayVec::new(),
            wanted,
        }
    }

    /// Frames that one packet may take.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Takes frames from `pool` until there are enough; `false` without any.
    pub(crate) fn fill(&mut self, pool: &FramePool) -> bool {
        while self.frames.len() < self.wanted
            && let Some(frame) = pool.alloc()
        {
            self.frames.push(frame);
        }
        !self.frames.is_empty()
    }

    /// Bytes that all frames take together.
    pub(crate) fn room(&self) -> usize {
        self.frames.iter().map(FrameBuf::tailroom).sum()
    }

    /// The frames' free bytes, behind `header` (left out when empty).
    pub(crate) fn slices<'a>(
        &'a mut self,
        header: &'a mut [u8],
    ) -> ArrayVec<IoSliceMut<'a>, { RX_PIECES + 1 }> {
        let mut slices = ArrayVec::new();
        if !header.is_empty() {
            slices.push(IoSliceMut::new(header));
        }
        let frames = self.frames.iter_mut();
        slices.extend(frames.map(|frame| IoSliceMut::new(frame.spare_mut())));
        slices
    }

    /// Whether a packet of `len` bytes in these frames is better dropped: no other
    /// frames than the stack's own would be left.
    pub(crate) fn is_unwelcome(&self, pool: &FramePool, len: usize) -> bool {
        let (mut left, mut spare) = (len, self.frames.len());
        for frame in &self.frames {
            spare -= 1;
            left = left.saturating_sub(frame.tailroom());
            if left == 0 {
                break;
            }
        }
        is_unwelcome(pool, spare, len)
    }

    /// Makes the first `len` bytes a packet of `out`, which has room for
    /// [`wanted`](Self::wanted) frames.
    pub(crate) fn deliver(&mut self, len: usize, meta: RxMeta, out: &mut RxBurst) {
        let mut left = len;
        let mut used = 0;
        for frame in &mut self.frames {
            let count = left.min(frame.tailroom());
            frame.set_len(count);
            (left, used) = (left - count, used + 1);
            if left == 0 {
                break;
            }
        }
        for (index, frame) in self.frames.drain(..used).enumerate() {
            let meta = RxMeta {
                continues: index + 1 < used,
                ..meta
            };
            // `out` has room: the callers ask before they receive.
            let _ = out.push(frame, meta);
        }
    }
}

/// The pieces of a packet behind `header` (left out when empty).
pub(crate) fn gather<'a>(
    header: &'a [u8],
    packet: &TxPacket<'a>,
) -> ArrayVec<IoSlice<'a>, { TX_PIECES + 1 }> {
    let mut slices = ArrayVec::new();
    if !header.is_empty() {
        slices.push(IoSlice::new(header));
    }
    slices.extend(packet.pieces.iter().map(|piece| IoSlice::new(piece)));
    slices
}
