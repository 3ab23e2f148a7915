//! Datagrams for the socket that received last, across the layers.
//!
//! All their headers lie at constant offsets, so that a plain one is recognised
//! with a few compares. Anything else, and whatever is to be refused, takes the
//! layers one by one, with the same result.

use core::net::{IpAddr, SocketAddr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, FramePool, RxChecksum, RxFrame, RxMeta};

use super::{Datagram, Origin, Socket, pseudo_sum};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, UDP_HEADER};
use crate::{Counter, Stack};

/// Bytes of all headers over IPv4.
pub(crate) const V4_HEADERS: usize = ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER;
/// The same over IPv6.
pub(crate) const V6_HEADERS: usize = ETHERNET_HEADER + IPV6_HEADER + UDP_HEADER;

/// The headers of a plain datagram.
#[derive(Clone, Copy)]
struct Plain {
    from: SocketAddr,
    to: SocketAddr,
    /// Hop limit and traffic class.
    marks: [u8; 2],
    /// Bytes of payload.
    len: usize,
}

impl Stack {
    /// Takes a packet if it is a plain datagram, with `N` bytes of headers, for
    /// the socket that received last; else gives it back, untouched and
    /// uncounted.
    #[inline(never)]
    pub(crate) fn udp_expected<const N: usize>(&mut self, piece: RxFrame) -> Option<RxFrame> {
        let RxFrame { frame, meta } = piece;
        let plain = parse::<N>(&frame, meta, self.iface.mac().0)
            .filter(|plain| self.iface.is_exchange(plain.from.ip(), plain.to.ip()));
        let socket = self.udp.sockets.get_mut(self.udp.last as usize);
        let (Some(plain), Some(socket)) = (plain, socket) else {
            return Some(RxFrame { frame, meta });
        };
        if !socket.expects(&plain, &frame, &self.pool) {
            return Some(RxFrame { frame, meta });
        }
        self.counters.inc(Counter::FramesIn);
        self.counters.add(Counter::BytesIn, frame.len() as u64);
        self.counters.inc(if N == V4_HEADERS {
            Counter::Ipv4In
        } else {
            Counter::Ipv6In
        });
        self.counters.inc(Counter::UdpIn);
        socket.take::<N>(&plain, frame);
        None
    }
}

impl Socket {
    /// Whether a datagram is for this socket, and nothing speaks against it.
    #[inline(always)]
    fn expects(&self, plain: &Plain, frame: &FrameBuf, pool: &FramePool) -> bool {
        self.open
            && self.port == plain.to.port()
            && self.matches(plain.to.ip())
            && self.remote.is_none_or(|remote| remote == plain.from)
            && (self.queue.is_empty()
                || self.has_room(frame.slot_size()) && pool.available() >= pool.capacity() / 8)
    }

    #[inline(always)]
    fn take<const N: usize>(&mut self, plain: &Plain, mut frame: FrameBuf) {
        frame.trim_front(N);
        frame.truncate(plain.len);
        let origin = Origin {
            from: plain.from,
            to: Some(plain.to.ip()),
        };
        let again = self.newest == Some(origin);
        if !again {
            self.newest = Some(origin);
        }
        self.push(Datagram {
            payload: frame.freeze(),
            origin,
            marks: plain.marks,
            again,
            more: false,
        });
    }
}

/// Reads the headers of a frame to `mac`, `N` bytes of them, if they are those of
/// a datagram without anything unusual, lengths and checksums right.
#[inline(always)]
fn parse<const N: usize>(frame: &FrameBuf, meta: RxMeta, mac: [u8; 6]) -> Option<Plain> {
    let head = frame.first_chunk::<N>()?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let udp_at = N - UDP_HEADER;
    // From one station to us; UDP with a checksum.
    let whole = !meta.continues && half(udp_at + 6) != 0 && head[6] & 1 == 0 && head[..6] == mac;
    let udp_len = half(udp_at + 4);
    let is_v4 = N == V4_HEADERS;
    if !whole
        || !(if is_v4 {
            is_plain_v4(head, udp_len)
        } else {
            is_plain_v6(head, udp_len)
        })
    {
        return None;
    }
    let len = usize::from(udp_len).checked_sub(UDP_HEADER)?;
    let datagram = frame.get(udp_at..N + len)?;
    let (src, dst) = if is_v4 {
        let (src, dst): (&[u8; 4], &[u8; 4]) =
            (head[26..].first_chunk()?, head[30..].first_chunk()?);
        (IpAddr::from(*src), IpAddr::from(*dst))
    } else {
        let (src, dst): (&[u8; 16], &[u8; 16]) =
            (head[22..].first_chunk()?, head[38..].first_chunk()?);
        (IpAddr::from(*src), IpAddr::from(*dst))
    };
    if meta.checksum == RxChecksum::Unknown
        && !(pseudo_sum(src, dst, udp_len) + Sum::of(datagram)).is_valid()
    {
        return None;
    }
    let marks = if is_v4 {
        [head[22], head[15]]
    } else {
        [head[21], (head[14] << 4) | (head[15] >> 4)]
    };
    Some(Plain {
        from: SocketAddr::new(src, half(udp_at)),
        to: SocketAddr::new(dst, half(udp_at + 2)),
        marks,
        len,
    })
}

/// IPv4 without options, whatever the type of service; not a fragment; UDP.
#[inline(always)]
fn is_plain_v4<const N: usize>(head: &[u8; N], udp_len: u16) -> bool {
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let ip = head[ETHERNET_HEADER..].first_chunk::<IPV4_HEADER>();
    half(12) == ETHERTYPE_IPV4
        && head[14] == 0x45
        && head[23] == PROTOCOL_UDP
        && half(20) & 0x3fff == 0
        && usize::from(half(16)) == usize::from(udp_len) + IPV4_HEADER
        && ip.is_some_and(|ip| Sum::of_array(ip).is_valid())
}

/// IPv6 without extension headers, whatever the traffic class; UDP.
#[inline(always)]
fn is_plain_v6<const N: usize>(head: &[u8; N], udp_len: u16) -> bool {
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    half(12) == ETHERTYPE_IPV6
        && head[14] >> 4 == 6
        && head[20] == PROTOCOL_UDP
        && half(18) == udp_len
}
