//! Datagrams that arrive, and ICMP errors about those that were sent.

use core::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxMeta};
use zerocopy::FromBytes;

use super::{Datagram, Origin, pseudo_sum};
use crate::ip::{Cause, IcmpError, Icmpv6Error, IpMeta};
use crate::wire::dhcp::CLIENT_PORT;
use crate::wire::dhcpv6;
use crate::wire::icmpv4::PORT_UNREACHABLE;
use crate::wire::{UDP_HEADER, UdpHeader};
use crate::{Counter, DropReason, Stack};

impl Stack {
    /// Takes a UDP datagram. `frame` begins with its UDP header and ends with
    /// the IP packet; the IP header lies in the headroom.
    #[inline]
    pub(crate) fn udp_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        mut frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let header = if self.rx_rest.is_empty() {
            check(ip, &frame, meta)?
        } else {
            check_pieces(ip, &mut frame, &mut self.rx_rest, meta)?
        };
        let frames = self.rx_rest.len() + 1;
        let from = SocketAddr::new(ip.src, header.src_port.get());
        let local = SocketAddr::new(ip.dst, header.dst_port.get());
        let scarce = self.pool.available() < self.pool.capacity() / 8;
        let socket = self.udp.lookup(local);
        // RFC 6936, 4, 5: to ports that are not open to them, datagrams without a
        // checksum come as if damaged.
        let unsummed = ip.src.is_ipv6() && header.checksum.get() == 0;
        if unsummed && !socket.as_ref().is_some_and(|to| to.marks.takes_unsummed) {
            return Err(DropReason::UdpBadChecksum);
        }
        let refused = match socket {
            None if local.port() == CLIENT_PORT && self.dhcp.is_some() => {
                frame.truncate(usize::from(header.len.get()));
                frame.trim_front(UDP_HEADER);
                return self.dhcp_input(now, &frame);
            }
            None if local.port() == dhcpv6::CLIENT_PORT && self.iface.v6.dhcpv6.is_active() => {
                frame.truncate(usize::from(header.len.get()));
                frame.trim_front(UDP_HEADER);
                return self.dhcpv6_input(now, ip, &frame);
            }
            None => DropReason::UdpNoSocket,
            Some(socket) if socket.remote.is_some_and(|remote| remote != from) => {
                DropReason::UdpNotFromPeer
            }
            Some(socket) if !socket.has_room_for(frames, frame.slot_size()) => {
                return Err(DropReason::UdpQueueFull);
            }
            // When frames are scarce, a socket that does not keep up has to
            // give way; one that does still gets its datagram.
            Some(socket) if scarce && !socket.queue.is_empty() => {
                return Err(DropReason::UdpNoMemory);
            }
            Some(socket) => {
                frame.truncate(usize::from(header.len.get()));
                frame.trim_front(UDP_HEADER);
                let to = (!ip.broadcast).then_some(ip.dst);
                socket.newest = None;
                socket.push_piece(Datagram {
                    payload: frame.freeze(),
                    origin: Origin { from, to },
                    marks: [ip.ttl, ip.class],
                    again: false,
                    more: frames > 1,
                });
                for (at, piece) in self.rx_rest.drain(..).enumerate() {
                    socket.push_piece(Datagram {
                        payload: piece.freeze(),
                        origin: Origin { from, to },
                        marks: [ip.ttl, ip.class],
                        again: true,
                        more: at + 2 < frames,
                    });
                }
                socket.wake();
                self.counters.inc(Counter::UdpIn);
                return Ok(());
            }
        };
        // A connected socket's port must look closed to everybody else, lest
        // it be found by asking.
        match ip.src {
            IpAddr::V4(_) => self.icmp_unreachable(now, ip, PORT_UNREACHABLE, frame),
            IpAddr::V6(_) => self.icmpv6_error(now, ip, Icmpv6Error::PORT_UNREACHABLE, frame),
        }
        Err(refused)
    }

    /// Whether a socket at `local` sends to `remote`: for good, or did so last.
    pub(crate) fn udp_writes_to(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.udp
            .lookup(local)
            .is_some_and(|socket| socket.remote == Some(remote) || socket.route.remote == remote)
    }

    /// Tells the socket that sent a datagram of the error that it met.
    ///
    /// RFC 1122, 4.1.3.3: "UDP MUST pass to the application layer all ICMP
    /// error messages that it receives from the IP layer." A socket without a
    /// fixed peer could not tell whom it is about; to learn of a path's MTU it
    /// is enough to have written there last.
    pub(crate) fn udp_icmp_error(&mut self, error: &IcmpError) -> Result<(), DropReason> {
        let remote = error.remote;
        let socket = self.udp.lookup(error.local);
        let socket = socket.ok_or(DropReason::IcmpNoFlow)?;
        let connected = socket.remote == Some(remote);
        match error.cause {
            Cause::Failed(error) if connected => {
                socket.error = Some(error);
                socket.wake();
                Ok(())
            }
            Cause::TooBig(mtu) if connected || socket.route.remote == remote => {
                self.lower_path_mtu(remote.ip(), mtu, error.len);
                Ok(())
            }
            _ => Err(DropReason::IcmpNoFlow),
        }
    }
}

/// The header, its lengths and checksum found right.
#[inline]
fn check(ip: &IpMeta, frame: &FrameBuf, meta: RxMeta) -> Result<UdpHeader, DropReason> {
    let (header, _) = UdpHeader::read_from_prefix(frame).map_err(|_| DropReason::UdpTooShort)?;
    let datagram = frame.get(..usize::from(header.len.get()));
    let datagram = datagram
        .filter(|bytes| bytes.len() >= UDP_HEADER)
        .ok_or(DropReason::UdpBadLength)?;
    if check_fields(&header, meta)?
        && !pseudo_sum(ip.src, ip.dst, header.len.get())
            .add_bytes(datagram)
            .is_valid()
    {
        return Err(DropReason::UdpBadChecksum);
    }
    Ok(header)
}

/// What the header itself says; returns whether the checksum is to be verified.
#[inline]
fn check_fields(header: &UdpHeader, meta: RxMeta) -> Result<bool, DropReason> {
    if header.dst_port.get() == 0 {
        return Err(DropReason::UdpBadPort);
    }
    if header.checksum.get() == 0 {
        // RFC 768: "An all zero transmitted checksum value means that the
        // transmitter generated no checksum". RFC 8200, 8.1, forbids it but to
        // sockets that say otherwise, which is found out later.
        return Ok(false);
    }
    Ok(meta.checksum == RxChecksum::Unknown)
}

/// The same for a datagram in several frames, which are cut to its length.
#[cold]
fn check_pieces<const N: usize>(
    ip: &IpMeta,
    first: &mut FrameBuf,
    rest: &mut ArrayVec<FrameBuf, N>,
    meta: RxMeta,
) -> Result<UdpHeader, DropReason> {
    if meta.gso_size != 0 {
        return Err(DropReason::UdpCoalesced);
    }
    let (header, _) = UdpHeader::read_from_prefix(first).map_err(|_| DropReason::UdpTooShort)?;
    let len = usize::from(header.len.get());
    if len < UDP_HEADER {
        return Err(DropReason::UdpBadLength);
    }
    first.truncate(len);
    let mut left = len - first.len();
    let mut sum = pseudo_sum(ip.src, ip.dst, header.len.get()).add_bytes(first);
    for piece in rest.iter_mut() {
        piece.truncate(left);
        sum = sum.then(Sum::of(piece), len - left);
        left -= piece.len();
    }
    rest.retain(|piece| !piece.is_empty());
    if left > 0 {
        return Err(DropReason::UdpBadLength);
    }
    if check_fields(&header, meta)? && !sum.is_valid() {
        return Err(DropReason::UdpBadChecksum);
    }
    Ok(header)
}
