//! How an interface gets its IPv6 addresses.

use core::net::Ipv6Addr;

use arrayvec::ArrayVec;

use crate::{Config, Dhcpv6, Ipv6Cidr};

/// Where the lower 64 bits of addresses that the host makes itself come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceIds {
    /// From a secret and the prefix (RFC 7217): the same on every return to a
    /// network, different between networks, and saying nothing of the device.
    /// Without a secret one is made at boot, and addresses change with it.
    Stable(Option<[u8; 16]>),
    /// From the Ethernet address (RFC 4291, appendix A).
    Eui64,
}

/// How an interface gets its IPv6 addresses. It always has a link-local one.
#[derive(Clone, Debug)]
pub struct Ipv6Config {
    /// Addresses given by hand.
    pub addresses: ArrayVec<Ipv6Cidr, 4>,
    /// A default router given by hand. Without [`slaac`](Self::slaac) it is the
    /// only one: what routers advertise is ignored.
    pub gateway: Option<Ipv6Addr>,
    /// Makes addresses under the prefixes that routers advertise (RFC 4862).
    pub slaac: bool,
    /// Identifiers of the link-local address and of those made by SLAAC.
    pub identifiers: InterfaceIds,
    /// With SLAAC, also makes temporary addresses (RFC 8981) and prefers them
    /// as sources.
    pub temporary: bool,
    /// How often duplicate address detection asks before an address is used
    /// (RFC 4862, 5.1: DupAddrDetectTransmits); 0 turns it off.
    pub dad_transmits: u8,
    /// When DHCPv6 servers are asked for DNS servers and search domains.
    pub dhcpv6: Dhcpv6,
}

impl Ipv6Config {
    /// A link-local address with a stable identifier, routers as they
    /// advertise themselves, no other address.
    pub const LINK_LOCAL: Self = Self {
        addresses: ArrayVec::new_const(),
        gateway: None,
        slaac: false,
        identifiers: InterfaceIds::Stable(None),
        temporary: false,
        dad_transmits: 1,
        dhcpv6: Dhcpv6::Advertised,
    };

    /// Whether routers are listened to.
    pub(crate) const fn hears_routers(&self) -> bool {
        self.slaac || self.gateway.is_none()
    }
}

impl Default for Ipv6Config {
    fn default() -> Self {
        Self::LINK_LOCAL
    }
}

impl Config {
    fn change_ipv6(mut self, change: impl FnOnce(&mut Ipv6Config)) -> Self {
        change(self.ipv6.get_or_insert_default());
        self
    }

    /// The same with an IPv6 address; of more than four the first four stay.
    #[must_use]
    pub fn with_ipv6(self, address: Ipv6Cidr) -> Self {
        // A fifth is refused, as said.
        self.change_ipv6(|v6| {
            let _ = v6.addresses.try_push(address);
        })
    }

    /// The same with an IPv6 default router.
    #[must_use]
    pub fn with_ipv6_gateway(self, gateway: Ipv6Addr) -> Self {
        self.change_ipv6(|v6| v6.gateway = Some(gateway))
    }

    /// The same with IPv6 addresses made under advertised prefixes (RFC 4862).
    #[must_use]
    pub fn with_slaac(self, identifiers: InterfaceIds) -> Self {
        self.change_ipv6(|v6| {
            v6.slaac = true;
            v6.identifiers = identifiers;
        })
    }
}
