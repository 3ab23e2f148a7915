//! Ethernet II (RFC 894).

use core::fmt;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of a VLAN tag (IEEE 802.1Q, 9.3): the frame's own stands behind it.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// An Ethernet address.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: what an ARP request puts where it asks.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group of stations; broadcast does.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it names one station.
    #[inline]
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::ZERO
    }

    /// The group address that an IPv4 multicast address maps to (RFC 1112, 6.4).
    #[must_use]
    pub const fn of_multicast_v4(address: core::net::Ipv4Addr) -> Self {
        let [_, b, c, d] = address.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group address that an IPv6 multicast address maps to (RFC 2464, 7).
    #[must_use]
    pub const fn of_multicast_v6(address: core::net::Ipv6Addr) -> Self {
        let [.., c, d, e, f] = address.octets();
        Self([0x33, 0x33, c, d, e, f])
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An Ethernet II header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// What the frame carries: [`ETHERTYPE_IPV4`], ...
    pub ethertype: U16,
}

impl EthernetHeader {
    /// A header.
    #[inline]
    #[must_use]
    pub fn new(dst: MacAddr, src: MacAddr, ethertype: u16) -> Self {
        Self {
            dst,
            src,
            ethertype: U16::new(ethertype),
        }
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; super::ETHERNET_HEADER] {
        super::bytes_of(&self)
    }
}

const _: () = assert!(size_of::<EthernetHeader>() == super::ETHERNET_HEADER);
