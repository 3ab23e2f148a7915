//! Wall time of the same work over both stacks. Only ratios mean something.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pollwire_benches::{Offloads, Pair, PollwirePair, Setup, SmoltcpPair, workload};

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
    bulk::<PollwirePair>(&mut work);
    bulk::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "ping-pong", ROUNDS);
    ping_pong::<PollwirePair>(&mut work);
    ping_pong::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "udp-echo", 2 * ROUNDS);
    udp_echo::<PollwirePair>(&mut work);
    udp_echo::<SmoltcpPair>(&mut work);
    work.finish();
    let mut work = group(criterion, "connect-close", ROUNDS);
    connect_close::<PollwirePair>(&mut work);
    connect_close::<SmoltcpPair>(&mut work);
    work.finish();
}

/// The Internet checksum, beside a plain copy of the same bytes.
fn checksum(criterion: &mut Criterion) {
    let mut work = criterion.benchmark_group("checksum");
    for len in [64, 1460] {
        let data = vec![0xa5_u8; len];
        let mut copy = vec![0_u8; len];
        work.throughput(Throughput::Bytes(len as u64));
        work.bench_function(format!("pollwire/{len}"), |b| {
            b.iter(|| pollwire_offload::Sum::of(black_box(&data)));
        });
        work.bench_function(format!("smoltcp/{len}"), |b| {
            b.iter(|| smoltcp::wire::checksum::data(black_box(&data)));
        });
        work.bench_function(format!("memcpy/{len}"), |b| {
            b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&data)));
        });
    }
    work.finish();
}

criterion_group!(benches, stacks, checksum);
criterion_main!(benches);
