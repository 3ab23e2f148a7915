//! Runs one workload a number of times, and nothing else: the difference of
//! two such runs under callgrind is the cost of the work alone.
//!
//! `workload STACK OFFLOADS WORK COUNT [IDLE]`, `WORK` over IPv4, or followed by
//! `6` over IPv6.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use pollwire_benches::{IpVersion, Offloads, Pair, PollwirePair, Setup, SmoltcpPair, workload};

const USAGE: &str = "usage: workload smoltcp|pollwire none|checksum|segmentation \
                     bulk[6]|ping-pong[6]|udp-echo[6]|connect-close[6] \
                     COUNT [IDLE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn run(arguments: &[String]) -> Option<()> {
    let [stack, offloads, work, count, rest @ ..] = arguments else {
        return None;
    };
    let idle = match rest {
        [] => 0,
        [idle] => idle.parse().ok()?,
        _ => return None,
    };
    let offloads = match offloads.as_str() {
        "none" => Offloads::None,
        "checksum" => Offloads::Checksum,
        "segmentation" => Offloads::Segmentation,
        _ => return None,
    };
    let (work, ip) = match work.strip_suffix('6') {
        Some(work) => (work, IpVersion::V6),
        None => (work.as_str(), IpVersion::V4),
    };
    let setup = Setup { offloads, ip, idle };
    let count = count.parse().ok()?;
    match stack.as_str() {
        "smoltcp" => work_on::<SmoltcpPair>(&setup, work, count),
        "pollwire" => work_on::<PollwirePair>(&setup, work, count),
        _ => None,
    }
}

fn work_on<P: Pair>(setup: &Setup, work: &str, count: usize) -> Option<()> {
    let mut pair = P::new(setup);
    pair.open_idle(setup.idle);
    match work {
        "bulk" => {
            let flow = pair.open();
            workload::bulk(&mut pair, flow, count);
        }
        "ping-pong" => {
            let flow = pair.open();
            workload::ping_pong(&mut pair, flow, count);
        }
        "udp-echo" => workload::udp_echo(&mut pair, count),
        "connect-close" => workload::connect_close(&mut pair, count),
        _ => return None,
    }
    Some(())
}
