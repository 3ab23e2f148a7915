//! When frames run out: nothing stalls for good, and nothing is lost.

use std::time::Duration;

use pollwire_rings::memory::Impairments;
use pollwire_rings::{FramePool, NetDevice, RxBurst, TxBurst, TxMeta};
use pollwire_uk_testbed::{BedConfig, Testbed, Traps, Vnet};

use crate::traffic::{Client, Echo};
use crate::world::{Wiring, World};

/// Somebody holds every frame that arrives, until the pool is empty and beyond.
#[test]
fn reception_waits_for_frames_and_goes_on() {
    for traps in Traps::EACH.into_iter().chain([Traps::NONE, Traps::ALL]) {
        let pool = FramePool::on_heap::<64, 2048>();
        let bed = Testbed::attach(&BedConfig {
            traps,
            ..BedConfig::QEMU
        });
        let mut device = bed.open(&pool).expect("opens");
        for round in 0..3 {
            let (mut held, mut sent) = (Vec::new(), 0);
            for _ in 0..200 {
                while bed.rx_room() > 0 {
                    assert!(bed.inject(&[sent; 60], Vnet::default()));
                    sent += 1;
                }
                let mut burst = RxBurst::new();
                device.rx_burst(&pool, &mut burst);
                held.extend(burst.drain().map(|rx| rx.frame));
            }
            let stats = device.stats();
            assert_eq!((pool.available(), stats.rx_lent), (0, 1), "{stats:?}");
            assert!(stats.rx_starved > 0);
            assert!(bed.stats().rx_posted >= 1, "the ring must never be empty");
            assert_eq!(held.len(), 63);
            if traps != Traps::DISORDER && traps != Traps::ALL {
                let firsts: Vec<u8> = held.iter().map(|frame| frame[0]).collect();
                assert_eq!(firsts, (0..63).collect::<Vec<u8>>(), "round {round}");
            }
            // One comes free: so much goes on.
            drop(held.pop());
            let mut burst = RxBurst::new();
            assert_eq!(device.rx_burst(&pool, &mut burst), 1);
            drop((held, burst));
            let mut burst = RxBurst::new();
            while device.rx_burst(&pool, &mut burst) > 0 {
                drop(burst.drain());
            }
            assert_eq!(device.stats().rx_lent, 16, "a quarter again");
        }
    }
}

/// A device without buffers looks now and then, and does not spin.
#[test]
fn a_starved_device_sleeps_in_steps() {
    let pool = FramePool::on_heap::<16, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let mut device = bed.open(&pool).expect("opens");
    let mut held = Vec::new();
    for _ in 0..20 {
        while bed.rx_room() > 0 {
            bed.inject(&[1; 60], Vnet::default());
        }
        let mut burst = RxBurst::new();
        device.rx_burst(&pool, &mut burst);
        held.extend(burst.drain().map(|rx| rx.frame));
    }
    assert_eq!(pool.available(), 0);
    let start = bed.clock();
    device.wait(None);
    assert_eq!(bed.clock(), start + Duration::from_millis(1));
}

/// All frames lie in the transmit ring, sent long ago: the driver has to be made
/// to look.
#[test]
fn an_empty_pool_gets_its_transmitted_frames_back() {
    let pool = FramePool::on_heap::<64, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let mut device = bed.open(&pool).expect("opens");
    let mut burst = TxBurst::new();
    while let Some(mut frame) = pool.alloc() {
        frame.set_len(60);
        burst.push(frame.freeze(), TxMeta::default()).expect("room");
    }
    device.tx_burst(&mut burst);
    assert!(burst.is_empty());
    let mut frame = [0; 2048];
    while bed.extract(&mut frame).is_some() {}
    assert_eq!((pool.available(), device.stats().tx_held), (0, 48));
    bed.set_clock(bed.clock() + Duration::from_secs(1));
    device.rx_burst(&pool, &mut RxBurst::new());
    assert_eq!((pool.available(), device.stats().tx_held), (48, 0));
}

/// Eight streams into a machine that reads none of them, with hardly a frame to
/// spare; then it reads them all.
#[test]
fn streams_go_on_when_the_application_reads_at_last() {
    for seed in 0..10 {
        let wiring = Wiring {
            impairments: Impairments {
                delay: Duration::from_millis(1),
                loss: 0.01,
                ..Impairments::NONE
            },
            same_host: seed % 2 == 0,
            ipv6: seed % 5 == 4,
            seed,
        };
        println!("seed {seed}");
        let mut world = World::new::<64>(&BedConfig::QEMU, wiring);
        world.may_copy = true;
        let flows: Vec<_> = (0..8).map(|port| world.connect(100 + port)).collect();
        let mut clients: Vec<_> = flows.iter().map(|_| Client::new(40_000)).collect();
        let mut echoes: Vec<_> = flows.iter().map(|_| Echo::default()).collect();
        world.run(
            Duration::from_secs(5),
            |_, peer| {
                for (client, &(_, flow)) in clients.iter_mut().zip(&flows) {
                    client.run(peer, flow);
                }
            },
            |_, _| false,
        );
        assert!(world.bed.stats().rx_posted >= 1);
        let mut done = [false; 8];
        let ended = world.run(
            Duration::from_secs(3_600),
            |machine, peer| {
                for (index, &(server, client)) in flows.iter().enumerate() {
                    echoes[index].run(machine, server);
                    done[index] |= !done[index] && clients[index].run(peer, client);
                }
            },
            |machine, peer| {
                flows.iter().all(|&(server, client)| {
                    machine.tcp_try_closed(server).is_ok() && peer.tcp_try_closed(client).is_ok()
                })
            },
        );
        assert!(ended && done == [true; 8], "{done:?}");
        for (server, client) in flows {
            world.machine.stack.tcp_close(server);
            world.peer.stack.tcp_close(client);
        }
        world.finish();
    }
}

/// The application takes every frame there is and sits on them while a stream
/// comes in; then it lets go.
#[test]
fn a_stream_survives_an_application_that_hoards() {
    let mut world = World::new::<128>(&BedConfig::QEMU, Wiring::PLAIN);
    world.may_copy = true;
    let (server, flow) = world.connect(7);
    let (mut echo, mut client) = (Echo::default(), Client::new(200_000));
    let mut hoard = Vec::new();
    world.run(
        Duration::from_secs(10),
        |machine, peer| {
            while let Some(frame) = machine.pool().alloc() {
                hoard.push(frame);
            }
            client.run(peer, flow);
        },
        |_, _| false,
    );
    assert_eq!(world.machine.stack.pool().available(), 0);
    assert!(world.bed.stats().rx_posted >= 1);
    drop(hoard);
    let mut all = false;
    world.run(
        Duration::from_secs(3_600),
        |machine, peer| {
            echo.run(machine, server);
            all |= !all && client.run(peer, flow);
        },
        |machine, peer| machine.tcp_try_closed(server).is_ok() && peer.tcp_try_closed(flow).is_ok(),
    );
    assert!(all, "the stream goes on");
    world.machine.stack.tcp_close(server);
    world.peer.stack.tcp_close(flow);
    world.finish();
}

/// The ring could not grow again: data that nobody has room for is dropped before
/// it shrinks, and acknowledgements come in all the while.
#[test]
fn a_flood_of_data_does_not_shrink_the_ring() {
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let mut device = bed.open(&pool).expect("opens");
    let posted = bed.stats().rx_posted;
    let (mut held, mut small) = (Vec::new(), 0);
    for turn in 0..200 {
        while bed.rx_room() > 1 {
            assert!(bed.inject(&[1; 1000], Vnet::default()));
        }
        assert!(bed.inject(&[2; 60], Vnet::default()));
        // A burst may bring nothing though more is waiting: all was dropped.
        for _ in 0..8 {
            let mut burst = RxBurst::new();
            device.rx_burst(&pool, &mut burst);
            for received in burst.drain() {
                match received.frame[0] {
                    1 => held.push(received.frame),
                    _ => small += 1,
                }
            }
        }
        assert_eq!(bed.stats().rx_posted, posted, "turn {turn}");
    }
    assert_eq!(small, 200);
    assert!(device.stats().rx_scarce > 1000);
    // The stack keeps its sixteenth.
    assert_eq!(pool.available(), 16);
}
