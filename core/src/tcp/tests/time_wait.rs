//! TIME-WAIT: RFC 9293, 3.6.1; RFC 1337; RFC 6191.

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, SYN};
use crate::{Counter, DropReason, SeqNum, Shutdown, TcpOptions, TcpState};

/// A connection that this side closed first, its peer second, with or without
/// timestamps. The peer's FIN had sequence number 1, ours 1, and its last
/// timestamp was 2000.
fn waiting(timestamps: bool) -> Script {
    let syn = seg().mss(1000);
    let syn = if timestamps { syn.ts(1000, 0) } else { syn };
    let mut s = Script::accepted(TcpOptions::DEFAULT, syn);
    let flow = s.flow.unwrap();
    s.stack.tcp_shutdown(flow, Shutdown::Write).unwrap();
    s.run();
    let fin = seg().fin().seq(1).ack(2);
    s.inject(if timestamps { fin.ts(2000, 1) } else { fin });
    s.skip();
    assert_eq!(s.state(), TcpState::TimeWait);
    s
}

/// Whether a SYN is answered by a SYN-ACK; nothing else may be sent.
fn reopens(s: &mut Script, syn: super::script::Seg) -> bool {
    s.skip();
    s.inject(syn.syn().no_ack());
    let sent = s.all_sent();
    assert!(sent.iter().all(|sent| sent.flags == SYN | ACK), "{sent:?}");
    !sent.is_empty()
}

#[test]
fn rfc1337_3_f1_resets_are_ignored() {
    let mut s = waiting(false);
    s.inject(seg().rst().seq(2).no_ack());
    s.inject(seg().rst().seq(2).ack(2));
    assert_eq!(s.state(), TcpState::TimeWait);
    s.expect_quiet();
    let reason = DropReason::TcpRstInTimeWait;
    assert_eq!(s.stack.counters().dropped(reason), 2);
    s.finish();
}

#[test]
fn rfc6191_2_newer_timestamp_reopens() {
    let mut s = waiting(true);
    // With a sequence number that alone would not do.
    assert!(reopens(&mut s, seg().ts(2001, 0).seq(0)));
    s.finish();
}

#[test]
fn rfc6191_2_equal_timestamp_needs_a_higher_sequence_number() {
    let mut s = waiting(true);
    assert!(!reopens(&mut s, seg().ts(2000, 0).seq(1)));
    assert!(reopens(&mut s, seg().ts(2000, 0).seq(500)));
    s.finish();
}

#[test]
fn rfc6191_2_older_timestamp_is_dropped_silently() {
    let mut s = waiting(true);
    assert!(!reopens(&mut s, seg().ts(1999, 0).seq(500)));
    assert_eq!(s.state(), TcpState::TimeWait);
    s.finish();
}

#[test]
fn rfc6191_2_without_timestamps_the_sequence_number_decides() {
    for timestamps in [false, true] {
        let mut s = waiting(timestamps);
        assert!(!reopens(&mut s, seg().seq(1)));
        assert!(reopens(&mut s, seg().seq(100)));
        s.finish();
    }
}

#[test]
fn rfc6191_2_timestamps_that_the_old_connection_had_not_reopen() {
    let mut s = waiting(false);
    assert!(reopens(&mut s, seg().seq(0).ts(5, 0)));
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_a_new_incarnation_begins_behind_the_old_one() {
    let mut s = waiting(true);
    let old = SeqNum::new(s.iss) + 2;
    s.inject(seg().syn().no_ack().ts(3000, 0).seq(70_000));
    let answer = s.next();
    assert!(SeqNum::new(answer.seq).at_or_after(old + 65_537));
    // The old one waits until the new one is open: its SYN may be forged.
    assert_eq!((s.stack.time_waits(), s.stack.handshakes()), (1, 1));
    assert_eq!(s.state(), TcpState::TimeWait);
    s.iss = answer.seq;
    let echo = answer.options.timestamps.unwrap().0;
    s.inject(seg().seq(70_001).ack(1).ts(3001, echo));
    assert_eq!((s.stack.time_waits(), s.stack.handshakes()), (0, 0));
    assert_eq!(s.state(), TcpState::Closed);
    let old = s.flow.take().unwrap();
    s.stack.tcp_close(old);
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    assert_eq!(s.state(), TcpState::Established);
    s.finish();
}

#[test]
fn rfc9293_3_6_1_a_fin_again_is_acknowledged_with_timestamps() {
    let mut s = waiting(true);
    s.inject(seg().fin().seq(1).ack(2).ts(2005, 1));
    let ack = s.next();
    assert_eq!(ack.flags, ACK);
    assert_eq!(ack.seq.wrapping_sub(s.iss), 2);
    assert_eq!(ack.options.timestamps.map(|(_, echo)| echo), Some(2005));
    // Bare acknowledgements are not answered: both ends may wait.
    s.inject(seg().seq(2).ack(2).ts(2006, 1));
    s.expect_quiet();
    s.finish();
}

#[test]
fn it_takes_no_flow_and_unread_data_stays_readable() {
    let mut s = Script::plain();
    let flow = s.flow.unwrap();
    s.stack.tcp_shutdown(flow, Shutdown::Write).unwrap();
    s.run();
    s.inject(seg().fin().seq(1).ack(2).data(b"parting"));
    assert_eq!(s.state(), TcpState::TimeWait);
    assert_eq!(s.text(), "parting");
    assert!(matches!(s.stack.tcp_try_recv(flow), Ok(None)));
    s.stack.tcp_close(flow);
    s.flow = None;
    assert_eq!((s.stack.flows_in_use(), s.stack.time_waits()), (0, 1));
    s.advance(61_000);
    assert_eq!(s.stack.time_waits(), 0);
    s.skip();
    s.finish();
}

#[test]
fn the_oldest_gives_way_when_the_table_is_full() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    for port in 0..20 {
        s.peer_port(41_000 + port);
        s.inject(seg().syn().no_ack());
        s.iss = s.next().seq;
        s.inject(seg().seq(1).ack(1));
        let flow = s.stack.tcp_try_accept(s.listener.unwrap()).unwrap();
        s.stack.tcp_close(flow);
        s.run();
        s.inject(seg().fin().seq(1).ack(2));
        s.skip();
    }
    // There are as many records as flows: sixteen.
    assert_eq!((s.stack.flows_in_use(), s.stack.time_waits()), (0, 16));
    let recycled = s.stack.counters().get(Counter::TcpTimeWaitRecycled);
    assert_eq!(recycled, 4);
    s.inject(seg().fin().seq(1).ack(2));
    assert_eq!(s.next().flags, ACK, "the last is still there");
    s.finish();
}

#[test]
fn an_outgoing_connection_does_not_use_a_pair_of_ports_that_waits() {
    let mut s = Script::new();
    let local = "10.0.0.1:7000".parse().unwrap();
    let options = TcpOptions {
        local: Some(local),
        ..TcpOptions::DEFAULT
    };
    s.connect(options);
    s.inject(seg().syn().ack(1).mss(1000));
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    s.inject(seg().fin().seq(1).ack(2));
    s.skip();
    assert_eq!(s.stack.time_waits(), 1);
    let remote = "10.0.0.2:40000".parse().unwrap();
    let again = s.stack.tcp_connect(remote, options);
    assert_eq!(again, Err(crate::Misuse::AddressInUse));
    s.advance(61_000);
    s.flow = Some(s.stack.tcp_connect(remote, options).unwrap());
    s.run();
    s.skip();
    s.finish();
}
