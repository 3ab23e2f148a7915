//! Opening: handshakes and what they negotiate.

use super::script::{PEER_ISS, Script, seg};
use crate::wire::tcp::{ACK, RST, SYN};
use crate::{ConnError, Error, Misuse, TcpOptions, TcpState};

#[test]
fn rfc9293_3_5_passive_open() {
    let mut s = Script::plain();
    assert_eq!(s.state(), TcpState::Established);
    s.inject(seg().seq(1).ack(1).data(b"hello").push());
    assert_eq!(s.text(), "hello");
    s.finish();
}

#[test]
fn rfc9293_3_5_active_open() {
    let mut s = Script::new();
    let syn = s.connect(TcpOptions::DEFAULT);
    assert_eq!(syn.options.mss, Some(1460));
    assert!(syn.options.sack_permitted && syn.options.timestamps.is_some());
    assert!(syn.options.wscale.is_some());
    assert_eq!(
        s.stack.tcp_try_connected(s.flow.unwrap()),
        Err(Error::WouldBlock)
    );
    s.inject(seg().syn().ack(1).mss(1460));
    s.expect(seg().seq(1).ack(1));
    assert_eq!(s.stack.tcp_try_connected(s.flow.unwrap()), Ok(()));
    assert_eq!(s.state(), TcpState::Established);
    s.finish();
}

#[test]
fn rfc9293_3_5_simultaneous_open() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().mss(1000));
    assert_eq!(s.state(), TcpState::SynReceived);
    s.expect(seg().syn().ack(1));
    s.inject(seg().syn().ack(1).mss(1000));
    assert_eq!(s.state(), TcpState::Established);
    s.skip();
    s.inject(seg().seq(1).ack(1).data(b"x"));
    assert_eq!(s.text(), "x");
    s.finish();
}

#[test]
fn rfc9293_3_10_7_3_reset_refuses_the_connection() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.inject(seg().rst().ack(1));
    let flow = s.flow.unwrap();
    assert_eq!(
        s.stack.tcp_try_connected(flow),
        Err(Error::Conn(ConnError::Refused))
    );
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_3_reset_that_acks_nothing_is_ignored() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.inject(seg().rst().ack(0));
    s.inject(seg().rst().no_ack());
    assert_eq!(s.state(), TcpState::SynSent);
    s.finish();
}

#[test]
fn rfc9293_3_10_7_3_wrong_ack_in_syn_sent_is_reset() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.inject(seg().syn().ack(7));
    let reset = s.next();
    assert_eq!(reset.flags, RST);
    assert_eq!(reset.seq.wrapping_sub(s.iss), 7);
    assert_eq!(s.state(), TcpState::SynSent);
    s.finish();
}

#[test]
fn rfc9293_3_10_7_1_closed_port_resets() {
    let mut s = Script::new();
    s.inject(seg().syn().no_ack());
    let reset = s.next();
    assert_eq!((reset.flags, reset.seq), (RST | ACK, 0));
    assert_eq!(reset.ack, PEER_ISS + 1);
    s.inject(seg().seq(5).ack(77).absolute_ack());
    let reset = s.next();
    assert_eq!((reset.flags, reset.seq), (RST, 77));
    s.inject(seg().rst());
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc9293_3_7_1_segment_size_without_the_option_is_536() {
    let mut s = Script::accepted(TcpOptions::DEFAULT.nodelay(), seg());
    s.write(&[1; 1000]);
    assert_eq!(s.next().data.len(), 536);
    assert_eq!(s.next().data.len(), 464);
    s.finish();
}

#[test]
fn rfc7323_2_scaled_windows_only_when_both_offer() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().mss(1000));
    let answer = s.next();
    assert_eq!(answer.flags, SYN | ACK);
    assert_eq!(answer.options.wscale, None);
    assert!(!answer.options.sack_permitted);
    assert_eq!(answer.options.timestamps, None);
    s.finish();

    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().mss(1000).wscale(7).sack_ok().ts(5, 0));
    let answer = s.next();
    assert!(answer.options.wscale.is_some_and(|shift| shift > 0));
    assert!(answer.options.sack_permitted);
    assert_eq!(answer.options.timestamps.map(|(_, echo)| echo), Some(5));
    s.finish();
}

#[test]
fn rfc9293_3_8_1_syn_is_retransmitted_and_fails_at_last() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    let mut again = 0;
    for _ in 0..200 {
        s.advance(1000);
        again += s.all_sent().iter().filter(|sent| sent.flags == SYN).count();
    }
    assert_eq!(again, 5);
    let outcome = s.stack.tcp_try_connected(s.flow.unwrap());
    assert_eq!(outcome, Err(Error::Conn(ConnError::TimedOut)));
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_syn_received_retransmits_its_syn_ack() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack());
    let first = s.next();
    s.advance(1100);
    let second = s.next();
    assert_eq!((first.flags, first.seq), (second.flags, second.seq));
    // A duplicate SYN is answered too.
    s.inject(seg().syn().no_ack());
    assert_eq!(s.next().flags, SYN | ACK);
    s.finish();
}

#[test]
fn backlog_bounds_what_waits() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    let listener = s.listener.unwrap();
    let mut opened = 0;
    for port in 0..10 {
        s.peer_port(50_000 + port);
        s.inject(seg().syn().no_ack());
        opened += u32::from(s.sent_any());
        s.skip();
    }
    assert_eq!(opened, 4, "the backlog is four");
    assert_eq!(s.stack.tcp_try_accept(listener), Err(Error::WouldBlock));
    s.finish();
}

#[test]
fn misuse_is_named() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    let again = s
        .stack
        .tcp_listen("0.0.0.0:80".parse().unwrap(), Default::default());
    assert_eq!(again, Err(Misuse::AddressInUse));
    let foreign = s
        .stack
        .tcp_listen("10.9.9.9:81".parse().unwrap(), Default::default());
    assert_eq!(foreign, Err(Misuse::AddressNotLocal));
    let zero = s
        .stack
        .tcp_connect("10.0.0.2:0".parse().unwrap(), TcpOptions::DEFAULT);
    assert_eq!(zero, Err(Misuse::BadDestination));
    let listener = s.listener.take().unwrap();
    s.stack.tcp_close_listener(listener);
    assert_eq!(
        s.stack.tcp_try_accept(listener),
        Err(Error::Misuse(Misuse::StaleHandle))
    );
    s.finish();
}

#[test]
fn closing_a_listener_ends_its_handshakes() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack());
    s.iss = s.next().seq;
    let listener = s.listener.take().unwrap();
    s.stack.tcp_close_listener(listener);
    s.run();
    assert_eq!(s.next().flags & RST, RST);
    assert_eq!(s.stack.flows_in_use(), 0);
    // Another listener in the same slot knows nothing of it.
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().seq(1).ack(1));
    let accepted = s.stack.tcp_try_accept(s.listener.unwrap());
    assert_eq!(accepted, Err(Error::WouldBlock));
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_2_a_listener_drops_what_has_neither_syn_nor_ack() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().fin().no_ack());
    s.inject(seg().no_ack().data(b"x"));
    s.inject(seg().syn().fin().no_ack());
    s.expect_quiet();
    s.inject(seg().fin().ack(7));
    assert_eq!(s.next().flags, RST);
    s.finish();
}
