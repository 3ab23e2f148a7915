//! How much may be in the network at once, by the rule.

use super::script::{Script, seg};
use crate::{CongestionControl, Counter, TcpInfo, TcpOptions};

fn info(s: &mut Script) -> TcpInfo {
    s.stack.tcp_info(s.flow.unwrap()).unwrap()
}

/// An open connection to a peer with a segment size of 1000, no options but
/// window scale, and room for whatever comes.
fn roomy(congestion: CongestionControl) -> Script {
    let options = TcpOptions {
        congestion,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::accepted(options, seg().mss(1000).wscale(7));
    // The window of a SYN is not scaled; this one is.
    s.inject(seg().seq(1).ack(1).data(b"go").win(2000));
    s.read();
    s.advance(50);
    s.skip();
    s
}

/// Bytes in the segments that were sent since the last look.
fn sent_bytes(s: &mut Script) -> u32 {
    s.all_sent().iter().map(|s| s.data.len() as u32).sum()
}

/// Acknowledges up to `ack`.
fn ack(s: &mut Script, ack: u32) {
    s.inject(seg().seq(3).ack(ack).win(2000));
}

/// Offers more than can be sent, and acknowledges what is sent, two segments at
/// a time, until `cwnd` has grown to `cwnd`. Nothing is in flight then; returns
/// what is acknowledged.
fn grow_to(s: &mut Script, cwnd: u32) -> u32 {
    let mut acked = 1;
    let mut queued = 1;
    while info(s).cwnd < cwnd {
        while queued < acked + 55_000 {
            queued += s.write(&[1; 10_000]) as u32;
        }
        s.advance(10);
        let sent = acked + sent_bytes(s);
        while acked < sent {
            acked = (acked + 2000).min(sent);
            ack(s, acked);
        }
        acked = sent;
    }
    while acked < queued {
        acked += sent_bytes(s);
        ack(s, acked);
    }
    s.skip();
    acked
}

#[test]
fn rfc6928_2_ten_segments_to_begin_with() {
    let mut s = roomy(CongestionControl::Cubic);
    s.write(&[1; 30_000]);
    assert_eq!(sent_bytes(&mut s), 10_000);
    s.finish();
}

#[test]
fn rfc5681_3_1_slow_start_grows_by_what_is_acknowledged() {
    for congestion in [CongestionControl::Cubic, CongestionControl::NewReno] {
        let mut s = roomy(congestion);
        s.write(&[1; 60_000]);
        s.skip();
        ack(&mut s, 2001);
        assert_eq!(sent_bytes(&mut s), 4000);
        // RFC 3465: a stretch ACK counts in full.
        ack(&mut s, 10_001);
        assert_eq!(sent_bytes(&mut s), 16_000);
        assert_eq!(info(&mut s).cwnd, 20_000);
        s.finish();
    }
}

#[test]
fn rfc5681_3_1_every_ack_of_a_burst_counts() {
    let mut s = roomy(CongestionControl::Cubic);
    s.write(&[1; 60_000]);
    s.skip();
    // All of them arrive before anything is sent in answer.
    let mut burst = pollwire_rings::RxBurst::new();
    for count in 1..=5 {
        let bytes = s.bytes_of(&seg().seq(3).ack(1 + count * 2000).win(2000));
        let mut frame = s.stack.pool().alloc().unwrap();
        frame.extend_from_slice(&bytes);
        burst
            .push(frame, pollwire_rings::RxMeta::default())
            .unwrap();
    }
    s.stack.input(s.now, &mut burst);
    s.run();
    assert_eq!(info(&mut s).cwnd, 20_000);
    s.finish();
}

#[test]
fn rfc9438_5_8_a_window_that_is_not_used_does_not_grow() {
    for congestion in [CongestionControl::Cubic, CongestionControl::NewReno] {
        let mut s = roomy(congestion);
        let mut acked = 1;
        for _ in 0..50 {
            s.write(&[1; 5000]);
            acked += sent_bytes(&mut s);
            s.advance(10);
            ack(&mut s, acked);
        }
        assert_eq!(info(&mut s).cwnd, 10_000);
        s.finish();
    }
}

#[test]
fn rfc9438_5_8_the_peers_window_is_no_reason_to_grow() {
    let mut s = roomy(CongestionControl::Cubic);
    let mut acked = 1;
    for _ in 0..20 {
        s.write(&[1; 20_000]);
        acked += sent_bytes(&mut s);
        s.advance(10);
        // 64 * 128 bytes.
        s.inject(seg().seq(3).ack(acked).win(64));
    }
    assert!(info(&mut s).cwnd <= 20_000, "{}", info(&mut s).cwnd);
    s.finish();
}

#[test]
fn rfc5681_3_1_a_timeout_leaves_one_segment() {
    let mut s = roomy(CongestionControl::NewReno);
    s.write(&[1; 30_000]);
    s.skip();
    s.advance(250);
    assert_eq!(sent_bytes(&mut s), 1000);
    let after = info(&mut s);
    assert_eq!((after.cwnd, after.ssthresh), (1000, Some(5000)));
    // "the value of ssthresh is held constant"
    s.advance(450);
    assert_eq!(sent_bytes(&mut s), 1000);
    assert_eq!(info(&mut s).ssthresh, Some(5000));
    s.finish();
}

#[test]
fn rfc3465_2_3_after_a_timeout_an_ack_counts_one_segment() {
    let mut s = roomy(CongestionControl::NewReno);
    s.write(&[1; 30_000]);
    s.skip();
    s.advance(250);
    s.skip();
    ack(&mut s, 4001);
    assert_eq!(info(&mut s).cwnd, 2000);
    s.finish();
}

#[test]
fn rfc5681_3_1_avoidance_grows_by_a_segment_a_round_trip() {
    let mut s = roomy(CongestionControl::NewReno);
    s.write(&[1; 30_000]);
    s.skip();
    s.advance(250);
    s.skip();
    // Up to the threshold of 5000 in slow start, then by one segment for each
    // window that is acknowledged.
    let mut acked = 1;
    let mut windows = std::vec::Vec::new();
    for _ in 0..30 {
        acked = (acked + 1000).min(30_001);
        ack(&mut s, acked);
        windows.push(info(&mut s).cwnd / 1000);
    }
    assert_eq!(windows[..12], [2, 3, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6]);
    s.finish();
}

#[test]
fn rfc5681_4_1_an_idle_connection_begins_anew() {
    let mut s = roomy(CongestionControl::Cubic);
    let acked = grow_to(&mut s, 40_000);
    let grown = info(&mut s).cwnd;
    // Less than a timeout, 200 ms: nothing is forgotten.
    s.advance(150);
    assert_eq!(info(&mut s).cwnd, grown);
    s.advance(100);
    assert_eq!(info(&mut s).cwnd, grown / 2);
    s.advance(1000);
    let idle = info(&mut s);
    assert_eq!(idle.cwnd, 10_000, "the restart window");
    s.write(&[1; 60_000]);
    assert_eq!(sent_bytes(&mut s), 10_000);
    ack(&mut s, acked + 10_000);
    assert_eq!(sent_bytes(&mut s), 20_000, "slow start");
    s.finish();
}

#[test]
fn rfc5681_4_1_what_arrives_is_no_sign_of_what_was_sent() {
    let mut s = roomy(CongestionControl::Cubic);
    let acked = grow_to(&mut s, 40_000);
    for index in 0..20 {
        s.advance(50);
        s.inject(seg().seq(3 + index).ack(acked).data(b"?").win(2000));
        s.read();
    }
    assert!(info(&mut s).cwnd < 20_000, "{}", info(&mut s).cwnd);
    s.finish();
}

#[test]
fn rfc5681_4_1_the_timer_of_an_idle_connection_ends() {
    let mut s = roomy(CongestionControl::Cubic);
    grow_to(&mut s, 40_000);
    s.advance(10_000);
    assert_eq!(s.stack.deadline(), None);
    assert_eq!(s.stack.counters().get(Counter::TcpTimeouts), 0);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc6298_5_1_the_first_send_after_idleness_has_a_whole_timeout() {
    let mut s = roomy(CongestionControl::Cubic);
    let acked = grow_to(&mut s, 40_000);
    s.advance(390);
    s.write(b"late");
    s.skip();
    s.advance(190);
    s.expect_quiet();
    s.advance(30);
    s.expect(seg().seq(acked).ack(3).data(b"late"));
    s.finish();
}

#[test]
fn a_paced_window_leaves_spread_over_the_round_trip() {
    let options = TcpOptions {
        pacing: crate::Pacing::Auto,
        ..TcpOptions::DEFAULT
    };
    let mut s = Script::new();
    s.listen(options);
    s.inject(seg().syn().no_ack().mss(1000).wscale(0));
    s.iss = s.next().seq;
    s.advance(100);
    s.inject(seg().seq(1).ack(1));
    s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
    s.write(&[1; 30_000]);
    // Ten segments at twice the window's rate: 50 ms, two at a time.
    assert_eq!(s.all_sent().len(), 2);
    let mut bursts = std::vec::Vec::new();
    for _ in 0..60 {
        s.advance(1);
        bursts.push(s.all_sent().len());
    }
    assert_eq!(bursts.iter().sum::<usize>(), 8);
    assert!(bursts.iter().all(|&sent| sent <= 2), "{bursts:?}");
    assert!(bursts[..35].iter().sum::<usize>() <= 6, "{bursts:?}");
    // Nothing more until something is acknowledged.
    s.inject(seg().seq(1).ack(2001));
    assert_eq!(s.all_sent().len(), 2);
    s.finish();
}

/// packetdrill's slow-start-app-limited: nothing is left to send, but what was
/// sent used the window.
#[test]
fn rfc7661_4_3_slow_start_goes_on_while_half_of_the_window_is_used() {
    for (written, grown) in [(10_000, 20_000), (9000, 19_000), (5000, 10_000)] {
        let mut s = roomy(CongestionControl::Cubic);
        s.write(&std::vec![1; written as usize]);
        assert_eq!(sent_bytes(&mut s), written);
        let mut acked = 1;
        while acked < written + 1 {
            acked = (acked + 2000).min(written + 1);
            ack(&mut s, acked);
        }
        assert_eq!(info(&mut s).cwnd, grown, "{written}");
        s.finish();
    }
}

/// However long the pause, the initial window goes out at once: also where the
/// neighbour has to be asked for anew, and the first segment waits for that.
#[test]
fn rfc2861_after_idleness_the_initial_window_goes_out_at_once() {
    for pause in [5_000, 100_000, 3_000_000] {
        for grown in [10_000, 40_000] {
            let mut s = roomy(CongestionControl::Cubic);
            let acked = grow_to(&mut s, grown);
            s.advance(pause);
            s.expect_quiet();
            s.write(&[1; 30_000]);
            let sent = sent_bytes(&mut s);
            assert_eq!(sent, 10_000, "{pause} ms after {grown} bytes");
            ack(&mut s, acked + sent);
            assert!(sent_bytes(&mut s) >= 10_000);
            s.finish();
        }
    }
}
