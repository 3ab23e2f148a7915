//! A stack under test and, byte by byte, the only neighbour that it has.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, FrameBuf, HEADROOM, Instant, RxBurst, RxMeta, TxBurst, TxMeta};
use zerocopy::IntoBytes;

use crate::iface::Ipv4Cidr;
use crate::wire::ipv4::{PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::wire::{ArpOperation, ArpRepr, Icmpv4Header, Ipv4Header, MacAddr, UdpHeader};
use crate::{Config, Counter, DropReason, Stack};

pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The peer's endpoint with `port`.
pub(crate) fn peer(port: u16) -> SocketAddr {
    (PEER, port).into()
}

/// A packet that the stack sent.
pub(crate) struct Sent {
    /// From the IP header on.
    pub(crate) ip: Vec<u8>,
    pub(crate) pieces: usize,
    pub(crate) meta: TxMeta,
}

impl Sent {
    pub(crate) fn protocol(&self) -> u8 {
        self.ip[9]
    }

    pub(crate) fn source(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.ip[12], self.ip[13], self.ip[14], self.ip[15])
    }

    /// What the packet carries.
    pub(crate) fn body(&self) -> &[u8] {
        &self.ip[20..]
    }
}

/// The stack, its time, and what it has sent.
pub(crate) struct Peer {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    /// Headroom of the frames that the device receives into.
    pub(crate) rx_headroom: usize,
}

impl Peer {
    /// A stack on a plain device that knows its neighbour.
    pub(crate) fn new() -> Self {
        Self::with::<64>(Caps::plain(OWN_MAC, 1500))
    }

    /// The same with more frames than 64.
    pub(crate) fn with_frames<const FRAMES: usize>() -> Self {
        Self::with::<FRAMES>(Caps::plain(OWN_MAC, 1500))
    }

    /// The same on a device that completes checksums.
    pub(crate) fn with_tx_checksum() -> Self {
        let mut caps = Caps::plain(OWN_MAC, 1500);
        caps.tx_checksum = true;
        Self::with::<64>(caps)
    }

    fn with<const FRAMES: usize>(caps: Caps) -> Self {
        let address = Ipv4Cidr::new(OWN, 24).expect("a prefix");
        let mut config = Config::new(address, [7; 32]);
        let second = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 3), 24).expect("a prefix");
        config.ipv4.push(second);
        let stack = Stack::on_heap::<FRAMES, 16, 2048>(&config, caps);
        let mut peer = Self {
            stack,
            now: Instant::from_secs(60),
            rx_headroom: HEADROOM,
        };
        // Past the announcements of boot; then the neighbour makes itself known.
        peer.advance(Duration::from_secs(10));
        let ask = ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: MacAddr(PEER_MAC),
            sender_ip: PEER,
            target_mac: MacAddr::ZERO,
            target_ip: OWN,
        };
        peer.give_ethernet([0xff; 6], 0x0806, &ask.emit(), RxMeta::default());
        peer.take();
        peer
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.stack.set_now(self.now);
        self.stack.expire(self.now);
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.stack.counters().get(counter)
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.stack.counters().dropped(reason)
    }

    /// A frame of the stack's pool.
    pub(crate) fn frame(&self, payload: &[u8]) -> FrameBuf {
        let mut frame = self.stack.pool().alloc().expect("a frame is free");
        assert_eq!(frame.extend_from_slice(payload), payload.len());
        frame
    }

    fn give_ethernet(&mut self, to: [u8; 6], ethertype: u16, payload: &[u8], meta: RxMeta) {
        let mut frame = self.frame(b"");
        frame.reset(self.rx_headroom);
        frame.extend_from_slice(&to);
        frame.extend_from_slice(&PEER_MAC);
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(payload);
        let mut burst = RxBurst::new();
        burst.push(frame, meta).expect("an empty burst");
        self.stack.input(self.now, &mut burst);
    }

    /// Gives the stack an IPv4 packet with `options` in its header.
    pub(crate) fn give_with_options(
        &mut self,
        dst: Ipv4Addr,
        protocol: u8,
        options: &[u8],
        body: &[u8],
        meta: RxMeta,
    ) {
        self.give_packet(
            (0x1234, 0x4000),
            (0, 64),
            dst,
            protocol,
            options,
            body,
            meta,
        );
    }

    /// Gives the stack a UDP datagram with this type of service and time to
    /// live.
    pub(crate) fn give_marked(
        &mut self,
        marks: (u8, u8),
        dst: Ipv4Addr,
        protocol: u8,
        from: u16,
        to: u16,
    ) {
        let body = datagram(PEER, dst, from, to, b"data");
        let meta = RxMeta::default();
        self.give_packet((0x1234, 0x4000), marks, dst, protocol, &[], &body, meta);
    }

    /// As [`give_fragment`](Self::give_fragment), of a UDP datagram, with such
    /// marks.
    pub(crate) fn give_marked_fragment(
        &mut self,
        marks: (u8, u8),
        dst: Ipv4Addr,
        ident: u16,
        flags: u16,
        body: &[u8],
    ) {
        let meta = RxMeta::default();
        self.give_packet((ident, flags), marks, dst, PROTOCOL_UDP, &[], body, meta);
    }

    /// Gives the stack an IPv4 fragment: identification, flags and offset.
    pub(crate) fn give_fragment(
        &mut self,
        dst: Ipv4Addr,
        protocol: u8,
        ident: u16,
        flags: u16,
        body: &[u8],
    ) {
        let meta = RxMeta::default();
        self.give_packet((ident, flags), (0, 64), dst, protocol, &[], body, meta);
    }

    /// Gives the stack a datagram in fragments of `size` bytes, in order.
    pub(crate) fn give_fragments(
        &mut self,
        dst: Ipv4Addr,
        protocol: u8,
        ident: u16,
        datagram: &[u8],
        size: usize,
    ) {
        for (at, part) in datagram.chunks(size).enumerate() {
            let units = u16::try_from(at * size / 8).expect("short");
            let more = u16::from((at + 1) * size < datagram.len()) << 13;
            self.give_fragment(dst, protocol, ident, units | more, part);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one header, field by field")]
    fn give_packet(
        &mut self,
        (ident, flags): (u16, u16),
        (tos, ttl): (u8, u8),
        dst: Ipv4Addr,
        protocol: u8,
        options: &[u8],
        body: &[u8],
        meta: RxMeta,
    ) {
        assert_eq!(options.len() % 4, 0);
        let total = 20 + options.len() + body.len();
        let header = Ipv4Header {
            version_ihl: 0x45 + u8::try_from(options.len() / 4).expect("fits"),
            tos,
            total_len: u16::try_from(total).expect("fits").into(),
            ident: ident.into(),
            flags_fragment: flags.into(),
            ttl,
            protocol,
            checksum: 0.into(),
            src: PEER.octets(),
            dst: dst.octets(),
        };
        let check = Sum::of(header.as_bytes()).add_bytes(options).finish();
        let header = Ipv4Header {
            checksum: check.into(),
            ..header
        };
        let packet = [header.as_bytes(), options, body].concat();
        let group = dst == BROADCAST || dst.is_broadcast() || dst.is_multicast();
        let to = if group { [0xff; 6] } else { OWN_MAC };
        self.give_ethernet(to, 0x0800, &packet, meta);
    }

    /// Gives the stack an IPv4 packet.
    pub(crate) fn give(&mut self, dst: Ipv4Addr, protocol: u8, body: &[u8]) {
        self.give_with_options(dst, protocol, &[], body, RxMeta::default());
    }

    /// Gives the stack a UDP datagram.
    pub(crate) fn give_udp(&mut self, dst: Ipv4Addr, from: u16, to: u16, payload: &[u8]) {
        self.give(dst, PROTOCOL_UDP, &datagram(PEER, dst, from, to, payload));
    }

    /// Gives the stack an ICMP message.
    pub(crate) fn give_icmp(
        &mut self,
        dst: Ipv4Addr,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        data: &[u8],
    ) {
        self.give(dst, PROTOCOL_ICMP, &icmp_message(kind, code, rest, data));
    }

    /// The IPv4 packets that the stack wants sent.
    pub(crate) fn take(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let mut tx = TxBurst::new();
            let more = self.stack.output(self.now, &mut tx);
            for packet in tx.iter() {
                let bytes: Vec<u8> = packet
                    .pieces
                    .iter()
                    .flat_map(|piece| piece.iter().copied())
                    .collect();
                if bytes[12..14] == [8, 0] {
                    assert_eq!(bytes[..6], PEER_MAC, "sent to the neighbour");
                    assert!(Sum::of(&bytes[14..34]).is_valid());
                    let pieces = packet.pieces.len();
                    sent.push(Sent {
                        ip: bytes[14..].to_vec(),
                        pieces,
                        meta: packet.meta,
                    });
                }
            }
            if !more {
                return sent;
            }
        }
    }

    /// The one packet that the stack wants sent.
    pub(crate) fn take_one(&mut self) -> Sent {
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "packets sent");
        sent.remove(0)
    }

    /// Every frame is home.
    pub(crate) fn finish(mut self) {
        self.take();
        let pool = self.stack.pool();
        assert_eq!(pool.available(), pool.capacity(), "frames leaked");
    }
}

/// The bytes of a datagram.
pub(crate) fn datagram(
    src: Ipv4Addr,
    dst: Ipv4Addr,
    from: u16,
    to: u16,
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("fits");
    let header = UdpHeader {
        src_port: from.into(),
        dst_port: to.into(),
        len: len.into(),
        checksum: 0.into(),
    };
    let check = Sum::pseudo_v4(src.octets(), dst.octets(), PROTOCOL_UDP, len)
        .add_bytes(header.as_bytes())
        .add_bytes(payload)
        .finish_nonzero();
    let header = UdpHeader {
        checksum: check.into(),
        ..header
    };
    [header.as_bytes(), payload].concat()
}

/// The bytes of an ICMP message.
pub(crate) fn icmp_message(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let header = Icmpv4Header {
        kind,
        code,
        checksum: 0.into(),
        rest,
    };
    let check = Sum::of(header.as_bytes()).add_bytes(data).finish();
    let header = Icmpv4Header {
        checksum: check.into(),
        ..header
    };
    [header.as_bytes(), data].concat()
}
