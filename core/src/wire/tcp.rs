//! The TCP header and its options (RFC 9293, 3.1 and 3.2).

use arrayvec::ArrayVec;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::TCP_HEADER;

pub use pollwire_offload::segment::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};

/// Longest options of a segment, bytes.
pub const MAX_OPTIONS: usize = 40;
/// Most SACK blocks that the option space holds (RFC 2018, 3).
pub const MAX_SACK_BLOCKS: usize = 4;

/// A TCP header without its options.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number of the first byte of payload, or of SYN.
    pub seq: U32,
    /// The next sequence number expected from the other side.
    pub ack: U32,
    /// Header length in words (high four bits), reserved bits, flags.
    pub offset_flags: U16,
    /// Receive window, not scaled.
    pub window: U16,
    /// Checksum over pseudo-header, header and payload.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

const _: () = assert!(size_of::<TcpHeader>() == TCP_HEADER);

impl TcpHeader {
    /// Header bytes, options included; below 20 in a broken segment.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.offset_flags.get() >> 12) * 4
    }

    /// [`FIN`], [`SYN`], ...
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u8 {
        let [_, flags] = self.offset_flags.get().to_be_bytes();
        flags
    }
}

/// The options of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size, only with SYN (RFC 9293, 3.7.1).
    pub mss: Option<u16>,
    /// Window scale, only with SYN (RFC 7323, 2), as it came: above 14 counts
    /// as 14.
    pub wscale: Option<u8>,
    /// Selective acknowledgements are welcome, only with SYN (RFC 2018, 2).
    pub sack_permitted: bool,
    /// Blocks received out of order: left edge and right edge (RFC 2018, 3).
    pub sack_blocks: ArrayVec<(u32, u32), MAX_SACK_BLOCKS>,
    /// Value and echo reply (RFC 7323, 3).
    pub timestamps: Option<(u32, u32)>,
}

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

impl TcpOptions {
    /// Parses the bytes behind the fixed header. Unknown options are skipped;
    /// a known one of the wrong length is skipped too. `None` when a length
    /// leads nowhere.
    ///
    /// RFC 9293, 3.1: "TCP implementations MUST be prepared to handle an
    /// illegal option length (e.g., zero)" (MUST-7).
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // A SYN's as Linux, and this stack, lays them out.
        if let Ok(options) = <&[u8; 20]>::try_from(bytes)
            && let [MSS, 4, m, n, SACK_PERMITTED, 2, rest @ ..] = options
            && let [TIMESTAMPS, 10, times @ .., NOP, WINDOW_SCALE, 3, shift] = rest
        {
            return Some(Self {
                mss: Some(u16::from_be_bytes([*m, *n])),
                wscale: Some(*shift),
                sack_permitted: true,
                sack_blocks: ArrayVec::new(),
                timestamps: Some(pair(times)),
            });
        }
        Self::parse_any(bytes)
    }

    #[inline(never)]
    fn parse_any(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while let [kind, rest @ ..] = bytes {
            bytes = match *kind {
                END => break,
                NOP => rest,
                kind => {
                    let len = usize::from(*rest.first()?);
                    options.take(kind, bytes.get(2..len)?);
                    bytes.get(len..)?
                }
            };
        }
        Some(options)
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) => self.wscale = Some(shift),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (SACK, blocks) if blocks.len() % 8 == 0 => {
                self.sack_blocks.clear();
                let (blocks, _) = blocks.as_chunks::<8>();
                self.sack_blocks
                    .extend(blocks.iter().take(MAX_SACK_BLOCKS).map(pair));
            }
            (TIMESTAMPS, value) => {
                if let Ok(value) = value.try_into() {
                    self.timestamps = Some(pair(value));
                }
            }
            _ => {}
        }
    }

    /// Its bytes, padded with NOP to a multiple of four: SYN's options first,
    /// then timestamps, then as many SACK blocks as still fit in 40 bytes.
    #[must_use]
    pub fn emit(&self) -> ArrayVec<u8, MAX_OPTIONS> {
        let mut out = ArrayVec::new();
        if let Some(mss) = self.mss {
            out.extend([MSS, 4]);
            out.extend(mss.to_be_bytes());
        }
        if let Some(shift) = self.wscale {
            out.extend([NOP, WINDOW_SCALE, 3, shift]);
        }
        if self.sack_permitted {
            out.extend([NOP, NOP, SACK_PERMITTED, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            out.extend([NOP, NOP, TIMESTAMPS, 10]);
            out.extend(value.to_be_bytes());
            out.extend(echo.to_be_bytes());
        }
        let room = out.remaining_capacity().saturating_sub(4) / 8;
        let count = room.min(self.sack_blocks.len());
        if let (1.., Ok(len)) = (count, u8::try_from(2 + 8 * count)) {
            out.extend([NOP, NOP, SACK, len]);
            for (left, right) in self.sack_blocks.iter().take(count) {
                out.extend(left.to_be_bytes());
                out.extend(right.to_be_bytes());
            }
        }
        out
    }
}

fn pair(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}
