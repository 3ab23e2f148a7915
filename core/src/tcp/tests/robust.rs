//! Hostile and confused peers: RFC 5961, PAWS, bad segments.

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, RST};
use crate::{Counter, DropReason, ListenOptions, TcpOptions, TcpState};

#[test]
fn rfc5961_3_2_reset_must_hit_the_edge() {
    let mut s = Script::plain();
    s.inject(seg().rst().seq(100).no_ack());
    assert_eq!(s.state(), TcpState::Established);
    s.expect(seg().seq(1).ack(1));
    s.inject(seg().rst().seq(1_000_000).no_ack());
    assert_eq!(s.state(), TcpState::Established);
    s.expect_quiet();
    s.inject(seg().rst().seq(1).no_ack());
    assert_eq!(s.state(), TcpState::Closed);
    s.finish();
}

#[test]
fn rfc5961_4_2_syn_on_an_open_connection_is_challenged() {
    let mut s = Script::plain();
    s.inject(seg().syn().seq(50).no_ack());
    s.expect(seg().seq(1).ack(1));
    assert_eq!(s.state(), TcpState::Established);
    // At a bounded rate.
    s.inject(seg().syn().seq(51).no_ack());
    s.expect_quiet();
    s.advance(600);
    s.inject(seg().syn().seq(52).no_ack());
    s.expect(seg().seq(1).ack(1));
    assert_eq!(s.stack.counters().get(Counter::TcpChallengeAcks), 2);
    s.finish();
}

#[test]
fn rfc5961_5_2_acks_of_nothing_are_challenged() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(500).data(b"x"));
    s.expect(seg().seq(1).ack(1));
    s.advance(600);
    s.inject(seg().seq(1).ack(u32::MAX - 70_000).data(b"x"));
    s.expect(seg().seq(1).ack(1));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpBadAck), 2);
    assert!(s.read().is_empty());
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_old_data_is_acknowledged_again() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"abc"));
    s.advance(50);
    s.skip();
    s.inject(seg().seq(1).ack(1).data(b"abc"));
    s.expect(seg().seq(1).ack(4));
    assert_eq!(s.text(), "abc");
    s.finish();
}

#[test]
fn rfc7323_5_3_old_timestamps_are_refused() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).ts(1000, 0));
    s.inject(seg().seq(1).ack(1).ts(2000, 1).data(b"new"));
    s.inject(seg().seq(4).ack(1).ts(1500, 1).data(b"old"));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpPaws), 1);
    assert_eq!(s.text(), "new");
    s.skip();
    s.finish();
}

/// A retransmission fills the first hole, so its time is the latest; what was
/// sent before it comes after it.
#[test]
fn rfc7323_5_3_what_was_overtaken_is_taken() {
    let syn = seg().mss(1000).ts(1000, 0);
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, syn, 40);
    s.inject(seg().seq(1).ack(1).ts(1100, 1).data(b"again,"));
    s.inject(seg().seq(7).ack(1).ts(1061, 1).data(b"overtaken"));
    assert_eq!(s.text(), "again,overtaken");
    // The latest time is the one that counts, and that is echoed.
    s.skip();
    s.write(b"x");
    let answer = s.next();
    assert_eq!(answer.options.timestamps.map(|(_, echo)| echo), Some(1100));
    // More than a round trip is more than reordering.
    s.inject(seg().seq(16).ack(1).ts(1059, 1).data(b"old"));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpPaws), 1);
    assert!(s.read().is_empty());
    s.skip();
    s.finish();
}

#[test]
fn rfc7323_3_2_segments_without_timestamps_are_dropped() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).ts(1000, 0));
    s.inject(seg().seq(1).ack(1).data(b"bare"));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpNoTimestamp), 1);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc7323_3_timestamps_are_echoed() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).ts(1000, 0));
    s.inject(seg().seq(1).ack(1).ts(1234, 1).data(b"x"));
    s.write(b"y");
    let answer = s.next();
    assert_eq!(answer.options.timestamps.map(|(_, echo)| echo), Some(1234));
    s.finish();
}

#[test]
fn bad_checksum_is_dropped() {
    let mut s = Script::plain();
    s.corrupt_next();
    s.inject(seg().seq(1).ack(1).data(b"x"));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpBadChecksum), 1);
    s.expect_quiet();
    s.finish();
}

#[test]
fn urgent_pointer_is_harmless() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"urgent").urgent());
    assert_eq!(s.text(), "urgent");
    s.skip();
    s.finish();
}

#[test]
fn data_on_a_syn_is_left_for_retransmission() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().data(b"early"));
    let answer = s.next();
    s.iss = answer.seq;
    s.inject(seg().seq(1).ack(1).data(b"early"));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    assert_eq!(s.text(), "early");
    s.skip();
    s.finish();
}

#[test]
fn no_ack_flag_means_no_segment() {
    let mut s = Script::plain();
    s.inject(seg().no_ack().seq(1).data(b"x"));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpNoAck), 1);
    s.expect_quiet();
    let _ = ACK;
    s.finish();
}

#[test]
fn rfc6528_sequence_numbers_differ_by_flow_and_grow_with_time() {
    let mut s = Script::new();
    let first = s.connect(TcpOptions::DEFAULT);
    let flow = s.flow.take().unwrap();
    s.stack.tcp_abort(flow);
    let second = s.connect(TcpOptions::DEFAULT);
    assert_ne!(first.seq, second.seq);
    s.finish();
}

#[test]
fn rfc5961_7_challenges_have_a_limit_of_the_whole_host_as_well() {
    let mut s = Script::new();
    s.listen_with(ListenOptions::DEFAULT);
    let mut challenged = 0;
    // One for each handshake: their own limits do not come into it.
    for _ in 0..40 {
        for port in 0..16 {
            s.peer_port(1000 + port);
            s.inject(seg().syn().no_ack());
            s.skip();
            for _ in 0..5 {
                s.inject(seg().rst().seq(100).no_ack());
                challenged += s.all_sent().len();
            }
        }
    }
    assert!((500..1500).contains(&challenged), "{challenged} of 3200");
    let count = s.stack.counters().get(Counter::TcpChallengeAcks);
    assert_eq!(count, challenged as u64);
    // An open connection keeps its own state, and is told in the next second.
    s.advance(1_100);
    s.skip();
    s.inject(seg().rst().seq(100).no_ack());
    assert!(s.sent_any());
    s.skip();
    s.finish();
}

#[test]
fn rfc5961_7_a_flow_waits_when_the_host_may_not_answer() {
    let mut s = Script::plain();
    while s.stack.tcp.challenges.allow(s.now, &mut s.stack.random) {}
    s.inject(seg().syn().seq(50).no_ack());
    s.expect_quiet();
    // What is only old is answered all the same: a keepalive probe, say.
    s.advance(600);
    while s.stack.tcp.challenges.allow(s.now, &mut s.stack.random) {}
    s.inject(seg().seq(0).ack(1));
    s.expect(seg().seq(1).ack(1));
    s.finish();
}

#[test]
fn rfc9293_3_8_4_a_peers_keepalive_probe_is_answered() {
    let mut s = Script::plain();
    for _ in 0..3 {
        s.advance(1_000);
        s.inject(seg().seq(0).ack(1));
        s.expect(seg().seq(1).ack(1));
        // With a byte of garbage, as old hosts send it.
        s.inject(seg().seq(0).ack(1).data(b"?"));
        s.expect(seg().seq(1).ack(1));
    }
    assert!(s.read().is_empty());
    s.finish();
}

#[test]
fn rfc9293_3_8_5_urgent_data_stays_in_line_whatever_the_pointer_says() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"a").urgent());
    s.inject(seg().seq(2).ack(1).urgent());
    s.inject(seg().seq(2).ack(1).data(b"bc").urgent());
    s.inject(seg().seq(4).ack(1).data(b"d"));
    s.inject(seg().seq(5).ack(1).fin().urgent());
    assert_eq!(s.text(), "abcd");
    assert_eq!(s.state(), TcpState::CloseWait);
    s.skip();
    s.finish();
}

/// A segment outside of the window, or one that acknowledges what was never
/// sent, may come from anybody: its timestamp must not count.
#[test]
fn rfc7323_4_3_a_blind_timestamp_shuts_nobody_out() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).ts(1000, 0));
    let far = 1000 + 0x4000_0000;
    s.inject(
        seg()
            .seq(1u32.wrapping_sub(50_000))
            .ack(1)
            .ts(far, 0)
            .data(b"old"),
    );
    s.inject(seg().seq(1).ack(77).ts(far, 0).data(b"bad"));
    s.inject(seg().seq(1).no_ack().ts(far, 0).data(b"odd"));
    s.skip();
    s.inject(seg().seq(1).ack(1).ts(1001, 0).data(b"good"));
    assert_eq!(s.text(), "good");
    s.finish();
}

#[test]
fn rfc7323_3_2_a_reset_carries_a_timestamp() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).ts(1000, 0));
    s.inject(seg().seq(1).ack(1).ts(1001, 0).data(b"unread"));
    s.skip();
    s.stack.tcp_close(s.flow.take().unwrap());
    s.run();
    let reset = s.next();
    assert_eq!(reset.flags, RST | ACK);
    assert_eq!(reset.options.timestamps.map(|(_, echo)| echo), Some(1001));
    s.finish();
}
