//! What applications call: sockets without blocking. The async sockets are
//! built of these.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::task::Waker;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, FrameRef, Instant, TxChecksum, TxMeta};
use zerocopy::IntoBytes;

use super::{Marks, Outgoing, Socket, UdpId, UdpOptions, pseudo_sum};
use crate::flow::canonical;
use crate::wire::udp::CHECKSUM_AT;
use crate::wire::{IPV4_HEADER, UDP_HEADER, UdpHeader};
use crate::{Counter, Error, InterfaceId, Misuse, Stack};

/// First and last of the ephemeral ports (RFC 6335, 6).
const EPHEMERAL: (u16, u16) = (49_152, 65_535);
/// Random ports tried before giving up (RFC 6056, 3.3.1).
const PORT_TRIES: u32 = 4096;
/// Bytes of an IPv6 header.
const IPV6_HEADER: usize = 40;

impl Stack {
    /// Binds a socket with [`UdpOptions::DEFAULT`]. Port 0 chooses a random
    /// free one (RFC 6056), the unspecified address means every address of this
    /// host.
    ///
    /// # Errors
    /// [`Misuse::AddressInUse`], [`Misuse::AddressNotLocal`],
    /// [`Misuse::NoPortFree`].
    pub fn udp_bind(&mut self, local: SocketAddr) -> Result<UdpId, Misuse> {
        self.udp_bind_with(local, UdpOptions::DEFAULT)
    }

    /// As [`udp_bind`](Self::udp_bind), with other bounds of its queue.
    ///
    /// # Errors
    /// As [`udp_bind`](Self::udp_bind).
    pub fn udp_bind_with(
        &mut self,
        local: SocketAddr,
        options: UdpOptions,
    ) -> Result<UdpId, Misuse> {
        let local = canonical(local);
        let address = (!local.ip().is_unspecified()).then_some(local.ip());
        if address.is_some_and(|address| !self.is_local(address)) {
            return Err(Misuse::AddressNotLocal);
        }
        let port = match local.port() {
            0 => self.free_udp_port(address)?,
            port if self.udp.conflicts(address, port) => return Err(Misuse::AddressInUse),
            port => port,
        };
        let label = self.random.below(1 << 20);
        Ok(self.udp.open(address, port, options, label))
    }

    fn free_udp_port(&mut self, address: Option<IpAddr>) -> Result<u16, Misuse> {
        let (first, last) = EPHEMERAL;
        for _ in 0..PORT_TRIES {
            let offset = self.random.below(u32::from(last - first) + 1);
            let port = first + u16::try_from(offset).unwrap_or(0);
            if !self.udp.conflicts(address, port) {
                return Ok(port);
            }
        }
        Err(Misuse::NoPortFree)
    }

    /// Where a socket is bound; the address is unspecified for all.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_local_addr(&mut self, id: UdpId) -> Result<SocketAddr, Misuse> {
        let socket = self.udp.socket(id)?;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Ok(SocketAddr::new(socket.address.unwrap_or(any), socket.port))
    }

    /// Fixes the only peer that the socket receives from, and whose ICMP errors
    /// it is told of; `None` opens it to everybody again. Datagrams that wait
    /// already stay.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`], [`Misuse::BadDestination`].
    pub fn udp_connect(&mut self, id: UdpId, remote: Option<SocketAddr>) -> Result<(), Misuse> {
        let remote = remote.map(canonical);
        if remote.is_some_and(|remote| !is_destination(remote)) {
            return Err(Misuse::BadDestination);
        }
        let socket = self.udp.socket(id)?;
        socket.remote = remote;
        socket.error = None;
        Ok(())
    }

    /// The oldest datagram's payload, in the frame in which it came, and its
    /// sender. As its only handle it can be written
    /// ([`FrameRef::try_into_mut`]) and sent back. Datagrams that came in
    /// several frames, as IP fragments, are dropped and counted here:
    /// [`udp_try_recv_pieces`](Self::udp_try_recv_pieces) and
    /// [`udp_try_recv_into`](Self::udp_try_recv_into) take them.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when none waits; [`Error::Conn`] once after an
    /// ICMP error from the [connected](Self::udp_connect) peer;
    /// [`Misuse::StaleHandle`].
    #[inline]
    pub fn udp_try_recv(&mut self, id: UdpId) -> Result<(FrameRef, SocketAddr), Error> {
        let socket = self.udp.socket(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        let datagram = socket.pop().ok_or(Error::WouldBlock)?;
        if datagram.more {
            return self.udp_skip_pieces(id, datagram);
        }
        Ok((datagram.payload, datagram.origin.from))
    }

    /// Copies the oldest datagram's payload into `out`. Returns the payload's
    /// full length, of which `out` holds the beginning if it is shorter, and
    /// the sender.
    ///
    /// # Errors
    /// As [`udp_try_recv`](Self::udp_try_recv).
    pub fn udp_try_recv_into(
        &mut self,
        id: UdpId,
        out: &mut [u8],
    ) -> Result<(usize, SocketAddr), Error> {
        let (mut len, mut copied) = (0, 0);
        let from = self.udp_try_recv_pieces(id, |piece| {
            let room = out.get_mut(copied..).unwrap_or_default();
            let count = piece.len().min(room.len());
            if let (Some(to), Some(bytes)) = (room.get_mut(..count), piece.get(..count)) {
                to.copy_from_slice(bytes);
            }
            len += piece.len();
            copied += count;
        })?;
        self.counters.add(Counter::CopiedBytes, copied as u64);
        Ok((len, from))
    }

    /// A frame of `len` bytes to fill and [send](Self::udp_try_send_frame).
    /// The bytes hold old data: write all of them.
    ///
    /// # Errors
    /// [`Misuse::TooLong`] when no frame is that long, [`Misuse::NoFrameFree`],
    /// [`Misuse::StaleHandle`].
    pub fn udp_reserve(&mut self, id: UdpId, len: usize) -> Result<FrameBuf, Error> {
        self.udp.socket(id)?;
        let mut frame = self.udp_frame()?;
        if frame.set_len(len) {
            Ok(frame)
        } else {
            Err(Misuse::TooLong.into())
        }
    }

    pub(super) fn udp_frame(&mut self) -> Result<FrameBuf, Misuse> {
        self.pool.alloc().ok_or_else(|| {
            self.counters.inc(Counter::NoFrame);
            Misuse::NoFrameFree
        })
    }

    /// Sends a datagram of `data`, copied into frames: up to 65,507 bytes, in
    /// fragments where the link carries no more at once.
    ///
    /// # Errors
    /// [`Misuse::TooLong`], [`Misuse::NoFrameFree`], and those of
    /// [`udp_try_send_frame`](Self::udp_try_send_frame).
    pub fn udp_try_send(
        &mut self,
        id: UdpId,
        data: &[u8],
        remote: SocketAddr,
    ) -> Result<(), Error> {
        if let Some(own) = self.udp_elsewhere(id, remote)? {
            return self.on(own, |stack| stack.udp_try_send(id, data, remote));
        }
        let remote = canonical(remote);
        let way = self.udp_way(id, data.len(), remote)?;
        if data.len() > self.udp_unfragmented(remote.ip()) {
            let mut pieces = self.udp_copy(data, remote.ip())?;
            return self.udp_emit_pieces(way, &mut pieces);
        }
        let mut frame = self.udp_frame()?;
        if frame.extend_from_slice(data) < data.len() {
            return Err(Misuse::TooLong.into());
        }
        self.counters.add(Counter::CopiedBytes, data.len() as u64);
        self.udp_emit(way, frame.freeze())
            .map_err(|(_, misuse)| misuse.into())
    }

    /// The longest payload that goes to `remote` in one packet.
    pub(super) fn udp_in_one_packet(&self, remote: IpAddr) -> usize {
        let headers = ip_header(remote) + UDP_HEADER;
        usize::from(self.path_mtu(remote)).saturating_sub(headers)
    }

    /// The frame that headers to `remote` are written into, before its data:
    /// the payload's own if it may be, else another, and the payload behind it.
    pub(super) fn udp_head(
        &mut self,
        remote: SocketAddr,
        payload: FrameRef,
    ) -> Result<(FrameBuf, Option<FrameRef>), (FrameRef, Misuse)> {
        let room = self.link_header_len() + ip_header(remote.ip()) + UDP_HEADER;
        match payload.try_into_mut() {
            Ok(frame) if frame.headroom() >= room => Ok((frame, None)),
            other => {
                let payload = other.map_or_else(|shared| shared, FrameBuf::freeze);
                match self.udp_frame() {
                    Ok(frame) => Ok((frame, Some(payload))),
                    Err(misuse) => Err((payload, misuse)),
                }
            }
        }
    }

    /// Sends the bytes of `frame` as a datagram, without copying them. A socket
    /// bound to any address sends an answer, to whom it received from last,
    /// from the address that was asked (RFC 1122, 3.3.4.2), and everything else
    /// from the address nearest to `remote`.
    ///
    /// A frame with no other handle and 42 bytes of headroom (62 for IPv6; 4 more
    /// on an interface in a VLAN) carries its own headers; others get a second
    /// frame in front. A datagram that finds no route or neighbour on its way out
    /// is dropped and counted.
    ///
    /// # Errors
    /// The frame, and [`Error::WouldBlock`] when the queue towards the device
    /// is full, [`Error::Conn`] once after an ICMP error from the
    /// [connected](Self::udp_connect) peer, [`Misuse::StaleHandle`],
    /// [`Misuse::BadDestination`], [`Misuse::NoSourceAddress`],
    /// [`Misuse::TooLong`] above 65,507 bytes (65,527 for IPv6), or
    /// [`Misuse::NoFrameFree`].
    #[inline]
    pub fn udp_try_send_frame(
        &mut self,
        id: UdpId,
        frame: impl Into<FrameRef>,
        remote: SocketAddr,
    ) -> Result<(), (FrameRef, Error)> {
        let frame = match self.udp_send_routed(id, frame.into(), remote) {
            Ok(()) => return Ok(()),
            Err(frame) => frame,
        };
        self.udp_send_any(id, frame, remote)
    }

    #[inline(never)]
    fn udp_send_any(
        &mut self,
        id: UdpId,
        frame: FrameRef,
        remote: SocketAddr,
    ) -> Result<(), (FrameRef, Error)> {
        match self.udp_elsewhere(id, remote) {
            Ok(None) => {}
            Ok(Some(own)) => return self.on(own, |stack| stack.udp_send_any(id, frame, remote)),
            Err(error) => return Err((frame, error)),
        }
        let remote = canonical(remote);
        match self.udp_way(id, frame.len(), remote) {
            Ok(way) if frame.len() > self.udp_in_one_packet(remote.ip()) => {
                let mut pieces = Vec::from([frame]);
                self.udp_emit_pieces(way, &mut pieces)
                    .map_err(|error| (pieces.remove(0), error))
            }
            Ok(way) => {
                self.udp_learn_route(id, &way);
                self.udp_emit(way, frame)
                    .map_err(|(frame, misuse)| (frame, misuse.into()))
            }
            Err(error) => Err((frame, error)),
        }
    }

    /// The interface that a datagram leaves by, if that is not the one at hand.
    pub(super) fn udp_elsewhere(
        &mut self,
        id: UdpId,
        remote: SocketAddr,
    ) -> Result<Option<InterfaceId>, Error> {
        if self.has_one() {
            return Ok(None);
        }
        let answered = self.udp.socket(id)?.source_for(canonical(remote));
        if answered.is_none()
            && let Some(zone) = self.zone_of(remote)?
        {
            return Ok(Some(zone));
        }
        let source = answered.or_else(|| self.source_for(canonical(remote).ip()));
        Ok(source.and_then(|source| self.elsewhere(source)))
    }

    /// How a datagram goes out, if it may be sent at all.
    pub(super) fn udp_way(
        &mut self,
        id: UdpId,
        len: usize,
        remote: SocketAddr,
    ) -> Result<Outgoing, Error> {
        let socket = self.udp.socket(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        let (address, port) = (socket.source_for(remote), socket.port);
        let way = Outgoing::of(socket, SocketAddr::new(remote.ip(), port), remote);
        if !is_destination(remote) {
            return Err(Misuse::BadDestination.into());
        }
        if self.outbox.is_full() {
            return Err(Error::WouldBlock);
        }
        if len > max_payload(remote.ip()) {
            return Err(Misuse::TooLong.into());
        }
        let source = address.or_else(|| self.source_for(remote.ip()));
        match source.filter(|source| source.is_ipv4() == remote.is_ipv4()) {
            Some(source) => Ok(Outgoing {
                source: SocketAddr::new(source, port),
                ..way
            }),
            None => Err(Misuse::NoSourceAddress.into()),
        }
    }

    /// Writes the UDP header, into the payload's own frame if it may be, and
    /// hands both on.
    fn udp_emit(&mut self, way: Outgoing, payload: FrameRef) -> Result<(), (FrameRef, Misuse)> {
        let (mut frame, rest) = self.udp_head(way.remote, payload)?;
        let meta = self.write_udp(&way, &mut frame, rest.as_deref());
        self.counters.inc(Counter::UdpOut);
        let now = self.now();
        // What cannot be sent has been counted; datagrams may get lost.
        let (src, dst) = (way.source.ip(), way.remote.ip());
        let _ = self.ip_send(now, src, dst, way.fields, frame, rest, meta);
        Ok(())
    }

    /// Sends a datagram of the stack's own, which no socket has.
    pub(crate) fn udp_send_own(
        &mut self,
        now: Instant,
        source: SocketAddr,
        remote: SocketAddr,
        mut frame: FrameBuf,
    ) {
        let way = Outgoing::plain(source, remote);
        let meta = self.write_udp(&way, &mut frame, None);
        let (src, dst) = (source.ip(), remote.ip());
        // What cannot be sent has been counted.
        let _ = self.ip_send(now, src, dst, way.fields, frame, None, meta);
    }

    /// Puts the header before `frame`'s data, which `rest` follows.
    fn write_udp(&self, way: &Outgoing, frame: &mut FrameBuf, rest: Option<&[u8]>) -> TxMeta {
        let (source, remote) = (way.source, way.remote);
        let payload_len = frame.len() + rest.map_or(0, <[u8]>::len);
        // The MTU, 65,535 at most, was checked against.
        let len = u16::try_from(UDP_HEADER + payload_len).unwrap_or(u16::MAX);
        let header = UdpHeader {
            src_port: source.port().into(),
            dst_port: remote.port().into(),
            len: len.into(),
            checksum: 0.into(),
        };
        let pseudo = pseudo_sum(source.ip(), remote.ip(), len);
        let (check, checksum) = if way.unsummed {
            (0, TxChecksum::Done)
        } else if self.iface.caps().tx_checksum {
            (
                pseudo.fold(),
                TxChecksum::Partial {
                    start: 0,
                    offset: CHECKSUM_AT,
                },
            )
        } else {
            let front = pseudo.add_bytes(header.as_bytes()).add_bytes(frame);
            let sum = rest.map_or(front, |rest| front.then(Sum::of(rest), frame.len()));
            // RFC 768: "If the computed checksum is zero, it is transmitted as
            // all ones".
            (sum.finish_nonzero(), TxChecksum::Done)
        };
        let header = UdpHeader {
            checksum: check.into(),
            ..header
        };
        if let Some(room) = frame.push_front(UDP_HEADER) {
            room.copy_from_slice(header.as_bytes());
        }
        TxMeta {
            checksum,
            gso: None,
        }
    }

    /// Has `waker` woken, once, when a datagram or an error arrives. Without
    /// effect on a stale handle.
    pub fn udp_wake_on_recv(&mut self, id: UdpId, waker: &Waker) {
        let Ok(socket) = self.udp.socket(id) else {
            return;
        };
        match &socket.waker {
            Some(kept) if kept.will_wake(waker) => {}
            _ => socket.waker = Some(waker.clone()),
        }
        socket.waiting = true;
        if !socket.queue.is_empty() || socket.error.is_some() {
            socket.wake();
        }
    }

    /// Closes a socket: its port is free, what waited in its queue is gone, and
    /// a task that waits is woken to find the handle stale. Without effect on
    /// a stale handle.
    pub fn udp_close(&mut self, id: UdpId) {
        let groups = self
            .udp
            .socket(id)
            .map(|socket| core::mem::take(&mut socket.groups));
        for group in groups.into_iter().flatten() {
            self.leave_group(group);
        }
        self.udp.close(id);
    }
}

impl super::Udp {
    fn open(
        &mut self,
        address: Option<IpAddr>,
        port: u16,
        options: UdpOptions,
        flow_label: u32,
    ) -> UdpId {
        let options = UdpOptions {
            recv_datagrams: options.recv_datagrams.max(1),
            ..options
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
                self.sockets.push(Socket::CLOSED);
                index
            }
        };
        let mut generation = 0;
        if let Some(socket) = self.sockets.get_mut(index as usize) {
            generation = socket.generation;
            *socket = Socket {
                address,
                port,
                generation,
                open: true,
                options,
                marks: Marks::new(flow_label),
                queue: VecDeque::with_capacity(options.recv_datagrams),
                ..Socket::CLOSED
            };
        }
        self.ports.insert(port, index);
        UdpId { index, generation }
    }

    fn close(&mut self, id: UdpId) {
        let Ok(socket) = self.socket(id) else { return };
        let generation = socket.generation.wrapping_add(1);
        let mut closed = core::mem::replace(
            socket,
            Socket {
                generation,
                ..Socket::CLOSED
            },
        );
        self.ports.remove(closed.port, id.index);
        self.free.push(id.index);
        closed.wake();
    }
}

/// Whether datagrams can go there. Broadcast and multicast are fine.
fn is_destination(remote: SocketAddr) -> bool {
    remote.port() != 0 && !remote.ip().is_unspecified()
}

/// The longest payload that a datagram can have. IPv6 does not count its header
/// (RFC 8200, 3).
fn max_payload(remote: IpAddr) -> usize {
    let header = if remote.is_ipv4() { IPV4_HEADER } else { 0 };
    usize::from(u16::MAX) - header - UDP_HEADER
}

fn ip_header(address: IpAddr) -> usize {
    if address.is_ipv4() {
        IPV4_HEADER
    } else {
        IPV6_HEADER
    }
}
