//! A host behind a gateway, and other neighbours that would be gateways too.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;

use crate::iface::tests::{FRAMES, GATEWAY, Host, OUR_IP, OUR_MAC, ip, mac};
use crate::random::Random;
use crate::udp::UdpId;
use crate::wire::ipv4::{PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::tcp::{ACK, SYN};
use crate::{ConnError, Counter, DropReason, Error, FlowId, ListenOptions, TcpOptions, TcpState};

const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Its port, of either protocol.
const PORT: u16 = 9;
/// The neighbour that the gateway tells of.
const OTHER: u8 = 20;

/// A host that knows its gateway.
fn stranger() -> Host {
    let mut host = Host::new();
    host.meet(254);
    host
}

/// A host that knows the other one, too.
fn host() -> Host {
    let mut host = stranger();
    host.meet(OTHER);
    host
}

/// An IPv4 packet from `source` arrives, sent by the neighbour `by`.
fn give(host: &mut Host, by: u8, source: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) {
    let mut header = vec![0x45, 0];
    header.extend(((20 + body.len()) as u16).to_be_bytes());
    header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(to.octets());
    let check = Sum::of(&header).finish();
    header[10..12].copy_from_slice(&check.to_be_bytes());
    let frame = [&OUR_MAC.0[..], &mac(by).0, &[8, 0], &header, body].concat();
    host.inject(&frame);
}

/// A redirect in all its parts.
#[derive(Clone)]
struct Redirect {
    from: Ipv4Addr,
    to: Ipv4Addr,
    code: u8,
    gateway: Ipv4Addr,
    /// The packet that it quotes, from its IP header on.
    quote: Vec<u8>,
}

impl Redirect {
    /// From our gateway to the other one, about `packet`, which we sent.
    fn about(packet: &[u8]) -> Self {
        Self {
            from: GATEWAY,
            to: OUR_IP,
            code: 1,
            gateway: ip(OTHER),
            quote: packet[..28].to_vec(),
        }
    }

    fn arrives(&self, host: &mut Host) {
        let mut message = vec![5, self.code, 0, 0];
        message.extend(self.gateway.octets());
        message.extend(&self.quote);
        let check = Sum::of(&message).finish();
        message[2..4].copy_from_slice(&check.to_be_bytes());
        let by = self.from.octets()[3];
        give(host, by, self.from, self.to, PROTOCOL_ICMP, &message);
    }

    /// It is dropped for this reason, and nothing changes.
    fn is_refused(&self, host: &mut Host, reason: DropReason) {
        let (hop, generation) = (
            host.stack.iface.next_hop(FAR),
            host.stack.iface.generation(),
        );
        let before = (host.dropped(reason), host.stack.counters().dropped_total());
        self.arrives(host);
        let after = (host.dropped(reason), host.stack.counters().dropped_total());
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason}");
        assert_eq!(host.stack.iface.next_hop(FAR), hop);
        assert_eq!(host.stack.iface.generation(), generation);
    }

    fn is_followed(&self, host: &mut Host) {
        let before = host.count(Counter::IcmpRedirects);
        self.arrives(host);
        assert_eq!(host.count(Counter::IcmpRedirects), before + 1);
    }
}

/// The IPv4 packets that the host sent, with the neighbours that they went to.
fn packets(host: &mut Host) -> Vec<([u8; 6], Vec<u8>)> {
    host.sent()
        .iter()
        .filter(|sent| sent.bytes[12..14] == [8, 0])
        .map(|sent| {
            (
                *sent.bytes.first_chunk().unwrap(),
                sent.bytes[14..].to_vec(),
            )
        })
        .collect()
}

/// The only packet, and that it went to `neighbor`.
#[track_caller]
fn packet_to(host: &mut Host, neighbor: u8) -> Vec<u8> {
    let mut packets = packets(host);
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].0, mac(neighbor).0, "to whom");
    packets.remove(0).1
}

/// A socket that is connected to [`FAR`].
fn socket(host: &mut Host) -> UdpId {
    let id = host.stack.udp_bind((OUR_IP, 7).into()).unwrap();
    host.stack
        .udp_connect(id, Some((FAR, PORT).into()))
        .unwrap();
    id
}

fn send(host: &mut Host, id: UdpId, to: Ipv4Addr) {
    let frame = host.packet(1).freeze();
    host.stack
        .udp_try_send_frame(id, frame, (to, PORT).into())
        .unwrap();
}

/// A segment from [`FAR`] to `port` of ours.
fn segment(host: &mut Host, port: u16, seq: u32, ack: u32, flags: u8, data: &[u8]) {
    let mut bytes = Vec::new();
    bytes.extend(PORT.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(data);
    let pseudo = Sum::pseudo_v4(FAR.octets(), OUR_IP.octets(), 6, bytes.len() as u16);
    let check = pseudo.add_bytes(&bytes).finish();
    bytes[16..18].copy_from_slice(&check.to_be_bytes());
    give(host, 254, FAR, OUR_IP, PROTOCOL_TCP, &bytes);
}

fn seq_of(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[24..28].try_into().unwrap())
}

fn port_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[20], packet[21]])
}

/// A connection to [`FAR`] that is open; the next sequence number on our side.
fn connection(host: &mut Host) -> (FlowId, u16, u32) {
    let far: SocketAddr = (FAR, PORT).into();
    host.stack.set_now(host.now);
    let options = TcpOptions::DEFAULT.nodelay();
    let id = host.stack.tcp_connect(far, options).unwrap();
    let syn = packet_to(host, 254);
    let (port, iss) = (port_of(&syn), seq_of(&syn));
    segment(host, port, 1000, iss.wrapping_add(1), SYN | ACK, &[]);
    packet_to(host, 254);
    (id, port, iss.wrapping_add(1))
}

#[test]
fn rfc_1122_3_2_2_2_a_redirect_is_followed() {
    // RFC 1122, 3.3.1.2: those for networks, and for types of service, are taken
    // for the host's.
    for code in 0..4 {
        let mut host = host();
        let id = socket(&mut host);
        send(&mut host, id, FAR);
        let sent = packet_to(&mut host, 254);
        let redirect = Redirect {
            code,
            ..Redirect::about(&sent)
        };
        redirect.is_followed(&mut host);
        // Nobody else's way changed, not even in that network.
        send(&mut host, id, FAR);
        packet_to(&mut host, OTHER);
        let id = host.stack.udp_bind((OUR_IP, 8).into()).unwrap();
        send(&mut host, id, Ipv4Addr::new(192, 0, 2, 10));
        packet_to(&mut host, 254);
        host.finish();
    }
}

#[test]
fn rfc_1122_3_2_2_2_a_route_that_a_socket_keeps_changes_too() {
    let mut host = host();
    let id = socket(&mut host);
    for _ in 0..4 {
        send(&mut host, id, FAR);
    }
    let sent = packets(&mut host);
    assert!(sent.iter().all(|(to, _)| *to == mac(254).0));
    Redirect::about(&sent[3].1).is_followed(&mut host);
    for _ in 0..4 {
        send(&mut host, id, FAR);
    }
    let sent = packets(&mut host);
    assert!(sent.len() == 4 && sent.iter().all(|(to, _)| *to == mac(OTHER).0));
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_2_a_connection_follows() {
    let mut host = host();
    let (id, port, next) = connection(&mut host);
    host.stack.tcp_try_write(id, b"one").unwrap();
    let sent = packet_to(&mut host, 254);
    Redirect::about(&sent).is_followed(&mut host);
    host.stack.tcp_try_write(id, b"two").unwrap();
    packet_to(&mut host, OTHER);
    segment(&mut host, port, 1001, next.wrapping_add(6), ACK, &[]);
    // What only acknowledges goes there, too.
    for at in 0..4 {
        segment(&mut host, port, 1001 + at, next.wrapping_add(6), ACK, b"x");
    }
    host.advance(Duration::from_secs(1));
    for (to, _) in packets(&mut host) {
        assert_eq!(to, mac(OTHER).0);
    }
    host.stack.tcp_abort(id);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_2_a_bare_acknowledgement_may_be_what_is_quoted() {
    let mut host = host();
    let (id, port, next) = connection(&mut host);
    segment(&mut host, port, 1001, next, ACK, b"data");
    host.advance(Duration::from_secs(1));
    let sent = packet_to(&mut host, 254);
    assert_eq!(seq_of(&sent), next);
    Redirect::about(&sent).is_followed(&mut host);
    host.stack.tcp_abort(id);
    packet_to(&mut host, OTHER);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_2_answers_of_records_count_as_sent() {
    let mut host = host();
    let local: SocketAddr = (OUR_IP, 80).into();
    let listener = host
        .stack
        .tcp_listen(local, ListenOptions::DEFAULT)
        .unwrap();
    segment(&mut host, 80, 1000, 0, SYN, &[]);
    let sent = packet_to(&mut host, 254);
    let mut forged = Redirect::about(&sent);
    forged.quote[27] ^= 1;
    forged.is_refused(&mut host, DropReason::IcmpNoFlow);
    Redirect::about(&sent).is_followed(&mut host);
    host.stack.tcp_close_listener(listener);
    host.finish();
}

#[test]
fn rfc_1122_3_3_1_4_a_gateway_that_does_not_answer_is_not_used() {
    let mut host = stranger();
    let (id, ..) = connection(&mut host);
    let udp = socket(&mut host);
    host.stack.tcp_try_write(id, b"one").unwrap();
    let sent = packet_to(&mut host, 254);
    let redirect = Redirect::about(&sent);
    for _ in 0..3 {
        redirect.is_followed(&mut host);
        assert_eq!(host.sent_arp().pop().unwrap().1.target_ip, ip(OTHER));
        for _ in 0..5 {
            host.advance(Duration::from_secs(1));
            host.stack.tcp_try_write(id, b"two").unwrap();
            send(&mut host, udp, FAR);
            let sent = packets(&mut host);
            assert!(sent.len() >= 2, "nothing waits");
            assert!(sent.iter().all(|(to, _)| *to == mac(254).0));
            host.answer(254);
        }
    }
    assert_eq!(host.count(Counter::NeighborsFailed), 3);
    assert!(!host.stack.iface.redirects.lead_to(ip(OTHER)));
    host.stack.tcp_abort(id);
    host.finish();
}

#[test]
fn rfc_1122_3_3_1_4_one_that_answers_late_is_used_from_then_on() {
    let mut host = stranger();
    let (id, ..) = connection(&mut host);
    host.stack.tcp_try_write(id, b"one").unwrap();
    let sent = packet_to(&mut host, 254);
    Redirect::about(&sent).is_followed(&mut host);
    host.advance(Duration::from_millis(100));
    host.stack.tcp_try_write(id, b"two").unwrap();
    packet_to(&mut host, 254);
    host.answer(OTHER);
    host.stack.tcp_try_write(id, b"three").unwrap();
    packet_to(&mut host, OTHER);
    host.stack.tcp_abort(id);
    packet_to(&mut host, OTHER);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_2_a_connection_that_opens_follows() {
    let mut host = host();
    let far: SocketAddr = (FAR, PORT).into();
    host.stack.set_now(host.now);
    let id = host.stack.tcp_connect(far, TcpOptions::DEFAULT).unwrap();
    let syn = packet_to(&mut host, 254);
    Redirect::about(&syn).is_followed(&mut host);
    host.advance(Duration::from_millis(1100));
    let again = packet_to(&mut host, OTHER);
    assert_eq!(seq_of(&again), seq_of(&syn));
    assert_eq!(host.stack.tcp_state(id).unwrap(), TcpState::SynSent);
    host.stack.tcp_abort(id);
    host.finish();
}

#[test]
fn rfc_1122_3_3_1_4_one_that_falls_silent_later_is_left_as_well() {
    let mut host = host();
    let id = socket(&mut host);
    send(&mut host, id, FAR);
    let sent = packet_to(&mut host, 254);
    Redirect::about(&sent).is_followed(&mut host);
    let mut last = None;
    for _ in 0..100 {
        host.advance(Duration::from_secs(1));
        send(&mut host, id, FAR);
        for sent in host.sent() {
            match sent.arp() {
                Some((_, message)) if message.target_ip == GATEWAY => host.answer(254),
                Some(_) => {}
                None => last = sent.bytes.first_chunk().copied(),
            }
        }
    }
    assert_eq!(last, Some(mac(254).0));
    assert_eq!(host.stack.iface.next_hop(FAR), Some(GATEWAY));
    host.finish();
}

#[test]
fn redirects_are_followed_for_ten_minutes() {
    let mut host = host();
    let id = socket(&mut host);
    send(&mut host, id, FAR);
    let sent = packet_to(&mut host, 254);
    Redirect::about(&sent).is_followed(&mut host);
    host.advance(Duration::from_secs(599));
    assert_eq!(host.stack.iface.next_hop(FAR), Some(ip(OTHER)));
    assert!(
        host.stack
            .deadline()
            .is_some_and(|at| at <= host.now + Duration::from_secs(1))
    );
    host.advance(Duration::from_secs(1));
    assert_eq!(host.stack.iface.next_hop(FAR), Some(GATEWAY));
    assert_eq!(host.stack.iface.redirects.deadline(), None);
    host.finish();
}

#[test]
fn redirects_do_not_outlive_the_routes_that_they_mend() {
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let changes: [&dyn Fn(&mut Host); 4] = [
        &|host| {
            let to = "198.51.100.0/24".parse().unwrap();
            host.stack.add_ipv4_route(to, Some(ip(30))).unwrap();
        },
        &|host| {
            host.stack.remove_ipv4_route(everywhere);
            host.stack
                .add_ipv4_route(everywhere, Some(GATEWAY))
                .unwrap();
        },
        &|host| {
            let own = "10.0.0.77/16".parse().unwrap();
            host.stack.add_ipv4_address(own, false).unwrap();
        },
        &|host| {
            let own = "10.0.0.77/16".parse().unwrap();
            host.stack.add_ipv4_address(own, false).unwrap();
            let id = host.stack.udp_bind((OUR_IP, 8).into()).unwrap();
            send(host, id, FAR);
            let sent = packets(host).pop().unwrap().1;
            Redirect::about(&sent).arrives(host);
            host.stack.remove_ipv4_address(own.address()).unwrap();
        },
    ];
    for change in changes {
        let mut host = host();
        let id = socket(&mut host);
        send(&mut host, id, FAR);
        let sent = packet_to(&mut host, 254);
        Redirect::about(&sent).is_followed(&mut host);
        assert_eq!(host.stack.iface.next_hop(FAR), Some(ip(OTHER)));
        change(&mut host);
        assert_eq!(host.stack.iface.next_hop(FAR), Some(GATEWAY));
        host.finish();
    }
}

#[test]
fn rfc_1122_3_2_2_2_the_next_gateway_may_redirect_in_its_turn() {
    let mut host = host();
    host.meet(30);
    let id = socket(&mut host);
    send(&mut host, id, FAR);
    let first = Redirect::about(&packet_to(&mut host, 254));
    first.is_followed(&mut host);
    // The first one repeats itself, but has no say any more.
    first.is_refused(&mut host, DropReason::IcmpRedirectNotFromHop);
    let second = Redirect {
        from: ip(OTHER),
        gateway: ip(30),
        ..first.clone()
    };
    second.is_followed(&mut host);
    assert_eq!(host.stack.iface.next_hop(FAR), Some(ip(30)));
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_2_rogue_redirects_are_refused_by_name() {
    let mut host = host();
    let id = socket(&mut host);
    send(&mut host, id, FAR);
    let good = Redirect::about(&packet_to(&mut host, 254));
    let with = |gateway: Ipv4Addr| Redirect {
        gateway,
        ..good.clone()
    };
    // New gateways that cannot be: our own address, the old one, none, a group,
    // all hosts, all hosts of the subnet, another subnet's.
    let elsewhere = Ipv4Addr::new(10, 1, 0, 20);
    let subnet = Ipv4Addr::new(10, 0, 255, 255);
    for gateway in [
        OUR_IP,
        GATEWAY,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 5),
        Ipv4Addr::BROADCAST,
        subnet,
        elsewhere,
        FAR,
    ] {
        with(gateway).is_refused(&mut host, DropReason::IcmpBadRedirect);
    }
    // Not from the gateway in use: a neighbour, the destination itself.
    for from in [ip(66), FAR] {
        let rogue = Redirect {
            from,
            gateway: ip(21),
            ..good.clone()
        };
        let reason = if from == FAR {
            DropReason::IcmpBadRedirect
        } else {
            DropReason::IcmpRedirectNotFromHop
        };
        rogue.is_refused(&mut host, reason);
    }
    // Of no packet that we could have sent.
    let quoting = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut redirect = good.clone();
        change(&mut redirect.quote);
        redirect
    };
    let unknown = DropReason::IcmpNoFlow;
    quoting(&|quote| quote[21] = 8).is_refused(&mut host, unknown);
    quoting(&|quote| quote[23] = 10).is_refused(&mut host, unknown);
    quoting(&|quote| quote[19] = 10).is_refused(&mut host, unknown);
    quoting(&|quote| quote[9] = 1).is_refused(&mut host, unknown);
    quoting(&|quote| quote[9] = 6).is_refused(&mut host, unknown);
    quoting(&|quote| quote[15] = 77).is_refused(&mut host, unknown);
    // Nor about neighbours, groups and ourselves.
    for destination in [ip(30), Ipv4Addr::new(224, 0, 0, 5), OUR_IP, subnet] {
        let octets = destination.octets();
        let rogue = quoting(&|quote| quote[16..20].copy_from_slice(&octets));
        let reason = if destination == ip(30) {
            DropReason::IcmpRedirectNotFromHop
        } else {
            DropReason::IcmpBadRedirect
        };
        rogue.is_refused(&mut host, reason);
    }
    for len in [0, 19, 20, 27] {
        quoting(&|quote| quote.truncate(len)).is_refused(&mut host, DropReason::IcmpBadQuote);
    }
    quoting(&|quote| quote[7] = 1).is_refused(&mut host, DropReason::IcmpBadQuote);
    for code in [4, 255] {
        let rogue = Redirect {
            code,
            ..good.clone()
        };
        rogue.is_refused(&mut host, DropReason::IcmpIgnored);
    }
    // To all hosts.
    let rogue = Redirect {
        to: subnet,
        ..good.clone()
    };
    rogue.is_refused(&mut host, unknown);
    good.is_followed(&mut host);
    host.finish();
}

#[test]
fn rfc5927_redirects_that_quote_segments_outside_of_what_is_in_flight_are_refused() {
    let mut host = host();
    let (id, port, next) = connection(&mut host);
    host.stack.tcp_try_write(id, &[7; 100]).unwrap();
    let good = Redirect::about(&packet_to(&mut host, 254));
    segment(&mut host, port, 1001, next.wrapping_add(50), ACK, &[]);
    let at = |offset: i32| {
        let mut redirect = good.clone();
        let seq = next.wrapping_add_signed(offset);
        redirect.quote[24..28].copy_from_slice(&seq.to_be_bytes());
        redirect
    };
    for offset in [i32::MIN, -1000, -1, 0, 49, 101, 1000, i32::MAX] {
        at(offset).is_refused(&mut host, DropReason::IcmpNoFlow);
    }
    for offset in [50, 99, 100] {
        at(offset).is_followed(&mut host);
        host.stack.iface.redirects.clear();
    }
    host.stack.tcp_abort(id);
    assert!(matches!(
        host.stack.tcp_try_flush(id),
        Err(Error::Conn(ConnError::Aborted) | Error::Misuse(_))
    ));
    host.finish();
}

#[test]
fn the_table_is_bounded() {
    let mut host = host();
    let id = host.stack.udp_bind((OUR_IP, 7).into()).unwrap();
    let far = |last: u8| Ipv4Addr::new(198, 51, 100, last);
    for last in 0..200 {
        send(&mut host, id, far(last));
        let sent = packet_to(&mut host, 254);
        Redirect::about(&sent).is_followed(&mut host);
    }
    let followed = (0..200).filter(|&last| host.stack.iface.next_hop(far(last)) == Some(ip(OTHER)));
    assert!(followed.eq(200 - 32..200), "the newest");
    host.finish();
}

/// Whoever hears nothing of our packets guesses.
#[test]
fn a_hundred_thousand_forged_redirects_lead_nowhere() {
    let seed = [5; 32];
    std::println!("seed {seed:?}");
    let mut random = Random::new(seed);
    let mut host = host();
    let (id, port, _) = connection(&mut host);
    let udp = socket(&mut host);
    send(&mut host, udp, FAR);
    let real = packet_to(&mut host, 254);
    let generation = host.stack.iface.generation();
    let mut forged = Redirect::about(&real);
    for round in 0..100_000_u32 {
        let [a, b, c, d, ..] = random.next_u64().to_le_bytes();
        forged.from = if round % 4 == 0 { ip(a) } else { GATEWAY };
        forged.gateway = ip(b);
        // The right connection, but for its sequence number; or any socket.
        let seq = random.next_u64().to_le_bytes();
        let tcp = round % 2 == 0;
        forged.quote[9] = if tcp { PROTOCOL_TCP } else { PROTOCOL_UDP };
        let ports = if tcp {
            port
        } else {
            u16::from_le_bytes([c, d])
        };
        forged.quote[20..22].copy_from_slice(&ports.to_be_bytes());
        forged.quote[24..28].copy_from_slice(&seq[..4]);
        if !tcp && ports == 7 {
            continue;
        }
        forged.arrives(&mut host);
    }
    assert_eq!(host.count(Counter::IcmpRedirects), 0);
    assert_eq!(host.stack.iface.generation(), generation);
    host.stack.tcp_try_write(id, b"on").unwrap();
    packet_to(&mut host, 254);
    host.stack.tcp_abort(id);
    host.sent();
    assert_eq!(host.stack.pool().available(), FRAMES);
    host.finish();
}
