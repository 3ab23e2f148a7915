//! Goodput under loss, in virtual time: what recovery is worth.

mod common;

use std::time::Duration;

use common::Sim;
use pollwire::rings::memory::Impairments;
use pollwire::{Counter, Shutdown, TcpOptions};

/// Virtual time that `len` bytes take one way, and the sender's counters in
/// one line.
fn one_way(seed: u64, impairments: Impairments, len: usize) -> (Duration, String) {
    let mut sim = Sim::new(seed, impairments);
    let (client, server) = sim.connect(7, TcpOptions::DEFAULT);
    let start = sim.now;
    let (mut unwritten, mut read, mut ended) = (len, 0, false);
    let limit = sim.now + Duration::from_secs(36_000);
    let block = vec![7; 65_536];
    let done = sim.run(
        limit,
        |a, b| {
            while unwritten > 0 {
                let part = &block[..unwritten.min(block.len())];
                match a.tcp_try_write(client, part) {
                    Ok(count) => unwritten -= count,
                    Err(_) => break,
                }
            }
            if unwritten == 0 {
                let _ = a.tcp_shutdown(client, Shutdown::Write);
            }
            while let Ok(frame) = b.tcp_try_recv(server) {
                match frame {
                    Some(frame) => read += frame.len(),
                    None => {
                        ended = true;
                        break;
                    }
                }
            }
            if ended {
                let _ = b.tcp_shutdown(server, Shutdown::Write);
            }
        },
        |a, b| a.tcp_try_closed(client).is_ok() && b.tcp_try_closed(server).is_ok(),
    );
    let took = sim.now - start;
    assert!(done && read == len, "seed {seed}: {read} of {len} bytes");
    let counters = sim.a.stack.counters();
    let said = [
        Counter::TcpSegmentsOut,
        Counter::TcpRetransmits,
        Counter::TcpTimeouts,
        Counter::TcpFastRecoveries,
        Counter::TcpReorderTimeouts,
        Counter::TcpLostRetransmits,
        Counter::TcpLossProbes,
        Counter::TcpUndoneByTimestamp,
        Counter::TcpUndoneByDsack,
        Counter::TcpUndoneByFrto,
    ]
    .map(|counter| format!("{counter} {}", counters.get(counter)))
    .join(", ");
    sim.a.stack.tcp_close(client);
    sim.b.stack.tcp_close(server);
    sim.finish();
    (took, said)
}

/// Mbit/s of `len` bytes one way, on average over `seeds`.
fn goodput(seeds: u64, impairments: Impairments, len: usize) -> f64 {
    let mut total = Duration::ZERO;
    for seed in 0..seeds {
        let (took, said) = one_way(seed, impairments, len);
        println!("seed {seed}: {took:?}, {said}");
        total += took;
    }
    (len as f64 * 8.0 * seeds as f64) / total.as_secs_f64() / 1e6
}

#[test]
fn one_percent_of_loss_at_ten_milliseconds() {
    let impairments = Impairments {
        delay: Duration::from_millis(5),
        rate: Some(100_000_000),
        loss: 0.01,
        ..Impairments::NONE
    };
    let rate = goodput(5, impairments, 10_000_000);
    println!("100 Mbit/s, 10 ms, 1 % loss: {rate:.1} Mbit/s");
    // NewReno's own limit (Mathis et al. 1997): 1.22 * MSS / (RTT * sqrt(p)).
    assert!(rate > 13.0, "{rate:.1} Mbit/s");
}
