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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePool, FrameRef, Gso, TxMeta};

    fn request(piece: &FrameRef, meta: TxMeta) -> VnetHeader {
        let pieces = core::slice::from_ref(piece);
        VnetHeader::for_packet(&TxPacket { pieces, meta })
    }

    #[test]
    fn requests_become_headers() {
        let pool = FramePool::on_heap::<2, 2048>();
        let mut frame = pool.alloc().expect("free");
        assert!(frame.set_len(1554));
        let frame = frame.freeze();
        let mut meta = TxMeta::default();
        assert_eq!(request(&frame, meta), VnetHeader::default());
        meta.checksum = TxChecksum::Partial {
            start: 34,
            offset: 16,
        };
        for (kind, size, gso_type) in [
            (GsoKind::TcpV4, 1000, 1),
            (GsoKind::TcpV6, 1000, 4),
            // One segment: there is nothing to cut.
            (GsoKind::TcpV4, 1500, 0),
        ] {
            meta.gso = Some(Gso {
                kind,
                size,
                header_len: 54,
            });
            let header = request(&frame, meta);
            let gso = if gso_type == 0 { 0 } else { size };
            assert_eq!(
                (header.flags, header.csum_start, header.csum_offset),
                (1, 34, 16)
            );
            assert_eq!((header.gso_type, header.gso_size), (gso_type, gso));
            assert_eq!(VnetHeader::parse(&header.to_bytes()), header);
        }
    }

    #[test]
    fn headers_become_what_the_device_says() {
        let meta = |flags, gso_type| {
            let mut bytes = [0; VnetHeader::LEN];
            (bytes[0], bytes[1]) = (flags, gso_type);
            bytes[4..6].copy_from_slice(&1448u16.to_ne_bytes());
            let meta = VnetHeader::parse(&bytes).rx_meta();
            (meta.checksum, meta.gso_size)
        };
        assert_eq!(meta(0, 0), (RxChecksum::Unknown, 0));
        assert_eq!(meta(2, 0), (RxChecksum::Verified, 0));
        assert_eq!(meta(1, 1), (RxChecksum::Partial, 1448));
        assert_eq!(meta(3, 0x84), (RxChecksum::Partial, 1448));
        // UDP fragmentation and kinds yet unknown are no TCP segments.
        assert_eq!(meta(1, 3), (RxChecksum::Partial, 0));
        assert_eq!(meta(0xff, 0xff), (RxChecksum::Partial, 0));
    }
}
