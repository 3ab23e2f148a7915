//! Wall time of the same work over both stacks. Only ratios mean something.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use pollwire_benches::{Offloads, Pair, PollwirePair, Setup, SmoltcpPair, workload};
use pollwire_core::Instant;
use pollwire_core::bench_support::{Flows, Timers};

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
        work.bench_function(BenchmarkId::new("pollwire", len), |b| {
            b.iter(|| pollwire_offload::Sum::of(black_box(&data)));
        });
        work.bench_function(BenchmarkId::new("smoltcp", len), |b| {
            b.iter(|| smoltcp::wire::checksum::data(black_box(&data)));
        });
        work.bench_function(BenchmarkId::new("memcpy", len), |b| {
            b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&data)));
        });
    }
    work.finish();
}

/// From a packet's key to its flow, the packets of all flows mixed.
fn flow_lookup(criterion: &mut Criterion) {
    let mut work = group(criterion, "flow-lookup", 1);
    for count in [1_u32, 1000, 100_000] {
        let flows = Flows::new(count);
        let mut keys = (0..count as usize)
            // Coprime to the counts, so every flow has its turn.
            .map(|index| index * 7919 % count as usize)
            .filter_map(|index| flows.key(index))
            .collect::<Vec<_>>()
            .into_iter()
            .cycle();
        work.bench_function(BenchmarkId::new("pollwire", count), |b| {
            b.iter(|| flows.find(black_box(&keys.next()?)));
        });
    }
    work.finish();
}

/// What a timer costs among `count` armed ones.
fn timer_wheel(criterion: &mut Criterion) {
    const RTO: Duration = Duration::from_millis(200);
    const TURN: Duration = Duration::from_micros(10);
    let mut work = group(criterion, "timer-wheel", 1);
    for count in [1000_u32, 1_000_000] {
        let mut timers = Timers::new(count + 1);
        let mut now = Instant::from_secs(1);
        // The others stand far ahead, spread over an hour.
        for id in 0..count {
            let spread = Duration::from_millis(u64::from(id) * 7919 % 3_600_000);
            timers.arm(id, now + Duration::from_secs(86_400) + spread);
        }
        // Each ACK puts the deadline off.
        work.bench_function(BenchmarkId::new("put off", count), |b| {
            b.iter(|| {
                now += Duration::from_nanos(100);
                timers.arm(black_box(count), now + RTO);
            });
        });
        timers.cancel(count);
        work.bench_function(BenchmarkId::new("arm and cancel", count), |b| {
            b.iter(|| {
                now += Duration::from_nanos(100);
                timers.arm(black_box(count), now + RTO);
                timers.cancel(count);
            });
        });
        work.bench_function(BenchmarkId::new("arm and fire", count), |b| {
            b.iter(|| {
                timers.arm(black_box(count), now + TURN);
                now = timers.next_deadline().unwrap_or(now).max(now + TURN);
                timers.pop_due(now)
            });
        });
        timers.cancel(count);
    }
    work.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    targets = stacks, checksum, flow_lookup, timer_wheel
);
criterion_main!(benches);
