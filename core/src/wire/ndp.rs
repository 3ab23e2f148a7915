//! Neighbour discovery (RFC 4861) and its options for routers (RFC 4191,
//! RFC 8106).
//!
//! A message is parsed from its type on, the ICMPv6 checksum left to the
//! caller. Its options are checked whole before any is used: RFC 4861, 4.6:
//! "Nodes MUST silently discard an ND packet that contains an option with
//! length zero."

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::MacAddr;
use super::icmpv6::{
    NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, REDIRECT, ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
};

/// RFC 4861, 6.1, 7.1 and 8.1: such a message was not forwarded.
pub const HOP_LIMIT: u8 = 255;

const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
const PREFIX_INFORMATION: u8 = 3;
const REDIRECTED_HEADER: u8 = 4;
const MTU: u8 = 5;
const ROUTE_INFORMATION: u8 = 24;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;

/// Flags of a neighbour advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Longest domain name, in text without a final dot.
const MAX_NAME: usize = 253;

/// How much a router wants to be used (RFC 4191, 2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// After all others.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Before all others.
    High,
}

impl Preference {
    /// From its two bits; `None` for the reserved value.
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Medium),
            1 => Some(Self::High),
            3 => Some(Self::Low),
            _ => None,
        }
    }
}

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpMessage<'a> {
    /// Asks routers to advertise (RFC 4861, 4.1).
    RouterSolicitation,
    /// A router tells of itself and the link (RFC 4861, 4.2).
    RouterAdvertisement(RouterAdvertisement, Options<'a>),
    /// Asks for a neighbour (RFC 4861, 4.3): the target.
    NeighborSolicitation(Ipv6Addr, Options<'a>),
    /// A neighbour tells of itself (RFC 4861, 4.4).
    NeighborAdvertisement(NeighborAdvertisement, Options<'a>),
    /// A router tells of a better first hop (RFC 4861, 4.5).
    Redirect(Redirect, Options<'a>),
}

/// The fixed part of a router advertisement, behind the ICMPv6 type, code and
/// checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Hop limit for outgoing packets; 0 leaves it open.
    pub hop_limit: u8,
    /// Addresses are given by DHCPv6.
    pub managed: bool,
    /// Other configuration is given by DHCPv6.
    pub other: bool,
    /// How much the router wants to be used.
    pub preference: Preference,
    /// Seconds for which it is a default router; 0: it is none.
    pub lifetime: u16,
    /// Milliseconds for which a neighbour counts as reachable; 0 leaves it open.
    pub reachable: u32,
    /// Milliseconds between solicitations; 0 leaves it open.
    pub retransmit: u32,
}

/// The fixed part of a neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what is known.
    pub replaces: bool,
    /// Whose it is.
    pub target: Ipv6Addr,
}

/// The fixed part of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The better first hop; equal to `destination` when that is on the link.
    pub target: Ipv6Addr,
    /// For packets to whom.
    pub destination: Ipv6Addr,
}

/// The options of a message, each known to lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

/// An option that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpOption<'a> {
    /// The sender's Ethernet address.
    SourceMac(MacAddr),
    /// The target's Ethernet address.
    TargetMac(MacAddr),
    /// A prefix of the link.
    Prefix(PrefixInformation),
    /// The packet that a redirect is about, from its IPv6 header on.
    RedirectedHeader(&'a [u8]),
    /// The link's MTU.
    Mtu(u32),
    /// A route through the router (RFC 4191, 2.3).
    Route(RouteInformation),
    /// DNS servers (RFC 8106, 5.1): seconds, and 16 bytes for each.
    DnsServers(u32, &'a [[u8; 16]]),
    /// DNS search list (RFC 8106, 5.2): seconds, and names to be
    /// [read](read_names).
    DnsSearch(u32, &'a [u8]),
}

/// A prefix information option (RFC 4861, 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix; bits behind `len` are to be ignored.
    pub prefix: Ipv6Addr,
    /// Its bits, 0 to 128.
    pub len: u8,
    /// Addresses under it are on the link.
    pub on_link: bool,
    /// Addresses may be made under it (RFC 4862).
    pub autonomous: bool,
    /// Seconds; `u32::MAX` is for ever.
    pub valid: u32,
    /// Seconds; `u32::MAX` is for ever.
    pub preferred: u32,
}

/// A route information option (RFC 4191, 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInformation {
    /// The prefix.
    pub prefix: Ipv6Addr,
    /// Its bits, 0 to 128.
    pub len: u8,
    /// How much this router wants to be used for it.
    pub preference: Preference,
    /// Seconds; 0 takes it back, `u32::MAX` is for ever.
    pub lifetime: u32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAdvertisement {
    hop_limit: u8,
    flags: u8,
    lifetime: U16,
    reachable: U32,
    retransmit: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPrefix {
    len: u8,
    flags: u8,
    valid: U32,
    preferred: U32,
    reserved: U32,
    prefix: [u8; 16],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTargets {
    first: [u8; 4],
    target: [u8; 16],
}

impl<'a> NdpMessage<'a> {
    /// Parses the ICMPv6 message `bytes`. `None` when its code is not 0, it is
    /// too short, its options do not add up, or it is of another type.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, code, _, _], body) = bytes.split_first_chunk::<4>()?;
        if code != 0 {
            return None;
        }
        match kind {
            ROUTER_SOLICITATION => {
                Options::new(body.get(4..)?)?;
                Some(Self::RouterSolicitation)
            }
            ROUTER_ADVERTISEMENT => {
                let (raw, options) = RawAdvertisement::ref_from_prefix(body).ok()?;
                Some(Self::RouterAdvertisement(
                    raw.value(),
                    Options::new(options)?,
                ))
            }
            NEIGHBOR_SOLICITATION => {
                let (raw, options) = RawTargets::ref_from_prefix(body).ok()?;
                Some(Self::NeighborSolicitation(
                    raw.target.into(),
                    Options::new(options)?,
                ))
            }
            NEIGHBOR_ADVERTISEMENT => {
                let (raw, options) = RawTargets::ref_from_prefix(body).ok()?;
                let [flags, ..] = raw.first;
                let advertisement = NeighborAdvertisement {
                    router: flags & ROUTER != 0,
                    solicited: flags & SOLICITED != 0,
                    replaces: flags & OVERRIDE != 0,
                    target: raw.target.into(),
                };
                Some(Self::NeighborAdvertisement(
                    advertisement,
                    Options::new(options)?,
                ))
            }
            REDIRECT => {
                let (raw, rest) = RawTargets::ref_from_prefix(body).ok()?;
                let (destination, options) = rest.split_first_chunk::<16>()?;
                let redirect = Redirect {
                    target: raw.target.into(),
                    destination: (*destination).into(),
                };
                Some(Self::Redirect(redirect, Options::new(options)?))
            }
            _ => None,
        }
    }
}

impl RawAdvertisement {
    fn value(&self) -> RouterAdvertisement {
        // RFC 4191, 2.2: a reserved preference counts as medium; without a
        // lifetime it means nothing.
        let preference = Preference::from_bits(self.flags >> 3).unwrap_or_default();
        RouterAdvertisement {
            hop_limit: self.hop_limit,
            managed: self.flags & 0x80 != 0,
            other: self.flags & 0x40 != 0,
            preference,
            lifetime: self.lifetime.get(),
            reachable: self.reachable.get(),
            retransmit: self.retransmit.get(),
        }
    }
}

impl<'a> Options<'a> {
    /// Checks all lengths.
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while let [_, words, ..] = rest {
            let len = usize::from(*words) * 8;
            rest = rest.get(len.max(1)..).filter(|_| len > 0)?;
        }
        rest.is_empty().then_some(Self(bytes))
    }

    /// The options that are understood, in their order; others are skipped, as
    /// are those whose length is not that of their type.
    pub fn iter(self) -> impl Iterator<Item = NdpOption<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let len = usize::from(*rest.get(1)?) * 8;
            let (option, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some(option)
        })
        .filter_map(|option| {
            let (&[kind, _], value) = option.split_first_chunk::<2>()?;
            NdpOption::parse(kind, value)
        })
    }

    /// The sender's Ethernet address, if it is told and can be one.
    #[must_use]
    pub fn source_mac(self) -> Option<MacAddr> {
        self.iter().find_map(|option| match option {
            NdpOption::SourceMac(mac) => Some(mac),
            _ => None,
        })
    }

    /// The target's Ethernet address, if it is told and can be one.
    #[must_use]
    pub fn target_mac(self) -> Option<MacAddr> {
        self.iter().find_map(|option| match option {
            NdpOption::TargetMac(mac) => Some(mac),
            _ => None,
        })
    }
}

impl<'a> NdpOption<'a> {
    /// `value` is what stands behind type and length.
    fn parse(kind: u8, value: &'a [u8]) -> Option<Self> {
        match kind {
            SOURCE_MAC => Some(Self::SourceMac(mac(value)?)),
            TARGET_MAC => Some(Self::TargetMac(mac(value)?)),
            PREFIX_INFORMATION => {
                let raw = RawPrefix::ref_from_bytes(value).ok()?;
                (raw.len <= 128).then(|| {
                    Self::Prefix(PrefixInformation {
                        prefix: raw.prefix.into(),
                        len: raw.len,
                        on_link: raw.flags & 0x80 != 0,
                        autonomous: raw.flags & 0x40 != 0,
                        valid: raw.valid.get(),
                        preferred: raw.preferred.get(),
                    })
                })
            }
            REDIRECTED_HEADER => Some(Self::RedirectedHeader(value.get(6..)?)),
            MTU => match *value {
                [_, _, a, b, c, d] => Some(Self::Mtu(u32::from_be_bytes([a, b, c, d]))),
                _ => None,
            },
            ROUTE_INFORMATION => parse_route(value),
            RDNSS => {
                let (lifetime, rest) = lifetime(value)?;
                let (addresses, odd) = rest.as_chunks::<16>();
                // RFC 8106, 5.3.1: one address at least, and whole ones only.
                (!addresses.is_empty() && odd.is_empty())
                    .then_some(Self::DnsServers(lifetime, addresses))
            }
            DNSSL => {
                let (lifetime, names) = lifetime(value)?;
                (!names.is_empty()).then_some(Self::DnsSearch(lifetime, names))
            }
            _ => None,
        }
    }
}

fn mac(value: &[u8]) -> Option<MacAddr> {
    // Eight bytes with type and length: Ethernet's.
    let mac = MacAddr(<[u8; 6]>::try_from(value).ok()?);
    mac.is_unicast().then_some(mac)
}

/// The lifetime that stands behind two reserved bytes, and what follows it.
fn lifetime(value: &[u8]) -> Option<(u32, &[u8])> {
    let (&[_, _, a, b, c, d], rest) = value.split_first_chunk::<6>()?;
    Some((u32::from_be_bytes([a, b, c, d]), rest))
}

/// RFC 4191, 2.3: as many bytes of the prefix as its length needs.
fn parse_route(value: &[u8]) -> Option<NdpOption<'_>> {
    let (&[len, flags, a, b, c, d], rest) = value.split_first_chunk::<6>()?;
    let needed = match len {
        0 => 0,
        1..=64 => 8,
        65..=128 => 16,
        _ => return None,
    };
    if rest.len() < needed {
        return None;
    }
    let mut prefix = [0; 16];
    for (to, from) in prefix.iter_mut().zip(rest) {
        *to = *from;
    }
    Some(NdpOption::Route(RouteInformation {
        prefix: prefix.into(),
        len,
        // "If the Reserved (10) value is received, the Route Information Option
        // MUST be ignored."
        preference: Preference::from_bits(flags >> 3)?,
        lifetime: u32::from_be_bytes([a, b, c, d]),
    }))
}

/// Reads up to `most` domain names (RFC 1035, 3.1, without compression) that
/// are padded with zeros; stops at anything that is no name.
#[must_use]
pub fn read_names(bytes: &[u8], most: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = bytes;
    while names.len() < most {
        let Some((name, behind)) = read_name(rest) else {
            break;
        };
        names.push(name);
        rest = behind;
    }
    names
}

/// One name, without its final dot, and what stands behind it. Only letters,
/// digits, hyphens and underscores are taken: what is found here ends in
/// queries and logs.
fn read_name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    loop {
        let (&len, rest) = bytes.split_first()?;
        if len == 0 {
            return (!name.is_empty()).then_some((name, rest));
        }
        // The two highest bits would mean compression.
        let (label, behind) = rest.split_at_checked(usize::from(len))?;
        if len > 63 || name.len() + label.len() + 1 > MAX_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return None;
            }
            name.push(char::from(byte.to_ascii_lowercase()));
        }
        bytes = behind;
    }
}

/// A neighbour solicitation's bytes, checksum zero.
#[must_use]
pub fn emit_solicitation(target: Ipv6Addr, source: Option<MacAddr>) -> ([u8; 32], usize) {
    let mut out = [0; 32];
    out[0] = NEIGHBOR_SOLICITATION;
    out[8..24].copy_from_slice(&target.octets());
    // RFC 4861, 4.3: "MUST NOT be included when the source IP address is the
    // unspecified address".
    let Some(source) = source else {
        return (out, 24);
    };
    out[24..].copy_from_slice(&mac_option(SOURCE_MAC, source));
    (out, 32)
}

/// A neighbour advertisement's bytes, checksum zero.
#[must_use]
pub fn emit_advertisement(advertisement: &NeighborAdvertisement, mac: MacAddr) -> [u8; 32] {
    let mut out = [0; 32];
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out[0] = NEIGHBOR_ADVERTISEMENT;
    out[4] = flag(advertisement.router, ROUTER)
        | flag(advertisement.solicited, SOLICITED)
        | flag(advertisement.replaces, OVERRIDE);
    out[8..24].copy_from_slice(&advertisement.target.octets());
    out[24..].copy_from_slice(&mac_option(TARGET_MAC, mac));
    out
}

/// A router solicitation's bytes, checksum zero, and how many of them it is.
#[must_use]
pub fn emit_router_solicitation(source: Option<MacAddr>) -> ([u8; 16], usize) {
    let mut out = [0; 16];
    out[0] = ROUTER_SOLICITATION;
    let Some(source) = source else {
        return (out, 8);
    };
    out[8..].copy_from_slice(&mac_option(SOURCE_MAC, source));
    (out, 16)
}

const fn mac_option(kind: u8, mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [kind, 1, a, b, c, d, e, f]
}
