//! The retransmission timer (RFC 6298), and what only it can repair.

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, SYN};
use crate::{Counter, Shutdown, TcpOptions, TcpState};

/// An open connection without options whose round trip takes 40 ms: the RTO is
/// 240 ms.
fn open() -> Script {
    Script::accepted_over(TcpOptions::DEFAULT.nodelay(), seg().mss(1000), 40)
}

fn timeouts(s: &Script) -> u64 {
    s.stack.counters().get(Counter::TcpTimeouts)
}

#[test]
fn rfc6298_5_1_the_timer_starts_with_the_first_segment_only() {
    let mut s = open();
    s.write(&[1; 1000]);
    s.advance(150);
    s.write(&[2; 1000]);
    s.skip();
    s.advance(85);
    s.expect_quiet();
    s.advance(10);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.finish();
}

#[test]
fn rfc6298_5_2_all_acknowledged_turns_it_off() {
    let mut s = open();
    s.write(&[1; 2000]);
    s.skip();
    s.advance(40);
    s.inject(seg().seq(1).ack(2001));
    s.advance(60_000);
    s.expect_quiet();
    assert_eq!(timeouts(&s), 0);
    s.finish();
}

#[test]
fn rfc6298_5_4_to_5_6_the_earliest_segment_and_a_doubled_timer() {
    let mut s = open();
    s.write(&[1; 3000]);
    s.skip();
    for wait in [240, 480, 960, 1920] {
        let from = s.now;
        while !s.sent_any() {
            s.advance(1);
        }
        let waited = s.now.nanos_since(from) / 1_000_000;
        assert!((wait..wait + 5).contains(&waited), "{waited} ms");
        s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
        s.expect_quiet();
    }
    assert_eq!(timeouts(&s), 4);
    s.finish();
}

#[test]
fn rfc6298_5_the_back_off_ends_with_progress() {
    let mut s = open();
    s.write(&[1; 2000]);
    s.skip();
    s.advance(750);
    assert_eq!(timeouts(&s), 2);
    s.skip();
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.advance(250);
    s.expect(seg().seq(1001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(2001));
    s.finish();
}

#[test]
fn rfc6298_2_4_never_below_two_hundred_milliseconds() {
    let mut s = Script::plain();
    s.write(b"x");
    s.skip();
    s.advance(199);
    s.expect_quiet();
    s.advance(2);
    s.expect(seg().seq(1).ack(1).data(b"x"));
    s.finish();
}

#[test]
fn rfc6298_2_5_never_above_a_minute() {
    let mut s = open();
    s.write(b"x");
    s.advance(240 * 512);
    let before = timeouts(&s);
    s.advance(121_000);
    assert!(timeouts(&s) >= before + 2);
    s.skip();
    s.finish();
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut s = open();
    s.stack
        .tcp_shutdown(s.flow.unwrap(), Shutdown::Write)
        .unwrap();
    s.run();
    s.expect(seg().fin().seq(1).ack(1));
    s.advance(245);
    s.expect(seg().fin().seq(1).ack(1));
    s.inject(seg().seq(1).ack(2));
    assert_eq!(s.state(), TcpState::FinWait2);
    s.finish();
}

#[test]
fn a_lost_syn_ack_is_sent_again() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().mss(1000));
    let first = s.next();
    assert_eq!(first.flags, SYN | ACK);
    s.advance(1005);
    let again = s.next();
    assert_eq!((again.flags, again.seq), (first.flags, first.seq));
    s.finish();
}

#[test]
fn rfc6298_3_a_retransmitted_segment_gives_no_sample() {
    let mut s = open();
    s.write(&[1; 1000]);
    s.advance(245);
    s.skip();
    s.advance(5);
    s.inject(seg().seq(1).ack(1001));
    // Were it a sample, it would be 5 ms, or 250.
    let hot = s.stack.tcp.hot(s.flow.unwrap().index).unwrap();
    assert_eq!(hot.rtt.srtt_us / 1000, 40);
    s.finish();
}
