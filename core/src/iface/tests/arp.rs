use core::net::Ipv4Addr;
use core::time::Duration;

use super::*;
use crate::Ipv4Cidr;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn rfc826_a_request_for_our_address_is_answered() {
    let mut host = Host::new();
    host.inject_arp(MacAddr::BROADCAST, &request(9, OUR_IP));
    let expected = ArpRepr {
        operation: ArpOperation::Reply,
        sender_mac: OUR_MAC,
        sender_ip: OUR_IP,
        target_mac: mac(9),
        target_ip: ip(9),
    };
    assert_eq!(host.sent_arp(), [(mac(9), expected)]);
    assert_eq!(host.count(Counter::ArpRepliesOut), 1);
    host.finish();
}

#[test]
fn rfc826_an_answer_needs_no_frame_of_its_own() {
    let mut host = Host::new();
    let hoard: Vec<FrameBuf> = (1..FRAMES)
        .map(|_| host.stack.pool().alloc().unwrap())
        .collect();
    host.inject_arp(MacAddr::BROADCAST, &request(9, OUR_IP));
    assert_eq!(host.stack.pool().available(), 0);
    assert_eq!(host.sent_arp().len(), 1);
    drop(hoard);
    host.finish();
}

#[test]
fn rfc826_who_asked_for_us_is_known() {
    let mut host = Host::new();
    host.inject_arp(MacAddr::BROADCAST, &request(9, OUR_IP));
    host.sent();
    host.send(ip(9), 1).unwrap();
    // Used at once, and verified by unicast.
    let sent = host.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].arp(), Some((mac(9), our_request(ip(9)))));
    assert_eq!(sent[1].bytes[..6], mac(9).0);
    host.finish();
}

#[test]
fn rfc826_a_request_for_another_host_is_left_alone() {
    let mut host = Host::new();
    host.inject_arp(MacAddr::BROADCAST, &request(9, ip(8)));
    assert!(host.sent().is_empty());
    assert_eq!(host.dropped(DropReason::ArpNotForUs), 1);
    assert_eq!(host.stack.iface.neighbors.len(), 0);
    host.finish();
}

#[test]
fn rfc826_a_new_ethernet_address_of_a_known_neighbour_is_taken_over() {
    let mut host = Host::new();
    host.meet(9);
    let (_, generation) = host.template(ip(9)).unwrap();
    host.advance(2 * SECOND);
    let moved = ArpRepr {
        sender_mac: mac(99),
        ..request(9, ip(9))
    };
    host.inject_arp(MacAddr::BROADCAST, &moved);
    assert_ne!(
        host.stack.iface.generation(),
        generation,
        "flows must look again"
    );
    let (header, _) = host.template(ip(9)).unwrap();
    assert_eq!(header[..6], mac(99).0);
    // Hearsay is verified as soon as it is used.
    assert_eq!(host.sent_arp(), [(mac(99), our_request(ip(9)))]);
    host.finish();
}

#[test]
fn two_claimants_of_an_address_change_it_at_most_once_a_second() {
    let mut host = Host::new();
    host.meet(9);
    let (header, generation) = host.template(ip(9)).unwrap();
    for _ in 0..10 {
        let claim = ArpRepr {
            sender_mac: mac(99),
            ..request(9, ip(9))
        };
        host.inject_arp(MacAddr::BROADCAST, &claim);
    }
    assert_eq!(host.template(ip(9)), Some((header, generation)));
    host.finish();
}

#[test]
fn rfc826_nonsense_is_refused_by_name() {
    let mut host = Host::new();
    let good = arp_frame(MacAddr::BROADCAST, &request(9, OUR_IP));
    let mut refused = |bytes: &[u8], reason: DropReason| {
        host.inject(bytes);
        assert_eq!(host.dropped(reason), 1, "{reason}");
        assert!(host.sent().is_empty(), "{reason}: answered");
    };
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    refused(&good[..41], DropReason::ArpTooShort);
    refused(&with(15, 6), DropReason::ArpUnsupported);
    refused(&with(21, 3), DropReason::ArpBadOperation);
    refused(&with(22, 0xff), DropReason::ArpBadSender);
    refused(&with(28, 11), DropReason::ArpOffLink);
    host.finish();
}

#[test]
fn rfc1122_3_2_1_3_senders_that_no_host_can_have_are_refused() {
    let mut host = Host::new();
    let senders = [
        Ipv4Addr::new(127, 0, 0, 1),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(10, 0, 255, 255),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(0, 0, 0, 1),
    ];
    for sender_ip in senders {
        host.inject_arp(
            MacAddr::BROADCAST,
            &ArpRepr {
                sender_ip,
                ..request(9, OUR_IP)
            },
        );
    }
    // A reply cannot come from nobody, nor anything from ourselves.
    host.inject_arp(
        OUR_MAC,
        &ArpRepr {
            sender_ip: Ipv4Addr::UNSPECIFIED,
            ..reply(9)
        },
    );
    host.inject_arp(MacAddr::BROADCAST, &our_request(ip(9)));
    assert_eq!(
        host.dropped(DropReason::ArpBadSender),
        senders.len() as u64 + 2
    );
    assert!(host.sent().is_empty());
    assert_eq!(host.count(Counter::ArpConflicts), 0);
    host.finish();
}

#[test]
fn rfc5227_2_1_1_a_probe_for_our_address_is_answered_and_teaches_nothing() {
    let mut host = Host::new();
    let probe = ArpRepr {
        sender_ip: Ipv4Addr::UNSPECIFIED,
        ..request(9, OUR_IP)
    };
    host.inject_arp(MacAddr::BROADCAST, &probe);
    let sent = host.sent_arp();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1.sender_ip), (mac(9), OUR_IP));
    assert_eq!(host.stack.iface.neighbors.len(), 0);
    host.finish();
}

#[test]
fn rfc5227_2_3_every_address_is_announced_twice() {
    let mut config = Config::new("10.0.0.1/24".parse().unwrap(), [1; 32]);
    let second: Ipv4Cidr = "192.168.7.1/24".parse().unwrap();
    config.ipv4.push(second);
    let mut host = Host::at_boot(&config);
    let announcement = |own: Ipv4Addr| {
        let message = ArpRepr {
            sender_ip: own,
            ..our_request(own)
        };
        (MacAddr::BROADCAST, message)
    };
    let both = [announcement(OUR_IP), announcement(second.address())];
    assert_eq!(host.stack.deadline(), Some(Instant::ZERO));
    host.advance(Duration::ZERO);
    assert_eq!(host.sent_arp(), both);
    host.advance(Duration::from_millis(1999));
    assert!(host.sent().is_empty());
    host.advance(Duration::from_millis(1));
    assert_eq!(host.sent_arp(), both);
    assert_eq!(host.stack.deadline(), None);
    host.advance(60 * SECOND);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn rfc5227_2_4_a_conflict_is_counted_and_defended_once_in_ten_seconds() {
    let mut host = Host::new();
    let thief = ArpRepr {
        sender_ip: OUR_IP,
        ..request(66, ip(5))
    };
    let mut defences = 0;
    for second in 0..25 {
        host.inject_arp(MacAddr::BROADCAST, &thief);
        for (to, message) in host.sent_arp() {
            assert_eq!((to, message), (MacAddr::BROADCAST, our_request(OUR_IP)));
            assert_eq!(second % 10, 0);
            defences += 1;
        }
        host.advance(SECOND);
    }
    assert_eq!(defences, 3);
    assert_eq!(host.count(Counter::ArpConflicts), 25);
    assert_eq!(host.dropped(DropReason::ArpConflict), 25);
    assert_eq!(host.stack.iface.neighbors.len(), 0);
    host.finish();
}
