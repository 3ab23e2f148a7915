//! Interfaces of other kinds than one plain Ethernet, against Linux over TAP in
//! network namespaces: VLANs, jumbo frames, several of them. What cannot run on a
//! machine says so in a line `skipped: why`.
#![cfg(target_os = "linux")]

mod access;
#[path = "../common/beside.rs"]
mod beside;
mod host;
#[path = "../common/iproute.rs"]
mod iproute;
#[path = "../e2e/namespace.rs"]
mod namespace;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use access::AccessPort;
use beside::{PATIENCE, meanwhile, ping, silent};
use host::{neighbour, tcp_echo, udp_echo};
use iproute::ip;
use namespace::{Skip, isolated};
use pollwire::host::MonotonicClock;
use pollwire::rings::NetDevice;
use pollwire::rings::local_mac;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::{Config, Counter, DropReason, Net, NetCell, Runtime, Stack, VlanId};

const MAC_SEED: u64 = 7;

/// Runs `main` beside the services, and finds every frame back in the pool.
async fn beside_services(net: Net<'_>, main: impl AsyncFnOnce(Net<'_>)) {
    let services = pollwire_apps::services::run(net, pollwire::host::wall_clock);
    let services = net.spawn(services);
    main(net).await;
    services.abort();
    until(net, "frames are left behind", |stack| {
        stack.pool().in_use() == 0
    })
    .await;
}

/// Waits until `fine`; `otherwise` says what it is when that never comes.
async fn until(net: Net<'_>, otherwise: &str, fine: impl Fn(&mut Stack) -> bool) {
    let waiting = async {
        while !net.with_stack(|stack| fine(stack)) {
            net.sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = net.timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{otherwise}");
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
    ip(&format!("link set tap0.{id} up"))?;
    Ok(())
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
            over(tap("tap0", MAC_SEED, offloads), &config, async |net| {
                speak(net, &["10.9.10.2", "fd00:10::2"], 1472).await;
                others_are_refused(net).await;
            });
        }
        Ok(())
    });
}

/// Linux tags nothing here: the switch does, at whose access port Linux is. It
/// runs where Linux has no VLANs.
#[test]
fn a_vlan_whose_access_port_linux_is_at() {
    isolated("a_vlan_whose_access_port_linux_is_at", || {
        let config = Config::new("10.9.0.2/24".parse().expect("a CIDR"), [7; 32])
            .with_ipv6("fd00:9::2/64".parse().expect("a CIDR"))
            .with_vlan(VlanId::new(10).expect("a VLAN"));
        let port = AccessPort::new(tap("tap0", MAC_SEED, Offloads::NONE), 10);
        over(port, &config, async |net| {
            speak(net, &["10.9.0.2", "fd00:9::2"], 1472).await;
            let counters = net.with_stack(|stack| stack.counters().clone());
            assert_eq!(counters.dropped(DropReason::VlanMissing), 0);
        });
        Ok(())
    });
}

#[test]
fn jumbo_frames_with_linux() {
    isolated("jumbo_frames_with_linux", || {
        ip("link set tap0 mtu 9000")?;
        let config = Config::new("10.9.0.2/24".parse().expect("a CIDR"), [7; 32])
            .with_ipv6("fd00:9::2/64".parse().expect("a CIDR"));
        for offloads in [Offloads::NONE, Offloads::ALL] {
            let device = tap("tap0", MAC_SEED, offloads);
            assert_eq!(device.caps().mtu, 9000);
            over_frames::<_, 16384>(device, &config, async |net| {
                let fragmented = || {
                    net.with_stack(|stack| {
                        let counters = stack.counters();
                        [Counter::Fragmented, Counter::Reassembled].map(|of| counters.get(of))
                    })
                };
                meanwhile(net, || {
                    for size in [8971, 8972] {
                        assert!(ping(Ipv4Addr::new(10, 9, 0, 2), size));
                    }
                    udp_echo(at("10.9.0.2", 7), [8971, 8972].into_iter());
                })
                .await;
                assert_eq!(fragmented(), [0, 0]);
                speak(net, &["10.9.0.2", "fd00:9::2"], 8972).await;
                assert!(fragmented()[0] > 0, "what is longer does not fit");
            });
            // Frames that are shorter than the link's: packets take several.
            let device = tap("tap0", MAC_SEED, offloads);
            over(device, &config, async |net| {
                speak(net, &["10.9.0.2", "fd00:9::2"], 8972).await;
            });
        }
        Ok(())
    });
}

#[test]
fn two_interfaces_with_linux() {
    isolated("two_interfaces_with_linux", || {
        for arguments in [
            "tuntap add tap1 mode tap",
            "link set tap1 up",
            "address add 10.8.0.1/24 dev tap1",
            "address add fd00:8::1/64 dev tap1 nodad",
        ] {
            ip(arguments)?;
        }
        let config = |v4: &str, v6: &str| {
            Config::new(v4.parse().expect("a CIDR"), [7; 32]).with_ipv6(v6.parse().expect("a CIDR"))
        };
        let first = tap("tap0", MAC_SEED, Offloads::NONE);
        // Each device with what it can do.
        let second = tap("tap1", MAC_SEED + 1, Offloads::ALL);
        let mut stack =
            Stack::on_heap::<4096, 64, 2048>(&config("10.9.0.2/24", "fd00:9::2/64"), first.caps());
        let id = stack
            .add_interface(&config("10.8.0.2/24", "fd00:8::2/64"), second.caps())
            .expect("room");
        let cell = NetCell::new(stack);
        let runtime = Runtime::new(&cell, first, MonotonicClock::new());
        runtime.with_device(id, second).block_on(async |net| {
            beside_services(net, async |net| {
                let ours = ["10.9.0.2", "10.8.0.2", "fd00:9::2", "fd00:8::2"];
                speak(net, &ours, 1472).await;
                // Not from the other link: Linux routes by its own mind, so it is
                // told to use the wrong device.
                meanwhile(net, || {
                    ip("route add 10.9.0.2/32 dev tap1").expect("done");
                    assert!(silent(Ipv4Addr::new(10, 9, 0, 2)));
                })
                .await;
            })
            .await;
        });
        Ok(())
    });
}

fn tap(name: &str, seed: u64, offloads: Offloads) -> Tap {
    Tap::open(name, local_mac(seed), offloads).expect("a TAP")
}

/// Runs a stack with services over `device`.
fn over(device: impl NetDevice, config: &Config, main: impl AsyncFnOnce(Net<'_>)) {
    over_frames::<_, 2048>(device, config, main);
}

/// The same with frames of `SIZE` bytes.
fn over_frames<D: NetDevice, const SIZE: usize>(
    device: D,
    config: &Config,
    main: impl AsyncFnOnce(Net<'_>),
) {
    let cell = NetCell::new(Stack::on_heap::<4096, 64, SIZE>(config, device.caps()));
    Runtime::new(&cell, device, MonotonicClock::new())
        .block_on(async |net| beside_services(net, main).await);
}

/// Linux pings our addresses, and uses the echo services there, with datagrams of
/// up to and above `most` bytes, and megabytes over a connection.
async fn speak(net: Net<'_>, ours: &[&str], most: usize) {
    for ours in ours.iter().filter_map(|ours| ours.parse::<Ipv6Addr>().ok()) {
        let mut theirs = ours.segments();
        theirs[7] = 1;
        until(net, "not known to be unique", |stack| {
            stack.source_for(IpAddr::V6(theirs.into())) == Some(ours.into())
        })
        .await;
    }
    for ours in ours {
        let to = at(ours, 7);
        meanwhile(net, move || {
            let sizes = [0, 1, most - 20, most - 1, most, most + 1, 30_000];
            if let IpAddr::V4(ours) = to.ip() {
                for size in sizes {
                    assert!(ping(ours, size), "ping of {size} bytes");
                }
            }
            udp_echo(to, sizes.into_iter());
            tcp_echo(to, 3_000_000);
        })
        .await;
    }
}

/// Frames of another VLAN, and of none, are not for us.
async fn others_are_refused(net: Net<'_>) {
    let dropped = |reason| net.with_stack(|stack| stack.counters().dropped(reason));
    let reasons = [DropReason::VlanNotOurs, DropReason::VlanMissing];
    let before = reasons.map(dropped);
    meanwhile(net, || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        for to in ["10.9.20.2:7", "10.9.0.2:7"] {
            for _ in 0..10 {
                socket.send_to(b"hello", to).expect("sent");
            }
        }
    })
    .await;
    for (reason, before) in reasons.into_iter().zip(before) {
        until(net, "too few dropped", |stack| {
            stack.counters().dropped(reason) >= before + 10
        })
        .await;
    }
}
