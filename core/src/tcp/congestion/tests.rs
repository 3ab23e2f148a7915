//! The controllers on their own, against the formulae.

use pollwire_rings::Instant;

use super::cubic::Cubic;
use super::hystart::HyStart;
use super::newreno::NewReno;
use super::{CongestionControl, CongestionEvent, Controller, Window};
use crate::SeqNum;

const MSS: u32 = 1000;

fn window(segments: u32) -> Window {
    Window {
        cwnd: segments * MSS,
        ssthresh: u32::MAX,
        mss: MSS,
        flight: segments * MSS,
        srtt_us: 100_000,
        now: Instant::from_secs(100),
    }
}

/// Acknowledges everything in flight, a segment at a time, every `rtt`; returns
/// the window at the end.
fn round(controller: &mut impl Controller, window: &mut Window, rtt_ms: u64) {
    window.now = window.now.plus_nanos(rtt_ms * 1_000_000);
    for _ in 0..window.cwnd / MSS {
        controller.on_ack(window, MSS, None);
    }
    window.flight = window.cwnd;
}

/// W_cubic(t) of RFC 9438, 4.2, in segments.
fn formula(w_max: f64, cwnd_epoch: f64, seconds: f64) -> f64 {
    let k = ((w_max - cwnd_epoch) / 0.4).cbrt();
    0.4 * (seconds - k).powi(3) + w_max
}

#[test]
fn rfc9438_4_2_window_follows_the_curve_within_a_segment() {
    for (segments, rtt_ms) in [(400, 100), (1000, 100), (5000, 50), (200, 200)] {
        let mut cubic = Cubic::NEW;
        let mut window = window(segments);
        window.srtt_us = rtt_ms * 1000;
        cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
        assert_eq!(window.ssthresh, segments * 700);
        window.cwnd = window.ssthresh;
        let w_max = f64::from(segments);
        // The epoch begins with the first acknowledgement.
        cubic.on_ack(&mut window, 0, None);
        let begin = window.now;
        for _ in 0..(20_000 / rtt_ms) {
            round(&mut cubic, &mut window, rtt_ms.into());
            let elapsed = window.now.nanos_since(begin) / 1_000_000;
            let want = formula(w_max, w_max * 0.7, elapsed as f64 / 1000.0);
            let curve = cubic.window_at(elapsed as u32, MSS);
            let got = f64::from(curve) / f64::from(MSS);
            assert!(
                (got - want).abs() < 1.0,
                "{segments} at {elapsed} ms: {got} for {want}"
            );
            // A round's acknowledgements bring the window to the target, a round
            // trip ahead, less what (target - cwnd) / cwnd leaves over.
            let ahead = formula(
                w_max,
                w_max * 0.7,
                (elapsed as f64 + f64::from(rtt_ms)) / 1000.0,
            );
            let cwnd = f64::from(window.cwnd) / f64::from(MSS);
            assert!(
                cwnd <= ahead + 1.0,
                "{segments} at {elapsed} ms: {cwnd} over {ahead}"
            );
        }
    }
}

#[test]
fn rfc9438_4_3_short_paths_grow_like_reno() {
    let mut cubic = Cubic::NEW;
    let mut window = window(20);
    window.srtt_us = 1000;
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    window.cwnd = window.ssthresh;
    // 14 segments at 1 ms: Reno's average is 9/17 of a segment per round trip
    // up to 20 segments, a whole one beyond.
    for _ in 0..12 {
        round(&mut cubic, &mut window, 1);
    }
    let slow = window.cwnd;
    assert!((19_000..=21_000).contains(&slow), "{slow}");
    for _ in 0..10 {
        round(&mut cubic, &mut window, 1);
    }
    let gain = window.cwnd - slow;
    assert!((8_000..=11_000).contains(&gain), "{gain}");
}

#[test]
fn rfc9438_4_6_loss_takes_three_tenths() {
    let mut cubic = Cubic::NEW;
    let mut window = window(100);
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    assert_eq!(window.ssthresh, 70 * MSS);
    let mut small = self::window(2);
    cubic.on_congestion_event(&mut small, CongestionEvent::Loss);
    assert_eq!(small.ssthresh, 2 * MSS, "at least two segments");
}

#[test]
fn rfc9438_4_7_fast_convergence_gives_way() {
    let mut cubic = Cubic::NEW;
    let mut window = window(100);
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    window.cwnd = 80 * MSS;
    window.flight = window.cwnd;
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    window.cwnd = window.ssthresh;
    cubic.on_ack(&mut window, 0, None);
    // The flat part lies at 0.85 * 80 instead of 80.
    let k = ((68.0f64 - 56.0) / 0.4).cbrt() * 1000.0;
    assert_eq!(cubic.window_at(k as u32 + 1, MSS), 68 * MSS);
}

#[test]
fn rfc9438_4_2_time_without_demand_does_not_count() {
    let mut cubic = Cubic::NEW;
    let mut window = window(100);
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    window.cwnd = window.ssthresh;
    round(&mut cubic, &mut window, 100);
    let before = window.cwnd;
    window.now = window.now.plus_nanos(60_000_000_000);
    round(&mut cubic, &mut window, 100);
    let gain = window.cwnd - before;
    assert!(gain < 8 * MSS, "grew by {gain} after a minute of silence");
}

#[test]
fn rfc9438_4_8_after_a_timeout_the_curve_begins_flat() {
    let mut cubic = Cubic::NEW;
    let mut window = window(100);
    cubic.on_timeout(&mut window);
    assert_eq!(window.ssthresh, 70 * MSS);
    window.cwnd = window.ssthresh;
    cubic.on_ack(&mut window, 0, None);
    assert_eq!(cubic.window_at(0, MSS), 70 * MSS);
    assert_eq!(cubic.window_at(10_000, MSS), 470 * MSS);
}

#[test]
fn rfc9438_4_9_undo_restores_the_curve() {
    let mut cubic = Cubic::NEW;
    let mut window = window(100);
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    window.cwnd = 90 * MSS;
    let memory = cubic.memory();
    cubic.on_congestion_event(&mut window, CongestionEvent::Loss);
    cubic.undo(&mut window, memory);
    window.cwnd = 90 * MSS;
    window.ssthresh = 70 * MSS;
    cubic.on_ack(&mut window, 0, None);
    let k = (10.0f64 / 0.4).cbrt() * 1000.0;
    assert_eq!(
        cubic.window_at(k as u32 + 1, MSS),
        100 * MSS,
        "the old maximum"
    );
}

#[test]
fn rfc3465_2_1_avoidance_counts_bytes() {
    let mut reno = NewReno::NEW;
    let mut window = window(10);
    window.ssthresh = 5 * MSS;
    reno.on_ack(&mut window, 9_999, None);
    assert_eq!(window.cwnd, 10 * MSS);
    reno.on_ack(&mut window, 1, None);
    assert_eq!(window.cwnd, 11 * MSS);
}

#[test]
fn rfc5681_3_1_slow_start_counts_bytes_up_to_the_threshold() {
    let mut reno = NewReno::NEW;
    let mut window = window(10);
    window.ssthresh = 15 * MSS;
    reno.on_ack(&mut window, 4 * MSS, None);
    assert_eq!(window.cwnd, 14 * MSS, "a stretch ACK counts in full");
    reno.on_ack(&mut window, 4 * MSS, None);
    assert_eq!(window.cwnd, 15 * MSS);
}

#[test]
fn rfc5681_3_1_loss_halves_what_is_in_flight() {
    let mut reno = NewReno::NEW;
    let mut window = window(10);
    window.flight = 8 * MSS;
    reno.on_congestion_event(&mut window, CongestionEvent::Loss);
    assert_eq!(window.ssthresh, 4 * MSS);
    window.flight = MSS;
    reno.on_timeout(&mut window);
    assert_eq!(window.ssthresh, 2 * MSS);
}

/// A round of slow start with `rtt_us` throughout.
fn slow_start_round(start: &mut HyStart, window: &mut Window, at: &mut u32, rtt_us: u32) {
    let end = *at + window.cwnd;
    let mut sent = end;
    while *at < end {
        *at += MSS;
        sent += 2 * MSS;
        start.on_ack(
            window,
            MSS,
            Some(rtt_us),
            SeqNum::new(*at),
            SeqNum::new(sent),
        );
    }
}

#[test]
fn rfc9406_4_2_a_steady_round_trip_keeps_slow_start_going() {
    let (mut start, mut window, mut at) = (HyStart::new(CongestionControl::Cubic), window(10), 0);
    for _ in 0..5 {
        let before = window.cwnd;
        slow_start_round(&mut start, &mut window, &mut at, 50_000);
        assert_eq!(window.cwnd, 2 * before);
    }
    assert_eq!(window.ssthresh, u32::MAX);
}

#[test]
fn rfc9406_4_2_a_growing_round_trip_slows_and_then_ends_it() {
    let (mut start, mut window, mut at) = (HyStart::new(CongestionControl::Cubic), window(10), 0);
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    // Clearly more than an eighth: noticed after eight samples.
    slow_start_round(&mut start, &mut window, &mut at, 60_000);
    let slowed = window.cwnd;
    assert!(slowed < 70 * MSS, "{slowed}");
    let mut rounds = 0;
    while window.ssthresh == u32::MAX {
        let before = window.cwnd;
        slow_start_round(&mut start, &mut window, &mut at, 60_000);
        assert!(window.cwnd <= before + before / 4 + MSS);
        rounds += 1;
        assert!(rounds < 7);
    }
    assert!(rounds >= 4, "{rounds}");
}

#[test]
fn rfc9406_4_2_a_passing_delay_resumes_slow_start() {
    let (mut start, mut window, mut at) = (HyStart::new(CongestionControl::Cubic), window(10), 0);
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    slow_start_round(&mut start, &mut window, &mut at, 60_000);
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    let before = window.cwnd;
    slow_start_round(&mut start, &mut window, &mut at, 50_000);
    assert!(window.cwnd >= 2 * before, "{before}, {}", window.cwnd);
    assert_eq!(window.ssthresh, u32::MAX);
}
