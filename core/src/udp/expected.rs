//! Datagrams for the socket that received last, across the layers.
//!
//! All their headers lie at constant offsets, so that a plain one is recognised
//! with a few compares. Anything else, and whatever is to be refused, takes the
//! layers one by one, with the same result.

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, FramePool, RxChecksum, RxFrame, RxMeta};

use super::{Datagram, Origin, Socket};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER};
use crate::{Counter, Stack};

/// Bytes of all headers.
const HEADERS: usize = ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER;

/// Where a datagram is from, and to which address of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    src_port: u16,
}

impl Ends {
    #[inline]
    fn from(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(self.src, self.src_port))
    }
}

/// The headers of a plain datagram.
#[derive(Clone, Copy)]
struct Plain {
    ends: Ends,
    dst_port: u16,
    /// Hop limit and traffic class.
    marks: [u8; 2],
    /// Bytes of payload.
    len: usize,
}

impl Stack {
    /// Takes a packet if it is a plain datagram for the socket that received
    /// last; else gives it back, untouched and uncounted.
    #[inline(never)]
    pub(crate) fn udp_expected(&mut self, piece: RxFrame) -> Option<RxFrame> {
        let RxFrame { frame, meta } = piece;
        let plain = parse(&frame, meta, self.iface.mac().0)
            .filter(|plain| self.iface.is_exchange(plain.ends.src, plain.ends.dst));
        let socket = self.udp.sockets.get_mut(self.udp.last as usize);
        let (Some(plain), Some(socket)) = (plain, socket) else {
            return Some(RxFrame { frame, meta });
        };
        if !socket.expects(&plain, &frame, &self.pool) {
            return Some(RxFrame { frame, meta });
        }
        self.counters.inc(Counter::FramesIn);
        self.counters.add(Counter::BytesIn, frame.len() as u64);
        self.counters.inc(Counter::Ipv4In);
        self.counters.inc(Counter::UdpIn);
        socket.take(&plain, frame);
        None
    }
}

impl Socket {
    /// Whether a datagram is for this socket, and nothing speaks against it.
    #[inline]
    fn expects(&self, plain: &Plain, frame: &FrameBuf, pool: &FramePool) -> bool {
        self.open
            && self.port == plain.dst_port
            && self.matches(IpAddr::V4(plain.ends.dst))
            && self.remote.is_none_or(|remote| remote == plain.ends.from())
            && (self.queue.is_empty()
                || self.has_room(frame.slot_size()) && pool.available() >= pool.capacity() / 8)
    }

    #[inline]
    fn take(&mut self, plain: &Plain, mut frame: FrameBuf) {
        frame.trim_front(HEADERS);
        frame.truncate(plain.len);
        let again = self.newest == Some(plain.ends);
        if !again {
            self.newest = Some(plain.ends);
        }
        self.push(Datagram {
            payload: frame.freeze(),
            origin: Origin {
                from: plain.ends.from(),
                to: Some(IpAddr::V4(plain.ends.dst)),
            },
            marks: plain.marks,
            again,
            more: false,
        });
    }
}

/// Reads the headers of a frame to `mac`, if they are those of a datagram
/// without anything unusual, lengths and checksums right.
#[inline]
fn parse(frame: &FrameBuf, meta: RxMeta, mac: [u8; 6]) -> Option<Plain> {
    let head = frame.first_chunk::<HEADERS>()?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    // IPv4 without options, whatever the type of service; not a fragment; UDP
    // with a checksum; from one station to us.
    let shape = !meta.continues
        && head[23] == PROTOCOL_UDP
        && word(12) & 0xffff_ff00 == 0x0800_4500
        && half(20) & 0x3fff == 0
        && half(40) != 0
        && head[6] & 1 == 0
        && head[..6] == mac;
    if !shape {
        return None;
    }
    let (total, udp_len) = (usize::from(half(16)), usize::from(half(38)));
    let ip = head.get(ETHERNET_HEADER..)?.first_chunk::<IPV4_HEADER>()?;
    if total != udp_len + IPV4_HEADER || !Sum::of_array(ip).is_valid() {
        return None;
    }
    let len = udp_len.checked_sub(UDP_HEADER)?;
    let udp = ETHERNET_HEADER + IPV4_HEADER;
    let datagram = frame.get(udp..udp + udp_len)?;
    if meta.checksum == RxChecksum::Unknown {
        let address = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let pseudo = Sum::pseudo_v4(address(26), address(30), PROTOCOL_UDP, half(38));
        if !(pseudo + Sum::of(datagram)).is_valid() {
            return None;
        }
    }
    Some(Plain {
        ends: Ends {
            src: Ipv4Addr::from_bits(word(26)),
            dst: Ipv4Addr::from_bits(word(30)),
            src_port: half(34),
        },
        dst_port: half(36),
        marks: [head[22], head[15]],
        len,
    })
}
