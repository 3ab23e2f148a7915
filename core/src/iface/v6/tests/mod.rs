//! IPv6 in virtual time: a host, and a link on which the test plays everybody
//! else.

mod dad;
mod groups;
mod ndp;
mod router;
mod slaac;

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, FrameBuf, Instant, RxBurst, RxMeta, TxBurst, TxMeta};

use super::neighbor::Neighbors;
use crate::ip::IpFields;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::ipv6::{PROTOCOL_ICMPV6, solicited_node};
use crate::wire::{EthernetHeader, MacAddr};
use crate::{Config, Counter, DropReason, InterfaceIds, NetEvent, Stack};

pub(crate) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// What the Ethernet address makes of the link-local prefix.
pub(crate) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
pub(crate) const OUR_IP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
/// Off the link.
pub(crate) const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfa5, 0, 0, 0, 0, 9);
/// Frames of the host's pool.
pub(crate) const FRAMES: usize = 64;

/// A neighbour's address in our subnet.
pub(crate) fn ip(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, host.into())
}

/// A router's link-local address.
pub(crate) fn router(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, host.into())
}

/// The Ethernet address that the neighbour has.
pub(crate) fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, host])
}

/// Static address, no duplicate address detection.
pub(crate) fn config() -> Config {
    let mut config = Config::new("10.0.0.1/24".parse().unwrap(), [7; 32])
        .with_ipv6("2001:db8::1/64".parse().unwrap())
        .with_ipv6_gateway(GATEWAY);
    let v6 = config.ipv6.as_mut().unwrap();
    v6.identifiers = InterfaceIds::Eui64;
    v6.dad_transmits = 0;
    config
}

/// An IPv6 packet in a frame.
pub(crate) struct Packet {
    /// Version, traffic class, flow label.
    pub(crate) first: u32,
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) src: Ipv6Addr,
    pub(crate) dst: Ipv6Addr,
    pub(crate) next: u8,
    pub(crate) hops: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// From neighbour 9 to us.
    pub(crate) fn new(next: u8, body: &[u8]) -> Self {
        Self {
            first: 0x6000_0000,
            to: OUR_MAC,
            from: mac(9),
            src: ip(9),
            dst: OUR_IP,
            next,
            hops: 64,
            body: body.to_vec(),
        }
    }

    /// An ICMPv6 message from neighbour 9 to us; its checksum is made good.
    pub(crate) fn icmp(message: &[u8]) -> Self {
        Self {
            hops: 255,
            ..Self::new(PROTOCOL_ICMPV6, message)
        }
    }

    pub(crate) fn src(self, src: Ipv6Addr) -> Self {
        Self { src, ..self }
    }

    pub(crate) fn dst(self, dst: Ipv6Addr) -> Self {
        let to = if dst.is_multicast() {
            MacAddr::of_multicast_v6(dst)
        } else {
            OUR_MAC
        };
        Self { dst, to, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = self.body.clone();
        if self.next == PROTOCOL_ICMPV6 && body.len() >= 4 {
            body[2..4].fill(0);
            let check = self.pseudo(body.len()).add_bytes(&body).finish();
            body[2..4].copy_from_slice(&check.to_be_bytes());
        }
        let mut bytes = EthernetHeader::new(self.to, self.from, 0x86dd)
            .to_bytes()
            .to_vec();
        bytes.extend(self.first.to_be_bytes());
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend([self.next, self.hops]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(body);
        bytes
    }

    pub(crate) fn pseudo(&self, len: usize) -> Sum {
        let len = u32::try_from(len).unwrap();
        Sum::pseudo_v6(self.src.octets(), self.dst.octets(), self.next, len)
    }

    /// What a frame holds.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(12..14) != Some(&[0x86, 0xdd]) {
            return None;
        }
        assert_eq!(bytes[14] >> 4, 6);
        let len = usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
        assert_eq!(bytes.len(), 54 + len, "payload length");
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap());
        let packet = Self {
            first: u32::from_be_bytes(bytes[14..18].try_into().unwrap()),
            to: MacAddr(bytes[..6].try_into().unwrap()),
            from: MacAddr(bytes[6..12].try_into().unwrap()),
            src: address(22),
            dst: address(38),
            next: bytes[20],
            hops: bytes[21],
            body: bytes[54..].to_vec(),
        };
        if packet.next == PROTOCOL_ICMPV6 {
            let sum = packet.pseudo(len).add_bytes(&packet.body);
            assert!(sum.is_valid(), "checksum");
        }
        if packet.dst.is_multicast() {
            assert_eq!(packet.to, MacAddr::of_multicast_v6(packet.dst));
        }
        Some(packet)
    }
}

/// A neighbour solicitation's bytes.
pub(crate) fn solicitation(target: Ipv6Addr, source: Option<MacAddr>) -> Vec<u8> {
    let (bytes, len) = crate::wire::ndp::emit_solicitation(target, source);
    bytes[..len].to_vec()
}

/// Flags of [`advertisement`].
pub(crate) const SOLICITED: u8 = 0x40;
pub(crate) const OVERRIDE: u8 = 0x20;

/// A neighbour advertisement's bytes.
pub(crate) fn advertisement(flags: u8, target: Ipv6Addr, mac: Option<MacAddr>) -> Vec<u8> {
    let mut bytes = vec![136, 0, 0, 0, flags, 0, 0, 0];
    bytes.extend(target.octets());
    if let Some(mac) = mac {
        bytes.extend([2, 1]);
        bytes.extend(mac.0);
    }
    bytes
}

/// A stack and its link.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    log: Vec<Packet>,
}

impl Host {
    /// A host at 2001:db8::1/64 with a gateway, its first messages gone.
    pub(crate) fn new() -> Self {
        let mut host = Self::at_boot(&config());
        for _ in 0..3 {
            host.advance(2000);
        }
        host.sent();
        while host.stack.next_event().is_some() {}
        host
    }

    /// A host that has not run yet.
    pub(crate) fn at_boot(config: &Config) -> Self {
        Self {
            stack: Stack::on_heap::<FRAMES, 16, 2048>(config, Caps::plain(OUR_MAC.0, 1500)),
            now: Instant::from_secs(100),
            log: Vec::new(),
        }
    }

    /// Lets milliseconds pass, and what is due happen, each at its time.
    pub(crate) fn advance(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        for _ in 0..10_000 {
            self.collect();
            let Some(due) = self.stack.deadline().filter(|&due| due <= end) else {
                self.now = end;
                self.stack.expire(end);
                return;
            };
            self.now = self.now.max(due);
            self.stack.expire(self.now);
        }
        panic!("deadlines without end");
    }

    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        let mut frame = self.stack.pool().alloc().unwrap();
        assert_eq!(frame.extend_from_slice(bytes), bytes.len());
        let mut burst = RxBurst::new();
        burst.push(frame, RxMeta::default()).unwrap();
        self.stack.input(self.now, &mut burst);
    }

    pub(crate) fn give(&mut self, packet: Packet) {
        self.inject(&packet.bytes());
    }

    /// The packet is dropped, for that reason and no other, and unanswered.
    #[track_caller]
    pub(crate) fn refuses(&mut self, packet: Packet, reason: DropReason) {
        let before = self.stack.counters().clone();
        self.give(packet);
        let now = self.stack.counters();
        let changed: Vec<DropReason> = now
            .drops()
            .filter(|&(reason, count)| count != before.dropped(reason))
            .map(|(reason, _)| reason)
            .collect();
        assert_eq!(changed, [reason]);
    }

    /// Neighbour `host` answers a solicitation of ours.
    pub(crate) fn answer(&mut self, host: u8) {
        let flags = SOLICITED | OVERRIDE;
        let message = advertisement(flags, ip(host), Some(mac(host)));
        self.give(Packet::icmp(&message).src(ip(host)));
    }

    /// Makes neighbour `host` known and verified.
    pub(crate) fn meet(&mut self, host: u8) {
        self.send(ip(host), host).unwrap();
        self.answer(host);
        self.sent();
    }

    /// A packet of the transport's, eight bytes of `tag`.
    pub(crate) fn packet(&self, tag: u8) -> FrameBuf {
        let mut frame = self.stack.pool().alloc().unwrap();
        frame.extend_from_slice(&[tag; 8]);
        frame
    }

    /// Sends such a packet.
    pub(crate) fn send(&mut self, to: Ipv6Addr, tag: u8) -> Result<(), DropReason> {
        let frame = self.packet(tag);
        let (src, dst) = (IpAddr::V6(OUR_IP), IpAddr::V6(to));
        let meta = TxMeta::default();
        self.stack.ip_send(
            self.now,
            src,
            dst,
            IpFields::of(PROTOCOL_UDP),
            frame,
            None,
            meta,
        )
    }

    /// The Ethernet header for packets to `to`, if there is one.
    pub(crate) fn template(&mut self, to: Ipv6Addr) -> Option<([u8; 14], u32)> {
        self.stack
            .link_template(self.now, IpAddr::V6(OUR_IP), IpAddr::V6(to))
    }

    /// What the host sent since the last call, IPv6 only.
    pub(crate) fn sent(&mut self) -> Vec<Packet> {
        self.collect();
        core::mem::take(&mut self.log)
    }

    fn collect(&mut self) {
        let mut tx = TxBurst::new();
        loop {
            let more = self.stack.output(self.now, &mut tx);
            for packet in tx.iter() {
                let bytes: Vec<u8> = packet
                    .pieces
                    .iter()
                    .flat_map(|piece| piece.to_vec())
                    .collect();
                self.log.extend(Packet::parse(&bytes));
            }
            tx.consume(usize::MAX);
            if !more {
                return;
            }
        }
    }

    /// The ICMPv6 messages of one type among what it sent.
    pub(crate) fn sent_icmp(&mut self, kind: u8) -> Vec<Packet> {
        let mut sent = self.sent();
        sent.retain(|packet| packet.next == PROTOCOL_ICMPV6 && packet.body[0] == kind);
        sent
    }

    /// Where it sent solicitations, and for whom.
    pub(crate) fn asked(&mut self) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        let sent = self.sent_icmp(135);
        sent.iter()
            .map(|packet| {
                assert_eq!(packet.hops, 255);
                let target = <[u8; 16]>::try_from(&packet.body[8..24]).unwrap();
                (packet.dst, target.into())
            })
            .collect()
    }

    /// The tags of the packets among what it sent to `to`.
    pub(crate) fn sent_tags(&mut self, to: MacAddr) -> Vec<u8> {
        let sent = self.sent();
        sent.iter()
            .filter(|packet| packet.to == to && packet.next == PROTOCOL_UDP)
            .map(|packet| packet.body[0])
            .collect()
    }

    pub(crate) fn neighbors(&self) -> &Neighbors {
        &self.stack.iface.v6.neighbors
    }

    pub(crate) fn events(&mut self) -> Vec<NetEvent> {
        core::iter::from_fn(|| self.stack.next_event()).collect()
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.stack.counters().get(counter)
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.stack.counters().dropped(reason)
    }

    /// Ends a test: every frame is home.
    pub(crate) fn finish(mut self) {
        self.sent();
        assert_eq!(self.stack.pool().available(), FRAMES, "frames are missing");
    }
}

/// Where neighbours are asked for `address`, and for whom.
pub(crate) fn question(address: Ipv6Addr) -> (Ipv6Addr, Ipv6Addr) {
    (solicited_node(address), address)
}
