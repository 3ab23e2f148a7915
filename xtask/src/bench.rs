//! `cargo xtask bench`: pollwire beside smoltcp, and the limits it must keep.
//!
//! Counts are exact and decide; wall time informs, as a ratio of two things
//! measured in one run.

mod callgrind;
mod plot;
mod wall;

use self::callgrind::{Counter, Work};
use crate::process::{self, cargo, target_dir};
use crate::table::{self, grouped};
use crate::tools::{GUNGRAUN_RUNNER, VALGRIND};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Instruction counts against their limits.
    Gate,
    /// Everything, beside smoltcp.
    Compare {
        /// Draw SVG too.
        plot: bool,
    },
}

/// A limit on instructions per unit of work, both ends together.
struct Limit {
    work: Work,
    /// More fails.
    most: u64,
}

/// Tightened with every step, never loosened.
const LIMITS: [Limit; 3] = [
    Limit {
        work: Work::BULK,
        most: 1400,
    },
    Limit {
        work: Work::BULK_OFFLOADED,
        most: 890,
    },
    Limit {
        work: Work::PING_PONG,
        most: 2700,
    },
];

/// Open connections beside the one at work.
const IDLE: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
/// Beyond this, setting smoltcp up takes too long to be worth it: its cost is a
/// straight line by then.
const MOST_IDLE_SMOLTCP: usize = 1000;
/// Instructions per round trip that an idle connection may cost, in thousandths.
/// Not zero only because hashes fall differently among more of them.
const IDLE_LIMIT: u64 = 20;
const IDLE_AT_GATE: usize = 1000;

const CONDITIONS: &str = "Instructions per unit, both ends together: Ethernet, IPv4, MTU 1500, in \
                          memory, one process;\npollwire with TCP timestamps, smoltcp without.";

/// How much more instructions IPv6 may take than IPv4, in percent of IPv4's.
const IPV6_MORE: u64 = 5;

/// Runs the benches; true when no limit is broken.
pub(crate) fn run(mode: Mode) -> Result<bool, String> {
    VALGRIND.need()?;
    process::succeed(&mut cargo(
        "build --release --package pollwire-benches --bin workload",
    ))?;
    let counter = Counter::new(target_dir().join("release/workload"));
    match mode {
        Mode::Gate => gate(&counter),
        Mode::Compare { plot } => compare(&counter, plot),
    }
}

fn gate(counter: &Counter) -> Result<bool, String> {
    println!("{CONDITIONS}\n");
    let mut rows = vec![
        ["work", "instructions", "limit", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut good = true;
    let mut judge = |name: &str, count: u64, most: u64| {
        let kept = count <= most;
        good &= kept;
        let verdict = if kept { "ok" } else { "ABOVE THE LIMIT" };
        rows.push(vec![
            name.into(),
            grouped(count),
            grouped(most),
            verdict.into(),
        ]);
    };
    for Limit { work, most } in &LIMITS {
        println!("counting {} ...", work.title);
        let count = counter.per_unit("pollwire", work, 0)?;
        judge(work.title, count, *most);
        let ipv6 = counter.per_unit("pollwire", &work.over_ipv6(), 0)?;
        judge(
            "  the same over IPv6",
            ipv6,
            count + count * IPV6_MORE / 100,
        );
    }
    println!("counting a round trip beside {IDLE_AT_GATE} idle connections ...");
    let alone = counter.per_unit("pollwire", &Work::PING_PONG, 0)?;
    let crowded = counter.per_unit("pollwire", &Work::PING_PONG, IDLE_AT_GATE)?;
    let each = crowded.saturating_sub(alone) * 1000 / IDLE_AT_GATE as u64;
    judge(
        "per thousand idle connections, per round trip",
        each,
        IDLE_LIMIT,
    );
    println!("\n{}", table::render(&rows, true));
    Ok(good)
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compared {
    pub(crate) title: String,
    pub(crate) pollwire: f64,
    pub(crate) smoltcp: f64,
}

fn compare(counter: &Counter, plot: bool) -> Result<bool, String> {
    let mut counts = Vec::new();
    for work in Work::ALL {
        println!("counting {} ...", work.title);
        counts.push(Compared {
            title: work.title.into(),
            pollwire: counter.per_unit("pollwire", &work, 0)? as f64,
            smoltcp: counter.per_unit("smoltcp", &work, 0)? as f64,
        });
    }
    let mut versions = vec![["work", "IPv4", "IPv6", "more"].map(str::to_owned).to_vec()];
    for (work, line) in Work::ALL.iter().zip(&counts) {
        println!("counting {} over IPv6 ...", work.title);
        let ipv6 = counter.per_unit("pollwire", &work.over_ipv6(), 0)?;
        versions.push(vec![
            work.title.into(),
            grouped(line.pollwire as u64),
            grouped(ipv6),
            format!("{:+.1} %", (ipv6 as f64 / line.pollwire - 1.0) * 100.0),
        ]);
    }
    let mut idle = Vec::new();
    for count in IDLE {
        println!("counting a round trip beside {count} idle connections ...");
        let pollwire = counter.per_unit("pollwire", &Work::PING_PONG, count)?;
        let smoltcp = if count <= MOST_IDLE_SMOLTCP {
            Some(counter.per_unit("smoltcp", &Work::PING_PONG, count)?)
        } else {
            None
        };
        idle.push((count, pollwire, smoltcp));
    }
    println!("\n{CONDITIONS}\n\n{}", ratios(&counts, ""));
    println!(
        "pollwire over both versions of IP\n\n{}",
        table::render(&versions, false)
    );
    println!(
        "Round trip of 64 bytes beside idle connections\n\n{}",
        idle_table(&idle)
    );

    println!("measuring wall time ...");
    let times = wall::measure()?;
    println!("\nWall time per unit, nanoseconds: only the ratio means something.\n");
    println!("{}", ratios(&times, ""));
    println!("Parts by themselves, nanoseconds.\n\n{}", wall::parts()?);

    if GUNGRAUN_RUNNER.path().is_some() {
        let mut gungraun = cargo("bench --package pollwire-benches --bench instructions");
        let outcome = process::show(&mut gungraun).map_err(|error| error.to_string())?;
        if !outcome.success {
            return Err("the gungraun benches failed".into());
        }
    } else {
        println!("skipped: gungraun benches: {}", GUNGRAUN_RUNNER.missing());
    }
    if plot {
        let directory = target_dir().join("bench");
        plot::bars(
            &directory.join("instructions.svg"),
            "instructions per unit",
            &counts,
        )?;
        plot::bars(&directory.join("time.svg"), "nanoseconds per unit", &times)?;
        plot::idle(&directory.join("idle.svg"), &idle)?;
        println!(
            "drawn: {}",
            directory.join("{instructions,time,idle}.svg").display()
        );
    }
    Ok(true)
}

fn ratios(lines: &[Compared], unit: &str) -> String {
    let mut rows = vec![
        ["work", "pollwire", "smoltcp 0.14", "ratio"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for line in lines {
        rows.push(vec![
            line.title.clone(),
            format!("{}{unit}", grouped(line.pollwire as u64)),
            format!("{}{unit}", grouped(line.smoltcp as u64)),
            format!("{:.2}", line.smoltcp / line.pollwire.max(1e-9)),
        ]);
    }
    table::render(&rows, false)
}

fn idle_table(idle: &[(usize, u64, Option<u64>)]) -> String {
    let mut rows = vec![
        ["idle", "pollwire", "smoltcp 0.14"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (count, pollwire, smoltcp) in idle {
        rows.push(vec![
            grouped(*count as u64),
            grouped(*pollwire),
            smoltcp.map_or_else(|| "not run".into(), grouped),
        ]);
    }
    table::render(&rows, false)
}
