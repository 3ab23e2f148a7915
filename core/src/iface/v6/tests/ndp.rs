//! Neighbour discovery, RFC 4861.

use core::net::SocketAddr;

use super::*;
use crate::iface::v6::neighbor::CAPACITY;
use crate::{Random, TcpOptions};

#[test]
fn rfc4861_7_2_2_packets_wait_for_the_answer() {
    let mut host = Host::new();
    host.send(ip(9), 1).unwrap();
    host.send(ip(9), 2).unwrap();
    assert_eq!(host.asked(), [question(ip(9))]);
    assert_eq!(host.neighbors().state(ip(9)), Some("INCOMPLETE"));
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [1, 2]);
    assert_eq!(host.neighbors().state(ip(9)), Some("REACHABLE"));
    host.finish();
}

#[test]
fn rfc4861_7_2_2_of_too_many_waiting_packets_the_newest_stay() {
    let mut host = Host::new();
    for tag in 1..=6 {
        host.send(ip(9), tag).unwrap();
    }
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [3, 4, 5, 6]);
    assert_eq!(host.dropped(DropReason::NeighborQueueFull), 2);
    host.finish();
}

#[test]
fn rfc4861_7_2_2_three_questions_without_an_answer_are_enough() {
    let mut host = Host::new();
    host.send(ip(9), 1).unwrap();
    let mut asked = host.asked().len();
    for _ in 0..2 {
        host.advance(1000);
        asked += host.asked().len();
    }
    assert_eq!(asked, 3);
    host.advance(999);
    assert_eq!(host.neighbors().state(ip(9)), Some("INCOMPLETE"));
    host.advance(1);
    assert_eq!(host.neighbors().state(ip(9)), None);
    assert_eq!(host.count(Counter::NeighborsFailed), 1);
    assert_eq!(host.dropped(DropReason::NeighborUnreachable), 1);
    host.finish();
}

#[test]
fn rfc4861_7_3_2_the_life_of_a_neighbour() {
    let mut host = Host::new();
    host.meet(9);
    host.advance(29_999);
    assert_eq!(host.neighbors().state(ip(9)), Some("REACHABLE"));
    host.advance(1);
    assert_eq!(host.neighbors().state(ip(9)), Some("STALE"));
    host.advance(100_000);
    assert_eq!(
        host.neighbors().state(ip(9)),
        Some("STALE"),
        "unused, unasked"
    );
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.sent_tags(mac(9)), [1]);
    assert_eq!(host.neighbors().state(ip(9)), Some("DELAY"));
    host.advance(4999);
    assert!(host.asked().is_empty());
    host.advance(1);
    assert_eq!(host.neighbors().state(ip(9)), Some("PROBE"));
    assert_eq!(host.asked(), [(ip(9), ip(9))], "by unicast");
    host.advance(1000);
    host.advance(1000);
    assert_eq!(host.asked().len(), 2);
    host.send(ip(9), 2).unwrap();
    assert_eq!(host.sent_tags(mac(9)), [2], "still in use");
    host.answer(9);
    assert_eq!(host.neighbors().state(ip(9)), Some("REACHABLE"));
    host.finish();
}

#[test]
fn rfc4861_7_3_3_a_neighbour_that_fails_its_probes_is_forgotten() {
    let mut host = Host::new();
    host.meet(9);
    let (_, generation) = host.template(ip(9)).unwrap();
    host.advance(30_000);
    assert_ne!(host.stack.iface.generation(), generation, "flows ask anew");
    assert!(host.template(ip(9)).is_some());
    host.advance(8000);
    assert_eq!(host.asked().len(), 3);
    assert_eq!(host.neighbors().state(ip(9)), None);
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.asked(), [question(ip(9))]);
    host.advance(3000);
    host.finish();
}

#[test]
fn rfc4861_7_2_4_solicitations_are_answered() {
    let mut host = Host::new();
    let ask = Packet::icmp(&solicitation(OUR_IP, Some(mac(9)))).dst(solicited_node(OUR_IP));
    host.give(ask);
    let sent = host.sent();
    assert_eq!(sent.len(), 1);
    let answer = &sent[0];
    assert_eq!((answer.src, answer.dst, answer.to), (OUR_IP, ip(9), mac(9)));
    assert_eq!(answer.hops, 255);
    let expected = advertisement(SOLICITED | OVERRIDE, OUR_IP, Some(OUR_MAC));
    assert_eq!((answer.body[0], &answer.body[4..]), (136, &expected[4..]));
    // Who asked will be sent to: no need to ask back.
    assert_eq!(host.neighbors().state(ip(9)), Some("DELAY"));
    host.finish();
}

#[test]
fn rfc4861_7_2_4_who_tries_our_address_is_told_with_all() {
    let mut host = Host::new();
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let probe = Packet::icmp(&solicitation(OUR_IP, None)).dst(solicited_node(OUR_IP));
    host.give(probe.src(unspecified));
    let sent = host.sent_icmp(136);
    assert_eq!(sent[0].dst, crate::wire::ipv6::ALL_NODES);
    assert_eq!(sent[0].body[4], OVERRIDE, "not solicited");
    host.finish();
}

#[test]
fn rfc4861_7_1_1_what_makes_a_solicitation_invalid() {
    let mut host = Host::new();
    let sound = || Packet::icmp(&solicitation(OUR_IP, Some(mac(9)))).dst(solicited_node(OUR_IP));
    let forwarded = Packet {
        hops: 254,
        ..sound()
    };
    host.refuses(forwarded, DropReason::NdpBadHopLimit);
    let mut coded = sound();
    coded.body[1] = 1;
    host.refuses(coded, DropReason::NdpMalformed);
    let mut short = sound();
    short.body.truncate(20);
    host.refuses(short, DropReason::NdpMalformed);
    let mut endless = sound();
    endless.body[25] = 0;
    host.refuses(endless, DropReason::NdpMalformed);
    let group = Packet::icmp(&solicitation(solicited_node(OUR_IP), Some(mac(9))));
    host.refuses(group, DropReason::NdpBadAddress);
    let unspecified = Ipv6Addr::UNSPECIFIED;
    host.refuses(sound().src(unspecified), DropReason::NdpBadAddress);
    let direct = Packet::icmp(&solicitation(OUR_IP, None)).src(unspecified);
    host.refuses(direct, DropReason::NdpBadAddress);
    let other = Packet::icmp(&solicitation(ip(8), Some(mac(9))));
    host.refuses(other, DropReason::NdpNotForUs);
    let mut spoilt = sound().bytes();
    spoilt[70] ^= 1;
    host.inject(&spoilt);
    assert_eq!(host.dropped(DropReason::IcmpBadChecksum), 1);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc6980_neighbour_discovery_in_fragments_is_ignored() {
    let mut host = Host::new();
    let sound = Packet::icmp(&solicitation(OUR_IP, Some(mac(9))));
    let whole = sound.bytes();
    let mut body = vec![PROTOCOL_ICMPV6, 0, 0, 0, 0, 0, 0, 1];
    body.extend(&whole[54..]);
    let atomic = Packet {
        hops: 255,
        ..Packet::new(44, &body)
    };
    host.refuses(atomic, DropReason::NdpMalformed);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc4861_7_2_5_advertisements_update_what_is_known_and_nothing_else() {
    let mut host = Host::new();
    let tell = |host: &mut Host, flags, mac| {
        host.give(Packet::icmp(&advertisement(flags, ip(9), mac)));
        host.neighbors().state(ip(9))
    };
    host.refuses(
        Packet::icmp(&advertisement(OVERRIDE, ip(9), Some(mac(9)))),
        DropReason::NdpNotForUs,
    );
    host.meet(9);
    let other = Some(mac(77));
    // Without override another address only casts doubt.
    assert_eq!(tell(&mut host, SOLICITED, other), Some("STALE"));
    assert_eq!(host.template(ip(9)).unwrap().0[..6], mac(9).0);
    // The same address confirms.
    assert_eq!(tell(&mut host, SOLICITED, Some(mac(9))), Some("REACHABLE"));
    // Without an address, too.
    host.advance(30_000);
    assert_eq!(tell(&mut host, SOLICITED, None), Some("REACHABLE"));
    // Unsolicited and overriding: taken over, not verified; flows notice.
    let (_, generation) = host.template(ip(9)).unwrap();
    assert_eq!(tell(&mut host, OVERRIDE, other), Some("STALE"));
    assert_eq!(host.template(ip(9)).unwrap().0[..6], mac(77).0);
    assert_ne!(host.stack.iface.generation(), generation);
    assert_eq!(
        tell(&mut host, OVERRIDE | SOLICITED, Some(mac(9))),
        Some("REACHABLE")
    );
    // One for many cannot be an answer.
    let to_all =
        Packet::icmp(&advertisement(SOLICITED, ip(9), None)).dst(crate::wire::ipv6::ALL_NODES);
    host.refuses(to_all, DropReason::NdpBadAddress);
    host.finish();
}

#[test]
fn rfc4861_7_2_5_an_answer_without_an_address_resolves_nothing() {
    let mut host = Host::new();
    host.send(ip(9), 1).unwrap();
    host.give(Packet::icmp(&advertisement(SOLICITED, ip(9), None)));
    assert_eq!(host.neighbors().state(ip(9)), Some("INCOMPLETE"));
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [1]);
    host.finish();
}

/// A redirect from `from` for `destination` to `target`, quoting a packet of
/// ours.
fn redirect(from: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr) -> Packet {
    let mut bytes = vec![137, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(target.octets());
    bytes.extend(destination.octets());
    bytes.extend([2, 1]);
    bytes.extend(mac(20).0);
    let quoted = Packet {
        src: OUR_IP,
        dst: destination,
        ..Packet::new(17, &[0; 8])
    };
    let quote = &quoted.bytes()[14..];
    bytes.extend([4, 7, 0, 0, 0, 0, 0, 0]);
    bytes.extend(quote);
    Packet::icmp(&bytes).src(from)
}

/// A host that listens to routers, with one by hand beside.
fn listening() -> Host {
    let mut config = config();
    config.ipv6.as_mut().unwrap().slaac = true;
    let mut host = Host::at_boot(&config);
    host.advance(6000);
    host.sent();
    host
}

#[test]
fn rfc4861_8_3_redirects_are_followed() {
    let mut host = listening();
    assert_eq!(host.stack.iface.v6.next_hop(FAR), Some(GATEWAY));
    host.give(redirect(GATEWAY, FAR, router(20)));
    assert_eq!(host.stack.iface.v6.next_hop(FAR), Some(router(20)));
    assert_eq!(host.count(Counter::NdpRedirects), 1);
    host.send(FAR, 1).unwrap();
    assert_eq!(
        host.sent_tags(mac(20)),
        [1],
        "its Ethernet address came along"
    );
    // To a destination that is on the link after all.
    let near = Ipv6Addr::new(0x2001, 0xdb8, 0xfa5, 0, 0, 0, 0, 10);
    host.give(redirect(GATEWAY, near, near));
    assert_eq!(host.stack.iface.v6.next_hop(near), Some(near));
    // A first hop that fails gives way again.
    host.advance(10_000);
    assert_eq!(host.stack.iface.v6.next_hop(FAR), Some(GATEWAY));
    host.finish();
}

#[test]
fn rfc4861_8_1_rogue_redirects_are_not() {
    let mut host = listening();
    let bad = DropReason::NdpBadRedirect;
    // Not from the hop in use, although a neighbour and a router perhaps.
    host.refuses(redirect(router(66), FAR, router(66)), bad);
    // Quoting nothing of ours.
    let mut blind = redirect(GATEWAY, FAR, router(66));
    blind.body.truncate(48);
    host.refuses(blind, bad);
    let mut forged = redirect(GATEWAY, FAR, router(66));
    forged.body[56 + 8 + 15] ^= 1;
    host.refuses(forged, bad);
    let address = DropReason::NdpBadAddress;
    host.refuses(redirect(ip(9), FAR, router(66)), address);
    host.refuses(redirect(GATEWAY, FAR, ip(9)), address);
    host.refuses(redirect(GATEWAY, solicited_node(FAR), router(66)), address);
    host.refuses(redirect(GATEWAY, FAR, LINK_LOCAL), address);
    let far = Packet {
        hops: 254,
        ..redirect(GATEWAY, FAR, router(20))
    };
    host.refuses(far, DropReason::NdpBadHopLimit);
    assert_eq!(host.stack.iface.v6.next_hop(FAR), Some(GATEWAY));
    // Where the router is given by hand and alone, nobody redirects.
    let mut fixed = Host::new();
    fixed.refuses(redirect(GATEWAY, FAR, router(20)), DropReason::NdpUnwanted);
    fixed.finish();
    host.finish();
}

#[test]
fn redirects_are_bounded_in_number() {
    let mut host = listening();
    for last in 0..100 {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0xfa5, 0, 0, 0, 1, last);
        host.give(redirect(GATEWAY, far, router(20)));
    }
    let newest = Ipv6Addr::new(0x2001, 0xdb8, 0xfa5, 0, 0, 0, 1, 99);
    let oldest = Ipv6Addr::new(0x2001, 0xdb8, 0xfa5, 0, 0, 0, 1, 0);
    assert_eq!(host.stack.iface.v6.next_hop(newest), Some(router(20)));
    assert_eq!(host.stack.iface.v6.next_hop(oldest), Some(GATEWAY));
    host.finish();
}

#[test]
fn a_hundred_thousand_spoofed_neighbours_change_neither_memory_nor_service() {
    let seed = [3; 32];
    std::println!("seed {seed:?}");
    let mut random = Random::new(seed);
    let mut host = Host::new();
    host.meet(9);
    let template = host.template(ip(9)).unwrap();
    for round in 0..100_000_u32 {
        let bits = OUR_IP.to_bits() >> 64 << 64 | u128::from(random.next_u64());
        let spoofed = Ipv6Addr::from_bits(bits);
        let source = MacAddr([2, 9, 9, 9, round as u8, (round >> 8) as u8]);
        let message = match round % 3 {
            0 => solicitation(OUR_IP, Some(source)),
            1 => solicitation(spoofed, Some(source)),
            _ => advertisement(OVERRIDE | SOLICITED, spoofed, Some(source)),
        };
        host.give(Packet::icmp(&message).src(spoofed));
        if round % 20 == 0 {
            host.now += Duration::from_millis(1);
            host.sent();
        }
        assert!(host.neighbors().len() <= CAPACITY);
    }
    host.sent();
    assert_eq!(
        host.template(ip(9)),
        Some(template),
        "the neighbour in use stays"
    );
    host.send(ip(10), 1).unwrap();
    assert_eq!(host.asked(), [question(ip(10))]);
    host.answer(10);
    assert_eq!(host.sent_tags(mac(10)), [1]);
    host.advance(4000);
    host.finish();
}

#[test]
fn addresses_that_nobody_answers_for_displace_no_neighbour() {
    let mut host = Host::new();
    for known in 2..=113 {
        host.meet(known);
    }
    for number in 0..5000_u16 {
        let nobody = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 9, 9, 9, number);
        host.send(nobody, 1).unwrap();
        host.sent();
        assert!(host.neighbors().len() <= CAPACITY);
    }
    for known in 2..=113 {
        host.send(ip(known), known).unwrap();
        assert_eq!(host.sent_tags(mac(known)), [known], "{known} is forgotten");
    }
    host.advance(4000);
    host.finish();
}

/// A segment of neighbour 9 for our connection from `port`.
fn segment(port: u16, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Packet {
    let mut body = vec![0x1f, 0x90];
    body.extend(port.to_be_bytes());
    body.extend(seq.to_be_bytes());
    body.extend(ack.to_be_bytes());
    body.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    body.extend(data);
    let mut packet = Packet::new(6, &body);
    let check = packet.pseudo(body.len()).add_bytes(&body).finish();
    packet.body[16..18].copy_from_slice(&check.to_be_bytes());
    packet
}

#[test]
fn rfc4861_7_3_1_progress_of_tcp_stands_for_an_answer() {
    let mut host = Host::new();
    host.meet(9);
    let peer = SocketAddr::from((ip(9), 0x1f90));
    let flow = host.stack.tcp_connect(peer, TcpOptions::DEFAULT).unwrap();
    let syn = host.sent();
    let [a, b] = [syn[0].body[0], syn[0].body[1]];
    let port = u16::from_be_bytes([a, b]);
    let iss = u32::from_be_bytes(syn[0].body[4..8].try_into().unwrap());
    host.give(segment(port, 1000, iss + 1, 0x12, &[]));
    host.stack.tcp_try_connected(flow).unwrap();
    host.sent();
    host.advance(30_000);
    assert_eq!(host.neighbors().state(ip(9)), Some("STALE"));
    // The next segment begins the delay; its acknowledgement is progress.
    host.stack.tcp_try_write(flow, b"hello").unwrap();
    assert_eq!(host.sent().len(), 1);
    assert_eq!(host.neighbors().state(ip(9)), Some("DELAY"));
    host.give(segment(port, 1001, iss + 6, 0x10, &[]));
    host.advance(5000);
    assert_eq!(host.neighbors().state(ip(9)), Some("REACHABLE"));
    assert!(host.asked().is_empty(), "nobody was asked");
    // Without progress the neighbour is asked.
    host.advance(30_000);
    host.stack.tcp_try_write(flow, b"again").unwrap();
    host.sent();
    host.advance(5000);
    assert_eq!(host.asked(), [(ip(9), ip(9))]);
    host.stack.tcp_abort(flow);
    host.advance(4000);
    host.finish();
}
