use std::vec::Vec;

use arrayvec::ArrayVec;
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::tcp::{MAX_OPTIONS, TcpOptions};
use super::*;
use crate::DropReason;

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn arp() -> impl Strategy<Value = ArpRepr> {
    let sender = mac().prop_map(|MacAddr([a, rest @ ..])| {
        let [b, c, d, e, f] = rest;
        MacAddr([a & 0xfe, b, c, d, e, f | 1])
    });
    (
        any::<bool>(),
        sender,
        any::<[u8; 4]>(),
        mac(),
        any::<[u8; 4]>(),
    )
        .prop_map(
            |(request, sender_mac, sender_ip, target_mac, target_ip)| ArpRepr {
                operation: if request {
                    ArpOperation::Request
                } else {
                    ArpOperation::Reply
                },
                sender_mac,
                sender_ip: sender_ip.into(),
                target_mac,
                target_ip: target_ip.into(),
            },
        )
}

fn tcp_options() -> impl Strategy<Value = TcpOptions> {
    let blocks = proptest::collection::vec(any::<(u32, u32)>(), 0..=4);
    (
        any::<Option<u16>>(),
        any::<Option<u8>>(),
        any::<bool>(),
        blocks,
        any::<Option<(u32, u32)>>(),
    )
        .prop_map(
            |(mss, wscale, sack_permitted, blocks, timestamps)| TcpOptions {
                mss,
                wscale,
                sack_permitted,
                sack_blocks: blocks.into_iter().collect(),
                timestamps,
            },
        )
}

proptest! {
    #[test]
    fn arp_parse_after_emit_is_identity(message in arp(), padding in 0_usize..20) {
        let mut bytes = message.emit().to_vec();
        bytes.resize(bytes.len() + padding, 0);
        prop_assert_eq!(ArpRepr::parse(&bytes), Ok(message));
    }

    #[test]
    fn tcp_options_parse_after_emit_is_identity(options in tcp_options()) {
        let bytes = options.emit();
        prop_assert_eq!(bytes.len() % 4, 0);
        let parsed = TcpOptions::parse(&bytes).expect("own output parses");
        let kept = parsed.sack_blocks.len();
        let room = (MAX_OPTIONS - TcpOptions { sack_blocks: ArrayVec::new(), ..options.clone() }
            .emit()
            .len())
        .saturating_sub(4)
            / 8;
        prop_assert_eq!(kept, options.sack_blocks.len().min(room));
        let expected = TcpOptions {
            sack_blocks: options.sack_blocks.iter().copied().take(kept).collect(),
            ..options
        };
        prop_assert_eq!(parsed, expected);
    }

    #[test]
    fn ipv4_header_survives_and_sums_to_all_ones(bytes in any::<[u8; IPV4_HEADER]>()) {
        let header = Ipv4Header::read_from_bytes(&bytes).expect("as long as the header");
        let written = header.to_bytes();
        prop_assert!(pollwire_offload::checksum::Sum::of(&written).is_valid());
        let again = Ipv4Header::read_from_bytes(&written).expect("as long as the header");
        prop_assert_eq!(Ipv4Header { checksum: header.checksum, ..again }, header);
    }

    #[test]
    fn ethernet_header_survives(dst in mac(), src in mac(), ethertype: u16) {
        let header = EthernetHeader::new(dst, src, ethertype);
        let bytes = header.to_bytes();
        prop_assert_eq!(EthernetHeader::read_from_bytes(&bytes), Ok(header));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = ArpRepr::parse(&bytes);
        let _ = TcpOptions::parse(&bytes);
        let _ = ipv4::walk_options(&bytes);
        let _ = EthernetHeader::ref_from_prefix(&bytes);
        let _ = Icmpv4Header::ref_from_prefix(&bytes);
        let _ = UdpHeader::ref_from_prefix(&bytes);
        if let Ok((header, _)) = Ipv4Header::ref_from_prefix(&bytes) {
            let _ = (header.version(), header.header_len(), header.is_fragment());
        }
        if let Ok((header, _)) = TcpHeader::ref_from_prefix(&bytes) {
            let _ = (header.header_len(), header.flags());
        }
    }
}

#[test]
fn rfc_9293_must_7_illegal_option_lengths_are_refused() {
    for bad in [
        &[2][..],
        &[2, 0],
        &[2, 1],
        &[2, 5, 0, 0],
        &[99, 1],
        &[1, 1, 8, 10, 0],
    ] {
        assert_eq!(TcpOptions::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn rfc_9293_must_6_unknown_options_are_skipped() {
    let options = TcpOptions::parse(&[253, 4, 1, 2, 2, 4, 5, 180, 0, 99]).expect("parses");
    assert_eq!(
        options,
        TcpOptions {
            mss: Some(1460),
            ..TcpOptions::default()
        }
    );
}

#[test]
fn rfc_1122_3_2_1_8_source_routes_are_found_and_lengths_checked() {
    use ipv4::{OptionsFound, walk_options};
    assert_eq!(
        walk_options(&[]),
        Some(OptionsFound {
            source_route: false
        })
    );
    assert_eq!(
        walk_options(&[1, 1, 7, 3, 4, 0]),
        Some(OptionsFound {
            source_route: false
        })
    );
    assert_eq!(
        walk_options(&[131, 3, 4, 0]),
        Some(OptionsFound { source_route: true })
    );
    assert_eq!(
        walk_options(&[1, 137, 3, 4]),
        Some(OptionsFound { source_route: true })
    );
    for bad in [&[7][..], &[7, 0], &[7, 1], &[7, 9, 0, 0]] {
        assert_eq!(walk_options(bad), None, "{bad:?}");
    }
}

#[test]
fn rfc_826_other_hardware_protocols_and_operations_are_named() {
    let good = ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: [10, 0, 0, 1].into(),
        target_mac: MacAddr::ZERO,
        target_ip: [10, 0, 0, 2].into(),
    };
    let refuse = |at: usize, value: u8| {
        let mut bytes = good.emit();
        bytes[at] = value;
        ArpRepr::parse(&bytes).expect_err("refused")
    };
    assert_eq!(refuse(1, 6), DropReason::ArpUnsupported);
    assert_eq!(refuse(2, 9), DropReason::ArpUnsupported);
    assert_eq!(refuse(4, 8), DropReason::ArpUnsupported);
    assert_eq!(refuse(5, 16), DropReason::ArpUnsupported);
    assert_eq!(refuse(7, 3), DropReason::ArpBadOperation);
    assert_eq!(refuse(8, 3), DropReason::ArpBadSender);
    assert_eq!(
        ArpRepr::parse(&good.emit()[..27]),
        Err(DropReason::ArpTooShort)
    );
}

#[test]
fn unicast_witness_refuses_what_names_no_host() {
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ] {
        assert_eq!(
            UnicastV4::new(refused.parse().expect("an address")),
            None,
            "{refused}"
        );
    }
    let host: Vec<_> = ["10.0.0.1", "192.168.1.255", "1.1.1.1", "223.255.255.255"]
        .iter()
        .filter_map(|address| UnicastV4::new(address.parse().expect("an address")))
        .collect();
    assert_eq!(host.len(), 4);
}

mod dhcp;
mod v6;
