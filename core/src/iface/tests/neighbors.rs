use core::net::SocketAddr;
use core::time::Duration;

use super::*;
use crate::iface::neighbor::{REACHABLE, TRIES};
use crate::iface::pending::PER_NEIGHBOR;
use crate::{ConnError, Error, TcpOptions};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn rfc1122_2_3_2_2_the_first_packet_is_not_lost() {
    let mut host = Host::new();
    assert_eq!(host.template(ip(9)), None);
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.sent_arp(), [(MacAddr::BROADCAST, our_request(ip(9)))]);
    host.answer(9);
    let sent = host.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bytes[..14], host.template(ip(9)).unwrap().0);
    assert_eq!(sent[0].bytes[34..], [1; 8]);
    host.send(ip(9), 2).unwrap();
    assert_eq!(host.sent_tags(mac(9)), [2]);
    host.finish();
}

#[test]
fn rfc1122_2_3_2_2_the_latest_packets_wait_in_order() {
    let mut host = Host::new();
    for tag in 1..=6 {
        host.send(ip(9), tag).unwrap();
    }
    assert_eq!(
        host.dropped(DropReason::NeighborQueueFull),
        6 - PER_NEIGHBOR as u64
    );
    assert_eq!(host.sent_arp().len(), 1, "asked once");
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [3, 4, 5, 6]);
    host.finish();
}

#[test]
fn rfc826_any_word_of_the_neighbour_frees_what_waits() {
    let mut host = Host::new();
    host.send(ip(9), 1).unwrap();
    host.sent();
    host.inject_arp(MacAddr::BROADCAST, &request(9, ip(8)));
    assert_eq!(host.sent_tags(mac(9)), [1]);
    host.finish();
}

#[test]
fn one_dead_neighbour_never_blocks_another() {
    let mut host = Host::new();
    for tag in 0..20 {
        host.send(ip(66), tag).unwrap();
        host.send(ip(67), tag).unwrap();
    }
    host.send(ip(9), 1).unwrap();
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [1]);
    host.send(ip(9), 2).unwrap();
    assert_eq!(host.sent_tags(mac(9)), [2]);
    for _ in 0..=TRIES {
        host.advance(SECOND);
    }
    assert_eq!(host.count(Counter::NeighborsFailed), 2);
    host.finish();
}

#[test]
fn many_dead_neighbours_hold_an_eighth_of_the_frames_at_most() {
    let mut host = Host::new();
    for dead in 100..150 {
        host.send(ip(dead), dead).unwrap();
        host.sent();
        assert!(host.stack.pool().available() >= FRAMES - FRAMES / 8);
    }
    host.send(ip(9), 1).unwrap();
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [1]);
    for _ in 0..=TRIES {
        host.advance(SECOND);
        host.sent();
    }
    assert_eq!(host.count(Counter::NeighborsFailed), 50);
    let waited = FRAMES as u64 / 8 - 1;
    assert_eq!(host.dropped(DropReason::NeighborUnreachable), waited);
    assert_eq!(host.dropped(DropReason::NeighborQueueFull), 50 - waited);
    host.finish();
}

#[test]
fn rfc1122_2_3_2_1_asks_once_a_second_then_gives_up() {
    let mut host = Host::new();
    let asked = (MacAddr::BROADCAST, our_request(ip(9)));
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.sent_arp(), [asked]);
    for _ in 1..TRIES {
        assert_eq!(host.stack.deadline(), Some(host.now + SECOND));
        host.advance(Duration::from_millis(999));
        host.send(ip(9), 2).unwrap();
        assert!(host.sent().is_empty());
        host.advance(Duration::from_millis(1));
        assert_eq!(host.sent_arp(), [asked]);
    }
    host.advance(SECOND);
    assert!(host.sent().is_empty());
    assert_eq!(host.count(Counter::NeighborsFailed), 1);
    assert_eq!(
        host.dropped(DropReason::NeighborUnreachable),
        u64::from(TRIES)
    );
    assert_eq!(host.stack.deadline(), None);
    // The next packet tries again.
    host.send(ip(9), 3).unwrap();
    assert_eq!(host.sent_arp(), [asked]);
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [3]);
    host.finish();
}

#[test]
fn rfc1122_4_2_3_9_opening_a_connection_to_a_dead_neighbour_fails() {
    let mut host = Host::new();
    let to = SocketAddr::from((ip(9), 80));
    let flow = host.stack.tcp_connect(to, TcpOptions::default()).unwrap();
    for _ in 0..=TRIES {
        host.sent();
        host.advance(SECOND);
    }
    let outcome = host.stack.tcp_try_connected(flow);
    assert_eq!(outcome, Err(Error::Conn(ConnError::HostUnreachable)));
    host.stack.tcp_close(flow);
    host.finish();
}

#[test]
fn rfc4861_7_3_3_a_stale_neighbour_is_used_while_it_is_polled() {
    let mut host = Host::new();
    host.meet(9);
    let (header, generation) = host.template(ip(9)).unwrap();
    host.advance(REACHABLE);
    let stale = host.stack.iface.generation();
    assert_ne!(stale, generation, "flows must look again");
    assert!(host.sent().is_empty(), "silent neighbours cost nothing");
    assert_eq!(host.template(ip(9)), Some((header, stale)));
    assert_eq!(host.sent_arp(), [(mac(9), our_request(ip(9)))]);
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.sent_tags(mac(9)), [1]);
    host.answer(9);
    host.advance(5 * SECOND);
    assert!(host.sent().is_empty(), "polled on after the answer");
    assert_eq!(host.template(ip(9)), Some((header, stale)));
    host.finish();
}

#[test]
fn rfc1122_2_3_2_1_polls_in_vain_flush_the_entry() {
    let mut host = Host::new();
    host.meet(9);
    host.advance(REACHABLE);
    let (_, generation) = host.template(ip(9)).unwrap();
    let poll = (mac(9), our_request(ip(9)));
    assert_eq!(host.sent_arp(), [poll]);
    for _ in 1..TRIES {
        host.advance(SECOND);
        assert_eq!(host.sent_arp(), [poll]);
    }
    host.advance(SECOND);
    assert_ne!(host.stack.iface.generation(), generation);
    assert_eq!(host.template(ip(9)), None);
    // It may have another Ethernet address now: everybody is asked.
    host.send(ip(9), 1).unwrap();
    assert_eq!(host.sent_arp(), [(MacAddr::BROADCAST, our_request(ip(9)))]);
    host.inject_arp(
        OUR_MAC,
        &ArpRepr {
            sender_mac: mac(99),
            ..reply(9)
        },
    );
    assert_eq!(host.sent_tags(mac(99)), [1]);
    host.finish();
}

#[test]
fn an_unused_neighbour_ages_without_a_sound() {
    let mut host = Host::new();
    host.meet(9);
    let generation = host.stack.iface.generation();
    host.advance(REACHABLE);
    assert_eq!(host.stack.deadline(), None);
    assert_eq!(
        host.stack.iface.generation(),
        generation,
        "nobody held its address"
    );
    host.finish();
}

#[test]
fn rfc1122_3_3_1_off_link_packets_wait_for_the_gateway() {
    let mut host = Host::new();
    let far = Ipv4Addr::new(192, 0, 2, 1);
    host.send(far, 1).unwrap();
    assert_eq!(
        host.sent_arp(),
        [(MacAddr::BROADCAST, our_request(GATEWAY))]
    );
    host.answer(254);
    assert_eq!(host.sent_tags(mac(254)), [1]);
    assert_eq!(
        host.template(far)
            .map(|(header, _)| header[..6] == mac(254).0),
        Some(true)
    );
    host.finish();
}
