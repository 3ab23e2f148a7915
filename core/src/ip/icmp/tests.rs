use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Instant, RxMeta};
use proptest::prelude::*;

use super::{ERROR_BURST, Icmp};
use crate::random::Random;
use crate::udp::UdpId;
use crate::udp::tests::peer::{BROADCAST, OWN, PEER, Peer, datagram, icmp_message, peer};
use crate::wire::icmpv4::{
    DEST_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, SOURCE_QUENCH, TIME_EXCEEDED,
};
use crate::wire::ipv4::{PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::{ConnError, Counter, DropReason, Error, TcpOptions};

const ID: [u8; 4] = [0x12, 0x34, 0, 1];

#[test]
fn rfc_1122_3_2_2_6_echo_of_every_size_comes_back_entire() {
    let mut host = Peer::new();
    for len in 0..=1472_usize {
        let data: Vec<u8> = (0..len)
            .map(|at| (at * 31 + len).to_le_bytes()[0])
            .collect();
        host.give_icmp(OWN, ECHO_REQUEST, 0, ID, &data);
        let reply = host.take_one();
        assert_eq!((reply.protocol(), reply.source()), (PROTOCOL_ICMP, OWN));
        assert_eq!(
            reply.body(),
            icmp_message(ECHO_REPLY, 0, ID, &data),
            "{len} bytes"
        );
        assert_eq!(reply.pieces, 1);
    }
    assert_eq!(host.count(Counter::IcmpEchoReplies), 1473);
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_6_echo_is_answered_from_the_address_asked() {
    let mut host = Peer::new();
    let second = Ipv4Addr::new(10, 0, 0, 3);
    host.give_icmp(second, ECHO_REQUEST, 0, ID, b"which");
    assert_eq!(host.take_one().source(), second);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_6_echo_to_a_group_stays_unanswered() {
    let mut host = Peer::new();
    for group in [BROADCAST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
        host.give_icmp(group, ECHO_REQUEST, 0, ID, b"all");
    }
    assert!(host.take().is_empty());
    assert_eq!(host.dropped(DropReason::IcmpEchoToGroup), 3);
    host.finish();
}

#[test]
fn rfc_792_wrong_checksums_and_short_messages_are_dropped() {
    let mut host = Peer::new();
    let good = icmp_message(ECHO_REQUEST, 0, ID, b"data");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        host.give(OWN, PROTOCOL_ICMP, &bad);
    }
    for len in 0..8 {
        host.give(OWN, PROTOCOL_ICMP, &good[..len]);
    }
    assert!(host.take().is_empty());
    assert_eq!(host.dropped(DropReason::IcmpBadChecksum), good.len() as u64);
    assert_eq!(host.dropped(DropReason::IcmpTooShort), 8);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_unknown_types_are_ignored() {
    let mut host = Peer::new();
    let quote = [0x45; 28];
    for kind in [ECHO_REPLY, SOURCE_QUENCH, 13, 17, 99, 255] {
        host.give_icmp(OWN, kind, 0, ID, &quote);
    }
    assert!(host.take().is_empty());
    assert_eq!(host.dropped(DropReason::IcmpIgnored), 6);
    host.finish();
}

/// The IP packet that an error sent by the stack quotes.
fn quoted(error: &[u8], code: u8) -> &[u8] {
    assert_eq!(error[..2], [DEST_UNREACHABLE, code]);
    assert!(Sum::of(error).is_valid());
    assert_eq!(error[4..8], [0; 4]);
    &error[8..]
}

#[test]
fn rfc_1122_4_1_3_1_closed_ports_are_reported() {
    let mut host = Peer::new();
    host.give_udp(OWN, 4000, 9, b"anyone?");
    let error = host.take_one();
    assert_eq!((error.protocol(), error.source()), (PROTOCOL_ICMP, OWN));
    let quote = quoted(error.body(), 3);
    assert!(Sum::of(&quote[..20]).is_valid(), "the header as it came");
    assert_eq!(quote[12..16], PEER.octets());
    assert_eq!(quote[20..], datagram(PEER, OWN, 4000, 9, b"anyone?"));
    assert_eq!(host.dropped(DropReason::UdpNoSocket), 1);
    assert_eq!(host.count(Counter::IcmpErrorsOut), 1);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_1_unknown_protocols_are_reported() {
    let mut host = Peer::new();
    host.give(OWN, 132, b"sctp, say");
    let error = host.take_one();
    assert_eq!(quoted(error.body(), 2)[20..], *b"sctp, say");
    assert_eq!(host.dropped(DropReason::Ipv4UnknownProtocol), 1);
    host.finish();
}

#[test]
fn rfc_1812_4_3_2_3_quotes_fill_576_bytes_options_included() {
    let mut host = Peer::new();
    let body = datagram(PEER, OWN, 4000, 9, &vec![0x5a; 1400]);
    for options in [&[][..], &[1, 1, 1, 0], &[1; 40]] {
        host.give_with_options(OWN, PROTOCOL_UDP, options, &body, RxMeta::default());
        let error = host.take_one();
        assert_eq!(error.ip.len(), 576);
        let quote = quoted(error.body(), 3);
        assert_eq!(usize::from(quote[0] & 15) * 4, 20 + options.len());
        assert_eq!(quote[20..20 + options.len()], *options);
        let rest = &quote[20 + options.len()..];
        assert_eq!(rest, &body[..rest.len()]);
    }
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn errors_are_copied_only_where_their_headers_have_no_room() {
    let mut host = Peer::new();
    for (headroom, copied) in [(28, 0), (27, 37), (0, 37 + 37)] {
        host.rx_headroom = headroom;
        host.give_icmp(OWN, ECHO_REQUEST, 0, ID, b"in place");
        assert_eq!(
            host.take_one().body(),
            icmp_message(ECHO_REPLY, 0, ID, b"in place")
        );
        host.give_udp(OWN, 4000, 9, b"anywhere?");
        let error = host.take_one();
        let sent = datagram(PEER, OWN, 4000, 9, b"anywhere?");
        assert_eq!(quoted(error.body(), 3)[20..], sent);
        assert_eq!(host.count(Counter::CopiedBytes), copied);
    }
    host.finish();
}

#[test]
fn rfc_1122_4_2_3_9_errors_end_connections_being_opened() {
    let mut host = Peer::new();
    for (code, error) in [(3, ConnError::Refused), (1, ConnError::HostUnreachable)] {
        let flow = host
            .stack
            .tcp_connect(peer(80), TcpOptions::DEFAULT)
            .expect("opens");
        let syn = host.take_one();
        assert_eq!(syn.protocol(), PROTOCOL_TCP);
        // RFC 5927, 4.1: an error that quotes another sequence number is not
        // about this segment.
        let mut forged = syn.ip[..28].to_vec();
        forged[27] ^= 1;
        host.give_icmp(OWN, DEST_UNREACHABLE, code, [0; 4], &forged);
        assert_eq!(host.stack.tcp_try_connected(flow), Err(Error::WouldBlock));
        host.give_icmp(OWN, DEST_UNREACHABLE, code, [0; 4], &syn.ip[..28]);
        assert_eq!(host.stack.tcp_try_connected(flow), Err(Error::Conn(error)));
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_no_errors_about_groups_or_errors() {
    let mut host = Peer::new();
    for group in [
        BROADCAST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 251),
    ] {
        host.give_udp(group, 4000, 9, b"anyone?");
        host.give(group, 132, b"sctp");
    }
    // An error about a datagram that this host never sent.
    let quote = ip_packet(OWN, PEER, PROTOCOL_UDP, &datagram(OWN, PEER, 9, 4000, b""));
    host.give_icmp(OWN, DEST_UNREACHABLE, 3, [0; 4], &quote);
    assert!(host.take().is_empty());
    assert_eq!(host.dropped(DropReason::IcmpNoFlow), 1);
    assert_eq!(host.count(Counter::IcmpErrorsOut), 0);
    host.finish();
}

#[test]
fn rfc_1812_4_3_2_8_errors_are_limited_in_rate() {
    let mut host = Peer::new();
    let flood = |host: &mut Peer| {
        (0..200)
            .map(|_| {
                host.give_udp(OWN, 4000, 9, b"x");
                host.take().len()
            })
            .sum::<usize>()
    };
    let burst = flood(&mut host);
    assert!((25..=50).contains(&burst), "{burst} errors at once");
    assert_eq!(flood(&mut host), 0);
    assert_eq!(host.count(Counter::IcmpErrorsLimited), 400 - burst as u64);
    host.advance(Duration::from_millis(100));
    let later = flood(&mut host);
    assert!((5..=11).contains(&later), "{later} errors after 100 ms");
    host.advance(Duration::from_secs(3600));
    let full = flood(&mut host);
    assert!((25..=50).contains(&full), "{full} errors after an hour");
    host.finish();
}

#[test]
fn the_rate_limit_holds_at_the_ends_of_time() {
    let mut random = Random::new([3; 32]);
    let mut icmp = Icmp::new();
    for now in [Instant::FAR_FUTURE, Instant::ZERO, Instant::FAR_FUTURE] {
        let sent = (0..100)
            .filter(|_| icmp.may_send_error(now, &mut random))
            .count();
        assert!(sent as u64 <= ERROR_BURST);
    }
}

/// An IP packet to be quoted.
fn ip_packet(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + body.len()).expect("fits").to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(body);
    packet
}

fn connected(host: &mut Peer, port: u16) -> UdpId {
    let id = host
        .stack
        .udp_bind(SocketAddr::from((OWN, port)))
        .expect("free");
    host.stack
        .udp_connect(id, Some(peer(53)))
        .expect("connects");
    id
}

#[test]
fn rfc_1122_4_1_3_3_errors_reach_the_connected_socket_once() {
    let mut host = Peer::new();
    let id = connected(&mut host, 5000);
    let other = connected(&mut host, 5001);
    let quote = ip_packet(
        OWN,
        PEER,
        PROTOCOL_UDP,
        &datagram(OWN, PEER, 5000, 53, b"query"),
    );
    for (kind, code, error) in [
        (DEST_UNREACHABLE, 3, ConnError::Refused),
        (DEST_UNREACHABLE, 2, ConnError::Refused),
        (DEST_UNREACHABLE, 1, ConnError::HostUnreachable),
        (DEST_UNREACHABLE, 13, ConnError::HostUnreachable),
        (TIME_EXCEEDED, 0, ConnError::HostUnreachable),
    ] {
        // "at least the first 8 data octets" is all that a sender must quote.
        host.give_icmp(OWN, kind, code, [0; 4], &quote[..28]);
        let told = host.stack.udp_try_recv(id).map(drop);
        assert_eq!(told, Err(Error::Conn(error)));
        assert_eq!(
            host.stack.udp_try_recv(id).map(drop),
            Err(Error::WouldBlock)
        );
    }
    host.give_icmp(OWN, DEST_UNREACHABLE, 3, [0; 4], &quote);
    assert_eq!(
        host.stack.udp_try_send(id, b"again", peer(53)),
        Err(Error::Conn(ConnError::Refused))
    );
    assert_eq!(host.stack.udp_try_send(id, b"again", peer(53)), Ok(()));
    assert_eq!(
        host.stack.udp_try_recv(other).map(drop),
        Err(Error::WouldBlock)
    );
    assert_eq!(host.count(Counter::IcmpErrorsIn), 6);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_errors_that_quote_nonsense_are_dropped() {
    let mut host = Peer::new();
    let id = connected(&mut host, 5000);
    let good = ip_packet(
        OWN,
        PEER,
        PROTOCOL_UDP,
        &datagram(OWN, PEER, 5000, 53, b"query"),
    );
    for len in 0..28 {
        host.give_icmp(OWN, DEST_UNREACHABLE, 3, [0; 4], &good[..len]);
    }
    let broken = [(0, 0x65), (0, 0x44), (0, 0x4f), (6, 0x01), (7, 0x01)];
    for (at, value) in broken {
        let mut bad = good.clone();
        bad[at] = value;
        host.give_icmp(OWN, DEST_UNREACHABLE, 3, [0; 4], &bad);
    }
    assert_eq!(
        host.dropped(DropReason::IcmpBadQuote),
        28 + broken.len() as u64
    );
    // Not ours, another peer, another port, another protocol, to ourselves.
    for (at, value) in [(15, 9), (19, 9), (21, 0xff), (23, 0xff), (9, 132), (19, 2)] {
        let mut bad = good.clone();
        bad[at] = value;
        host.give_icmp(OWN, DEST_UNREACHABLE, 3, [0; 4], &bad);
    }
    assert_eq!(host.dropped(DropReason::IcmpNoFlow), 6);
    host.give_icmp(OWN, DEST_UNREACHABLE, 16, [0; 4], &good);
    assert_eq!(host.dropped(DropReason::IcmpIgnored), 1);
    assert_eq!(
        host.stack.udp_try_recv(id).map(drop),
        Err(Error::WouldBlock)
    );
    host.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_messages_leave_the_pool_full(
        messages in proptest::collection::vec(
            (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..80)), 1..20,
        ),
    ) {
        let mut host = Peer::new();
        connected(&mut host, 5000);
        for (kind, code, data) in messages {
            host.give_icmp(OWN, kind % 20, code, ID, &data);
            host.give(OWN, PROTOCOL_ICMP, &data);
            host.take();
        }
        host.finish();
    }
}
