//! Duplicate address detection, RFC 4862, 5.4.

use super::*;

/// A host that asks before it uses an address.
fn booting(identifiers: InterfaceIds) -> Host {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    v6.identifiers = identifiers;
    v6.dad_transmits = 1;
    Host::at_boot(&config)
}

#[test]
fn rfc4862_5_4_an_address_is_used_once_nobody_answered() {
    let mut host = booting(InterfaceIds::Eui64);
    assert!(!host.stack.is_local(OUR_IP.into()));
    assert_eq!(host.stack.source_for(ip(9).into()), None);
    host.advance(1000);
    let sent = host.sent_icmp(135);
    assert_eq!(sent.len(), 2, "for both addresses");
    for probe in &sent {
        assert_eq!((probe.src, probe.hops), (Ipv6Addr::UNSPECIFIED, 255));
        // Both addresses end alike.
        assert_eq!(probe.dst, solicited_node(OUR_IP));
    }
    for address in [LINK_LOCAL, OUR_IP] {
        let expected = solicitation_of(address);
        assert!(sent.iter().any(|probe| probe.body == expected), "{address}");
    }
    host.advance(1000);
    assert!(host.stack.is_local(OUR_IP.into()));
    let events = host.events();
    assert!(events.contains(&NetEvent::AddressUp(OUR_IP.into())));
    assert!(events.contains(&NetEvent::AddressUp(LINK_LOCAL.into())));
    assert_eq!(host.stack.source_for(ip(9).into()), Some(OUR_IP.into()));
    host.finish();
}

/// As it is on the wire.
fn solicitation_of(address: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(address);
    let probe = Packet::icmp(&solicitation(address, None))
        .src(Ipv6Addr::UNSPECIFIED)
        .dst(group);
    probe.bytes()[54..].to_vec()
}

#[test]
fn rfc4862_5_4_4_an_answer_keeps_a_static_address_from_use() {
    let mut host = booting(InterfaceIds::Eui64);
    host.advance(1000);
    let defended = advertisement(OVERRIDE, OUR_IP, Some(mac(9)));
    let defence = Packet::icmp(&defended).src(OUR_IP);
    host.refuses(
        defence.dst(crate::wire::ipv6::ALL_NODES),
        DropReason::NdpDuplicate,
    );
    assert_eq!(host.count(Counter::NdpDuplicates), 1);
    assert!(
        host.events()
            .contains(&NetEvent::AddressDuplicate(OUR_IP.into()))
    );
    host.advance(10_000);
    assert!(!host.stack.is_local(OUR_IP.into()));
    assert!(host.stack.is_local(LINK_LOCAL.into()));
    // It is not defended either: the other has it.
    host.sent();
    let ask = Packet::icmp(&solicitation(OUR_IP, Some(mac(9)))).dst(solicited_node(OUR_IP));
    host.refuses(ask, DropReason::NdpNotForUs);
    host.finish();
}

#[test]
fn rfc4862_5_4_3_who_tries_the_same_address_gets_it_no_more_than_we() {
    let mut host = booting(InterfaceIds::Eui64);
    host.advance(500);
    let probe = Packet::icmp(&solicitation(OUR_IP, None))
        .src(Ipv6Addr::UNSPECIFIED)
        .dst(solicited_node(OUR_IP));
    host.refuses(probe, DropReason::NdpDuplicate);
    host.advance(10_000);
    assert!(!host.stack.is_local(OUR_IP.into()));
    host.finish();
}

#[test]
fn rfc4862_5_4_a_tentative_address_takes_no_packets_and_answers_nobody() {
    let mut host = booting(InterfaceIds::Eui64);
    host.advance(1000);
    host.sent();
    host.refuses(Packet::new(17, &[0; 8]), DropReason::Ipv6Tentative);
    let ask = Packet::icmp(&solicitation(OUR_IP, Some(mac(9)))).dst(solicited_node(OUR_IP));
    host.refuses(ask, DropReason::Ipv6Tentative);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc7217_6_a_duplicate_gets_another_identifier_three_times() {
    let mut host = booting(InterfaceIds::Stable(Some([5; 16])));
    let mut tried = Vec::new();
    for _ in 0..4 {
        let tentative = host.stack.iface.v6.addresses[0].address();
        assert!(tentative.is_unicast_link_local());
        assert!(!tried.contains(&tentative), "a new one each time");
        tried.push(tentative);
        host.advance(2100);
        // It may have been assigned meanwhile: answer while it is tried.
        let defence = advertisement(OVERRIDE, tentative, Some(mac(9)));
        if host.stack.iface.v6.is_tentative(tentative) {
            host.give(Packet::icmp(&defence).dst(crate::wire::ipv6::ALL_NODES));
        } else {
            break;
        }
    }
    host.advance(10_000);
    host.finish();
}

#[test]
fn rfc4862_5_4_2_equal_seeds_apart_the_first_message_waits_at_random() {
    let first = |seed| {
        let mut config = config();
        config.seed = [seed; 32];
        config.ipv6.as_mut().unwrap().dad_transmits = 1;
        let mut host = Host::at_boot(&config);
        host.stack.expire(host.now);
        let due = host.stack.iface.v6.addresses[0].due;
        host.finish();
        due
    };
    assert_ne!(first(1), first(2));
    assert_eq!(first(1), first(1));
}
