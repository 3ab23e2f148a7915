//! Proportional rate reduction (RFC 9937).

use super::script::{Script, seg};
use crate::{CongestionControl, TcpOptions};

/// Ten segments of 1000 bytes in flight, with more to send; the round trip
/// takes 40 ms, and a loss halves the window.
fn ten_in_flight() -> Script {
    let options = TcpOptions {
        congestion: CongestionControl::NewReno,
        ..TcpOptions::DEFAULT.nodelay()
    };
    let mut s = Script::accepted_over(options, seg().mss(1000).sack_ok(), 40);
    s.write(&[1; 40_000]);
    assert_eq!(s.all_sent().len(), 10);
    s.advance(40);
    s
}

fn windows(s: &Script) -> (u32, u32) {
    let index = s.flow.unwrap().index;
    let hot = s.stack.tcp.hot(index).unwrap();
    (hot.cwnd, s.stack.tcp.cold(index).unwrap().ssthresh)
}

#[test]
fn rfc9937_6_2_what_goes_out_is_in_proportion_to_what_arrives() {
    let mut s = ten_in_flight();
    // Two segments arrive before it is clear that the first is lost; each lets
    // a new one out (RFC 3042).
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 2001)]));
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 3001)]));
    assert_eq!(s.all_sent().len(), 2);
    let mut sent = 0;
    for arrived in 1..=7 {
        s.inject(seg().seq(1).ack(1).sacks(&[(1001, 3001 + arrived * 1000)]));
        sent += s.all_sent().len();
        // RecoverFS is 12 - 2 = 10, ssthresh 6: flight was 12.
        if arrived <= 5 {
            let share = (arrived as usize * 6).div_ceil(10).max(1);
            assert_eq!(sent, share, "after {arrived}");
        }
    }
    let hot = s.stack.tcp.hot(s.flow.unwrap().index).unwrap();
    assert_eq!(hot.pipe(), 6000, "just what ssthresh says");
    s.inject(seg().seq(1).ack(10_001));
    assert!(s.all_sent().len() <= 2);
    s.advance(40);
    s.inject(seg().seq(1).ack(12_001));
    let (cwnd, ssthresh) = windows(&s);
    assert!(cwnd >= ssthresh && ssthresh == 6000, "{cwnd} {ssthresh}");
    s.finish();
}

#[test]
fn rfc9937_6_2_below_the_threshold_as_much_goes_out_as_arrives() {
    let mut s = ten_in_flight();
    // Six of ten are lost: what is in flight lies below half at once.
    s.inject(seg().seq(1).ack(1).sacks(&[(6001, 9001)]));
    assert_eq!(s.all_sent().len(), 3, "three arrived");
    s.inject(seg().seq(1).ack(1).sacks(&[(6001, 10_001)]));
    assert_eq!(s.all_sent().len(), 1);
    s.finish();
}

#[test]
fn rfc9937_6_2_good_progress_lets_one_more_out() {
    let mut s = ten_in_flight();
    s.inject(seg().seq(1).ack(1).sacks(&[(6001, 10_001)]));
    assert_eq!(s.all_sent().len(), 4);
    s.advance(40);
    // A retransmission arrives, and nothing says that more is lost.
    s.inject(seg().seq(1).ack(1001).sacks(&[(6001, 10_001)]));
    assert_eq!(s.all_sent().len(), 2);
    s.finish();
}

#[test]
fn rfc9937_6_2_the_first_retransmission_always_goes_out() {
    let mut s = ten_in_flight();
    s.inject(seg().seq(1).ack(1).sacks(&[(9001, 10_001)]));
    s.skip();
    s.advance(12);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.finish();
}

#[test]
fn rfc3042_2_the_first_two_duplicates_let_new_data_out() {
    let mut s = Script::accepted_over(TcpOptions::DEFAULT.nodelay(), seg().mss(1000), 40);
    s.write(&[1; 40_000]);
    assert_eq!(s.all_sent().len(), 10);
    let (before, _) = windows(&s);
    s.inject(seg().seq(1).ack(1));
    s.expect(seg().seq(10_001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1));
    s.expect(seg().seq(11_001).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    assert_eq!(windows(&s).0, before, "cwnd MUST NOT change");
    s.inject(seg().seq(1).ack(1));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.finish();
}
