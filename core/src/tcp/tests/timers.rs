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

#[test]
fn rfc5482_3_1_user_timeout_is_kept_to_the_point() {
    let options = TcpOptions {
        user_timeout: Some(Duration::from_millis(2_500)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.write(b"x");
    s.advance(2_450);
    assert_eq!(s.state(), TcpState::Established);
    s.advance(100);
    assert_eq!(s.state(), TcpState::Closed);
    s.skip();
    s.finish();
}

#[test]
fn rfc5482_user_timeout_covers_a_closed_window() {
    let options = TcpOptions {
        user_timeout: Some(Duration::from_secs(5)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.inject(seg().seq(1).ack(1).win(0));
    s.write(b"x");
    for _ in 0..60 {
        s.advance(100);
        if s.sent_any() {
            s.skip();
            if s.state() == TcpState::Established {
                s.inject(seg().seq(1).ack(1).win(0));
            }
        }
    }
    assert_eq!(s.state(), TcpState::Closed);
    s.skip();
    s.finish();
}

#[test]
fn rfc5482_user_timeout_covers_connecting() {
    let mut s = Script::new();
    s.connect(TcpOptions {
        user_timeout: Some(Duration::from_secs(4)),
        ..TcpOptions::DEFAULT
    });
    s.advance(3_900);
    assert_eq!(s.state(), TcpState::SynSent);
    s.advance(200);
    let outcome = s.stack.tcp_try_connected(s.flow.unwrap());
    assert_eq!(outcome, Err(Error::Conn(ConnError::TimedOut)));
    s.skip();
    s.finish();
}

#[test]
fn user_timeout_takes_the_place_of_the_number_of_keepalive_probes() {
    let options = TcpOptions {
        keepalive: Some(Duration::from_secs(10)),
        user_timeout: Some(Duration::from_secs(60)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.advance(58_000);
    assert_eq!(s.state(), TcpState::Established);
    assert!(s.all_sent().len() > 10);
    s.advance(3_000);
    assert_eq!(s.state(), TcpState::Closed);
    s.skip();
    s.finish();
}

#[test]
fn keepalive_counts_no_probe_while_data_is_under_way() {
    let options = TcpOptions {
        keepalive: Some(Duration::from_secs(1)),
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.write(b"x");
    s.advance(20_000);
    assert_eq!(s.state(), TcpState::Established, "retransmissions decide");
    s.skip();
    s.inject(seg().seq(1).ack(2));
    s.advance(1_050);
    assert_eq!(
        s.stack.counters().get(crate::Counter::TcpKeepaliveProbes),
        1
    );
    s.skip();
    s.finish();
}
