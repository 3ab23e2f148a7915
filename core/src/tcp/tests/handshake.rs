//! What a SYN offers by the application's wish, peeking, and what a connection
//! tells of itself.

use core::time::Duration;

use super::script::{Script, seg};
use crate::{Error, Handshake, LossState, Shutdown, TcpOptions};

fn with(handshake: Handshake) -> TcpOptions {
    TcpOptions {
        handshake,
        ..TcpOptions::DEFAULT
    }
}

#[test]
fn rfc7323_2_2_the_window_scale_can_be_forced() {
    let wide = Handshake {
        window_scale: Some(8),
        ..Handshake::DEFAULT
    };
    let mut s = Script::new();
    assert_eq!(s.connect(with(wide)).options.wscale, Some(8));
    s.finish();

    let narrow = Handshake {
        window_scale: Some(0),
        ..Handshake::DEFAULT
    };
    let mut s = Script::accepted(with(narrow), seg().mss(1000).wscale(7));
    let flow = s.flow.unwrap();
    let options = s.stack.tcp_options(flow).unwrap();
    assert_eq!(options.handshake.window_scale, Some(0));
    assert_eq!(options.recv_buffer, 65_535, "no more than can be said");
    s.finish();
}

#[test]
fn rfc7323_2_2_a_later_wish_does_not_exceed_the_scale() {
    let mut s = Script::plain();
    let flow = s.flow.unwrap();
    let options = TcpOptions::DEFAULT.nodelay();
    s.stack.tcp_set_options(flow, options).unwrap();
    assert_eq!(s.stack.tcp_options(flow).unwrap().recv_buffer, 65_535);
    // Reading one segment opens the window by less than what is worth an ACK.
    s.inject(seg().seq(1).ack(1).data(&[1; 1000]).push());
    assert_eq!(s.read().len(), 1000);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc5681_4_2_every_second_segment_of_the_peers_size() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(&[1; 1000]).push());
    s.expect_quiet();
    s.inject(seg().seq(1001).ack(1).data(&[1; 1000]).push());
    s.expect(seg().seq(1).ack(2001));
    // A coalesced packet says nothing of its segments.
    s.inject(seg().seq(2001).ack(1).data(&[1; 1800]).push());
    s.expect_quiet();
    s.inject(seg().seq(3801).ack(1).data(&[1; 200]).push());
    s.expect(seg().seq(1).ack(4001));
    s.read();
    s.skip();
    s.finish();
}

#[test]
fn rfc2018_2_and_rfc7323_3_options_not_offered_are_not_accepted() {
    let bare = Handshake {
        sack: false,
        timestamps: false,
        ..Handshake::DEFAULT
    };
    let mut s = Script::new();
    let syn = s.connect(with(bare));
    assert!(!syn.options.sack_permitted && syn.options.timestamps.is_none());
    s.finish();

    let mut s = Script::new();
    s.listen(with(bare));
    s.inject(seg().syn().no_ack().mss(1000).sack_ok().ts(1, 0).wscale(2));
    let answer = s.next();
    assert!(!answer.options.sack_permitted && answer.options.timestamps.is_none());
    assert!(answer.options.wscale.is_some());
    s.finish();
}

#[test]
fn rfc9293_3_7_1_the_segment_size_can_be_bounded() {
    let small = Handshake {
        max_segment: Some(500),
        timestamps: false,
        ..Handshake::DEFAULT
    };
    let mut s = Script::new();
    assert_eq!(s.connect(with(small)).options.mss, Some(500));
    s.inject(seg().syn().ack(1).mss(1460));
    s.skip();
    s.write(&[1; 700]);
    assert_eq!(s.next().data.len(), 500);
    s.finish();
}

#[test]
fn rfc6928_2_the_initial_window_can_be_chosen() {
    let slow = Handshake {
        initial_window: Some(2),
        ..Handshake::DEFAULT
    };
    let mut s = Script::accepted(with(slow), seg().mss(1000));
    s.write(&[1; 5000]);
    assert_eq!(s.all_sent().len(), 2);
    s.finish();
}

#[test]
fn peeking_leaves_the_data() {
    let mut s = Script::plain();
    let flow = s.flow.unwrap();
    let mut out = [0; 1500];
    assert_eq!(s.stack.tcp_try_peek(flow, &mut out), Err(Error::WouldBlock));
    s.inject(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1001).ack(1).data(&[2; 1000]));
    s.skip();
    assert_eq!(s.stack.tcp_try_peek(flow, &mut out), Ok(1500));
    assert_eq!((out[999], out[1000]), (1, 2));
    assert_eq!(s.stack.tcp_info(flow).unwrap().unread, 2000);
    assert_eq!(s.read().len(), 2000);
    s.inject(seg().seq(2001).ack(1).fin());
    s.skip();
    assert_eq!(s.stack.tcp_try_peek(flow, &mut out), Ok(0));
    s.finish();
}

#[test]
fn a_connection_tells_of_itself() {
    let mut s = Script::plain();
    let flow = s.flow.unwrap();
    s.write(&[0; 12_000]);
    let info = s.stack.tcp_info(flow).unwrap();
    assert_eq!(
        (info.cwnd, info.in_flight, info.unsent),
        (10_000, 10_000, 2000)
    );
    assert_eq!((info.loss, info.ssthresh), (LossState::Open, None));
    assert_eq!(info.window_scale, None);
    assert_eq!(s.stack.tcp_send_room(flow), Ok(64 * 1024 - 12_000));
    s.skip();
    s.advance(100);
    s.inject(seg().seq(1).ack(1001));
    let info = s.stack.tcp_info(flow).unwrap();
    assert!(info.srtt > Duration::ZERO && info.srtt <= Duration::from_millis(100));
    s.stack.tcp_shutdown(flow, Shutdown::Write).unwrap();
    assert!(s.stack.tcp_send_room(flow).is_err());
    s.finish();
}
