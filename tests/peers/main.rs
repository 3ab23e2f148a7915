//! pollwire beside other stacks, and at the other end of a wire from them.
//!
//! A bridge in this process carries packets between Linux's own stack, in
//! network namespaces with a TAP each, and pollwire; it loses and delays them as
//! the simulator's wire does, in real time. So Linux to Linux and pollwire to
//! Linux cross the same kind of wire, at the same time, on the same machine.
//! What a machine cannot run says so in a line `skipped: why`.
//!
//! With smoltcp the wire is in memory and the time virtual. Each seed stands for two
//! streams, how they are written and read, and what happens to them on their way;
//! `POLLWIRE_SEEDS` says how many are tried.
//!
//! `cargo test --test peers` measures a part of the matrix. All of it, as
//! [docs/goodput.md](../../docs/goodput.md) shows it, is measured anew by
//! `POLLWIRE_GOODPUT=docs/goodput.md cargo test --test peers -- --ignored --nocapture`.

mod bridge;
mod differential;
mod hosts;
#[path = "../common/iproute.rs"]
mod iproute;
mod matrix;
#[path = "../e2e/namespace.rs"]
mod namespace;
#[path = "../common/random.rs"]
mod random;
mod smoltcp;
mod streams;

// `namespace` sets its namespaces up by the module of this name.
use hosts as host;

use std::fmt::Write as _;
use std::time::Duration;

use matrix::{Cell, Effort, Outcome, Pairing};
use namespace::Skip;
use streams::Plan;

/// What pollwire has to reach of Linux's goodput.
const LEAST: f64 = 0.9;
/// How often a cell is measured that falls short: losses come by chance, and one
/// more or less counts. What was measured before counts all the same.
const ROUNDS: u64 = 4;
/// How often a round is measured again when the bridge was late.
const PATIENCE: u32 = 3;
/// Figures do not count when one packet in a hundred came later than it should
/// by more than this part of the round trip.
const LATE: f64 = 0.1;

/// Losses, in how many wires of each kind at once, for how many seconds: such
/// that each kind of pair sees about two hundred losses.
const WHOLE: [(f64, u64, u64, f64); 6] = [
    (0.001, 10, 3, 25.0),
    (0.003, 10, 3, 12.0),
    (0.01, 10, 4, 8.0),
    (0.001, 50, 10, 30.0),
    (0.003, 50, 10, 16.0),
    (0.01, 50, 10, 10.0),
];
/// A part of it, in a quarter of a minute.
const SHORT: [(f64, u64, u64, f64); 3] =
    [(0.003, 10, 3, 3.0), (0.01, 10, 4, 3.0), (0.01, 50, 8, 4.0)];

/// Measures a cell until it is decided.
fn compare((loss, rtt_ms, lanes, seconds): (f64, u64, u64, f64)) -> Result<(Cell, Outcome), Skip> {
    let cell = Cell {
        loss,
        rtt_ms,
        rate_mbit: 100,
    };
    let effort = Effort {
        lanes,
        warm: Duration::from_millis(1000 + 20 * rtt_ms),
        measured: Duration::from_secs_f64(seconds),
    };
    let mut all: Option<Outcome> = None;
    for round in 0..ROUNDS {
        let outcome = in_time(&cell, &effort, 1 + round * lanes)?;
        let outcome = match all.take() {
            Some(before) => before.and(outcome),
            None => outcome,
        };
        println!("{cell}: {outcome}");
        if outcome
            .share(Pairing::Sends)
            .min(outcome.share(Pairing::Receives))
            >= LEAST
        {
            return Ok((cell, outcome));
        }
        all = Some(outcome);
    }
    let outcome = all.expect("measured");
    panic!(
        "{cell}: less than {LEAST} of Linux's\n{}",
        outcome.said.join("\n")
    );
}

/// Measures a cell while the bridge keeps time.
fn in_time(cell: &Cell, effort: &Effort, seed: u64) -> Result<Outcome, Skip> {
    let limit = Duration::from_millis(cell.rtt_ms).mul_f64(LATE);
    for _ in 0..PATIENCE {
        let outcome = cell.measure(effort, seed)?;
        if outcome.report.late(990) <= limit {
            return Ok(outcome);
        }
        println!(
            "{cell}: measured again, for the machine is busy: {}",
            outcome.report
        );
    }
    Err(Skip("the machine is too busy to keep time".to_owned()))
}

#[test]
fn goodput_beside_linux() {
    namespace::isolated("goodput_beside_linux", || {
        println!("real-time priority: {}", hosts::hurry());
        for cell in SHORT {
            compare(cell)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "takes minutes"]
fn goodput_beside_linux_whole() {
    namespace::isolated_for(600, "goodput_beside_linux_whole", || {
        let mut page = introduction(hosts::hurry());
        for cell in WHOLE {
            let (Cell { loss, rtt_ms, .. }, outcome) = compare(cell)?;
            let [linux, sends, receives] = Pairing::ALL.map(|pairing| outcome.mean(pairing));
            writeln!(
                page,
                "| {} % | {rtt_ms} ms | {linux:.1} | {sends:.1} ({:.2}) | {receives:.1} ({:.2}) | {:.2} ms |",
                loss * 100.0,
                sends / linux,
                receives / linux,
                outcome.report.late(990).as_secs_f64() * 1000.0,
            )
            .unwrap();
        }
        println!("{page}");
        if let Ok(file) = std::env::var("POLLWIRE_GOODPUT") {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let front = text.split(HEADING).next().unwrap_or_default();
            let front = front.trim_end().to_owned() + "\n";
            std::fs::write(&file, front + &page).unwrap();
        }
        Ok(())
    });
}

const HEADING: &str = "\n## Beside Linux\n";

/// What the table is of.
fn introduction(real_time: bool) -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release: Vec<&str> = release.split(['.', '-', '\n']).take(2).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let priority = if real_time { "with" } else { "without" };
    format!(
        "{HEADING}
Mbit/s of payload of one connection, in real time over a bridge in user space: Linux
{release} in network namespaces with a TAP each, pollwire over a socket. 100 Mbit/s, a
queue of one bandwidth-delay product and of 64 KiB at least, random losses both ways.
MTU 1500, no offloads, CUBIC, SACK and timestamps on both, ECN off, initial window 10.
All three columns at the same time over wires with the same seeds, several of each, and
their mean; in brackets the ratio to Linux's own. Taken on {cores} cores {priority} real-time
priority; the last column says how late the bridge was with one packet in a hundred.

```sh
POLLWIRE_GOODPUT=docs/goodput.md cargo test --test peers -- --ignored --nocapture
```

| loss | round trip | Linux to Linux | pollwire to Linux | Linux to pollwire | late |
|---|---|---|---|---|---|
",
        release = release.join("."),
    )
}

/// How many seeds the differential tests try, if the environment says so.
fn seeds(usually: u64) -> u64 {
    let named = std::env::var("POLLWIRE_SEEDS").ok();
    named.and_then(|text| text.parse().ok()).unwrap_or(usually)
}

/// Keeps the capture of a failed transfer; tells where it lies.
fn keep(peer: &str, seed: u64, capture: &[u8]) -> String {
    let path = format!("{}/{peer}-{seed}.pcapng", env!("CARGO_TARGET_TMPDIR"));
    match std::fs::write(&path, capture) {
        Ok(()) => format!("capture at {path}"),
        Err(error) => format!("no capture: {error}"),
    }
}

/// Random streams both ways, losses, duplicates, reordering and damage.
#[test]
fn streams_to_and_from_smoltcp_are_intact() {
    let count = seeds(300);
    let mut total = Duration::ZERO;
    for seed in 0..count {
        let plan = Plan::new(seed, 300_000);
        match smoltcp::run(&plan) {
            Ok(took) => total += took,
            Err((error, capture)) => {
                panic!("{plan:?}: {error}\n{}", keep("smoltcp", seed, &capture));
            }
        }
    }
    println!("seeds 0 to {}: {total:?} of virtual time", count - 1);
}

#[test]
fn streams_to_and_from_linux_are_intact() {
    namespace::isolated("streams_to_and_from_linux_are_intact", || {
        let plans: Vec<Plan> = (0..seeds(12))
            .map(|seed| Plan::new(seed, 600_000))
            .collect();
        for plan in &plans {
            println!("{plan:?}");
        }
        let (finished, report) = differential::run(&plans)?;
        println!("{report}");
        for done in finished {
            if let Some((error, capture)) = done.failure {
                let capture = keep("linux", done.plan.seed, &capture);
                panic!("{:?}: {error}\n{capture}", done.plan);
            }
        }
        Ok(())
    });
}
