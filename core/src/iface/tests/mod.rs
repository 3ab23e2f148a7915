//! The interface in virtual time: a host with one address, and a link on which
//! the test plays everybody else.

mod address;
mod arp;
mod flood;
mod neighbors;

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::vec::Vec;

use pollwire_rings::{Caps, FrameBuf, Instant, RxBurst, RxMeta, TxBurst, TxMeta};

use crate::ip::IpFields;
use crate::wire::ethernet::ETHERTYPE_ARP;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::{ArpOperation, ArpRepr, EthernetHeader, MacAddr};
use crate::{Config, Counter, DropReason, Stack};

pub(crate) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// Frames of the host's pool.
pub(crate) const FRAMES: usize = 64;

/// A neighbour's address in our subnet.
pub(crate) fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

/// The Ethernet address that the neighbour has.
pub(crate) fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, host])
}

/// A stack and its link.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
}

impl Host {
    /// A host at 10.0.0.1/16 with a gateway, its announcements made and gone.
    pub(crate) fn new() -> Self {
        let config = Config::new("10.0.0.1/16".parse().unwrap(), [7; 32]).with_gateway(GATEWAY);
        let mut host = Self::at_boot(&config);
        for _ in 0..3 {
            host.advance(Duration::from_secs(2));
        }
        host.sent();
        host
    }

    /// A host that has not run yet.
    pub(crate) fn at_boot(config: &Config) -> Self {
        let stack = Stack::on_heap::<FRAMES, 16, 2048>(config, Caps::plain(OUR_MAC.0, 1500));
        Self {
            stack,
            now: Instant::from_secs(100),
        }
    }

    /// Lets time pass, and what is due happen.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.stack.expire(self.now);
    }

    /// A frame arrives.
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        let mut frame = self.stack.pool().alloc().unwrap();
        assert_eq!(frame.extend_from_slice(bytes), bytes.len());
        let mut burst = RxBurst::new();
        burst.push(frame, RxMeta::default()).unwrap();
        self.stack.input(self.now, &mut burst);
    }

    /// An ARP message arrives in a frame to `to`.
    pub(crate) fn inject_arp(&mut self, to: MacAddr, message: &ArpRepr) {
        self.inject(&arp_frame(to, message));
    }

    /// Neighbour `host` answers us.
    pub(crate) fn answer(&mut self, host: u8) {
        self.inject_arp(OUR_MAC, &reply(host));
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
    pub(crate) fn send(&mut self, to: Ipv4Addr, tag: u8) -> Result<(), DropReason> {
        let frame = self.packet(tag);
        self.send_frame(to, frame, TxMeta::default())
    }

    pub(crate) fn send_frame(
        &mut self,
        to: Ipv4Addr,
        frame: FrameBuf,
        meta: TxMeta,
    ) -> Result<(), DropReason> {
        let (src, dst) = (IpAddr::V4(OUR_IP), IpAddr::V4(to));
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
    pub(crate) fn template(&mut self, to: Ipv4Addr) -> Option<([u8; 14], u32)> {
        self.stack
            .link_template(self.now, IpAddr::V4(OUR_IP), IpAddr::V4(to))
    }

    /// What the host sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut tx = TxBurst::new();
        loop {
            let more = self.stack.output(self.now, &mut tx);
            for packet in tx.iter() {
                let bytes = packet
                    .pieces
                    .iter()
                    .flat_map(|piece| piece.to_vec())
                    .collect();
                sent.push(Sent {
                    bytes,
                    meta: packet.meta,
                });
            }
            tx.consume(usize::MAX);
            if !more {
                return sent;
            }
        }
    }

    /// The ARP messages among what it sent.
    pub(crate) fn sent_arp(&mut self) -> Vec<(MacAddr, ArpRepr)> {
        self.sent().iter().filter_map(Sent::arp).collect()
    }

    /// The tags of the packets among what it sent to `to`.
    pub(crate) fn sent_tags(&mut self, to: MacAddr) -> Vec<u8> {
        let to_it = |sent: &&Sent| sent.bytes[..6] == to.0 && sent.arp().is_none();
        self.sent()
            .iter()
            .filter(to_it)
            .map(|sent| sent.bytes[34])
            .collect()
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

/// A frame that the host sent.
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) meta: TxMeta,
}

impl Sent {
    /// Where it goes and the message, when it is ARP.
    pub(crate) fn arp(&self) -> Option<(MacAddr, ArpRepr)> {
        if self.bytes[12..14] != ETHERTYPE_ARP.to_be_bytes() {
            return None;
        }
        let to = MacAddr(*self.bytes.first_chunk().unwrap());
        assert_eq!(self.bytes[6..12], OUR_MAC.0, "source");
        Some((to, ArpRepr::parse(&self.bytes[14..]).unwrap()))
    }
}

pub(crate) fn arp_frame(to: MacAddr, message: &ArpRepr) -> Vec<u8> {
    let mut bytes = EthernetHeader::new(to, message.sender_mac, ETHERTYPE_ARP)
        .to_bytes()
        .to_vec();
    bytes.extend(message.emit());
    // Ethernet's minimum.
    bytes.resize(60, 0);
    bytes
}

/// Neighbour `host` asks who has `target`.
pub(crate) fn request(host: u8, target: Ipv4Addr) -> ArpRepr {
    ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: mac(host),
        sender_ip: ip(host),
        target_mac: MacAddr::ZERO,
        target_ip: target,
    }
}

/// Neighbour `host` tells us its Ethernet address.
pub(crate) fn reply(host: u8) -> ArpRepr {
    ArpRepr {
        operation: ArpOperation::Reply,
        sender_mac: mac(host),
        sender_ip: ip(host),
        target_mac: OUR_MAC,
        target_ip: OUR_IP,
    }
}

/// Our own question about `target`.
pub(crate) fn our_request(target: Ipv4Addr) -> ArpRepr {
    ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: OUR_MAC,
        sender_ip: OUR_IP,
        target_mac: MacAddr::ZERO,
        target_ip: target,
    }
}
