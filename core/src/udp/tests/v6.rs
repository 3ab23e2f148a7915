//! Datagrams over IPv6: the short ways give what the layers give.

use core::net::{Ipv6Addr, SocketAddr};
use std::format;
use std::string::String;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use proptest::prelude::*;

use crate::iface::v6_tests::{Host, Packet, ip};
use crate::udp::UdpId;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::{Counter, DropReason};

const PORT: u16 = 7;
const PEER_PORT: u16 = 4000;

fn bind(host: &mut Host, port: u16) -> UdpId {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    host.stack.udp_bind(any).expect("free")
}

fn datagram(port: u16, payload: &[u8]) -> Packet {
    let mut body = PEER_PORT.to_be_bytes().to_vec();
    body.extend(port.to_be_bytes());
    body.extend(u16::try_from(payload.len() + 8).unwrap().to_be_bytes());
    body.extend([0; 2]);
    body.extend(payload);
    let mut packet = Packet::new(PROTOCOL_UDP, &body);
    make_good(&mut packet);
    packet
}

fn make_good(packet: &mut Packet) {
    packet.body[6..8].fill(0);
    let sum = packet.pseudo(packet.body.len()) + Sum::of(&packet.body);
    packet.body[6..8].copy_from_slice(&sum.finish_nonzero().to_be_bytes());
}

/// What came of a packet: all that waits at the socket, and what was counted.
fn outcome(host: &mut Host, id: UdpId) -> String {
    let mut out = String::new();
    while let Ok((payload, from)) = host.stack.udp_try_recv(id) {
        out += &format!("{:?} from {from}, ", &payload[..]);
    }
    let counted = host.stack.counters();
    out + &format!("{counted:?}")
}

/// Takes each packet by the short way, if it is for it, and through the layers.
fn compare(packets: &[Vec<u8>]) {
    let outcomes = [false, true].map(|layered| {
        let mut host = Host::new();
        host.meet(9);
        let (id, other) = (bind(&mut host, PORT), bind(&mut host, 9));
        let mut outcomes = Vec::new();
        for packet in packets {
            // The short way is that of the socket that received last.
            let last = if layered { 9 } else { PORT };
            host.give(datagram(last, b"first"));
            let _ = host.stack.udp_try_recv(if layered { other } else { id });
            host.inject(packet);
            outcomes.push(outcome(&mut host, id));
        }
        host.finish();
        outcomes
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_datagram_arrives_alike_by_both_ways() {
    let plain = |len: usize| datagram(PORT, &std::vec![0x5a; len]).bytes();
    let mut classed = datagram(PORT, b"classed");
    (classed.first, classed.hops) = (0x6b81_2345, 3);
    let mut padded = plain(4);
    padded.extend([0; 9]);
    compare(&[
        plain(0),
        plain(1),
        plain(64),
        plain(1452),
        classed.bytes(),
        padded,
    ]);
}

/// An address that looks like IPv4's is nobody's on the wire.
#[test]
fn rfc4291_2_5_5_2_mapped_addresses_do_not_pass() {
    let mut host = Host::new();
    let id = bind(&mut host, PORT);
    host.give(datagram(PORT, b"first"));
    host.stack.udp_try_recv(id).unwrap();
    let mapped = |last: u128| Ipv6Addr::from_bits(0xffff_0a00_0000_u128 | last);
    for (src, dst) in [(9, 1), (1, 9)] {
        let mut packet = datagram(PORT, b"mapped");
        (packet.src, packet.dst) = (mapped(src), mapped(dst));
        make_good(&mut packet);
        host.refuses(packet, DropReason::Ipv6BadSource);
    }
    assert!(host.stack.udp_try_recv(id).is_err());
    host.finish();
}

#[test]
fn headers_from_the_template_are_those_of_the_layers() {
    let mut host = Host::new();
    host.meet(9);
    let id = bind(&mut host, PORT);
    let peer = SocketAddr::from((ip(9), PEER_PORT));
    for len in [0, 1, 2, 63, 64, 127, 128, 1451, 1452, 5] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8 ^ 0x5a).collect();
        let mut alone = host.stack.frame_alloc().unwrap();
        alone.extend_from_slice(&payload);
        host.stack.udp_try_send_frame(id, alone, peer).unwrap();
        let routed = host.sent().remove(0);
        // A shared frame takes the layers one by one.
        let mut shared = host.stack.frame_alloc().unwrap();
        shared.extend_from_slice(&payload);
        let shared = shared.freeze();
        let sent = host.stack.udp_try_send_frame(id, shared.clone(), peer);
        sent.unwrap();
        let layered = host.sent().remove(0);
        assert_eq!(routed.bytes(), layered.bytes(), "{len} bytes");
        let sum = routed.pseudo(routed.body.len()) + Sum::of(&routed.body);
        assert!(sum.is_valid(), "{len} bytes");
    }
    assert_eq!(host.count(Counter::UdpOut), 20);
    host.finish();
}

proptest! {
    #[test]
    fn damaged_datagrams_meet_the_same_end_by_both_ways(
        len in 0_usize..80,
        at in 0_usize..70,
        flip in 1_u8..=255,
        mend in any::<bool>(),
    ) {
        let mut packet = datagram(PORT, &std::vec![0x33; len]);
        if mend && at >= 54 && at < 54 + packet.body.len() {
            packet.body[at - 54] ^= flip;
            make_good(&mut packet);
            compare(&[packet.bytes()]);
        } else {
            let mut bytes = packet.bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            compare(&[bytes]);
        }
    }
}
