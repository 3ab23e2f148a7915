//! The IPv6 header and its extension headers (RFC 8200).

use core::net::Ipv6Addr;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{IPV6_HEADER, bytes_of};
use crate::DropReason;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Next header: nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;
/// Next header: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// RFC 8200, 5: the MTU that every link carries.
pub const MIN_MTU: u16 = 1280;
/// Most extension headers of a packet. RFC 8504, 5.3, lets hosts limit them.
pub const MAX_EXTENSIONS: usize = 8;
/// Most bytes of extension headers together.
pub const MAX_EXTENSION_BYTES: usize = 208;
/// Most options, padding not counted, in one header (RFC 8504, 5.3).
const MAX_OPTIONS: usize = 8;

/// The fixed IPv6 header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (four bits), traffic class (eight), flow label (twenty).
    pub version_class_flow: U32,
    /// Bytes behind this header, extension headers included.
    pub payload_len: U16,
    /// What follows: [`HOP_BY_HOP`], [`PROTOCOL_ICMPV6`], ...
    pub next_header: u8,
    /// Routers that may still forward it.
    pub hop_limit: u8,
    /// Source.
    pub src: [u8; 16],
    /// Destination.
    pub dst: [u8; 16],
}

const _: () = assert!(size_of::<Ipv6Header>() == IPV6_HEADER);

impl Ipv6Header {
    /// Where the next header field lies.
    pub const NEXT_HEADER_AT: usize = 6;
    /// Version 6, traffic class and flow label zero.
    pub const VERSION: u32 = 0x6000_0000;

    /// Version, 6 in a sound packet.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version_class_flow.as_bytes()[0] >> 4
    }

    /// Differentiated services (high six bits) and ECN.
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        let [a, b, ..] = self.version_class_flow.get().to_be_bytes();
        a << 4 | b >> 4
    }

    /// Source.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        self.src.into()
    }

    /// Destination.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        self.dst.into()
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; IPV6_HEADER] {
        bytes_of(&self)
    }
}

/// The fragment header (RFC 8200, 4.5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct FragmentHeader {
    /// What the fragmentable part begins with.
    pub next_header: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset in units of eight bytes (high thirteen bits), two reserved bits,
    /// and whether more fragments follow.
    pub offset_more: U16,
    /// Identification of the packet that fragments belong to.
    pub ident: U32,
}

impl FragmentHeader {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// Where its data lies in the fragmentable part, bytes.
    #[inline]
    #[must_use]
    pub fn offset(&self) -> usize {
        usize::from(self.offset_more.get() & 0xfff8)
    }

    /// More fragments follow.
    #[inline]
    #[must_use]
    pub fn more(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }

    /// The only fragment of its packet (RFC 6946).
    #[inline]
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.offset() == 0 && !self.more()
    }
}

/// A fragment, found on the way through the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFragment {
    /// Its header.
    pub header: FragmentHeader,
    /// Where that header begins, from the start of the packet: the length of
    /// the unfragmentable part.
    pub at: usize,
    /// Where the next-header field that announced it lies.
    pub announced_at: usize,
}

/// What lies behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// The upper-layer protocol, or [`FRAGMENT`] in front of a fragment.
    pub next_header: u8,
    /// Where it begins, from the start of the packet.
    pub at: usize,
    /// Where the field that names it lies.
    pub announced_at: usize,
    /// The packet is one of several fragments.
    pub fragment: Option<FoundFragment>,
    /// There is a fragment header, be it one that stands alone (RFC 6946).
    pub fragmented: bool,
    /// The hop-by-hop options ask routers to look (RFC 2711).
    pub router_alert: bool,
}

/// Code of Parameter Problem: an erroneous field.
pub const ERRONEOUS_FIELD: u8 = 0;
/// Code of Parameter Problem: unrecognized next header.
pub const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
/// Code of Parameter Problem: unrecognized option.
pub const UNRECOGNIZED_OPTION: u8 = 2;

/// Why extension headers are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadExtension {
    /// What it counts as.
    pub reason: DropReason,
    /// Code and pointer of the Parameter Problem that tells the sender.
    pub problem: Option<(u8, usize)>,
    /// Tell it even if the packet was for a group.
    pub even_group: bool,
}

impl BadExtension {
    const fn silent(reason: DropReason) -> Self {
        Self {
            reason,
            problem: None,
            even_group: false,
        }
    }

    const fn told(reason: DropReason, code: u8, at: usize) -> Self {
        Self {
            reason,
            problem: Some((code, at)),
            even_group: false,
        }
    }
}

/// Walks the extension headers of `packet`, which begins with its fixed header
/// and ends where that says. Begins with the header `next` at `at`, announced
/// by the field at `announced_at`.
///
/// The walk ends at the upper-layer protocol or in front of a fragment; a
/// fragment header that stands alone (RFC 6946) is stepped over.
///
/// # Errors
/// [`BadExtension`]: headers beyond the limits or the packet, options whose
/// type wants the packet discarded, a routing header with segments left.
pub fn walk_extensions(
    packet: &[u8],
    next: u8,
    at: usize,
    announced_at: usize,
) -> Result<Extensions, BadExtension> {
    let malformed = BadExtension::silent(DropReason::Ipv6BadExtension);
    let mut found = Extensions {
        next_header: next,
        at,
        announced_at,
        fragment: None,
        fragmented: false,
        router_alert: false,
    };
    for count in 0.. {
        let (at, announced_at) = (found.at, found.announced_at);
        let len = match found.next_header {
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {
                let words = *packet.get(at + 1).ok_or(malformed)?;
                (usize::from(words) + 1) * 8
            }
            FRAGMENT => FragmentHeader::LEN,
            NO_NEXT_HEADER => return Err(BadExtension::silent(DropReason::Ipv6NoNextHeader)),
            _ => return Ok(found),
        };
        // RFC 8200, 4.1: hop-by-hop options stand right behind the fixed
        // header; anywhere else their number is an unrecognized next header.
        if found.next_header == HOP_BY_HOP && at != IPV6_HEADER {
            return Err(BadExtension::told(
                DropReason::Ipv6UnknownProtocol,
                UNRECOGNIZED_NEXT_HEADER,
                announced_at,
            ));
        }
        if count >= MAX_EXTENSIONS || at + len > IPV6_HEADER + MAX_EXTENSION_BYTES {
            return Err(BadExtension::silent(DropReason::Ipv6ExtensionLimit));
        }
        let header = packet.get(at..at + len).ok_or(malformed)?;
        match found.next_header {
            ROUTING => check_routing(header, at)?,
            FRAGMENT => {
                let (fragment, _) =
                    FragmentHeader::read_from_prefix(header).map_err(|_| malformed)?;
                found.fragmented = true;
                if !fragment.is_atomic() {
                    found.fragment = Some(FoundFragment {
                        header: fragment,
                        at,
                        announced_at,
                    });
                    return Ok(found);
                }
            }
            _ => found.router_alert |= walk_options(header, at)?,
        }
        found.next_header = header.first().copied().ok_or(malformed)?;
        found.at = at + len;
        found.announced_at = at;
    }
    Err(malformed)
}

/// The upper-layer protocol of `packet` and where it begins, whatever its
/// extension headers say beside their lengths. `None` when they lead out of it.
#[must_use]
pub fn skip_extensions(packet: &[u8], mut next: u8) -> Option<(u8, usize)> {
    let mut at = IPV6_HEADER;
    while matches!(next, HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | FRAGMENT) {
        let &[following, words] = packet.get(at..)?.first_chunk::<2>()?;
        // A fragment header has no length: that byte is reserved.
        let words = if next == FRAGMENT { 0 } else { words };
        at += (usize::from(words) + 1) * 8;
        next = following;
    }
    Some((next, at))
}

/// RFC 8200, 4.4: a routing header of a type that is not known is ignored when
/// no segments are left, else the packet is refused. No type is known here;
/// RFC 5095 wants type 0 treated so too.
fn check_routing(header: &[u8], at: usize) -> Result<(), BadExtension> {
    match header.get(3) {
        Some(0) => Ok(()),
        _ => Err(BadExtension::told(
            DropReason::Ipv6RoutingHeader,
            ERRONEOUS_FIELD,
            at + 2,
        )),
    }
}

/// Walks the options of `header`, which stands at `at` in its packet, and
/// returns whether a router alert is among them.
///
/// RFC 8200, 4.2: of a type that is not known, the two highest bits say what
/// becomes of the packet.
fn walk_options(header: &[u8], at: usize) -> Result<bool, BadExtension> {
    const PAD1: u8 = 0;
    const PAD_N: u8 = 1;
    const ROUTER_ALERT: u8 = 5;
    let malformed = BadExtension::silent(DropReason::Ipv6BadExtension);
    let limit = BadExtension::silent(DropReason::Ipv6ExtensionLimit);
    let (mut alert, mut options, mut padding) = (false, 0, 0_usize);
    let mut offset = 2;
    while let Some(&kind) = header.get(offset) {
        let len = if kind == PAD1 {
            1
        } else {
            2 + usize::from(*header.get(offset + 1).ok_or(malformed)?)
        };
        if offset + len > header.len() {
            return Err(malformed);
        }
        if matches!(kind, PAD1 | PAD_N) {
            // RFC 8504, 5.3: padding beyond what aligns serves no purpose.
            padding += len;
            if padding > 7 {
                return Err(limit);
            }
        } else {
            padding = 0;
            options += 1;
            if options > MAX_OPTIONS {
                return Err(limit);
            }
            alert |= kind == ROUTER_ALERT;
            if kind != ROUTER_ALERT {
                check_option(kind, at + offset)?;
            }
        }
        offset += len;
    }
    Ok(alert)
}

fn check_option(kind: u8, at: usize) -> Result<(), BadExtension> {
    let reason = DropReason::Ipv6UnknownOption;
    match kind >> 6 {
        0 => Ok(()),
        1 => Err(BadExtension::silent(reason)),
        2 => Err(BadExtension {
            even_group: true,
            ..BadExtension::told(reason, UNRECOGNIZED_OPTION, at)
        }),
        _ => Err(BadExtension::told(reason, UNRECOGNIZED_OPTION, at)),
    }
}

/// An IPv6 address that names one interface on a wire: not unspecified,
/// loopback, multicast or IPv4-mapped.
///
/// IPv4-mapped addresses (RFC 4291, 2.5.5.2) stand for IPv4 within programs; on
/// a wire they could pass for an IPv4 peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnicastV6(Ipv6Addr);

impl UnicastV6 {
    /// Checks `address` once and for all.
    #[inline]
    #[must_use]
    pub const fn new(address: Ipv6Addr) -> Option<Self> {
        let [a, b, c, d, e, f, ..] = address.segments();
        let multicast = a >> 8 == 0xff;
        let low = a | b | c | d | e == 0;
        // ::, ::1 and ::ffff:0:0/96.
        let special = low && (f == 0xffff || address.to_bits() <= 1);
        if multicast || special {
            None
        } else {
            Some(Self(address))
        }
    }

    /// The address.
    #[inline]
    #[must_use]
    pub const fn get(self) -> Ipv6Addr {
        self.0
    }

    /// Whether it is valid on its link only (fe80::/10).
    #[inline]
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        self.0.is_unicast_link_local()
    }
}

/// All nodes of the link (RFC 4291, 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All routers that understand MLDv2 (RFC 3810, 5.2.14).
pub const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The group in which neighbours ask for `address` (RFC 4291, 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(PREFIX | (address.to_bits() & 0x00ff_ffff))
}
