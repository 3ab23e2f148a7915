//! Frames in, drops by name out: IPv6 input rule by rule.

use core::net::{Ipv6Addr, SocketAddr};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::iface::v6_tests::{FAR, Host, LINK_LOCAL, OUR_IP, Packet, ip, mac};
use crate::wire::MacAddr;
use crate::wire::ipv6::ALL_NODES;
use crate::{ConnError, Counter, DropReason, Error, ListenOptions, Misuse, TcpOptions, UdpId};

fn host() -> (Host, UdpId) {
    let mut host = Host::new();
    let socket = host.stack.udp_bind("[::]:7".parse().unwrap()).unwrap();
    host.meet(9);
    (host, socket)
}

/// A datagram from neighbour 9, port 12345, to port 7.
fn datagram(payload: &[u8]) -> Packet {
    let mut body = vec![0x30, 0x39, 0, 7];
    body.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    body.extend([0, 0]);
    body.extend(payload);
    sealed(Packet::new(17, &body))
}

/// With a good UDP checksum.
fn sealed(mut packet: Packet) -> Packet {
    packet.body[6..8].fill(0);
    let sum = packet.pseudo(packet.body.len()).add_bytes(&packet.body);
    packet.body[6..8].copy_from_slice(&sum.finish_nonzero().to_be_bytes());
    packet
}

/// The packet with extension headers in front of what it carries: number and
/// bytes, whose first is filled in.
fn with_extensions(mut packet: Packet, extensions: &[(u8, &[u8])]) -> Packet {
    let mut body = Vec::new();
    for (at, (_, bytes)) in extensions.iter().enumerate() {
        let next = extensions.get(at + 1).map_or(packet.next, |next| next.0);
        body.push(next);
        body.extend(&bytes[1..]);
    }
    body.extend(&packet.body);
    packet.body = body;
    packet.next = extensions.first().map_or(packet.next, |first| first.0);
    packet
}

fn received(host: &mut Host, socket: UdpId) -> Vec<u8> {
    let (frame, from) = host.stack.udp_try_recv(socket).unwrap();
    assert_eq!(from, SocketAddr::from((ip(9), 12345)));
    frame.to_vec()
}

#[test]
fn rfc8200_8_1_a_datagram_arrives_and_is_answered() {
    let (mut host, socket) = host();
    host.give(datagram(b"hello"));
    assert_eq!(received(&mut host, socket), b"hello");
    for round in 0..4 {
        host.stack
            .udp_try_send(socket, b"world", (ip(9), 12345).into())
            .unwrap();
        let sent = host.sent();
        let answer = &sent[0];
        assert_eq!((answer.src, answer.dst, answer.to), (OUR_IP, ip(9), mac(9)));
        assert_eq!((answer.next, answer.hops), (17, 64), "round {round}");
        assert_eq!(answer.body[8..], *b"world");
        let sum = answer.pseudo(answer.body.len()).add_bytes(&answer.body);
        assert!(sum.is_valid());
    }
    assert_eq!(host.count(Counter::Ipv6In), 2, "an advertisement before");
    host.finish();
}

#[test]
fn rfc8200_8_1_a_datagram_without_a_checksum_is_refused() {
    let (mut host, _) = host();
    let mut bare = datagram(b"hello");
    bare.body[6..8].fill(0);
    host.refuses(bare, DropReason::UdpBadChecksum);
    host.finish();
}

#[test]
fn rfc8200_3_headers_that_make_no_sense_are_refused() {
    let (mut host, _) = host();
    let sound = datagram(b"hello").bytes();
    for (change, reason) in [
        ((14, 0x40), DropReason::Ipv6BadVersion),
        ((18, 0xff), DropReason::Ipv6BadLength),
        ((22, 0xff), DropReason::Ipv6BadSource),
        ((53, 0x77), DropReason::Ipv6NotForUs),
    ] {
        let (at, value) = change;
        let mut spoilt = sound.clone();
        spoilt[at] = value;
        host.inject(&spoilt);
        assert_eq!(host.dropped(reason), 1, "{reason}");
    }
    host.inject(&sound[..50]);
    assert_eq!(host.dropped(DropReason::Ipv6TooShort), 1);
    host.finish();
}

#[test]
fn rfc4291_2_addresses_that_no_host_can_have_are_refused() {
    let (mut host, _) = host();
    for src in ["ff02::1", "::1", "::ffff:10.0.0.9", "::"] {
        let forged = sealed(datagram(b"x").src(src.parse().unwrap()));
        host.refuses(forged, DropReason::Ipv6BadSource);
    }
    host.refuses(
        sealed(datagram(b"x").src(OUR_IP)),
        DropReason::Ipv6OwnSource,
    );
    for dst in ["::1", "::ffff:10.0.0.1", "2001:db8::2", "ff02::fb"] {
        let astray = sealed(datagram(b"x").dst(dst.parse().unwrap()));
        host.refuses(astray, DropReason::Ipv6NotForUs);
    }
    let flooded = Packet {
        to: MacAddr::BROADCAST,
        ..datagram(b"x")
    };
    host.refuses(flooded, DropReason::Ipv6UnicastInMulticast);
    host.finish();
}

#[test]
fn a_host_without_ipv6_is_silent_on_it() {
    let config = crate::Config::new("10.0.0.1/24".parse().unwrap(), [1; 32]);
    let mut host = Host::at_boot(&config);
    host.refuses(datagram(b"x"), DropReason::EthernetUnknownType);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc8200_4_what_stands_behind_extension_headers_is_delivered() {
    let (mut host, socket) = host();
    let pad: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
    let routed: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0];
    let long = with_extensions(
        datagram(b"deep"),
        &[(0, pad), (60, pad), (43, routed), (60, pad)],
    );
    host.give(long);
    assert_eq!(received(&mut host, socket), b"deep");
    host.finish();
}

#[test]
fn rfc4443_3_4_the_sender_is_told_what_is_wrong_with_its_headers() {
    let (mut host, _) = host();
    let sent = |host: &mut Host, packet: Packet, reason| {
        let original = packet.bytes();
        host.refuses(packet, reason);
        let sent = host.sent();
        assert_eq!(sent.len(), 1);
        let error = &sent[0];
        assert_eq!((error.src, error.dst, error.next), (OUR_IP, ip(9), 58));
        assert_eq!(error.body[8..], original[14..], "quotes all of it");
        let pointer = u32::from_be_bytes(error.body[4..8].try_into().unwrap());
        (error.body[0], error.body[1], pointer)
    };
    let option: &[u8] = &[0, 0, 0x80, 4, 0, 0, 0, 0];
    let unknown = with_extensions(datagram(b"x"), &[(60, option)]);
    assert_eq!(
        sent(&mut host, unknown, DropReason::Ipv6UnknownOption),
        (4, 2, 42)
    );
    let routing: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0];
    let source_route = with_extensions(datagram(b"x"), &[(43, routing)]);
    assert_eq!(
        sent(&mut host, source_route, DropReason::Ipv6RoutingHeader),
        (4, 0, 42)
    );
    let spoken_by_nobody = Packet::new(253, &[1; 20]);
    assert_eq!(
        sent(&mut host, spoken_by_nobody, DropReason::Ipv6UnknownProtocol),
        (4, 1, 6)
    );
    let pad: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
    let behind = with_extensions(Packet::new(253, &[1; 20]), &[(60, pad)]);
    assert_eq!(
        sent(&mut host, behind, DropReason::Ipv6UnknownProtocol),
        (4, 1, 40)
    );
    host.finish();
}

#[test]
fn rfc4443_2_4_e_to_whom_no_error_is_sent() {
    let (mut host, _) = host();
    let unknown = || Packet::new(253, &[1; 20]);
    host.refuses(unknown().dst(ALL_NODES), DropReason::Ipv6UnknownProtocol);
    host.refuses(
        unknown().src(Ipv6Addr::UNSPECIFIED),
        DropReason::Ipv6BadSource,
    );
    // About an error, even one behind an option that we do not know.
    let option: &[u8] = &[0, 0, 0x80, 4, 0, 0, 0, 0];
    let error = with_extensions(Packet::icmp(&[1, 4, 0, 0, 0, 0, 0, 0]), &[(60, option)]);
    host.refuses(error, DropReason::Ipv6UnknownOption);
    let nothing = with_extensions(Packet::new(59, &[]), &[]);
    host.refuses(nothing, DropReason::Ipv6NoNextHeader);
    assert!(host.sent().is_empty());
    // The exception: an option that wants it told even about a group.
    let told = with_extensions(datagram(b"x").dst(ALL_NODES), &[(60, option)]);
    host.refuses(told, DropReason::Ipv6UnknownOption);
    let sent = host.sent();
    assert_eq!((sent[0].src, sent[0].body[0]), (OUR_IP, 4));
    let silent: &[u8] = &[0, 0, 0xc0, 4, 0, 0, 0, 0];
    let told = with_extensions(datagram(b"x").dst(ALL_NODES), &[(60, silent)]);
    host.refuses(told, DropReason::Ipv6UnknownOption);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc4443_3_1_a_port_that_nobody_listens_on_is_told() {
    let (mut host, _) = host();
    let mut closed = datagram(b"hello");
    closed.body[3] = 9;
    let closed = sealed(closed);
    let original = closed.bytes();
    host.refuses(closed, DropReason::UdpNoSocket);
    let sent = host.sent();
    assert_eq!((sent[0].body[0], sent[0].body[1]), (1, 4));
    assert_eq!(sent[0].body[8..], original[14..]);
    // No more than the minimum MTU in all (RFC 4443, 3.1).
    let mut long = datagram(&[1; 1400]);
    long.body[3] = 9;
    host.refuses(sealed(long), DropReason::UdpNoSocket);
    assert_eq!(host.sent()[0].body.len() + 40, 1280);
    host.finish();
}

#[test]
fn rfc4443_2_4_f_errors_are_limited_in_rate() {
    let (mut host, _) = host();
    for _ in 0..1000 {
        host.give(Packet::new(253, &[1; 20]));
    }
    let sent = host.sent().len();
    assert!((25..=50).contains(&sent), "{sent}");
    assert_eq!(host.count(Counter::IcmpErrorsLimited), 1000 - sent as u64);
    host.finish();
}

#[test]
fn rfc4443_4_2_echo_is_answered_from_the_address_asked() {
    let (mut host, _) = host();
    let mut ping = vec![128, 0, 0, 0, 0, 1, 0, 2];
    ping.extend([0x5a; 100]);
    let request = |dst| Packet {
        hops: 64,
        ..Packet::icmp(&ping).dst(dst)
    };
    for dst in [OUR_IP, LINK_LOCAL, ALL_NODES] {
        host.give(request(dst));
        let sent = host.sent();
        let reply = &sent[0];
        let from = if dst == ALL_NODES { OUR_IP } else { dst };
        assert_eq!((reply.src, reply.dst), (from, ip(9)));
        assert_eq!(reply.body[0], 129);
        assert_eq!(reply.body[4..], ping[4..]);
    }
    host.finish();
}

#[test]
fn rfc4443_4_2_long_echoes_come_and_go_in_fragments() {
    let (mut host, _) = host();
    let mut ping = vec![128, 0, 0, 0, 0, 1, 0, 2];
    ping.extend((0..4000_u32).map(|byte| byte as u8));
    let whole = Packet::icmp(&ping).bytes();
    for packet in fragments(&whole, 1448, 77) {
        host.give(packet);
    }
    let sent = host.sent();
    assert_eq!(sent.len(), 3);
    let mut data = Vec::new();
    for (at, packet) in sent.iter().enumerate() {
        assert_eq!(packet.next, 44);
        assert_eq!(packet.body[0], 58);
        let offset = u16::from_be_bytes([packet.body[2], packet.body[3]]);
        assert_eq!(usize::from(offset & !7), data.len());
        assert_eq!(offset & 1 == 1, at < 2, "more");
        data.extend(&packet.body[8..]);
    }
    assert_eq!(data.len(), ping.len());
    assert_eq!((data[0], &data[4..]), (129, &ping[4..]));
    assert_eq!(host.count(Counter::Reassembled), 1);
    host.finish();
}

/// `frame` cut into fragments of `size` bytes.
fn fragments(frame: &[u8], size: usize, ident: u32) -> Vec<Packet> {
    let (next, payload) = (frame[20], &frame[54..]);
    let count = payload.len().div_ceil(size);
    let part = |(at, data): (usize, &[u8])| {
        let more = u16::from(at + 1 < count);
        let offset = u16::try_from(at * size).unwrap() | more;
        let mut body = vec![next, 0];
        body.extend(offset.to_be_bytes());
        body.extend(ident.to_be_bytes());
        body.extend(data);
        Packet::new(44, &body)
    };
    payload.chunks(size).enumerate().map(part).collect()
}

#[test]
fn rfc8200_4_5_fragments_in_any_order_make_the_datagram() {
    let (mut host, socket) = host();
    let whole = datagram(&[7; 2000]).bytes();
    let mut parts = fragments(&whole, 800, 1);
    parts.reverse();
    parts.into_iter().for_each(|part| host.give(part));
    let mut data = Vec::new();
    host.stack
        .udp_try_recv_pieces(socket, |piece| data.extend(piece.to_vec()))
        .unwrap();
    assert_eq!(data, [7; 2000]);
    host.finish();
}

#[test]
fn rfc8200_4_5_what_fragments_get_wrong_is_told() {
    let (mut host, _) = host();
    let whole = datagram(&[7; 2000]).bytes();
    let told = |host: &mut Host, packet: Packet, reason| {
        host.refuses(packet, reason);
        let sent = host.sent();
        assert_eq!(sent.len(), 1, "{reason}");
        let pointer = u32::from_be_bytes(sent[0].body[4..8].try_into().unwrap());
        (sent[0].body[0], sent[0].body[1], pointer)
    };
    let mut odd = fragments(&whole, 800, 1).remove(0);
    odd.body.pop();
    assert_eq!(
        told(&mut host, odd, DropReason::FragmentBadLength),
        (4, 0, 4)
    );
    let mut far = fragments(&whole, 800, 2).remove(2);
    far.body[2..4].copy_from_slice(&0xfff8_u16.to_be_bytes());
    assert_eq!(
        told(&mut host, far, DropReason::FragmentTooLong),
        (4, 0, 42)
    );
    // RFC 7112: all headers stand in the first fragment.
    let options: &[u8] = &[0, 3, 1, 4, 0, 0, 0, 0];
    let mut cut = vec![60, 0, 0, 1, 0, 0, 0, 3];
    cut.extend(options);
    let cut = Packet::new(44, &cut);
    assert_eq!(
        told(&mut host, cut, DropReason::Ipv6BadExtension),
        (4, 3, 0)
    );
    // RFC 4443, 3.3: the others do not come.
    host.give(fragments(&whole, 800, 4).remove(0));
    host.advance(59_999);
    assert!(host.sent_icmp(3).is_empty());
    host.advance(1);
    let sent = host.sent_icmp(3);
    assert_eq!((sent[0].body[1], sent[0].dst), (1, ip(9)));
    host.finish();
}

#[test]
fn rfc5722_4_overlapping_fragments_void_the_datagram() {
    let (mut host, socket) = host();
    let whole = datagram(&[7; 2000]).bytes();
    let mut parts = fragments(&whole, 800, 1);
    let mut overlap = fragments(&whole, 808, 1);
    host.give(parts.remove(0));
    host.refuses(
        {
            let mut part = overlap.remove(1);
            part.body[2..4].copy_from_slice(&(792_u16 | 1).to_be_bytes());
            part
        },
        DropReason::FragmentOverlap,
    );
    for part in parts {
        host.give(part);
    }
    assert_eq!(
        host.stack.udp_try_recv(socket).unwrap_err(),
        Error::WouldBlock
    );
    host.advance(61_000);
    host.finish();
}

#[test]
fn rfc8021_long_datagrams_leave_in_fragments_and_short_ones_never_do() {
    let (mut host, socket) = host();
    let to = SocketAddr::from((ip(9), 12345));
    for (len, packets) in [(1452, 1), (1453, 2), (5000, 4)] {
        host.stack.udp_try_send(socket, &vec![1; len], to).unwrap();
        let sent = host.sent();
        assert_eq!(sent.len(), packets, "{len} bytes");
        let fragmented = sent.iter().all(|packet| packet.next == 44);
        assert_eq!(fragmented, packets > 1, "{len} bytes");
        assert!(sent.iter().all(|packet| packet.body.len() <= 1460));
    }
    host.finish();
}

#[test]
fn rfc4443_2_4_d_errors_reach_the_socket_that_they_concern() {
    let (mut host, _) = host();
    let socket = host.stack.udp_bind("[::]:99".parse().unwrap()).unwrap();
    let peer = SocketAddr::from((FAR, 12345));
    host.stack.udp_connect(socket, Some(peer)).unwrap();
    let mut quoted = Packet::new(17, &[0, 99, 0x30, 0x39, 0, 8, 0, 0]).src(OUR_IP);
    quoted.dst = FAR;
    let quote = &quoted.bytes()[14..];
    let error = |kind, code, quote: &[u8]| {
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        message.extend(quote);
        Packet::icmp(&message)
    };
    for (kind, code, expected) in [
        (1, 4, ConnError::Refused),
        (1, 0, ConnError::HostUnreachable),
        (3, 0, ConnError::HostUnreachable),
        (4, 1, ConnError::Refused),
    ] {
        host.give(error(kind, code, quote));
        let told = host.stack.udp_try_recv(socket).unwrap_err();
        assert_eq!(told, Error::Conn(expected), "type {kind}");
    }
    host.refuses(error(1, 4, &quote[..44]), DropReason::IcmpBadQuote);
    let mut others = quote.to_vec();
    others[23] ^= 1;
    host.refuses(error(1, 4, &others), DropReason::IcmpNoFlow);
    host.refuses(error(99, 0, quote), DropReason::IcmpIgnored);
    host.refuses(error(200, 0, quote), DropReason::IcmpIgnored);
    host.finish();
}

#[test]
fn sockets_bind_to_our_addresses_of_ipv6_only() {
    let (mut host, _) = host();
    let bind = |host: &mut Host, text: &str| host.stack.udp_bind(text.parse().unwrap());
    assert!(bind(&mut host, "[2001:db8::1]:99").is_ok());
    assert!(bind(&mut host, "[fe80::ff:fe00:1]:99").is_ok());
    assert_eq!(
        bind(&mut host, "[2001:db8::2]:99"),
        Err(Misuse::AddressNotLocal)
    );
    assert_eq!(
        bind(&mut host, "[2001:db8::1]:7"),
        Err(Misuse::AddressInUse)
    );
    let listen = host
        .stack
        .tcp_listen("[2001:db8::1]:80".parse().unwrap(), ListenOptions::DEFAULT);
    assert!(listen.is_ok());
    let connect = host
        .stack
        .tcp_connect("[ff02::1]:80".parse().unwrap(), TcpOptions::DEFAULT);
    assert_eq!(connect.unwrap_err(), Misuse::BadDestination);
    host.finish();
}

#[test]
fn scopes_and_mapped_addresses_are_those_of_the_host() {
    let (mut host, socket) = host();
    // With a scope, as text with `%` gives it.
    let scoped = core::net::SocketAddrV6::new(ip(9), 12345, 7, 3);
    host.stack.udp_connect(socket, Some(scoped.into())).unwrap();
    host.give(datagram(b"hello"));
    assert_eq!(received(&mut host, socket), b"hello");
    host.stack
        .udp_try_send(socket, b"x", scoped.into())
        .unwrap();
    assert_eq!(host.sent()[0].dst, ip(9));
    // IPv4-mapped is IPv4.
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:99".parse().unwrap();
    assert!(host.stack.udp_bind(mapped).is_ok());
    let mapped: SocketAddr = "[::ffff:10.0.0.9]:99".parse().unwrap();
    let flow = host.stack.tcp_connect(mapped, TcpOptions::DEFAULT).unwrap();
    assert!(host.sent().is_empty(), "nothing over IPv6");
    host.stack.tcp_abort(flow);
    let options = TcpOptions {
        local: Some("[2001:db8::1]:0".parse().unwrap()),
        ..TcpOptions::DEFAULT
    };
    let mixed = host.stack.tcp_connect(mapped, options);
    assert_eq!(mixed.unwrap_err(), Misuse::NoSourceAddress);
    host.advance(10_000);
    host.finish();
}

#[test]
fn rfc9293_3_7_1_the_segment_size_leaves_room_for_ipv6() {
    let (mut host, _) = host();
    let peer = SocketAddr::from((ip(9), 80));
    let flow = host.stack.tcp_connect(peer, TcpOptions::DEFAULT).unwrap();
    let sent = host.sent();
    assert_eq!(sent[0].body[20..24], [2, 4, 0x05, 0xa0], "1440");
    host.stack.tcp_abort(flow);
    host.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn headers_of_any_bytes_lose_no_frame(
        kinds in proptest::collection::vec(prop_oneof![
            Just(0_u8), Just(43), Just(44), Just(60), Just(58), Just(17), Just(6), any::<u8>(),
        ], 1..6),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut host, socket) = host();
        let mut packet = Packet::new(kinds[0], &body);
        for (at, kind) in kinds.iter().enumerate().skip(1) {
            if let Some(next) = packet.body.get_mut((at - 1) * 8) {
                *next = *kind;
            }
            if let Some(len) = packet.body.get_mut((at - 1) * 8 + 1) {
                *len %= 2;
            }
        }
        packet.hops = 255;
        host.give(packet);
        let _ = host.stack.udp_try_recv(socket);
        host.advance(70_000);
        host.finish();
    }
}
