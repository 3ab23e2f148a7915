//! The IPv6 side of an interface: addresses, neighbours, routers.
//!
//! | file | what it holds |
//! |---|---|
//! | [`config`] | what is configured |
//! | [`address`] | our addresses and their identifiers (RFC 7217) |
//! | [`dad`] | duplicate address detection (RFC 4862, 5.4) |
//! | [`neighbor`] | the neighbour cache (RFC 4861, 7.3) |
//! | [`ndp`] | solicitations, advertisements, redirects |
//! | [`hop`] | prefixes, routes, redirects: where a packet goes next |
//! | [`router`] | router solicitations and advertisements |
//! | [`slaac`] | addresses under advertised prefixes, temporary ones (RFC 8981) |
//! | [`group`] | multicast groups (RFC 3810) |
//! | [`source`] | address selection (RFC 6724) |

mod address;
mod config;
mod dad;
mod group;
mod hop;
mod ndp;
mod neighbor;
mod router;
mod slaac;
mod source;
#[cfg(test)]
pub(crate) mod tests;

use core::net::Ipv6Addr;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

pub use config::{InterfaceIds, Ipv6Config};

use crate::dhcpv6::{self, Dhcpv6};
use crate::wire::MacAddr;
use crate::wire::ipv6::{ALL_NODES, solicited_node};
use crate::wire::ndp::Preference;
use crate::{Config, Ipv6Cidr, Random};
use address::{Identifiers, Origin, Own, Phase};
use group::Groups;
use hop::Hops;
pub(crate) use neighbor::{Neighbors, Resolution};
use router::Asking;

/// Most addresses of the interface.
const MAX_ADDRESSES: usize = 16;
/// Hop limit of packets until a router says otherwise.
const HOP_LIMIT: u8 = 64;

/// The state of IPv6 on one interface.
pub(crate) struct Ipv6 {
    config: Ipv6Config,
    enabled: bool,
    mac: MacAddr,
    identifiers: Identifiers,
    addresses: ArrayVec<Own, MAX_ADDRESSES>,
    pub(crate) neighbors: Neighbors,
    pub(crate) hops: Hops,
    pub(crate) groups: Groups,
    asking: Asking,
    /// What is to be known beside addresses.
    pub(crate) dhcpv6: dhcpv6::Client,
    /// What routers said last of the reachable time, milliseconds.
    base_reachable: u32,
    /// For packets whose protocol does not care (RFC 4861, 6.3.2: CurHopLimit).
    pub(crate) hop_limit: u8,
    /// Bytes that an IPv6 packet may have on the link (RFC 4861: LinkMTU).
    pub(crate) mtu: u16,
    /// Nothing but neighbours is due before.
    next_due: Instant,
}

impl Ipv6 {
    pub(crate) fn new(config: &Config, mac: MacAddr, mtu: u16, random: &mut Random) -> Self {
        let mut v6 = Self {
            config: config.ipv6.clone().unwrap_or_default(),
            enabled: config.ipv6.is_some(),
            mac,
            identifiers: Identifiers::Eui64,
            addresses: ArrayVec::new(),
            neighbors: Neighbors::new(),
            hops: Hops::new(),
            groups: Groups::new(),
            asking: Asking::NOT,
            dhcpv6: dhcpv6::Client::new(mac),
            base_reachable: 0,
            hop_limit: HOP_LIMIT,
            // A link that carries less carries no IPv6 (RFC 8200, 5); ours may
            // still be too short, and then long packets are refused.
            mtu,
            next_due: Instant::FAR_FUTURE,
        };
        if v6.enabled {
            v6.boot(random);
        }
        v6
    }

    fn boot(&mut self, random: &mut Random) {
        self.identifiers = match self.config.identifiers {
            InterfaceIds::Eui64 => Identifiers::Eui64,
            InterfaceIds::Stable(None) => Identifiers::Stable(random.next_u64(), random.next_u64()),
            InterfaceIds::Stable(Some(secret)) => {
                let [a, b] = secret.as_chunks::<8>().0 else {
                    return;
                };
                Identifiers::Stable(u64::from_le_bytes(*a), u64::from_le_bytes(*b))
            }
        };
        let link_local = self.identifiers.link_local(self.mac, 0);
        if let Some(cidr) = Ipv6Cidr::new(link_local, 64) {
            self.addresses.push(Own::new(cidr, Origin::LinkLocal));
        }
        for cidr in self.config.addresses.clone() {
            self.addresses.push(Own::new(cidr, Origin::Static));
            self.hops
                .set_on_link(Instant::ZERO, cidr, Instant::FAR_FUTURE);
        }
        if let Some(gateway) = self.config.gateway {
            let ever = Instant::FAR_FUTURE;
            let medium = Preference::Medium;
            self.hops.set_default(Instant::ZERO, gateway, medium, ever);
        }
        if self.config.dhcpv6 == Dhcpv6::Always {
            self.dhcpv6.start(Instant::ZERO);
        }
        if self.config.dad_transmits == 0 {
            for own in &mut self.addresses {
                own.phase = Phase::Assigned;
            }
            self.asking = Asking::from(Instant::ZERO);
        }
        self.next_due = Instant::ZERO;
    }

    /// Whether IPv6 is spoken at all.
    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// When DHCPv6 servers are asked.
    pub(crate) const fn dhcpv6_when(&self) -> Dhcpv6 {
        self.config.dhcpv6
    }

    /// Our address, in whatever phase.
    fn own(&self, address: Ipv6Addr) -> Option<&Own> {
        self.addresses.iter().find(|own| own.address() == address)
    }

    /// Whether `address` is ours, or to be.
    pub(crate) fn claims(&self, address: Ipv6Addr) -> bool {
        self.own(address).is_some()
    }

    /// Whether `address` is ours to use.
    pub(crate) fn is_local(&self, address: Ipv6Addr) -> bool {
        self.own(address).is_some_and(Own::is_assigned)
    }

    /// Whether `address` is being tried.
    pub(crate) fn is_tentative(&self, address: Ipv6Addr) -> bool {
        self.own(address).is_some_and(Own::is_tentative)
    }

    /// Whether there is no address yet that is for more than the link, but one is
    /// being tried, or a router's advertisement may bring one.
    pub(crate) fn awaits_address(&self) -> bool {
        let beyond = |phase: fn(&Own) -> bool| {
            let mut addresses = self.addresses.iter();
            addresses.any(|own| own.origin != Origin::LinkLocal && phase(own))
        };
        let may_come = self.config.slaac || beyond(Own::is_tentative);
        self.enabled && may_come && !beyond(Own::is_assigned)
    }

    /// Whether new connections should not use `address` (RFC 4862, 5.5.4).
    #[cfg(test)]
    fn is_deprecated(&self, address: Ipv6Addr) -> bool {
        self.own(address).is_some_and(|own| own.deprecated)
    }

    /// Whether this host listens to the group.
    pub(crate) fn is_member(&self, group: Ipv6Addr) -> bool {
        group == ALL_NODES
            || self.groups.contains(group)
            || self
                .addresses
                .iter()
                .any(|own| own.phase != Phase::Duplicate && solicited_node(own.address()) == group)
    }

    /// The source address for packets to `destination` (RFC 6724, 5).
    pub(crate) fn source_for(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        source::select(&self.addresses, destination, self.config.temporary)
    }

    /// The neighbour that packets to `destination` go to.
    pub(crate) fn next_hop(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        self.hops.next(destination, &self.neighbors)
    }

    /// Whether link headers that flows keep are void since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        // Both flags are to be cleared.
        let neighbors = self.neighbors.take_changed();
        self.hops.take_changed() || neighbors
    }

    /// When [`ipv6_expire`](crate::Stack::ipv6_expire) next has work; the far
    /// future for never.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        self.next_due.min(self.neighbors.deadline())
    }

    /// Finds out anew what is due next.
    fn reschedule(&mut self, dns: Instant) {
        let others = [
            self.hops.deadline(),
            self.groups.deadline(),
            self.asking.due,
            self.dhcpv6.deadline(),
            dns,
        ];
        let addresses = self.addresses.iter();
        self.next_due = addresses
            .map(|own| own.due.min(own.next_stage()))
            .chain(others)
            .min()
            .unwrap_or(Instant::FAR_FUTURE);
    }

    /// Our link-local address, once it is ours.
    pub(crate) fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses
            .iter()
            .find(|own| own.origin == Origin::LinkLocal && own.is_assigned())
            .map(Own::address)
    }
}
