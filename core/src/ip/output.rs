//! The way out for packets of UDP, ICMP and TCP's control segments: route,
//! neighbour, headers, outbox.

use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU8;

use pollwire_rings::{FrameBuf, FrameRef, Gso, Instant, TxChecksum, TxMeta};
use zerocopy::big_endian::U16;

use super::IpFields;
use super::pmtu::MIN_V4;
use crate::iface::{Pending, Resolution};
use crate::wire::ethernet::ETHERTYPE_IPV4;
use crate::wire::ipv4::{DONT_FRAGMENT, PROTOCOL_ICMP, PROTOCOL_TCP};
use crate::wire::{ETHERNET_HEADER, EthernetHeader, IPV4_HEADER, Ipv4Header, MacAddr};
use crate::{Counter, DropReason, Stack};

const TTL: u8 = 64;
/// RFC 1112, 6.1: "If the upper-layer protocol chooses not to specify a
/// time-to-live, it should default to 1 for all multicast IP datagrams".
const TTL_MULTICAST: u8 = 1;

impl Stack {
    /// Sends a packet.
    ///
    /// `frame` begins with the transport header and has headroom for IP and
    /// Ethernet; `payload` follows it. Offsets in `meta` count from the start
    /// of `frame`. A packet for a neighbour whose Ethernet address is not known
    /// yet waits for it, and counts as sent.
    ///
    /// # Errors
    /// Why the packet was dropped; it has been counted.
    #[expect(clippy::too_many_arguments, reason = "one packet, part by part")]
    pub(crate) fn ip_send(
        &mut self,
        now: Instant,
        src: IpAddr,
        dst: IpAddr,
        fields: IpFields,
        frame: FrameBuf,
        payload: Option<FrameRef>,
        meta: TxMeta,
    ) -> Result<(), DropReason> {
        if let Some(own) = self.elsewhere(src) {
            return self.on(own, |stack| {
                stack.ip_send(now, src, dst, fields, frame, payload, meta)
            });
        }
        let packet = Pending {
            frame,
            payload,
            meta,
        };
        let sent = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4_send(now, src, dst, fields, packet),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6_send(now, src, dst, fields, packet),
            _ => Err(DropReason::NoRoute),
        };
        if let Err(reason) = sent {
            self.counters.drop(reason);
        }
        sent
    }

    fn ipv4_send(
        &mut self,
        now: Instant,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        fields: IpFields,
        mut packet: Pending,
    ) -> Result<(), DropReason> {
        let protocol = fields.protocol;
        let total =
            IPV4_HEADER + packet.frame.len() + packet.payload.as_ref().map_or(0, |p| p.len());
        let caps = self.iface.caps();
        let most = match packet.meta.gso {
            Some(_) => u16::try_from(caps.max_gso_bytes).unwrap_or(u16::MAX),
            None if protocol == PROTOCOL_TCP => caps.mtu,
            None => self.path_mtu(dst.into()),
        };
        let total_len = match u16::try_from(total) {
            Ok(total) if total <= most => total,
            // TCP cuts its data itself, to the size of the path.
            _ if protocol == PROTOCOL_TCP => return Err(DropReason::SendTooLong),
            _ => {
                let chain = [Some(packet.frame.freeze()), packet.payload];
                let (ends, len) = ((src, dst), total - IPV4_HEADER);
                let chain = chain.into_iter().flatten();
                return self.ipv4_send_fragments(now, ends, fields, most, len, chain);
            }
        };
        let mut header = header(fields, src, dst, total_len);
        // What no error could be believed about must not ask for one, and what
        // is as short as any path's least may be fragmented on its way.
        if protocol == PROTOCOL_ICMP || most <= MIN_V4 {
            header.flags_fragment = U16::ZERO;
            header.ident = U16::new((self.idents.next(src.into(), dst.into()) & 0xffff) as u16);
        }
        prepend(&mut packet, &header.to_bytes())?;
        self.counters.inc(Counter::Ipv4Out);
        self.send_via_next_hop(now, dst, packet)
    }

    pub(super) fn send_via_next_hop(
        &mut self,
        now: Instant,
        dst: Ipv4Addr,
        packet: Pending,
    ) -> Result<(), DropReason> {
        if self.is_looped(dst.into()) {
            return self.loop_back(packet);
        }
        if self.iface.is_broadcast(dst) {
            return self.link_send(MacAddr::BROADCAST, ETHERTYPE_IPV4, packet);
        }
        if dst.is_multicast() {
            return self.link_send_group(dst, packet);
        }
        let hop = self.iface.next_hop(dst).ok_or(DropReason::NoRoute)?;
        match self.neighbor_mac(now, hop) {
            Some(mac) => self.link_send(mac, ETHERTYPE_IPV4, packet),
            None => {
                self.wait_for(IpAddr::V4(hop), packet);
                Ok(())
            }
        }
    }

    /// The Ethernet address of a neighbour, which is asked for while it is not
    /// known.
    #[inline]
    pub(super) fn neighbor_mac(&mut self, now: Instant, neighbor: Ipv4Addr) -> Option<MacAddr> {
        match self.iface.neighbors.resolve(now, neighbor) {
            Resolution::Known(mac) => Some(mac),
            Resolution::Poll(mac) => {
                self.chores_changed();
                self.arp_ask(neighbor, mac);
                Some(mac)
            }
            Resolution::Ask(gone) => {
                self.chores_changed();
                if let Some(gone) = gone {
                    self.drop_pending(IpAddr::V4(gone), DropReason::NeighborCacheFull);
                }
                self.arp_ask(neighbor, MacAddr::BROADCAST);
                None
            }
            Resolution::Waiting => None,
        }
    }

    /// Sends a packet to the stations that listen to a group.
    pub(crate) fn link_send_group(
        &mut self,
        group: Ipv4Addr,
        packet: Pending,
    ) -> Result<(), DropReason> {
        self.link_send(MacAddr::of_multicast_v4(group), ETHERTYPE_IPV4, packet)
    }

    /// Keeps a packet until `neighbor` has answered. All of them together hold
    /// at most an eighth of the frames.
    pub(super) fn wait_for(&mut self, neighbor: IpAddr, packet: Pending) {
        let limit = self.pool.capacity() / 8;
        let gone = self.iface.pending.push(neighbor, packet, limit);
        if gone > 0 {
            let gone = gone as u64;
            self.counters.drop_many(DropReason::NeighborQueueFull, gone);
        }
    }

    /// Puts the Ethernet header before an IP packet, and it on its way.
    pub(crate) fn link_send(
        &mut self,
        to: MacAddr,
        ethertype: u16,
        mut packet: Pending,
    ) -> Result<(), DropReason> {
        let header = EthernetHeader::new(to, self.iface.mac(), ethertype);
        self.put_link_header(header, &mut packet)?;
        let Pending {
            frame,
            payload,
            meta,
        } = packet;
        self.outbox
            .push(frame.freeze(), payload, meta)
            .map_err(|_| DropReason::OutboxFull)
    }

    /// Sends a datagram whose bytes, `len` from the transport header on, lie in
    /// several frames; in fragments where the link carries no more at once. Its
    /// checksum must be complete.
    ///
    /// # Errors
    /// Why it was dropped; it has been counted.
    pub(crate) fn ip_send_chain(
        &mut self,
        now: Instant,
        src: IpAddr,
        dst: IpAddr,
        fields: IpFields,
        len: usize,
        chain: impl Iterator<Item = FrameRef>,
    ) -> Result<(), DropReason> {
        if let Some(own) = self.elsewhere(src) {
            return self.on(own, |stack| {
                stack.ip_send_chain(now, src, dst, fields, len, chain)
            });
        }
        self.chores_changed();
        let sent = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mtu = self.path_mtu(dst.into());
                self.ipv4_send_fragments(now, (src, dst), fields, mtu, len, chain)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.ipv6_send_fragments(now, (src, dst), fields, len, chain)
            }
            _ => Err(DropReason::NoRoute),
        };
        if let Err(reason) = sent {
            self.counters.drop(reason);
        }
        sent
    }

    /// The Ethernet header for packets to `dst`, valid as long as the
    /// interface's generation is the one returned with it; `None` while the
    /// neighbour is not resolved, on an interface in a VLAN (whoever keeps headers
    /// keeps plain ones), and for another interface than the one at hand.
    pub(crate) fn link_template(
        &mut self,
        now: Instant,
        src: IpAddr,
        dst: IpAddr,
    ) -> Option<([u8; ETHERNET_HEADER], u32)> {
        if self.vlan().is_some() || self.elsewhere(src).is_some() {
            return None;
        }
        self.link_header(now, src, dst)
    }

    /// The same, on every interface, the tag left out. Asks for nothing but a
    /// fresh word of a stale neighbour: [`ip_send`](Self::ip_send) does the
    /// asking.
    pub(crate) fn link_header(
        &mut self,
        now: Instant,
        src: IpAddr,
        dst: IpAddr,
    ) -> Option<([u8; ETHERNET_HEADER], u32)> {
        let dst = match (src, dst) {
            (IpAddr::V4(_), IpAddr::V4(dst)) => dst,
            (IpAddr::V6(_), IpAddr::V6(dst)) => return self.link_template_v6(now, dst),
            _ => return None,
        };
        if self.is_looped(IpAddr::V4(dst)) || self.iface.is_broadcast(dst) {
            return None;
        }
        let hop = self.iface.next_hop(dst)?;
        let mac = match self.iface.neighbors.lookup(now, hop, true)? {
            Resolution::Known(mac) => mac,
            Resolution::Poll(mac) => {
                self.chores_changed();
                self.arp_ask(hop, mac);
                mac
            }
            Resolution::Ask(_) | Resolution::Waiting => return None,
        };
        let header = EthernetHeader::new(mac, self.iface.mac(), ETHERTYPE_IPV4);
        Some((header.to_bytes(), self.iface.generation()))
    }
}

/// The IPv4 header of a packet of `total_len` bytes, its checksum left out.
pub(crate) fn header(fields: IpFields, src: Ipv4Addr, dst: Ipv4Addr, total_len: u16) -> Ipv4Header {
    let usual = if dst.is_multicast() {
        TTL_MULTICAST
    } else {
        TTL
    };
    Ipv4Header {
        version_ihl: Ipv4Header::VERSION_IHL_PLAIN,
        tos: fields.class,
        total_len: U16::new(total_len),
        // RFC 6864, 4.1: "Originating sources MAY set the IPv4 ID field of
        // atomic datagrams to any value."
        ident: U16::ZERO,
        flags_fragment: U16::new(DONT_FRAGMENT),
        ttl: fields.hop_limit.map_or(usual, NonZeroU8::get),
        protocol: fields.protocol,
        checksum: U16::ZERO,
        src: src.octets(),
        dst: dst.octets(),
    }
}

/// Puts `header` before a packet and moves the offsets in its meta data along.
pub(crate) fn prepend<const N: usize>(
    packet: &mut Pending,
    header: &[u8; N],
) -> Result<(), DropReason> {
    let room = packet
        .frame
        .push_front(N)
        .ok_or(DropReason::SendNoHeadroom)?;
    room.copy_from_slice(header);
    let moved = u16::try_from(N).unwrap_or(0);
    if let TxChecksum::Partial { start, offset } = packet.meta.checksum {
        let start = start.saturating_add(moved);
        packet.meta.checksum = TxChecksum::Partial { start, offset };
    }
    if let Some(gso) = packet.meta.gso {
        let header_len = gso.header_len.saturating_add(moved);
        packet.meta.gso = Some(Gso { header_len, ..gso });
    }
    Ok(())
}
