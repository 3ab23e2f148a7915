//! The client against a scripted server, in virtual time.

use core::net::{IpAddr, Ipv6Addr};
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::Dhcpv6;
use crate::iface::v6_tests::{Host, LINK_LOCAL, OUR_IP, OUR_MAC, Packet, config, mac, router};
use crate::wire::MacAddr;
use crate::wire::dhcpv6::{SERVERS, duid_ll};
use crate::{Config, Counter, DropReason, NetEvent};

/// An hour of milliseconds.
const HOUR: u64 = 3_600_000;
const OTHER: u8 = 0x40;
const MANAGED: u8 = 0x80;

/// A host that hears routers, as its clients are set.
fn config_with(dhcpv6: Dhcpv6) -> Config {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    v6.slaac = true;
    v6.dhcpv6 = dhcpv6;
    config
}

/// The host, its first messages gone, and asked of routers no more.
fn host(dhcpv6: Dhcpv6) -> Host {
    let mut host = Host::at_boot(&config_with(dhcpv6));
    advertise(&mut host, 0);
    host.advance(1);
    host.sent();
    host.events();
    host
}

/// A router advertises, with those flags.
fn advertise(host: &mut Host, flags: u8) {
    let mut message = vec![134, 0, 0, 0, 0, flags, 0xff, 0xff];
    message.extend([0; 8]);
    let packet = Packet::icmp(&message).src(router(20));
    host.give(packet.dst("ff02::1".parse().unwrap()));
}

/// An Information-request that was sent, and when.
struct Request {
    at: u64,
    transaction: [u8; 3],
    elapsed: u16,
}

/// Runs the host for so long, from one deadline to the next; the requests that
/// it sends.
fn requests(host: &mut Host, millis: u64) -> Vec<Request> {
    let mut found = Vec::new();
    let now = |host: &Host| host.now.as_nanos() / 1_000_000;
    let end = now(host) + millis;
    while now(host) < end {
        let due = host.stack.deadline().map(|due| due.as_nanos() / 1_000_000);
        let next = due.unwrap_or(end).clamp(now(host) + 1, end);
        host.advance(next - now(host));
        let at = now(host);
        found.extend(host.sent().iter().filter_map(|packet| request(packet, at)));
    }
    found
}

fn request(packet: &Packet, at: u64) -> Option<Request> {
    if packet.next != 17 || packet.body[..4] != [0x02, 0x22, 0x02, 0x23] {
        return None;
    }
    assert_eq!((packet.src, packet.dst), (LINK_LOCAL, SERVERS));
    assert_eq!(packet.to, MacAddr([0x33, 0x33, 0, 1, 0, 2]));
    let sum = packet.pseudo(packet.body.len()).add_bytes(&packet.body);
    assert!(sum.is_valid());
    let message = &packet.body[8..];
    assert_eq!(message[0], 11);
    assert_eq!(message[8..18], duid_ll(OUR_MAC));
    Some(Request {
        at,
        transaction: message[1..4].try_into().unwrap(),
        elapsed: u16::from_be_bytes([message[22], message[23]]),
    })
}

/// A reply, option by option.
struct Reply {
    transaction: [u8; 3],
    options: Vec<(u16, Vec<u8>)>,
}

/// With what it must have, and two DNS servers.
fn reply(to: &Request) -> Reply {
    let servers: [Ipv6Addr; 2] = [ns(1), ns(2)];
    Reply {
        transaction: to.transaction,
        options: vec![
            (1, duid_ll(OUR_MAC).to_vec()),
            (2, vec![0, 3, 0, 1, 2, 0, 0, 0, 1, 20]),
            (23, servers.map(|server| server.octets()).concat()),
            (24, b"\x07example\x03net\x00".to_vec()),
        ],
    }
}

fn ns(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, host)
}

impl Reply {
    /// Without that option.
    fn without(mut self, code: u16) -> Self {
        self.options.retain(|(known, _)| *known != code);
        self
    }

    /// With that option, instead of one that is there.
    fn with(self, code: u16, value: &[u8]) -> Self {
        let mut reply = self.without(code);
        reply.options.push((code, value.to_vec()));
        reply
    }

    /// As a packet of the server's.
    fn packet(&self) -> Packet {
        let mut message = vec![7];
        message.extend(self.transaction);
        for (code, value) in &self.options {
            message.extend(code.to_be_bytes());
            message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            message.extend(value);
        }
        let mut body = vec![0x02, 0x23, 0x02, 0x22];
        body.extend(u16::try_from(8 + message.len()).unwrap().to_be_bytes());
        body.extend([0, 0]);
        body.extend(message);
        let packet = Packet::new(17, &body).src(router(20)).dst(LINK_LOCAL);
        summed(Packet {
            from: mac(20),
            ..packet
        })
    }
}

fn summed(mut packet: Packet) -> Packet {
    packet.body[6..8].fill(0);
    let sum = packet.pseudo(packet.body.len()).add_bytes(&packet.body);
    packet.body[6..8].copy_from_slice(&sum.finish_nonzero().to_be_bytes());
    packet
}

fn servers(host: &Host) -> Vec<IpAddr> {
    host.stack.dns_servers().collect()
}

fn told(hosts: &[u16]) -> Vec<IpAddr> {
    hosts.iter().map(|&host| ns(host).into()).collect()
}

#[test]
fn rfc_8415_6_1_who_advertises_it_is_asked_and_its_answer_used() {
    for flags in [OTHER, MANAGED, OTHER | MANAGED] {
        let mut host = host(Dhcpv6::Advertised);
        assert!(requests(&mut host, 5000).is_empty(), "nobody told of any");
        advertise(&mut host, flags);
        let asked = requests(&mut host, 1010);
        assert_eq!((asked.len(), asked[0].elapsed), (1, 0));
        assert!(host.stack.dhcpv6_info().is_none());
        host.give(reply(&asked[0]).packet());
        assert_eq!(servers(&host), told(&[1, 2]));
        let domains: Vec<String> = host.stack.search_domains().map(String::from).collect();
        assert_eq!(domains, ["example.net"]);
        assert_eq!(host.events(), [NetEvent::DnsChanged]);
        let info = host.stack.dhcpv6_info().unwrap();
        assert_eq!(info.dns_servers.as_slice(), [ns(1), ns(2)]);
        assert_eq!(info.search_domains, ["example.net"]);
        assert_eq!(
            (host.count(Counter::DhcpIn), host.count(Counter::DhcpOut)),
            (1, 1)
        );
        // Advertised again, nobody asks again.
        advertise(&mut host, flags);
        assert!(requests(&mut host, 60_000).is_empty());
        host.finish();
    }
}

#[test]
fn rfc_8415_18_2_6_the_first_request_is_delayed_by_a_second_at_most() {
    let mut delays = Vec::new();
    for seed in 0..20 {
        let mut config = config_with(Dhcpv6::Always);
        config.seed = [seed; 32];
        let mut host = Host::at_boot(&config);
        let boot = host.now.as_nanos() / 1_000_000;
        let asked = requests(&mut host, 1500);
        delays.push(asked[0].at - boot);
        host.finish();
    }
    assert!(delays.iter().all(|&delay| delay <= 1010), "{delays:?}");
    let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(*least < 300 && *most > 700, "{delays:?}");
}

/// IRT is 1 s, MRT an hour, RAND at most a tenth either way.
#[test]
fn rfc_8415_15_requests_are_repeated_ever_less_often() {
    let mut host = host(Dhcpv6::Always);
    let asked = requests(&mut host, 5 * HOUR);
    let gaps: Vec<u64> = asked.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!((900..=1110).contains(&gaps[0]), "{gaps:?}");
    for two in gaps.windows(2) {
        let (before, after) = (two[0], two[1]);
        let doubled = before * 19 / 10 - 20..=before * 21 / 10 + 20;
        let longest = HOUR * 9 / 10..=HOUR * 11 / 10 + 20;
        assert!(
            doubled.contains(&after) || longest.contains(&after),
            "{gaps:?}"
        );
    }
    assert!(*gaps.last().unwrap() >= HOUR * 9 / 10);
    let first = &asked[0];
    for request in &asked {
        assert_eq!(request.transaction, first.transaction);
        let elapsed = (request.at - first.at) / 10;
        let told = u64::from(request.elapsed);
        assert!(
            told.abs_diff(elapsed.min(0xffff)) <= 1,
            "{told} for {elapsed}"
        );
    }
    // An answer to a late one is as good.
    host.give(reply(first).packet());
    assert_eq!(servers(&host), told(&[1, 2]));
    host.finish();
}

#[test]
fn rfc_8415_21_25_a_server_sets_the_longest_interval() {
    for (seconds, most) in [(60, 60_000), (59, HOUR), (86_401, HOUR), (0, HOUR)] {
        let mut host = host(Dhcpv6::Always);
        let asked = requests(&mut host, 1500);
        // Even by a failure.
        let failed = reply(&asked[0])
            .with(13, &[0, 1, b'n', b'o'])
            .with(83, &u32::to_be_bytes(seconds));
        host.refuses(failed.packet(), DropReason::DhcpUnexpected);
        assert!(servers(&host).is_empty());
        let asked = requests(&mut host, 4 * HOUR);
        let gaps: Vec<u64> = asked.windows(2).map(|two| two[1].at - two[0].at).collect();
        let longest = *gaps.iter().max().unwrap();
        assert!(
            (most * 9 / 10..=most * 11 / 10 + 20).contains(&longest),
            "{gaps:?}"
        );
        host.finish();
    }
}

#[test]
fn rfc_8415_21_23_what_is_known_is_refreshed() {
    let day = 24 * HOUR;
    for (option, after) in [
        (None, day),
        (Some(1200_u32), 1_200_000),
        (Some(1), 600_000),
        (Some(0), 600_000),
    ] {
        let mut host = host(Dhcpv6::Always);
        let asked = requests(&mut host, 1500);
        let answer = match option {
            Some(seconds) => reply(&asked[0]).with(32, &seconds.to_be_bytes()),
            None => reply(&asked[0]),
        };
        let start = host.now.as_nanos() / 1_000_000;
        host.give(answer.packet());
        host.events();
        // In steps as large as can be: a day has many hundredths.
        host.advance(after - 2000);
        host.sent();
        let again = requests(&mut host, 4000);
        let delay = again[0].at - start;
        assert!(
            (after..=after + 1010).contains(&delay),
            "{delay} for {after}"
        );
        assert_ne!(again[0].transaction, asked[0].transaction);
        assert_eq!(again[0].elapsed, 0);
        assert_eq!(servers(&host), told(&[1, 2]), "kept meanwhile");
        let other = reply(&again[0]).with(23, &ns(3).octets()).without(24);
        host.give(other.packet());
        assert_eq!(servers(&host), told(&[3]), "and replaced");
        assert_eq!(host.stack.search_domains().count(), 0);
        assert_eq!(host.events().last(), Some(&NetEvent::DnsChanged));
        host.finish();
    }
    let mut host = host(Dhcpv6::Always);
    let asked = requests(&mut host, 1500);
    host.give(reply(&asked[0]).with(32, &[0xff; 4]).packet());
    host.advance(30 * day);
    assert_eq!(host.count(Counter::DhcpOut), 1, "for ever");
    // Unless somebody wants to know.
    host.stack.dhcpv6_ask();
    host.sent();
    assert_eq!(requests(&mut host, 1010).len(), 1);
    host.finish();
}

#[test]
fn rfc_8415_16_10_replies_that_do_not_fit_are_refused() {
    let mut host = host(Dhcpv6::Always);
    host.refuses(
        reply(&Request {
            at: 0,
            transaction: [0; 3],
            elapsed: 0,
        })
        .packet(),
        DropReason::DhcpUnexpected,
    );
    let asked = requests(&mut host, 1500).remove(0);
    let mut stranger = duid_ll(OUR_MAC);
    stranger[9] ^= 1;
    let mut others = reply(&asked);
    others.transaction[2] ^= 1;
    for wrong in [
        others,
        reply(&asked).without(1),
        reply(&asked).with(1, &stranger),
        reply(&asked).without(2),
        reply(&asked).with(2, &[]),
        reply(&asked).with(13, &[0, 1]),
    ] {
        host.refuses(wrong.packet(), DropReason::DhcpUnexpected);
    }
    // A message from beyond the link, or for many.
    for to in [OUR_IP, "ff02::1".parse().unwrap()] {
        let packet = summed(reply(&asked).packet().dst(to));
        host.refuses(packet, DropReason::DhcpUnexpected);
    }
    // Cut anywhere.
    let whole = reply(&asked).packet();
    for len in 8..whole.body.len() {
        let mut cut = reply(&asked).packet();
        cut.body.truncate(len);
        cut.body[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        let before = host.count(Counter::DhcpIn);
        host.give(summed(cut));
        let taken = host.count(Counter::DhcpIn) - before;
        // What ends between options is whole: it only tells less.
        if taken > 0 {
            host.stack.dhcpv6_ask();
            let again = requests(&mut host, 1010).remove(0);
            assert_ne!(again.transaction, asked.transaction);
            host.finish();
            return;
        }
    }
    panic!("none was taken");
}

#[test]
fn rfc_4861_4_2_nobody_is_asked_where_it_is_not_wanted() {
    let mut host = host(Dhcpv6::Never);
    advertise(&mut host, OTHER | MANAGED);
    assert!(requests(&mut host, 60_000).is_empty());
    // The port is as closed as any.
    let asked = Request {
        at: 0,
        transaction: [1, 2, 3],
        elapsed: 0,
    };
    host.refuses(reply(&asked).packet(), DropReason::UdpNoSocket);
    host.stack.dhcpv6_ask();
    assert_eq!(requests(&mut host, 1010).len(), 1, "but on request");
    let mut config = config();
    config.ipv6 = None;
    let mut silent = Host::at_boot(&config);
    silent.stack.dhcpv6_ask();
    assert!(requests(&mut silent, 10_000).is_empty());
    silent.finish();
}

/// RFC 4862, 5.4: no address is used while it is being tried.
#[test]
fn rfc_8415_13_1_requests_come_from_the_link_local_address_once_it_is_ours() {
    let mut config = config_with(Dhcpv6::Always);
    config.ipv6.as_mut().unwrap().dad_transmits = 3;
    let mut host = Host::at_boot(&config);
    host.advance(2500);
    assert_eq!(host.count(Counter::DhcpOut), 0);
    host.sent();
    assert!(!requests(&mut host, 5000).is_empty());
    host.finish();
}

/// RFC 8106, 5.3.1.
#[test]
fn rfc_8106_5_3_1_what_a_dhcp_server_tells_comes_first() {
    let mut host = host(Dhcpv6::Advertised);
    let mut message = vec![134, 0, 0, 0, 0, OTHER, 0xff, 0xff];
    message.extend([0; 8]);
    message.extend([25, 5, 0, 0, 0, 0, 0xff, 0xff]);
    message.extend(ns(9).octets());
    message.extend(ns(2).octets());
    let packet = Packet::icmp(&message).src(router(20));
    host.give(packet.dst("ff02::1".parse().unwrap()));
    assert_eq!(servers(&host), told(&[9, 2]));
    let asked = requests(&mut host, 1010).remove(0);
    host.give(reply(&asked).packet());
    assert_eq!(servers(&host), told(&[1, 2, 9]));
    host.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes to the port, and however often: frames come home, and no
    /// deadline stands still.
    #[test]
    fn anything_may_come_to_the_port(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        codes in proptest::collection::vec((0_u16..90, 0_usize..20), 0..8),
    ) {
        let mut host = host(Dhcpv6::Always);
        let asked = requests(&mut host, 1500).remove(0);
        let mut answer = reply(&asked);
        for (code, len) in codes {
            let value = bytes.get(..len).unwrap_or(&bytes);
            answer.options.push((code, value.to_vec()));
        }
        host.give(answer.packet());
        let mut raw = reply(&asked).packet();
        raw.body.truncate(12);
        raw.body.extend(&bytes);
        let len = u16::try_from(raw.body.len()).unwrap();
        raw.body[4..6].copy_from_slice(&len.to_be_bytes());
        host.give(summed(raw));
        host.advance(3 * HOUR);
        host.finish();
    }
}
