//! A received segment: its header, checked, and the options that matter.

use super::seq::SeqNum;
use crate::DropReason;
use crate::wire::tcp::{ACK, FIN, RST, SYN, TcpOptions};

/// Shortest TCP header, bytes.
pub(crate) const MIN_HEADER: usize = 20;

/// A parsed TCP header. Only [`parse`](Self::parse) makes one, so its lengths
/// are known to lie within the packet.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
    /// FIN, SYN, RST, PSH, ACK, URG, ECE, CWR as they lie in the header.
    pub(crate) flags: u8,
    /// As in the header, unscaled.
    pub(crate) window: u16,
    /// Header bytes, options included.
    pub(crate) header_len: usize,
    /// Payload bytes.
    pub(crate) len: u32,
    pub(crate) timestamps: Option<(u32, u32)>,
    /// A router marked its packet (RFC 3168, 5).
    pub(crate) ce: bool,
}

impl Segment {
    /// Parses the header at the front of `packet`, whose whole packet is
    /// `total` bytes long (more than `packet` when it came in pieces).
    #[inline]
    pub(crate) fn parse(packet: &[u8], total: usize) -> Result<Self, DropReason> {
        let Some(fixed) = packet.first_chunk::<MIN_HEADER>() else {
            return Err(DropReason::TcpTooShort);
        };
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let word = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let header_len = usize::from(fixed[12] >> 4) * 4;
        let Some(options) = packet.get(MIN_HEADER..header_len) else {
            return Err(DropReason::TcpBadOffset);
        };
        let timestamps = match <&[u8; 12]>::try_from(options) {
            // The layout that every modern sender uses (RFC 7323, appendix A).
            Ok(plain) if plain.first_chunk() == Some(&[1, 1, 8, 10]) => {
                let [_, _, _, _, a, b, c, d, e, f, g, h] = *plain;
                Some((
                    u32::from_be_bytes([a, b, c, d]),
                    u32::from_be_bytes([e, f, g, h]),
                ))
            }
            _ if options.is_empty() => None,
            _ => TcpOptions::parse(options).and_then(|parsed| parsed.timestamps),
        };
        Ok(Self {
            src_port: half(0),
            dst_port: half(2),
            seq: SeqNum::new(word(4)),
            ack: SeqNum::new(word(8)),
            flags: fixed[13],
            window: half(14),
            header_len,
            len: u32::try_from(total.saturating_sub(header_len)).unwrap_or(0),
            timestamps,
            ce: false,
        })
    }

    #[inline]
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Sequence space that it occupies (RFC 9293, 3.4: SEG.LEN).
    #[inline]
    pub(crate) fn seq_len(&self) -> u32 {
        self.len + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// Sequence number behind its last byte, SYN and FIN counted.
    #[inline]
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.seq_len()
    }
}
