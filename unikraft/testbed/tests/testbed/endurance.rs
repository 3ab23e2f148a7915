//! An hour of traffic, in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use pollwire_core::{FlowId, Instant, ListenOptions, TcpOptions};
use pollwire_rings::memory::Impairments;
use pollwire_uk_testbed::BedConfig;

use crate::traffic::{Client, Echo};
use crate::world::{Wiring, World};

/// A new connection every two seconds, a datagram every half, one packet of a
/// hundred lost: after an hour every frame is home.
#[test]
fn every_frame_is_home_after_an_hour_of_traffic() {
    let wiring = Wiring {
        impairments: Impairments {
            delay: Duration::from_millis(1),
            loss: 0.01,
            reorder: 0.01,
            ..Impairments::NONE
        },
        same_host: true,
        ipv6: false,
        seed: 3600,
    };
    let mut world = World::new::<256>(&BedConfig::QEMU, wiring);
    world.may_copy = true;
    let local: SocketAddr = "0.0.0.0:7".parse().expect("an address");
    let remote: SocketAddr = "10.0.0.1:7".parse().expect("an address");
    let machine = &mut world.machine.stack;
    let listener = machine
        .tcp_listen(local, ListenOptions::DEFAULT)
        .expect("free");
    let udp = machine.udp_bind(local).expect("free");
    let any = "0.0.0.0:0".parse().expect("an address");
    let client_udp = world.peer.stack.udp_bind(any).expect("free");
    let mut echoes: Vec<(FlowId, Echo)> = Vec::new();
    let mut clients: Vec<(FlowId, Client)> = Vec::new();
    let (mut opened, mut completed, mut datagrams) = (0, 0, 0);
    let end = world.now + Duration::from_secs(3_600);
    let mut next: Instant = world.now;
    while next < end {
        next += Duration::from_millis(500);
        if datagrams % 4 == 0 {
            let flow = world.peer.stack.tcp_connect(remote, TcpOptions::DEFAULT);
            clients.push((flow.expect("a port"), Client::new(1 + opened * 37 % 30_000)));
            opened += 1;
        }
        let payload = vec![1; 1 + datagrams % 1400];
        let _ = world.peer.stack.udp_try_send(client_udp, &payload, remote);
        datagrams += 1;
        let step = next - world.now;
        world.run(
            step,
            |machine, peer| {
                while let Ok(flow) = machine.tcp_try_accept(listener) {
                    echoes.push((flow, Echo::default()));
                }
                while let Ok((frame, from)) = machine.udp_try_recv(udp) {
                    let _ = machine.udp_try_send_frame(udp, frame, from);
                }
                while peer.udp_try_recv(client_udp).is_ok() {}
                echoes.retain_mut(|(flow, echo)| {
                    echo.run(machine, *flow);
                    let closed = machine.tcp_try_closed(*flow).is_ok();
                    if closed {
                        machine.tcp_close(*flow);
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
                        completed += 1;
                    }
                    !done
                });
            },
            |_, _| false,
        );
        world.now = world.now.max(next);
    }
    assert!(
        opened == 1800 && completed > 1790,
        "{completed} of {opened}"
    );
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
}
