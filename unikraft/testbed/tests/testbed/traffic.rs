//! Streams and datagrams, with each fault of the driver and each offload.

use std::net::SocketAddr;
use std::time::Duration;

use pollwire_core::{Error, FlowId, Shutdown, Stack};
use pollwire_rings::FrameRef;
use pollwire_rings::memory::Impairments;
use pollwire_uk_testbed::{BedConfig, Traps};

use crate::world::{Wiring, World};

/// What byte `at` of a test's stream is.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 11) as u8
}

/// Sends back what it receives, in the frames in which it came.
#[derive(Default)]
pub(crate) struct Echo {
    unsent: Option<FrameRef>,
    pub(crate) echoed: usize,
    over: bool,
}

impl Echo {
    pub(crate) fn run(&mut self, stack: &mut Stack, flow: FlowId) {
        loop {
            let frame = match self.unsent.take() {
                Some(frame) => frame,
                None => match stack.tcp_try_recv(flow) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => {
                        if !self.over {
                            self.over = true;
                            stack.tcp_shutdown(flow, Shutdown::Write).expect("open");
                        }
                        return;
                    }
                    Err(_) => return,
                },
            };
            let len = frame.len();
            match stack.tcp_try_send(flow, frame) {
                Ok(()) => self.echoed += len,
                Err((frame, _)) => {
                    self.unsent = Some(frame);
                    return;
                }
            }
        }
    }
}

/// Sends a stream of `len` bytes and checks what comes back.
pub(crate) struct Client {
    written: usize,
    read: usize,
    len: usize,
}

impl Client {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            written: 0,
            read: 0,
            len,
        }
    }

    /// Returns whether everything came back.
    pub(crate) fn run(&mut self, stack: &mut Stack, flow: FlowId) -> bool {
        while self.written < self.len {
            let part: Vec<u8> = (self.written..self.len.min(self.written + 8192))
                .map(byte)
                .collect();
            match stack.tcp_try_write(flow, &part) {
                Ok(count) => self.written += count,
                Err(_) => break,
            }
            if self.written == self.len {
                stack.tcp_shutdown(flow, Shutdown::Write).expect("open");
            }
        }
        loop {
            match stack.tcp_try_recv(flow) {
                Ok(Some(frame)) => {
                    for &got in &frame[..] {
                        assert_eq!(got, byte(self.read), "at {}", self.read);
                        self.read += 1;
                    }
                }
                Ok(None) => {
                    assert_eq!(self.read, self.len, "the echo ends early");
                    return true;
                }
                Err(Error::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// An echo of `len` bytes over one connection.
fn echo(world: &mut World, len: usize) {
    let (server, client) = world.connect(7);
    let (mut echo, mut check) = (Echo::default(), Client::new(len));
    let mut all = false;
    let done = world.run(
        Duration::from_secs(3_600),
        |machine, peer| {
            echo.run(machine, server);
            all |= !all && check.run(peer, client);
        },
        |machine, peer| {
            machine.tcp_try_closed(server).is_ok() && peer.tcp_try_closed(client).is_ok()
        },
    );
    assert!(done && all, "not done");
    assert_eq!(echo.echoed, len);
    world.machine.stack.tcp_close(server);
    world.peer.stack.tcp_close(client);
}

/// Everything that the host may offer.
const OFFERS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

fn with(traps: Traps, (checksum, tso4): (bool, bool)) -> BedConfig {
    BedConfig {
        traps,
        checksum,
        tso4,
        ..BedConfig::QEMU
    }
}

#[test]
fn an_echo_comes_back_intact_with_each_fault_and_each_offload() {
    let faults = Traps::EACH.into_iter().chain([Traps::NONE, Traps::ALL]);
    for traps in faults {
        for offer in OFFERS {
            for same_host in [false, true] {
                println!("{traps:?}, {offer:?}, same host: {same_host}");
                let wiring = Wiring {
                    same_host,
                    ..Wiring::PLAIN
                };
                let mut world = World::new::<512>(&with(traps, offer), wiring);
                echo(&mut world, 500_000);
                world.finish();
            }
        }
    }
}

#[test]
fn an_echo_comes_back_intact_through_a_hostile_network() {
    let impairments = Impairments {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        loss: 0.03,
        duplicate: 0.02,
        reorder: 0.05,
        corrupt: 0.01,
        ..Impairments::NONE
    };
    for seed in 0..30 {
        // Small rings too, so that output waits for room.
        let bed = BedConfig {
            tx_descriptors: 1 << (4 + seed % 5),
            rx_descriptors: 1 << (3 + seed % 6),
            ..with(Traps::ALL, OFFERS[seed as usize % OFFERS.len()])
        };
        println!("seed {seed}: {bed:?}");
        let wiring = Wiring {
            impairments,
            same_host: seed % 2 == 0,
            ipv6: seed % 5 == 4,
            seed,
        };
        let mut world = World::new::<256>(&bed, wiring);
        world.may_copy = true;
        echo(&mut world, 300_000);
        world.finish();
    }
}

/// The device completes checksums of both versions, and segments only one.
#[test]
fn an_echo_comes_back_intact_over_ipv6() {
    for offer in OFFERS {
        let wiring = Wiring {
            ipv6: true,
            ..Wiring::PLAIN
        };
        let mut world = World::new::<512>(&with(Traps::ALL, offer), wiring);
        echo(&mut world, 500_000);
        let crossed = world.bridge.stats();
        assert_eq!((crossed.segmented, crossed.longest), (0, 1514));
        assert_eq!(crossed.partial > 300, offer.0, "{}", crossed.partial);
        world.finish();
    }
}

#[test]
fn segmentation_is_left_to_the_host_where_it_offers_it() {
    for (checksum, tso4) in OFFERS {
        let bed = with(Traps::ALL, (checksum, tso4));
        let mut world = World::new::<512>(&bed, Wiring::PLAIN);
        echo(&mut world, 1_000_000);
        let (bridge, device) = (world.bridge.stats(), world.machine.device.stats());
        assert_eq!(bridge.segmented > 0, tso4);
        assert_eq!(bridge.longest > 1514, tso4, "{} bytes", bridge.longest);
        assert_eq!(bridge.longest_segment, 1514);
        assert_eq!(bridge.partial > 0, checksum);
        assert_eq!(bridge.most_pieces > 1, tso4);
        assert!(bridge.most_pieces <= 16);
        assert_eq!(device.tx_segmented, bridge.segmented);
        assert_eq!(device.tx_partial, bridge.partial);
        assert_eq!(device.tx_packets, bridge.from_machine);
        assert!(device.rx_partial > 0, "the peer is on the same host");
        world.finish();
    }
}

#[test]
fn datagrams_come_back_in_the_frames_in_which_they_came() {
    for offer in OFFERS {
        let mut world = World::new::<256>(&with(Traps::ALL, offer), Wiring::PLAIN);
        let server = world
            .machine
            .stack
            .udp_bind("0.0.0.0:7".parse().expect("an address"));
        let client = world
            .peer
            .stack
            .udp_bind("0.0.0.0:0".parse().expect("an address"));
        let (server, client) = (server.expect("free"), client.expect("free"));
        let machine: SocketAddr = "10.0.0.1:7".parse().expect("an address");
        let (mut sent, mut back) = (0, 0);
        let len = |index: usize| 1 + index * 7 % 1472;
        world.run(
            Duration::from_secs(60),
            |machine_stack, peer| {
                while let Ok((frame, from)) = machine_stack.udp_try_recv(server) {
                    machine_stack
                        .udp_try_send_frame(server, frame, from)
                        .expect("room");
                }
                while let Ok((frame, _)) = peer.udp_try_recv(client) {
                    assert_eq!(frame.len(), len(back));
                    assert!(frame.iter().enumerate().all(|(at, &got)| got == byte(at)));
                    back += 1;
                }
                // The first alone: a neighbour that is not known yet has room for
                // a few.
                if sent < 2001 && sent == back {
                    for _ in 0..if sent == 0 { 1 } else { 10 } {
                        let payload: Vec<u8> = (0..len(sent)).map(byte).collect();
                        peer.udp_try_send(client, &payload, machine).expect("room");
                        sent += 1;
                    }
                }
            },
            |_, _| false,
        );
        assert_eq!((sent, back), (2001, 2001));
        world.machine.stack.udp_close(server);
        world.peer.stack.udp_close(client);
        world.finish();
    }
}
