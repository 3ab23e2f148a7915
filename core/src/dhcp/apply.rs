//! What DHCP means to the stack.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use pollwire_rings::{FrameBuf, Instant};

use super::client::{Client, Step};
use super::{DhcpLease, Fallback};
use crate::iface::{DnsSource, Ipv4Cidr, Origin, Route};
use crate::wire::dhcp::{CLIENT_PORT, DhcpMessage, SERVER_PORT};
use crate::{Counter, DropReason, Stack};

/// RFC 791, 3.2: "Every internet destination must be able to receive a datagram
/// of 576 octets". A server cannot make the link's MTU less.
const MIN_MTU: u16 = 576;

impl Stack {
    /// What the DHCP server gave, once it did and until it is over.
    #[must_use]
    pub fn dhcp_lease(&self) -> Option<&DhcpLease> {
        self.dhcp.as_ref().and_then(|client| client.lease())
    }

    /// Whether this host has no IPv4 address yet, but one is being probed for or
    /// asked of a DHCP server.
    #[must_use]
    pub fn awaits_ipv4(&self) -> bool {
        let asks = self.dhcp.as_ref().is_some_and(Client::seeks_lease);
        self.iface.awaits_address() || (asks && self.ipv4_addresses().next().is_none())
    }

    /// Whether this host has no IPv6 address yet that is for more than its link, but
    /// one is being probed for, or may come of a router's advertisement.
    #[must_use]
    pub fn awaits_ipv6(&self) -> bool {
        self.iface.v6.awaits_address()
    }

    /// Gives the address back to the DHCP server (RFC 2131, 4.4.6) and stops the
    /// client, as before a shutdown. Without effect when there is no lease.
    pub fn dhcp_release(&mut self) {
        self.chores_changed();
        let now = self.now();
        let Self { dhcp, random, .. } = self;
        let Some(client) = dhcp else { return };
        let lease = client.lease().cloned();
        let step = client.release(now, random);
        self.dhcp_do(now, step);
        if let Some(lease) = lease {
            self.unuse_lease(&lease);
        }
    }

    /// Takes a datagram to the client's port. `frame` is its payload.
    #[cold]
    pub(crate) fn dhcp_input(&mut self, now: Instant, frame: &FrameBuf) -> Result<(), DropReason> {
        let message = DhcpMessage::parse(frame).filter(|message| message.kind.is_reply());
        let message = message.ok_or(DropReason::DhcpMalformed)?;
        let old = self.dhcp_lease().cloned();
        let Self { dhcp, random, .. } = self;
        let client = dhcp.as_mut().ok_or(DropReason::UdpNoSocket)?;
        let step = client.input(now, &message, random)?;
        self.counters.inc(Counter::DhcpIn);
        self.dhcp_change(now, step, old);
        Ok(())
    }

    /// Does what is due.
    #[cold]
    pub(crate) fn dhcp_expire(&mut self, now: Instant) {
        while self
            .dhcp
            .as_ref()
            .and_then(|client| client.deadline())
            .is_some_and(|due| due <= now)
        {
            let old = self.dhcp_lease().cloned();
            let Self { dhcp, random, .. } = self;
            let Some(client) = dhcp else { return };
            let step = client.expire(now, random);
            self.dhcp_change(now, step, old);
        }
    }

    /// Another host has the address that the server gave; it is not ours any
    /// more.
    pub(crate) fn dhcp_conflict(&mut self, now: Instant) {
        let Some(client) = &mut self.dhcp else { return };
        let lease = client.lease().cloned();
        let step = client.decline(now);
        self.dhcp_do(now, step);
        if let Some(lease) = lease {
            self.unuse_lease(&lease);
        }
    }

    /// Does what a step asks for; `old` is the lease before it.
    fn dhcp_change(&mut self, now: Instant, step: Step, old: Option<DhcpLease>) {
        match (&step, old) {
            (Step::Use, old) => self.use_lease(now, old),
            (Step::Lost, Some(old)) => {
                log::warn!("the lease of {} is over", old.address);
                self.unuse_lease(&old);
            }
            _ => self.dhcp_do(now, step),
        }
    }

    fn dhcp_do(&mut self, now: Instant, step: Step) {
        match step {
            Step::Send(message, from, to) => self.dhcp_send(now, message, from, to),
            Step::FallBack(fallback) => self.fall_back(&fallback),
            Step::Rest | Step::Use | Step::Lost => {}
        }
    }

    fn dhcp_send(&mut self, now: Instant, message: Box<DhcpMessage>, from: Ipv4Addr, to: Ipv4Addr) {
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.inc(Counter::NoFrame);
            return;
        };
        let bytes = message.emit(self.iface.caps().mtu);
        if frame.extend_from_slice(&bytes) < bytes.len() {
            self.counters.drop(DropReason::SendTooLong);
            return;
        }
        let end = |address: Ipv4Addr, port| SocketAddr::new(IpAddr::V4(address), port);
        let (from, to) = (end(from, CLIENT_PORT), end(to, SERVER_PORT));
        self.counters.inc(Counter::DhcpOut);
        self.udp_send_own(now, from, to, frame);
    }

    /// Applies the client's new lease, in the place of `old`.
    fn use_lease(&mut self, now: Instant, old: Option<DhcpLease>) {
        let Some(client) = &self.dhcp else { return };
        let (Some(lease), config) = (client.lease().cloned(), client.config().clone()) else {
            return;
        };
        if !old.as_ref().is_some_and(|old| old.is_same_network(&lease)) {
            self.unuse_network();
            let kept = old.as_ref().map(|old| old.address) == Some(lease.address);
            if let (Some(old), false) = (&old, kept) {
                self.unuse_lease(old);
            }
            if let Some(fallback) = config.fallback {
                self.end_fallback(&fallback);
            }
            if !kept {
                log::info!("{} from {}", lease.address, lease.server);
                // One that is configured, too, stays as it is.
                let _ours = self.claim_ipv4(lease.address, Origin::Dhcp, config.probe);
            }
            self.use_routes(&lease);
            self.iface.limit_mtu(lease.mtu.map(|mtu| mtu.max(MIN_MTU)));
        }
        for &server in &lease.dns_servers {
            let (source, until) = (DnsSource::Dhcp, lease.expires_at);
            self.events.dns_server(now, source, server.into(), until);
        }
        if !lease.domain.is_empty() {
            let (source, until) = (DnsSource::Dhcp, lease.expires_at);
            self.events.search_domain(now, source, lease.domain, until);
        }
    }

    /// RFC 3442: "If the DHCP server returns both a Classless Static Routes
    /// option and a Router option, the DHCP client MUST ignore the Router
    /// option."
    fn use_routes(&mut self, lease: &DhcpLease) {
        for &(to, gateway) in &lease.routes {
            // What names no host, or finds no room, is left out.
            let _added = self.route_ipv4(Route {
                to,
                gateway: (!gateway.is_unspecified()).then_some(gateway),
                origin: Origin::Dhcp,
            });
        }
        let everywhere = Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0);
        if let (true, Some(&gateway), Some(to)) =
            (lease.routes.is_empty(), lease.routers.first(), everywhere)
        {
            let _added = self.route_ipv4(Route {
                to,
                gateway: Some(gateway),
                origin: Origin::Dhcp,
            });
        }
    }

    fn unuse_lease(&mut self, lease: &DhcpLease) {
        let address = lease.address.address();
        if self.iface.origin_of(address) == Some(Origin::Dhcp) {
            self.drop_ipv4_address(address);
        }
        self.unuse_network();
    }

    /// Forgets what came with a lease beside the address.
    fn unuse_network(&mut self) {
        self.unroute_ipv4(|route| route.origin == Origin::Dhcp);
        self.iface.limit_mtu(None);
        self.events.forget_dns(DnsSource::Dhcp);
    }

    fn end_fallback(&mut self, fallback: &Fallback) {
        self.drop_ipv4_address(fallback.address.address());
        self.unroute_ipv4(|route| route.to.prefix() == 0 && route.gateway == fallback.gateway);
    }

    fn fall_back(&mut self, fallback: &Fallback) {
        log::warn!(
            "no DHCP server answers: falling back to {}",
            fallback.address
        );
        let _ours = self.claim_ipv4(fallback.address, Origin::Static, false);
        if let (Some(gateway), Some(to)) =
            (fallback.gateway, Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0))
        {
            let _added = self.route_ipv4(Route {
                to,
                gateway: Some(gateway),
                origin: Origin::Static,
            });
        }
    }
}
