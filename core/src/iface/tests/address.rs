//! Addresses and routes that come and go.

use core::net::SocketAddr;

use super::*;
use crate::iface::Ipv4Cidr;
use crate::{ConnError, Error, Misuse, NetEvent, TcpOptions};

const SECOND_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 7, 7);

fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

fn events(host: &mut Host) -> Vec<NetEvent> {
    core::iter::from_fn(|| host.stack.next_event()).collect()
}

/// Answers our request for `address` as neighbour `number`.
fn answer_for(host: &mut Host, address: Ipv4Addr, number: u8) {
    let reply = ArpRepr {
        sender_ip: address,
        ..reply(number)
    };
    host.inject_arp(OUR_MAC, &reply);
}

#[test]
fn an_address_that_is_added_is_announced_and_answers() {
    let mut host = Host::new();
    host.stack
        .add_ipv4_address(cidr("10.0.7.7/16"), false)
        .unwrap();
    let again = host.stack.add_ipv4_address(cidr("10.0.7.7/16"), false);
    assert_eq!(again, Err(Misuse::AddressInUse));
    for (at, wait) in [0, 2].iter().enumerate() {
        host.advance(Duration::from_secs(*wait));
        let announced = host.sent_arp();
        assert_eq!(announced.len(), 1, "announcement {at}");
        assert_eq!(announced[0].1.sender_ip, SECOND_IP);
        assert_eq!(announced[0].1.target_ip, SECOND_IP);
    }
    host.inject_arp(MacAddr::BROADCAST, &request(9, SECOND_IP));
    assert_eq!(host.sent_arp()[0].1.sender_ip, SECOND_IP);
    assert_eq!(events(&mut host), [NetEvent::AddressUp(SECOND_IP.into())]);
    host.stack.remove_ipv4_address(SECOND_IP).unwrap();
    host.inject_arp(MacAddr::BROADCAST, &request(9, SECOND_IP));
    assert!(host.sent_arp().is_empty());
    assert_eq!(events(&mut host), [NetEvent::AddressDown(SECOND_IP.into())]);
    let gone = host.stack.remove_ipv4_address(SECOND_IP);
    assert_eq!(gone, Err(Misuse::AddressNotLocal));
    host.finish();
}

#[test]
fn addresses_that_name_no_host_and_too_many_are_refused() {
    let mut host = Host::new();
    for bad in ["224.0.0.1/4", "0.0.0.0/0", "127.0.0.1/8"] {
        let refused = host.stack.add_ipv4_address(cidr(bad), false);
        assert_eq!(refused, Err(Misuse::BadDestination), "{bad}");
    }
    let added = (1..=20)
        .filter(|last| {
            let own = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 9, *last), 16).unwrap();
            host.stack.add_ipv4_address(own, last % 2 == 0).is_ok()
        })
        .count();
    assert_eq!(added, 7, "and the configured one");
    for _ in 0..10 {
        host.advance(Duration::from_secs(2));
        host.sent();
    }
    host.finish();
}

#[test]
fn connections_at_an_address_that_is_removed_end() {
    let mut host = Host::new();
    host.stack
        .add_ipv4_address(cidr("10.0.7.7/16"), false)
        .unwrap();
    let mut connect = |local| {
        let options = TcpOptions {
            local: Some(SocketAddr::new(local, 0)),
            ..TcpOptions::DEFAULT
        };
        host.stack.tcp_connect((ip(9), 80).into(), options).unwrap()
    };
    let (stays, ends) = (connect(OUR_IP.into()), connect(SECOND_IP.into()));
    host.stack.remove_ipv4_address(SECOND_IP).unwrap();
    assert_eq!(
        host.stack.tcp_try_connected(ends),
        Err(Error::Conn(ConnError::AddressGone))
    );
    assert_eq!(host.stack.tcp_try_connected(stays), Err(Error::WouldBlock));
    for flow in [stays, ends] {
        host.stack.tcp_abort(flow);
    }
    for _ in 0..5 {
        host.advance(Duration::from_secs(1));
        host.sent();
    }
    host.finish();
}

#[test]
fn rfc_5227_2_1_configured_addresses_are_probed_for_where_asked() {
    for taken in [false, true] {
        let mut config = Config::new(cidr("10.0.0.1/16"), [7; 32]);
        config.probe_ipv4 = true;
        let mut host = Host::at_boot(&config);
        let mut probes = 0;
        for step in 0..40 {
            host.advance(Duration::from_millis(250));
            for (to, arp) in host.sent_arp() {
                assert_eq!(to, MacAddr::BROADCAST);
                probes += usize::from(arp.is_probe());
                if arp.is_probe() {
                    assert_eq!(arp.target_ip, OUR_IP);
                    assert_eq!(host.stack.ipv4_addresses().count(), 0);
                }
            }
            if taken && step == 5 {
                let owner = ArpRepr {
                    sender_ip: OUR_IP,
                    ..reply(9)
                };
                host.inject_arp(OUR_MAC, &owner);
            }
        }
        if taken {
            assert_eq!(host.stack.ipv4_addresses().count(), 0);
            let events = events(&mut host);
            assert_eq!(events, [NetEvent::AddressDuplicate(OUR_IP.into())]);
            assert_eq!(host.count(Counter::ArpConflicts), 1);
        } else {
            assert_eq!(probes, 3);
            assert_eq!(host.stack.ipv4_addresses().count(), 1);
            assert_eq!(events(&mut host), [NetEvent::AddressUp(OUR_IP.into())]);
        }
        host.finish();
    }
}

#[test]
fn a_route_that_is_added_takes_datagrams_on_their_way_along() {
    let mut host = Host::new();
    let far = Ipv4Addr::new(192, 0, 2, 1);
    let id = host
        .stack
        .udp_bind((Ipv4Addr::UNSPECIFIED, 7).into())
        .unwrap();
    let send = |host: &mut Host| {
        let frame = host.packet(1);
        host.stack
            .udp_try_send_frame(id, frame, (far, 9).into())
            .unwrap();
        host.sent()
    };
    // By the default gateway, whose headers the socket keeps.
    assert_eq!(send(&mut host)[0].arp().unwrap().1.target_ip, GATEWAY);
    answer_for(&mut host, GATEWAY, 254);
    host.sent();
    for _ in 0..3 {
        assert_eq!(send(&mut host)[0].bytes[..6], mac(254).0);
    }
    host.stack
        .add_ipv4_route(cidr("192.0.2.0/24"), Some(ip(8)))
        .unwrap();
    assert_eq!(send(&mut host)[0].arp().unwrap().1.target_ip, ip(8));
    host.answer(8);
    assert_eq!(host.sent()[0].bytes[..6], mac(8).0);
    for _ in 0..3 {
        assert_eq!(send(&mut host)[0].bytes[..6], mac(8).0);
    }
    assert!(host.stack.remove_ipv4_route(cidr("192.0.2.99/24")));
    assert_eq!(send(&mut host)[0].bytes[..6], mac(254).0);
    let bad = host
        .stack
        .add_ipv4_route(cidr("192.0.2.0/24"), Some(Ipv4Addr::BROADCAST));
    assert_eq!(bad, Err(Misuse::BadDestination));
    host.stack.udp_close(id);
    host.finish();
}
