//! A run of packets whose headers repeat, and what breaks it.

use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{RxBurst, RxMeta};

use super::script::{Script, seg};
use crate::{Counter, DropReason, TcpOptions};

const LEN: usize = 1000;

/// Four segments of a run, in order, numbered in the IPv4 header as Linux does.
fn numbered(s: &mut Script) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for index in 0..4u32 {
        let body = [u8::try_from(index).unwrap(); LEN];
        let seq = 1 + index * u32::try_from(LEN).unwrap();
        let mut bytes = s.bytes_of(&seg().seq(seq).ack(1).ts(7000, 0).data(&body));
        bytes[18..20].copy_from_slice(&(400 + index).to_be_bytes()[2..]);
        seal_ip(&mut bytes);
        packets.push(bytes);
    }
    packets
}

fn seal_ip(bytes: &mut [u8]) {
    bytes[24..26].fill(0);
    let check = Sum::of(&bytes[14..34]).finish();
    bytes[24..26].copy_from_slice(&check.to_be_bytes());
}

fn open() -> Script {
    let syn = seg().mss(1460).sack_ok().ts(7000, 0);
    Script::accepted(TcpOptions::DEFAULT, syn)
}

fn give(s: &mut Script, packets: &[Vec<u8>]) {
    let mut burst = RxBurst::new();
    for bytes in packets {
        let mut frame = s.stack.pool().alloc().unwrap();
        frame.extend_from_slice(bytes);
        burst.push(frame, RxMeta::default()).unwrap();
    }
    s.stack.input(s.now, &mut burst);
    s.run();
}

fn finish(mut s: Script) {
    s.all_sent();
    s.finish();
}

#[test]
fn a_run_is_taken_whole() {
    let mut s = open();
    let packets = numbered(&mut s);
    let before = s.stack.counters().get(Counter::TcpSegmentsIn);
    give(&mut s, &packets);
    assert_eq!(s.stack.counters().get(Counter::TcpSegmentsIn), before + 4);
    let read = s.read();
    assert_eq!(read.len(), 4 * LEN);
    assert!(
        read.chunks(LEN)
            .zip(0u8..)
            .all(|(part, index)| part == [index; LEN])
    );
    finish(s);
}

/// Refuses packet `at` of a run once `harm` was done to it, and takes what was
/// before; the rest waits out of order.
fn broken(at: usize, reason: DropReason, harm: impl Fn(&mut Vec<u8>)) {
    let mut s = open();
    let mut packets = numbered(&mut s);
    harm(&mut packets[at]);
    give(&mut s, &packets);
    assert_eq!(s.stack.counters().dropped(reason), 1, "{reason:?}");
    assert_eq!(s.read().len(), at * LEN);
    assert_eq!(
        s.stack.counters().get(Counter::TcpOutOfOrder),
        3 - at as u64
    );
    finish(s);
}

#[test]
fn rfc791_3_1_a_bad_header_checksum_in_a_run_is_noticed() {
    for at in 0..4 {
        broken(at, DropReason::Ipv4BadChecksum, |bytes| bytes[19] ^= 1);
        broken(at, DropReason::Ipv4BadChecksum, |bytes| bytes[25] ^= 0x80);
    }
}

#[test]
fn rfc9293_3_1_a_bad_checksum_in_a_run_is_noticed() {
    for at in 0..4 {
        broken(at, DropReason::TcpBadChecksum, |bytes| bytes[500] ^= 4);
        broken(at, DropReason::TcpBadChecksum, |bytes| bytes[51] ^= 1);
    }
}

#[test]
fn a_run_for_another_host_is_not_ours() {
    for at in 0..4 {
        broken(at, DropReason::EthernetNotForUs, |bytes| bytes[5] ^= 1);
    }
}

#[test]
fn another_hop_limit_does_not_break_a_run() {
    let mut s = open();
    let mut packets = numbered(&mut s);
    for (bytes, ttl) in packets.iter_mut().zip([64, 63, 63, 64]) {
        bytes[22] = ttl;
        seal_ip(bytes);
    }
    give(&mut s, &packets);
    assert_eq!(s.read().len(), 4 * LEN);
    finish(s);
}

/// One packet at a time takes another short way, which remembers how the last
/// one began.
#[test]
fn lone_packets_are_looked_at_as_closely() {
    for at in 0..4 {
        for (place, reason) in [
            (25, DropReason::Ipv4BadChecksum),
            (500, DropReason::TcpBadChecksum),
            (5, DropReason::EthernetNotForUs),
        ] {
            let mut s = open();
            let mut packets = numbered(&mut s);
            packets[at][place] ^= 1;
            for bytes in &packets {
                s.inject_bytes(bytes);
            }
            assert_eq!(s.stack.counters().dropped(reason), 1, "{reason:?}");
            assert_eq!(s.read().len(), at * LEN);
            finish(s);
        }
    }
}
