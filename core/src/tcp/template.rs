//! What all segments of a flow have in common: worked out when the neighbour's
//! address is learnt, copied into each segment.

use pollwire_offload::checksum::Sum;

use super::header::{PROTOCOL_TCP, TTL};
use crate::FlowKey;

/// Ethernet and IPv4 header and both ports.
const LEN: usize = 38;
/// Ethernet header and an IPv6 header's part before the addresses.
const V6_LEN: usize = 22;

/// The constant front of a flow's segments.
///
/// For IPv4 it reaches up to the ports, total length and header checksum left
/// zero. For IPv6 it reaches up to the addresses, which the flow's key holds, the
/// payload length left zero; the ports stand at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    pub(crate) bytes: [u8; LEN],
    /// Of the IPv4 header as it stands in `bytes`, as [`Sum::keep`] gives it.
    ip: u16,
    /// Of the pseudo-header without the length.
    pseudo: u16,
    /// The state of the neighbour table for which this holds; see
    /// [`Interface::generation`](crate::iface::Interface::generation).
    pub(crate) generation: u32,
}

impl Template {
    /// Holds for no generation. All-zero.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; LEN],
        ip: 0,
        pseudo: 0,
        generation: 0,
    };

    /// The front of segments of `key`'s flow behind the Ethernet header `link`,
    /// without a flow label; `hop_limit` is IPv6's.
    pub(crate) fn new(link: [u8; 14], key: &FlowKey, hop_limit: u8, generation: u32) -> Self {
        let mut bytes = [0; LEN];
        bytes[..14].copy_from_slice(&link);
        bytes[34..36].copy_from_slice(&key.local_port().to_be_bytes());
        bytes[36..38].copy_from_slice(&key.remote_port().to_be_bytes());
        let (Some(local), Some(remote)) = (key.local_v4(), key.remote_v4()) else {
            bytes[14..V6_LEN].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, PROTOCOL_TCP, hop_limit]);
            let pseudo = Sum::pseudo_v6(key.local_bytes(), key.remote_bytes(), PROTOCOL_TCP, 0);
            return Self {
                bytes,
                ip: 0,
                pseudo: pseudo.keep(),
                generation,
            };
        };
        bytes[14..16].copy_from_slice(&[0x45, 0]);
        // RFC 6864, 4.1: with DF set and never a fragment, the identification
        // may be anything.
        bytes[20..24].copy_from_slice(&[0x40, 0, TTL, PROTOCOL_TCP]);
        bytes[26..30].copy_from_slice(&local);
        bytes[30..34].copy_from_slice(&remote);
        Self {
            bytes,
            ip: Sum::of(&bytes[14..34]).keep(),
            pseudo: Sum::pseudo_v4(local, remote, PROTOCOL_TCP, 0).keep(),
            generation,
        }
    }

    /// The same for another flow between the same hosts, without marks, and with
    /// that flow's label: 20 bits, 0 for IPv4.
    pub(crate) fn for_flow(mut self, key: &FlowKey, label: u32) -> Self {
        self.bytes[34..36].copy_from_slice(&key.local_port().to_be_bytes());
        self.bytes[36..38].copy_from_slice(&key.remote_port().to_be_bytes());
        if self.is_v6() {
            // RFC 8200, 3: behind version and class, four bits each in two bytes.
            let [_, high, middle, low] = label.to_be_bytes();
            self.bytes[15] = (self.bytes[15] & 0xf0) | (high & 0x0f);
            (self.bytes[16], self.bytes[17]) = (middle, low);
        }
        self
    }

    /// Marks the packets with an ECN codepoint (RFC 3168, 5).
    pub(crate) fn set_ecn(&mut self, codepoint: u8) {
        if self.is_v4() {
            self.bytes[15] = codepoint;
            self.ip = Sum::of(&self.bytes[14..34]).keep();
        } else {
            // The class's low half stands before the flow label.
            self.bytes[15] = (self.bytes[15] & 0x0f) | codepoint << 4;
        }
    }

    /// Whether it is an IPv4 flow's, and not empty.
    #[inline(always)]
    pub(crate) fn is_v4(&self) -> bool {
        self.bytes[14] == 0x45
    }

    /// Whether it is an IPv6 flow's, and not empty.
    #[inline(always)]
    pub(crate) fn is_v6(&self) -> bool {
        self.bytes[14] == 0x60
    }

    /// The Ethernet header.
    pub(crate) fn link(&self) -> [u8; 14] {
        let mut link = [0; 14];
        link.copy_from_slice(&self.bytes[..14]);
        link
    }

    /// The IPv4 header's checksum when its total length is `total`.
    #[inline(always)]
    pub(crate) fn ip_check(&self, total: u16) -> u16 {
        (Sum::kept(self.ip) + Sum::of_words([u32::from(total)])).finish()
    }

    /// The sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
    #[inline(always)]
    pub(crate) fn pseudo_sum(&self, tcp_len: u16) -> Sum {
        Sum::kept(self.pseudo) + Sum::of_words([u32::from(tcp_len)])
    }

    /// Both ports, as they stand in a segment's header.
    #[inline(always)]
    pub(crate) fn ports(&self) -> u32 {
        let [.., a, b, c, d] = self.bytes;
        u32::from_be_bytes([a, b, c, d])
    }
}
