//! IPv4 on a link with Linux and its DHCP server, over TAP, in a network
//! namespace of its own. What cannot run on a machine says so in a line
//! `skipped: why`.
#![cfg(target_os = "linux")]

#[path = "common/beside.rs"]
mod beside;
#[path = "link/host.rs"]
mod host;
#[path = "common/iproute.rs"]
mod iproute;
#[path = "e2e/namespace.rs"]
mod namespace;

use std::net::{IpAddr, Ipv4Addr, UdpSocket as StdUdpSocket};
use std::time::{Duration, Instant};

use beside::{PATIENCE, meanwhile, pattern, ping, silent};
use host::{Dnsmasq, Hasty, THEIRS, Udhcpd};
use iproute::ip;
use namespace::{Skip, isolated, need};
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{
    Config, Counter, DhcpConfig, DhcpLease, DropReason, Fallback, Net, NetCell, NetEvent, Runtime,
    Stack, TimedOut, UdpSocket,
};

/// How much faster time goes by for the stack than for Linux, where it waits
/// for leases.
const HASTE: u32 = 30;
/// A minute by Linux's time, as seconds of the stack's.
const A_MINUTE: u64 = 60 * HASTE as u64;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The longest payload of a UDP datagram, and of an ICMP echo.
const LONGEST: usize = 65_507;

/// Runs `main` over a TAP, with time `haste` times as fast, and finds every
/// frame back in the pool.
fn over_tap(config: &Config, haste: u32, main: impl AsyncFnOnce(Net<'_>)) {
    let tap = Tap::open(host::TAP, local_mac(7), Offloads::NONE).expect("a TAP");
    let device = Hasty::new(tap, haste);
    let clock = device.clock();
    let cell = NetCell::new(Stack::on_heap::<1024, 64, 2048>(config, device.caps()));
    Runtime::new(&cell, device, clock).block_on(async |net| {
        main(net).await;
        // Packets for neighbours that do not answer go with time, and so do
        // fragments without their others.
        for _ in 0..700 {
            if net.with_stack(|stack| stack.pool().in_use()) == 0 {
                return;
            }
            net.sleep(Duration::from_millis(100)).await;
        }
        panic!("frames are left behind");
    });
}

fn dhcp() -> Config {
    Config::without_addresses([7; 32]).with_dhcp(DhcpConfig::new())
}

/// Waits for `wanted`, for so long by the stack's time, and a minute by Linux's for
/// a slow machine.
async fn event(net: Net<'_>, seconds: u64, wanted: impl Fn(&NetEvent) -> bool) -> NetEvent {
    let found = net.timeout(Duration::from_secs(seconds + A_MINUTE), async {
        loop {
            let event = net.next_event().await;
            if wanted(&event) {
                return event;
            }
        }
    });
    match found.await {
        Ok(event) => event,
        Err(TimedOut) => panic!("no event within {seconds} s"),
    }
}

/// The address that comes up within so many seconds.
async fn address_up(net: Net<'_>, seconds: u64) -> Ipv4Addr {
    match event(net, seconds, |event| {
        matches!(event, NetEvent::AddressUp(_))
    })
    .await
    {
        NetEvent::AddressUp(IpAddr::V4(address)) => address,
        other => panic!("{other:?}"),
    }
}

async fn address_down(net: Net<'_>, seconds: u64, address: Ipv4Addr) {
    let down = NetEvent::AddressDown(address.into());
    event(net, seconds, |event| *event == down).await;
}

fn lease(net: Net<'_>) -> DhcpLease {
    net.with_stack(|stack| stack.dhcp_lease().cloned())
        .expect("a lease")
}

/// Waits until `fine`, for so long by the stack's time, and a minute by Linux's for
/// a slow machine.
async fn until(net: Net<'_>, seconds: u64, what: &str, mut fine: impl FnMut() -> bool) {
    for _ in 0..(seconds + A_MINUTE) * 10 {
        if fine() {
            return;
        }
        net.sleep(Duration::from_millis(100)).await;
    }
    panic!("no {what} within {seconds} s");
}

#[test]
fn pings_and_datagrams_of_sizes_up_to_the_longest() {
    isolated("pings_and_datagrams_of_sizes_up_to_the_longest", || {
        let sizes = || {
            let every = (0..LONGEST).step_by(509);
            every.chain([1471, 1472, 1473, 2952, 2953, LONGEST - 1, LONGEST])
        };
        let config = Config::new("10.9.0.2/24".parse().expect("a CIDR"), [7; 32]);
        over_tap(&config, 1, async |net| {
            let socket = UdpSocket::bind(net, (OURS, 7).into()).expect("free");
            let echo = net.spawn(async move {
                let mut pieces = Vec::new();
                loop {
                    let from = socket.recv_pieces_from(&mut pieces).await.expect("open");
                    socket
                        .send_pieces_to(&mut pieces, from)
                        .await
                        .expect("sent");
                }
            });
            let start = Instant::now();
            meanwhile(net, move || {
                for size in sizes() {
                    assert!(ping(OURS, size), "ping of {size} bytes");
                }
            })
            .await;
            println!("{} pings: {:.1?}", sizes().count(), start.elapsed());
            meanwhile(net, move || {
                let socket = StdUdpSocket::bind((THEIRS, 0)).expect("a port is free");
                socket.connect((OURS, 7)).expect("connected");
                socket.set_read_timeout(Some(PATIENCE)).expect("settable");
                let mut answer = vec![0; LONGEST + 1];
                for size in sizes() {
                    let data = pattern(size);
                    socket.send(&data).expect("sent");
                    let count = socket.recv(&mut answer).expect("an echo");
                    assert!(answer[..count] == data, "{size} bytes: {count} came");
                }
            })
            .await;
            echo.abort();
            let reassembled = net.with_stack(|stack| stack.counters().get(Counter::Reassembled));
            assert!(reassembled >= 2 * 100, "{reassembled}");
        });
        Ok(())
    });
}

#[test]
fn dhcp_leases_an_address_and_renews_it() {
    isolated("dhcp_leases_an_address_and_renews_it", || {
        need("dnsmasq")?;
        let options = [
            "--dhcp-option=option:router,10.9.0.1",
            "--dhcp-option=option:dns-server,10.9.0.53,10.9.0.54",
            "--dhcp-option=option:domain-name,example.test",
            "--dhcp-option=option:mtu,1400",
            "--dhcp-option=121,10.20.0.0/16,10.9.0.3,0.0.0.0/0,10.9.0.1",
        ];
        let server = Dnsmasq::start(50, "2m", &options);
        over_tap(&dhcp(), HASTE, async |net| {
            let address = address_up(net, 60).await;
            assert!((50..60).contains(&address.octets()[3]), "{address}");
            let first = lease(net);
            assert_eq!(first.server, THEIRS);
            assert_eq!(first.address.to_string(), format!("{address}/24"));
            assert_eq!((first.mtu, &first.domain[..]), (Some(1400), "example.test"));
            assert_eq!(first.routes.len(), 2);
            let dns: Vec<IpAddr> = net.with_stack(|stack| stack.dns_servers().collect());
            assert_eq!(
                dns,
                [IpAddr::from([10, 9, 0, 53]), IpAddr::from([10, 9, 0, 54])]
            );
            assert!(
                meanwhile(net, move || ping(address, 3000)).await,
                "no answer"
            );
            // T1 is after a minute.
            until(net, 70, "renewal", || {
                lease(net).expires_at > first.expires_at
            })
            .await;
            assert_eq!(lease(net).address, first.address);
            // More where dnsmasq had no time to answer at once.
            let requests = server.text().matches("DHCPREQUEST").count();
            assert!(requests >= 2, "{}", server.text());
            net.with_stack(|stack| stack.dhcp_release());
            until(net, 30, "release", || server.text().contains("DHCPRELEASE")).await;
            assert!(meanwhile(net, move || silent(address)).await, "released");
        });
        Ok(())
    });
}

#[test]
fn dhcp_survives_a_server_that_goes_and_another_that_comes() {
    isolated(
        "dhcp_survives_a_server_that_goes_and_another_that_comes",
        || {
            need("dnsmasq")?;
            let mut server = Some(Dnsmasq::start(50, "4m", &[]));
            over_tap(&dhcp(), HASTE, async |net| {
                let address = address_up(net, 60).await;
                let first = lease(net);
                // The same lease at another address: unicast renewals find nobody,
                // only rebinding does.
                server.take();
                ip("address del 10.9.0.1/24 dev tap0").expect("done");
                ip("address add 10.9.0.4/24 dev tap0").expect("done");
                server = Some(Dnsmasq::start(50, "4m", &[]));
                let other = Ipv4Addr::new(10, 9, 0, 4);
                until(net, 240, "rebinding", || lease(net).server == other).await;
                assert_eq!(lease(net).address, first.address);
                let now = net.now();
                assert!(now >= first.rebind_at && now < first.expires_at);
                // Nobody: the address goes when its time is up.
                let last = lease(net).expires_at;
                server.take();
                address_down(net, 300, address).await;
                assert!(net.now() >= last, "kept to the end");
                // And comes back with a server.
                server = Some(Dnsmasq::start(50, "4m", &[]));
                assert_eq!(address_up(net, 150).await, address, "the one that it had");
            });
            Ok(())
        },
    );
}

/// As above, with a server that is made otherwise: busybox's.
#[test]
fn dhcp_leases_from_another_server_that_goes_and_comes_back() {
    isolated(
        "dhcp_leases_from_another_server_that_goes_and_comes_back",
        || {
            let mut server = Some(Udhcpd::start(70, 120)?);
            over_tap(&dhcp(), HASTE, async |net| {
                let address = address_up(net, 90).await;
                assert!((70..80).contains(&address.octets()[3]), "{address}");
                let first = lease(net);
                assert_eq!(first.server, THEIRS);
                assert_eq!(first.routers[..], [THEIRS]);
                assert_eq!(&first.domain[..], "example.test");
                let dns: Vec<IpAddr> = net.with_stack(|stack| stack.dns_servers().collect());
                assert_eq!(dns, [IpAddr::from([10, 9, 0, 53])]);
                assert!(
                    meanwhile(net, move || ping(address, 3000)).await,
                    "no answer"
                );
                until(net, 90, "renewal", || {
                    lease(net).expires_at > first.expires_at
                })
                .await;
                // Nobody answers: the address goes when its time is up, and what
                // came with it.
                server.take();
                let last = lease(net).expires_at;
                address_down(net, 200, address).await;
                assert!(net.now() >= last, "kept to the end");
                assert_eq!(net.with_stack(|stack| stack.dns_servers().count()), 0);
                server = Udhcpd::start(70, 120).ok();
                let next = address_up(net, 150).await;
                assert!((70..80).contains(&next.octets()[3]), "{next}");
            });
            Ok(())
        },
    );
}

#[test]
fn dhcp_takes_no_for_an_answer() {
    isolated("dhcp_takes_no_for_an_answer", || {
        need("dnsmasq")?;
        let mut server = Some(Dnsmasq::start(50, "2m", &[]));
        over_tap(&dhcp(), HASTE, async |net| {
            let address = address_up(net, 60).await;
            // A server that knows nothing of the lease, nor of such addresses.
            server.take();
            Dnsmasq::forget();
            server = Some(Dnsmasq::start(100, "2m", &[]));
            address_down(net, 120, address).await;
            let text = server.as_ref().map(Dnsmasq::text).unwrap_or_default();
            assert!(text.contains("DHCPNAK"), "{text}");
            let next = address_up(net, 60).await;
            assert!((100..110).contains(&next.octets()[3]), "{next}");
        });
        Ok(())
    });
}

#[test]
fn dhcp_declines_an_address_that_linux_has() {
    isolated("dhcp_declines_an_address_that_linux_has", || {
        need("dnsmasq")?;
        // All of the pool but one.
        for host in 50..59 {
            ip(&format!("address add 10.9.0.{host}/24 dev tap0"))?;
        }
        let server = Dnsmasq::start(50, "2m", &["--dhcp-sequential-ip"]);
        over_tap(&dhcp(), HASTE, async |net| {
            let duplicate = |event: &NetEvent| matches!(event, NetEvent::AddressDuplicate(_));
            event(net, 60, duplicate).await;
            until(net, 30, "decline", || server.text().contains("DHCPDECLINE")).await;
            let conflicts = |stack: &mut Stack| stack.counters().dropped(DropReason::ArpConflict);
            assert!(net.with_stack(conflicts) > 0);
        });
        Ok(())
    });
}

#[test]
fn dhcp_falls_back_where_nobody_answers() {
    isolated("dhcp_falls_back_where_nobody_answers", || {
        let config = Config::without_addresses([7; 32]).with_dhcp(DhcpConfig {
            fallback: Some(Fallback {
                address: "10.9.0.2/24".parse().expect("a CIDR"),
                gateway: None,
                after: Duration::from_secs(15),
            }),
            ..DhcpConfig::new()
        });
        over_tap(&config, HASTE, async |net| {
            assert_eq!(address_up(net, 20).await, OURS);
            assert!(meanwhile(net, || ping(OURS, 100)).await);
        });
        Ok::<(), Skip>(())
    });
}
