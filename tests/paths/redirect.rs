//! Two routers on one link, of which the one that we know sends us to the other;
//! and a neighbour that would like to be a router.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::process::Command;
use std::time::Duration;

use pollwire::{Counter, DropReason, InterfaceIds, NetEvent, TcpFlow};
use socket2::{Domain, Protocol, Socket, Type};

use super::host::{Node, forward};
use super::iproute::ip;
use super::namespace::{Skip, isolated};
use super::{address, config, over_tap, socket, udp_echo, within};

/// Behind the second router.
const BEHIND: [&str; 2] = ["10.9.7.1", "fd00:9:7::1"];

/// A bridge with the TAP, our router (host 1) and another (host 3) at it, which
/// has the addresses [`BEHIND`] itself; our router knows.
fn two_routers() -> Result<[Node; 2], Skip> {
    let nodes = [Node::new()?, Node::new()?];
    for line in [
        "link add br0 type bridge",
        "link set br0 up",
        "link set tap0 master br0",
    ] {
        ip(line).map_err(Skip)?;
    }
    for (node, host) in nodes.iter().zip([1, 3]) {
        ip(&format!(
            "link add port{host} type veth peer name eth{host}"
        ))
        .map_err(Skip)?;
        ip(&format!("link set port{host} master br0")).map_err(Skip)?;
        ip(&format!("link set port{host} up")).map_err(Skip)?;
        node.take_link(&format!("eth{host}"))?;
        node.run(forward);
        node.ip(&[
            &format!("address add 10.9.0.{host}/24 dev eth{host}"),
            &format!("address add fd00:9::{host}/64 dev eth{host} nodad"),
            &format!("address add fe80::{host}/64 dev eth{host} nodad"),
            &format!("link set eth{host} up"),
        ])?;
    }
    nodes[0].ip(&[
        "route add 10.9.7.0/24 via 10.9.0.3",
        "-6 route add fd00:9:7::/64 via fe80::3 dev eth1",
    ])?;
    nodes[1].ip(&[
        "address add 10.9.7.1/32 dev lo",
        "address add fd00:9:7::1/128 dev lo nodad",
    ])?;
    nodes[1].echo(&BEHIND);
    Ok(nodes)
}

#[test]
fn a_router_sends_us_to_another() {
    isolated("redirect::a_router_sends_us_to_another", || {
        let nodes = two_routers()?;
        let mut config = config().with_ipv6_gateway(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        // Only who hears routers hears redirects.
        config = config.with_slaac(InterfaceIds::Eui64);
        over_tap(&config, async |net| {
            let count = |counter| net.with_stack(|stack| stack.counters().get(counter));
            let forwarded = |behind: IpAddr| {
                let (v4, v6) = nodes[0].forwarded();
                if behind.is_ipv4() { v4 } else { v6 }
            };
            let followed = [Counter::IcmpRedirects, Counter::NdpRedirects];
            for (behind, followed) in BEHIND.map(address).into_iter().zip(followed) {
                let udp = socket(net, behind);
                udp_echo(net, &udp, behind, 100).await;
                for _ in 0..100 {
                    if count(followed) > 0 {
                        break;
                    }
                    udp_echo(net, &udp, behind, 100).await;
                    net.sleep(Duration::from_millis(10)).await;
                }
                assert!(count(followed) > 0, "no redirect came");
                // From now on our router has nothing to do with it.
                let before = forwarded(behind);
                for _ in 0..10 {
                    udp_echo(net, &udp, behind, 1000).await;
                }
                let flow = TcpFlow::connect(net, (behind, 7).into());
                let flow = within(net, "connection", flow).await.expect("opens");
                super::tcp_echo(net, &flow, 100_000).await;
                flow.close().await.expect("open");
                assert_eq!(forwarded(behind), before, "still through the first");
            }
        });
        Ok(())
    });
}

/// What `ip` says of a link in this thread's namespace.
fn show(link: &str) -> String {
    let output = Command::new("ip")
        .args(["-o", "link", "show", link])
        .output();
    String::from_utf8(output.expect("ip runs").stdout).expect("text")
}

/// Its number.
fn index_of(link: &str) -> u32 {
    let text = show(link);
    let (index, _) = text.split_once(':').expect("a link");
    index.parse().expect("a number")
}

/// Its Ethernet address.
fn mac_of(link: &str) -> String {
    let text = show(link);
    let mut words = text.split_whitespace();
    words.find(|&word| word == "link/ether").expect("Ethernet");
    words.next().expect("an address").to_owned()
}

/// An ICMPv6 message from a neighbour, with its link-local address.
fn say(node: &Node, to: &str, hops: u32, message: Vec<u8>) {
    let to: Ipv6Addr = to.parse().expect("an address");
    node.run(move || {
        let raw = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).expect("root");
        raw.set_unicast_hops_v6(hops).expect("settable");
        raw.set_multicast_hops_v6(hops).expect("settable");
        let index = index_of("eth3");
        let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
        let from = SocketAddr::V6(SocketAddrV6::new(from, 0, 0, index));
        raw.bind(&from.into()).expect("its own");
        let to = SocketAddr::V6(SocketAddrV6::new(to, 0, 0, index));
        raw.send_to(&message, &to.into()).expect("sent");
    });
}

/// A router advertisement with a prefix for addresses, for so many seconds.
fn advertisement(lifetime: u16, prefix: u16) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message.extend([3, 4, 64, 0xc0]);
    message.extend(7200_u32.to_be_bytes());
    message.extend(7200_u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend(Ipv6Addr::new(0xfd66, prefix, 0, 0, 0, 0, 0, 0).octets());
    message
}

/// A redirect of packets for `destination` to `target`, quoting a packet that
/// might be ours.
fn redirect(target: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![137, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(destination.octets());
    message.extend([4, 7, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 8, 17, 64]);
    message.extend("fd00:9::2".parse::<Ipv6Addr>().expect("ours").octets());
    message.extend(destination.octets());
    message.extend([0, 7, 0, 7, 0, 8, 0, 0]);
    message
}

#[test]
fn neighbours_that_are_no_routers_change_nothing() {
    isolated(
        "redirect::neighbours_that_are_no_routers_change_nothing",
        || {
            let nodes = two_routers()?;
            let mut config = config().with_ipv6_gateway(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
            config = config.with_slaac(InterfaceIds::Eui64);
            over_tap(&config, async |net| {
                let dropped = |reason| net.with_stack(|stack| stack.counters().dropped(reason));
                let far: Ipv6Addr = "fd00:9:8::1".parse().expect("an address");
                let neighbour = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
                let own = "fd00:9::2";
                // A redirect that is not from the router in use.
                say(&nodes[1], own, 255, redirect(neighbour, far));
                // And one that may have come through a router.
                say(&nodes[1], own, 64, redirect(neighbour, far));
                say(&nodes[1], own, 64, advertisement(1800, 1));
                for _ in 0..6000 {
                    if dropped(DropReason::NdpBadHopLimit) == 2 {
                        break;
                    }
                    net.sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(dropped(DropReason::NdpBadRedirect), 1);
                assert_eq!(dropped(DropReason::NdpBadHopLimit), 2);
                let redirects = net.with_stack(|stack| stack.counters().get(Counter::NdpRedirects));
                assert_eq!(redirects, 0);

                // It may say that it is a router, as anybody may. As many prefixes as
                // it likes: what is configured stays, and what grows has an end.
                for prefix in 0..300 {
                    say(&nodes[1], "ff02::1", 255, advertisement(1800, prefix));
                    if prefix % 20 == 0 {
                        net.sleep(Duration::from_millis(10)).await;
                    }
                }
                let behind = address(BEHIND[1]);
                let v6 = socket(net, behind);
                for _ in 0..10 {
                    udp_echo(net, &v6, behind, 1000).await;
                }
                let ours = net.with_stack(|stack| stack.source_for(address("fd00:9::1")));
                assert_eq!(ours, Some(address(own)));
                let mut up = 0;
                while let Some(event) = net.with_stack(|stack| stack.next_event()) {
                    up += usize::from(matches!(event, NetEvent::AddressUp(IpAddr::V6(_))));
                }
                assert!(up <= 16, "{up} addresses");
                // It is none after all (RFC 4861, 7.2.5 and 6.3.4).
                say(&nodes[1], "ff02::1", 255, advertisement(0, 1));
                udp_echo(net, &v6, behind, 1000).await;
            });
            Ok(())
        },
    );
}

/// Our router names one that answers no questions about its Ethernet address:
/// all goes on through ours.
#[test]
fn a_router_that_does_not_answer_is_not_used() {
    isolated(
        "redirect::a_router_that_does_not_answer_is_not_used",
        || {
            let nodes = two_routers()?;
            let mac = nodes[1].run(|| mac_of("eth3"));
            nodes[0].ip(&[
                &format!("neigh add 10.9.0.9 lladdr {mac} dev eth1 nud permanent"),
                "route replace 10.9.7.0/24 via 10.9.0.9",
            ])?;
            over_tap(&config(), async |net| {
                let count = |counter| net.with_stack(|stack| stack.counters().get(counter));
                let behind = address(BEHIND[0]);
                let flow = TcpFlow::connect(net, (behind, 7).into());
                let flow = within(net, "connection", flow).await.expect("opens");
                for _ in 0..100 {
                    if count(Counter::IcmpRedirects) > 0 {
                        break;
                    }
                    super::tcp_echo(net, &flow, 1000).await;
                    net.sleep(Duration::from_millis(10)).await;
                }
                assert!(count(Counter::IcmpRedirects) > 0, "no redirect came");
                let before = nodes[0].forwarded().0;
                super::tcp_echo(net, &flow, 100_000).await;
                let udp = socket(net, behind);
                for _ in 0..10 {
                    udp_echo(net, &udp, behind, 1000).await;
                }
                assert!(nodes[0].forwarded().0 >= before + 20);
                flow.close().await.expect("open");
            });
            Ok(())
        },
    );
}
