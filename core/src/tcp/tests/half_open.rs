//! The passive side's handshakes: RFC 9293, 3.10.7.4, SYN-RECEIVED; RFC 6298,
//! 5.7; RFC 4987.

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, RST, SYN};
use std::vec::Vec;

use proptest::prelude::*;

use crate::{DropReason, Error, ListenOptions, SynCookies, TcpOptions, TcpState};

/// A listener with room for `backlog` connections and `syn_queue` handshakes.
fn listening(backlog: usize, syn_queue: usize) -> Script {
    let mut s = Script::new();
    s.listen_with(ListenOptions {
        backlog,
        syn_queue,
        syn_cookies: SynCookies::Off,
        ..ListenOptions::DEFAULT
    });
    s
}

/// A handshake from `port`, SYN-ACK seen.
fn begin(s: &mut Script, port: u16) {
    s.peer_port(port);
    s.inject(seg().syn().no_ack().mss(1000));
    let answer = s.next();
    assert_eq!(answer.flags, SYN | ACK);
    s.iss = answer.seq;
}

#[test]
fn rfc6298_5_5_syn_ack_is_sent_again_with_back_off_and_given_up() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    let mut at = Vec::new();
    for second in 1..100 {
        s.advance(1000);
        if s.sent_any() {
            let again = s.next();
            assert_eq!((again.flags, again.seq), (SYN | ACK, s.iss));
            at.push(second);
        }
    }
    assert_eq!(at, [1, 3, 7, 15, 31]);
    assert_eq!((s.stack.handshakes(), s.stack.flows_in_use()), (0, 0));
    s.finish();
}

#[test]
fn rfc6298_5_7_three_seconds_after_a_lost_syn_ack() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    s.advance(1_010);
    s.skip();
    s.inject(seg().seq(1).ack(1));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    s.write(b"x");
    s.skip();
    s.advance(2_990);
    s.expect_quiet();
    s.advance(20);
    s.expect(seg().seq(1).ack(1).data(b"x"));
    s.finish();
}

#[test]
fn rfc6298_5_7_three_seconds_after_a_lost_syn() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.advance(1_010);
    s.skip();
    s.inject(seg().syn().ack(1).mss(1000));
    s.skip();
    s.write(b"x");
    s.skip();
    s.advance(2_990);
    s.expect_quiet();
    s.advance(20);
    s.expect(seg().seq(1).ack(1).data(b"x"));
    s.finish();
}

#[test]
fn rfc4987_3_4_a_flood_takes_no_flow() {
    let mut s = listening(4, 8);
    for port in 0..200 {
        s.peer_port(1000 + port);
        s.inject(seg().syn().no_ack());
        s.skip();
    }
    assert_eq!((s.stack.handshakes(), s.stack.flows_in_use()), (8, 0));
    let reason = DropReason::TcpSynQueueFull;
    assert_eq!(s.stack.counters().dropped(reason), 192);
    // It passes.
    s.advance(70_000);
    s.skip();
    assert_eq!(s.stack.handshakes(), 0);
    begin(&mut s, 50_000);
    s.inject(seg().seq(1).ack(1));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    s.finish();
}

#[test]
fn all_listeners_together_have_as_many_records_as_flows() {
    let mut s = listening(4, 100);
    for port in 0..40 {
        s.peer_port(1000 + port);
        s.inject(seg().syn().no_ack());
        s.skip();
    }
    assert_eq!(s.stack.handshakes(), 16);
    s.finish();
}

#[test]
fn a_handshake_waits_for_room_in_the_accept_queue() {
    let mut s = listening(1, 4);
    begin(&mut s, 40_001);
    let first = s.iss;
    begin(&mut s, 40_002);
    let second = s.iss;
    s.peer_port(40_001);
    s.iss = first;
    s.inject(seg().seq(1).ack(1));
    s.peer_port(40_002);
    s.iss = second;
    s.inject(seg().seq(1).ack(1).data(b"hello"));
    let reason = DropReason::TcpAcceptQueueFull;
    assert_eq!(s.stack.counters().dropped(reason), 1);
    assert_eq!((s.stack.handshakes(), s.stack.flows_in_use()), (1, 1));
    s.expect_quiet();
    // No new handshake begins meanwhile.
    s.peer_port(40_003);
    s.inject(seg().syn().no_ack());
    s.expect_quiet();
    let listener = s.listener.unwrap();
    let flow = s.stack.tcp_try_accept(listener).unwrap();
    s.stack.tcp_abort(flow);
    s.run();
    s.skip();
    // Another SYN-ACK asks the peer once more.
    s.peer_port(40_002);
    s.advance(1_010);
    assert_eq!(s.next().flags, SYN | ACK);
    s.inject(seg().seq(1).ack(1).data(b"hello"));
    s.flow = Some(s.stack.tcp_try_accept(listener).unwrap());
    assert_eq!(s.text(), "hello");
    s.skip();
    s.finish();
}

#[test]
fn a_handshake_waits_for_a_free_flow() {
    let mut s = listening(100, 16);
    let mut flows = Vec::new();
    for port in 0..16 {
        begin(&mut s, 40_000 + port);
        s.inject(seg().seq(1).ack(1));
        flows.push(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    }
    begin(&mut s, 50_000);
    s.inject(seg().seq(1).ack(1));
    let reason = DropReason::TcpNoFlowFree;
    assert_eq!(s.stack.counters().dropped(reason), 1);
    assert_eq!(s.stack.handshakes(), 1);
    s.stack.tcp_abort(flows.pop().unwrap());
    s.run();
    s.skip();
    s.inject(seg().seq(1).ack(1).data(b"now"));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    assert_eq!(s.text(), "now");
    for flow in flows {
        s.stack.tcp_abort(flow);
    }
    s.run();
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_reset_returns_to_listen() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    // RFC 5961, 3.2: only when it is exactly the expected one.
    s.inject(seg().rst().seq(100).no_ack());
    s.expect(seg().seq(1).ack(1));
    s.inject(seg().rst().seq(100_000).no_ack());
    s.expect_quiet();
    assert_eq!(s.stack.handshakes(), 1);
    s.inject(seg().rst().seq(1).no_ack());
    assert_eq!(s.stack.handshakes(), 0);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_wrong_acknowledgement_is_reset() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    s.inject(seg().seq(1).ack(2));
    let reset = s.next();
    assert_eq!(reset.flags, RST);
    assert_eq!(reset.seq.wrapping_sub(s.iss), 2);
    assert_eq!(s.stack.handshakes(), 1);
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_a_syn_with_another_number_is_told_where_we_stand() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    s.inject(seg().syn().no_ack().seq(500_000));
    s.expect(seg().seq(1).ack(1));
    // The peer answers that by RST, and may begin anew.
    s.inject(seg().rst().seq(1).no_ack());
    s.inject(seg().syn().no_ack().seq(500_000));
    assert_eq!(s.next().flags, SYN | ACK);
    s.finish();
}

#[test]
fn rfc7323_5_3_old_timestamps_do_not_complete_it() {
    let mut s = listening(4, 4);
    s.inject(seg().syn().no_ack().mss(1000).ts(100, 0));
    let answer = s.next();
    s.iss = answer.seq;
    let echo = answer.options.timestamps.unwrap().0;
    s.inject(seg().seq(1).ack(1).ts(99, echo));
    s.inject(seg().seq(1).ack(1));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpPaws), 1);
    assert_eq!(s.stack.counters().dropped(DropReason::TcpNoTimestamp), 1);
    assert_eq!(s.stack.flows_in_use(), 0);
    s.skip();
    s.inject(seg().seq(1).ack(1).ts(101, echo));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    s.finish();
}

#[test]
fn rfc4987_forged_syns_are_answered_twice_at_the_most() {
    let mut s = listening(4, 8);
    for port in 0..8 {
        s.peer_port(1000 + port);
        s.inject(seg().syn().no_ack());
    }
    assert_eq!(s.all_sent().len(), 8);
    s.advance(1_100);
    // All once more; of the second retransmission only so many as leave half of
    // the queue free.
    assert_eq!(s.all_sent().len(), 8);
    s.advance(2_100);
    let again = s.all_sent().len();
    assert_eq!((again, s.stack.handshakes()), (4, 4));
    s.advance(70_000);
    assert_eq!(s.stack.handshakes(), 0);
    s.skip();
    s.finish();
}

/// A segment of no good sense: ports, flags, numbers near those that matter.
type Odd = (u16, u8, u8, u8, Option<u8>, u8);

fn inject_odd(s: &mut Script, odd: Odd) {
    let (port, flags, seq, ack, time, then) = odd;
    s.peer_port(40_000 + port);
    let segment = seg()
        .seq(u32::from(seq))
        .ack(u32::from(ack))
        .flags(flags)
        .data(&[1; 3][..usize::from(seq % 4)]);
    s.inject(match time {
        Some(time) => segment.ts(u32::from(time), u32::from(ack)),
        None => segment,
    });
    // What it answers tells the next one where it stands.
    if let Some(answer) = s.all_sent().pop()
        && answer.flags & SYN != 0
    {
        s.iss = answer.seq;
    }
    match then {
        0 => s.advance(500),
        1 => s.advance(5_000),
        2 => {
            if let Ok(flow) = s.stack.tcp_try_accept(s.listener.unwrap()) {
                s.stack.tcp_close(flow);
                s.run();
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, in SYN-RECEIVED, in TIME-WAIT and as cookies: the bounds
    /// hold, and in the end nothing is left.
    #[test]
    fn odd_segments_leave_nothing_behind(
        odd in prop::collection::vec(
            (0..3_u16, any::<u8>(), 0..4_u8, 0..3_u8, prop::option::of(0..5_u8), 0..8_u8),
            0..80,
        ),
        cookies in any::<bool>(),
    ) {
        let mut s = Script::new();
        s.listen_with(ListenOptions {
            backlog: 2,
            syn_queue: 2,
            syn_cookies: if cookies { SynCookies::WhenFull } else { SynCookies::Off },
            ..ListenOptions::DEFAULT
        });
        for odd in odd {
            inject_odd(&mut s, odd);
            prop_assert!(s.stack.handshakes() <= 2 && s.stack.flows_in_use() <= 16);
        }
        s.skip();
        s.finish();
    }
}

#[test]
fn a_fin_with_the_last_ack_opens_and_closes() {
    let mut s = listening(4, 4);
    begin(&mut s, 40_000);
    s.inject(seg().fin().seq(1).ack(1).data(b"all of it"));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    assert_eq!(s.state(), TcpState::CloseWait);
    assert_eq!(s.text(), "all of it");
    s.skip();
    s.finish();
}

#[test]
fn a_listener_at_one_address_goes_before_one_at_all() {
    let mut s = listening(4, 4);
    let any = s.listener.unwrap();
    let local = "10.0.0.1:80".parse().unwrap();
    let one = s.stack.tcp_listen(local, ListenOptions::DEFAULT).unwrap();
    begin(&mut s, 40_000);
    s.inject(seg().seq(1).ack(1));
    assert_eq!(s.stack.tcp_try_accept(any), Err(Error::WouldBlock));
    s.flow = Some(s.stack.tcp_try_accept(one).unwrap());
    s.stack.tcp_close_listener(one);
    s.finish();
}
