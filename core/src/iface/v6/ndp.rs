//! Neighbours speak: solicitations, advertisements and redirects.

use core::net::{IpAddr, Ipv6Addr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, TxMeta};

use super::neighbor::{Due, Heard};
use super::{Resolution, address::Own};
use crate::iface::Pending;
use crate::ip::{IpFields, IpMeta};
use crate::wire::ethernet::ETHERTYPE_IPV6;
use crate::wire::ipv6::{ALL_NODES, PROTOCOL_ICMPV6, UnicastV6, solicited_node};
use crate::wire::ndp::{
    HOP_LIMIT, NdpMessage, NeighborAdvertisement, Options, Redirect, emit_advertisement,
    emit_solicitation,
};
use crate::wire::{Ipv6Header, MacAddr};
use crate::{Counter, DropReason, Stack};
use zerocopy::FromBytes;

impl Stack {
    /// Takes a neighbour discovery message, its ICMPv6 checksum verified.
    pub(crate) fn ndp_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        frame: &FrameBuf,
    ) -> Result<(), DropReason> {
        self.counters.inc(Counter::NdpIn);
        // "The IP Hop Limit field has a value of 255, i.e., the packet could
        // not possibly have been forwarded by a router."
        if ip.ttl != HOP_LIMIT {
            return Err(DropReason::NdpBadHopLimit);
        }
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else {
            return Err(DropReason::NdpBadAddress);
        };
        let taken = match NdpMessage::parse(frame).ok_or(DropReason::NdpMalformed)? {
            NdpMessage::RouterSolicitation => Err(DropReason::NdpForRouters),
            NdpMessage::RouterAdvertisement(said, options) => {
                self.on_router_advertisement(now, src, &said, options)
            }
            NdpMessage::NeighborSolicitation(target, options) => {
                self.on_solicitation(now, src, dst, target, options)
            }
            NdpMessage::NeighborAdvertisement(said, options) => {
                self.on_advertisement(now, dst, &said, options)
            }
            NdpMessage::Redirect(redirect, options) => {
                self.on_redirect(now, src, redirect, options)
            }
        };
        self.iface.sync_v6();
        taken
    }

    /// RFC 4861, 7.1.1 and 7.2.3; RFC 4862, 5.4.3.
    fn on_solicitation(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        target: Ipv6Addr,
        options: Options<'_>,
    ) -> Result<(), DropReason> {
        if target.is_multicast() {
            return Err(DropReason::NdpBadAddress);
        }
        let probe = src.is_unspecified();
        // "If the IP source address is the unspecified address, the IP
        // destination address is a solicited-node multicast address", and
        // "there is no source link-layer address option in the message".
        if probe && (dst != solicited_node(target) || options.source_mac().is_some()) {
            return Err(DropReason::NdpBadAddress);
        }
        let Some(own) = self.iface.v6.own(target).copied() else {
            return Err(DropReason::NdpNotForUs);
        };
        if own.is_tentative() {
            // "If the source address of the Neighbor Solicitation is the
            // unspecified address, the solicitation is from a node performing
            // Duplicate Address Detection"; else it is to be ignored.
            if probe {
                self.dad_failed(now, target);
                return Err(DropReason::NdpDuplicate);
            }
            return Err(DropReason::Ipv6Tentative);
        }
        if !own.is_assigned() {
            return Err(DropReason::NdpNotForUs);
        }
        if let (false, Some(mac)) = (probe, options.source_mac()) {
            self.told(now, src, mac, false);
        }
        self.advertise(now, &own, (!probe).then_some(src));
        Ok(())
    }

    /// Keeps what somebody told of its Ethernet address, and sends what waited
    /// for it.
    pub(super) fn told(&mut self, now: Instant, address: Ipv6Addr, mac: MacAddr, router: bool) {
        // Off the link there are no neighbours: an entry would serve nobody.
        if UnicastV6::new(address).is_none() || !self.iface.v6.hops.is_on_link(address) {
            return;
        }
        let heard = self.iface.v6.neighbors.told(now, address, mac, router);
        self.after(now, address, heard);
    }

    /// Does what follows from a message about `address`.
    fn after(&mut self, now: Instant, address: Ipv6Addr, heard: Heard) {
        if let Some(mac) = heard.resolved {
            self.send_pending_v6(address, mac);
            self.neighbor_resolved(IpAddr::V6(address));
        }
        if heard.no_router && self.iface.v6.hops.no_router(address) {
            self.router_went(now, address);
            self.reschedule_v6();
        }
    }

    /// RFC 4861, 7.1.2 and 7.2.5; RFC 4862, 5.4.4.
    fn on_advertisement(
        &mut self,
        now: Instant,
        dst: Ipv6Addr,
        said: &NeighborAdvertisement,
        options: Options<'_>,
    ) -> Result<(), DropReason> {
        // "If the IP Destination Address is a multicast address the Solicited
        // flag is zero."
        if said.target.is_multicast() || (dst.is_multicast() && said.solicited) {
            return Err(DropReason::NdpBadAddress);
        }
        if let Some(own) = self.iface.v6.own(said.target) {
            if own.is_tentative() {
                self.dad_failed(now, said.target);
            } else {
                self.counters.inc(Counter::NdpDuplicates);
                log::warn!("another host claims our address {}", said.target);
            }
            return Err(DropReason::NdpDuplicate);
        }
        let mac = options.target_mac();
        let heard = self.iface.v6.neighbors.advertised(now, said, mac);
        if !heard.known {
            return Err(DropReason::NdpNotForUs);
        }
        self.after(now, said.target, heard);
        Ok(())
    }

    /// RFC 4861, 8.1 and 8.3.
    fn on_redirect(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        redirect: Redirect,
        options: Options<'_>,
    ) -> Result<(), DropReason> {
        let Redirect {
            target,
            destination,
        } = redirect;
        // "The IP source address of the Redirect is the same as the current
        // first-hop router for the specified ICMP Destination Address", which
        // is told by its link-local address. And "the ICMP Target Address is
        // either a link-local address (when redirected to a router) or the same
        // as the ICMP Destination Address".
        let on_link = target == destination;
        let sound = src.is_unicast_link_local()
            && UnicastV6::new(destination).is_some()
            && UnicastV6::new(target).is_some()
            && !destination.is_unicast_link_local()
            && (target.is_unicast_link_local() || on_link)
            && !self.iface.v6.is_local(target)
            && !self.iface.v6.is_local(destination);
        if !sound {
            return Err(DropReason::NdpBadAddress);
        }
        if !self.iface.v6.config.hears_routers() {
            return Err(DropReason::NdpUnwanted);
        }
        // Whoever did not see our packet cannot quote it: a guard against those
        // who forge the router's address.
        let ours = options.iter().any(|option| match option {
            crate::wire::ndp::NdpOption::RedirectedHeader(quote) => {
                self.is_our_packet_to(quote, destination)
            }
            _ => false,
        });
        if self.iface.v6.next_hop(destination) != Some(src) || !ours {
            return Err(DropReason::NdpBadRedirect);
        }
        self.iface.v6.hops.redirect(destination, target);
        self.counters.inc(Counter::NdpRedirects);
        if let Some(mac) = options.target_mac() {
            let heard = self.iface.v6.neighbors.told(now, target, mac, !on_link);
            self.after(now, target, heard);
        }
        Ok(())
    }

    fn is_our_packet_to(&self, quote: &[u8], destination: Ipv6Addr) -> bool {
        Ipv6Header::ref_from_prefix(quote).is_ok_and(|(header, _)| {
            header.version() == 6
                && header.destination() == destination
                && self.iface.v6.is_local(header.source())
        })
    }

    /// Answers a solicitation for `own` (RFC 4861, 7.2.4): `to` who asked, or
    /// to all when that has no address yet.
    fn advertise(&mut self, now: Instant, own: &Own, to: Option<Ipv6Addr>) {
        let said = NeighborAdvertisement {
            router: false,
            solicited: to.is_some(),
            replaces: true,
            target: own.address(),
        };
        let bytes = emit_advertisement(&said, self.iface.mac());
        let to = to.unwrap_or(ALL_NODES);
        if self.send_icmpv6(now, own.address(), to, HOP_LIMIT, &bytes) {
            self.counters.inc(Counter::NdpAdvertisementsOut);
        }
    }

    /// Asks for `target`.
    pub(super) fn solicit(&mut self, now: Instant, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) {
        let mac = (!src.is_unspecified()).then(|| self.iface.mac());
        let (bytes, len) = emit_solicitation(target, mac);
        if self.send_icmpv6(now, src, dst, HOP_LIMIT, bytes.get(..len).unwrap_or(&bytes)) {
            self.counters.inc(Counter::NdpSolicitationsOut);
        }
    }

    /// Asks for `neighbor` in its group.
    pub(crate) fn solicit_neighbor(&mut self, now: Instant, neighbor: Ipv6Addr) {
        if let Some(src) = self.iface.v6.source_for(neighbor) {
            self.solicit(now, src, solicited_node(neighbor), neighbor);
        }
    }

    /// Asks `neighbor` itself whether it is still there.
    fn probe_neighbor(&mut self, now: Instant, neighbor: Ipv6Addr) {
        if let Some(src) = self.iface.v6.source_for(neighbor) {
            self.solicit(now, src, neighbor, neighbor);
        }
    }

    /// Sends an ICMPv6 message of the interface's own; `message` has its
    /// checksum zero. Returns whether it is on its way.
    pub(super) fn send_icmpv6(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hop_limit: u8,
        message: &[u8],
    ) -> bool {
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.drop(DropReason::SendNoFrame);
            return false;
        };
        frame.extend_from_slice(message);
        let len = u32::try_from(frame.len()).unwrap_or(0);
        let pseudo = Sum::pseudo_v6(src.octets(), dst.octets(), PROTOCOL_ICMPV6, len);
        let check = pseudo.add_bytes(&frame).finish();
        if let Some(field) = frame.get_mut(2..4) {
            field.copy_from_slice(&check.to_be_bytes());
        }
        let packet = Pending {
            frame,
            payload: None,
            meta: TxMeta::default(),
        };
        let fields = IpFields::of(PROTOCOL_ICMPV6).hops(hop_limit);
        let sent = self.ipv6_send(now, src, dst, fields, packet);
        if let Err(reason) = sent {
            self.counters.drop(reason);
        }
        sent.is_ok()
    }

    /// Sends what waited for a neighbour.
    fn send_pending_v6(&mut self, neighbor: Ipv6Addr, mac: MacAddr) {
        while let Some(packet) = self.iface.pending.pop(IpAddr::V6(neighbor)) {
            if let Err(reason) = self.link_send(mac, ETHERTYPE_IPV6, packet) {
                self.counters.drop(reason);
            }
        }
    }

    /// Does what is due for neighbours, addresses and routers.
    pub(crate) fn ipv6_expire(&mut self, now: Instant) {
        for due in self.iface.v6.neighbors.expire(now) {
            match due {
                Due::Ask(neighbor) => self.solicit_neighbor(now, neighbor),
                Due::Probe {
                    address,
                    mac,
                    first,
                } => {
                    if first && self.has_progress(mac) {
                        self.iface.v6.neighbors.confirm(now, address);
                    } else {
                        self.probe_neighbor(now, address);
                    }
                }
                Due::Failed(neighbor) => {
                    self.counters.inc(Counter::NeighborsFailed);
                    self.iface.v6.hops.failed(neighbor);
                    let address = IpAddr::V6(neighbor);
                    self.drop_pending(address, DropReason::NeighborUnreachable);
                    self.neighbor_failed(address);
                }
            }
        }
        self.addresses_expire(now);
        self.join_own_groups(now);
        self.groups_expire(now);
        self.dad_expire(now);
        for router in self.iface.v6.hops.expire(now) {
            self.router_went(now, router);
        }
        self.solicit_expire(now);
        self.dhcpv6_expire(now);
        self.events.expire(now);
        self.reschedule_v6();
        self.iface.sync_v6();
    }

    /// The way to `hop`, asking for it if need be.
    pub(crate) fn resolve_v6(&mut self, now: Instant, hop: Ipv6Addr) -> Resolution {
        let found = self.iface.v6.neighbors.resolve(now, hop);
        if let Resolution::Ask(gone) = found {
            if let Some(gone) = gone {
                self.drop_pending(IpAddr::V6(gone), DropReason::NeighborCacheFull);
            }
            self.solicit_neighbor(now, hop);
        }
        self.iface.sync_v6();
        found
    }
}
