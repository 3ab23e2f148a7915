//! Groups, and what routers hear of them.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use zerocopy::FromBytes;

use super::*;
use crate::UdpId;
use crate::iface::tests::{Host, OUR_IP, ip};
use crate::ip::IpFields;
use crate::udp::tests::peer::datagram;
use crate::wire::igmp::QUERY;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::{EthernetHeader, MacAddr};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(239, 9, 9, 9);

fn bind(host: &mut Host, port: u16) -> UdpId {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    host.stack.udp_bind(any).expect("free")
}

/// An IPv4 packet to `to` arrives from a neighbour.
fn give(host: &mut Host, to: Ipv4Addr, protocol: u8, ttl: u8, body: &[u8]) {
    let total = u16::try_from(20 + body.len()).expect("short");
    let ip_header = Ipv4Header {
        ttl,
        ..header(IpFields::of(protocol), ip(9), to, total)
    };
    let ethernet = EthernetHeader::new(MacAddr::of_multicast_v4(to), MacAddr([2; 6]), 0x0800);
    let frame = [&ethernet.to_bytes()[..], &ip_header.to_bytes(), body].concat();
    host.inject(&frame);
}

fn query(host: &mut Host, group: Ipv4Addr, code: u8, long: bool) {
    let [a, b, c, d] = group.octets();
    let mut bytes = [QUERY, code, 0, 0, a, b, c, d].to_vec();
    if long {
        bytes.extend([2, 125, 0, 0]);
    }
    let check = Sum::of(&bytes).finish().to_be_bytes();
    bytes[2..4].copy_from_slice(&check);
    let to = if group.is_unspecified() {
        ALL_HOSTS
    } else {
        group
    };
    give(host, to, PROTOCOL_IGMP, 1, &bytes);
}

/// The IGMP messages that the host sent: where to, and the message.
fn sent(host: &mut Host) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let mut all = Vec::new();
    for sent in host.sent() {
        let packet = &sent.bytes[14..];
        let (header, _) = Ipv4Header::read_from_prefix(packet).expect("a packet");
        assert_eq!(header.protocol, PROTOCOL_IGMP);
        assert_eq!((header.ttl, header.tos, header.header_len()), (1, 0xc0, 24));
        assert_eq!(packet[20..24], ROUTER_ALERT);
        assert_eq!(header.source(), OUR_IP);
        assert!(Sum::of(&packet[..24]).is_valid() && Sum::of(&packet[24..]).is_valid());
        let to = header.destination();
        assert_eq!(sent.bytes[..6], MacAddr::of_multicast_v4(to).0);
        all.push((to, packet[24..].to_vec()));
    }
    all
}

/// The records of version 3 reports among what it sent.
fn records(host: &mut Host) -> Vec<(u8, Ipv4Addr)> {
    let mut all = Vec::new();
    for (to, message) in sent(host) {
        assert_eq!((to, message[0]), (V3_ROUTERS, 0x22));
        let count = usize::from(message[7]);
        assert_eq!(message.len(), 8 + 8 * count);
        for record in message[8..].chunks(8) {
            let [kind, _, _, _, a, b, c, d] = *record else {
                panic!("a record")
            };
            all.push((kind, Ipv4Addr::new(a, b, c, d)));
        }
    }
    all
}

#[test]
fn rfc_1112_groups_that_sockets_joined_are_received() {
    let mut host = Host::new();
    let (id, second) = (bind(&mut host, 7), bind(&mut host, 8));
    let body = datagram(ip(9), GROUP, 4000, 7, b"to all");
    give(&mut host, GROUP, PROTOCOL_UDP, 5, &body);
    assert_eq!(host.dropped(DropReason::Ipv4NotForUs), 1);
    host.stack.udp_join(id, GROUP.into()).expect("joins");
    host.stack.udp_join(second, GROUP.into()).expect("joins");
    give(&mut host, GROUP, PROTOCOL_UDP, 5, &body);
    let (got, from) = host.stack.udp_try_recv(id).expect("a datagram");
    assert_eq!((&got[..], from), (&b"to all"[..], (ip(9), 4000).into()));
    drop(got);
    // As long as one of them listens.
    host.stack.udp_leave(id, GROUP.into()).expect("leaves");
    give(&mut host, GROUP, PROTOCOL_UDP, 5, &body);
    assert!(host.stack.udp_try_recv(id).is_ok());
    host.stack.udp_close(second);
    give(&mut host, GROUP, PROTOCOL_UDP, 5, &body);
    assert_eq!(host.dropped(DropReason::Ipv4NotForUs), 2);
    host.advance(Duration::from_secs(5));
    host.finish();
}

#[test]
fn rfc_3376_5_1_changes_are_told_twice() {
    let mut host = Host::new();
    let id = bind(&mut host, 7);
    for group in [GROUP, OTHER] {
        host.stack.udp_join(id, group.into()).expect("joins");
    }
    host.advance(Duration::ZERO);
    assert_eq!(records(&mut host), [(4, GROUP), (4, OTHER)], "one report");
    for _ in 0..10 {
        host.advance(Duration::from_millis(110));
    }
    let mut again = records(&mut host);
    again.sort();
    assert_eq!(again, [(4, GROUP), (4, OTHER)]);
    host.advance(Duration::from_secs(1000));
    assert!(records(&mut host).is_empty());
    host.stack.udp_leave(id, GROUP.into()).expect("leaves");
    host.advance(Duration::ZERO);
    assert_eq!(records(&mut host), [(3, GROUP)]);
    host.stack.udp_close(id);
    host.advance(Duration::ZERO);
    assert_eq!(records(&mut host), [(3, OTHER)]);
    host.advance(Duration::from_secs(2));
    let mut again = records(&mut host);
    again.sort();
    assert_eq!(again, [(3, GROUP), (3, OTHER)]);
    host.advance(Duration::from_secs(1000));
    assert!(records(&mut host).is_empty());
    host.finish();
}

#[test]
fn rfc_3376_5_2_queries_are_answered_within_their_time() {
    let mut host = Host::new();
    let id = bind(&mut host, 7);
    for group in [GROUP, OTHER, ALL_HOSTS] {
        host.stack.udp_join(id, group.into()).expect("joins");
    }
    host.advance(Duration::from_secs(1));
    host.advance(Duration::from_secs(1));
    host.sent();
    query(&mut host, Ipv4Addr::UNSPECIFIED, 100, true);
    let mut told = Vec::new();
    for _ in 0..100 {
        host.advance(Duration::from_millis(100));
        told.extend(records(&mut host));
    }
    told.sort();
    assert_eq!(
        told,
        [(2, GROUP), (2, OTHER)],
        "nothing of the group of all"
    );
    query(&mut host, OTHER, 10, true);
    query(&mut host, Ipv4Addr::new(239, 7, 7, 7), 10, true);
    host.advance(Duration::from_secs(1));
    assert_eq!(records(&mut host), [(2, OTHER)]);
    assert_eq!(
        host.count(Counter::IgmpQueriesIn),
        2,
        "one was for nobody here"
    );
    host.stack.udp_close(id);
    host.advance(Duration::from_secs(5));
    host.advance(Duration::from_secs(5));
    host.finish();
}

#[test]
fn rfc_3376_7_2_1_older_routers_hear_older_messages() {
    for (code, report, leave) in [(100, 0x16, Some((ALL_ROUTERS, 0x17))), (0, 0x12, None)] {
        let mut host = Host::new();
        let id = bind(&mut host, 7);
        host.stack.udp_join(id, GROUP.into()).expect("joins");
        host.advance(Duration::from_secs(1));
        host.advance(Duration::from_secs(1));
        host.sent();
        query(&mut host, Ipv4Addr::UNSPECIFIED, code, false);
        host.advance(Duration::from_secs(10));
        let told = sent(&mut host);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, told[0].1[0]), (GROUP, report));
        host.stack.udp_leave(id, GROUP.into()).expect("leaves");
        host.advance(Duration::ZERO);
        let told: Vec<_> = sent(&mut host)
            .iter()
            .map(|(to, message)| (*to, message[0]))
            .collect();
        assert_eq!(told, Vec::from_iter(leave));
        // Until the old router has been silent for long.
        host.advance(Duration::from_secs(260));
        host.sent();
        host.stack.udp_join(id, OTHER.into()).expect("joins");
        host.advance(Duration::ZERO);
        assert_eq!(records(&mut host), [(4, OTHER)]);
        host.stack.udp_close(id);
        host.advance(Duration::from_secs(5));
        host.advance(Duration::from_secs(5));
        host.finish();
    }
}

#[test]
fn messages_from_afar_and_damaged_ones_are_dropped() {
    let mut host = Host::new();
    let good = [QUERY, 100, 0xee, 0x9b, 0, 0, 0, 0];
    give(&mut host, ALL_HOSTS, PROTOCOL_IGMP, 1, &good);
    assert_eq!(host.count(Counter::IgmpQueriesIn), 1);
    give(&mut host, ALL_HOSTS, PROTOCOL_IGMP, 2, &good);
    let mut bad = good;
    bad[7] = 1;
    give(&mut host, ALL_HOSTS, PROTOCOL_IGMP, 1, &bad);
    assert_eq!(host.dropped(DropReason::IgmpMalformed), 2);
    give(
        &mut host,
        ALL_HOSTS,
        PROTOCOL_IGMP,
        1,
        &emit_v2(REPORT_V2, GROUP),
    );
    assert_eq!(host.dropped(DropReason::IgmpIgnored), 1);
    host.finish();
}

#[test]
fn groups_are_bounded_and_must_be_groups() {
    let mut host = Host::new();
    let id = bind(&mut host, 7);
    let joined = (0..=255)
        .filter(|&last| host.stack.udp_join(id, [239, 0, 0, last].into()).is_ok())
        .count();
    assert_eq!(joined, MAX_GROUPS);
    assert_eq!(
        host.stack.udp_join(id, OUR_IP.into()),
        Err(Misuse::BadDestination)
    );
    assert_eq!(
        host.stack.udp_leave(id, GROUP.into()),
        Err(Misuse::BadDestination)
    );
    // One socket joins a group once.
    let first = Ipv4Addr::new(239, 0, 0, 0);
    assert_eq!(
        host.stack.udp_join(id, first.into()),
        Err(Misuse::AddressInUse)
    );
    host.stack.udp_close(id);
    for _ in 0..5 {
        host.advance(Duration::from_secs(1));
        host.sent();
    }
    assert!(host.stack.iface.groups.groups.is_empty());
    host.finish();
}
