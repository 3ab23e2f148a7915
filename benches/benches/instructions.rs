//! Instructions and cache behaviour of the same work over both stacks, by
//! gungraun. Setting up and tearing down are not counted: pairs come and go
//! outside the counted functions.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "gungraun's macros write items without docs")]
#![expect(clippy::disallowed_methods, reason = "gungraun's main! ends by exit")]

use gungraun::prelude::*;
use gungraun::{library_benchmark, library_benchmark_group, main};
use pollwire_benches::{Flow, Offloads, Pair, PollwirePair, Setup, SmoltcpPair, workload};

const SEGMENTS: usize = 1000;
const ROUNDS: usize = 100;

fn open<P: Pair>(offloads: Offloads) -> (P, P::Flow) {
    let mut pair = P::new(&Setup::new(offloads));
    let flow = pair.open();
    // The first window warms everything up.
    workload::bulk(&mut pair, flow, 100);
    (pair, flow)
}

#[library_benchmark]
#[bench::software(open::<SmoltcpPair>(Offloads::None))]
#[bench::offloaded(open::<SmoltcpPair>(Offloads::Checksum))]
fn smoltcp_bulk((mut pair, flow): (SmoltcpPair, ())) -> SmoltcpPair {
    workload::bulk(&mut pair, flow, SEGMENTS);
    pair
}

#[library_benchmark]
#[bench::software(open::<SmoltcpPair>(Offloads::None))]
fn smoltcp_ping_pong((mut pair, flow): (SmoltcpPair, ())) -> SmoltcpPair {
    workload::ping_pong(&mut pair, flow, ROUNDS);
    pair
}

library_benchmark_group!(
    name = smoltcp,
    benchmarks = [smoltcp_bulk, smoltcp_ping_pong]
);

#[library_benchmark]
#[bench::software(open::<PollwirePair>(Offloads::None))]
#[bench::offloaded(open::<PollwirePair>(Offloads::Checksum))]
fn pollwire_bulk((mut pair, flow): (PollwirePair, Flow)) -> PollwirePair {
    workload::bulk(&mut pair, flow, SEGMENTS);
    pair
}

#[library_benchmark]
#[bench::software(open::<PollwirePair>(Offloads::None))]
fn pollwire_ping_pong((mut pair, flow): (PollwirePair, Flow)) -> PollwirePair {
    workload::ping_pong(&mut pair, flow, ROUNDS);
    pair
}

library_benchmark_group!(
    name = pollwire,
    benchmarks = [pollwire_bulk, pollwire_ping_pong]
);

// Without this, callgrind counts each byte that `rep movsb` moves.
main!(
    config = LibraryBenchmarkConfig::default().env(
        "GLIBC_TUNABLES",
        "glibc.cpu.x86_rep_movsb_threshold=1000000000"
    ),
    library_benchmark_groups = [smoltcp, pollwire]
);
