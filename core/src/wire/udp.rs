//! The UDP header (RFC 768).

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::UDP_HEADER;

/// Where the checksum lies in a UDP header.
pub const CHECKSUM_AT: u16 = 6;

/// A UDP header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port; 0 when no answer is expected.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Bytes of header and payload together.
    pub len: U16,
    /// Checksum over pseudo-header, header and payload; 0 when there is none.
    pub checksum: U16,
}

const _: () = assert!(size_of::<UdpHeader>() == UDP_HEADER);
