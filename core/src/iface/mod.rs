//! The interface: its addresses, its routes, and its neighbours.

mod address;
mod arp;
mod cidr;
mod cidr6;
mod claim;
mod events;
mod id;
mod igmp;
mod neighbor;
mod pending;
mod redirects;
mod routes;
#[cfg(test)]
pub(crate) mod tests;
mod v6;
mod vlan;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use pollwire_rings::{Caps, Instant};

pub use cidr::{Ipv4Cidr, ParseCidrError};
pub use cidr6::Ipv6Cidr;
pub use events::NetEvent;
pub use id::{InterfaceId, MAX_INTERFACES};
pub use v6::{InterfaceIds, Ipv6Config};
pub use vlan::VlanId;

use crate::stack::earlier;
use crate::wire::{MacAddr, UnicastV4, UnicastV6};
use crate::{Config, Random};
use claim::Claims;
pub(crate) use claim::random_between;
pub(crate) use events::{DnsSource, Events};
use igmp::Groups;
pub(crate) use neighbor::{Neighbors, Resolution};
pub(crate) use pending::{Pending, PendingQueue};
use redirects::Redirects;
use routes::Routes;
pub(crate) use routes::{Origin, Route};
use v6::Ipv6;
pub(crate) use v6::Resolution as ResolutionV6;
#[cfg(test)]
pub(crate) use v6::tests as v6_tests;

/// Most IPv4 addresses, those being probed for included.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// One Ethernet interface: addresses, routes, neighbours.
pub(crate) struct Interface {
    pub(crate) id: InterfaceId,
    /// The interface that came with the device: this one, or the one that it
    /// shares the device with, by VLANs.
    pub(crate) device: InterfaceId,
    /// It is not the only one of its stack.
    pub(crate) has_siblings: bool,
    caps: Caps,
    /// What the device carries; the capabilities may say less.
    device_mtu: u16,
    /// The VLAN whose tag frames carry.
    pub(crate) vlan: Option<VlanId>,
    addresses: ArrayVec<Ipv4Cidr, MAX_ADDRESSES>,
    routes: Routes,
    /// What routers said of single destinations.
    pub(crate) redirects: Redirects<Ipv4Addr>,
    /// Source and destination that [`is_exchange`](Self::is_exchange) found
    /// right last. Void when the addresses change.
    exchange: Option<(Ipv4Addr, Ipv4Addr)>,
    pub(crate) neighbors: Neighbors,
    pub(crate) pending: PendingQueue,
    claims: Claims,
    pub(crate) groups: Groups,
    pub(crate) v6: Ipv6,
}

impl Interface {
    pub(crate) fn new(mut caps: Caps, config: &Config, random: &mut Random) -> Self {
        if config.vlan.is_some() && !caps.tag_beside_mtu {
            caps.mtu = caps.mtu.saturating_sub(vlan::TAG as u16);
        }
        let mut routes = Routes::new();
        if let (Some(gateway), Some(to)) =
            (config.ipv4_gateway, Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0))
        {
            routes.add(Route {
                to,
                gateway: Some(gateway),
                origin: Origin::Static,
            });
        }
        let mut claims = Claims::new();
        let mut addresses = ArrayVec::new();
        let probe = config.probe_ipv4.then_some(Instant::ZERO);
        for own in &config.ipv4 {
            if claims.add(*own, Origin::Static, probe) && probe.is_none() {
                addresses.push(*own);
            }
        }
        Self {
            id: InterfaceId::FIRST,
            device: InterfaceId::FIRST,
            has_siblings: false,
            device_mtu: caps.mtu,
            caps,
            vlan: config.vlan,
            addresses,
            routes,
            redirects: Redirects::new(),
            exchange: None,
            neighbors: Neighbors::new(),
            pending: PendingQueue::new(),
            claims,
            groups: Groups::new(),
            v6: Ipv6::new(config, MacAddr(caps.mac), caps.mtu, random),
        }
    }

    /// Makes it the interface `id` over `device`: before it is used.
    pub(crate) fn number(&mut self, id: InterfaceId, device: InterfaceId) {
        (self.id, self.device) = (id, device);
        self.neighbors.number(id);
    }

    /// What the device can do for an interface without a VLAN.
    pub(crate) fn device_caps(&self) -> Caps {
        let tag = match self.vlan {
            Some(_) if !self.caps.tag_beside_mtu => vlan::TAG as u16,
            _ => 0,
        };
        let mut caps = self.caps;
        caps.mtu = self.device_mtu.saturating_add(tag);
        caps
    }

    /// Whether `address` is this interface's, or to be.
    pub(crate) fn claims(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.claims.has(address),
            IpAddr::V6(address) => self.v6.claims(address),
        }
    }

    /// How well the way to `destination` through this interface is known: the
    /// bits of the longest prefix that it lies under; 0 for all hosts and for
    /// groups, `None` where no way leads.
    pub(crate) fn reach(&self, destination: IpAddr) -> Option<u8> {
        if destination.is_multicast() {
            return Some(0);
        }
        let destination = match destination {
            IpAddr::V4(destination) => destination,
            IpAddr::V6(destination) => return self.v6.hops.reach(destination),
        };
        if destination.is_broadcast() {
            return Some(0);
        }
        let own = self.subnet_of(destination).map(Ipv4Cidr::prefix);
        let route = self.routes.lookup(destination);
        own.max(route.map(|route| route.to.prefix()))
    }

    /// What the device can do.
    #[inline]
    pub(crate) fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The device's Ethernet address.
    #[inline]
    pub(crate) fn mac(&self) -> MacAddr {
        MacAddr(self.caps.mac)
    }

    /// Whether `address` is one of this interface's.
    #[inline]
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.address_index(address).is_some(),
            IpAddr::V6(address) => self.v6.is_local(address),
        }
    }

    #[inline]
    fn address_index(&self, address: Ipv4Addr) -> Option<usize> {
        self.addresses
            .iter()
            .position(|own| own.address() == address)
    }

    /// Whether a packet from `src` to `dst` without a tag is from another host to
    /// this one and no other: what most packets are. Those that are not may be
    /// fine still.
    #[inline(always)]
    pub(crate) fn is_exchange(&mut self, src: IpAddr, dst: IpAddr) -> bool {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.exchange == Some((src, dst)) || self.check_exchange(src, dst)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.check_exchange_v6(src, dst),
            _ => false,
        }
    }

    #[inline(never)]
    fn check_exchange_v6(&self, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
        // As there.
        self.vlan.is_none()
            && !self.has_siblings
            && UnicastV6::new(src).is_some()
            && !self.v6.is_local(src)
            && self.v6.is_local(dst)
    }

    #[inline(never)]
    fn check_exchange(&mut self, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        // Neither tags nor the addresses of other interfaces are looked at here.
        if self.vlan.is_some() || self.has_siblings {
            return false;
        }
        let mut ours = false;
        for own in &self.addresses {
            if own.address() == src || own.broadcast() == Some(src) {
                return false;
            }
            ours |= own.address() == dst;
        }
        let right = ours && UnicastV4::new(src).is_some();
        if right {
            self.exchange = Some((src, dst));
        }
        right
    }

    /// Whether `address` means all hosts of the link or of one of our subnets.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self
                .addresses
                .iter()
                .any(|own| own.broadcast() == Some(address))
    }

    /// The subnet on this link that `address` lies in: the one with the longest
    /// prefix.
    fn subnet_of(&self, address: Ipv4Addr) -> Option<&Ipv4Cidr> {
        // Of equals the last is taken: reversed, the address configured first.
        self.addresses
            .iter()
            .rev()
            .filter(|own| own.contains(address))
            .max_by_key(|own| own.prefix())
    }

    /// Whether `address` can be a neighbour: in one of our subnets, or a gateway.
    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        self.subnet_of(address).is_some()
            || self.routes.iter().any(|route| match route.gateway {
                Some(gateway) => gateway == address,
                None => route.to.contains(address),
            })
    }

    /// Whether both addresses lie in one of our subnets.
    pub(crate) fn share_subnet(&self, a: Ipv4Addr, b: Ipv4Addr) -> bool {
        let has_both = |own: &Ipv4Cidr| own.contains(a) && own.contains(b);
        self.addresses.iter().any(has_both)
    }

    /// The neighbour that packets to the unicast address `destination` go to:
    /// the one that a redirect names, once it has answered; itself when it is on
    /// the link, else the gateway of the route with the longest prefix (RFC 1122,
    /// 3.3.1).
    pub(crate) fn next_hop(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let high = destination.octets()[0];
        if high == 0 || high == 127 || high >= 224 {
            return None;
        }
        if let Some(hop) = self.redirects.hop(destination)
            && self.neighbors.knows(hop)
        {
            return Some(hop);
        }
        let on_link = self
            .subnet_of(destination)
            .map(|own| (own.prefix(), destination));
        let route = self.routes.lookup(destination).map(|route| {
            let hop = route.gateway.unwrap_or(destination);
            (route.to.prefix(), hop)
        });
        match (on_link, route) {
            (Some((own, _)), Some((prefix, gateway))) if prefix > own => Some(gateway),
            (Some((_, direct)), _) => Some(direct),
            (None, route) => route.map(|(_, gateway)| gateway),
        }
    }

    /// The source address for packets to `destination`: an address in the next
    /// hop's subnet, else the first one (RFC 1122, 3.3.4.3).
    pub(crate) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        // To ourselves from ourselves.
        if destination.is_loopback() || self.is_local(destination) {
            return Some(match destination {
                IpAddr::V4(to) if to.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                same => same,
            });
        }
        let destination = match destination {
            IpAddr::V4(destination) => destination,
            IpAddr::V6(destination) => return self.v6.source_for(destination).map(IpAddr::V6),
        };
        let directed = self
            .addresses
            .iter()
            .find(|own| own.broadcast() == Some(destination));
        let own = if destination.is_broadcast() || destination.is_multicast() {
            self.addresses.first()
        } else if directed.is_some() {
            directed
        } else {
            let hop = self.next_hop(destination)?;
            self.subnet_of(hop).or(self.addresses.first())
        };
        own.map(|own| IpAddr::V4(own.address()))
    }

    /// Changes whenever a link header obtained earlier may be out of date;
    /// never 0.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.neighbors.generation()
    }

    /// Addresses or routes of IPv4 changed: what routers said before, they said
    /// of others.
    fn routes_changed(&mut self) {
        self.redirects.clear();
        self.invalidate();
    }

    /// Makes all link headers obtained so far out of date.
    pub(crate) fn invalidate(&mut self) {
        self.exchange = None;
        self.neighbors.bump();
    }

    /// Whether there is no IPv4 address yet, but one is being probed for.
    pub(crate) fn awaits_address(&self) -> bool {
        self.addresses.is_empty() && !self.claims.is_empty()
    }

    /// Who set `address` up.
    pub(crate) fn origin_of(&self, address: Ipv4Addr) -> Option<Origin> {
        self.claims.origin(address)
    }

    /// Has packets be no longer than `mtu` bytes, or only as short as the device
    /// wants them.
    pub(crate) fn limit_mtu(&mut self, mtu: Option<u16>) {
        let device = self.device_mtu;
        self.caps.mtu = mtu.map_or(device, |mtu| mtu.min(device));
        self.invalidate();
    }

    /// When [`iface_expire`](crate::Stack::iface_expire) next has work.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = earlier(self.claims.deadline(), self.groups.deadline());
        let v4 = earlier(self.neighbors.deadline(), own);
        match self.v6.deadline() {
            Instant::FAR_FUTURE => v4,
            v6 => Some(v4.map_or(v6, |v4| v4.min(v6))),
        }
    }

    /// The neighbour that packets to `destination`, of either version, go to.
    pub(crate) fn hop_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(destination) => self.next_hop(destination).map(IpAddr::V4),
            IpAddr::V6(destination) => self.v6.next_hop(destination).map(IpAddr::V6),
        }
    }

    /// Bytes that a packet to `destination` may have on this link.
    #[inline]
    pub(crate) fn mtu_for(&self, destination: IpAddr) -> u16 {
        match destination {
            IpAddr::V4(_) => self.caps.mtu,
            IpAddr::V6(_) => self.v6.mtu,
        }
    }

    /// Voids link headers that flows keep, if IPv6 changed what they stand on.
    pub(crate) fn sync_v6(&mut self) {
        if self.v6.take_changed() {
            self.invalidate();
        }
    }
}
