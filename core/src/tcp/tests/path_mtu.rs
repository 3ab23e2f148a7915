//! The path's MTU: RFC 1191, RFC 5927, RFC 4821, RFC 5461.

use std::vec::Vec;

use super::script::{Script, Sent, seg};
use crate::{ConnError, Counter, Error, TcpOptions, TcpState};

const UNREACHABLE: u8 = 3;
const TOO_BIG: u8 = 4;

/// An open connection with segments of 1460 bytes and nothing to hold them
/// back, with SACK or without.
fn wide(sack: bool) -> Script {
    let syn = seg().mss(1460);
    let syn = if sack { syn.sack_ok() } else { syn };
    let mut s = Script::accepted(TcpOptions::DEFAULT.nodelay(), syn);
    s.inject(seg().seq(1).ack(1).win(65_535));
    s.skip();
    s
}

fn lengths(sent: &[Sent]) -> Vec<usize> {
    sent.iter().map(|sent| sent.data.len()).collect()
}

/// Where each segment begins, relative to the first byte of the stream.
fn begins(s: &Script, sent: &[Sent]) -> Vec<u32> {
    sent.iter()
        .map(|one| one.seq.wrapping_sub(s.iss) - 1)
        .collect()
}

fn count(s: &Script, counter: Counter) -> u64 {
    s.stack.counters().get(counter)
}

#[test]
fn rfc1191_6_4_what_is_in_flight_is_cut_and_sent_again() {
    for sack in [false, true] {
        let mut s = wide(sack);
        s.write(&[7; 4380]);
        assert_eq!(lengths(&s.all_sent()), [1460; 3]);
        let cwnd = s.stack.tcp_info(s.flow.unwrap()).unwrap().cwnd;
        s.icmp(UNREACHABLE, TOO_BIG, 1000, 1, 1500);
        s.run();
        let again = s.all_sent();
        assert_eq!(
            lengths(&again),
            [960, 500, 960, 500, 960, 500],
            "sack {sack}"
        );
        assert_eq!(begins(&s, &again), [0, 960, 1460, 2420, 2920, 3880]);
        let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
        assert_eq!((info.path_mtu, info.send_mss), (1000, 960));
        assert_eq!(info.cwnd, cwnd, "no sign of congestion");
        s.inject(seg().seq(1).ack(4381));
        // What is written from now on is cut to that size.
        s.write(&[8; 2000]);
        assert_eq!(lengths(&s.all_sent()), [960, 960, 80]);
        assert_eq!(count(&s, Counter::TcpSegmentSizeLowered), 1);
        s.finish();
    }
}

#[test]
fn rfc5927_4_1_only_sequence_numbers_in_flight_are_believed() {
    let mut s = wide(true);
    s.write(&[7; 2920]);
    s.skip();
    s.inject(seg().seq(1).ack(1461));
    for seq in [0, 1, 1460, 2921, 100_000] {
        s.icmp(UNREACHABLE, TOO_BIG, 1000, seq, 1500);
    }
    s.expect_quiet();
    assert_eq!(s.stack.tcp_info(s.flow.unwrap()).unwrap().path_mtu, 1500);
    s.icmp(UNREACHABLE, TOO_BIG, 1000, 1461, 1500);
    assert_eq!(lengths(&s.all_sent()), [960, 500]);
    s.finish();
}

#[test]
fn rfc1191_3_there_is_a_least_size() {
    let mut s = wide(true);
    s.write(&[7; 1460]);
    s.skip();
    s.icmp(UNREACHABLE, TOO_BIG, 68, 1, 1500);
    assert_eq!(lengths(&s.all_sent()), [512, 512, 436]);
    s.finish();
}

#[test]
fn unsent_segments_are_cut_as_well() {
    let mut s = wide(true);
    s.write(&[7; 29_200]);
    assert_eq!(s.all_sent().len(), 10);
    s.icmp(UNREACHABLE, TOO_BIG, 1400, 1, 1500);
    s.skip();
    let mut acked = 1;
    let mut longest = 0;
    while acked < 29_201 {
        acked = (acked + 2920).min(29_201);
        s.inject(seg().seq(1).ack(acked));
        longest = lengths(&s.all_sent()).into_iter().fold(longest, usize::max);
    }
    assert_eq!(longest, 1360);
    s.finish();
}

/// Acknowledges all that arrives over a path that carries packets of `mtu`
/// bytes and tells nobody, for `millis`; writes on meanwhile.
fn through(s: &mut Script, mtu: usize, millis: u64, expected: &mut u32) -> usize {
    let mut longest = 0;
    let mut behind: Vec<(u32, u32)> = Vec::new();
    let step = if millis > 20_000 { 50 } else { 10 };
    for _ in 0..millis / step {
        let _ = s.stack.tcp_try_write(s.flow.unwrap(), &[1; 20_000]);
        s.advance(step);
        let sent = s.all_sent();
        let mut acks = 0;
        for one in sent {
            let len = one.data.len() as u32;
            if len == 0 || one.data.len() + 40 > mtu {
                continue;
            }
            acks += 1;
            longest = longest.max(one.data.len());
            let from = one.seq.wrapping_sub(s.iss);
            behind.push((from, from + len));
            while let Some(at) = behind
                .iter()
                .position(|&(from, end)| from <= *expected && end > *expected)
            {
                *expected = behind.swap_remove(at).1;
            }
            behind.retain(|&(_, end)| end > *expected);
        }
        behind.sort_unstable();
        behind.dedup_by(|later, earlier| {
            let joined = later.0 <= earlier.1;
            if joined {
                earlier.1 = earlier.1.max(later.1);
            }
            joined
        });
        if acks > 0 {
            let base = s.iss;
            let absolute = |&(l, r): &(u32, u32)| (base.wrapping_add(l), base.wrapping_add(r));
            let blocks: Vec<_> = behind.iter().rev().take(3).map(absolute).collect();
            let ack = seg().seq(1).ack(*expected).win(65_535);
            s.inject(if blocks.is_empty() {
                ack
            } else {
                ack.sack(&blocks)
            });
        }
    }
    longest
}

#[test]
fn rfc4821_7_7_a_black_hole_is_found_and_left_again() {
    let mut s = wide(true);
    let mut expected = 1;
    // It carries 1300 bytes: segments of 1160, after some timeouts.
    assert_eq!(through(&mut s, 1300, 5_000, &mut expected), 1160);
    assert_eq!(count(&s, Counter::TcpBlackHoles), 1);
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(info.path_mtu, 1200);
    // A minute later larger ones are tried, and the largest is found but for 32.
    let longest = through(&mut s, 1300, 120_000, &mut expected);
    let counters = s.stack.counters();
    assert!((1229..=1260).contains(&longest), "{longest}: {counters}");
    assert!(count(&s, Counter::TcpMtuProbes) >= 3);
    assert!(count(&s, Counter::TcpSegmentSizeRaised) >= 1);
    // Ten minutes later the path carries all again.
    assert_eq!(through(&mut s, 1500, 900_000, &mut expected), 1460);
    assert_eq!(s.stack.tcp_info(s.flow.unwrap()).unwrap().path_mtu, 1500);
    assert_eq!(s.state(), TcpState::Established);
    s.skip();
    s.finish();
}

#[test]
fn rfc4821_7_6_1_a_lost_probe_is_no_congestion() {
    let mut s = wide(true);
    let mut expected = 1;
    through(&mut s, 1300, 5_000, &mut expected);
    through(&mut s, 1300, 50_000, &mut expected);
    let recoveries = count(&s, Counter::TcpFastRecoveries);
    let timeouts = count(&s, Counter::TcpTimeouts);
    let before = s.stack.tcp_info(s.flow.unwrap()).unwrap().cwnd;
    through(&mut s, 1300, 40_000, &mut expected);
    assert!(count(&s, Counter::TcpMtuProbes) >= 3);
    assert_eq!(count(&s, Counter::TcpFastRecoveries), recoveries);
    assert_eq!(count(&s, Counter::TcpTimeouts), timeouts);
    let after = s.stack.tcp_info(s.flow.unwrap()).unwrap().cwnd;
    assert!(after >= before, "{before} to {after}");
    s.skip();
    s.finish();
}

#[test]
fn rfc1191_6_3_ten_minutes_after_a_routers_word_larger_ones_are_tried() {
    let mut s = wide(true);
    s.write(&[7; 1460]);
    s.skip();
    s.icmp(UNREACHABLE, TOO_BIG, 1300, 1, 1500);
    s.skip();
    let mut expected = 1;
    assert_eq!(through(&mut s, 1500, 500_000, &mut expected), 1260);
    assert_eq!(through(&mut s, 1500, 200_000, &mut expected), 1460);
    s.skip();
    s.finish();
}

#[test]
fn rfc5461_2_2_soft_errors_are_told_when_the_connection_times_out() {
    let mut s = wide(true);
    s.write(b"x");
    s.skip();
    // Host unreachable: no reason to give up.
    s.advance(100);
    s.icmp(UNREACHABLE, 1, 0, 1, 41);
    assert_eq!(s.state(), TcpState::Established);
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(info.soft_error, Some(ConnError::HostUnreachable));
    s.advance(3_000_000);
    let flow = s.flow.unwrap();
    let unreachable = Error::Conn(ConnError::HostUnreachable);
    assert!(matches!(s.stack.tcp_try_recv(flow), Err(error) if error == unreachable));
    s.skip();
    s.finish();
}

#[test]
fn rfc5461_2_2_the_peers_word_ends_a_soft_error() {
    let mut s = wide(true);
    s.write(b"x");
    s.skip();
    s.advance(100);
    s.icmp(UNREACHABLE, 1, 0, 1, 41);
    s.advance(10);
    s.inject(seg().seq(1).ack(2));
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(info.soft_error, None);
    s.skip();
    s.finish();
}

#[test]
fn rfc1122_4_2_3_9_hard_errors_end_an_attempt_and_no_open_connection() {
    let mut s = Script::new();
    s.connect(TcpOptions::DEFAULT);
    s.icmp(UNREACHABLE, 3, 0, 5, 60);
    assert_eq!(s.state(), TcpState::SynSent, "not our sequence number");
    s.icmp(UNREACHABLE, 3, 0, 0, 60);
    let outcome = s.stack.tcp_try_connected(s.flow.unwrap());
    assert_eq!(outcome, Err(Error::Conn(ConnError::Refused)));
    s.finish();

    let mut s = wide(true);
    s.write(b"x");
    s.icmp(UNREACHABLE, 3, 0, 1, 41);
    assert_eq!(s.state(), TcpState::Established);
    s.skip();
    s.finish();
}
