//! Tail loss probes (RFC 8985, 7).

use std::vec;

use super::script::{Script, seg};
use crate::{Counter, Shutdown, TcpOptions};

/// An open connection with SACK whose round trip takes 40 ms.
fn open() -> Script {
    Script::accepted_over(TcpOptions::DEFAULT.nodelay(), seg().mss(1000).sack_ok(), 40)
}

/// The same with `segments` of 1000 bytes sent just now.
fn sent(segments: usize) -> Script {
    let mut s = open();
    s.write(&vec![1; segments * 1000]);
    assert_eq!(s.all_sent().len(), segments);
    s
}

fn counted(s: &Script, counter: Counter) -> u64 {
    s.stack.counters().get(counter)
}

fn cwnd(s: &Script) -> u32 {
    s.stack.tcp.hot(s.flow.unwrap().index).unwrap().cwnd
}

#[test]
fn rfc8985_7_3_the_last_segment_goes_out_again_after_two_round_trips() {
    let mut s = sent(3);
    s.advance(80);
    s.expect_quiet();
    s.advance(3);
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpLossProbes), 1);
    // It shows that the first two are missing; the third was too.
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(2001, 3001)]));
    s.advance(15);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(3001));
    assert_eq!(counted(&s, Counter::TcpTimeouts), 0);
    s.finish();
}

/// packetdrill's fr-4pkt-fack-last-byte: what says nothing of any segment puts
/// the probe off no further.
#[test]
fn rfc8985_7_2_reports_of_parts_do_not_put_the_probe_off() {
    let mut s = sent(4);
    for _ in 0..8 {
        s.advance(10);
        s.inject(seg().seq(1).ack(1).sacks(&[(4000, 4001)]));
        s.expect_quiet();
    }
    s.advance(3);
    s.expect(seg().seq(3001).ack(1).data(&[1; 1000]));
    // Nor do they put off the timeout that follows it.
    for _ in 0..23 {
        s.advance(10);
        s.inject(seg().seq(1).ack(1).sacks(&[(4000, 4001)]));
        s.expect_quiet();
    }
    s.advance(10);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpTimeouts), 1);
    s.finish();
}

#[test]
fn rfc8985_7_3_new_data_is_the_better_probe_whatever_the_window() {
    let mut s = open();
    s.write(&vec![1; 30_000]);
    let flight = s.all_sent().len();
    s.advance(83);
    let at = 1 + u32::try_from(flight * 1000).unwrap();
    s.expect(seg().seq(at).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpRetransmits), 0);
    s.inject(seg().seq(1).ack(at + 1000));
    assert!(
        cwnd(&s) >= 10_000,
        "a probe of new data says nothing of congestion"
    );
    s.finish();
}

#[test]
fn rfc8985_7_2_one_segment_may_be_acknowledged_late() {
    let mut s = sent(1);
    s.advance(238);
    s.expect_quiet();
    s.advance(10);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpLossProbes), 1);
    s.inject(seg().seq(1).ack(1001));
    s.finish();
}

#[test]
fn rfc8985_7_2_more_data_hastens_the_probe_of_the_first_segment() {
    let mut s = open();
    s.write(b"first");
    s.write(&[1; 2000]);
    s.skip();
    s.advance(83);
    assert_eq!(counted(&s, Counter::TcpLossProbes), 1);
    s.inject(seg().seq(1).ack(2006));
    s.skip();
    s.finish();
}

#[test]
fn rfc8985_7_3_the_timeout_follows_a_probe() {
    let mut s = sent(3);
    s.advance(83);
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.advance(200);
    s.expect_quiet();
    s.advance(80);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpTimeouts), 1);
    assert_eq!(counted(&s, Counter::TcpLossProbes), 1);
    s.inject(seg().seq(1).ack(3001));
    s.finish();
}

#[test]
fn rfc8985_7_4_2_a_probe_that_repaired_a_loss_is_congestion() {
    let mut s = sent(8);
    let before = cwnd(&s);
    s.advance(40);
    s.inject(seg().seq(1).ack(7001));
    s.advance(250);
    s.expect(seg().seq(7001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(8001));
    assert!(cwnd(&s) >= before, "who knows which arrived");
    s.write(&[2; 1000]);
    s.skip();
    s.inject(seg().seq(1).ack(9001));
    assert!(cwnd(&s) < before);
    s.finish();
}

#[test]
fn rfc8985_7_4_2_a_matching_duplicate_report_acquits() {
    let mut s = sent(2);
    let before = cwnd(&s);
    s.advance(83);
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(2001));
    s.inject(seg().seq(1).ack(2001).sacks(&[(1001, 2001)]));
    s.write(&[2; 1000]);
    s.skip();
    s.inject(seg().seq(1).ack(3001));
    assert!(cwnd(&s) >= before);
    assert_eq!(counted(&s, Counter::TcpDsacksIn), 1);
    s.finish();
}

#[test]
fn rfc8985_7_4_2_so_does_a_bare_duplicate() {
    let mut s = sent(2);
    let before = cwnd(&s);
    s.advance(83);
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(2001));
    s.inject(seg().seq(1).ack(2001));
    s.write(&[2; 1000]);
    s.skip();
    s.inject(seg().seq(1).ack(3001));
    assert!(cwnd(&s) >= before);
    s.finish();
}

#[test]
fn rfc8985_7_2_without_sack_there_is_no_probe() {
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, seg().mss(1000), 40);
    s.write(&[1; 3000]);
    s.skip();
    s.advance(239);
    s.expect_quiet();
    s.advance(40);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(counted(&s, Counter::TcpLossProbes), 0);
    s.inject(seg().seq(1).ack(3001));
    s.finish();
}

#[test]
fn rfc8985_7_3_a_lost_fin_is_probed_for() {
    let mut s = sent(2);
    s.stack
        .tcp_shutdown(s.flow.unwrap(), Shutdown::Write)
        .unwrap();
    s.run();
    s.expect(seg().fin().seq(2001).ack(1));
    s.advance(40);
    s.inject(seg().seq(1).ack(2001));
    s.advance(260);
    s.expect(seg().fin().seq(2001).ack(1));
    s.expect_quiet();
    assert_eq!(counted(&s, Counter::TcpTimeouts), 0);
    s.inject(seg().seq(1).ack(2002));
    s.finish();
}

#[test]
fn rfc8985_7_3_the_last_segment_takes_its_fin_along() {
    let mut s = sent(2);
    s.stack
        .tcp_shutdown(s.flow.unwrap(), Shutdown::Write)
        .unwrap();
    s.run();
    s.expect(seg().fin().seq(2001).ack(1));
    s.advance(83);
    s.expect(seg().fin().seq(1001).ack(1).data(&[1; 1000]));
    s.advance(40);
    s.inject(seg().seq(1).ack(1).sacks(&[(1001, 2002)]));
    s.advance(15);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(2002));
    s.finish();
}
