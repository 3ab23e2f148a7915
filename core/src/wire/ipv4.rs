//! The IPv4 header (RFC 791).

use core::net::Ipv4Addr;

use pollwire_offload::checksum::Sum;
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{IPV4_HEADER, bytes_of};

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of IGMP.
pub const PROTOCOL_IGMP: u8 = 2;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Don't Fragment, in [`Ipv4Header::flags_fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// More Fragments, in [`Ipv4Header::flags_fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment's offset in units of eight bytes, in
/// [`Ipv4Header::flags_fragment`].
pub const FRAGMENT_OFFSET: u16 = 0x1fff;

/// An IPv4 header without its options.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high four bits) and header length in words.
    pub version_ihl: u8,
    /// Differentiated services (high six bits) and ECN.
    pub tos: u8,
    /// Bytes of header and payload together.
    pub total_len: U16,
    /// Identification of the datagram that fragments belong to.
    pub ident: U16,
    /// Flags (high three bits) and fragment offset.
    pub flags_fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// What the packet carries: [`PROTOCOL_TCP`], ...
    pub protocol: u8,
    /// Checksum of the header, options included.
    pub checksum: U16,
    /// Source.
    pub src: [u8; 4],
    /// Destination.
    pub dst: [u8; 4],
}

const _: () = assert!(size_of::<Ipv4Header>() == IPV4_HEADER);

impl Ipv4Header {
    /// Version 4 and a header of five words: no options.
    pub const VERSION_IHL_PLAIN: u8 = 0x45;

    /// Version, 4 in a sound packet.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Header bytes, options included; below 20 in a broken packet.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether it is a fragment, the first one included.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.flags_fragment.get() & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Source.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        self.src.into()
    }

    /// Destination.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        self.dst.into()
    }

    /// Its bytes with the checksum filled in; right for a header without
    /// options.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; IPV4_HEADER] {
        let blank = Self {
            checksum: U16::ZERO,
            ..self
        };
        let sum = Sum::of_array::<IPV4_HEADER>(&bytes_of(&blank));
        bytes_of(&Self {
            checksum: U16::new(sum.finish()),
            ..self
        })
    }
}

/// Whether `options`, the bytes behind the fixed header, can be walked to their
/// end; tells if they hold a source route.
///
/// RFC 1122, 3.2.1.8: options that are not understood "MUST be silently
/// ignored". A length that leads out of the options makes the packet
/// unparsable: `None`.
#[must_use]
pub fn walk_options(mut options: &[u8]) -> Option<OptionsFound> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut found = OptionsFound::default();
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => break,
            NO_OPERATION => rest,
            kind => {
                let len = usize::from(*rest.first()?);
                found.source_route |= matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
                if len < 2 {
                    return None;
                }
                options.get(len..)?
            }
        };
    }
    Some(found)
}

/// What [`walk_options`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionsFound {
    /// A loose or strict source route.
    pub source_route: bool,
}
