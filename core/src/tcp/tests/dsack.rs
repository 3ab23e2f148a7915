//! Duplicates are reported (RFC 2883), by its examples.

use super::script::{Script, Seg, seg};
use crate::{Counter, TcpOptions};

fn open() -> Script {
    Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok())
}

/// Segment `number` of the peer's, 500 bytes each.
fn data(number: u32) -> Seg {
    seg().seq(1 + number * 500).ack(1).data(&[7; 500])
}

/// The ACK of `got` segments with `blocks`, given in segments.
fn acks(got: u32, blocks: &[(u32, u32)]) -> Seg {
    let blocks: std::vec::Vec<_> = blocks
        .iter()
        .map(|&(from, to)| (1 + from * 500, 1 + to * 500))
        .collect();
    seg().seq(1).ack(1 + got * 500).sack(&blocks)
}

#[test]
fn rfc2883_4_1_1_a_duplicate_segment() {
    let mut s = open();
    for number in 0..2 {
        s.inject(data(number));
    }
    s.skip();
    s.inject(data(1));
    s.expect(acks(2, &[(1, 2)]));
    // Once only.
    s.inject(data(2));
    s.inject(data(3));
    s.expect(acks(3, &[]));
    s.expect(acks(4, &[]));
    assert_eq!(s.stack.counters().get(Counter::TcpDsacksOut), 1);
    s.finish();
}

#[test]
fn rfc2883_4_1_2_out_of_order_and_a_duplicate() {
    let mut s = open();
    s.inject(data(0));
    s.skip();
    s.inject(data(2));
    s.expect(acks(1, &[(2, 3)]));
    s.inject(data(3));
    s.expect(acks(1, &[(2, 4)]));
    // Below what is acknowledged: the report, then the block.
    s.inject(data(0));
    s.expect(acks(1, &[(0, 1), (2, 4)]));
    s.inject(data(4));
    s.expect(acks(1, &[(2, 5)]));
    s.finish();
}

#[test]
fn rfc2883_4_1_3_a_duplicate_of_an_out_of_order_segment() {
    let mut s = open();
    s.inject(data(0));
    s.skip();
    s.inject(data(2));
    s.expect(acks(1, &[(2, 3)]));
    s.inject(data(4));
    s.expect(acks(1, &[(4, 5), (2, 3)]));
    s.inject(data(2));
    s.expect(acks(1, &[(2, 3), (2, 3), (4, 5)]));
    s.finish();
}

#[test]
fn rfc2883_4_2_1_part_of_a_segment_below_what_is_acknowledged() {
    let mut s = open();
    s.inject(data(0));
    s.inject(data(1));
    s.skip();
    s.inject(seg().seq(501).ack(1).data(&[7; 1000]));
    s.expect(acks(3, &[(1, 2)]));
    s.finish();
}

#[test]
fn rfc2883_4_2_2_part_of_a_segment_within_a_block() {
    let mut s = open();
    s.inject(data(0));
    s.skip();
    s.inject(data(2));
    s.expect(acks(1, &[(2, 3)]));
    s.inject(seg().seq(1001).ack(1).data(&[7; 1000]));
    s.expect(acks(1, &[(2, 3), (2, 4)]));
    s.finish();
}

#[test]
fn rfc2883_4_only_flows_with_sack_report() {
    let mut s = Script::plain();
    s.inject(data(0));
    s.inject(data(1));
    s.skip();
    s.inject(data(1));
    s.expect(acks(2, &[]));
    s.finish();
}

#[test]
fn rfc2018_4_blocks_are_told_although_data_goes_the_other_way() {
    let mut s = open();
    s.inject(data(0));
    s.skip();
    let flow = s.flow.unwrap();
    s.stack.tcp_try_write(flow, b"ours").unwrap();
    s.inject(data(2));
    s.expect(acks(1, &[(2, 3)]));
    s.expect(seg().seq(1).ack(501).data(b"ours"));
    s.inject(seg().seq(2001).ack(5));
    s.finish();
}
