//! The vnet header: `struct virtio_net_hdr` of the virtio specification
//! (version 1.2, section 5.1.6) in its legacy form, in the host's byte order.

use crate::{GsoKind, RxChecksum, RxMeta, TxChecksum, TxPacket};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Set beside the kind where the flow uses ECN.
const GSO_ECN: u8 = 0x80;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl VnetHeader {
    pub(super) const LEN: usize = 10;

    pub(super) fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    /// What the kernel says of a received packet.
    pub(super) fn rx_meta(self) -> RxMeta {
        let checksum = if self.flags & NEEDS_CSUM != 0 {
            RxChecksum::Partial
        } else if self.flags & DATA_VALID != 0 {
            RxChecksum::Verified
        } else {
            RxChecksum::Unknown
        };
        let gso_size = match self.gso_type & !GSO_ECN {
            GSO_TCPV4 | GSO_TCPV6 => self.gso_size,
            _ => 0,
        };
        RxMeta {
            checksum,
            gso_size,
            ..RxMeta::default()
        }
    }

    /// What is asked of the kernel for a packet.
    pub(super) fn for_packet(packet: &TxPacket<'_>) -> Self {
        let mut header = Self::default();
        if let TxChecksum::Partial { start, offset } = packet.meta.checksum {
            header.flags = NEEDS_CSUM;
            header.csum_start = start;
            header.csum_offset = offset;
        }
        if let Some(gso) = packet.meta.gso
            && packet.len() > usize::from(gso.header_len) + usize::from(gso.size)
        {
            header.gso_type = match gso.kind {
                GsoKind::TcpV4 => GSO_TCPV4,
                GsoKind::TcpV6 => GSO_TCPV6,
            };
            header.gso_size = gso.size;
            header.hdr_len = gso.header_len;
        }
        header
    }
}
