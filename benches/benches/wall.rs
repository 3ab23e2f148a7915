//! Wall time of the same work over both stacks. Only ratios mean something.
#![forbid(unsafe_code)]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pollwire_benches::{Offloads, Pair, Setup, SmoltcpPair, workload};

const SEGMENTS: usize = 1000;
const ROUNDS: usize = 100;
const SETUP: Setup = Setup::new(Offloads::None);

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn group<'a>(criterion: &'a mut Criterion, name: &str, units: usize) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(units as u64));
    group
}

fn bulk<P: Pair>(group: &mut Group<'_>) {
    let mut pair = P::new(&SETUP);
    let flow = pair.open();
    group.bench_function(P::NAME, |b| {
        b.iter(|| workload::bulk(&mut pair, flow, SEGMENTS))
    });
}

fn ping_pong<P: Pair>(group: &mut Group<'_>) {
    let mut pair = P::new(&SETUP);
    let flow = pair.open();
    group.bench_function(P::NAME, |b| {
        b.iter(|| workload::ping_pong(&mut pair, flow, ROUNDS))
    });
}

fn udp_echo<P: Pair>(group: &mut Group<'_>) {
    let mut pair = P::new(&SETUP);
    group.bench_function(P::NAME, |b| {
        b.iter(|| workload::udp_echo(&mut pair, ROUNDS))
    });
}

fn connect_close<P: Pair>(group: &mut Group<'_>) {
    let mut pair = P::new(&SETUP);
    group.bench_function(P::NAME, |b| {
        b.iter(|| workload::connect_close(&mut pair, ROUNDS))
    });
}

fn stacks(criterion: &mut Criterion) {
    let mut work = group(criterion, "bulk", SEGMENTS);
    bulk::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "ping-pong", ROUNDS);
    ping_pong::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "udp-echo", 2 * ROUNDS);
    udp_echo::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "connect-close", ROUNDS);
    connect_close::<SmoltcpPair>(&mut work);
    work.finish();
}

criterion_group!(benches, stacks);
criterion_main!(benches);
