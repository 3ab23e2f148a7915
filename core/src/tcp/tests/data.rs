//! Data: segmentation, order, windows, acknowledgements, Nagle, silly windows.

use alloc::vec::Vec;

use super::script::{PEER_ISS, Script, seg};
use crate::wire::tcp::ACK;
use crate::{Counter, Error, TcpOptions, TcpState};

#[test]
fn rfc9293_3_8_6_3_every_second_full_segment_is_acknowledged() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(&[0; 10]).push());
    s.expect_quiet();
    s.advance(39);
    s.expect_quiet();
    s.advance(2);
    s.expect(seg().seq(1).ack(11));
    s.inject(seg().seq(11).ack(1).data(&[0; 1460]).push());
    s.expect_quiet();
    s.inject(seg().seq(1471).ack(1).data(&[0; 1460]).push());
    s.expect(seg().seq(1).ack(2931));
    s.finish();
}

#[test]
fn acknowledgements_ride_on_data() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"ping").push());
    s.expect_quiet();
    s.write(b"pong");
    s.expect(seg().seq(1).ack(5).data(b"pong"));
    s.advance(100);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc5681_4_2_out_of_order_is_acknowledged_at_once() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok());
    s.inject(seg().seq(11).ack(1).data(b"BBBBB"));
    s.expect(seg().seq(1).ack(1).sack(&[(11, 16)]));
    s.inject(seg().seq(21).ack(1).data(b"DDDDD"));
    s.expect(seg().seq(1).ack(1).sack(&[(21, 26), (11, 16)]));
    s.inject(seg().seq(16).ack(1).data(b"CCCCC"));
    s.expect(seg().seq(1).ack(1).sack(&[(11, 26)]));
    s.inject(seg().seq(1).ack(1).data(b"AAAAAaaaaa"));
    s.expect(seg().seq(1).ack(26).sack(&[]));
    assert_eq!(s.text(), "AAAAAaaaaaBBBBBCCCCCDDDDD");
    s.finish();
}

#[test]
fn overlapping_segments_give_each_byte_once() {
    let mut s = Script::plain();
    s.inject(seg().seq(4).ack(1).data(b"3456"));
    s.inject(seg().seq(2).ack(1).data(b"1234567"));
    s.inject(seg().seq(6).ack(1).data(b"56789"));
    s.inject(seg().seq(1).ack(1).data(b"012"));
    s.skip();
    assert_eq!(s.text(), "0123456789");
    s.inject(seg().seq(5).ack(1).data(b"456789ab"));
    s.skip();
    assert_eq!(s.text(), "ab");
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_data_beyond_the_window_is_cut() {
    let options = TcpOptions {
        recv_buffer: 2048,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    s.inject(seg().seq(1).ack(1).data(&[7; 1400]));
    s.inject(seg().seq(1401).ack(1).data(&[8; 1400]));
    s.skip();
    assert_eq!(s.read().len(), 2048);
    s.finish();
}

#[test]
fn rfc9293_3_8_6_window_is_never_taken_back() {
    let options = TcpOptions {
        recv_buffer: 8192,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    let mut edge = 0u32;
    let mut seq = 1;
    for _ in 0..40 {
        let room = edge.saturating_sub(PEER_ISS + seq).clamp(300, 700);
        s.inject(seg().seq(seq).ack(1).data(&std::vec![1; room as usize]));
        s.advance(50);
        for sent in s.all_sent() {
            let right = sent.ack + u32::from(sent.window);
            assert!(right >= edge, "the right edge moved back");
            edge = right;
            seq = sent.ack - PEER_ISS;
        }
    }
    s.read();
    s.finish();
}

#[test]
fn reading_reopens_a_closed_window() {
    let options = TcpOptions {
        recv_buffer: 4096,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    let mut seq = 1;
    loop {
        s.inject(seg().seq(seq).ack(1).data(&[1; 1000]));
        s.advance(50);
        let last = s.all_sent().pop().unwrap();
        seq = last.ack - PEER_ISS;
        if last.window == 0 {
            break;
        }
    }
    s.expect_quiet();
    assert!(s.read().len() >= 4096);
    let update = s.next();
    assert!(update.window >= 2048, "window {}", update.window);
    s.finish();
}

#[test]
fn rfc9293_3_7_4_nagle_holds_a_small_segment_back() {
    let mut s = Script::plain();
    s.write(b"a");
    s.expect(seg().seq(1).ack(1).data(b"a"));
    s.write(b"b");
    s.write(b"c");
    s.expect_quiet();
    s.inject(seg().seq(1).ack(2));
    s.expect(seg().seq(2).ack(1).data(b"bc"));
    s.finish();
}

#[test]
fn rfc9293_3_7_4_nagle_can_be_turned_off() {
    let mut s = Script::accepted(TcpOptions::DEFAULT.nodelay(), seg().mss(1000));
    s.write(b"a");
    s.write(b"b");
    s.expect(seg().seq(1).ack(1).data(b"a"));
    s.expect(seg().seq(2).ack(1).data(b"b"));
    s.finish();
}

#[test]
fn rfc9293_3_8_6_2_1_sender_waits_for_a_worthwhile_window() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).win(1000));
    s.write(&[1; 3000]);
    assert_eq!(s.next().data.len(), 1000);
    s.expect_quiet();
    // A window of 10 of 65535 seen is not worth a segment.
    s.inject(seg().seq(1).ack(1001).win(10));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(1001).win(1000));
    assert_eq!(s.next().data.len(), 1000);
    s.finish();
}

#[test]
fn rfc9293_3_8_6_1_closed_window_is_probed() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).win(0));
    s.write(b"abc");
    s.expect_quiet();
    s.advance(210);
    s.expect(seg().seq(1).ack(1).data(b"a"));
    s.inject(seg().seq(1).ack(1).win(0));
    s.expect_quiet();
    s.advance(410);
    s.expect(seg().seq(1).ack(1).data(b"a"));
    // The window opens: the rest goes out at once.
    s.inject(seg().seq(1).ack(1).win(1000));
    s.expect(seg().seq(1).ack(1).data(b"a"));
    s.inject(seg().seq(1).ack(2).win(1000));
    s.expect(seg().seq(2).ack(1).data(b"bc"));
    s.inject(seg().seq(1).ack(4).win(1000));
    assert_eq!(s.stack.tcp_try_flush(s.flow.unwrap()), Ok(()));
    s.finish();
}

#[test]
fn rfc6928_initial_window_is_ten_segments() {
    let mut s = Script::plain();
    s.write(&[1; 20_000]);
    assert_eq!(s.all_sent().len(), 10);
    s.finish();
}

#[test]
fn send_buffer_is_bounded() {
    let options = TcpOptions {
        send_buffer: 4000,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000));
    assert_eq!(s.write(&[1; 10_000]), 4000);
    let more = s.stack.tcp_try_write(s.flow.unwrap(), b"x");
    assert_eq!(more, Err(Error::WouldBlock));
    s.skip();
    s.inject(seg().seq(1).ack(4001));
    assert_eq!(s.write(&[1; 10_000]), 4000);
    s.finish();
}

#[test]
fn echo_of_a_frame_copies_nothing_and_stays_in_its_frame() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(&[9; 900]));
    let flow = s.flow.unwrap();
    let frame = s.stack.tcp_try_recv(flow).unwrap().unwrap();
    let at = frame.as_ptr();
    assert!(frame.is_unique());
    s.stack.tcp_try_send(flow, frame).unwrap();
    let mut tx = pollwire_rings::TxBurst::new();
    s.stack.output(s.now, &mut tx);
    let packet = tx.get(0).unwrap();
    assert_eq!(packet.pieces.len(), 1, "header and payload in one frame");
    assert_eq!(
        packet.pieces[0][54..].as_ptr(),
        at,
        "the very frame that came"
    );
    drop(tx);
    assert_eq!(s.stack.counters().get(Counter::CopiedBytes), 0);
    s.finish();
}

/// Segments go out of a large frame from where they lie, in runs and again.
#[test]
fn a_large_frame_is_cut_into_segments_where_it_lies() {
    for options in [seg().mss(1000), seg().mss(1000).ts(7, 0)] {
        let mut s = Script::accepted(TcpOptions::DEFAULT, options);
        let flow = s.flow.unwrap();
        let mss = usize::from(s.stack.tcp_mss(flow).unwrap());
        let data: Vec<u8> = (0..mss * 7 + 300).map(|at| (at % 251) as u8).collect();
        let mut frame = s.stack.alloc_large().unwrap();
        frame.extend_from_slice(&data);
        let from = frame.as_ptr_range();
        s.stack.tcp_try_send(flow, frame.freeze()).unwrap();
        let mut tx = pollwire_rings::TxBurst::new();
        s.stack.output(s.now, &mut tx);
        assert_eq!(tx.packets(), 7, "Nagle's algorithm holds the last");
        for packet in tx.iter() {
            let [head, payload] = packet.pieces else {
                panic!("{} pieces", packet.pieces.len());
            };
            assert!(from.contains(&payload.as_ptr()), "where it lies");
            s.sent_in_pieces(&[head, payload]);
        }
        drop(tx);
        let sent = s.all_sent();
        for (part, sent) in data.chunks(mss).zip(&sent) {
            assert!(sent.data == part);
        }
        s.advance(2000);
        let again = s.next();
        assert_eq!((again.seq, &again.data), (sent[0].seq, &sent[0].data));
        s.skip();
        let ack = seg().seq(1).ack(1 + mss as u32 * 7).ts(8, 0);
        s.inject(ack);
        assert!(s.next().data == data[mss * 7..]);
        assert_eq!(s.stack.counters().get(Counter::CopiedBytes), 0);
        assert_eq!(s.stack.large_in_use(), 1);
        s.inject(seg().seq(1).ack(1 + data.len() as u32).ts(9, 0));
        assert_eq!(s.stack.large_in_use(), 0);
        s.skip();
        s.finish();
    }
}

#[test]
fn tiny_segments_share_a_frame() {
    let mut s = Script::plain();
    let used = s.stack.pool().in_use();
    for at in 0..200 {
        s.inject(seg().seq(1 + at).ack(1).data(&[at as u8]));
    }
    s.skip();
    assert!(s.stack.pool().in_use() <= used + 2);
    assert_eq!(s.read().len(), 200);
    s.finish();
}

#[test]
fn small_reads_take_a_frame_in_parts() {
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(b"abcdefgh"));
    let flow = s.flow.unwrap();
    let mut part = [0; 3];
    assert_eq!(s.stack.tcp_try_read(flow, &mut part), Ok(3));
    assert_eq!(&part, b"abc");
    assert_eq!(s.text(), "defgh");
    assert_eq!(
        s.stack.tcp_try_read(flow, &mut part),
        Err(Error::WouldBlock)
    );
    s.skip();
    s.finish();
}

#[test]
fn a_burst_is_acknowledged_once() {
    let mut s = Script::plain();
    let mut burst = pollwire_rings::RxBurst::new();
    // Four full segments in one burst make one ACK at the turn's end.
    let frames = s.segments(4, 1000);
    for frame in frames {
        burst
            .push(frame, pollwire_rings::RxMeta::default())
            .unwrap();
    }
    s.stack.input(s.now, &mut burst);
    s.run();
    let sent = s.all_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].flags, sent[0].ack), (ACK, PEER_ISS + 4001));
    s.finish();
}

#[test]
fn rfc2018_4_the_blocks_reported_last_come_first() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok());
    let mut arrive = |seq: u32, blocks: &[(u32, u32)]| {
        s.inject(seg().seq(seq).ack(1).data(&[1; 100]));
        s.expect(seg().seq(1).ack(1).sack(blocks));
    };
    arrive(201, &[(201, 301)]);
    arrive(601, &[(601, 701), (201, 301)]);
    arrive(401, &[(401, 501), (601, 701), (201, 301)]);
    arrive(801, &[(801, 901), (401, 501), (601, 701), (201, 301)]);
    // One more than the option holds, and two more than are remembered.
    arrive(1001, &[(1001, 1101), (801, 901), (401, 501), (201, 301)]);
    // Two stretches grow together.
    arrive(501, &[(401, 701), (1001, 1101), (801, 901), (201, 301)]);
    arrive(301, &[(201, 701), (1001, 1101), (801, 901)]);
    arrive(901, &[(801, 1101), (201, 701)]);
    s.inject(seg().seq(1).ack(1).data(&[1; 200]));
    s.expect(seg().seq(1).ack(701).sack(&[(801, 1101)]));
    s.read();
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_10_7_4_a_fin_that_comes_early_counts_when_the_hole_is_filled() {
    // With the hole before data, and before the FIN alone.
    for early in [&[7u8; 100][..], &[]] {
        let mut s = Script::plain();
        s.inject(seg().seq(101).ack(1).data(early).fin());
        s.expect(seg().seq(1).ack(1));
        assert_eq!(s.state(), TcpState::Established);
        s.inject(seg().seq(1).ack(1).data(&[7; 100]));
        let end = 102 + early.len() as u32;
        s.expect(seg().seq(1).ack(end));
        assert_eq!(s.state(), TcpState::CloseWait);
        assert_eq!(s.read().len(), 100 + early.len());
        s.finish();
    }
}

#[test]
fn rfc2883_4_data_that_reaches_into_a_queued_block_is_reported() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok());
    s.inject(seg().seq(101).ack(1).data(&[1; 100]));
    s.expect(seg().seq(1).ack(1).sack(&[(101, 201)]));
    s.inject(seg().seq(301).ack(1).data(&[1; 100]));
    s.expect(seg().seq(1).ack(1).sack(&[(301, 401), (101, 201)]));
    s.inject(seg().seq(1).ack(1).data(&[1; 150]));
    s.expect(seg().seq(1).ack(201).sack(&[(101, 151), (301, 401)]));
    assert_eq!(s.read().len(), 200);
    s.skip();
    s.finish();
}

/// MUST-34. A peer that takes a window back refuses what lies beyond it, so what
/// it sends has to be acknowledged by a segment within.
#[test]
fn rfc9293_3_8_6_acks_lie_within_a_window_that_was_taken_back() {
    let mut s = Script::plain();
    s.write(&[1; 5000]);
    assert_eq!(s.all_sent().len(), 5);
    // As was promised: beyond the data.
    s.inject(seg().seq(1).ack(1001).win(60_000).data(b"a"));
    s.advance(50);
    s.expect(seg().seq(5001).ack(2));
    // All but 300 bytes are taken back.
    s.inject(seg().seq(2).ack(2001).win(300).data(b"b"));
    s.advance(50);
    s.expect(seg().seq(2300).ack(3));
    // And then all; a zero window takes its own edge (3.10.7.4).
    s.inject(seg().seq(3).ack(2001).win(0).data(b"c"));
    s.advance(50);
    s.expect(seg().seq(2001).ack(4));
    assert_eq!(s.text(), "abc");
    s.inject(seg().seq(4).ack(5001).win(60_000).data(b"d"));
    s.advance(50);
    s.expect(seg().seq(5001).ack(5));
    assert_eq!(s.text(), "d");
    s.finish();
}

/// What looks taken back may be rounded off by the scale (RFC 7323, 2.4).
#[test]
fn rfc7323_2_4_a_window_rounded_off_is_not_taken_back() {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).wscale(7));
    s.write(&[1; 5000]);
    assert_eq!(s.all_sent().len(), 5);
    // 32 * 128 bytes are more than was sent, 31 a few less, 30 too few.
    for (at, window, seq) in [(1, 32, 5001), (2, 31, 5001), (3, 30, 4840)] {
        s.inject(seg().seq(at).ack(1001).win(window).data(b"a"));
        s.advance(50);
        s.expect(seg().seq(seq).ack(at + 1));
    }
    s.inject(seg().seq(4).ack(5001).win(500));
    s.read();
    s.finish();
}
