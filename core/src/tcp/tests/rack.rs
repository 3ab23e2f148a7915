//! RACK (RFC 8985, 6) and the scoreboard (RFC 2018, RFC 6675).

use std::vec;

use super::script::{Script, seg};
use crate::{Counter, TcpOptions};

/// An open connection with SACK whose round trip takes 40 ms; `segments` of
/// 1000 bytes were sent just now.
fn sent(segments: usize) -> Script {
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, seg().mss(1000).sack_ok(), 40);
    s.write(&vec![1; segments * 1000]);
    assert_eq!(s.all_sent().len(), segments);
    s
}

/// The same with a path that is known to reorder by its first two segments.
fn sent_over_reordering(segments: usize) -> Script {
    let mut s = sent(2);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 2001)]));
    s.inject(seg().seq(1).ack(2001));
    s.write(&vec![1; segments * 1000]);
    assert_eq!(s.all_sent().len(), segments);
    s
}

fn counted(s: &Script, counter: Counter) -> u64 {
    s.stack.counters().get(counter)
}

#[test]
fn rfc8985_6_2_three_segments_past_a_hole_leave_no_doubt() {
    let mut s = sent(8);
    s.advance(40);
    // 1 and 3 are lost; 2 and 4 to 8 arrive.
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 2001)]));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(1).sacks(&[(3001, 4001), (1001, 2001)]));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(1).sacks(&[(3001, 5001), (1001, 2001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1).sacks(&[(3001, 8001), (1001, 2001)]));
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(8001));
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpRetransmits), 2);
    assert_eq!(counted(&s, Counter::TcpFastRecoveries), 1);
    s.finish();
}

#[test]
fn rfc8985_6_2_fewer_wait_for_a_quarter_of_the_round_trip() {
    let mut s = sent(3);
    s.advance(40);
    s.inject(seg().seq(1).ack(1001));
    s.inject(seg().seq(1).ack(1001).sacks(&[(2001, 3001)]));
    s.advance(9);
    s.expect_quiet();
    s.advance(2);
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpReorderTimeouts), 1);
    assert_eq!(counted(&s, Counter::TcpTimeouts), 0);
    s.inject(seg().seq(1).ack(3001));
    s.finish();
}

#[test]
fn rfc8985_6_2_reordering_within_the_window_costs_nothing() {
    let mut s = sent(8);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 3001)]));
    s.advance(9);
    s.inject(seg().seq(1).ack(8001));
    s.advance(1000);
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpRetransmits), 0);
    s.finish();
}

#[test]
fn rfc8985_6_2_a_path_that_reorders_gets_its_window_whatever_the_count() {
    let mut s = sent_over_reordering(8);
    s.advance(40);
    s.inject(seg().seq(1).ack(2001).sacks(&[(3001, 10_001)]));
    s.expect_quiet();
    s.advance(9);
    s.expect_quiet();
    s.advance(2);
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.finish();
}

#[test]
fn rfc8985_6_2_duplicate_reports_widen_the_window_once_a_round_trip() {
    let mut s = sent_over_reordering(8);
    s.advance(40);
    // Two reports in one round: a second quarter, not a third.
    s.inject(seg().seq(1).ack(2001).sacks(&[(1, 1001)]));
    s.inject(seg().seq(1).ack(2001).sacks(&[(1001, 2001)]));
    s.inject(seg().seq(1).ack(2001).sacks(&[(3001, 10_001)]));
    s.advance(18);
    s.expect_quiet();
    s.advance(3);
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.finish();
}

#[test]
fn rfc8985_6_2_the_window_falls_back_after_sixteen_recoveries() {
    let mut s = sent_over_reordering(8);
    s.advance(40);
    s.inject(seg().seq(1).ack(10_001).sacks(&[(1, 1001)]));
    for round in 0..17 {
        let (from, wait) = (10_001 + round * 2000, if round < 16 { 18 } else { 9 });
        s.write(&[1; 2000]);
        s.skip();
        s.advance(40);
        s.inject(seg().seq(1).ack(from).sacks(&[(from + 1000, from + 2000)]));
        s.advance(wait);
        s.expect_quiet();
        s.advance(3);
        s.expect(seg().seq(from).ack(1).data(&[1; 1000]));
        s.advance(40);
        s.inject(seg().seq(1).ack(from + 2000));
    }
    s.finish();
}

#[test]
fn rfc8985_6_2_a_lost_retransmission_is_seen() {
    let mut s = sent(8);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 4001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    // What was not sent before goes out meanwhile, later than the retransmission.
    s.advance(5);
    s.write(&[2; 1000]);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 8001)]));
    s.expect(seg().seq(8001).ack(1).data(&[2; 1000]));
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 9001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpLostRetransmits), 1);
    assert_eq!(counted(&s, Counter::TcpTimeouts), 0);
    s.inject(seg().seq(1).ack(9001));
    s.finish();
}

#[test]
fn rfc8985_6_2_the_tail_is_lost_when_a_later_retransmission_arrives() {
    let mut s = sent(8);
    s.advance(40);
    // 1 and 6 to 8 are lost. Nothing sent later than 8 arrives but for the
    // retransmission of 1.
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 5001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.advance(40);
    s.inject(seg().seq(1).ack(5001));
    s.expect(seg().seq(5001).ack(1).data(&[1; 1000]));
    s.expect(seg().seq(6001).ack(1).data(&[1; 1000]));
    s.expect(seg().seq(7001).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpTimeouts), 0);
    s.inject(seg().seq(1).ack(8001));
    s.finish();
}

#[test]
fn rfc8985_6_2_an_early_echo_does_not_speak_for_the_retransmission() {
    let syn = seg().mss(1012).sack_ok().ts(5000, 0);
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, syn, 40);
    s.write(&[1; 4000]);
    let first = s.all_sent()[0].options.timestamps.unwrap().0;
    s.advance(40);
    let sacks =
        |ack: u32, blocks: &[(u32, u32)]| seg().seq(1).ack(ack).ts(5001, first).sacks(blocks);
    s.inject(sacks(1, &[(1001, 4001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.write(&[2; 2000]);
    s.skip();
    s.advance(30);
    // The first transmission of 1 arrived after all: the two sent after its
    // retransmission are not late.
    s.inject(sacks(4001, &[]));
    s.advance(9);
    s.inject(sacks(6001, &[]));
    assert_eq!(counted(&s, Counter::TcpRetransmits), 1);
    s.finish();
}

#[test]
fn rfc8985_6_3_a_timeout_takes_the_first_and_what_is_overdue() {
    let mut s = sent(3);
    // A probe after 82 ms, a timeout 240 ms after that; meanwhile more is sent.
    s.advance(300);
    s.write(&[2; 2000]);
    s.skip();
    s.advance(25);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(3001));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(5001));
    s.finish();
}

#[test]
fn rfc8985_6_3_a_timeout_keeps_what_is_selectively_acknowledged() {
    let mut s = sent(3);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(2001, 3001)]));
    s.advance(15);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.advance(400);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(3001));
    s.finish();
}

#[test]
fn rfc2018_8_a_second_timeout_forgets_selective_acknowledgements() {
    let mut s = sent(3);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(2001, 3001)]));
    s.advance(1500);
    assert!(counted(&s, Counter::TcpTimeouts) >= 2);
    s.skip();
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(3001));
    s.finish();
}

#[test]
fn rfc2018_8_a_peer_that_reneges_is_served_again() {
    let mut s = sent(4);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 4001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    // It threw away what it had beyond the hole.
    s.inject(seg().seq(1).ack(1001));
    s.expect_quiet();
    s.advance(25);
    assert!(s.sent_any(), "half a round trip later");
    assert_eq!(counted(&s, Counter::TcpReneges), 1);
    for at in [1001, 2001, 3001] {
        while !s.sent_any() {
            s.advance(100);
        }
        s.expect(seg().seq(at).ack(1).data(&[1; 1000]));
        s.skip();
        s.inject(seg().seq(1).ack(at + 1000));
    }
    s.finish();
}
