//! Multicast listener discovery: RFC 3810 and RFC 2710.

use super::*;
use crate::wire::ipv6::{ALL_MLDV2_ROUTERS, ALL_NODES, ALL_ROUTERS};

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// A report's records: type and group.
fn records(packet: &Packet) -> Vec<(u8, Ipv6Addr)> {
    assert_eq!((packet.next, packet.hops), (0, 1));
    assert_eq!(packet.body[..8], [58, 0, 5, 2, 0, 0, 1, 0], "router alert");
    let message = &packet.body[8..];
    assert_eq!((packet.dst, message[0]), (ALL_MLDV2_ROUTERS, 143));
    let mut inner = Packet::icmp(message).src(packet.src);
    inner.dst = packet.dst;
    let sum = inner.pseudo(message.len()).add_bytes(message);
    assert!(sum.is_valid(), "checksum");
    let count = usize::from(u16::from_be_bytes([message[6], message[7]]));
    let records: Vec<_> = message[8..]
        .chunks(20)
        .map(|record| {
            assert_eq!(record[1..4], [0; 3], "no sources");
            let group = <[u8; 16]>::try_from(&record[4..]).unwrap();
            (record[0], Ipv6Addr::from(group))
        })
        .collect();
    assert_eq!(records.len(), count);
    records
}

fn reports(host: &mut Host) -> Vec<Packet> {
    let mut sent = host.sent();
    sent.retain(|packet| packet.next == 0);
    sent
}

/// A query from a router, behind a router alert.
fn query(group: Ipv6Addr, millis: u16, version: u8) -> Packet {
    let mut message = vec![130, 0, 0, 0];
    message.extend(millis.to_be_bytes());
    message.extend([0, 0]);
    message.extend(group.octets());
    if version == 2 {
        message.extend([2, 125, 0, 0]);
    }
    let sealed = Packet::icmp(&message).src(router(20)).dst(ALL_NODES);
    let mut body = vec![58, 0, 5, 2, 0, 0, 1, 0];
    body.extend(&sealed.bytes()[54..]);
    Packet {
        next: 0,
        hops: 1,
        body,
        ..sealed
    }
}

#[test]
fn rfc3810_6_1_the_groups_of_our_addresses_are_told_twice() {
    let mut host = Host::at_boot(&config());
    host.stack.expire(host.now);
    let first = reports(&mut host);
    let group = solicited_node(OUR_IP);
    assert_eq!(records(&first[0]), [(4, group)], "both addresses end alike");
    assert_eq!(first[0].src, LINK_LOCAL);
    host.advance(1000);
    assert_eq!(records(&reports(&mut host)[0]), [(4, group)]);
    host.advance(100_000);
    assert!(reports(&mut host).is_empty());
    host.finish();
}

#[test]
fn rfc3590_reports_before_there_is_an_address_come_from_none() {
    let mut config = config();
    config.ipv6.as_mut().unwrap().dad_transmits = 1;
    let mut host = Host::at_boot(&config);
    host.advance(1000);
    let sent = host.sent();
    let report = sent.iter().position(|packet| packet.next == 0).unwrap();
    let probe = sent.iter().position(|packet| packet.next == 58).unwrap();
    assert_eq!(sent[report].src, Ipv6Addr::UNSPECIFIED);
    assert!(
        report < probe,
        "joined before it is tried (RFC 4862, 5.4.2)"
    );
    host.finish();
}

#[test]
fn rfc3810_6_2_queries_are_answered_in_time() {
    let mut host = Host::new();
    let own = solicited_node(OUR_IP);
    let unspecified = Ipv6Addr::UNSPECIFIED;
    host.give(query(unspecified, 5000, 2));
    host.advance(5000);
    assert_eq!(records(&reports(&mut host)[0]), [(2, own)]);
    host.give(query(GROUP, 5000, 2));
    host.advance(5000);
    assert!(reports(&mut host).is_empty(), "of no concern");
    host.stack.join_v6(GROUP).unwrap();
    host.advance(3000);
    let told: Vec<_> = reports(&mut host).iter().flat_map(records).collect();
    assert_eq!(told, [(4, GROUP), (4, GROUP)]);
    host.give(query(GROUP, 1000, 2));
    host.advance(1000);
    assert_eq!(records(&reports(&mut host)[0]), [(2, GROUP)]);
    host.stack.leave_v6(GROUP);
    host.advance(3000);
    let told: Vec<_> = reports(&mut host).iter().flat_map(records).collect();
    assert_eq!(told, [(3, GROUP), (3, GROUP)]);
    host.finish();
}

#[test]
fn rfc3810_6_2_queries_that_no_router_sent_are_not() {
    let mut host = Host::new();
    let reason = DropReason::MldNotFromRouter;
    let sound = || query(Ipv6Addr::UNSPECIFIED, 1000, 2);
    let mut bare = sound();
    bare.body.drain(..8);
    bare.next = 58;
    host.refuses(bare, reason);
    host.refuses(
        Packet {
            hops: 64,
            ..sound()
        },
        reason,
    );
    let mut odd = sound();
    odd.body.truncate(8 + 26);
    // The checksum is for the whole: made good again.
    odd.body[10..12].fill(0);
    let sealed = Packet::icmp(&odd.body[8..]).src(router(20)).dst(ALL_NODES);
    odd.body.truncate(8);
    odd.body.extend(&sealed.bytes()[54..]);
    host.refuses(odd, DropReason::MldMalformed);
    host.advance(10_000);
    assert!(reports(&mut host).is_empty());
    host.finish();
}

#[test]
fn rfc3810_8_2_1_an_older_querier_gets_what_it_understands() {
    let mut host = Host::new();
    host.stack.join_v6(GROUP).unwrap();
    host.advance(3000);
    host.sent();
    host.give(query(Ipv6Addr::UNSPECIFIED, 1000, 1));
    host.advance(1000);
    let sent = reports(&mut host);
    assert_eq!(sent.len(), 2, "one for each group");
    for packet in &sent {
        assert_eq!(packet.body[8], 131);
        assert_eq!(packet.body[16..32], packet.dst.octets());
    }
    host.stack.leave_v6(GROUP);
    host.advance(0);
    let left = reports(&mut host);
    assert_eq!((left[0].body[8], left[0].dst), (132, ALL_ROUTERS));
    host.advance(400_000);
    host.sent();
    host.stack.join_v6(GROUP).unwrap();
    host.advance(0);
    assert_eq!(records(&reports(&mut host)[0]), [(4, GROUP)], "it is gone");
    host.advance(3000);
    host.finish();
}

#[test]
fn groups_are_bounded_counted_and_heard() {
    let mut host = Host::new();
    let datagram = || Packet::new(17, &[0; 8]).dst(GROUP);
    host.refuses(datagram(), DropReason::Ipv6NotForUs);
    host.stack.join_v6(GROUP).unwrap();
    host.stack.join_v6(GROUP).unwrap();
    host.refuses(datagram(), DropReason::UdpBadLength);
    host.stack.leave_v6(GROUP);
    host.refuses(datagram(), DropReason::UdpBadLength);
    host.stack.leave_v6(GROUP);
    host.refuses(datagram(), DropReason::Ipv6NotForUs);
    for last in 0..40 {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, last);
        let joined = host.stack.join_v6(group);
        assert_eq!(joined.is_ok(), last < 30, "{last}");
    }
    assert!(host.stack.join_v6(OUR_IP).is_err());
    host.advance(3000);
    host.finish();
}
