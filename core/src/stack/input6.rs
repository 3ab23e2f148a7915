//! IPv6 arrives (RFC 8200): the fixed header, addresses, extension headers, and
//! on to the protocols.

use core::net::{IpAddr, Ipv6Addr};

use pollwire_rings::{FrameBuf, Instant, RxMeta};
use zerocopy::FromBytes;

use super::{IpMeta, Stack};
use crate::ip::Icmpv6Error;
use crate::wire::icmpv6::{REDIRECT, ROUTER_SOLICITATION};
use crate::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::ipv6::{
    BadExtension, Extensions, PROTOCOL_ICMPV6, UNRECOGNIZED_NEXT_HEADER, walk_extensions,
};
use crate::wire::{ETHERNET_HEADER, IPV6_HEADER, Ipv6Header, UnicastV6};
use crate::{Counter, DropReason};

impl Stack {
    /// Takes an IPv6 packet. `frame` begins with its Ethernet header; `group`
    /// says that that names several stations.
    #[inline(never)]
    pub(super) fn on_ipv6(
        &mut self,
        now: Instant,
        mut frame: FrameBuf,
        meta: RxMeta,
        group: bool,
    ) -> Result<(), DropReason> {
        if !self.iface.v6.is_enabled() {
            return Err(DropReason::EthernetUnknownType);
        }
        frame.trim_front(ETHERNET_HEADER);
        let (header, _) =
            Ipv6Header::read_from_prefix(&frame).map_err(|_| DropReason::Ipv6TooShort)?;
        if header.version() != 6 {
            return Err(DropReason::Ipv6BadVersion);
        }
        let total = IPV6_HEADER + usize::from(header.payload_len.get());
        self.trim_to(&mut frame, total, IPV6_HEADER)
            .map_err(|_| DropReason::Ipv6BadLength)?;
        let (src, dst) = (header.source(), header.destination());
        let broadcast = self.check_addresses_v6(src, dst, group)?;
        self.on_checked_ipv6(now, &header, broadcast, frame, meta)
    }

    /// Takes a packet whose addresses are right. `frame` begins with its
    /// header.
    #[inline]
    pub(super) fn on_checked_ipv6(
        &mut self,
        now: Instant,
        header: &Ipv6Header,
        broadcast: bool,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let ip = IpMeta {
            src: IpAddr::V6(header.source()),
            dst: IpAddr::V6(header.destination()),
            ttl: header.hop_limit,
            header_len: 40,
            class: header.traffic_class(),
            broadcast,
        };
        let plain = matches!(
            header.next_header,
            PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_ICMPV6
        );
        let found = if plain {
            Extensions {
                next_header: header.next_header,
                at: IPV6_HEADER,
                announced_at: Ipv6Header::NEXT_HEADER_AT,
                fragment: None,
                fragmented: false,
                router_alert: false,
            }
        } else {
            let (next, first) = (header.next_header, Ipv6Header::NEXT_HEADER_AT);
            match walk_extensions(&frame, next, IPV6_HEADER, first) {
                Ok(found) => found,
                Err(refused) => return Err(self.refuse_extension(now, &ip, &refused, frame)),
            }
        };
        self.counters.inc(Counter::Ipv6In);
        let Some(fragment) = found.fragment else {
            return self.deliver_v6(now, ip, &found, frame, meta);
        };
        match self.on_ipv6_fragment(now, &ip, &fragment, frame)? {
            // What a device says of a fragment is not about the datagram.
            Some((ip, mut found, frame)) => {
                found.fragmented = true;
                self.deliver_v6(now, ip, &found, frame, RxMeta::default())
            }
            None => Ok(()),
        }
    }

    /// Hands a whole datagram to its protocol. `frame` begins with the IPv6
    /// header.
    fn deliver_v6(
        &mut self,
        now: Instant,
        mut ip: IpMeta,
        found: &Extensions,
        mut frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        // RFC 4291, 2.5.2: the unspecified address is a source only of those who
        // have none yet, and they speak ICMPv6.
        if ip.src.is_unspecified() && found.next_header != PROTOCOL_ICMPV6 {
            return Err(DropReason::Ipv6BadSource);
        }
        // Within the limits of extension headers.
        ip.header_len = u8::try_from(found.at).unwrap_or(u8::MAX);
        frame.trim_front(found.at);
        // RFC 6980, 5: "Nodes MUST silently ignore" neighbour discovery in
        // fragments.
        if found.fragmented && frame.first().is_some_and(|&kind| is_ndp(found, kind)) {
            return Err(DropReason::NdpMalformed);
        }
        match found.next_header {
            PROTOCOL_TCP => self.tcp_input(now, &ip, frame, meta),
            PROTOCOL_UDP => self.udp_input(now, &ip, frame, meta),
            PROTOCOL_ICMPV6 => self.icmpv6_input(now, &ip, found.router_alert, frame),
            _ => {
                let error = Icmpv6Error::problem(UNRECOGNIZED_NEXT_HEADER, found.announced_at);
                self.icmpv6_error(now, &ip, error, frame);
                Err(DropReason::Ipv6UnknownProtocol)
            }
        }
    }

    /// Tells the sender what its extension headers got wrong, where it is to be
    /// told. `frame` begins with the IPv6 header.
    #[cold]
    fn refuse_extension(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        refused: &BadExtension,
        mut frame: FrameBuf,
    ) -> DropReason {
        if let Some(error) = Icmpv6Error::about(refused) {
            frame.trim_front(IPV6_HEADER);
            self.icmpv6_error(now, ip, error, frame);
        }
        refused.reason
    }

    /// Refuses addresses that cannot be. Returns whether the packet is for
    /// many.
    fn check_addresses_v6(
        &self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        group: bool,
    ) -> Result<bool, DropReason> {
        if UnicastV6::new(src).is_none() && !src.is_unspecified() {
            return Err(DropReason::Ipv6BadSource);
        }
        let v6 = &self.iface.v6;
        // Answering would mean talking to ourselves without end. Who advertises
        // an address that we try is heard, though: it is in use.
        if self.is_looped(IpAddr::V6(src)) {
            return Err(DropReason::Ipv6OwnSource);
        }
        if dst.is_multicast() {
            return if v6.is_member(dst) {
                Ok(true)
            } else {
                Err(DropReason::Ipv6NotForUs)
            };
        }
        if v6.is_local(dst) {
            return if group {
                Err(DropReason::Ipv6UnicastInMulticast)
            } else {
                Ok(false)
            };
        }
        Err(if v6.is_tentative(dst) {
            DropReason::Ipv6Tentative
        } else {
            DropReason::Ipv6NotForUs
        })
    }
}

fn is_ndp(found: &Extensions, kind: u8) -> bool {
    found.next_header == PROTOCOL_ICMPV6 && (ROUTER_SOLICITATION..=REDIRECT).contains(&kind)
}

#[cfg(test)]
mod tests;
