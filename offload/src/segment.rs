//! Cutting a large TCP segment into pieces that fit the MTU (TSO, GSO), and the
//! rule by which consecutive segments may be joined again (GRO).
//!
//! ```
//! use core::num::NonZeroU16;
//! use pollwire_offload::segment::segments;
//!
//! let mss = NonZeroU16::new(1460).unwrap();
//! let cut: Vec<_> = segments(3000, mss).map(|s| (s.offset, s.len)).collect();
//! assert_eq!(cut, [(0, 1460), (1460, 1460), (2920, 80)]);
//! ```

use crate::checksum::Sum;
use core::iter::FusedIterator;
use core::num::NonZeroU16;

/// TCP flag FIN (RFC 9293 section 3.1).
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag PSH.
pub const PSH: u8 = 0x08;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;
/// TCP flag URG.
pub const URG: u8 = 0x20;
/// TCP flag ECE (RFC 3168).
pub const ECE: u8 = 0x40;
/// TCP flag CWR (RFC 3168).
pub const CWR: u8 = 0x80;

/// One piece of a large segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its payload starts in the large segment's payload, in bytes. This
    /// is also what its sequence number is ahead by.
    pub offset: usize,
    /// Its payload length in bytes, 1 to the MSS (0 only if all is empty).
    pub len: usize,
    /// Its place in the row, from 0: what its IPv4 identification is ahead by.
    pub index: usize,
    /// Whether it is the last of the row.
    pub last: bool,
}

impl Segment {
    /// The flags of this piece, given those of the large segment: FIN and PSH
    /// belong to the last piece only, CWR to the first only.
    #[inline]
    #[must_use]
    pub const fn flags(self, whole: u8) -> u8 {
        let late = if self.last { 0 } else { FIN | PSH };
        let early = if self.index == 0 { 0 } else { CWR };
        whole & !(late | early)
    }
}

/// The pieces of `payload_len` bytes, each of at most `mss`. An empty payload
/// gives one empty piece.
#[inline]
#[must_use]
pub const fn segments(payload_len: usize, mss: NonZeroU16) -> Segments {
    Segments {
        payload_len,
        mss: mss.get() as usize,
        offset: 0,
        index: 0,
        done: false,
    }
}

/// Iterator over the pieces of a large segment; see [`segments`].
#[derive(Clone, Debug)]
pub struct Segments {
    payload_len: usize,
    mss: usize,
    offset: usize,
    index: usize,
    done: bool,
}

impl Iterator for Segments {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        if self.done {
            return None;
        }
        let left = self.payload_len - self.offset;
        let segment = Segment {
            offset: self.offset,
            len: left.min(self.mss),
            index: self.index,
            last: left <= self.mss,
        };
        self.offset += segment.len;
        self.index += 1;
        self.done = segment.last;
        Some(segment)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.payload_len - self.offset;
        let count = if self.done {
            0
        } else {
            left.div_ceil(self.mss).max(1)
        };
        (count, Some(count))
    }
}

impl ExactSizeIterator for Segments {}
impl FusedIterator for Segments {}

/// Where the headers lie in a header block that ends where the payload starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLayout {
    /// Offset of the IPv4 or IPv6 header in bytes: 14 behind plain Ethernet.
    pub ip: usize,
    /// Offset of the TCP header in bytes.
    pub tcp: usize,
}

/// What to leave in the TCP checksum field.
#[derive(Clone, Copy, Debug)]
pub enum TcpChecksum {
    /// The complete checksum; takes the sum of the piece's payload.
    Complete(Sum),
    /// The sum of the pseudo header, not complemented: the device adds the rest.
    Partial,
}

/// A header block that does not agree with its [`HeaderLayout`], or a piece
/// that does not fit the length field. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHeader;

impl core::fmt::Display for BadHeader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the header block and its layout do not agree")
    }
}

impl core::error::Error for BadHeader {}

/// Turns `header`, a copy of the large segment's header block, into that of
/// one piece: lengths, IPv4 identification and header checksum, sequence
/// number, flags and TCP checksum.
///
/// IPv6 extension headers may stand between the IPv6 and the TCP header, but
/// not a routing header with segments left, whose final destination the pseudo
/// header would have to name (RFC 8200 section 8.1).
///
/// # Errors
/// [`BadHeader`] if the block is too short, is neither IPv4 nor IPv6, does not
/// end with the TCP header, or the piece is longer than IP can carry. The block
/// is then unchanged.
pub fn write_segment_header(
    header: &mut [u8],
    layout: HeaderLayout,
    segment: Segment,
    checksum: TcpChecksum,
) -> Result<(), BadHeader> {
    let (below, tcp) = header.split_at_mut_checked(layout.tcp).ok_or(BadHeader)?;
    let ip = below.get_mut(layout.ip..).ok_or(BadHeader)?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, offset, ..] = tcp else {
        return Err(BadHeader);
    };
    let tcp_len = usize::from(*offset >> 4) * 4;
    if tcp_len < 20 || tcp_len != tcp.len() {
        return Err(BadHeader);
    }
    let transport_len = tcp_len.checked_add(segment.len).ok_or(BadHeader)?;
    let pseudo = match ip.first().map(|byte| byte >> 4) {
        Some(4) => write_v4(ip, transport_len, segment.index)?,
        Some(6) => write_v6(ip, transport_len)?,
        _ => return Err(BadHeader),
    };
    write_tcp(tcp, segment, pseudo, checksum);
    Ok(())
}

/// Rewrites an IPv4 header; returns the sum of the pseudo header.
fn write_v4(ip: &mut [u8], transport_len: usize, index: usize) -> Result<Sum, BadHeader> {
    let total = ip.len().checked_add(transport_len).ok_or(BadHeader)?;
    let total = u16::try_from(total).map_err(|_| BadHeader)?;
    let ihl = ip.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4);
    if ihl < 20 || ihl != ip.len() {
        return Err(BadHeader);
    }
    let fixed = ip.first_chunk_mut::<20>().ok_or(BadHeader)?;
    let id = u16::from_be_bytes([fixed[4], fixed[5]]).wrapping_add(index as u16);
    fixed[2..4].copy_from_slice(&total.to_be_bytes());
    fixed[4..6].copy_from_slice(&id.to_be_bytes());
    fixed[10..12].fill(0);
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    let pseudo = Sum::pseudo_v4(
        [s0, s1, s2, s3],
        [d0, d1, d2, d3],
        6,
        transport_len as u16, // below `total`
    );
    let check = Sum::of(ip).finish().to_be_bytes();
    ip[10..12].copy_from_slice(&check);
    Ok(pseudo)
}

/// Rewrites an IPv6 header; returns the sum of the pseudo header.
fn write_v6(ip: &mut [u8], transport_len: usize) -> Result<Sum, BadHeader> {
    let extensions = ip.len().checked_sub(40).ok_or(BadHeader)?;
    let payload = extensions.checked_add(transport_len).ok_or(BadHeader)?;
    let payload = u16::try_from(payload).map_err(|_| BadHeader)?;
    ip[4..6].copy_from_slice(&payload.to_be_bytes());
    let src = ip[8..].first_chunk::<16>().ok_or(BadHeader)?;
    let dst = ip[24..].first_chunk::<16>().ok_or(BadHeader)?;
    Ok(Sum::pseudo_v6(*src, *dst, 6, transport_len as u32))
}

/// Rewrites a TCP header, at least 20 bytes long.
fn write_tcp(tcp: &mut [u8], segment: Segment, pseudo: Sum, checksum: TcpChecksum) {
    let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    // Sequence numbers wrap (RFC 9293 section 3.4).
    let seq = seq.wrapping_add(segment.offset as u32);
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[13] = segment.flags(tcp[13]);
    tcp[16..18].fill(0);
    let check = match checksum {
        // A TCP header is of even length, so the payload's sum just adds.
        TcpChecksum::Complete(payload) => (pseudo + Sum::of(tcp) + payload).finish(),
        TcpChecksum::Partial => pseudo.fold(),
    };
    tcp[16..18].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests;
