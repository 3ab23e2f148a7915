//! Datagrams in several frames: longer than a frame or than the link carries
//! at once, so that they come and go as IP fragments.

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameRef, HEADROOM};
use zerocopy::IntoBytes;

use super::{Datagram, Outgoing, UdpId, pseudo_sum};
use crate::flow::canonical;
use crate::wire::{UDP_HEADER, UdpHeader};
use crate::{Counter, DropReason, Error, Misuse, Stack};

impl Stack {
    /// The next datagram that is in one frame; `refused` and others that are
    /// not are gone.
    #[cold]
    pub(super) fn udp_skip_pieces(
        &mut self,
        id: UdpId,
        refused: Datagram,
    ) -> Result<(FrameRef, SocketAddr), Error> {
        let mut skipping = refused.more;
        self.counters.drop(DropReason::UdpInPieces);
        loop {
            let socket = self.udp.socket(id)?;
            let datagram = socket.pop().ok_or(Error::WouldBlock)?;
            if !skipping && !datagram.more {
                return Ok((datagram.payload, datagram.origin.from));
            }
            if !skipping {
                self.counters.drop(DropReason::UdpInPieces);
            }
            skipping = datagram.more;
        }
    }

    /// Gives `each` the frames of the oldest datagram in order, and returns its
    /// sender. Most datagrams have one frame; those that came in IP fragments
    /// have several, with up to 65,507 bytes in all (65,527 for IPv6).
    ///
    /// # Errors
    /// As [`udp_try_recv`](Self::udp_try_recv).
    pub fn udp_try_recv_pieces(
        &mut self,
        id: UdpId,
        mut each: impl FnMut(FrameRef),
    ) -> Result<SocketAddr, Error> {
        let socket = self.udp.socket(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        let first = socket.pop().ok_or(Error::WouldBlock)?;
        let (from, mut more) = (first.origin.from, first.more);
        each(first.payload);
        while more {
            let Some(next) = socket.pop() else { break };
            more = next.more;
            each(next.payload);
        }
        Ok(from)
    }

    /// Sends the frames in `pieces` as one datagram, without copying what need
    /// not be: frames as they came with
    /// [`udp_try_recv_pieces`](Self::udp_try_recv_pieces) leave as they are.
    /// `pieces` is empty afterwards, and untouched after an error.
    ///
    /// # Errors
    /// As [`udp_try_send_frame`](Self::udp_try_send_frame).
    pub fn udp_try_send_pieces(
        &mut self,
        id: UdpId,
        pieces: &mut Vec<FrameRef>,
        remote: SocketAddr,
    ) -> Result<(), Error> {
        if pieces.len() == 1
            && let Some(frame) = pieces.pop()
        {
            return self
                .udp_try_send_frame(id, frame, remote)
                .map_err(|(frame, error)| {
                    pieces.push(frame);
                    error
                });
        }
        if let Some(own) = self.udp_elsewhere(id, remote)? {
            return self.on(own, |stack| stack.udp_try_send_pieces(id, pieces, remote));
        }
        let remote = canonical(remote);
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let way = self.udp_way(id, len, remote)?;
        self.udp_emit_pieces(way, pieces)
    }

    /// Sends a datagram in several frames, or in one that is longer than the
    /// link carries.
    #[cold]
    pub(super) fn udp_emit_pieces(
        &mut self,
        way: Outgoing,
        pieces: &mut Vec<FrameRef>,
    ) -> Result<(), Error> {
        let (source, remote) = (way.source, way.remote);
        let len = UDP_HEADER + pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let fragment = self.udp_unfragmented(remote.ip()).max(UDP_HEADER);
        if self.outbox.room() <= len.div_ceil(fragment) {
            return Err(Error::WouldBlock);
        }
        let head = match pieces.is_empty() {
            true => self.udp_frame().map(|frame| (frame, None))?,
            false => self
                .udp_head(remote, pieces.remove(0))
                .map_err(|(first, misuse)| {
                    pieces.insert(0, first);
                    misuse
                })?,
        };
        let (mut frame, second) = head;
        // Not above the longest packet, as was checked.
        let udp_len = u16::try_from(len).unwrap_or(u16::MAX);
        let mut sum = pseudo_sum(source.ip(), remote.ip(), udp_len).add_bytes(&frame);
        let mut summed = frame.len();
        for piece in second.iter().chain(pieces.iter()) {
            sum = sum.then(Sum::of(piece), summed);
            summed += piece.len();
        }
        let blank = UdpHeader {
            src_port: source.port().into(),
            dst_port: remote.port().into(),
            len: udp_len.into(),
            checksum: 0.into(),
        };
        let header = UdpHeader {
            checksum: if way.unsummed {
                0.into()
            } else {
                sum.add_bytes(blank.as_bytes()).finish_nonzero().into()
            },
            ..blank
        };
        if let Some(room) = frame.push_front(UDP_HEADER) {
            room.copy_from_slice(header.as_bytes());
        }
        self.counters.inc(Counter::UdpOut);
        let now = self.now();
        let head = core::iter::once(frame.freeze()).chain(second);
        let chain = head.chain(pieces.drain(..));
        // What cannot be sent has been counted; datagrams may get lost.
        let _ = self.ip_send_chain(now, source.ip(), remote.ip(), way.fields, len, chain);
        Ok(())
    }

    /// The same, and in one frame of the pool.
    pub(super) fn udp_unfragmented(&self, remote: IpAddr) -> usize {
        let frame = self.pool.frame_size().saturating_sub(HEADROOM);
        self.udp_in_one_packet(remote).min(frame)
    }

    /// Copies `data` into frames that each make a fragment.
    pub(super) fn udp_copy(
        &mut self,
        data: &[u8],
        remote: IpAddr,
    ) -> Result<Vec<FrameRef>, Misuse> {
        // As long as a packet carries, and a frame holds.
        let frame = self.pool.frame_size().saturating_sub(HEADROOM);
        let fragment = (self.udp_in_one_packet(remote) + UDP_HEADER).min(frame) & !7;
        let first = fragment.saturating_sub(UDP_HEADER).max(1).min(data.len());
        let (first, rest) = data.split_at(first);
        let mut pieces = Vec::new();
        for part in core::iter::once(first).chain(rest.chunks(fragment.max(1))) {
            let mut frame = self.udp_frame()?;
            if frame.extend_from_slice(part) < part.len() {
                return Err(Misuse::TooLong);
            }
            pieces.push(frame.freeze());
        }
        self.counters.add(Counter::CopiedBytes, data.len() as u64);
        Ok(pieces)
    }
}
