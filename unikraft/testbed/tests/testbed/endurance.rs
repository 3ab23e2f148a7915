//! Hours of traffic, in virtual time: one, or as many as `POLLWIRE_HOURS` says.

use std::net::SocketAddr;
use std::time::Duration;

use pollwire_core::{FlowId, Instant, ListenOptions, TcpOptions};
use pollwire_rings::memory::Impairments;
use pollwire_uk_testbed::{BedConfig, Traps};

use crate::traffic::{Client, Echo};
use crate::world::{Wiring, World};

/// What happened on a machine in an hour.
#[derive(Debug, Default)]
struct Hour {
    opened: usize,
    completed: usize,
    echoed: usize,
    datagrams: usize,
    answered: usize,
}

/// Every frame is home after every hour.
#[test]
fn every_frame_is_home_after_an_hour_of_traffic() {
    let hours = std::env::var("POLLWIRE_HOURS").map_or(1, |text| text.parse().expect("a number"));
    for number in 0..hours {
        let hour = an_hour_of_traffic(number);
        println!("hour {number}: {hour:?}");
        assert!(
            hour.opened == 1800 && hour.completed > 1790,
            "{} of {}",
            hour.completed,
            hour.opened
        );
        assert!(hour.answered > hour.datagrams * 9 / 10, "{hour:?}");
    }
}

/// A new connection every two seconds, a datagram every half, one packet of a
/// hundred lost, over either version, with every fault of the driver; rings and
/// offloads as `number` has it.
fn an_hour_of_traffic(number: u64) -> Hour {
    let bed = BedConfig {
        traps: Traps::ALL,
        rx_descriptors: 256 >> (number % 4),
        tx_descriptors: 256 >> (number / 4 % 4),
        checksum: number % 3 != 1,
        tso4: number.is_multiple_of(3),
        ..BedConfig::QEMU
    };
    let wiring = Wiring {
        impairments: Impairments {
            delay: Duration::from_millis(1),
            loss: 0.01,
            reorder: 0.01,
            ..Impairments::NONE
        },
        same_host: number.is_multiple_of(2),
        ipv6: number % 5 == 4,
        seed: 3600 + number,
    };
    let mut world = World::new::<256>(&bed, wiring);
    world.may_copy = true;
    let (any, machine) = match wiring.ipv6 {
        false => ("0.0.0.0", "10.0.0.1"),
        true => ("[::]", "[fd00::1]"),
    };
    let address = |host, port| -> SocketAddr {
        let address = format!("{host}:{port}");
        address.parse().expect("an address")
    };
    let (local, remote) = (address(any, 7), address(machine, 7));
    let machine = &mut world.machine.stack;
    let listener = machine
        .tcp_listen(local, ListenOptions::DEFAULT)
        .expect("free");
    let udp = machine.udp_bind(local).expect("free");
    let client_udp = world.peer.stack.udp_bind(address(any, 0));
    let client_udp = client_udp.expect("free");
    let mut echoes: Vec<(FlowId, Echo)> = Vec::new();
    let mut clients: Vec<(FlowId, Client)> = Vec::new();
    let mut hour = Hour::default();
    let end = world.now + Duration::from_secs(3_600);
    let mut next: Instant = world.now;
    while next < end {
        next += Duration::from_millis(500);
        if hour.datagrams % 4 == 0 {
            let flow = world.peer.stack.tcp_connect(remote, TcpOptions::DEFAULT);
            clients.push((
                flow.expect("a port"),
                Client::new(1 + hour.opened * 37 % 30_000),
            ));
            hour.opened += 1;
        }
        let payload = vec![1; 1 + hour.datagrams % 1400];
        // The first waits for its neighbour's address.
        let _full = world.peer.stack.udp_try_send(client_udp, &payload, remote);
        hour.datagrams += 1;
        let step = next - world.now;
        world.run(
            step,
            |machine, peer| {
                while let Ok(flow) = machine.tcp_try_accept(listener) {
                    echoes.push((flow, Echo::default()));
                }
                while let Ok((frame, from)) = machine.udp_try_recv(udp) {
                    let _full = machine.udp_try_send_frame(udp, frame, from);
                }
                while peer.udp_try_recv(client_udp).is_ok() {
                    hour.answered += 1;
                }
                echoes.retain_mut(|(flow, echo)| {
                    echo.run(machine, *flow);
                    let closed = machine.tcp_try_closed(*flow).is_ok();
                    if closed {
                        machine.tcp_close(*flow);
                        hour.echoed += echo.echoed;
                    }
                    !closed
                });
                clients.retain_mut(|(flow, client)| {
                    if peer.tcp_try_connected(*flow).is_err() {
                        return true;
                    }
                    let done = client.run(peer, *flow);
                    if done {
                        peer.tcp_close(*flow);
                        hour.completed += 1;
                    }
                    !done
                });
            },
            |_, _| false,
        );
        world.now = world.now.max(next);
    }
    for (flow, _) in echoes {
        world.machine.stack.tcp_close(flow);
    }
    for (flow, _) in clients {
        world.peer.stack.tcp_close(flow);
    }
    world.machine.stack.tcp_close_listener(listener);
    world.machine.stack.udp_close(udp);
    world.peer.stack.udp_close(client_udp);
    println!("{:?}", world.machine.device.stats());
    world.finish();
    hour
}
