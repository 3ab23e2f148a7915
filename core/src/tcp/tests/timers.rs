//! Keepalive, user timeout, and the cost of waiting.

use core::time::Duration;

use super::script::{Script, seg};
use crate::{ConnError, Error, TcpOptions, TcpState};

#[test]
fn rfc9293_3_8_4_keepalive_probes_and_gives_up() {
    let options = TcpOptions {
        keepalive: Some(Duration::from_secs(10)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.advance(9_000);
    s.expect_quiet();
    s.advance(1_500);
    let probe = s.next();
    assert_eq!(probe.seq, s.iss, "one before SND.NXT");
    assert!(probe.data.is_empty());
    // An answer restarts it.
    s.inject(seg().seq(1).ack(1));
    s.advance(9_000);
    s.expect_quiet();
    s.advance(30_000);
    assert_eq!(s.state(), TcpState::Closed);
    let lost = Error::Conn(ConnError::KeepaliveTimedOut);
    assert!(matches!(s.stack.tcp_try_recv(s.flow.unwrap()), Err(error) if error == lost));
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_8_4_keepalive_is_off_by_default() {
    let mut s = Script::plain();
    s.advance(100_000_000);
    s.expect_quiet();
    assert_eq!(s.state(), TcpState::Established);
    s.finish();
}

#[test]
fn rfc9293_3_8_3_user_timeout() {
    let options = TcpOptions {
        user_timeout: Some(Duration::from_secs(5)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.write(b"x");
    s.advance(4_000);
    assert_eq!(s.state(), TcpState::Established);
    s.advance(5_000);
    assert_eq!(s.state(), TcpState::Closed);
    s.skip();
    s.finish();
}

#[test]
fn an_idle_connection_has_no_timer() {
    let mut s = Script::plain();
    // What the handshake armed is looked at once, and never again.
    s.advance(5_000);
    assert_eq!(s.stack.timers.next_deadline().map(|_| ()), None);
    s.finish();
}

#[test]
fn rfc9293_3_8_6_1_answered_probes_keep_the_connection_open() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).win(0));
    s.write(b"abc");
    for _ in 0..200 {
        s.advance(10_000);
        if s.sent_any() {
            s.skip();
            s.inject(seg().seq(1).ack(1).win(0));
        }
    }
    assert_eq!(s.state(), TcpState::Established);
    s.finish();
}
