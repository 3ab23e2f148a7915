//! The client against a scripted server, in virtual time.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use arrayvec::ArrayVec;
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::{DhcpConfig, Fallback};
use crate::iface::tests::{Host, OUR_MAC, arp_frame};
use crate::ip::IpFields;
use crate::udp::tests::peer::datagram;
use crate::wire::dhcp::{DhcpKind, DhcpMessage};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::{ArpOperation, ArpRepr, EthernetHeader, Ipv4Header, MacAddr};
use crate::{Config, ConnError, Counter, DropReason, Error, NetEvent, TcpOptions};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 9, 1]);
const EVERYBODY: MacAddr = MacAddr::BROADCAST;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn unprobed() -> DhcpConfig {
    DhcpConfig {
        probe: false,
        ..DhcpConfig::new()
    }
}

/// A message that the host sent, and between whom.
struct Sent {
    message: DhcpMessage,
    mac: MacAddr,
    from: Ipv4Addr,
    to: Ipv4Addr,
}

/// A host whose link the test plays.
struct Link {
    host: Host,
    /// ARP and DHCP messages that it sent, until they are asked for.
    arp: Vec<ArpRepr>,
    queue: Vec<Sent>,
}

impl Link {
    fn new(dhcp: DhcpConfig) -> Self {
        let config = Config::without_addresses([5; 32]).with_dhcp(dhcp);
        let mut link = Self {
            host: Host::at_boot(&config),
            arp: Vec::new(),
            queue: Vec::new(),
        };
        link.host.advance(Duration::ZERO);
        link
    }

    /// The DHCP messages that the host sent.
    fn sent(&mut self) -> Vec<Sent> {
        let mut all = core::mem::take(&mut self.queue);
        for sent in self.host.sent() {
            if let Some((_, arp)) = sent.arp() {
                self.arp.push(arp);
                continue;
            }
            let (ethernet, packet) =
                EthernetHeader::read_from_prefix(&sent.bytes).expect("a frame");
            let (ip, udp) = Ipv4Header::read_from_prefix(packet).expect("a packet");
            assert_eq!(ip.protocol, PROTOCOL_UDP);
            assert_eq!(udp[..4], [0, 68, 0, 67], "ports");
            let whole = datagram(ip.source(), ip.destination(), 68, 67, &udp[8..]);
            assert_eq!(udp, whole, "length and checksum");
            all.push(Sent {
                message: DhcpMessage::parse(&udp[8..]).expect("a message"),
                mac: ethernet.dst,
                from: ip.source(),
                to: ip.destination(),
            });
        }
        all
    }

    /// The one message that it sent.
    #[track_caller]
    fn one(&mut self, kind: DhcpKind) -> Sent {
        let mut all = self.sent();
        assert_eq!(all.len(), 1, "messages sent");
        let sent = all.remove(0);
        assert_eq!(sent.message.kind, kind);
        sent
    }

    fn nothing(&mut self) {
        assert!(self.sent().is_empty());
    }

    fn give_to(&mut self, mac: MacAddr, to: Ipv4Addr, message: &DhcpMessage) {
        let body = datagram(SERVER, to, 67, 68, &message.emit(1500));
        let total = u16::try_from(20 + body.len()).expect("short");
        let ip = crate::ip::header(IpFields::of(PROTOCOL_UDP), SERVER, to, total);
        let ethernet = EthernetHeader::new(mac, SERVER_MAC, 0x0800);
        let frame = [&ethernet.to_bytes()[..], &ip.to_bytes(), &body].concat();
        self.host.inject(&frame);
    }

    fn give(&mut self, message: &DhcpMessage) {
        self.give_to(EVERYBODY, Ipv4Addr::BROADCAST, message);
    }

    /// A server's answer to `question`, with an hour's lease of [`GIVEN`].
    fn answer(&self, kind: DhcpKind, question: &DhcpMessage) -> DhcpMessage {
        DhcpMessage {
            yours: GIVEN,
            server: Some(SERVER),
            prefix: Some(24),
            routers: ArrayVec::from_iter([SERVER]),
            dns: ArrayVec::from_iter([Ipv4Addr::new(10, 0, 0, 53)]),
            domain: ArrayVec::from_iter(*b"example.net"),
            lease: Some(3600),
            ..DhcpMessage::new(kind, question.xid, question.mac)
        }
    }

    /// Goes through the four messages that make a lease; `change` has a say in
    /// what the server grants.
    fn lease_with(&mut self, change: impl Fn(&mut DhcpMessage)) {
        let discover = self.one(DhcpKind::Discover).message;
        let offer = self.answer(DhcpKind::Offer, &discover);
        self.give(&offer);
        let request = self.one(DhcpKind::Request).message;
        let mut ack = self.answer(DhcpKind::Ack, &request);
        change(&mut ack);
        self.give(&ack);
    }

    fn addresses(&self) -> Vec<Ipv4Addr> {
        self.host
            .stack
            .ipv4_addresses()
            .map(|own| own.address())
            .collect()
    }

    fn events(&mut self) -> Vec<NetEvent> {
        core::iter::from_fn(|| self.host.stack.next_event()).collect()
    }

    fn dns(&self) -> Vec<IpAddr> {
        self.host.stack.dns_servers().collect()
    }

    /// Lets time pass, and everything that is due happen when it is.
    fn wait(&mut self, time: Duration) {
        let until = self.host.now + time;
        while self.host.now < until {
            self.queue = self.sent();
            let due = self.host.stack.deadline().unwrap_or(until).min(until);
            let step = due.since(self.host.now).max(Duration::from_millis(1));
            self.host.advance(step);
        }
    }

    /// How long until the host sends again, and what.
    fn next(&mut self, most: u64) -> (Duration, Vec<Sent>) {
        let start = self.host.now;
        while self.host.now.since(start) < seconds(most) {
            self.host.advance(Duration::from_millis(250));
            let sent = self.sent();
            if !sent.is_empty() {
                return (self.host.now.since(start), sent);
            }
        }
        (self.host.now.since(start), vec![])
    }
}

fn near(found: Duration, expected: u64, slack: u64) {
    let range = seconds(expected.saturating_sub(slack))..=seconds(expected + slack);
    assert!(range.contains(&found), "{found:?} instead of {expected} s");
}

#[test]
fn rfc_2131_3_1_four_messages_make_an_address() {
    let mut link = Link::new(DhcpConfig {
        host_name: "web-1".into(),
        ..unprobed()
    });
    let Sent {
        message,
        mac,
        from,
        to,
    } = link.one(DhcpKind::Discover);
    assert_eq!(
        (mac, from, to),
        (EVERYBODY, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    );
    assert!(message.broadcast && message.mac == OUR_MAC && message.xid != 0);
    assert_eq!((message.requested, message.server), (None, None));
    assert_eq!(&message.host_name[..], b"web-1");
    link.give(&link.answer(DhcpKind::Offer, &message));
    let request = link.one(DhcpKind::Request);
    assert_eq!(
        (request.from, request.to),
        (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    );
    assert_eq!(request.message.requested, Some(GIVEN));
    assert_eq!(request.message.server, Some(SERVER));
    assert_eq!(request.message.client, Ipv4Addr::UNSPECIFIED);
    assert_eq!(
        (request.message.xid, request.message.secs),
        (message.xid, message.secs)
    );
    assert!(link.addresses().is_empty());
    link.give(&link.answer(DhcpKind::Ack, &request.message));
    assert_eq!(link.addresses(), [GIVEN]);
    assert_eq!(
        link.events(),
        [
            NetEvent::AddressUp(GIVEN.into()),
            NetEvent::RouterUp(SERVER.into()),
            NetEvent::DnsChanged
        ]
    );
    assert_eq!(link.dns(), [IpAddr::from([10, 0, 0, 53])]);
    let domains: Vec<_> = link.host.stack.search_domains().collect();
    assert_eq!(domains, ["example.net"]);
    let lease = link.host.stack.dhcp_lease().expect("a lease");
    assert_eq!((lease.server, lease.address.prefix()), (SERVER, 24));
    assert_eq!(link.host.count(Counter::DhcpOut), 2);
    assert_eq!(link.host.count(Counter::DhcpIn), 2);
    link.host.finish();
}

#[test]
fn rfc_2131_4_1_discovers_are_sent_ever_less_often() {
    let mut link = Link::new(unprobed());
    let first = link.one(DhcpKind::Discover).message;
    for expected in [4, 8, 16, 32, 64, 64, 64] {
        let (after, sent) = link.next(100);
        near(after, expected, 2);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].message.kind, sent[0].message.xid),
            (DhcpKind::Discover, first.xid)
        );
    }
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_1_requests_without_an_answer_lead_back_to_the_start() {
    let mut link = Link::new(unprobed());
    let discover = link.one(DhcpKind::Discover).message;
    link.give(&link.answer(DhcpKind::Offer, &discover));
    link.one(DhcpKind::Request);
    for _ in 0..3 {
        let (_, sent) = link.next(100);
        assert_eq!(sent[0].message.kind, DhcpKind::Request);
    }
    let (_, sent) = link.next(100);
    assert_eq!(sent[0].message.kind, DhcpKind::Discover);
    assert_ne!(sent[0].message.xid, discover.xid);
    near(link.host.now.since(crate::Instant::from_secs(100)), 60, 8);
    link.host.finish();
}

#[test]
fn answers_to_others_and_from_others_are_not_taken() {
    let mut link = Link::new(unprobed());
    let discover = link.one(DhcpKind::Discover).message;
    let offer = link.answer(DhcpKind::Offer, &discover);
    for bad in [
        DhcpMessage {
            xid: offer.xid ^ 1,
            ..offer.clone()
        },
        DhcpMessage {
            mac: SERVER_MAC,
            ..offer.clone()
        },
        link.answer(DhcpKind::Ack, &discover),
        link.answer(DhcpKind::Nak, &discover),
    ] {
        link.give(&bad);
    }
    assert_eq!(link.host.dropped(DropReason::DhcpUnexpected), 4);
    for bad in [
        DhcpMessage {
            server: None,
            ..offer.clone()
        },
        DhcpMessage {
            yours: Ipv4Addr::new(224, 0, 0, 1),
            ..offer.clone()
        },
        DhcpMessage {
            yours: Ipv4Addr::UNSPECIFIED,
            ..offer.clone()
        },
        link.answer(DhcpKind::Discover, &discover),
    ] {
        link.give(&bad);
    }
    assert_eq!(link.host.dropped(DropReason::DhcpMalformed), 4);
    link.nothing();
    link.give(&offer);
    let request = link.one(DhcpKind::Request).message;
    let ack = link.answer(DhcpKind::Ack, &request);
    for bad in [
        DhcpMessage {
            server: Some(OTHER),
            ..ack.clone()
        },
        DhcpMessage {
            yours: OTHER,
            ..ack.clone()
        },
        DhcpMessage {
            server: Some(OTHER),
            ..link.answer(DhcpKind::Nak, &request)
        },
    ] {
        link.give(&bad);
    }
    assert_eq!(link.host.dropped(DropReason::DhcpUnexpected), 7);
    link.give(&DhcpMessage {
        lease: None,
        ..ack.clone()
    });
    assert_eq!(link.host.dropped(DropReason::DhcpMalformed), 5);
    assert!(link.addresses().is_empty());
    link.give(&ack);
    assert_eq!(link.addresses(), [GIVEN]);
    link.host.finish();
}

#[test]
fn rfc_2131_3_1_a_refused_request_begins_anew_ever_more_slowly() {
    let mut link = Link::new(unprobed());
    let mut before = Duration::ZERO;
    for _ in 0..5 {
        let discover = link.next(100).1.remove(0).message;
        assert_eq!(discover.kind, DhcpKind::Discover);
        link.give(&link.answer(DhcpKind::Offer, &discover));
        let request = link.one(DhcpKind::Request).message;
        link.give(&link.answer(DhcpKind::Nak, &request));
        let start = link.host.now;
        let due = link.host.stack.deadline().expect("goes on");
        let wait = due.since(start);
        assert!(wait > before, "{wait:?} after {before:?}");
        before = wait;
    }
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_5_the_server_is_asked_for_more_time_at_t1() {
    let mut link = Link::new(unprobed());
    link.lease_with(|_| {});
    link.wait(seconds(1700));
    link.nothing();
    // The server's Ethernet address is asked for first.
    link.arp.clear();
    while link.arp.is_empty() {
        link.host.advance(Duration::from_millis(500));
        link.nothing();
    }
    let renewed = link.host.now.since(crate::Instant::from_secs(100));
    assert!(renewed <= seconds(1801), "{renewed:?}");
    let ask = link.arp.pop().expect("ARP");
    assert_eq!((ask.sender_ip, ask.target_ip), (GIVEN, SERVER));
    link.host.inject(&arp_frame(
        OUR_MAC,
        &ArpRepr {
            operation: ArpOperation::Reply,
            sender_mac: SERVER_MAC,
            sender_ip: SERVER,
            target_mac: OUR_MAC,
            target_ip: GIVEN,
        },
    ));
    let Sent {
        message,
        mac,
        from,
        to,
    } = link.one(DhcpKind::Request);
    assert_eq!((mac, from, to), (SERVER_MAC, GIVEN, SERVER));
    assert_eq!(
        (message.client, message.requested, message.server),
        (GIVEN, None, None)
    );
    assert!(!message.broadcast);
    link.events();
    let ack = link.answer(DhcpKind::Ack, &message);
    link.give_to(OUR_MAC, GIVEN, &ack);
    assert_eq!(link.addresses(), [GIVEN]);
    assert!(link.events().is_empty(), "nothing changed");
    let lease = link.host.stack.dhcp_lease().expect("a lease");
    near(lease.expires_at.since(link.host.now), 3600, 0);
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_5_any_server_is_asked_at_t2_and_then_it_is_over() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| {
        ack.lease = Some(800);
        ack.renewal = Some(300);
        ack.rebinding = Some(600);
    });
    let flow = link
        .host
        .stack
        .tcp_connect(SocketAddr::from((OTHER, 80)), TcpOptions::DEFAULT)
        .expect("opens");
    link.events();
    let mut broadcasts = Vec::new();
    let start = link.host.now;
    while link.host.now.since(start) < seconds(900) {
        for sent in link.next(10).1 {
            let at = link.host.now.since(start).as_secs();
            match sent.message.kind {
                DhcpKind::Request => {
                    assert_eq!((sent.from, sent.message.client), (GIVEN, GIVEN));
                    assert_eq!((sent.mac, sent.to), (EVERYBODY, Ipv4Addr::BROADCAST));
                    broadcasts.push(at);
                }
                kind => {
                    assert_eq!(kind, DhcpKind::Discover);
                    assert!(at >= 799, "over after {at} s");
                    assert_eq!(sent.message.requested, Some(GIVEN), "the one it had");
                    assert!(link.addresses().is_empty());
                }
            }
        }
    }
    // From T2 on, after half of what remains, a minute at least.
    assert!((580..=601).contains(&broadcasts[0]), "{broadcasts:?}");
    assert!(
        broadcasts.windows(2).all(|two| two[1] - two[0] >= 50),
        "{broadcasts:?}"
    );
    let events = link.events();
    for gone in [
        NetEvent::AddressDown(GIVEN.into()),
        NetEvent::RouterDown(SERVER.into()),
        NetEvent::DnsChanged,
    ] {
        assert!(events.contains(&gone), "{gone:?} in {events:?}");
    }
    assert!(link.dns().is_empty());
    assert_eq!(
        link.host.stack.tcp_try_connected(flow),
        Err(Error::Conn(ConnError::HostUnreachable)),
        "its neighbour was asked for in vain long before"
    );
    link.host.finish();
}

#[test]
fn connections_end_with_the_address_that_they_have() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| ack.lease = Some(10));
    link.wait(seconds(9));
    link.sent();
    let flow = link
        .host
        .stack
        .tcp_connect(SocketAddr::from((OTHER, 80)), TcpOptions::DEFAULT)
        .expect("opens");
    link.wait(seconds(2));
    assert!(link.addresses().is_empty());
    let over = link.host.stack.tcp_try_connected(flow);
    assert_eq!(over, Err(Error::Conn(ConnError::AddressGone)));
    // Packets that waited for neighbours go with time.
    link.wait(seconds(20));
    link.sent();
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_5_a_refusal_takes_the_address_back_at_once() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| {
        ack.lease = Some(800);
        ack.renewal = Some(100);
        ack.rebinding = Some(101);
    });
    link.wait(seconds(110));
    let request = link.sent().pop().expect("rebinding").message;
    link.give(&link.answer(DhcpKind::Nak, &request));
    assert!(link.addresses().is_empty());
    link.host.advance(Duration::ZERO);
    let discover = link.one(DhcpKind::Discover).message;
    assert_eq!(discover.requested, None);
    link.wait(seconds(10));
    link.sent();
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_5_times_that_cannot_be_are_replaced() {
    for (lease, renewal, rebinding) in [
        (Some(0), None, None),
        (Some(1), Some(0), Some(0)),
        (Some(3600), Some(3600), Some(3600)),
        (Some(3600), Some(4000), Some(5)),
        (Some(u32::MAX - 1), Some(u32::MAX), Some(u32::MAX)),
        (Some(11), Some(10), Some(10)),
    ] {
        let mut link = Link::new(unprobed());
        link.lease_with(|ack| {
            (ack.lease, ack.renewal, ack.rebinding) = (lease, renewal, rebinding);
        });
        let now = link.host.now;
        let lease = link.host.stack.dhcp_lease().expect("a lease");
        assert!(now < lease.renew_at && lease.renew_at < lease.rebind_at);
        assert!(lease.rebind_at < lease.expires_at, "{lease:?}");
        link.host.finish();
    }
    // For ever.
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| ack.lease = Some(u32::MAX));
    link.wait(seconds(1_000_000));
    link.nothing();
    assert_eq!(link.addresses(), [GIVEN]);
    link.host.finish();
}

#[test]
fn rfc_5227_2_1_an_address_is_probed_for_before_it_is_used() {
    let mut link = Link::new(DhcpConfig::new());
    link.lease_with(|_| {});
    assert!(link.addresses().is_empty());
    let start = link.host.now;
    let mut probes = Vec::new();
    while link.addresses().is_empty() {
        link.host.advance(Duration::from_millis(50));
        link.nothing();
        for arp in link.arp.drain(..).filter(ArpRepr::is_probe) {
            assert_eq!(arp.target_ip, GIVEN);
            probes.push(link.host.now.since(start));
        }
        assert!(link.host.now.since(start) < seconds(8));
    }
    assert_eq!(probes.len(), 3);
    assert!(probes[0] <= Duration::from_millis(1050));
    for two in probes.windows(2) {
        let between = two[1] - two[0];
        assert!(between >= seconds(1) && between <= Duration::from_millis(2050));
    }
    assert!(link.host.now.since(start) - probes[2] >= seconds(2));
    assert_eq!(link.events()[0], NetEvent::RouterUp(SERVER.into()));
    link.host.advance(seconds(5));
    link.nothing();
    assert!(
        link.arp.iter().any(|arp| arp.sender_ip == GIVEN),
        "announced"
    );
    link.host.finish();
}

#[test]
fn rfc_2131_3_1_an_address_that_somebody_has_is_declined() {
    for probing in [false, true] {
        let mut link = Link::new(DhcpConfig::new());
        link.lease_with(|_| {});
        link.wait(seconds(1));
        link.nothing();
        // Its owner answers, or another host probes for it, too.
        let claim = ArpRepr {
            operation: if probing {
                ArpOperation::Request
            } else {
                ArpOperation::Reply
            },
            sender_mac: SERVER_MAC,
            sender_ip: if probing {
                Ipv4Addr::UNSPECIFIED
            } else {
                GIVEN
            },
            target_mac: if probing { MacAddr::ZERO } else { OUR_MAC },
            target_ip: if probing {
                GIVEN
            } else {
                Ipv4Addr::UNSPECIFIED
            },
        };
        link.host.inject(&arp_frame(EVERYBODY, &claim));
        let Sent {
            message, from, to, ..
        } = link.one(DhcpKind::Decline);
        assert_eq!((from, to), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
        assert_eq!(
            (message.requested, message.server),
            (Some(GIVEN), Some(SERVER))
        );
        assert_eq!(message.client, Ipv4Addr::UNSPECIFIED);
        assert!(
            link.events()
                .contains(&NetEvent::AddressDuplicate(GIVEN.into()))
        );
        assert!(link.host.stack.dhcp_lease().is_none() && link.dns().is_empty());
        let (after, sent) = link.next(20);
        near(after, 10, 1);
        assert_eq!(sent[0].message.kind, DhcpKind::Discover);
        assert_eq!(sent[0].message.requested, None);
        link.host.finish();
    }
}

#[test]
fn rfc_5227_2_4_a_second_conflict_gives_the_address_up() {
    let mut link = Link::new(unprobed());
    link.lease_with(|_| {});
    link.wait(seconds(5));
    link.sent();
    link.arp.clear();
    let claim = ArpRepr {
        operation: ArpOperation::Request,
        sender_mac: SERVER_MAC,
        sender_ip: GIVEN,
        target_mac: MacAddr::ZERO,
        target_ip: GIVEN,
    };
    let claim = arp_frame(EVERYBODY, &claim);
    link.host.inject(&claim);
    link.nothing();
    assert_eq!(link.arp.len(), 1, "defended");
    link.wait(seconds(9));
    link.host.inject(&claim);
    link.one(DhcpKind::Decline);
    assert!(link.addresses().is_empty());
    link.host.finish();
}

#[test]
fn rfc_2131_3_2_an_address_of_an_earlier_boot_is_asked_for_again() {
    let reboot = DhcpConfig {
        reboot: Some(GIVEN),
        ..unprobed()
    };
    let mut link = Link::new(reboot.clone());
    let request = link.one(DhcpKind::Request).message;
    assert_eq!((request.requested, request.server), (Some(GIVEN), None));
    assert_eq!(request.client, Ipv4Addr::UNSPECIFIED);
    link.give(&link.answer(DhcpKind::Ack, &request));
    assert_eq!(link.addresses(), [GIVEN]);
    link.host.finish();

    let mut link = Link::new(reboot.clone());
    let request = link.one(DhcpKind::Request).message;
    link.give(&link.answer(DhcpKind::Nak, &request));
    let (_, sent) = link.next(5);
    assert_eq!(sent[0].message.kind, DhcpKind::Discover);
    assert_eq!(sent[0].message.requested, None);
    link.host.finish();

    // Nobody remembers.
    let mut link = Link::new(reboot);
    link.one(DhcpKind::Request);
    assert_eq!(link.next(10).1[0].message.kind, DhcpKind::Request);
    assert_eq!(link.next(20).1[0].message.kind, DhcpKind::Discover);
    link.host.finish();
}

#[test]
fn rfc_2131_4_4_6_release_gives_the_address_back() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| ack.server = Some(SERVER));
    // The way to the server is known.
    link.host.inject(&arp_frame(
        OUR_MAC,
        &ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: SERVER_MAC,
            sender_ip: SERVER,
            target_mac: MacAddr::ZERO,
            target_ip: GIVEN,
        },
    ));
    link.host.stack.dhcp_release();
    let sent = link.one(DhcpKind::Release);
    assert_eq!(
        (sent.from, sent.to, sent.message.client),
        (GIVEN, SERVER, GIVEN)
    );
    assert_eq!(sent.message.server, Some(SERVER));
    assert!(link.addresses().is_empty() && link.host.stack.dhcp_lease().is_none());
    link.host.stack.dhcp_release();
    link.wait(seconds(10_000));
    link.nothing();
    link.host.finish();
}

#[test]
fn rfc_3442_classless_routes_take_the_place_of_routers() {
    let mut link = Link::new(unprobed());
    let to = |text: &str| text.parse().expect("a CIDR");
    link.lease_with(|ack| {
        ack.routes.push((to("10.9.0.0/16"), OTHER));
        ack.routes
            .push((to("192.168.5.0/24"), Ipv4Addr::UNSPECIFIED));
    });
    let hop = |link: &Link, to: [u8; 4]| link.host.stack.iface.next_hop(to.into());
    assert_eq!(hop(&link, [10, 9, 1, 1]), Some(OTHER));
    let direct = Ipv4Addr::new(192, 168, 5, 7);
    assert_eq!(hop(&link, direct.octets()), Some(direct), "on the link");
    assert_eq!(
        hop(&link, [8, 8, 8, 8]),
        None,
        "the router option is ignored"
    );
    link.host.finish();
}

#[test]
fn what_changes_at_a_renewal_changes_and_the_rest_stays() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| {
        (ack.lease, ack.renewal, ack.rebinding) = (Some(800), Some(100), Some(101));
        ack.mtu = Some(1400);
    });
    assert_eq!(link.host.stack.caps().mtu, 1400);
    link.events();
    link.wait(seconds(110));
    let request = link.sent().pop().expect("rebinding").message;
    let mut ack = link.answer(DhcpKind::Ack, &request);
    ack.dns = ArrayVec::from_iter([OTHER]);
    ack.routers = ArrayVec::from_iter([OTHER]);
    ack.mtu = Some(100);
    ack.server = Some(OTHER);
    link.give(&ack);
    assert_eq!(link.addresses(), [GIVEN]);
    assert_eq!(link.dns(), [IpAddr::V4(OTHER)]);
    assert_eq!(link.host.stack.caps().mtu, 576, "not less");
    let events = link.events();
    assert!(events.contains(&NetEvent::RouterDown(SERVER.into())));
    assert!(events.contains(&NetEvent::RouterUp(OTHER.into())));
    assert!(
        !events.contains(&NetEvent::AddressDown(GIVEN.into())),
        "kept"
    );
    link.wait(seconds(10));
    link.sent();
    link.host.finish();
}

#[test]
fn a_static_address_serves_until_there_is_a_lease() {
    let fallback = Fallback {
        address: "192.168.9.9/24".parse().expect("a CIDR"),
        gateway: Some(Ipv4Addr::new(192, 168, 9, 1)),
        after: seconds(12),
    };
    let mut link = Link::new(DhcpConfig {
        fallback: Some(fallback),
        ..unprobed()
    });
    link.wait(seconds(11));
    assert!(link.addresses().is_empty());
    link.wait(seconds(1));
    assert_eq!(link.addresses(), [fallback.address.address()]);
    let discover = link.sent().pop().expect("goes on asking").message;
    link.give(&link.answer(DhcpKind::Offer, &discover));
    let request = link.one(DhcpKind::Request).message;
    link.give(&link.answer(DhcpKind::Ack, &request));
    assert_eq!(link.addresses(), [GIVEN]);
    let hop = link.host.stack.iface.next_hop(Ipv4Addr::new(8, 8, 8, 8));
    assert_eq!(hop, Some(SERVER));
    link.host.finish();
    // With a lease in time there is no need.
    let mut link = Link::new(DhcpConfig {
        fallback: Some(fallback),
        ..unprobed()
    });
    link.lease_with(|_| {});
    link.wait(seconds(100));
    assert_eq!(link.addresses(), [GIVEN]);
    link.host.finish();
}

#[test]
fn domains_of_strange_characters_are_left_out() {
    let mut link = Link::new(unprobed());
    link.lease_with(|ack| ack.domain = ArrayVec::from_iter(*b"ev\xffil; rm"));
    assert_eq!(link.host.stack.search_domains().count(), 0);
    link.host.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_servers_leave_the_pool_full(
        seed: u8,
        steps in proptest::collection::vec(
            (0_u8..6, any::<bool>(), any::<[u8; 4]>(), any::<[Option<u32>; 3]>(), 0_u64..400), 1..40,
        ),
    ) {
        let mut link = Link::new(if seed % 2 == 0 { DhcpConfig::new() } else { unprobed() });
        let mut question = link.one(DhcpKind::Discover).message;
        for (kind, usual, address, times, wait) in steps {
            let kind = [
                DhcpKind::Offer, DhcpKind::Ack, DhcpKind::Nak, DhcpKind::Offer, DhcpKind::Ack,
                DhcpKind::Inform,
            ][usize::from(kind)];
            let mut answer = link.answer(kind, &question);
            if !usual {
                answer.yours = address.into();
                answer.prefix = Some(address[0] % 33);
                answer.routers = ArrayVec::from_iter([Ipv4Addr::from(address)]);
                answer.mtu = Some(u16::from(address[1]));
                [answer.lease, answer.renewal, answer.rebinding] = times;
            }
            link.give(&answer);
            link.wait(seconds(wait));
            if let Some(sent) = link.sent().pop() {
                question = sent.message;
            }
            let lease = link.host.stack.dhcp_lease().is_some();
            prop_assert!(lease || link.addresses().is_empty());
        }
        link.host.stack.dhcp_release();
        link.wait(seconds(10));
        link.sent();
        link.host.finish();
    }
}
