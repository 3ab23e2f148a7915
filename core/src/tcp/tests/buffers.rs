//! Buffers and windows that follow what a connection does.

use super::script::{PEER_ISS, Script, seg};
use crate::TcpOptions;

/// An open connection with timestamps off, window scale 0 and a round trip of
/// 20 ms, whose peer sends segments of 1000 bytes.
fn distant(options: TcpOptions) -> Script {
    let mut s = Script::new();
    s.listen(options);
    s.inject(seg().syn().no_ack().mss(1000).wscale(0).sack_ok());
    s.iss = s.next().seq;
    s.advance(20);
    s.inject(seg().seq(1).ack(1));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    s
}

/// The window that is promised, bytes.
fn window(s: &mut Script) -> u32 {
    s.stack.tcp_info(s.flow.unwrap()).unwrap().recv_window
}

/// The peer fills the window it has within `millis`, and the application reads
/// all of it, or nothing. Returns the next sequence number.
fn fill(s: &mut Script, seq: u32, millis: u64, read: bool) -> u32 {
    let segments = window(s) / 1000;
    let mut at = seq;
    for index in 0..segments {
        s.inject(seg().seq(at).ack(1).data(&[1; 1000]));
        at += 1000;
        if read {
            s.read();
        }
        if index % 8 == 7 {
            s.advance(millis * 8 / u64::from(segments));
        }
    }
    s.skip();
    at
}

#[test]
fn the_window_grows_while_it_is_filled_within_a_round_trip() {
    let mut s = distant(TcpOptions::DEFAULT);
    let first = window(&mut s);
    assert!((60_000..=66_000).contains(&first), "{first}");
    let mut seq = 1;
    for _ in 0..3 {
        seq = fill(&mut s, seq, 20, true);
    }
    let grown = window(&mut s);
    // A quarter of the pool's 256 frames of 2048 bytes, in whole segments.
    assert!((112_000..=131_072).contains(&grown), "{grown}");
    s.finish();
}

#[test]
fn the_window_grows_no_further_than_the_application_said() {
    let options = TcpOptions {
        recv_buffer: 80_000,
        ..TcpOptions::DEFAULT
    };
    let mut s = distant(options);
    let mut seq = 1;
    for _ in 0..3 {
        seq = fill(&mut s, seq, 20, true);
        assert!(window(&mut s) <= 80_000);
    }
    assert!(window(&mut s) >= 77_000);
    assert_eq!(
        s.stack.tcp_options(s.flow.unwrap()).unwrap().recv_buffer,
        80_000
    );
    s.finish();
}

#[test]
fn a_slow_peer_needs_no_larger_window() {
    let mut s = distant(TcpOptions::DEFAULT);
    let first = window(&mut s);
    let mut seq = 1;
    for _ in 0..3 {
        seq = fill(&mut s, seq, 200, true);
    }
    assert!(window(&mut s) <= first + 1500);
    s.finish();
}

#[test]
fn an_application_that_does_not_read_gets_no_larger_window() {
    let mut s = distant(TcpOptions::DEFAULT);
    let seq = fill(&mut s, 1, 10, false);
    assert!(seq < 66_000);
    assert!(s.read().len() <= 66_000);
    let after = window(&mut s);
    assert!(after <= 67_000, "{after}");
    s.finish();
}

#[test]
fn the_window_ends_with_a_whole_segment() {
    for (mss, shift) in [(1460, 7), (1448, 7), (1448, 3), (1000, 5)] {
        let options = TcpOptions {
            handshake: crate::Handshake {
                window_scale: Some(shift),
                ..crate::Handshake::DEFAULT
            },
            ..TcpOptions::DEFAULT
        };
        let mut s = Script::new();
        s.listen(options);
        s.inject(seg().syn().no_ack().mss(1460).wscale(0));
        s.iss = s.next().seq;
        s.inject(seg().seq(1).ack(1));
        s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
        let mut seq = 1;
        for _ in 0..30 {
            // The application reads in the turn in which the data comes.
            let bytes = s.bytes_of(&seg().seq(seq).ack(1).data(&std::vec![1; mss]));
            let mut frame = s.stack.pool().alloc().unwrap();
            frame.extend_from_slice(&bytes);
            let mut burst = pollwire_rings::RxBurst::new();
            burst
                .push(frame, pollwire_rings::RxMeta::default())
                .unwrap();
            s.stack.input(s.now, &mut burst);
            s.read();
            s.advance(50);
            seq += mss as u32;
        }
        let last = s.all_sent().pop().unwrap();
        assert_eq!(last.ack, PEER_ISS + seq);
        let window = u32::from(last.window) << shift;
        assert_eq!(window % mss as u32, 0, "{window} for {mss}, shift {shift}");
        s.finish();
    }
}

#[test]
fn the_send_buffer_holds_two_windows() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).wscale(7));
    s.inject(seg().seq(1).ack(1).data(b"go").win(2000));
    s.read();
    let flow = s.flow.unwrap();
    let room = |s: &mut Script| {
        let info = s.stack.tcp_info(flow).unwrap();
        s.stack.tcp_send_room(flow).unwrap() as u32 + info.in_flight + info.unsent
    };
    assert_eq!(room(&mut s), 65_536);
    let mut acked = 1;
    for _ in 0..8 {
        while s.stack.tcp_try_write(flow, &[1; 8000]).is_ok() {}
        s.run();
        s.advance(10);
        acked += s
            .all_sent()
            .iter()
            .map(|s| s.data.len() as u32)
            .sum::<u32>();
        s.inject(seg().seq(3).ack(acked).win(2000));
    }
    let info = s.stack.tcp_info(flow).unwrap();
    assert!(info.cwnd >= 50_000);
    let free = s.stack.pool().available() as u32 * 2048;
    let room = room(&mut s);
    assert!(room > 90_000 && room <= 131_072, "{room}, {free} free");
    s.finish();
}
