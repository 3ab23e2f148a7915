//! ICMP for IPv4 (RFC 792, RFC 1122 3.2.2).

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ICMPV4_HEADER;

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of Destination Unreachable.
pub const DEST_UNREACHABLE: u8 = 3;
/// Type of Source Quench (deprecated, RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Type of Redirect.
pub const REDIRECT: u8 = 5;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of Time Exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Type of Parameter Problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of Destination Unreachable: network.
pub const NET_UNREACHABLE: u8 = 0;
/// Code of Destination Unreachable: host.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of Destination Unreachable: protocol.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of Destination Unreachable: port.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of Destination Unreachable: too big and not to be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of Destination Unreachable: source route failed.
pub const SOURCE_ROUTE_FAILED: u8 = 5;
/// Code of Time Exceeded: fragments did not come in time.
pub const REASSEMBLY: u8 = 1;

/// An ICMP header; `rest` means what type and code say.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Icmpv4Header {
    /// Message type: [`ECHO_REQUEST`], ...
    pub kind: u8,
    /// Subtype: [`PORT_UNREACHABLE`], ...
    pub code: u8,
    /// Checksum of the whole message.
    pub checksum: U16,
    /// Identifier and sequence number of an echo; unused, or the next hop's
    /// MTU in the low half, of Destination Unreachable.
    pub rest: [u8; 4],
}

const _: () = assert!(size_of::<Icmpv4Header>() == ICMPV4_HEADER);

impl Icmpv4Header {
    /// Whether it reports an error. RFC 1122, 3.2.2: no error message is ever
    /// sent about one of these; unknown types count as errors, to be safe.
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        !matches!(kind, ECHO_REPLY | ECHO_REQUEST | 9 | 10 | 13..=18)
    }

    /// The next hop's MTU that Fragmentation Needed carries (RFC 1191, 4); 0
    /// from routers that do not know of it.
    #[must_use]
    pub const fn next_hop_mtu(&self) -> u16 {
        u16::from_be_bytes([self.rest[2], self.rest[3]])
    }
}
