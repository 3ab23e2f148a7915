//! Paths through Linux's routers: three hops, errors on the way, an MTU that
//! changes in the middle, redirects, and who only says that it is a router.
//!
//! Each test runs in a network namespace of its own, with a TAP device, and each
//! router in one of its own beside it. What cannot run on a machine says so in a
//! line `skipped: why`.
#![cfg(target_os = "linux")]

mod host;
#[path = "../common/iproute.rs"]
mod iproute;
#[path = "../e2e/namespace.rs"]
mod namespace;
mod redirect;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use host::{Node, forward};
use iproute::ip;
use namespace::{Skip, isolated};
use pollwire::host::MonotonicClock;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{
    Config, ConnError, Counter, Error, Net, NetCell, Runtime, Stack, TcpFlow, UdpSocket,
};

/// Nothing here takes longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The host behind three routers.
const FAR: [&str; 2] = ["10.9.3.2", "fd00:9:3::2"];

/// Runs `main` over the TAP, and finds every frame back in the pool.
fn over_tap(config: &Config, main: impl AsyncFnOnce(Net<'_>)) {
    let device = Tap::open("tap0", local_mac(8), Offloads::NONE).expect("a TAP");
    let cell = NetCell::new(Stack::on_heap::<4096, 64, 2048>(config, device.caps()));
    Runtime::new(&cell, device, MonotonicClock::new()).block_on(async |net| {
        // Duplicate address detection.
        for _ in 0..6000 {
            let ours = net.with_stack(|stack| stack.source_for(address("fd00:9::1")));
            if ours == Some(address("fd00:9::2")) {
                break;
            }
            net.sleep(Duration::from_millis(10)).await;
        }
        main(net).await;
        for _ in 0..6000 {
            if net.with_stack(|stack| stack.pool().in_use()) == 0 {
                return;
            }
            net.sleep(Duration::from_millis(10)).await;
        }
        net.with_stack(|stack| print!("{}", stack.counters()));
        panic!("frames are left behind");
    });
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn config() -> Config {
    Config::new("10.9.0.2/24".parse().expect("a CIDR"), [9; 32])
        .with_gateway([10, 9, 0, 1].into())
        .with_ipv6("fd00:9::2/64".parse().expect("a CIDR"))
        .with_ipv6_gateway("fd00:9::1".parse().expect("an address"))
}

/// This namespace, which is the first router, two more, and the far host, in a
/// row: networks 10.9.N.0/24 and fd00:9:N::/64, the near end of each has host 1,
/// the far end host 2.
fn chain() -> Result<[Node; 3], Skip> {
    let nodes = [Node::new()?, Node::new()?, Node::new()?];
    let local = |lines: &[&str]| lines.iter().try_for_each(|line| ip(line).map_err(Skip));
    forward();
    local(&[
        "address add 10.9.0.1/24 dev tap0",
        "address add fd00:9::1/64 dev tap0 nodad",
        "link add near1 type veth peer name far1",
        "address add 10.9.1.1/24 dev near1",
        "address add fd00:9:1::1/64 dev near1 nodad",
        "link set near1 up",
    ])?;
    nodes[0].take_link("far1")?;
    for (at, node) in nodes.iter().enumerate() {
        let net = at + 1;
        node.ip(&[
            &format!("address add 10.9.{net}.2/24 dev far{net}"),
            &format!("address add fd00:9:{net}::2/64 dev far{net} nodad"),
            &format!("link set far{net} up"),
            &format!("route add default via 10.9.{net}.1"),
            &format!("-6 route add default via fd00:9:{net}::1"),
        ])?;
        let Some(next) = nodes.get(at + 1) else { break };
        let net = net + 1;
        node.run(forward);
        node.ip(&[
            &format!("link add near{net} type veth peer name far{net}"),
            &format!("address add 10.9.{net}.1/24 dev near{net}"),
            &format!("address add fd00:9:{net}::1/64 dev near{net} nodad"),
            &format!("link set near{net} up"),
        ])?;
        if net < 3 {
            node.ip(&[
                &format!("route add 10.9.3.0/24 via 10.9.{net}.2"),
                &format!("-6 route add fd00:9:3::/64 via fd00:9:{net}::2"),
            ])?;
        }
        let id = next.id().to_owned();
        node.run(move || ip(&format!("link set far{net} netns {id}")))
            .map_err(Skip)?;
    }
    local(&[
        "route add 10.9.3.0/24 via 10.9.1.2",
        "-6 route add fd00:9:3::/64 via fd00:9:1::2",
    ])?;
    nodes[2].echo(&FAR);
    Ok(nodes)
}

/// The link between the second and the third router carries so much.
fn set_mtu(nodes: &[Node; 3], mtu: usize) {
    let set = |node: &Node, link: &str| {
        node.ip(&[&format!("link set {link} mtu {mtu}")])
            .expect("settable");
    };
    set(&nodes[0], "near2");
    set(&nodes[1], "far2");
}

async fn within<T>(net: Net<'_>, what: &str, work: impl Future<Output = T>) -> T {
    match net.timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => {
            net.with_stack(|stack| print!("{}", stack.counters()));
            panic!("{what}: not within {PATIENCE:?}");
        }
    }
}

/// A socket whose only peer is port 7 of `to`.
fn socket<'n>(net: Net<'n>, to: IpAddr) -> UdpSocket<'n> {
    let any: SocketAddr = if to.is_ipv4() {
        "0.0.0.0:0".parse().expect("an address")
    } else {
        "[::]:0".parse().expect("an address")
    };
    let socket = UdpSocket::bind(net, any).expect("free");
    socket.connect(Some((to, 7).into())).expect("fine");
    socket
}

/// Sends a datagram until it comes back; how often it was sent.
async fn udp_echo(net: Net<'_>, socket: &UdpSocket<'_>, to: IpAddr, len: usize) -> u32 {
    let data: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
    let mut back = vec![0; 66_000];
    for tries in 1..=120 {
        // Errors tell of earlier ones.
        let _told = socket.send_to(&data, (to, 7).into()).await;
        let patience = Duration::from_millis(500);
        let echo = async {
            // What was sent twice may come back late.
            while let Ok((count, _)) = socket.recv_from(&mut back).await {
                if count == len {
                    assert!(back[..count] == data, "{len} bytes");
                    return true;
                }
            }
            false
        };
        if net.timeout(patience, echo).await == Ok(true) {
            return tries;
        }
    }
    net.with_stack(|stack| print!("{}", stack.counters()));
    panic!("{to}: {len} bytes do not come back");
}

#[test]
fn three_hops_and_how_far_a_datagram_goes() {
    isolated("three_hops_and_how_far_a_datagram_goes", || {
        let _nodes = chain()?;
        over_tap(&config(), async |net| {
            for far in FAR.map(address) {
                let socket = socket(net, far);
                for len in [0, 1, 1400, 1473, 9000, 60_000] {
                    udp_echo(net, &socket, far, len).await;
                }
                // Each router on the way says so when it goes no further.
                for hops in 1..=4 {
                    socket.set_hop_limit(NonZeroU8::new(hops)).expect("open");
                    socket
                        .send_to(b"how far?", (far, 7).into())
                        .await
                        .expect("sent");
                    let mut back = [0; 100];
                    let came = within(net, "word", socket.recv_from(&mut back)).await;
                    if hops < 4 {
                        assert_eq!(came, Err(Error::Conn(ConnError::HostUnreachable)), "{hops}");
                        continue;
                    }
                    assert_eq!(came.map(|(len, _)| len), Ok(8));
                    // Linux begins with 64, and there are three routers.
                    let received = socket.received().expect("open").expect("one");
                    assert_eq!(received.hop_limit, 61);
                }
            }
        });
        Ok(())
    });
}

#[test]
fn a_path_that_carries_ever_less_over_udp() {
    isolated("a_path_that_carries_ever_less_over_udp", || {
        let nodes = chain()?;
        over_tap(&config(), async |net| {
            for (before, mtu) in [(1500, 1500), (1500, 1400), (1400, 1300), (1300, 1280)] {
                set_mtu(&nodes, mtu);
                for far in FAR.map(address) {
                    let socket = socket(net, far);
                    // What just went through in one packet; fragments of IPv4
                    // may be cut on their way, and tell nothing.
                    let headers = if far.is_ipv4() { 28 } else { 48 };
                    for len in [1200, before - headers, 5000] {
                        let tries = udp_echo(net, &socket, far, len).await;
                        println!("{far}, MTU {mtu}, {len} bytes: sent {tries} times");
                    }
                    let known = net.with_stack(|stack| stack.path_mtu(far));
                    assert_eq!(usize::from(known), mtu, "{far}");
                }
            }
            let lowered = net.with_stack(|stack| stack.counters().get(Counter::PathMtuLowered));
            assert!(lowered >= 6, "{lowered}");
        });
        Ok(())
    });
}

/// Sends and gets back `len` bytes.
async fn tcp_echo(net: Net<'_>, flow: &TcpFlow<'_>, len: usize) {
    let byte = |at: usize| (at.wrapping_mul(31) >> 3) as u8;
    let data: Vec<u8> = (0..len).map(byte).collect();
    let read = async {
        let mut count = 0;
        while count < len {
            let frame = flow.recv().await.expect("open").expect("not ended");
            let mut bytes = frame.iter().enumerate();
            assert!(bytes.all(|(at, got)| *got == byte(count + at)));
            count += frame.len();
        }
        assert_eq!(count, len);
    };
    let both = pollwire::join(flow.write_all(&data), read);
    let (written, ()) = within(net, "TCP", both).await;
    written.expect("open");
}

#[test]
fn a_path_that_carries_ever_less_over_tcp() {
    isolated("a_path_that_carries_ever_less_over_tcp", || {
        let nodes = chain()?;
        over_tap(&config(), async |net| {
            for far in FAR.map(address) {
                set_mtu(&nodes, 1500);
                let flow = TcpFlow::connect(net, (far, 7).into());
                let flow = within(net, "connection", flow).await.expect("opens");
                for mtu in [1400, 1300, 1280] {
                    set_mtu(&nodes, mtu);
                    tcp_echo(net, &flow, 1_000_000).await;
                    let info = flow.info().expect("open");
                    assert_eq!(usize::from(info.path_mtu), mtu, "{far}");
                }
                flow.close().await.expect("open");
            }
            let counter = |counter| net.with_stack(|stack| stack.counters().get(counter));
            assert!(counter(Counter::PathMtuLowered) >= 6);
            assert_eq!(counter(Counter::Fragmented), 0, "TCP is not fragmented");
        });
        Ok(())
    });
}
