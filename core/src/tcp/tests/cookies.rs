//! SYN cookies: RFC 4987, 3.6.

use std::vec::Vec;

use super::script::{Script, Sent, seg};
use crate::wire::tcp::{ACK, ECE, RST, SYN};
use crate::{Counter, DropReason, Error, ListenOptions, SynCookies, TcpState};

/// A listener that keeps no handshake at all.
fn baking() -> Script {
    let mut s = Script::new();
    s.listen_with(ListenOptions {
        backlog: 4,
        syn_cookies: SynCookies::Always,
        ..ListenOptions::DEFAULT
    });
    s
}

/// The answer to a SYN.
fn answer(s: &mut Script, syn: super::script::Seg) -> Sent {
    s.inject(syn.syn().no_ack());
    let answer = s.next();
    assert_eq!(answer.flags & !ECE, SYN | ACK);
    s.iss = answer.seq;
    answer
}

fn accept(s: &mut Script) {
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
}

#[test]
fn rfc4987_3_6_a_handshake_without_memory() {
    let mut s = baking();
    let syn_ack = answer(&mut s, seg().mss(1000));
    assert_eq!(syn_ack.options.mss, Some(1460));
    assert_eq!(syn_ack.options.wscale, None);
    assert!(!syn_ack.options.sack_permitted);
    assert_eq!((s.stack.handshakes(), s.stack.flows_in_use()), (0, 0));
    s.inject(seg().seq(1).ack(1).data(b"request"));
    accept(&mut s);
    assert_eq!(s.state(), TcpState::Established);
    assert_eq!(s.text(), "request");
    s.skip();
    // The largest of the eight sizes that is no more than 1000.
    s.write(&[1; 600]);
    assert_eq!(s.next().data.len(), 536);
    assert_eq!(s.stack.counters().get(Counter::TcpCookiesSent), 1);
    assert_eq!(s.stack.counters().get(Counter::TcpCookiesTaken), 1);
    s.finish();
}

#[test]
fn rfc4987_3_6_options_come_back_with_the_timestamp() {
    let mut s = baking();
    let syn = seg().mss(1460).wscale(9).sack_ok().ts(500, 0);
    let syn_ack = answer(&mut s, syn.ece().cwr());
    assert_eq!(syn_ack.flags, SYN | ACK | ECE);
    assert!(syn_ack.options.sack_permitted && syn_ack.options.wscale.is_some());
    let (value, echo) = syn_ack.options.timestamps.unwrap();
    assert_eq!(echo, 500);
    s.inject(seg().seq(1).ack(1).win(100).ts(510, value));
    accept(&mut s);
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(info.window_scale.map(|(theirs, _)| theirs), Some(9));
    assert!(info.sack && info.timestamps && info.ecn);
    assert_eq!(info.send_window, 100 << 9);
    assert_eq!(info.send_mss, 1460 - 12);
    // Later timestamps go on from there, none older.
    s.write(b"x");
    let (later, echo) = s.next().options.timestamps.unwrap();
    assert!(later.wrapping_sub(value) < 1000);
    assert_eq!(echo, 510);
    s.finish();
}

#[test]
fn only_what_was_offered_is_promised() {
    let mut s = baking();
    let syn_ack = answer(&mut s, seg().mss(1460).ts(500, 0));
    assert!(!syn_ack.options.sack_permitted);
    assert_eq!(syn_ack.options.wscale, None);
    let (value, _) = syn_ack.options.timestamps.unwrap();
    s.inject(seg().seq(1).ack(1).ts(501, value));
    accept(&mut s);
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(
        (info.sack, info.ecn, info.window_scale),
        (false, false, None)
    );
    s.finish();
}

#[test]
fn a_cookie_is_good_for_two_minutes_at_the_most() {
    let mut s = baking();
    answer(&mut s, seg().mss(1460));
    s.advance(60_000);
    s.inject(seg().seq(1).ack(1));
    accept(&mut s);
    let flow = s.flow.take().unwrap();
    s.stack.tcp_abort(flow);
    s.run();
    s.skip();
    answer(&mut s, seg().mss(1460));
    let old = s.iss;
    s.advance(100_000);
    // Another one, so that cookies are looked at still.
    answer(&mut s, seg().mss(1460));
    s.advance(40_000);
    s.iss = old;
    s.inject(seg().seq(1).ack(1));
    assert_eq!(s.next().flags, RST);
    assert_eq!(s.stack.counters().dropped(DropReason::TcpBadCookie), 1);
    s.finish();
}

#[test]
fn without_cookies_sent_none_is_believed() {
    let mut s = Script::new();
    s.listen_with(ListenOptions::DEFAULT);
    s.inject(seg().seq(1).ack(12_345).absolute_ack());
    let reset = s.next();
    assert_eq!((reset.flags, reset.seq), (RST, 12_345));
    let listener = s.listener.unwrap();
    let stats = s.stack.tcp_listener_stats(listener).unwrap();
    assert_eq!(stats.cookies_failed, 0);
    assert_eq!(s.stack.tcp_try_accept(listener), Err(Error::WouldBlock));
    s.finish();
}

#[test]
fn a_full_accept_queue_takes_no_cookie() {
    let mut s = baking();
    let mut first = Vec::new();
    for port in 0..5 {
        s.peer_port(41_000 + port);
        answer(&mut s, seg().mss(1460));
        first.push(s.iss);
    }
    for (port, iss) in (0..5).zip(first) {
        s.peer_port(41_000 + port);
        s.iss = iss;
        s.inject(seg().seq(1).ack(1));
    }
    let stats = s.stack.tcp_listener_stats(s.listener.unwrap()).unwrap();
    assert_eq!((stats.waiting, stats.accept_overflows), (4, 1));
    assert_eq!((stats.syns, stats.cookies_sent), (5, 5));
    assert_eq!(s.stack.flows_in_use(), 4);
    s.expect_quiet();
    // The peer sends again, and finds room then.
    accept(&mut s);
    s.inject(seg().seq(1).ack(1).data(b"again"));
    let stats = s.stack.tcp_listener_stats(s.listener.unwrap()).unwrap();
    assert_eq!(
        (stats.waiting, stats.cookies_taken, stats.opened),
        (4, 5, 5)
    );
    s.skip();
    s.finish();
}

#[test]
fn rfc4987_a_flood_does_not_keep_anybody_out() {
    let mut s = Script::new();
    s.listen_with(ListenOptions {
        backlog: 4,
        syn_queue: 8,
        ..ListenOptions::DEFAULT
    });
    // Ten thousand forged SYNs a second, for three seconds.
    for forged in 0..30_000_u32 {
        s.peer_port(1024 + (forged % 30_000) as u16);
        s.inject(seg().syn().no_ack().mss(1460).seq(forged));
        s.skip();
        if forged % 10 == 0 {
            s.advance(1);
            s.skip();
        }
    }
    s.peer_port(60_001);
    answer(&mut s, seg().mss(1000));
    s.inject(seg().seq(1).ack(1).data(b"hello"));
    accept(&mut s);
    assert_eq!(s.text(), "hello");
    s.skip();
    s.write(b"welcome");
    s.expect(seg().seq(1).ack(6).data(b"welcome"));
    let stats = s.stack.tcp_listener_stats(s.listener.unwrap()).unwrap();
    assert_eq!((stats.half_open, stats.syns_dropped), (8, 0));
    assert!(stats.cookies_sent > 29_000, "{stats:?}");
    assert_eq!((s.stack.flows_in_use(), stats.cookies_taken), (1, 1));
    s.finish();
}

#[test]
fn rfc6191_a_new_incarnation_gets_no_cookie() {
    let mut s = Script::new();
    s.listen_with(ListenOptions {
        syn_queue: 1,
        ..ListenOptions::DEFAULT
    });
    answer(&mut s, seg().mss(1000));
    s.inject(seg().seq(1).ack(1));
    accept(&mut s);
    let flow = s.flow.take().unwrap();
    s.stack.tcp_close(flow);
    s.run();
    s.inject(seg().fin().seq(1).ack(2));
    s.skip();
    assert_eq!(s.stack.time_waits(), 1);
    // Somebody else fills the queue.
    s.peer_port(50_000);
    s.inject(seg().syn().no_ack());
    s.peer_port(40_000);
    s.skip();
    s.inject(seg().syn().no_ack().seq(9_000));
    s.expect_quiet();
    let reason = DropReason::TcpSynQueueFull;
    assert_eq!(s.stack.counters().dropped(reason), 1);
    s.finish();
}
