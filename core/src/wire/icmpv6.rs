//! ICMP for IPv6 (RFC 4443).

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ICMPV6_HEADER;

/// Type of Destination Unreachable.
pub const DEST_UNREACHABLE: u8 = 1;
/// Type of Packet Too Big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type of Time Exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Type of Parameter Problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type of a multicast listener query.
pub const MLD_QUERY: u8 = 130;
/// Type of a multicast listener report, version 1.
pub const MLD_REPORT: u8 = 131;
/// Type of a multicast listener's leaving, version 1.
pub const MLD_DONE: u8 = 132;
/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of a neighbour solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Type of a redirect.
pub const REDIRECT: u8 = 137;
/// Type of a multicast listener report, version 2.
pub const MLD_REPORT_V2: u8 = 143;

/// Code of Destination Unreachable: port.
pub const PORT_UNREACHABLE: u8 = 4;
/// Code of Time Exceeded: hop limit.
pub const HOP_LIMIT_EXCEEDED: u8 = 0;
/// Code of Time Exceeded: reassembly.
pub const REASSEMBLY_EXCEEDED: u8 = 1;
/// Code of Parameter Problem: the first fragment lacks headers (RFC 7112).
pub const INCOMPLETE_HEADER_CHAIN: u8 = 3;

/// An ICMPv6 header; `rest` means what type and code say.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Icmpv6Header {
    /// Message type: [`ECHO_REQUEST`], ...
    pub kind: u8,
    /// Subtype: [`PORT_UNREACHABLE`], ...
    pub code: u8,
    /// Checksum of pseudo-header and message (RFC 4443, 2.3).
    pub checksum: U16,
    /// Identifier and sequence number of an echo, the MTU of Packet Too Big,
    /// the pointer of Parameter Problem.
    pub rest: [u8; 4],
}

const _: () = assert!(size_of::<Icmpv6Header>() == ICMPV6_HEADER);

impl Icmpv6Header {
    /// RFC 4443, 2.1: error messages have types below 128.
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}
