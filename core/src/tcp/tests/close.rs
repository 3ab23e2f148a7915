//! Closing: every way out of ESTABLISHED (RFC 9293, 3.6).

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, RST};
use crate::{ConnError, Counter, Error, Shutdown, TcpOptions, TcpState};

fn shut_write(s: &mut Script) {
    s.stack
        .tcp_shutdown(s.flow.unwrap(), Shutdown::Write)
        .unwrap();
    s.run();
}

#[test]
fn rfc9293_3_6_active_close() {
    let mut s = Script::plain();
    shut_write(&mut s);
    s.expect(seg().fin().seq(1).ack(1));
    assert_eq!(s.state(), TcpState::FinWait1);
    s.inject(seg().seq(1).ack(2));
    assert_eq!(s.state(), TcpState::FinWait2);
    // Half-closed: the peer may still send.
    s.inject(seg().seq(1).ack(2).data(b"late"));
    assert_eq!(s.text(), "late");
    s.skip();
    s.inject(seg().fin().seq(5).ack(2));
    s.expect(seg().seq(2).ack(6));
    assert_eq!(s.state(), TcpState::TimeWait);
    assert!(matches!(s.stack.tcp_try_recv(s.flow.unwrap()), Ok(None)));
    assert_eq!(s.stack.tcp_try_closed(s.flow.unwrap()), Ok(()));
    s.finish();
}

#[test]
fn rfc9293_3_6_passive_close() {
    let mut s = Script::plain();
    s.inject(seg().fin().seq(1).ack(1).data(b"bye"));
    s.expect(seg().seq(1).ack(5));
    assert_eq!(s.state(), TcpState::CloseWait);
    assert_eq!(s.text(), "bye");
    assert!(matches!(s.stack.tcp_try_recv(s.flow.unwrap()), Ok(None)));
    s.write(b"answer");
    s.expect(seg().seq(1).ack(5).data(b"answer"));
    shut_write(&mut s);
    s.expect(seg().fin().seq(7).ack(5));
    assert_eq!(s.state(), TcpState::LastAck);
    s.inject(seg().seq(5).ack(8));
    assert_eq!(s.state(), TcpState::Closed);
    s.finish();
}

#[test]
fn rfc9293_3_6_simultaneous_close() {
    let mut s = Script::plain();
    shut_write(&mut s);
    s.skip();
    s.inject(seg().fin().seq(1).ack(1));
    assert_eq!(s.state(), TcpState::Closing);
    s.expect(seg().seq(2).ack(2));
    s.inject(seg().seq(2).ack(2));
    assert_eq!(s.state(), TcpState::TimeWait);
    s.finish();
}

#[test]
fn fin_rides_on_the_last_data() {
    let mut s = Script::plain();
    s.stack.tcp_try_write(s.flow.unwrap(), b"all").unwrap();
    shut_write(&mut s);
    s.expect(seg().fin().seq(1).ack(1).data(b"all"));
    s.inject(seg().seq(1).ack(5));
    assert_eq!(s.state(), TcpState::FinWait2);
    s.finish();
}

#[test]
fn fin_is_retransmitted() {
    let mut s = Script::plain();
    shut_write(&mut s);
    s.skip();
    s.advance(210);
    s.expect(seg().fin().seq(1).ack(1));
    s.inject(seg().seq(1).ack(2));
    assert_eq!(s.state(), TcpState::FinWait2);
    s.finish();
}

#[test]
fn rfc9293_3_6_1_time_wait_answers_a_second_fin_and_ends() {
    let mut s = Script::plain();
    shut_write(&mut s);
    s.inject(seg().fin().seq(1).ack(2));
    s.skip();
    assert_eq!(s.state(), TcpState::TimeWait);
    s.advance(30_000);
    s.inject(seg().fin().seq(1).ack(2));
    s.expect(seg().seq(2).ack(2));
    s.advance(59_000);
    assert_eq!(s.state(), TcpState::TimeWait, "the second FIN restarted it");
    s.advance(2_000);
    assert_eq!(s.state(), TcpState::Closed);
    s.finish();
}

#[test]
fn rfc2525_2_17_closing_with_unread_data_resets() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"unread"));
    s.skip();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    let reset = s.next();
    assert_eq!(reset.flags & RST, RST);
    s.finish();
}

#[test]
fn rfc9293_3_6_1_data_after_close_is_answered_by_reset() {
    let mut s = Script::plain();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    s.skip();
    s.inject(seg().seq(1).ack(2).data(b"too late"));
    assert_eq!(s.next().flags & RST, RST);
    assert_eq!(s.stack.flows_in_use(), 0);
    s.finish();
}

#[test]
fn a_closed_handle_is_stale_and_the_rest_goes_on() {
    let mut s = Script::plain();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_try_write(flow, b"last words").unwrap();
    s.stack.tcp_close(flow);
    assert!(matches!(s.stack.tcp_try_recv(flow), Err(Error::Misuse(_))));
    s.run();
    s.expect(seg().fin().seq(1).ack(1).data(b"last words"));
    s.inject(seg().seq(1).ack(12));
    s.inject(seg().fin().seq(1).ack(12));
    s.expect(seg().seq(12).ack(2));
    s.finish();
}

#[test]
fn orphans_in_fin_wait_2_end() {
    let mut s = Script::plain();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    s.inject(seg().seq(1).ack(2));
    assert_eq!(s.stack.flows_in_use(), 1);
    s.advance(61_000);
    assert_eq!(s.stack.flows_in_use(), 0);
    s.skip();
    s.finish();
}

#[test]
fn abort_resets() {
    let mut s = Script::plain();
    s.stack.tcp_try_write(s.flow.unwrap(), b"x").unwrap();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_abort(flow);
    s.run();
    assert_eq!(s.next().flags, RST | ACK);
    assert_eq!(s.stack.flows_in_use(), 0);
    s.finish();
}

#[test]
fn reset_reaches_reader_and_writer() {
    let mut s = Script::plain();
    s.inject(seg().rst().seq(1).ack(1));
    let flow = s.flow.unwrap();
    let reset = Error::Conn(ConnError::Reset);
    assert!(matches!(s.stack.tcp_try_recv(flow), Err(error) if error == reset));
    assert_eq!(s.stack.tcp_try_write(flow, b"x"), Err(reset));
    s.finish();
}

#[test]
fn shutting_reading_down_takes_and_drops_data() {
    let mut s = Script::plain();
    s.stack
        .tcp_shutdown(s.flow.unwrap(), Shutdown::Read)
        .unwrap();
    s.inject(seg().seq(1).ack(1).data(&[1; 1460]).push());
    s.inject(seg().seq(1461).ack(1).data(&[1; 1460]));
    s.expect(seg().seq(1).ack(2921));
    assert!(matches!(s.stack.tcp_try_recv(s.flow.unwrap()), Ok(None)));
    s.finish();
}

#[test]
fn rfc6191_newer_syn_reopens_time_wait() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000));
    shut_write(&mut s);
    s.inject(seg().fin().seq(1).ack(2));
    s.skip();
    s.inject(seg().syn().no_ack().seq(100_000));
    let answer = s.next();
    assert_eq!(answer.flags, crate::wire::tcp::SYN | ACK);
    s.finish();
}

#[test]
fn orphans_with_a_closed_window_end() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).win(0));
    let flow = s.flow.take().unwrap();
    s.stack.tcp_try_write(flow, b"never read").unwrap();
    s.stack.tcp_close(flow);
    s.run();
    assert_eq!(s.stack.orphans(), 1);
    for _ in 0..200 {
        s.advance(1_000);
        if s.sent_any() {
            s.skip();
            if s.stack.orphans() > 0 {
                s.inject(seg().seq(1).ack(1).win(0));
            }
        }
    }
    assert_eq!((s.stack.orphans(), s.stack.flows_in_use()), (0, 0));
    s.finish();
}

#[test]
fn orphans_are_limited_to_half_of_the_flows() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    let mut resets = 0;
    for port in 0..12 {
        s.peer_port(41_000 + port);
        s.inject(seg().syn().no_ack());
        s.iss = s.next().seq;
        s.inject(seg().seq(1).ack(1));
        let flow = s.stack.tcp_try_accept(s.listener.unwrap()).unwrap();
        s.stack.tcp_try_write(flow, b"data").unwrap();
        s.stack.tcp_close(flow);
        s.run();
        resets += s
            .all_sent()
            .iter()
            .filter(|sent| sent.flags & RST != 0)
            .count();
    }
    assert_eq!((s.stack.orphans(), resets), (8, 4));
    let count = s.stack.counters().get(Counter::TcpOrphansReset);
    assert_eq!(count, 4);
    s.advance(600_000);
    assert_eq!(s.stack.orphans(), 0);
    s.skip();
    s.finish();
}

#[test]
fn rfc2525_2_17_half_closed_with_unread_data_resets_too() {
    let mut s = Script::plain();
    shut_write(&mut s);
    s.inject(seg().seq(1).ack(2).data(b"unread"));
    s.skip();
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    assert_eq!(s.next().flags & RST, RST);
    assert_eq!(s.stack.flows_in_use(), 0);
    s.finish();
}
