//! When data is acknowledged, and when a window is told.

use super::script::{PEER_ISS, Script, seg};
use crate::TcpOptions;

/// Past the first segments, which are acknowledged at once; returns the next
/// sequence number.
fn settle(s: &mut Script) -> u32 {
    for at in 0..10 {
        s.inject(seg().seq(1 + at).ack(1).data(&[0]));
    }
    s.advance(50);
    s.read();
    s.skip();
    11
}

#[test]
fn rfc5681_4_2_the_first_segments_are_acknowledged_at_once() {
    let mut s = Script::plain();
    // The peer's window is small yet: a delay would cost it a round trip.
    for at in 0..8 {
        s.inject(seg().seq(1 + at * 100).ack(1).data(&[0; 100]));
        s.expect(seg().seq(1).ack(101 + at * 100));
    }
    s.inject(seg().seq(801).ack(1).data(&[0; 100]));
    s.expect_quiet();
    s.advance(41);
    s.expect(seg().seq(1).ack(901));
    s.finish();
}

/// As after a loss the peer's window is small again.
#[test]
fn rfc5681_4_2_segments_behind_a_filled_hole_are_acknowledged_at_once() {
    let mut s = Script::plain();
    let seq = settle(&mut s);
    s.inject(seg().seq(seq + 100).ack(1).data(&[0; 100]));
    s.expect(seg().seq(1).ack(seq));
    s.inject(seg().seq(seq).ack(1).data(&[0; 100]));
    for at in 2..10 {
        s.expect(seg().seq(1).ack(seq + at * 100));
        s.inject(seg().seq(seq + at * 100).ack(1).data(&[0; 100]));
    }
    s.expect_quiet();
    s.read();
    s.advance(41);
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_8_6_3_full_is_what_the_peer_sends() {
    for size in [600u32, 1000, 1400] {
        let mut s = Script::plain();
        let mut seq = settle(&mut s);
        s.inject(seg().seq(seq).ack(1).data(&std::vec![0; size as usize]));
        s.advance(50);
        s.skip();
        seq += size;
        for _ in 0..4 {
            s.inject(seg().seq(seq).ack(1).data(&std::vec![0; size as usize]));
            s.expect_quiet();
            s.inject(
                seg()
                    .seq(seq + size)
                    .ack(1)
                    .data(&std::vec![0; size as usize]),
            );
            seq += 2 * size;
            s.expect(seg().seq(1).ack(seq));
            s.read();
        }
        s.finish();
    }
}

#[test]
fn rfc9293_3_8_6_3_an_ack_waits_for_40_milliseconds_at_most() {
    let mut s = Script::plain();
    let seq = settle(&mut s);
    s.inject(seg().seq(seq).ack(1).data(&[0; 10]));
    s.advance(30);
    s.inject(seg().seq(seq + 10).ack(1).data(&[0; 10]));
    s.expect_quiet();
    // From the first of them on.
    s.advance(11);
    s.expect(seg().seq(1).ack(seq + 20));
    s.advance(100);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc5681_4_2_a_filled_hole_is_acknowledged_at_once() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok());
    let seq = settle(&mut s);
    s.inject(seg().seq(seq + 10).ack(1).data(&[0; 10]));
    s.inject(seg().seq(seq + 30).ack(1).data(&[0; 10]));
    s.skip();
    // In part, and then whole.
    s.inject(seg().seq(seq).ack(1).data(&[0; 10]));
    s.expect(seg().seq(1).ack(seq + 20));
    s.inject(seg().seq(seq + 20).ack(1).data(&[0; 10]));
    s.expect(seg().seq(1).ack(seq + 40));
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_a_fin_is_acknowledged_at_once() {
    let mut s = Script::plain();
    let seq = settle(&mut s);
    s.inject(seg().seq(seq).ack(1).data(&[0; 10]).fin());
    s.expect(seg().seq(1).ack(seq + 11));
    s.finish();
}

#[test]
fn rfc5681_4_2_one_segment_makes_one_ack_at_most() {
    let mut s = Script::plain();
    let mut seq = settle(&mut s);
    for size in [1000u32, 1000, 10, 500, 1000, 1000, 1000] {
        s.inject(seg().seq(seq).ack(1).data(&std::vec![0; size as usize]));
        seq += size;
        assert!(s.all_sent().len() <= 1);
    }
    s.finish();
}

/// A connection with a receive buffer of `buffer` bytes that is full, and the
/// segment size is 1000: returns what was sent last.
fn full(buffer: u32) -> Script {
    let options = TcpOptions {
        recv_buffer: buffer,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    let mut seq = 1;
    loop {
        s.inject(seg().seq(seq).ack(1).data(&[1; 1000]));
        s.advance(50);
        let last = s.all_sent().pop().unwrap();
        seq = last.ack - PEER_ISS;
        if last.window == 0 {
            return s;
        }
    }
}

#[test]
fn rfc9293_3_8_6_2_2_a_window_is_told_when_it_opened_by_two_segments() {
    let mut s = full(16_384);
    let flow = s.flow.unwrap();
    let mut told = None;
    for frames in 1..16 {
        let frame = s.stack.tcp_try_recv(flow).unwrap();
        assert!(frame.is_some());
        s.run();
        if s.sent_any() {
            told = Some((frames, s.next().window));
            break;
        }
    }
    let (frames, window) = told.unwrap();
    // A slot of 2048 counts as 1024 bytes: two segments are two frames.
    assert!((2..=4).contains(&frames), "{frames}");
    assert!(window >= 2000, "{window}");
    s.finish();
}

#[test]
fn rfc9293_3_8_6_2_2_or_by_half_a_small_buffer() {
    let mut s = full(2048);
    let flow = s.flow.unwrap();
    assert!(s.stack.tcp_try_recv(flow).unwrap().is_some());
    s.run();
    s.read();
    let update = s.all_sent().pop().unwrap();
    assert!(update.window >= 1024, "{}", update.window);
    s.finish();
}

#[test]
fn rfc9293_3_8_6_2_2_nothing_is_told_of_a_window_that_is_open() {
    let mut s = Script::plain();
    let mut seq = settle(&mut s);
    for _ in 0..20 {
        s.inject(seg().seq(seq).ack(1).data(&[0; 400]));
        seq += 400;
        let sent = s.all_sent().len();
        assert!(sent <= 1);
        s.read();
        s.expect_quiet();
    }
    s.finish();
}
