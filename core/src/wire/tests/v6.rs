//! IPv6, its extension headers, and neighbour discovery.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::ipv6::*;
use super::super::ndp::{self, *};
use super::super::*;
use crate::DropReason;

/// A packet of a fixed header, `extensions` and a body of UDP's number.
fn packet(extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; IPV6_HEADER];
    bytes[0] = 0x60;
    let mut announced = Ipv6Header::NEXT_HEADER_AT;
    for (kind, body) in extensions {
        bytes[announced] = *kind;
        announced = bytes.len();
        bytes.extend(*body);
    }
    bytes[announced] = 17;
    bytes.extend([0; 8]);
    bytes
}

fn walk(packet: &[u8]) -> Result<Extensions, BadExtension> {
    walk_extensions(packet, packet[6], IPV6_HEADER, 6)
}

const PAD: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];

#[test]
fn rfc8200_4_headers_are_stepped_over() {
    let plain = walk(&packet(&[])).unwrap();
    assert_eq!((plain.next_header, plain.at), (17, 40));
    let long = packet(&[(HOP_BY_HOP, PAD), (DESTINATION_OPTIONS, PAD)]);
    let found = walk(&long).unwrap();
    assert_eq!(
        (found.next_header, found.at, found.announced_at),
        (17, 56, 48)
    );
    assert!(!found.router_alert);
    let alert = packet(&[(HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 1, 0])]);
    assert!(walk(&alert).unwrap().router_alert);
}

#[test]
fn rfc8200_4_1_hop_by_hop_comes_first_or_not_at_all() {
    let late = packet(&[(DESTINATION_OPTIONS, PAD), (HOP_BY_HOP, PAD)]);
    let refused = walk(&late).unwrap_err();
    assert_eq!(refused.reason, DropReason::Ipv6UnknownProtocol);
    assert_eq!(refused.problem, Some((1, 40)), "points at the field");
}

#[test]
fn rfc8200_4_2_the_option_type_says_what_becomes_of_the_packet() {
    let with = |kind| {
        walk(&packet(&[(
            DESTINATION_OPTIONS,
            &[0, 0, kind, 4, 0, 0, 0, 0],
        )]))
    };
    assert!(with(0x1e).is_ok());
    let silent = with(0x5e).unwrap_err();
    assert_eq!(silent.problem, None);
    let told = with(0x9e).unwrap_err();
    assert_eq!((told.problem, told.even_group), (Some((2, 42)), true));
    let unicast = with(0xde).unwrap_err();
    assert_eq!(
        (unicast.problem, unicast.even_group),
        (Some((2, 42)), false)
    );
    assert_eq!(unicast.reason, DropReason::Ipv6UnknownOption);
}

#[test]
fn rfc5095_routing_headers_with_segments_left_are_refused() {
    for kind in [0, 2, 4, 77] {
        let with = |left| walk(&packet(&[(ROUTING, &[0, 0, kind, left, 0, 0, 0, 0])]));
        assert!(with(0).is_ok(), "type {kind}");
        let refused = with(1).unwrap_err();
        assert_eq!(refused.reason, DropReason::Ipv6RoutingHeader);
        assert_eq!(refused.problem, Some((0, 42)));
    }
}

#[test]
fn rfc8504_5_3_chains_and_options_are_bounded() {
    let limit = |packet: &[u8]| walk(packet).unwrap_err().reason == DropReason::Ipv6ExtensionLimit;
    assert!(walk(&packet(&[(DESTINATION_OPTIONS, PAD); MAX_EXTENSIONS])).is_ok());
    assert!(limit(&packet(
        &[(DESTINATION_OPTIONS, PAD); MAX_EXTENSIONS + 1]
    )));
    let mut many = vec![0, 3];
    many.extend([0x1e, 0].repeat(9));
    many.extend([1, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(limit(&packet(&[(DESTINATION_OPTIONS, &many)])));
    let mut padding = vec![0, 1];
    padding.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(limit(&packet(&[(DESTINATION_OPTIONS, &padding)])));
    let mut long = vec![0, 255];
    long.resize(2048, 0);
    assert!(limit(&packet(&[(ROUTING, &long)])));
}

#[test]
fn rfc6946_a_fragment_that_stands_alone_is_stepped_over() {
    let atomic = walk(&packet(&[(FRAGMENT, &[0, 0, 0, 0, 1, 2, 3, 4])])).unwrap();
    assert_eq!(
        (atomic.next_header, atomic.at, atomic.fragment),
        (17, 48, None)
    );
    let found = walk(&packet(&[(FRAGMENT, &[0, 0, 0, 9, 1, 2, 3, 4])])).unwrap();
    let fragment = found.fragment.unwrap();
    assert_eq!(
        (fragment.header.offset(), fragment.header.more()),
        (8, true)
    );
    assert_eq!((fragment.at, fragment.announced_at), (40, 6));
    assert_eq!(fragment.header.ident.get(), 0x0102_0304);
}

#[test]
fn rfc4291_2_what_names_no_interface_is_no_unicast_address() {
    let unicast = |text: &str| UnicastV6::new(text.parse().unwrap()).is_some();
    for text in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
        assert!(!unicast(text), "{text}");
    }
    for text in ["fe80::1", "fd00::1", "2001:db8::", "::2"] {
        assert!(unicast(text), "{text}");
    }
}

#[test]
fn rfc4291_2_7_1_the_solicited_node_group() {
    let address = "4037::1:800:200e:8c6c".parse().unwrap();
    let group: core::net::Ipv6Addr = "ff02::1:ff0e:8c6c".parse().unwrap();
    assert_eq!(solicited_node(address), group);
    assert_eq!(
        MacAddr::of_multicast_v6(group),
        MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c])
    );
}

#[test]
fn rfc4861_4_what_is_emitted_parses() {
    let (target, mac) = ("fe80::9".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 9]));
    let (bytes, len) = emit_solicitation(target, Some(mac));
    let Some(NdpMessage::NeighborSolicitation(found, options)) = NdpMessage::parse(&bytes[..len])
    else {
        panic!("no solicitation");
    };
    assert_eq!((found, options.source_mac()), (target, Some(mac)));
    let (bytes, len) = emit_solicitation(target, None);
    let parsed = NdpMessage::parse(&bytes[..len]);
    assert!(
        matches!(parsed, Some(NdpMessage::NeighborSolicitation(_, options))
        if options.source_mac().is_none())
    );
    let said = NeighborAdvertisement {
        router: false,
        solicited: true,
        replaces: true,
        target,
    };
    let bytes = emit_advertisement(&said, mac);
    let Some(NdpMessage::NeighborAdvertisement(found, options)) = NdpMessage::parse(&bytes) else {
        panic!("no advertisement");
    };
    assert_eq!((found, options.target_mac()), (said, Some(mac)));
    let (bytes, len) = emit_router_solicitation(Some(mac));
    assert_eq!(
        NdpMessage::parse(&bytes[..len]),
        Some(NdpMessage::RouterSolicitation)
    );
}

#[test]
fn rfc4861_4_6_options_of_no_length_spoil_the_message() {
    let (mut bytes, _) = emit_solicitation("fe80::9".parse().unwrap(), Some(MacAddr([2; 6])));
    assert!(NdpMessage::parse(&bytes).is_some());
    for len in [0, 2, 255] {
        bytes[25] = len;
        assert_eq!(NdpMessage::parse(&bytes), None, "length {len}");
    }
    bytes[25] = 1;
    bytes[1] = 1;
    assert_eq!(NdpMessage::parse(&bytes), None, "code");
}

#[test]
fn rfc4191_and_rfc8106_options_of_routers() {
    let mut bytes = vec![134, 0, 0, 0, 64, 0xc8, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend([3, 4, 64, 0xc0, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 0]);
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
    bytes.extend([24, 2, 48, 0x18, 0, 0, 0, 9, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 0]);
    bytes.extend([25, 3, 0, 0, 0, 0, 0, 6]);
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53]);
    bytes.extend([31, 3, 0, 0, 0, 0, 0, 7]);
    bytes.extend(b"\x03Net\x04Test\x00\x00\x00\x00\x00\x00\x00");
    // Of no known type.
    bytes.extend([200, 1, 0, 0, 0, 0, 0, 0]);
    let Some(NdpMessage::RouterAdvertisement(fixed, options)) = NdpMessage::parse(&bytes) else {
        panic!("no advertisement");
    };
    assert_eq!((fixed.hop_limit, fixed.lifetime), (64, 0x0708));
    assert!(fixed.managed && fixed.other);
    assert_eq!(fixed.preference, Preference::High);
    assert_eq!((fixed.reachable, fixed.retransmit), (1, 2));
    let options: Vec<_> = options.iter().collect();
    assert_eq!(options.len(), 5);
    assert!(matches!(options[0], NdpOption::Prefix(p)
        if p.len == 64 && p.on_link && p.autonomous && (p.valid, p.preferred) == (5, 4)));
    assert_eq!(options[1], NdpOption::Mtu(1500));
    assert!(matches!(options[2], NdpOption::Route(r)
        if r.len == 48 && r.preference == Preference::Low && r.lifetime == 9
        && r.prefix == "2001:db8:1::".parse::<core::net::Ipv6Addr>().unwrap()));
    assert!(matches!(options[3], NdpOption::DnsServers(6, [one]) if one[15] == 0x53));
    let NdpOption::DnsSearch(7, names) = options[4] else {
        panic!("no search list");
    };
    assert_eq!(read_names(names, 8), ["net.test"]);
}

#[test]
fn rfc8106_5_2_names_that_are_none_end_the_list() {
    assert_eq!(read_names(b"\x01a\x00\x01b\x00\x00", 8), ["a", "b"]);
    assert_eq!(read_names(b"\x01a\x00\x01b\x00\x00", 1), ["a"]);
    assert!(read_names(b"\xc0\x00", 8).is_empty(), "compression");
    assert!(read_names(b"\x02a\n\x00", 8).is_empty(), "a line break");
    assert!(read_names(b"\x05ab", 8).is_empty(), "cut off");
    let long = [b"\x3f".to_vec(), vec![b'a'; 63]].concat().repeat(5);
    assert!(read_names(&[long, vec![0]].concat(), 8).is_empty());
}

proptest! {
    #[test]
    fn extension_headers_of_any_bytes_are_walked_to_an_end(
        kinds in proptest::collection::vec(prop_oneof![
            Just(HOP_BY_HOP), Just(ROUTING), Just(FRAGMENT), Just(DESTINATION_OPTIONS),
            any::<u8>(),
        ], 0..12),
        bodies in proptest::collection::vec(any::<u8>(), 0..256),
        cut: u16,
    ) {
        let mut bytes = vec![0; IPV6_HEADER];
        bytes[6] = kinds.first().copied().unwrap_or(17);
        for (index, body) in bodies.chunks(6).enumerate() {
            let next = kinds.get(index + 1).copied().unwrap_or(17);
            bytes.extend([next, body[0] % 3]);
            bytes.extend(body);
        }
        bytes.truncate(IPV6_HEADER + usize::from(cut) % 300);
        match walk(&bytes) {
            Ok(found) => {
                prop_assert!(found.at <= bytes.len());
                prop_assert!(found.at <= IPV6_HEADER + MAX_EXTENSION_BYTES);
                prop_assert_eq!(bytes[found.announced_at], found.next_header);
            }
            Err(refused) => {
                if let Some((_, at)) = refused.problem {
                    prop_assert!(at < bytes.len());
                }
            }
        }
    }

    #[test]
    fn neighbour_discovery_of_any_bytes_is_parsed_or_refused(
        kind in 133_u8..138, bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(bytes);
        if let Some(NdpMessage::RouterAdvertisement(_, options)) = NdpMessage::parse(&message) {
            for option in options.iter() {
                if let NdpOption::DnsSearch(_, names) = option {
                    prop_assert!(ndp::read_names(names, 8).len() <= 8);
                }
            }
        }
    }
}
