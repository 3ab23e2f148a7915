//! Fragments in and out of a stack.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::FrameRef;
use proptest::prelude::*;

use super::Idents;
use crate::random::Random;
use crate::udp::UdpId;
use crate::udp::tests::peer::{BROADCAST, OWN, PEER, Peer, Sent, datagram, icmp_message, peer};
use crate::wire::icmpv4::{ECHO_REPLY, ECHO_REQUEST};
use crate::wire::ipv4::{PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::{Counter, DropReason, Error, Misuse};

type Host = Peer;

fn host() -> Host {
    Peer::with_frames::<1024>()
}

fn bind(host: &mut Host, port: u16) -> UdpId {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    host.stack.udp_bind(any).expect("free")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

/// Puts what the host sent together again, checking each header.
fn joined(sent: &[Sent], link: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ident = &sent[0].ip[4..6];
    for (at, packet) in sent.iter().enumerate() {
        let ip = &packet.ip;
        assert!(ip.len() <= link);
        assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
        assert_eq!(&ip[4..6], ident, "identification");
        let flags = u16::from_be_bytes([ip[6], ip[7]]);
        assert_eq!(usize::from(flags & 0x1fff) * 8, bytes.len(), "offset");
        assert_eq!(flags & 0x2000 != 0, at + 1 < sent.len(), "more fragments");
        assert_eq!(flags & 0xc000, 0, "no DF on what may be fragmented");
        bytes.extend_from_slice(packet.body());
    }
    bytes
}

fn udp_payload(source: Ipv4Addr, bytes: &[u8]) -> &[u8] {
    let len = u16::try_from(bytes.len()).expect("fits");
    assert_eq!(bytes[4..6], len.to_be_bytes());
    let pseudo = Sum::pseudo_v4(source.octets(), PEER.octets(), PROTOCOL_UDP, len);
    assert!(pseudo.add_bytes(bytes).is_valid(), "checksum");
    &bytes[8..]
}

#[test]
fn rfc_1122_3_3_2_datagrams_of_every_length_are_reassembled() {
    let mut host = host();
    let id = bind(&mut host, 7);
    for len in [1, 1473, 1480, 2952, 4000, 8192, 20_000, 65_507] {
        let payload = pattern(len);
        let whole = datagram(PEER, OWN, 4000, 7, &payload);
        host.give_fragments(OWN, PROTOCOL_UDP, len as u16, &whole, 1480);
        let mut got = vec![0; 65_535];
        let (found, from) = host.stack.udp_try_recv_into(id, &mut got).expect("whole");
        assert_eq!((found, from), (len, peer(4000)));
        assert_eq!(got[..len], payload);
    }
    assert_eq!(host.count(Counter::UdpIn), 8);
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_6_echo_of_every_size_up_to_the_longest_comes_back() {
    let mut host = host();
    let sizes = (1400..4600).step_by(7).chain([65_506, 65_507]);
    for len in sizes {
        let data = pattern(len);
        let request = icmp_message(ECHO_REQUEST, 0, [1, 2, 3, 4], &data);
        host.give_fragments(OWN, PROTOCOL_ICMP, 9, &request, 1480);
        let sent = host.take();
        if len > 1472 {
            assert_eq!(sent.len(), (len + 8).div_ceil(1480));
            let reply = joined(&sent, 1500);
            assert_eq!(reply, icmp_message(ECHO_REPLY, 0, [1, 2, 3, 4], &data));
        }
    }
    host.finish();
}

#[test]
fn fragments_as_they_came_leave_without_a_copy() {
    let mut host = host();
    // A whole number of fragments: no short one is copied behind another.
    let request = icmp_message(ECHO_REQUEST, 0, [1, 2, 3, 4], &pattern(1480 * 20 - 8));
    host.give_fragments(OWN, PROTOCOL_ICMP, 9, &request, 1480);
    let sent = host.take();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|packet| packet.pieces == 1));
    assert_eq!(host.count(Counter::CopiedBytes), 0);

    let id = bind(&mut host, 7);
    let whole = datagram(PEER, OWN, 4000, 7, &pattern(1480 * 20 - 8));
    host.give_fragments(OWN, PROTOCOL_UDP, 10, &whole, 1480);
    let mut pieces = Vec::new();
    let from = host
        .stack
        .udp_try_recv_pieces(id, |piece| pieces.push(piece))
        .expect("whole");
    assert_eq!((from, pieces.len()), (peer(4000), 20));
    host.stack
        .udp_try_send_pieces(id, &mut pieces, from)
        .expect("sends");
    assert!(pieces.is_empty());
    let sent = host.take();
    assert!(sent.iter().all(|packet| packet.pieces == 1));
    let bytes = joined(&sent, 1500);
    assert_eq!(udp_payload(OWN, &bytes), pattern(1480 * 20 - 8));
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn rfc_791_2_3_long_datagrams_leave_in_fragments() {
    let mut host = host();
    let id = bind(&mut host, 7);
    for len in [1472, 1473, 1480, 1481, 2952, 2953, 10_000, 65_507] {
        let payload = pattern(len);
        host.stack
            .udp_try_send(id, &payload, peer(4000))
            .expect("sends");
        let sent = host.take();
        assert_eq!(sent.len(), (len + 8).div_ceil(1480));
        if sent.len() > 1 {
            assert_eq!(udp_payload(OWN, &joined(&sent, 1500)), payload);
        } else {
            assert_eq!(sent[0].ip[6], 0x40, "whole ones do not ask for it");
        }
    }
    let too_long = host.stack.udp_try_send(id, &pattern(65_508), peer(4000));
    assert_eq!(too_long, Err(Error::Misuse(Misuse::TooLong)));
    assert_eq!(host.count(Counter::UdpOut), 8);
    assert_eq!(host.count(Counter::Fragmented), 7);
    host.finish();
}

#[test]
fn fragments_carry_whole_checksums_even_where_the_device_sums() {
    let mut host = Peer::with_tx_checksum();
    let id = bind(&mut host, 7);
    let payload = pattern(4000);
    host.stack
        .udp_try_send(id, &payload, peer(4000))
        .expect("sends");
    let sent = host.take();
    let plain = pollwire_rings::TxMeta::default();
    assert!(sent.iter().all(|packet| packet.meta == plain));
    assert_eq!(udp_payload(OWN, &joined(&sent, 1500)), payload);
    host.finish();
}

#[test]
fn pieces_of_any_shape_make_one_datagram() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let payload = pattern(6000);
    for cut in [
        vec![],
        vec![1],
        vec![700, 701, 2100],
        vec![1472, 2952, 4432, 5912],
    ] {
        for shared in [false, true] {
            let mut pieces: Vec<FrameRef> = Vec::new();
            let mut start = 0;
            for end in cut.iter().copied().chain([6000]) {
                for part in payload[start..end].chunks(1900) {
                    pieces.push(host.frame(part).freeze());
                }
                start = end;
            }
            let others: Vec<FrameRef> = if shared { pieces.clone() } else { vec![] };
            host.stack
                .udp_try_send_pieces(id, &mut pieces, peer(4000))
                .expect("sends");
            let sent = host.take();
            assert_eq!(udp_payload(OWN, &joined(&sent, 1500)), payload, "{cut:?}");
            drop(others);
        }
    }
    // One frame, and none.
    let mut one = vec![host.frame(b"x").freeze()];
    host.stack
        .udp_try_send_pieces(id, &mut one, peer(4000))
        .expect("sends");
    assert_eq!(host.take_one().body()[8..], *b"x");
    host.stack
        .udp_try_send_pieces(id, &mut Vec::new(), peer(4000))
        .expect("sends");
    assert_eq!(host.take_one().body().len(), 8);
    host.finish();
}

#[test]
fn what_does_not_fit_the_queue_to_the_device_waits_whole() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let payload = pattern(65_507);
    let sent = (0..10)
        .take_while(|_| host.stack.udp_try_send(id, &payload, peer(4000)).is_ok())
        .count();
    assert_eq!(sent, 5, "of 256 packets 45 each");
    let mut pieces: Vec<_> = (0..30).map(|_| host.frame(&[7; 1400]).freeze()).collect();
    let full = host.stack.udp_try_send_pieces(id, &mut pieces, peer(4000));
    assert_eq!((full, pieces.len()), (Ok(()), 0));
    let mut pieces: Vec<_> = (0..30).map(|_| host.frame(&[7; 1400]).freeze()).collect();
    let full = host.stack.udp_try_send_pieces(id, &mut pieces, peer(4000));
    assert_eq!((full, pieces.len()), (Err(Error::WouldBlock), 30));
    assert_eq!(host.take().len(), 5 * 45 + 29);
    drop(pieces);
    host.finish();
}

#[test]
fn rfc_1122_2_3_2_2_all_fragments_wait_for_the_neighbour() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let stranger = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 77), 4000));
    for len in [30_000, 2000, 3000, 4000] {
        let sent = host.stack.udp_try_send(id, &pattern(len), stranger);
        sent.expect("waits");
    }
    let waiting = |len: usize| (len + 8_usize).div_ceil(1480);
    let all: usize = [30_000, 2000, 3000, 4000].map(waiting).iter().sum();
    assert_eq!(host.dropped(DropReason::NeighborQueueFull), 0);
    assert!(host.stack.pool().in_use() >= all);
    // A fifth: the first datagram gives way, with all of its fragments.
    host.stack
        .udp_try_send(id, b"short", stranger)
        .expect("waits");
    let gone = host.dropped(DropReason::NeighborQueueFull);
    assert_eq!(gone, waiting(30_000) as u64);
    for _ in 0..4 {
        host.advance(Duration::from_secs(1));
    }
    let lost = host.dropped(DropReason::NeighborUnreachable);
    assert_eq!(lost as usize, all - waiting(30_000) + 1);
    host.finish();
}

#[test]
fn sockets_that_take_one_frame_skip_longer_datagrams() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let long = datagram(PEER, OWN, 4000, 7, &pattern(5000));
    for ident in 0..2 {
        host.give_fragments(OWN, PROTOCOL_UDP, ident, &long, 1480);
    }
    host.give_udp(OWN, 4000, 7, b"short");
    host.give_fragments(OWN, PROTOCOL_UDP, 3, &long, 1480);
    let (got, from) = host.stack.udp_try_recv(id).expect("the short one");
    assert_eq!((&got[..], from), (&b"short"[..], peer(4000)));
    let none = host.stack.udp_try_recv(id).map(drop);
    assert_eq!(none, Err(Error::WouldBlock));
    assert_eq!(host.dropped(DropReason::UdpInPieces), 3);
    drop(got);
    host.finish();
}

#[test]
fn reassembled_datagrams_count_against_the_queue_by_their_frames() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let long = datagram(PEER, OWN, 4000, 7, &pattern(65_000));
    // 64 places, 128 KiB: one fits, though no second one.
    for ident in 0..3 {
        host.give_fragments(OWN, PROTOCOL_UDP, ident, &long, 1480);
    }
    assert_eq!(host.dropped(DropReason::UdpQueueFull), 2);
    host.stack.udp_try_recv_into(id, &mut []).expect("one");
    assert_eq!(
        host.stack.udp_try_recv_into(id, &mut []),
        Err(Error::WouldBlock)
    );
    host.finish();
}

#[test]
fn rfc_1122_3_3_2_late_fragments_are_reported_if_the_first_came() {
    let mut host = host();
    let whole = datagram(PEER, OWN, 4000, 7, &pattern(3000));
    host.give_fragment(OWN, PROTOCOL_UDP, 1, 0x2000, &whole[..1480]);
    host.give_fragment(OWN, PROTOCOL_UDP, 2, 0x2000 | 185, &whole[1480..2960]);
    // To all: no error may come of that.
    host.give_fragment(BROADCAST, PROTOCOL_UDP, 3, 0x2000, &whole[..1480]);
    host.advance(Duration::from_secs(29));
    assert!(host.take().is_empty());
    host.advance(Duration::from_secs(1));
    let error = host.take_one();
    assert_eq!((error.protocol(), error.source()), (PROTOCOL_ICMP, OWN));
    assert_eq!(error.body()[..2], [11, 1]);
    assert!(Sum::of(error.body()).is_valid());
    let quote = &error.body()[8..];
    assert_eq!((&quote[12..16], quote.len()), (&PEER.octets()[..], 548));
    assert_eq!(quote[20..], whole[..528]);
    assert_eq!(host.dropped(DropReason::FragmentTimedOut), 3);
    host.finish();
}

#[test]
fn closed_ports_are_reported_with_the_first_fragment() {
    let mut host = host();
    let whole = datagram(PEER, OWN, 4000, 9, &pattern(3000));
    host.give_fragments(OWN, PROTOCOL_UDP, 1, &whole, 1480);
    let error = host.take_one();
    assert_eq!(error.body()[..2], [3, 3]);
    assert_eq!(error.body()[28..36], whole[..8]);
    assert_eq!(host.dropped(DropReason::UdpNoSocket), 1);
    host.finish();
}

#[test]
fn wrong_checksums_and_lengths_of_the_whole_are_dropped() {
    let mut host = host();
    let id = bind(&mut host, 7);
    let good = datagram(PEER, OWN, 4000, 7, &pattern(3000));
    for at in [0, 8, 1479, 1480, 3007] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        host.give_fragments(OWN, PROTOCOL_UDP, at as u16, &bad, 1480);
    }
    assert_eq!(host.dropped(DropReason::UdpBadChecksum), 5);
    for len in [0_u16, 7, 3009, u16::MAX] {
        let mut bad = good.clone();
        bad[4..6].copy_from_slice(&len.to_be_bytes());
        host.give_fragments(OWN, PROTOCOL_UDP, len, &bad, 1480);
    }
    assert_eq!(host.dropped(DropReason::UdpBadLength), 4);
    // The UDP length ends the datagram within a later frame, or the first.
    for end in [2000, 500] {
        let mut padded = datagram(PEER, OWN, 4000, 7, &pattern(end));
        padded.resize(3008, 0xee);
        host.give_fragments(OWN, PROTOCOL_UDP, 77, &padded, 1480);
        let mut got = vec![0; 3000];
        let (len, _) = host.stack.udp_try_recv_into(id, &mut got).expect("whole");
        assert_eq!(got[..len], pattern(end));
    }
    host.finish();
}

#[test]
fn rfc_6864_4_3_identifications_do_not_repeat_soon() {
    let mut idents = Idents::new(&mut Random::new([5; 32]));
    let pair = |host: u8| (IpAddr::V4(OWN), IpAddr::from([10, 0, 0, host]));
    let mut starts = BTreeSet::new();
    for host in 0..50 {
        let (src, dst) = pair(host);
        starts.insert(idents.next(src, dst) & 0xffff);
        let mut seen = BTreeSet::new();
        for _ in 0..65_536 {
            assert!(seen.insert(idents.next(src, dst) & 0xffff));
        }
    }
    assert!(starts.len() > 20, "one does not tell of the others");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn arbitrary_fragments_leave_the_pool_full(
        fragments in proptest::collection::vec(
            (0_u16..4, any::<u16>(), proptest::sample::select(vec![1_u8, 6, 17, 99]),
             proptest::collection::vec(any::<u8>(), 0..100)), 1..60,
        ),
    ) {
        let mut host = host();
        bind(&mut host, 7);
        for (ident, flags, protocol, mut body) in fragments {
            if flags % 3 > 0 {
                body.truncate(body.len() & !7);
            }
            // Mostly near the front, so that some of them meet.
            let flags = if flags % 5 > 0 { flags & 0x200f } else { flags };
            host.give_fragment(OWN, protocol, ident, flags, &body);
            host.take();
        }
        host.advance(Duration::from_secs(60));
        host.finish();
    }
}
