//! The way out for IPv6 packets of UDP, ICMPv6 and TCP's control segments.

use core::net::{IpAddr, Ipv6Addr};
use core::num::NonZeroU8;

use pollwire_rings::Instant;
use zerocopy::big_endian::{U16, U32};

use super::IpFields;
use super::output::prepend;
use crate::iface::{Pending, ResolutionV6};
use crate::wire::ethernet::ETHERTYPE_IPV6;
use crate::wire::ipv4::PROTOCOL_TCP;
use crate::wire::{ETHERNET_HEADER, EthernetHeader, IPV6_HEADER, Ipv6Header, MacAddr};
use crate::{Counter, DropReason, Stack};

/// RFC 3493, 5.2: multicast goes no further than the link unless asked.
const HOPS_MULTICAST: u8 = 1;

impl Stack {
    /// The same with the hop limit of packets to `dst` whose sender does not
    /// care, if it does not.
    pub(crate) fn with_hop_limit(&self, fields: IpFields, dst: Ipv6Addr) -> IpFields {
        match fields.hop_limit {
            Some(_) => fields,
            None if dst.is_multicast() => fields.hops(HOPS_MULTICAST),
            None => fields.hops(self.iface.v6.hop_limit),
        }
    }

    /// Sends a packet, which begins with the header that `fields` names.
    pub(crate) fn ipv6_send(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        fields: IpFields,
        mut packet: Pending,
    ) -> Result<(), DropReason> {
        self.chores_changed();
        let len = packet.frame.len() + packet.payload.as_ref().map_or(0, |rest| rest.len());
        let most = match packet.meta.gso {
            Some(_) => self.iface.caps().max_gso_bytes as usize,
            None => usize::from(self.path_mtu(dst.into())),
        };
        let payload_len = match u16::try_from(len) {
            Ok(payload_len) if len + IPV6_HEADER <= most => payload_len,
            // TCP cuts its data itself, to the size of the path.
            _ if fields.protocol == PROTOCOL_TCP => return Err(DropReason::SendTooLong),
            _ => {
                let chain = [Some(packet.frame.freeze()), packet.payload];
                let chain = chain.into_iter().flatten();
                return self.ipv6_send_fragments(now, (src, dst), fields, len, chain);
            }
        };
        let fields = self.with_hop_limit(fields, dst);
        let header = header(fields, src, dst, payload_len);
        prepend(&mut packet, &header.to_bytes())?;
        self.counters.inc(Counter::Ipv6Out);
        self.send_via_next_hop_v6(now, dst, packet)
    }

    pub(super) fn send_via_next_hop_v6(
        &mut self,
        now: Instant,
        dst: Ipv6Addr,
        packet: Pending,
    ) -> Result<(), DropReason> {
        if self.is_looped(dst.into()) {
            return self.loop_back(packet);
        }
        if dst.is_multicast() {
            let group = MacAddr::of_multicast_v6(dst);
            return self.link_send(group, ETHERTYPE_IPV6, packet);
        }
        let hop = self.iface.v6.next_hop(dst).ok_or(DropReason::NoRoute)?;
        match self.resolve_v6(now, hop) {
            ResolutionV6::Known(mac) => self.link_send(mac, ETHERTYPE_IPV6, packet),
            ResolutionV6::Ask(_) | ResolutionV6::Waiting => {
                self.wait_for(IpAddr::V6(hop), packet);
                Ok(())
            }
        }
    }

    /// As [`link_template`](Self::link_template), for IPv6.
    pub(super) fn link_template_v6(
        &mut self,
        now: Instant,
        dst: Ipv6Addr,
    ) -> Option<([u8; ETHERNET_HEADER], u32)> {
        self.chores_changed();
        if self.is_looped(dst.into()) || dst.is_multicast() {
            return None;
        }
        let hop = self.iface.v6.next_hop(dst)?;
        let mac = self.iface.v6.neighbors.lookup(now, hop, true)?;
        let header = EthernetHeader::new(mac, self.iface.mac(), ETHERTYPE_IPV6);
        Some((header.to_bytes(), self.iface.generation()))
    }
}

/// The IPv6 header of a packet with `payload_len` bytes behind it; `fields` has
/// a hop limit.
pub(crate) fn header(
    fields: IpFields,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    payload_len: u16,
) -> Ipv6Header {
    Ipv6Header {
        version_class_flow: U32::new(
            Ipv6Header::VERSION | u32::from(fields.class) << 20 | fields.flow_label,
        ),
        payload_len: U16::new(payload_len),
        next_header: fields.protocol,
        hop_limit: fields.hop_limit.map_or(0, NonZeroU8::get),
        src: src.octets(),
        dst: dst.octets(),
    }
}
