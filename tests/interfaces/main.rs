//! Interfaces of other kinds than one plain Ethernet, against Linux over TAP in
//! network namespaces: VLANs. What cannot run on a machine says so in a line
//! `skipped: why`.
#![cfg(target_os = "linux")]

mod host;
#[path = "../e2e/namespace.rs"]
mod namespace;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use host::{ip, neighbour, ping, tcp_echo, udp_echo};
use namespace::{Skip, isolated};
use pollwire::host::MonotonicClock;
use pollwire::rings::NetDevice;
use pollwire::rings::local_mac;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::{Config, DropReason, Net, NetCell, Runtime, Stack, VlanId};

const MAC_SEED: u64 = 7;

/// Runs `main` beside the services, and finds every frame back in the pool.
async fn beside_services(net: Net<'_>, main: impl AsyncFnOnce(Net<'_>)) {
    let services = pollwire_apps::services::run(net, pollwire::host::wall_clock);
    let services = net.spawn(services);
    main(net).await;
    services.abort();
    for _ in 0..1000 {
        if net.with_stack(|stack| stack.pool().in_use()) == 0 {
            return;
        }
        net.sleep(Duration::from_millis(10)).await;
    }
    panic!("frames are left behind");
}

/// Runs `work` in a thread, while the stack goes on.
async fn meanwhile<T: Send + 'static>(
    net: Net<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let worker = thread::spawn(work);
    while !worker.is_finished() {
        net.sleep(Duration::from_millis(1)).await;
    }
    match worker.join() {
        Ok(value) => value,
        Err(cause) => std::panic::resume_unwind(cause),
    }
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// Linux's `tap0.ID`, with addresses of its own.
fn make_vlan(id: u16) -> Result<(), Skip> {
    ip(&format!(
        "link add link tap0 name tap0.{id} type vlan id {id}"
    ))?;
    ip(&format!("address add 10.9.{id}.1/24 dev tap0.{id}"))?;
    ip(&format!("address add fd00:{id}::1/64 dev tap0.{id} nodad"))?;
    ip(&format!("link set tap0.{id} up"))
}

#[test]
fn a_vlan_with_linux() {
    isolated("a_vlan_with_linux", || {
        make_vlan(10)?;
        make_vlan(20)?;
        // The same host in another VLAN, and in none.
        neighbour("10.9.20.2", MAC_SEED, "tap0.20")?;
        neighbour("10.9.0.2", MAC_SEED, "tap0")?;
        let config = Config::new("10.9.10.2/24".parse().expect("a CIDR"), [7; 32])
            .with_ipv6("fd00:10::2/64".parse().expect("a CIDR"))
            .with_vlan(VlanId::new(10).expect("a VLAN"));
        for offloads in [Offloads::NONE, Offloads::ALL] {
            let device = Tap::open("tap0", local_mac(MAC_SEED), offloads).expect("a TAP");
            let cell = NetCell::new(Stack::on_heap::<4096, 64, 2048>(&config, device.caps()));
            let clock = MonotonicClock::new();
            Runtime::new(&cell, device, clock).block_on(async |net| {
                beside_services(net, async |net| vlan_with_linux(net).await).await;
            });
        }
        Ok(())
    });
}

async fn vlan_with_linux(net: Net<'_>) {
    // Until the IPv6 address is known to be unique.
    net.sleep(Duration::from_millis(2500)).await;
    meanwhile(net, || {
        let ours = Ipv4Addr::new(10, 9, 10, 2);
        for size in [0, 1, 1471, 1472, 1473, 20_000] {
            assert!(ping(ours, size), "ping of {size} bytes");
        }
        for to in [at("10.9.10.2", 7), at("fd00:10::2", 7)] {
            udp_echo(to, [0, 1, 1452, 1472, 1473, 20_000].into_iter());
            tcp_echo(to, 3_000_000);
        }
    })
    .await;
    let dropped = |reason| net.with_stack(|stack| stack.counters().dropped(reason));
    let before = [DropReason::VlanNotOurs, DropReason::VlanMissing].map(dropped);
    meanwhile(net, || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        for to in ["10.9.20.2:7", "10.9.0.2:7"] {
            for _ in 0..10 {
                socket.send_to(b"hello", to).expect("sent");
            }
        }
    })
    .await;
    net.sleep(Duration::from_millis(100)).await;
    assert!(dropped(DropReason::VlanNotOurs) >= before[0] + 10);
    assert!(dropped(DropReason::VlanMissing) >= before[1] + 10);
}
