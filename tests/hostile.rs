//! Bad input: a million mutated frames through the whole input path, and
//! service afterwards.

mod common;
#[path = "../fuzz/src/frame.rs"]
mod frame;
#[path = "common/random.rs"]
mod random;

use common::{Sim, stack};
use frame::repair;
use pollwire::rings::memory::Impairments;
use pollwire::rings::{RxBurst, RxChecksum, RxMeta, TxBurst};
use pollwire::{Config, Instant, InterfaceIds, ListenOptions, Stack, TcpOptions};
use random::Random;

const FRAMES: u64 = 1_000_000;

/// Frames of a real conversation, to be mutated.
fn seeds() -> Vec<Vec<u8>> {
    let mut sim = Sim::new(11, Impairments::NONE);
    let (client, server) = sim.connect(80, TcpOptions::DEFAULT);
    let udp = sim.b.stack.udp_bind("0.0.0.0:7".parse().unwrap()).unwrap();
    sim.a.stack.tcp_try_write(client, &[0x55; 3000]).unwrap();
    let socket = sim.a.stack.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    sim.a
        .stack
        .udp_try_send(socket, b"datagram", "10.0.0.2:7".parse().unwrap())
        .unwrap();
    sim.a
        .stack
        .udp_try_send(socket, b"nobody", "10.0.0.2:9".parse().unwrap())
        .unwrap();
    let mut frames = Vec::new();
    let mut tx = TxBurst::new();
    for _ in 0..20 {
        for host in [&mut sim.a, &mut sim.b] {
            host.stack.output(sim.now, &mut tx);
            frames.extend(
                tx.iter()
                    .map(|p| p.pieces.iter().flat_map(|p| p.to_vec()).collect()),
            );
            tx.consume(usize::MAX);
        }
        sim.now += std::time::Duration::from_millis(500);
        sim.a.stack.expire(sim.now);
        sim.b.stack.expire(sim.now);
    }
    let mut ping = vec![
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0,
    ];
    ping.extend([10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0, 0]);
    ping.resize(74, 0x33);
    frames.push(ping);
    let mut arp = vec![
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
    ];
    arp.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frames.push(arp);
    let mut with_options = frames[0].clone();
    with_options.resize(98, 7);
    frames.push(with_options);
    let _ = (udp, server);
    sim.a.stack.tcp_abort(client);
    sim.b.stack.tcp_abort(server);
    frames
}

/// Changes a frame: flips, overwrites, cuts, growth, lengths.
fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next_u64() % 4 {
        let word = random.next_u64();
        let len = frame.len() as u64;
        if len == 0 {
            return;
        }
        let at = (word % len) as usize;
        match (word >> 32) % 8 {
            0 => frame[at] ^= 1 << (word >> 60 & 7),
            1 => frame[at] = (word >> 40) as u8,
            2 => frame.truncate(at),
            3 => frame.extend((0..(word >> 40) % 64).map(|i| (word >> (i % 8)) as u8)),
            4 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][(word >> 40) as usize % 5],
            // Headers, where mutations tell.
            5 => frame[at % 54.min(len as usize)] = (word >> 40) as u8,
            6 => {
                let from = (word >> 16) as usize % frame.len();
                frame[at] = frame[from];
            }
            _ => drop(frame.remove(at)),
        }
    }
}

fn drain(stack: &mut Stack, now: Instant, tx: &mut TxBurst) {
    while stack.output(now, tx) {
        tx.consume(usize::MAX);
    }
    tx.consume(usize::MAX);
}

#[test]
fn a_million_mutated_frames_do_no_harm() {
    harass(stack::<512, 64>(2, 99), &seeds());
}

/// Frames of IPv6, as the fuzzer's corpus keeps them: a byte of control, a
/// length, the frame.
fn seeds_v6() -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/input");
    let mut frames = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("v6-")
        {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = &bytes[..];
        while let [_, high, low, frame @ ..] = rest {
            let (frame, behind) = frame.split_at(u16::from_be_bytes([*high, *low]).into());
            frames.push(frame.to_vec());
            rest = behind;
        }
    }
    // In whatever order the directory gives them.
    frames.sort();
    assert!(frames.len() > 15, "{directory}");
    frames
}

#[test]
fn a_million_mutated_frames_of_ipv6_do_no_harm() {
    let address = "10.0.0.2/24".parse().unwrap();
    let mut config = Config::new(address, [2; 32])
        .with_ipv6("fd00::2/64".parse().unwrap())
        .with_slaac(InterfaceIds::Eui64);
    if let Some(v6) = &mut config.ipv6 {
        (v6.temporary, v6.dad_transmits) = (true, 0);
    }
    harass(
        Stack::on_heap::<512, 64, 2048>(&config, common::caps(2)),
        &seeds_v6(),
    );
}

/// Mutates `seeds` a million times, and gives all of that to the stack.
fn harass(mut stack: Stack, seeds: &[Vec<u8>]) {
    let listener = stack
        .tcp_listen("0.0.0.0:80".parse().unwrap(), ListenOptions::DEFAULT)
        .unwrap();
    let udp = stack.udp_bind("0.0.0.0:7".parse().unwrap()).unwrap();
    let mut random = Random::new(0xfeed);
    let (mut rx, mut tx) = (RxBurst::new(), TxBurst::new());
    let mut now = Instant::from_secs(1);
    let mut flows = Vec::new();
    let mut taken = 0;
    for round in 0..FRAMES {
        let word = random.next_u64();
        let mut bytes = seeds[word as usize % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        if word >> 63 == 0 {
            repair(&mut bytes);
        }
        if let Some(mut frame) = stack.pool().alloc() {
            frame.extend_from_slice(&bytes);
            let checksum = if word >> 61 & 1 == 0 {
                RxChecksum::Unknown
            } else {
                RxChecksum::Verified
            };
            let continues = word >> 55 & 63 == 0;
            let meta = RxMeta {
                checksum,
                continues,
                ..RxMeta::default()
            };
            rx.push(frame, meta).unwrap();
            taken += 1;
        }
        if rx.packets() >= 16 || !rx.has_room(2) || round + 1 == FRAMES {
            stack.input(now, &mut rx);
            drain(&mut stack, now, &mut tx);
            now += std::time::Duration::from_micros(word >> 40 & 0xffff);
            stack.expire(now);
            drain(&mut stack, now, &mut tx);
        }
        if round % 64 == 0 {
            while let Ok(flow) = stack.tcp_try_accept(listener) {
                flows.push(flow);
            }
            while stack.udp_try_recv(udp).is_ok() {}
            flows.retain(|&flow| match stack.tcp_try_recv(flow) {
                Ok(Some(_)) | Err(pollwire::Error::WouldBlock) => true,
                _ => {
                    stack.tcp_close(flow);
                    false
                }
            });
            if flows.len() > 32 {
                stack.tcp_abort(flows.remove(0));
            }
        }
    }
    println!("{taken} frames taken in\n{}", stack.counters());
    assert!(taken > FRAMES - FRAMES / 100, "the pool was empty: {taken}");
    flows.into_iter().for_each(|flow| stack.tcp_abort(flow));
    while let Ok(flow) = stack.tcp_try_accept(listener) {
        stack.tcp_abort(flow);
    }
    stack.tcp_close_listener(listener);
    while stack.udp_try_recv(udp).is_ok() {}
    stack.udp_close(udp);
    for _ in 0..2000 {
        drain(&mut stack, now, &mut tx);
        now += std::time::Duration::from_secs(1);
        stack.expire(now);
    }
    assert_eq!(stack.flows_in_use(), 0);
    assert_eq!(
        stack.pool().available(),
        stack.pool().capacity(),
        "all frames are home"
    );
    serves_after_all(stack);
}

/// The same stack serves a client over a wire.
fn serves_after_all(server: Stack) {
    let client = stack::<512, 64>(1, 98);
    let mut sim = Sim::with_stacks(5, Impairments::NONE, client, server);
    // Its clock is far ahead of the client's.
    sim.now = sim.b.stack.now();
    let (client, server) = sim.connect(4242, TcpOptions::DEFAULT);
    sim.a.stack.tcp_try_write(client, b"still there?").unwrap();
    let limit = sim.now + std::time::Duration::from_secs(60);
    let mut got = Vec::new();
    let done = sim.run(
        limit,
        |_, b| {
            while let Ok(Some(frame)) = b.tcp_try_recv(server) {
                got.extend_from_slice(&frame);
            }
        },
        |a, _| a.tcp_try_flush(client).is_ok(),
    );
    assert!(done);
    assert_eq!(got, b"still there?");
    sim.a.stack.tcp_close(client);
    sim.b.stack.tcp_close(server);
    sim.finish();
}
