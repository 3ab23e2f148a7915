//! Retransmissions that were not needed: Eifel (RFC 3522, RFC 4015), D-SACK
//! (RFC 2883, RFC 3708), F-RTO (RFC 5682).

use super::script::{Script, seg};
use crate::{Counter, TcpOptions};

fn over(syn: super::script::Seg) -> Script {
    Script::accepted_over(TcpOptions::DEFAULT.nodelay(), syn, 40)
}

fn counted(s: &Script, counter: Counter) -> u64 {
    s.stack.counters().get(counter)
}

/// `cwnd` and `ssthresh`.
fn windows(s: &Script) -> (u32, u32) {
    let index = s.flow.unwrap().index;
    let cwnd = s.stack.tcp.hot(index).unwrap().cwnd;
    (cwnd, s.stack.tcp.cold(index).unwrap().ssthresh)
}

#[test]
fn rfc3522_3_2_an_old_echo_undoes_a_fast_recovery() {
    let mut s = over(seg().mss(1012).sack_ok().ts(5000, 0));
    s.write(&[1; 8000]);
    let echo = s.all_sent()[0].options.timestamps.unwrap().0;
    let before = windows(&s);
    s.advance(40);
    let from_peer = |ack: u32| seg().seq(1).ack(ack).ts(5001, echo);
    s.inject(from_peer(1).sacks(&[(1001, 8001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert!(windows(&s).1 < before.1);
    s.advance(5);
    // The first transmission of 1 was only late.
    s.inject(from_peer(8001));
    assert!(windows(&s).0 >= before.0 && windows(&s).1 == before.1);
    assert_eq!(counted(&s, Counter::TcpUndoneByTimestamp), 1);
    s.finish();
}

#[test]
fn rfc3522_3_2_the_echo_of_the_retransmission_undoes_nothing() {
    let mut s = over(seg().mss(1012).sack_ok().ts(5000, 0));
    s.write(&[1; 8000]);
    let echo = s.all_sent()[0].options.timestamps.unwrap().0;
    s.advance(40);
    let from_peer = |ack: u32, echo: u32| seg().seq(1).ack(ack).ts(5001, echo);
    s.inject(from_peer(1, echo).sacks(&[(1001, 8001)]));
    s.skip();
    s.advance(40);
    s.inject(from_peer(8001, echo + 40));
    assert_eq!(counted(&s, Counter::TcpUndoneByTimestamp), 0);
    assert!(windows(&s).1 < u32::MAX);
    s.finish();
}

#[test]
fn rfc4015_3_an_old_echo_undoes_a_timeout_and_resends_nothing() {
    let mut s = over(seg().mss(1012).ts(5000, 0));
    s.write(&[1; 8000]);
    let echo = s.all_sent()[0].options.timestamps.unwrap().0;
    let before = windows(&s);
    s.advance(300);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(windows(&s).0, 1000);
    // The path was slow: acknowledgements of the first flight arrive.
    s.inject(seg().seq(1).ack(1001).ts(5001, echo));
    assert!(windows(&s).0 >= before.0 && windows(&s).1 == before.1);
    s.expect_quiet();
    s.inject(seg().seq(1).ack(8001).ts(5001, echo));
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpRetransmits), 1);
    s.finish();
}

#[test]
fn rfc3708_2_a_report_of_every_retransmission_undoes() {
    let mut s = over(seg().mss(1000).sack_ok());
    s.write(&[1; 8000]);
    s.skip();
    let before = windows(&s);
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(2001, 8001)]));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.advance(5);
    s.inject(seg().seq(1).ack(8001));
    assert!(windows(&s).1 < before.1);
    s.advance(35);
    s.inject(seg().seq(1).ack(8001).sacks(&[(1, 1001)]));
    assert!(windows(&s).1 < before.1, "one of two");
    s.inject(seg().seq(1).ack(8001).sacks(&[(1001, 2001)]));
    assert!(windows(&s).0 >= before.0 && windows(&s).1 == before.1);
    assert_eq!(counted(&s, Counter::TcpUndoneByDsack), 1);
    s.finish();
}

#[test]
fn rfc3708_2_reports_of_other_segments_undo_nothing() {
    let mut s = over(seg().mss(1000).sack_ok());
    s.write(&[1; 1000]);
    s.skip();
    s.inject(seg().seq(1).ack(1001));
    s.write(&[1; 8000]);
    s.skip();
    s.advance(40);
    s.inject(seg().seq(1).ack(1001).sacks(&[(2001, 9001)]));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    // Below where the window was when it shrank.
    s.inject(seg().seq(1).ack(1001).sacks(&[(1, 1001), (2001, 9001)]));
    assert_eq!(counted(&s, Counter::TcpUndoneByDsack), 0);
    s.inject(seg().seq(1).ack(9001));
    s.finish();
}

/// Ten segments in flight, of which the first went out again after a timeout;
/// more is queued. No timestamps.
fn timed_out() -> Script {
    let mut s = over(seg().mss(1000).sack_ok());
    s.write(&[1; 20_000]);
    assert_eq!(s.all_sent().len(), 10);
    // A probe of new data goes first.
    s.advance(83);
    s.expect(seg().seq(10_001).ack(1).data(&[1; 1000]));
    s.advance(245);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    s
}

#[test]
fn rfc5682_3_1_step_3b_what_was_sent_once_arrives() {
    let mut s = timed_out();
    // Step 2b: two new segments, no retransmission.
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(11_001).ack(1).data(&[1; 1000]));
    s.expect(seg().seq(12_001).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(2001));
    assert_eq!(counted(&s, Counter::TcpUndoneByFrto), 1);
    assert!(windows(&s).0 >= 10_000 && windows(&s).1 == u32::MAX);
    s.skip();
    s.inject(seg().seq(1).ack(11_001));
    assert_eq!(counted(&s, Counter::TcpRetransmits), 1);
    s.finish();
}

#[test]
fn rfc5682_3_1_step_3b_a_selective_acknowledgement_will_do() {
    let mut s = timed_out();
    s.inject(seg().seq(1).ack(1001));
    s.skip();
    s.inject(seg().seq(1).ack(1001).sacks(&[(3001, 4001)]));
    assert_eq!(counted(&s, Counter::TcpUndoneByFrto), 1);
    s.finish();
}

#[test]
fn rfc5682_3_1_step_3a_only_new_data_arrives() {
    let mut s = timed_out();
    s.inject(seg().seq(1).ack(1001));
    assert_eq!(s.all_sent().len(), 2);
    s.advance(40);
    // What was in flight before the timeout is gone.
    s.inject(seg().seq(1).ack(1001).sacks(&[(11_001, 12_001)]));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpUndoneByFrto), 0);
    assert!(windows(&s).1 < u32::MAX);
    s.finish();
}

#[test]
fn rfc5682_3_1_step_2a_everything_is_acknowledged_at_once() {
    let mut s = timed_out();
    s.inject(seg().seq(1).ack(11_001));
    assert_eq!(counted(&s, Counter::TcpUndoneByFrto), 0);
    s.finish();
}

#[test]
fn rfc5682_3_1_a_second_timeout_is_believed() {
    let mut s = timed_out();
    s.advance(500);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.finish();
}
