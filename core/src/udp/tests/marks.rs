//! Hop limits, traffic classes, flow labels, and datagrams without checksums.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU8;
use std::vec;
use std::vec::Vec;

use super::peer::{BROADCAST, OWN, PEER, Peer, datagram, peer};
use super::{bind, receive};
use crate::iface::v6_tests::{Host, OUR_IP, Packet, ip};
use crate::ip::{IpFields, header};
use crate::udp::UdpReceived;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::{DropReason, UdpId};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x99);

/// Type of service and time to live of an IPv4 packet.
fn marks_of(sent: &super::peer::Sent) -> (u8, u8) {
    (sent.ip[1], sent.ip[8])
}

#[test]
fn rfc_1122_4_1_4_type_of_service_and_time_to_live_are_the_sockets() {
    let mut host = Peer::new();
    let id = bind(&mut host, Ipv4Addr::UNSPECIFIED, 7);
    let send = |host: &mut Peer| {
        let frame = host.frame(b"data");
        host.stack
            .udp_try_send_frame(id, frame, peer(9))
            .expect("sends");
        marks_of(&host.take_one())
    };
    // The third goes out with headers that were kept.
    for _ in 0..4 {
        assert_eq!(send(&mut host), (0, 64));
    }
    host.stack.udp_set_traffic_class(id, 0xb9).expect("open");
    host.stack
        .udp_set_hop_limit(id, NonZeroU8::new(3))
        .expect("open");
    for _ in 0..4 {
        assert_eq!(send(&mut host), (0xb9, 3));
    }
    // Fragments have the same, and so has what is copied.
    let long = vec![7; 4000];
    for data in [&b"data"[..], &long] {
        host.stack.udp_try_send(id, data, peer(9)).expect("sends");
        let sent = host.take();
        assert_eq!(sent.len(), data.len() / 1480 + 1);
        assert!(sent.iter().all(|sent| marks_of(sent) == (0xb9, 3)));
    }
    host.stack.udp_set_hop_limit(id, None).expect("open");
    assert_eq!(send(&mut host), (0xb9, 64));
    // Other sockets are not concerned, nor is the next one in its place.
    host.stack.udp_close(id);
    let next = bind(&mut host, Ipv4Addr::UNSPECIFIED, 7);
    host.stack
        .udp_try_send(next, b"data", peer(9))
        .expect("sends");
    assert_eq!(marks_of(&host.take_one()), (0, 64));
    assert!(host.stack.udp_set_traffic_class(id, 1).is_err());
    host.finish();
}

#[test]
fn rfc_1112_6_1_groups_have_a_time_to_live_of_their_own() {
    let mut host = Host::new();
    let id = host.stack.udp_bind("[::]:0".parse().unwrap()).unwrap();
    let to = SocketAddr::from((GROUP_V6, 9));
    let hops = |host: &mut Host| {
        host.stack.udp_try_send(id, b"all", to).unwrap();
        let v6 = host.sent().iter().map(|packet| packet.hops).next();
        v6.unwrap()
    };
    assert_eq!(hops(&mut host), 1);
    host.stack.udp_set_hop_limit(id, NonZeroU8::new(9)).unwrap();
    assert_eq!(hops(&mut host), 1, "that is for single hosts");
    host.stack
        .udp_set_multicast_hop_limit(id, NonZeroU8::new(17))
        .unwrap();
    assert_eq!(hops(&mut host), 17);
    host.stack.udp_set_multicast_hop_limit(id, None).unwrap();
    assert_eq!(hops(&mut host), 1);
    host.finish();
    // Of IPv4 the same header function sees to both.
    let ttl = |fields: IpFields| header(fields, OWN, GROUP, 100).ttl;
    assert_eq!(ttl(IpFields::of(PROTOCOL_UDP)), 1);
    assert_eq!(ttl(IpFields::of(PROTOCOL_UDP).hops(17)), 17);
}

#[test]
fn rfc_3493_5_the_headers_of_what_came_can_be_read() {
    let mut host = Peer::new();
    let id = bind(&mut host, Ipv4Addr::UNSPECIFIED, 7);
    assert_eq!(host.stack.udp_received(id), Ok(None));
    // Twice: the second is expected, and takes a short way.
    for class in [0x2e, 0x2f, 0x00] {
        host.give_marked((class, 33), OWN, PROTOCOL_UDP, 9, 7);
        receive(&mut host, id).expect("there");
        let expected = UdpReceived {
            destination: Some(IpAddr::V4(OWN)),
            hop_limit: 33,
            traffic_class: class,
        };
        assert_eq!(host.stack.udp_received(id), Ok(Some(expected)));
    }
    host.give_udp(BROADCAST, 9, 7, b"all");
    receive(&mut host, id).expect("there");
    let received = host.stack.udp_received(id).expect("open");
    assert_eq!(received.expect("one").destination, None);
    host.finish();

    let (mut host, id) = host_v6();
    let mut packet = datagram_v6(b"data", true);
    packet.hops = 3;
    packet.first = 0x6ad0_0123;
    host.give(packet);
    host.stack.udp_try_recv(id).unwrap();
    let expected = UdpReceived {
        destination: Some(IpAddr::V6(OUR_IP)),
        hop_limit: 3,
        traffic_class: 0xad,
    };
    assert_eq!(host.stack.udp_received(id), Ok(Some(expected)));
    host.finish();
}

/// RFC 3168, 5.3: of fragments with different marks the worst counts.
#[test]
fn rfc_3168_5_3_the_class_of_a_datagram_in_fragments() {
    let mut host = Peer::new();
    let id = bind(&mut host, Ipv4Addr::UNSPECIFIED, 7);
    let whole = datagram(PEER, OWN, 9, 7, &[1; 2000]);
    host.give_marked_fragment((0xb9, 60), OWN, 5, 0x2000, &whole[..1000]);
    host.give_marked_fragment((0x03, 50), OWN, 5, 125, &whole[1000..]);
    let mut got = vec![0; 3000];
    let (len, _) = host.stack.udp_try_recv_into(id, &mut got).expect("whole");
    assert_eq!(len, 2000);
    let received = host.stack.udp_received(id).expect("open").expect("one");
    assert_eq!((received.traffic_class, received.hop_limit), (0xbb, 60));
    host.finish();
}

fn host_v6() -> (Host, UdpId) {
    let mut host = Host::new();
    let socket = host.stack.udp_bind("[::]:7".parse().unwrap()).unwrap();
    host.meet(9);
    (host, socket)
}

/// From neighbour 9, port 9, to port 7, with a checksum or without.
fn datagram_v6(payload: &[u8], summed: bool) -> Packet {
    let mut body = vec![0, 9, 0, 7];
    body.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    body.extend([0, 0]);
    body.extend(payload);
    let mut packet = Packet::new(17, &body);
    if summed {
        let sum = packet.pseudo(body.len()).add_bytes(&body);
        packet.body[6..8].copy_from_slice(&sum.finish_nonzero().to_be_bytes());
    }
    packet
}

#[test]
fn rfc_6437_3_a_socket_has_one_flow_label_and_others_have_others() {
    let (mut host, id) = host_v6();
    let other = host.stack.udp_bind("[::]:8".parse().unwrap()).unwrap();
    host.stack.udp_set_traffic_class(id, 0xb8).unwrap();
    let to = SocketAddr::from((ip(9), 9));
    let long = vec![1; 3000];
    for data in [&b"data"[..], b"more", &long] {
        host.stack.udp_try_send(id, data, to).unwrap();
    }
    let words: Vec<u32> = host.sent().iter().map(|packet| packet.first).collect();
    assert_eq!(words.len(), 2 + 3);
    assert!(words.iter().all(|word| *word == words[0]), "{words:x?}");
    assert_eq!(words[0] >> 20, 0x6b8);
    assert_ne!(words[0] & 0xf_ffff, 0);
    host.stack.udp_try_send(other, b"data", to).unwrap();
    let another = host.sent()[0].first;
    assert_ne!(another & 0xf_ffff, words[0] & 0xf_ffff);
    assert_eq!(another >> 20, 0x600);
    host.finish();
}

#[test]
fn rfc_6936_4_datagrams_without_checksums_are_for_sockets_that_want_them() {
    let (mut host, id) = host_v6();
    let to = SocketAddr::from((ip(9), 9));
    host.refuses(datagram_v6(b"bare", false), DropReason::UdpBadChecksum);
    // A port that nobody listens on does not answer either.
    let mut nobody = datagram_v6(b"bare", false);
    nobody.body[3] = 99;
    host.refuses(nobody, DropReason::UdpBadChecksum);
    assert!(host.sent().is_empty());
    // Taken, but not sent.
    host.stack.udp_set_zero_checksum(id, false, true).unwrap();
    host.give(datagram_v6(b"bare", false));
    assert_eq!(*host.stack.udp_try_recv(id).unwrap().0, *b"bare");
    host.stack.udp_try_send(id, b"data", to).unwrap();
    assert_ne!(host.sent()[0].body[6..8], [0, 0]);
    // With a checksum that is wrong, still refused.
    let mut wrong = datagram_v6(b"bare", true);
    wrong.body[9] ^= 1;
    host.refuses(wrong, DropReason::UdpBadChecksum);
    // Sent, but not taken; in fragments as well.
    host.stack.udp_set_zero_checksum(id, true, false).unwrap();
    let long = vec![1; 3000];
    host.stack.udp_try_send(id, b"data", to).unwrap();
    host.stack.udp_try_send(id, &long, to).unwrap();
    let sent = host.sent();
    assert_eq!(sent[0].body[6..8], [0, 0]);
    assert_eq!(sent[1].body[8..][6..8], [0, 0], "behind a fragment header");
    host.refuses(datagram_v6(b"bare", false), DropReason::UdpBadChecksum);
    host.finish();
}

/// RFC 1122, 4.1.3.4: whatever a socket says of IPv6, over IPv4 there is a
/// checksum.
#[test]
fn rfc_1122_4_1_3_4_over_ipv4_there_is_always_a_checksum() {
    let mut host = Peer::new();
    let id = bind(&mut host, Ipv4Addr::UNSPECIFIED, 7);
    host.stack.udp_set_zero_checksum(id, true, true).unwrap();
    for _ in 0..4 {
        let frame = host.frame(b"data");
        host.stack
            .udp_try_send_frame(id, frame, peer(9))
            .expect("sends");
        let sent = host.take_one();
        assert_eq!(sent.body(), datagram(OWN, PEER, 7, 9, b"data"));
    }
    host.finish();
}
