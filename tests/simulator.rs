//! The seeded simulator: streams through a hostile network, in virtual time.

mod common;
#[path = "common/random.rs"]
mod random;

use std::time::Duration;

use common::Sim;
use pollwire::rings::memory::Impairments;
use pollwire::{FlowId, Instant, Shutdown, Stack, TcpOptions};
use random::Random;

/// One direction of a transfer: what was written, what came out.
struct Transfer {
    from: FlowId,
    to: FlowId,
    source: Stream,
    check: Stream,
    pending: Vec<u8>,
    unwritten: usize,
    unread: usize,
}

impl Transfer {
    fn new(from: FlowId, to: FlowId, seed: u64, len: usize) -> Self {
        Self {
            from,
            to,
            source: Stream::new(seed),
            check: Stream::new(seed),
            pending: Vec::new(),
            unwritten: len,
            unread: len,
        }
    }

    fn write(&mut self, stack: &mut Stack) {
        loop {
            if self.pending.is_empty() && self.unwritten > 0 {
                self.pending.resize(self.unwritten.min(65_536), 0);
                self.unwritten -= self.pending.len();
                self.source.fill(&mut self.pending);
            }
            if self.pending.is_empty() {
                let _ = stack.tcp_shutdown(self.from, Shutdown::Write);
                return;
            }
            match stack.tcp_try_write(self.from, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(_) => return,
            }
        }
    }

    fn read(&mut self, stack: &mut Stack) -> bool {
        let mut want = [0; 2048];
        loop {
            match stack.tcp_try_recv(self.to) {
                Ok(Some(frame)) => {
                    let want = &mut want[..frame.len()];
                    self.check.fill(want);
                    assert_eq!(&frame[..], want, "the stream differs");
                    self.unread -= frame.len();
                }
                Ok(None) => {
                    assert_eq!(self.unread, 0, "the stream ends early");
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

fn transfer(seed: u64, impairments: Impairments, len: usize) -> Duration {
    let mut sim = Sim::new(seed, impairments);
    let (client, server) = sim.connect(7, TcpOptions::DEFAULT);
    let start = sim.now;
    let mut up = Transfer::new(client, server, seed, len);
    let mut down = Transfer::new(server, client, !seed, len);
    let (mut up_done, mut down_done) = (false, false);
    let limit = sim.now + Duration::from_secs(36_000);
    let mut ends = (false, false);
    let done = sim.run(
        limit,
        |a, b| {
            up.write(a);
            down.write(b);
            up_done |= !up_done && up.read(b);
            down_done |= !down_done && down.read(a);
            ends = (up_done, down_done);
        },
        |a, b| a.tcp_try_closed(client).is_ok() && b.tcp_try_closed(server).is_ok(),
    );
    let took = sim.now - start;
    assert!(
        done && ends == (true, true),
        "seed {seed}: not done after {took:?}: {ends:?}"
    );
    sim.a.stack.tcp_close(client);
    sim.b.stack.tcp_close(server);
    sim.finish();
    took
}

/// 10 MB each way under loss, reordering, duplication and corruption, 200 seeds.
#[test]
fn ten_megabytes_each_way_through_a_hostile_network() {
    let impairments = Impairments {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(1),
        loss: 0.05,
        duplicate: 0.02,
        reorder: 0.05,
        reorder_by: Duration::from_millis(3),
        corrupt: 0.01,
        ..Impairments::NONE
    };
    let seeds = 200;
    let mut total = Duration::ZERO;
    for seed in 0..seeds {
        total += transfer(seed, impairments, 10_000_000);
    }
    println!(
        "{seeds} seeds, 10 MB each way: {:?} of virtual time on average",
        total / 200
    );
}

#[test]
fn a_perfect_wire_is_filled() {
    let took = transfer(1, Impairments::NONE, 10_000_000);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_slow_link_is_filled() {
    let impairments = Impairments {
        delay: Duration::from_millis(10),
        rate: Some(100_000_000),
        queue_limit: 256 * 1024,
        ..Impairments::NONE
    };
    // 4 MB each way at 100 Mbit/s: 0.32 s at the least, acknowledgements aside.
    let took = transfer(2, impairments, 4_000_000);
    assert!(took < Duration::from_millis(1000), "{took:?}");
}

#[test]
fn single_bytes_arrive_in_order() {
    let mut sim = Sim::new(
        3,
        Impairments {
            loss: 0.1,
            ..Impairments::NONE
        },
    );
    let (client, server) = sim.connect(7, TcpOptions::DEFAULT.nodelay());
    let (mut sent, mut got) = (0u8, Vec::new());
    let limit = Instant::from_secs(4000);
    let done = sim.run(
        limit,
        |a, b| {
            if sent < 200 && a.tcp_try_write(client, &[sent]).is_ok() {
                sent += 1;
            }
            while let Ok(Some(frame)) = b.tcp_try_recv(server) {
                got.extend_from_slice(&frame);
            }
        },
        |a, _| {
            a.tcp_try_flush(client).is_ok()
                && a.counters().get(pollwire::Counter::TcpBytesAcked) >= 200
        },
    );
    assert!(done);
    sim.a.stack.tcp_abort(client);
    sim.b.stack.tcp_abort(server);
    sim.finish();
}

/// Fifty connections whose peers send single bytes that nobody reads, and one
/// that is read: it goes on at full speed, and few frames are held.
#[test]
fn tiny_segments_do_not_pin_the_pool() {
    let path = Impairments {
        delay: Duration::from_millis(1),
        ..Impairments::NONE
    };
    let mut sim = Sim::new(4, path);
    let options = TcpOptions::DEFAULT.nodelay();
    let flows: Vec<_> = (0..50)
        .map(|port| sim.connect(100 + port, options))
        .collect();
    let (from, to) = sim.connect(7, TcpOptions::DEFAULT);
    let (mut tiny, mut bulk, mut most) = (0, 0u64, 0);
    let limit = sim.now + Duration::from_secs(20);
    let start = sim.now;
    let done = sim.run(
        limit,
        |a, b| {
            for &(from, _) in &flows {
                if tiny < 10_000 && a.tcp_try_write(from, &[1]).is_ok() {
                    tiny += 1;
                }
            }
            while a.tcp_try_write(from, &[2; 8192]).is_ok() {}
            while let Ok(Some(frame)) = b.tcp_try_recv(to) {
                bulk += frame.len() as u64;
            }
            most = most.max(b.pool().in_use());
        },
        |_, b| b.counters().get(pollwire::Counter::TcpSegmentsIn) > 30_000,
    );
    assert_eq!(tiny, 10_000);
    let took = sim.now - start;
    println!("{bulk} bytes in {took:?}, at most {most} frames in use");
    assert!(done);
    // One window of 64 KiB per round trip at the least.
    assert!(
        bulk as f64 / took.as_secs_f64() > 65_536.0 / 0.002,
        "{bulk} in {took:?}"
    );
    let mut got = 0;
    for &(_, to) in &flows {
        while let Ok(Some(frame)) = sim.b.stack.tcp_try_recv(to) {
            assert!(frame.iter().all(|&byte| byte == 1));
            got += frame.len();
        }
    }
    assert!(got > 9_000, "{got}");
    for (a, b) in flows.into_iter().chain([(from, to)]) {
        sim.a.stack.tcp_abort(a);
        sim.b.stack.tcp_abort(b);
    }
    sim.finish();
}

/// Bytes that both ends can compute.
struct Stream {
    random: Random,
    word: [u8; 8],
    at: usize,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            word: [0; 8],
            at: 8,
        }
    }

    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.at == 8 {
                self.word = self.random.next_u64().to_le_bytes();
                self.at = 0;
            }
            *byte = self.word[self.at];
            self.at += 1;
        }
    }
}
