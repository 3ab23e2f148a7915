use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_rings::Instant;

use super::{AGE, MAX_PATHS, MIN_V4, PathMtus, plateau_below};
use crate::udp::UdpId;
use crate::udp::tests::peer::{OWN, PEER, Peer, peer};
use crate::wire::icmpv4::DEST_UNREACHABLE;
use crate::{Counter, DropReason, TcpOptions};

const TO: IpAddr = IpAddr::V4(PEER);

fn sockets(host: &mut Peer) -> (UdpId, UdpId) {
    let mut bind = |port| {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        host.stack.udp_bind(any).expect("free")
    };
    let (connected, open) = (bind(5000), bind(5001));
    host.stack
        .udp_connect(connected, Some(peer(53)))
        .expect("connects");
    (connected, open)
}

/// A router tells that `quote`, or its beginning, was too long for `mtu`.
fn too_big(host: &mut Peer, mtu: u16, quote: &[u8]) {
    let [high, low] = mtu.to_be_bytes();
    let quote = &quote[..quote.len().min(28)];
    host.give_icmp(OWN, DEST_UNREACHABLE, 4, [0, 0, high, low], quote);
}

/// Sends a datagram of `len` bytes; returns the packets' lengths, and whether
/// they may be fragmented on their way.
fn send(host: &mut Peer, id: UdpId, len: usize) -> Vec<(usize, bool)> {
    let frame = if len < 1900 {
        vec![host.frame(&vec![9; len]).freeze()]
    } else {
        Vec::new()
    };
    let mut frame = frame;
    let sent = match frame.pop() {
        // The way of frames, which keeps headers.
        Some(frame) => host
            .stack
            .udp_try_send_frame(id, frame, peer(53))
            .map_err(|(_, error)| error),
        None => host.stack.udp_try_send(id, &vec![9; len], peer(53)),
    };
    sent.expect("sends");
    host.take()
        .iter()
        .map(|sent| (sent.ip.len(), sent.ip[6] & 0x40 == 0))
        .collect()
}

#[test]
fn rfc_1191_3_datagrams_leave_in_fragments_that_the_path_carries() {
    let mut host = Peer::with_frames::<256>();
    let (connected, _) = sockets(&mut host);
    for _ in 0..3 {
        assert_eq!(send(&mut host, connected, 1472), [(1500, false)]);
    }
    host.stack
        .udp_try_send(connected, &[9; 1472], peer(53))
        .expect("sends");
    let sent = host.take_one();
    too_big(&mut host, 1000, &sent.ip);
    assert_eq!(host.stack.path_mtu(TO), 1000);
    assert_eq!(host.count(Counter::PathMtuLowered), 1);
    for _ in 0..3 {
        assert_eq!(
            send(&mut host, connected, 1472),
            [(996, true), (524, true)],
            "eight bytes and eight bytes"
        );
        assert_eq!(send(&mut host, connected, 972), [(1000, false)]);
    }
    // Others' paths are as they were.
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 77));
    assert_eq!(host.stack.path_mtu(other), 1500);
    host.finish();
}

#[test]
fn rfc_1191_6_3_paths_are_tried_anew_after_ten_minutes() {
    let mut host = Peer::with_frames::<256>();
    let (connected, _) = sockets(&mut host);
    host.stack
        .udp_try_send(connected, &[9; 1472], peer(53))
        .expect("sends");
    let sent = host.take_one();
    too_big(&mut host, 1000, &sent.ip);
    host.advance(Duration::from_secs(599));
    assert_eq!(host.stack.path_mtu(TO), 1000);
    host.advance(Duration::from_secs(1));
    assert_eq!(host.stack.path_mtu(TO), 1500);
    host.finish();
}

#[test]
fn rfc_1191_3_errors_can_only_lower_and_not_below_a_floor() {
    let mut host = Peer::with_frames::<256>();
    let (connected, _) = sockets(&mut host);
    host.stack
        .udp_try_send(connected, &[9; 1472], peer(53))
        .expect("sends");
    let sent = host.take_one();
    for (told, then) in [
        (1500, 1500),
        (9000, 1500),
        (1400, 1400),
        (1450, 1400),
        // A router that does not say: the plateau below the packet's length.
        (0, 1400),
        (68, MIN_V4),
        (1, MIN_V4),
    ] {
        too_big(&mut host, told, &sent.ip);
        assert_eq!(host.stack.path_mtu(TO), then, "told of {told}");
    }
    assert_eq!(send(&mut host, connected, 300), [(328, true)], "no DF");
    assert_eq!(host.count(Counter::PathMtuLowered), 2);
    host.finish();
}

#[test]
fn rfc_1191_7_1_old_routers_mean_the_plateau_below() {
    assert_eq!(plateau_below(1500), 1492);
    assert_eq!(plateau_below(1492), 1006);
    assert_eq!(plateau_below(9000), 8166);
    assert_eq!(plateau_below(500), MIN_V4);
}

#[test]
fn rfc_5927_forged_errors_do_not_lower_it() {
    let mut host = Peer::with_frames::<256>();
    let (connected, open) = sockets(&mut host);
    host.stack
        .udp_try_send(connected, &[9; 700], peer(53))
        .expect("sends");
    let sent = host.take_one();
    // Another port of the peer's, one of ours that nobody has, and the one that
    // has not written there.
    for (at, port) in [(22, 54_u16), (20, 9), (20, 5001)] {
        let mut forged = sent.ip.clone();
        forged[at..at + 2].copy_from_slice(&port.to_be_bytes());
        too_big(&mut host, 600, &forged);
    }
    assert_eq!(host.dropped(DropReason::IcmpNoFlow), 3);
    // An echo reply: anybody could have asked for it.
    let mut ping = sent.ip.clone();
    ping[9] = 1;
    too_big(&mut host, 600, &ping);
    assert_eq!(host.dropped(DropReason::IcmpNoFlow), 4);
    assert_eq!(host.stack.path_mtu(TO), 1500);
    // A socket that has no fixed peer, but wrote there last.
    assert_eq!(send(&mut host, open, 100), [(128, false)]);
    let mut quote = sent.ip.clone();
    quote[20..22].copy_from_slice(&5001_u16.to_be_bytes());
    too_big(&mut host, 600, &quote);
    assert_eq!(host.stack.path_mtu(TO), 600);
    host.finish();
}

#[test]
fn rfc_5927_tcp_believes_only_what_quotes_a_segment_in_flight() {
    let mut host = Peer::with_frames::<256>();
    let flow = host
        .stack
        .tcp_connect(peer(80), TcpOptions::DEFAULT)
        .expect("opens");
    let mut syn = host.take_one();
    // Of a length at which segments meet narrow links.
    syn.ip[2..4].copy_from_slice(&1500_u16.to_be_bytes());
    let mut forged = syn.ip.clone();
    forged[27] ^= 1;
    too_big(&mut host, 1000, &forged);
    assert_eq!(host.stack.path_mtu(TO), 1500);
    too_big(&mut host, 1000, &syn.ip);
    assert_eq!(host.stack.path_mtu(TO), 1000);
    host.stack.tcp_abort(flow);
    host.finish();
}

#[test]
fn memory_is_bounded_and_the_newest_stay() {
    let mut paths = PathMtus::new();
    let at = |host: u32| IpAddr::V6(Ipv6Addr::from_bits(u128::from(host)));
    let now = |host: u32| Instant::from_secs(host.into());
    for host in 0..500 {
        paths.set(now(host), at(host), 1300);
        paths.set(now(host), at(host), 1290);
        assert!(paths.paths.len() <= MAX_PATHS);
    }
    assert_eq!(paths.get(now(500), at(499)), Some(1290));
    assert_eq!(paths.get(now(500), at(500 - MAX_PATHS as u32)), Some(1290));
    assert_eq!(paths.get(now(500), at(0)), None);
    assert_eq!(paths.get(now(499) + AGE, at(499)), None);
}
