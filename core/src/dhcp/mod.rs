//! DHCP for IPv4, the client's side (RFC 2131).
//!
//! | file | what it holds |
//! |---|---|
//! | [`client`] | the client's states and timers, without input or output |
//! | [`apply`] | what they mean to the stack: addresses, routes, DNS servers |

mod apply;
mod client;
#[cfg(test)]
mod tests;

use alloc::string::String;
use core::net::Ipv4Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

pub(crate) use client::Client;

use crate::iface::Ipv4Cidr;
use crate::wire::dhcp::{MAX_LIST, MAX_ROUTES};

/// How the DHCP client goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpConfig {
    /// What this host calls itself to the server, at most 255 bytes; empty for
    /// nothing.
    pub host_name: String,
    /// Whether an address is probed for before it is used (RFC 5227, 2.1), so
    /// that one that another host has is declined. It takes 4 to 7 seconds. On
    /// by default.
    pub probe: bool,
    /// An address of an earlier boot that is asked for first (INIT-REBOOT).
    pub reboot: Option<Ipv4Addr>,
    /// What to fall back to while no server answers.
    pub fallback: Option<Fallback>,
}

/// A configuration for when no DHCP server answers. A lease that comes later
/// takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The address.
    pub address: Ipv4Cidr,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// How long to wait for a lease first.
    pub after: Duration,
}

impl DhcpConfig {
    /// With probes, and nothing else.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            host_name: String::new(),
            probe: true,
            reboot: None,
            fallback: None,
        }
    }
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What a DHCP server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpLease {
    /// The address and its subnet.
    pub address: Ipv4Cidr,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Default routers, the best first; not used beside classless routes.
    pub routers: ArrayVec<Ipv4Addr, MAX_LIST>,
    /// Classless routes (RFC 3442); an unspecified router means the link.
    pub routes: ArrayVec<(Ipv4Cidr, Ipv4Addr), MAX_ROUTES>,
    /// DNS servers, the best first.
    pub dns_servers: ArrayVec<Ipv4Addr, MAX_LIST>,
    /// This host's domain; empty for none.
    pub domain: String,
    /// The link's MTU.
    pub mtu: Option<u16>,
    /// When the server is asked for more time: T1.
    pub renew_at: Instant,
    /// When any server is asked for it: T2.
    pub rebind_at: Instant,
    /// When the address is not ours any more; the far future for never.
    pub expires_at: Instant,
}

impl DhcpLease {
    /// Whether both mean the same to the stack, for whatever time.
    fn is_same_network(&self, other: &Self) -> bool {
        self.address == other.address
            && self.routers == other.routers
            && self.routes == other.routes
            && self.dns_servers == other.dns_servers
            && self.domain == other.domain
            && self.mtu == other.mtu
    }
}
