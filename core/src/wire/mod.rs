//! Wire formats: fixed headers as views over bytes, and values where a message
//! is small enough to be parsed whole.
//!
//! A header type such as [`Ipv4Header`] lies over the bytes themselves
//! (zerocopy, every field big-endian and unaligned):
//! `Ipv4Header::ref_from_prefix(bytes)` checks the length once and every
//! accessor after that is free of checks and panics. A value type such as
//! [`ArpRepr`] or [`tcp::TcpOptions`] has `parse` and `emit`, and
//! `parse(emit(value)) == value` holds for every value.
//!
//! Nothing here decides what to do with a packet; that is the business of
//! `ip`, `udp` and `tcp`.

pub mod arp;
pub mod dhcp;
pub mod dhcpv6;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod tcp;
pub mod udp;

#[cfg(test)]
mod tests;

use core::net::Ipv4Addr;

use zerocopy::{Immutable, IntoBytes};

pub use arp::{ArpOperation, ArpRepr};
pub use ethernet::{EthernetHeader, MacAddr};
pub use icmpv4::Icmpv4Header;
pub use icmpv6::Icmpv6Header;
pub use ipv4::Ipv4Header;
pub use ipv6::{Ipv6Header, UnicastV6};
pub use tcp::TcpHeader;
pub use udp::UdpHeader;

/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// Bytes of an ARP message for IPv4 over Ethernet.
pub const ARP_MESSAGE: usize = 28;
/// Bytes of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Bytes of an ICMPv4 header.
pub const ICMPV4_HEADER: usize = 8;
/// Bytes of the fixed IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Bytes of an ICMPv6 header.
pub const ICMPV6_HEADER: usize = 8;
/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Bytes of a TCP header without options.
pub const TCP_HEADER: usize = 20;

/// The bytes of a header, `N` long as the header is.
#[inline]
fn bytes_of<H: IntoBytes + Immutable, const N: usize>(header: &H) -> [u8; N] {
    const { assert!(size_of::<H>() == N) };
    let mut bytes = [0; N];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

/// An IPv4 address that names one host: not unspecified, loopback, multicast,
/// limited broadcast or reserved. Whether it is some subnet's broadcast address
/// only that subnet knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnicastV4(Ipv4Addr);

impl UnicastV4 {
    /// Checks `address` once and for all.
    #[inline]
    #[must_use]
    pub const fn new(address: Ipv4Addr) -> Option<Self> {
        // 0.0.0.0/8 "this network" and 127.0.0.0/8 never appear on a wire as a
        // source (RFC 1122, 3.2.1.3); 224.0.0.0/4 and above name no host.
        match address.octets()[0] {
            0 | 127 | 224.. => None,
            _ => Some(Self(address)),
        }
    }

    /// The address.
    #[inline]
    #[must_use]
    pub const fn get(self) -> Ipv4Addr {
        self.0
    }
}

impl From<UnicastV4> for Ipv4Addr {
    fn from(address: UnicastV4) -> Self {
        address.0
    }
}
