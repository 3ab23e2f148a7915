//! How much of a path one connection fills, and how several share it.
//!
//! `cargo test --test goodput` checks a part of the matrix. All of it, as
//! [docs/goodput.md](../../docs/goodput.md) shows it, is measured anew by
//! `POLLWIRE_GOODPUT=docs/goodput.md cargo test --test goodput -- --ignored --nocapture`.

mod world;

use std::fmt::Write as _;
use std::time::Duration;

use pollwire::rings::memory::Impairments;
use pollwire::{CongestionControl, Counter, Pacing, TcpOptions};
use world::World;

/// Payload of a full segment, with timestamps.
const MSS: f64 = 1448.0;
/// The same as a frame on the wire.
const FRAME: f64 = 1514.0;
/// The largest window that is offered.
const WINDOW: u32 = 8 << 20;

const LOSSES: [f64; 5] = [0.0, 0.001, 0.003, 0.01, 0.03];
const ROUND_TRIPS: [u64; 4] = [1, 10, 50, 200];
const RATES: [u64; 3] = [10, 100, 1000];

/// One cell of the matrix.
#[derive(Clone, Copy, Debug)]
struct Path {
    loss: f64,
    rtt_ms: u64,
    rate_mbit: u64,
    reorder: bool,
}

/// What came of it.
struct Result {
    mbit: f64,
    retransmitted: f64,
    timeouts: u64,
}

impl Path {
    fn rtt(&self) -> f64 {
        self.rtt_ms as f64 / 1000.0
    }

    /// Both directions: half the round trip, a queue of one bandwidth-delay
    /// product, of 64 KiB at least and 4 MiB at most.
    fn impairments(&self) -> Impairments {
        let rate = self.rate_mbit * 1_000_000;
        Impairments {
            delay: Duration::from_millis(self.rtt_ms) / 2,
            loss: self.loss,
            reorder: if self.reorder { 0.01 } else { 0.0 },
            reorder_by: Duration::from_millis(self.rtt_ms) / 8,
            rate: Some(rate),
            queue_limit: (rate / 8 * self.rtt_ms / 1000).clamp(64 << 10, 4 << 20),
            ..Impairments::NONE
        }
    }

    /// Mbit/s that a sender of this kind can reach: the line without headers, a
    /// window per round trip, and what CUBIC makes of this loss: its own
    /// response function (RFC 9438, 5.1) or Reno's, whichever is more, for that
    /// is the Reno-friendly region. Reno's constant is that of random losses
    /// (Mathis, Semke, Mahdavi and Ott 1997).
    fn ceiling(&self) -> f64 {
        let line = self.rate_mbit as f64 * MSS / FRAME;
        let window = f64::from(WINDOW) * 8.0 / self.rtt() / 1e6;
        let response = if self.loss == 0.0 {
            f64::INFINITY
        } else {
            let reno = 1.31 / self.loss.sqrt();
            let cubic = (0.4f64 * 3.7 / 1.2).powf(0.25) * (self.rtt() / self.loss).powf(0.75);
            reno.max(cubic) * MSS * 8.0 / self.rtt() / 1e6
        };
        line.min(window).min(response)
    }

    /// Runs one connection until its window is what it will be, then until the
    /// mean is worth something.
    fn measure(&self, congestion: CongestionControl) -> Result {
        let mut world = World::new(1, self.impairments());
        world.open(TcpOptions {
            congestion,
            ..options()
        });
        let rtt = Duration::from_millis(self.rtt_ms);
        let warm = world.now + (rtt * 30).max(Duration::from_millis(500));
        let segments = if self.loss == 0.0 {
            60_000.0
        } else {
            (100.0 / self.loss).clamp(20_000.0, 60_000.0)
        };
        world.run(warm, u64::MAX / 2);
        let (start, before) = (world.now, world.received());
        let retransmits = world.sent(Counter::TcpRetransmits);
        let timeouts = world.sent(Counter::TcpTimeouts);
        let end = start + Duration::from_secs(100).max(rtt * 100);
        world.run(end, (segments * MSS) as u64);
        let bytes = (world.received() - before) as f64;
        let took = (world.now - start).as_secs_f64();
        let result = Result {
            mbit: bytes * 8.0 / took / 1e6,
            retransmitted: (world.sent(Counter::TcpRetransmits) - retransmits) as f64
                / (bytes / MSS),
            timeouts: world.sent(Counter::TcpTimeouts) - timeouts,
        };
        world.finish();
        result
    }
}

fn options() -> TcpOptions {
    TcpOptions {
        recv_buffer: WINDOW,
        send_buffer: 2 * WINDOW,
        ..TcpOptions::DEFAULT
    }
}

/// The shares of `bytes` that several flows got, as Jain's index: 1 is fair.
fn jain(bytes: &[u64]) -> f64 {
    let sum: f64 = bytes.iter().map(|&x| x as f64).sum();
    let squares: f64 = bytes.iter().map(|&x| (x as f64).powi(2)).sum();
    sum * sum / (bytes.len() as f64 * squares)
}

/// What several flows through one queue came to.
struct Shared {
    jain: f64,
    /// Of the line's rate without headers.
    used: f64,
    p99_wait: Duration,
}

/// Flows with these controllers share 100 Mbit/s, 20 ms and a queue of `queue`
/// bytes; they begin 100 ms apart and are watched for `seconds` after ten.
fn share(controllers: &[CongestionControl], pacing: Pacing, queue: u64, seconds: u64) -> Shared {
    let path = Impairments {
        delay: Duration::from_millis(10),
        rate: Some(100_000_000),
        queue_limit: queue,
        ..Impairments::NONE
    };
    let mut world = World::new(3, path);
    for &congestion in controllers {
        world.open(TcpOptions {
            congestion,
            pacing,
            ..options()
        });
        world.run(world.now + Duration::from_millis(100), u64::MAX / 2);
    }
    world.run(world.now + Duration::from_secs(10), u64::MAX / 2);
    world.reset_waits();
    let before: Vec<u64> = world.flows.iter().map(|flow| flow.received).collect();
    world.run(world.now + Duration::from_secs(seconds), u64::MAX / 2);
    let got: Vec<u64> = world
        .flows
        .iter()
        .zip(before)
        .map(|(flow, before)| flow.received - before)
        .collect();
    let sum: u64 = got.iter().sum();
    let shared = Shared {
        jain: jain(&got),
        used: sum as f64 * 8.0 / seconds as f64 / (100e6 * MSS / FRAME),
        p99_wait: world.p99_wait(),
    };
    world.finish();
    shared
}

#[test]
#[ignore = "takes minutes"]
fn the_whole_matrix() {
    let mut page = String::new();
    for reorder in [false, true] {
        let title = if reorder { "with" } else { "without" };
        writeln!(page, "\n## One connection, {title} reordering\n").unwrap();
        writeln!(
            page,
            "| loss | round trip | 10 Mbit/s | 100 Mbit/s | 1000 Mbit/s |"
        )
        .unwrap();
        writeln!(page, "|---|---|---|---|---|").unwrap();
        for loss in LOSSES {
            for rtt_ms in ROUND_TRIPS {
                write!(page, "| {} % | {rtt_ms} ms |", loss * 100.0).unwrap();
                for rate_mbit in RATES {
                    let path = Path {
                        loss,
                        rtt_ms,
                        rate_mbit,
                        reorder,
                    };
                    let got = path.measure(CongestionControl::Cubic);
                    let ceiling = path.ceiling();
                    println!(
                        "{path:?}: {:.2} of {ceiling:.2} Mbit/s, {:.2} % again, {} timeouts",
                        got.mbit,
                        got.retransmitted * 100.0,
                        got.timeouts
                    );
                    write!(page, " {} / {} |", figure(got.mbit), figure(ceiling)).unwrap();
                }
                writeln!(page).unwrap();
            }
        }
    }
    writeln!(page, "\n## Several connections through one queue\n").unwrap();
    writeln!(
        page,
        "| connections | paced | queue | Jain's index | of the line | p99 wait |"
    )
    .unwrap();
    writeln!(page, "|---|---|---|---|---|---|").unwrap();
    for (name, controllers) in mixes() {
        for (pacing, queue) in [Pacing::Off, Pacing::Auto]
            .into_iter()
            .flat_map(|pacing| [16u64, 64, 256, 1024].map(|queue| (pacing, queue << 10)))
        {
            let shared = share(&controllers, pacing, queue, 60);
            writeln!(
                page,
                "| {name} | {} | {} KiB | {:.3} | {:.1} % | {:.1} ms |",
                if pacing == Pacing::Auto { "yes" } else { "no" },
                queue >> 10,
                shared.jain,
                shared.used * 100.0,
                shared.p99_wait.as_secs_f64() * 1000.0
            )
            .unwrap();
        }
    }
    println!("{page}");
    if let Ok(file) = std::env::var("POLLWIRE_GOODPUT") {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let front = text.split("\n## One connection").next().unwrap_or_default();
        // Another test writes what comes behind.
        let behind = text
            .find("\n## Beside Linux\n")
            .map_or("", |at| &text[at..]);
        std::fs::write(&file, format!("{}\n{page}{behind}", front.trim_end())).unwrap();
    }
}

/// Three digits are enough.
fn figure(mbit: f64) -> String {
    if mbit >= 100.0 {
        format!("{mbit:.0}")
    } else if mbit >= 10.0 {
        format!("{mbit:.1}")
    } else {
        format!("{mbit:.2}")
    }
}

fn mixes() -> Vec<(&'static str, Vec<CongestionControl>)> {
    use CongestionControl::{Cubic, NewReno};
    vec![
        ("2 CUBIC", vec![Cubic; 2]),
        ("8 CUBIC", vec![Cubic; 8]),
        ("1 CUBIC, 1 NewReno", vec![Cubic, NewReno]),
        ("4 CUBIC, 4 NewReno", [[Cubic, NewReno]; 4].concat()),
    ]
}

/// A part of the matrix, each cell with the least share of its ceiling.
#[test]
fn a_path_is_filled_as_far_as_its_losses_allow() {
    for (loss, rtt_ms, rate_mbit, reorder, least) in [
        (0.0, 1, 100, false, 0.95),
        (0.0, 50, 10, false, 0.95),
        (0.0, 50, 100, false, 0.95),
        (0.0, 10, 100, true, 0.9),
        (0.0, 200, 100, true, 0.9),
        (0.001, 10, 100, false, 0.9),
        (0.001, 50, 100, false, 0.9),
        (0.01, 10, 100, false, 0.9),
        (0.01, 50, 10, true, 0.9),
        (0.03, 10, 10, false, 0.7),
        (0.03, 200, 10, false, 0.85),
    ] {
        let path = Path {
            loss,
            rtt_ms,
            rate_mbit,
            reorder,
        };
        let got = path.measure(CongestionControl::Cubic);
        let share = got.mbit / path.ceiling();
        println!(
            "{path:?}: {:.2} Mbit/s, {share:.3} of the ceiling, {} timeouts",
            got.mbit, got.timeouts
        );
        assert!(share >= least, "{path:?}: {share:.3} of the ceiling");
    }
}

#[test]
fn connections_share_a_queue() {
    for (name, controllers) in mixes() {
        let shared = share(&controllers, Pacing::Off, 256 << 10, 10);
        println!(
            "{name}: Jain {:.3}, {:.3} of the line, p99 wait {:?}",
            shared.jain, shared.used, shared.p99_wait
        );
        assert!(shared.used > 0.98, "{name}");
        assert!(shared.jain > 0.85, "{name}: {:.3}", shared.jain);
    }
}
