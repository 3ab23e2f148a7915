//! An attacker on the link makes up neighbours.

use core::time::Duration;
use std::println;

use super::*;
use crate::Random;
use crate::iface::neighbor::CAPACITY;

/// An address of our subnet that is none of the test's hosts.
fn made_up(number: u64) -> Ipv4Addr {
    let [.., c, d] = (256 + number % 60_000).to_be_bytes();
    Ipv4Addr::new(10, 0, c, d)
}

#[test]
fn a_hundred_thousand_spoofed_messages_change_neither_memory_nor_service() {
    let seed = [3; 32];
    println!("seed {seed:?}");
    let mut random = Random::new(seed);
    let mut host = Host::new();
    host.meet(9);
    let template = host.template(ip(9)).unwrap();
    for round in 0..100_000 {
        let sender = random.next_u64();
        let [.., a, b] = sender.to_be_bytes();
        let spoofed = ArpRepr {
            sender_ip: made_up(sender),
            sender_mac: MacAddr([2, 9, 9, 9, a, b]),
            ..match round % 3 {
                0 => request(0, OUR_IP),
                1 => request(0, made_up(sender)),
                _ => reply(0),
            }
        };
        let to = if round % 2 == 0 {
            MacAddr::BROADCAST
        } else {
            OUR_MAC
        };
        host.inject_arp(to, &spoofed);
        if round % 20 == 0 {
            host.now += Duration::from_millis(1);
            host.sent();
        }
        assert!(host.stack.iface.neighbors.len() <= CAPACITY);
    }
    host.sent();
    assert_eq!(
        host.template(ip(9)),
        Some(template),
        "the neighbour in use stays"
    );
    // A new one is met as ever, through a full cache.
    host.send(ip(10), 1).unwrap();
    assert_eq!(host.sent_arp(), [(MacAddr::BROADCAST, our_request(ip(10)))]);
    host.answer(10);
    assert_eq!(host.sent_tags(mac(10)), [1]);
    host.inject_arp(MacAddr::BROADCAST, &request(11, OUR_IP));
    assert_eq!(host.sent_arp().len(), 1, "still answers");
    host.finish();
}

#[test]
fn addresses_that_nobody_answers_for_displace_no_neighbour() {
    let mut host = Host::new();
    for known in 2..=113 {
        host.meet(known);
    }
    // Spoofed SYNs make us send to whom the attacker likes.
    for number in 0..10_000 {
        host.send(made_up(number), 1).unwrap();
        host.sent();
        assert!(host.stack.iface.neighbors.len() <= CAPACITY);
    }
    for known in 2..=113 {
        host.send(ip(known), known).unwrap();
        assert_eq!(
            host.sent_tags(mac(known)),
            [known],
            "neighbour {known} is forgotten"
        );
    }
    for _ in 0..4 {
        host.advance(Duration::from_secs(1));
        host.sent();
    }
    host.finish();
}

#[test]
fn of_too_many_neighbours_the_longest_unused_goes_and_flows_notice() {
    let mut host = Host::new();
    host.meet(2);
    let (_, generation) = host.template(ip(2)).unwrap();
    for known in 3..=113 {
        host.now += Duration::from_millis(1);
        host.meet(known);
    }
    assert_eq!(host.stack.iface.generation(), generation);
    host.meet(114);
    assert_ne!(host.stack.iface.generation(), generation);
    assert_eq!(host.template(ip(2)), None);
    assert!(host.template(ip(3)).is_some());
    host.finish();
}
