//! Addresses and routes that come and go while the stack runs.

use core::net::{IpAddr, Ipv4Addr};

use super::claim::Claims;
use super::routes::{Origin, Route};
use super::{Ipv4Cidr, NetEvent};
use crate::wire::UnicastV4;
use crate::{ConnError, Misuse, Stack};

impl Stack {
    /// This host's IPv4 addresses, the ones being probed for not counted, in
    /// the order of their coming.
    pub fn ipv4_addresses(&self) -> impl Iterator<Item = Ipv4Cidr> + '_ {
        self.iface.addresses.iter().copied()
    }

    /// Adds an IPv4 address: it is announced (RFC 5227, 2.3) and usable at once,
    /// or, with `probe`, usable after 4 to 7 seconds, if no other host on the
    /// link has it (RFC 5227, 2.1). [`NetEvent::AddressUp`] tells when it is.
    ///
    /// # Errors
    /// [`Misuse::AddressInUse`] when this host has it already,
    /// [`Misuse::BadDestination`] when it names no host, [`Misuse::TableFull`]
    /// above 8 addresses.
    pub fn add_ipv4_address(&mut self, own: Ipv4Cidr, probe: bool) -> Result<(), Misuse> {
        self.claim_ipv4(own, Origin::Static, probe)
    }

    pub(crate) fn claim_ipv4(
        &mut self,
        own: Ipv4Cidr,
        origin: Origin,
        probe: bool,
    ) -> Result<(), Misuse> {
        self.chores_changed();
        if UnicastV4::new(own.address()).is_none() {
            return Err(Misuse::BadDestination);
        }
        if self.iface.claims.has(own.address()) || self.is_claimed_aside(own.address()) {
            return Err(Misuse::AddressInUse);
        }
        let now = self.now();
        let at = probe.then(|| Claims::first_probe(now, &mut self.random));
        if !self.iface.claims.add(own, origin, at) {
            return Err(Misuse::TableFull);
        }
        if !probe {
            self.ipv4_address_up(own);
        }
        Ok(())
    }

    /// An address can be used from now on.
    pub(super) fn ipv4_address_up(&mut self, own: Ipv4Cidr) {
        // As many places as claims.
        if self.iface.addresses.try_push(own).is_ok() {
            self.iface.routes_changed();
            // It may have been a peer's.
            self.tcp.forget_last();
            self.events.push(NetEvent::AddressUp(own.address().into()));
        }
    }

    /// Takes an IPv4 address away from this host. Connections at the address end
    /// with [`ConnError::AddressGone`]; sockets bound to it stay, and receive
    /// nothing.
    ///
    /// # Errors
    /// [`Misuse::AddressNotLocal`] when this host does not have it.
    pub fn remove_ipv4_address(&mut self, address: Ipv4Addr) -> Result<(), Misuse> {
        if !self.iface.claims.has(address) {
            return Err(Misuse::AddressNotLocal);
        }
        self.drop_ipv4_address(address);
        Ok(())
    }

    pub(crate) fn drop_ipv4_address(&mut self, address: Ipv4Addr) {
        self.iface.claims.remove(address);
        let before = self.iface.addresses.len();
        self.iface.addresses.retain(|own| own.address() != address);
        if self.iface.addresses.len() == before {
            return;
        }
        self.iface.routes_changed();
        self.end_flows_at(address.into());
        self.events.push(NetEvent::AddressDown(address.into()));
    }

    /// Ends the flows whose own address is gone.
    fn end_flows_at(&mut self, address: IpAddr) {
        for index in 0..self.tcp.len() {
            let at = self.tcp.key(index).map(|key| key.local().ip());
            let in_use = self
                .tcp
                .hot(index)
                .is_some_and(|hot| hot.state != crate::TcpState::Closed);
            if at == Some(address) && in_use {
                self.end_flow(index, Some(ConnError::AddressGone));
            }
        }
    }

    /// Leads packets for the subnet of `to` over `gateway`, or straight to the
    /// link without one. Of all routes to a destination, and our own subnets,
    /// the longest prefix counts. Replaces an earlier route to the same subnet.
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when the gateway names no host,
    /// [`Misuse::TableFull`] above 32 routes.
    pub fn add_ipv4_route(
        &mut self,
        to: Ipv4Cidr,
        gateway: Option<Ipv4Addr>,
    ) -> Result<(), Misuse> {
        self.route_ipv4(Route {
            to,
            gateway,
            origin: Origin::Static,
        })
    }

    pub(crate) fn route_ipv4(&mut self, route: Route) -> Result<(), Misuse> {
        let bad = |gateway: Ipv4Addr| UnicastV4::new(gateway).is_none();
        if route.gateway.is_some_and(bad) {
            return Err(Misuse::BadDestination);
        }
        if !self.iface.routes.add(route) {
            return Err(Misuse::TableFull);
        }
        self.iface.routes_changed();
        if let (0, Some(gateway)) = (route.to.prefix(), route.gateway) {
            self.events.push(NetEvent::RouterUp(gateway.into()));
        }
        Ok(())
    }

    /// Removes the routes to the subnet of `to`, whoever told of them. Returns
    /// whether there were any.
    pub fn remove_ipv4_route(&mut self, to: Ipv4Cidr) -> bool {
        self.unroute_ipv4(|route| route.to.is_same_subnet(&to))
    }

    pub(crate) fn unroute_ipv4(&mut self, gone: impl Fn(&Route) -> bool) -> bool {
        let Self { iface, events, .. } = self;
        for route in iface.routes.iter().filter(|route| gone(route)) {
            if let (0, Some(gateway)) = (route.to.prefix(), route.gateway) {
                events.push(NetEvent::RouterDown(gateway.into()));
            }
        }
        let any = iface.routes.remove(|route| gone(route));
        if any {
            iface.routes_changed();
        }
        any
    }
}
