//! Frames in, drops by name out: Ethernet and IPv4 input rule by rule.

use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, Instant, RxBurst, RxMeta, TxBurst};
use proptest::prelude::*;

use crate::wire::ipv4::{PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::{Config, Counter, DropReason, Stack, UdpId};

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const BROADCAST_MAC: [u8; 6] = [0xff; 6];
const OWN: [u8; 4] = [10, 0, 0, 2];
const SECOND: [u8; 4] = [192, 168, 7, 9];
const PEER: [u8; 4] = [10, 0, 0, 1];
const PORT: u16 = 7;
/// Protocol number "for experimentation and testing" (RFC 3692).
const UNSPOKEN: u8 = 253;

/// An IPv4 packet, field by field; sound unless told otherwise.
#[derive(Clone)]
struct Packet {
    dst_mac: [u8; 6],
    src_mac: [u8; 6],
    first: u8,
    total: Option<u16>,
    fragment: u16,
    protocol: u8,
    src: [u8; 4],
    dst: [u8; 4],
    options: Vec<u8>,
    body: Vec<u8>,
    break_checksum: bool,
}

/// A datagram to the socket on [`PORT`], without a UDP checksum.
fn packet() -> Packet {
    let payload = b"payload";
    let len = u8::try_from(8 + payload.len()).expect("short");
    let mut body = vec![0x30, 0x39, 0, 7, 0, len, 0, 0];
    body.extend(payload);
    Packet {
        dst_mac: OWN_MAC,
        src_mac: PEER_MAC,
        first: 0x45,
        total: None,
        fragment: 0x4000,
        protocol: PROTOCOL_UDP,
        src: PEER,
        dst: OWN,
        options: Vec::new(),
        body,
        break_checksum: false,
    }
}

impl Packet {
    fn options(options: &[u8]) -> Self {
        Self {
            first: 0x45 + u8::try_from(options.len() / 4).expect("short"),
            options: options.to_vec(),
            ..packet()
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let total = 20 + self.options.len() + self.body.len();
        let total = self.total.unwrap_or(u16::try_from(total).expect("fits"));
        let mut ip = vec![self.first, 0];
        ip.extend(total.to_be_bytes());
        ip.extend([0x12, 0x34]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([64, self.protocol, 0, 0]);
        ip.extend(self.src);
        ip.extend(self.dst);
        ip.extend(&self.options);
        let covered = usize::from(self.first & 15) * 4;
        let mut check = Sum::of(ip.get(..covered).unwrap_or(&ip)).finish();
        check ^= u16::from(self.break_checksum);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        let mut frame = Vec::new();
        frame.extend(self.dst_mac);
        frame.extend(self.src_mac);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(&self.body);
        frame
    }
}

/// A stack with a socket on [`PORT`].
struct Host {
    stack: Stack,
    socket: UdpId,
}

impl Host {
    fn new() -> Self {
        let mut config = Config::new("10.0.0.2/24".parse().expect("an address"), [9; 32]);
        config
            .ipv4
            .push("192.168.7.9/28".parse().expect("an address"));
        let caps = Caps::plain(OWN_MAC, 1500);
        let mut stack = Stack::on_heap::<128, 16, 2048>(&config, caps);
        let socket = stack
            .udp_bind((Ipv4Addr::UNSPECIFIED, PORT).into())
            .expect("free");
        Self { stack, socket }
    }

    /// Gives the stack one packet in pieces; the last is announced to go on
    /// when `unfinished`.
    fn give_pieces(&mut self, pieces: &[&[u8]], unfinished: bool) {
        let mut burst = RxBurst::new();
        for (at, bytes) in pieces.iter().enumerate() {
            let mut frame = self.stack.pool().alloc().expect("a frame is free");
            assert_eq!(frame.extend_from_slice(bytes), bytes.len());
            let meta = RxMeta {
                continues: unfinished || at + 1 < pieces.len(),
                ..RxMeta::default()
            };
            burst.push(frame, meta).expect("room");
        }
        self.stack.input(Instant::from_secs(1), &mut burst);
        assert!(burst.is_empty());
    }

    fn give(&mut self, bytes: &[u8]) {
        self.give_pieces(&[bytes], false);
    }

    /// The packet is dropped, for that reason and no other.
    #[track_caller]
    fn refuses(&mut self, bytes: &[u8], reason: DropReason) {
        let before = self.stack.counters().clone();
        self.give(bytes);
        let after = self.stack.counters();
        assert_eq!(
            after.dropped(reason),
            before.dropped(reason) + 1,
            "{reason}; dropped: {after}"
        );
        assert_eq!(after.dropped_total(), before.dropped_total() + 1);
        assert!(self.stack.udp_try_recv(self.socket).is_err());
    }

    /// The datagram reaches the socket, trimmed to its length.
    #[track_caller]
    fn takes(&mut self, bytes: &[u8]) {
        self.give(bytes);
        let (payload, _) = self.stack.udp_try_recv(self.socket).expect("a datagram");
        assert_eq!(&payload[..], b"payload");
    }

    /// IPv4 packets and ARP requests that the stack wants sent.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut tx = TxBurst::new();
        while self.stack.output(Instant::from_secs(1), &mut tx) {}
        tx.iter()
            .map(|packet| packet.pieces.concat_bytes())
            .collect()
    }

    /// Nothing to send, and every frame home.
    #[track_caller]
    fn finish(mut self) {
        assert_eq!(self.sent(), Vec::<Vec<u8>>::new());
        let pool = self.stack.pool();
        assert_eq!(pool.available(), pool.capacity(), "frames leaked");
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [pollwire_rings::FrameRef] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|piece| piece.to_vec()).collect()
    }
}

#[test]
fn rfc_894_frames_for_us_and_for_all_are_taken() {
    let mut host = Host::new();
    host.takes(&packet().bytes());
    let to_all = Packet {
        dst_mac: BROADCAST_MAC,
        dst: [255; 4],
        ..packet()
    };
    host.takes(&to_all.bytes());
    assert_eq!(host.stack.counters().get(Counter::FramesIn), 2);
    assert_eq!(host.stack.counters().get(Counter::Ipv4In), 2);
    host.finish();
}

#[test]
fn ethernet_refuses_short_frames_foreign_stations_and_group_sources() {
    let mut host = Host::new();
    let bytes = packet().bytes();
    for len in 0..14 {
        host.refuses(&bytes[..len], DropReason::EthernetTooShort);
    }
    let foreign = Packet {
        dst_mac: [2, 0, 0, 0, 0, 3],
        ..packet()
    };
    host.refuses(&foreign.bytes(), DropReason::EthernetNotForUs);
    for src_mac in [BROADCAST_MAC, [1, 0, 0x5e, 0, 0, 1]] {
        let group = Packet {
            src_mac,
            ..packet()
        };
        host.refuses(&group.bytes(), DropReason::EthernetBadSource);
    }
    for ethertype in [[0x86, 0xdd], [0x88, 0xa8], [0x00, 0x2e]] {
        let mut other = bytes.clone();
        other[12..14].copy_from_slice(&ethertype);
        host.refuses(&other, DropReason::EthernetUnknownType);
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_1_other_versions_are_dropped() {
    let mut host = Host::new();
    for version in (0..16).filter(|&version| version != 4) {
        let other = Packet {
            first: version << 4 | 5,
            ..packet()
        };
        host.refuses(&other.bytes(), DropReason::Ipv4BadVersion);
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_2_bad_header_checksums_are_dropped() {
    let mut host = Host::new();
    let plain = Packet {
        break_checksum: true,
        ..packet()
    };
    host.refuses(&plain.bytes(), DropReason::Ipv4BadChecksum);
    let with_options = Packet {
        break_checksum: true,
        ..Packet::options(&[1, 1, 1, 0])
    };
    host.refuses(&with_options.bytes(), DropReason::Ipv4BadChecksum);
    host.finish();
}

#[test]
fn rfc_791_3_1_lengths_that_lie_are_dropped() {
    let mut host = Host::new();
    let bytes = packet().bytes();
    for len in 14..34 {
        host.refuses(&bytes[..len], DropReason::Ipv4TooShort);
    }
    for words in 0..5 {
        let short = Packet {
            first: 0x40 | words,
            ..packet()
        };
        host.refuses(&short.bytes(), DropReason::Ipv4BadHeaderLength);
    }
    let beyond = Packet {
        first: 0x4f,
        ..packet()
    };
    host.refuses(&beyond.bytes(), DropReason::Ipv4BadHeaderLength);
    let sound = u16::try_from(bytes.len() - 14).expect("short");
    for total in [0, 19, sound + 1, u16::MAX] {
        let lies = Packet {
            total: Some(total),
            ..packet()
        };
        host.refuses(&lies.bytes(), DropReason::Ipv4BadTotalLength);
    }
    host.finish();
}

#[test]
fn rfc_894_padding_behind_the_packet_is_cut_off() {
    let mut host = Host::new();
    let mut padded = packet().bytes();
    padded.resize(60, 0xee);
    host.takes(&padded);
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_3_sources_that_no_host_can_have_are_dropped() {
    let mut host = Host::new();
    for src in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [239, 1, 1, 1],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [10, 0, 0, 255],
        [192, 168, 7, 15],
    ] {
        let bad = Packet { src, ..packet() };
        host.refuses(&bad.bytes(), DropReason::Ipv4BadSource);
    }
    for src in [OWN, SECOND] {
        let own = Packet { src, ..packet() };
        host.refuses(&own.bytes(), DropReason::Ipv4OwnSource);
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_3_only_our_destinations_are_taken() {
    let mut host = Host::new();
    for dst in [OWN, SECOND] {
        host.takes(&Packet { dst, ..packet() }.bytes());
    }
    for dst in [[255; 4], [10, 0, 0, 255], [192, 168, 7, 15], [224, 0, 0, 1]] {
        let to_many = Packet {
            dst_mac: BROADCAST_MAC,
            dst,
            ..packet()
        };
        host.takes(&to_many.bytes());
    }
    for dst in [
        [10, 0, 0, 3],
        [8, 8, 8, 8],
        [127, 0, 0, 1],
        [0, 0, 0, 0],
        [224, 0, 0, 251],
        [192, 168, 7, 255],
    ] {
        let foreign = Packet { dst, ..packet() };
        host.refuses(&foreign.bytes(), DropReason::Ipv4NotForUs);
    }
    host.finish();
}

#[test]
fn rfc_1122_3_3_6_unicast_within_a_link_broadcast_is_dropped() {
    let mut host = Host::new();
    for dst_mac in [BROADCAST_MAC, [1, 0, 0x5e, 0, 0, 1]] {
        let hidden = Packet {
            dst_mac,
            ..packet()
        };
        host.refuses(&hidden.bytes(), DropReason::Ipv4UnicastInBroadcast);
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_8_options_are_skipped_and_source_routes_refused() {
    let mut host = Host::new();
    let longest = [[1; 39].as_slice(), &[0]].concat();
    for options in [
        &[1, 1, 1, 0][..],
        &[0, 9, 9, 9],
        &[148, 4, 0, 0],
        &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[99, 3, 7, 0],
        &longest,
    ] {
        host.takes(&Packet::options(options).bytes());
    }
    for options in [&[131, 7, 4, 10, 0, 0, 9, 0][..], &[1, 137, 3, 4]] {
        host.refuses(
            &Packet::options(options).bytes(),
            DropReason::Ipv4SourceRoute,
        );
    }
    for options in [
        &[7, 0, 0, 0][..],
        &[7, 1, 0, 0],
        &[7, 5, 0, 0],
        &[1, 1, 1, 7],
    ] {
        host.refuses(
            &Packet::options(options).bytes(),
            DropReason::Ipv4BadOptions,
        );
    }
    host.finish();
}

#[test]
fn rfc_791_3_2_impossible_fragments_are_dropped_by_name() {
    let mut host = Host::new();
    for (fragment, reason) in [
        (0x2000, DropReason::FragmentBadLength),
        (0x2001, DropReason::FragmentBadLength),
        (0x6000, DropReason::FragmentBadLength),
        (0x1fff, DropReason::FragmentTooLong),
    ] {
        let piece = Packet {
            fragment,
            ..packet()
        };
        host.refuses(&piece.bytes(), reason);
    }
    // DF and the reserved bit make no fragment.
    for fragment in [0, 0x4000, 0x8000] {
        let whole = Packet {
            fragment,
            ..packet()
        };
        host.takes(&whole.bytes());
    }
    host.finish();
}

#[test]
fn rfc_1122_3_2_2_1_unknown_protocols_are_reported() {
    let mut host = Host::new();
    let strange = Packet {
        protocol: UNSPOKEN,
        ..packet()
    };
    host.refuses(&strange.bytes(), DropReason::Ipv4UnknownProtocol);
    assert_eq!(host.stack.counters().get(Counter::IcmpErrorsOut), 1);
    // The answer waits for its neighbour: the question comes out.
    let asked = host.sent().iter().any(|frame| frame[12..14] == [8, 6]);
    assert!(asked);
    let to_all = Packet {
        dst_mac: BROADCAST_MAC,
        dst: [255; 4],
        ..strange
    };
    host.refuses(&to_all.bytes(), DropReason::Ipv4UnknownProtocol);
    assert_eq!(host.stack.counters().get(Counter::IcmpErrorsOut), 1);
}

#[test]
fn packets_in_pieces_are_cut_to_their_length_and_counted_once() {
    let mut host = Host::new();
    let ping = Packet {
        protocol: PROTOCOL_ICMP,
        body: vec![0; 40],
        ..packet()
    };
    let bytes = ping.bytes();
    let pieces: Vec<&[u8]> = bytes.chunks(34).collect();
    host.give_pieces(&pieces, false);
    assert_eq!(host.stack.counters().get(Counter::FramesIn), 1);
    assert_eq!(
        host.stack.counters().get(Counter::BytesIn),
        bytes.len() as u64
    );
    assert_eq!(host.stack.counters().dropped_total(), 1);
    let short = &pieces[..1];
    host.give_pieces(short, false);
    assert_eq!(
        host.stack
            .counters()
            .dropped(DropReason::Ipv4BadTotalLength),
        1
    );
    host.finish();
}

#[test]
fn pieces_too_many_or_too_few_do_not_spoil_the_next_packet() {
    let mut host = Host::new();
    let bytes = packet().bytes();
    let mut pieces = vec![&bytes[..]];
    pieces.extend(core::iter::repeat_n(&b"x"[..], 60));
    host.give_pieces(&pieces, false);
    assert_eq!(host.stack.counters().dropped(DropReason::TooManyPieces), 1);
    host.takes(&bytes);
    host.give_pieces(&[&bytes, b"x"], true);
    assert_eq!(host.stack.counters().dropped(DropReason::PieceMissing), 1);
    host.takes(&bytes);
    host.finish();
}

/// One turn after another, so that whatever a frame set off comes out.
fn survives(host: &mut Host, bytes: &[u8]) {
    host.give(bytes);
    drop(host.stack.udp_try_recv(host.socket));
    drop(host.sent());
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(
        frames in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..120), 1..20,
        ),
    ) {
        let mut host = Host::new();
        for mut bytes in frames {
            if let Some(front) = bytes.first_chunk_mut::<6>() {
                *front = OWN_MAC;
            }
            survives(&mut host, &bytes);
        }
    }

    #[test]
    fn mutated_packets_never_panic(
        protocol in prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..80),
        options in proptest::collection::vec(any::<[u8; 4]>(), 0..=10),
        fragment in prop_oneof![3 => Just(0x4000_u16), 1 => any::<u16>()],
        total in prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)],
        src in prop_oneof![Just(PEER), any::<[u8; 4]>()],
    ) {
        let mut host = Host::new();
        let bytes = Packet {
            protocol,
            body,
            fragment,
            total,
            src,
            ..Packet::options(&options.concat())
        }
        .bytes();
        survives(&mut host, &bytes);
        let taken = host.stack.counters().get(Counter::FramesIn);
        prop_assert_eq!(taken, 1);
    }
}
