extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn mss(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).unwrap()
}

#[test]
fn flags_of_first_middle_and_last() {
    let whole = FIN | PSH | ACK | CWR | ECE;
    let cut: Vec<Segment> = segments(30, mss(10)).collect();
    assert_eq!(cut[0].flags(whole), ACK | CWR | ECE);
    assert_eq!(cut[1].flags(whole), ACK | ECE);
    assert_eq!(cut[2].flags(whole), FIN | PSH | ACK | ECE);
    assert!(cut[2].last && cut[2].len == 10);
}

#[test]
fn empty_payload_is_one_piece() {
    let cut: Vec<Segment> = segments(0, mss(1460)).collect();
    assert_eq!(
        cut,
        [Segment {
            offset: 0,
            len: 0,
            index: 0,
            last: true
        }]
    );
    assert_eq!(cut[0].flags(FIN | CWR), FIN | CWR);
}

/// An Ethernet, IPv4 or IPv6, and TCP header block, with options.
fn block(v6: bool) -> (Vec<u8>, HeaderLayout) {
    let mut block = vec![0xee; 14];
    if v6 {
        block.extend([0x60, 0, 0, 0, 0, 0, 6, 64]);
        block.extend(1..=32);
    } else {
        block.extend([0x46, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, 6, 0xaa, 0xaa]);
        block.extend([10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0]);
    }
    let layout = HeaderLayout {
        ip: 14,
        tcp: block.len(),
    };
    block.extend([0x1f, 0x90, 0xc0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1]);
    block.extend([0x80, FIN | PSH | ACK | CWR, 0x20, 0, 0xbb, 0xbb, 0, 0]);
    block.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    (block, layout)
}

fn check_pieces(v6: bool) {
    let (whole, layout) = block(v6);
    let payload: Vec<u8> = (0..1001u32).map(|n| (n * 7) as u8).collect();
    for piece in segments(payload.len(), mss(333)) {
        let part = &payload[piece.offset..piece.offset + piece.len];
        let mut header = whole.clone();
        let sum = TcpChecksum::Complete(Sum::of(part));
        assert_eq!(
            write_segment_header(&mut header, layout, piece, sum),
            Ok(())
        );
        assert_eq!(header[..14], whole[..14]);

        let (ip, tcp) = (&header[14..layout.tcp], &header[layout.tcp..]);
        let pseudo = if v6 {
            let len = u16::from_be_bytes([ip[4], ip[5]]);
            assert_eq!(usize::from(len), 32 + piece.len);
            let (src, dst) = (
                ip[8..24].try_into().unwrap(),
                ip[24..40].try_into().unwrap(),
            );
            Sum::pseudo_v6(src, dst, 6, u32::from(len))
        } else {
            let total = u16::from_be_bytes([ip[2], ip[3]]);
            assert_eq!(usize::from(total), 24 + 32 + piece.len);
            let id = u16::from_be_bytes([ip[4], ip[5]]);
            assert_eq!(id, 0xffffu16.wrapping_add(piece.index as u16));
            assert!(Sum::of(ip).is_valid());
            let (src, dst) = (
                ip[12..16].try_into().unwrap(),
                ip[16..20].try_into().unwrap(),
            );
            Sum::pseudo_v4(src, dst, 6, total - 24)
        };
        assert!((pseudo + Sum::of(tcp) + Sum::of(part)).is_valid());
        let seq = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        assert_eq!(seq, 0xffff_ff00u32.wrapping_add(piece.offset as u32));
        assert_eq!(tcp[13], piece.flags(FIN | PSH | ACK | CWR));

        // The partial form plus all that the device sums gives the same field.
        let mut partial = whole.clone();
        let done = write_segment_header(&mut partial, layout, piece, TcpChecksum::Partial);
        assert_eq!(done, Ok(()));
        let device = Sum::of(&partial[layout.tcp..]) + Sum::of(part);
        assert_eq!(device.finish().to_be_bytes(), tcp[16..18]);
    }
}

#[test]
fn pieces_v4() {
    check_pieces(false);
}

#[test]
fn pieces_v6() {
    check_pieces(true);
}

#[test]
fn too_long_for_ip_leaves_the_block_alone() {
    for v6 in [false, true] {
        let (mut header, layout) = block(v6);
        let before = header.clone();
        for len in [65536, usize::MAX] {
            let piece = Segment {
                offset: 0,
                len,
                index: 0,
                last: true,
            };
            let done = write_segment_header(&mut header, layout, piece, TcpChecksum::Partial);
            assert_eq!(done, Err(BadHeader));
            assert_eq!(header, before);
        }
    }
}

proptest! {
    #[test]
    fn pieces_cover_the_payload(len in 0usize..100_000, size in 1u16..) {
        let cut = segments(len, mss(size));
        prop_assert_eq!(cut.len(), cut.clone().count());
        let mut at = 0;
        for (n, piece) in cut.enumerate() {
            prop_assert_eq!((piece.offset, piece.index), (at, n));
            prop_assert!(piece.len <= usize::from(size));
            at += piece.len;
            prop_assert_eq!(piece.last, at == len);
        }
        prop_assert_eq!(at, len);
    }

    #[test]
    fn any_block_and_layout_is_safe(mut header in proptest::collection::vec(any::<u8>(), 0..120),
                                    ip in 0usize..130, tcp in 0usize..130,
                                    version in 0u8..16, words in 0u8..16) {
        if let Some(byte) = header.get_mut(ip) {
            *byte = version << 4 | *byte & 0x0f;
        }
        if let Some(byte) = header.get_mut(tcp + 12) {
            *byte = words << 4;
        }
        let before = header.clone();
        let piece = Segment { offset: 5, len: 100, index: 1, last: false };
        let layout = HeaderLayout { ip, tcp };
        if write_segment_header(&mut header, layout, piece, TcpChecksum::Partial).is_err() {
            prop_assert_eq!(header, before);
        }
    }
}
