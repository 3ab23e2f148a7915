//! Router discovery: RFC 4861, 6.1 and 6.3, RFC 7559, RFC 4191, RFC 8106.

use super::*;

/// A router advertisement, field by field.
#[derive(Clone)]
pub(super) struct Advert {
    pub(super) from: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) flags: u8,
    pub(super) lifetime: u16,
    pub(super) reachable: u32,
    pub(super) retransmit: u32,
    pub(super) options: Vec<u8>,
}

/// From router 20, for half an hour.
pub(super) fn advert() -> Advert {
    Advert {
        from: router(20),
        hop_limit: 0,
        flags: 0,
        lifetime: 1800,
        reachable: 0,
        retransmit: 0,
        options: Vec::new(),
    }
}

pub(super) const ON_LINK: u8 = 0x80;
pub(super) const AUTONOMOUS: u8 = 0x40;

impl Advert {
    pub(super) fn option(mut self, bytes: &[u8]) -> Self {
        self.options.extend(bytes);
        self
    }

    pub(super) fn source(self, host: u8) -> Self {
        let mut option = vec![1, 1];
        option.extend(mac(host).0);
        self.option(&option)
    }

    /// A prefix information option: bits, flags, valid and preferred seconds.
    pub(super) fn prefix(
        self,
        prefix: &str,
        len: u8,
        flags: u8,
        valid: u32,
        preferred: u32,
    ) -> Self {
        let mut option = vec![3, 4, len, flags];
        option.extend(valid.to_be_bytes());
        option.extend(preferred.to_be_bytes());
        option.extend([0; 4]);
        option.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
        self.option(&option)
    }

    /// A route information option: preference bits 0, 1 or 3.
    fn route(self, prefix: &str, len: u8, preference: u8, lifetime: u32) -> Self {
        let mut option = vec![24, 3, len, preference << 3];
        option.extend(lifetime.to_be_bytes());
        option.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
        self.option(&option)
    }

    pub(super) fn packet(&self) -> Packet {
        let mut bytes = vec![134, 0, 0, 0, self.hop_limit, self.flags];
        bytes.extend(self.lifetime.to_be_bytes());
        bytes.extend(self.reachable.to_be_bytes());
        bytes.extend(self.retransmit.to_be_bytes());
        bytes.extend(&self.options);
        Packet::icmp(&bytes)
            .src(self.from)
            .dst(crate::wire::ipv6::ALL_NODES)
    }
}

/// A host that knows routers from their advertisements only.
pub(super) fn listening() -> Host {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    v6.gateway = None;
    v6.slaac = true;
    let mut host = Host::at_boot(&config);
    host.stack.expire(host.now);
    host.sent();
    host.events();
    host
}

fn next_hop(host: &Host) -> Option<Ipv6Addr> {
    host.stack.iface.v6.next_hop(FAR)
}

/// Router `host` answers a solicitation of ours.
fn answer(host: &mut Host, from: u8) {
    let message = advertisement(0x80 | SOLICITED | OVERRIDE, router(from), Some(mac(from)));
    host.give(Packet::icmp(&message).src(router(from)));
}

#[test]
fn rfc7559_2_routers_are_asked_for_ever_more_seldom_until_one_answers() {
    let mut config = config();
    config.ipv6.as_mut().unwrap().gateway = None;
    let mut host = Host::at_boot(&config);
    let mut times = Vec::new();
    for _ in 0..40_000 {
        for packet in host.sent_icmp(133) {
            assert_eq!((packet.src, packet.hops), (LINK_LOCAL, 255));
            assert_eq!(packet.dst, crate::wire::ipv6::ALL_ROUTERS);
            assert_eq!(packet.body[8..10], [1, 1], "with our Ethernet address");
            times.push(host.now);
        }
        host.advance(500);
    }
    let gaps: Vec<f64> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs_f64())
        .collect();
    let mut expected = 4.0;
    for gap in &gaps {
        assert!((gap - expected).abs() < expected * 0.35 + 0.5, "{gaps:?}");
        expected = (gap * 2.0).min(3600.0);
    }
    assert!((8..=16).contains(&gaps.len()), "{gaps:?}");
    host.give(advert().packet());
    host.advance(1_000_000);
    assert!(host.sent_icmp(133).is_empty());
    host.finish();
}

#[test]
fn rfc4861_6_3_4_a_router_comes_stays_and_goes() {
    let mut host = listening();
    assert_eq!(next_hop(&host), None);
    assert_eq!(host.send(FAR, 1), Err(DropReason::NoRoute));
    host.give(advert().source(20).packet());
    assert_eq!(host.events(), [NetEvent::RouterUp(router(20).into())]);
    host.send(FAR, 2).unwrap();
    assert_eq!(
        host.sent_tags(mac(20)),
        [2],
        "its Ethernet address came along"
    );
    host.advance(1_000_000);
    host.give(advert().packet());
    host.advance(1_799_000);
    assert_eq!(next_hop(&host), Some(router(20)), "renewed");
    host.advance(1000);
    assert_eq!(next_hop(&host), None);
    assert_eq!(host.events(), [NetEvent::RouterDown(router(20).into())]);
    assert!(!host.sent_icmp(133).is_empty(), "others are asked for");
    host.give(advert().packet());
    let bye = Advert {
        lifetime: 0,
        ..advert()
    };
    host.give(bye.packet());
    assert_eq!(next_hop(&host), None);
    host.finish();
}

#[test]
fn rfc4861_6_1_2_what_makes_an_advertisement_invalid() {
    let mut host = listening();
    let global = Advert {
        from: ip(20),
        ..advert()
    };
    host.refuses(global.packet(), DropReason::NdpBadAddress);
    let far = Packet {
        hops: 254,
        ..advert().packet()
    };
    host.refuses(far, DropReason::NdpBadHopLimit);
    host.refuses(advert().option(&[3, 0]).packet(), DropReason::NdpMalformed);
    let mut short = advert().packet();
    short.body.truncate(12);
    host.refuses(short, DropReason::NdpMalformed);
    let asks = Packet::icmp(&[133, 0, 0, 0, 0, 0, 0, 0]).src(router(20));
    host.refuses(asks, DropReason::NdpForRouters);
    assert_eq!(next_hop(&host), None);
    // Where the router is given by hand, others are not listened to.
    let mut fixed = Host::new();
    fixed.refuses(advert().packet(), DropReason::NdpUnwanted);
    fixed.finish();
    host.finish();
}

#[test]
fn rfc4861_6_3_4_the_links_parameters_are_taken_within_bounds() {
    let mut host = listening();
    let said = Advert {
        hop_limit: 77,
        reachable: 10_000,
        retransmit: 2000,
        ..advert()
    };
    host.give(said.option(&[5, 1, 0, 0, 0, 0, 5, 0x78]).packet());
    let v6 = &host.stack.iface.v6;
    assert_eq!((v6.hop_limit, v6.mtu), (77, 1400));
    let timing = v6.neighbors.timing;
    assert_eq!(timing.retransmit, Duration::from_secs(2));
    let range = Duration::from_secs(5)..=Duration::from_secs(15);
    assert!(range.contains(&timing.reachable), "{timing:?}");
    assert_eq!(host.stack.path_mtu(FAR.into()), 1400);
    assert_eq!(host.stack.path_mtu("10.0.0.9".parse().unwrap()), 1500);
    // Nonsense, or worse.
    let said = Advert {
        hop_limit: 1,
        reachable: u32::MAX,
        retransmit: u32::MAX,
        ..advert()
    };
    host.give(said.clone().option(&[5, 1, 0, 0, 0, 0, 4, 0xff]).packet());
    host.give(said.option(&[5, 1, 0, 0, 0, 0, 5, 0xdd]).packet());
    let v6 = &host.stack.iface.v6;
    assert_eq!((v6.hop_limit, v6.mtu), (77, 1400));
    assert_eq!(v6.neighbors.timing.reachable, timing.reachable);
    assert_eq!(v6.neighbors.timing.retransmit, Duration::from_secs(10));
    host.finish();
}

#[test]
fn rfc4861_6_3_6_reachable_routers_come_first_and_others_in_turn() {
    let mut host = listening();
    for from in [20, 21, 22] {
        let said = Advert {
            from: router(from),
            ..advert()
        };
        host.give(said.packet());
    }
    // Nothing known of any: the first is tried, then the next, then all again.
    let mut tried = Vec::new();
    for _ in 0..4 {
        host.send(FAR, 1).unwrap();
        tried.push(host.asked()[0].1);
        host.advance(3000);
        host.sent();
    }
    assert_eq!(tried, [router(20), router(21), router(22), router(20)]);
    // One that is known to be reachable is preferred.
    answer(&mut host, 22);
    host.give(
        Advert {
            from: router(22),
            ..advert()
        }
        .source(22)
        .packet(),
    );
    assert_eq!(next_hop(&host), Some(router(22)));
    host.finish();
}

#[test]
fn rfc4861_7_2_5_who_says_that_it_is_no_router_is_none() {
    let mut host = listening();
    host.give(advert().source(20).packet());
    assert_eq!(next_hop(&host), Some(router(20)));
    let message = advertisement(OVERRIDE, router(20), Some(mac(20)));
    host.give(Packet::icmp(&message).src(router(20)));
    assert_eq!(next_hop(&host), None);
    assert!(
        host.events()
            .contains(&NetEvent::RouterDown(router(20).into()))
    );
    host.finish();
}

#[test]
fn rfc4191_2_2_and_3_2_preferences_and_routes() {
    let mut host = listening();
    let from = |from, flags| Advert {
        from: router(from),
        flags,
        ..advert()
    };
    // Low, high, medium; all of them reachable.
    for (number, flags) in [(20, 0x18), (21, 0x08), (22, 0)] {
        host.give(from(number, flags).source(number).packet());
    }
    assert_eq!(next_hop(&host), Some(router(21)));
    // A route of more bits wins over preference.
    host.give(from(20, 0x18).route("2001:db8:fa5::", 48, 3, 600).packet());
    assert_eq!(next_hop(&host), Some(router(20)));
    // Of equal length the preferred one.
    host.give(from(22, 0).route("2001:db8:fa5::", 48, 1, 600).packet());
    assert_eq!(next_hop(&host), Some(router(22)));
    // Taken back.
    host.give(from(22, 0).route("2001:db8:fa5::", 48, 1, 0).packet());
    assert_eq!(next_hop(&host), Some(router(20)));
    host.advance(600_000);
    assert_eq!(next_hop(&host), Some(router(21)), "expired");
    // A reserved preference, and bits beyond an address.
    host.give(from(20, 0).route("2001:db8:fa5::", 48, 2, 600).packet());
    host.give(from(20, 0).route("2001:db8:fa5::", 129, 1, 600).packet());
    assert_eq!(next_hop(&host), Some(router(21)));
    host.finish();
}

#[test]
fn rfc4861_5_2_prefixes_of_the_link_come_and_go() {
    let mut host = listening();
    let near: Ipv6Addr = "2001:db8:99::5".parse().unwrap();
    host.give(advert().packet());
    assert_eq!(host.stack.iface.v6.next_hop(near), Some(router(20)));
    host.give(
        advert()
            .prefix("2001:db8:99::", 64, ON_LINK, 600, 600)
            .packet(),
    );
    assert_eq!(host.stack.iface.v6.next_hop(near), Some(near));
    host.give(advert().prefix("2001:db8:99::", 64, 0, 0, 0).packet());
    assert_eq!(
        host.stack.iface.v6.next_hop(near),
        Some(near),
        "without the flag nothing is said of the link"
    );
    host.advance(600_000);
    assert_eq!(host.stack.iface.v6.next_hop(near), Some(router(20)));
    // For ever, and taken back.
    let ever = u32::MAX;
    host.give(
        advert()
            .prefix("2001:db8:99::", 64, ON_LINK, ever, ever)
            .packet(),
    );
    host.give(advert().prefix("2001:db8:99::", 64, ON_LINK, 0, 0).packet());
    assert_eq!(host.stack.iface.v6.next_hop(near), Some(router(20)));
    // Our own subnet was given by hand: no router takes it away.
    host.give(advert().prefix("2001:db8::", 64, ON_LINK, 0, 0).packet());
    assert_eq!(host.stack.iface.v6.next_hop(ip(9)), Some(ip(9)));
    host.finish();
}

#[test]
fn rfc8106_5_dns_servers_and_search_lists() {
    let mut host = listening();
    let rdnss = |lifetime: u32| {
        let mut option = vec![25, 5, 0, 0];
        option.extend(lifetime.to_be_bytes());
        option.extend("2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        option.extend("fe80::53".parse::<Ipv6Addr>().unwrap().octets());
        option
    };
    let mut dnssl = vec![31, 3, 0, 0, 0, 0, 0, 100];
    dnssl.extend(b"\x04home\x04arpa\x00\x00\x00\x00\x00\x00");
    host.give(advert().option(&rdnss(300)).option(&dnssl).packet());
    assert!(host.events().contains(&NetEvent::DnsChanged));
    let servers = |host: &Host| host.stack.dns_servers().collect::<Vec<IpAddr>>();
    let both: [IpAddr; 2] = ["2001:db8::53".parse().unwrap(), "fe80::53".parse().unwrap()];
    assert_eq!(servers(&host), both);
    assert_eq!(
        host.stack.search_domains().collect::<Vec<_>>(),
        ["home.arpa"]
    );
    host.advance(100_000);
    assert_eq!(host.stack.search_domains().count(), 0);
    assert_eq!(servers(&host), both);
    host.give(advert().option(&rdnss(0)).packet());
    assert!(servers(&host).is_empty());
    assert_eq!(host.events(), [NetEvent::DnsChanged]);
    host.finish();
}

#[test]
fn a_flood_of_routers_and_prefixes_changes_neither_memory_nor_the_way_out() {
    let mut host = listening();
    host.give(advert().source(20).packet());
    let mut random = crate::Random::new([9; 32]);
    for round in 0..20_000_u32 {
        let low = random.next_u64();
        let rogue = Advert {
            from: Ipv6Addr::from_bits(router(0).to_bits() >> 64 << 64 | u128::from(low)),
            ..advert()
        };
        let prefix = std::format!("2001:db8:{:x}:{:x}::", round >> 8, round & 0xff);
        let rdnss = [
            &[25, 3, 0, 0, 0, 0, 1, 0][..],
            &u128::from(low).to_be_bytes(),
        ]
        .concat();
        let rogue = rogue
            .prefix(&prefix, 64, ON_LINK | AUTONOMOUS, 600, 600)
            .route(&prefix, 64, 1, 600)
            .option(&rdnss);
        host.give(rogue.packet());
        if round % 16 == 0 {
            host.sent();
        }
    }
    assert_eq!(
        next_hop(&host),
        Some(router(20)),
        "the first one, reachable"
    );
    let v6 = &host.stack.iface.v6;
    assert!(v6.addresses.len() <= 16);
    assert!(host.stack.dns_servers().count() <= 8);
    assert!(host.stack.is_local(OUR_IP.into()));
    host.advance(700_000);
    host.give(advert().packet());
    host.advance(10_000);
    host.meet(9);
    host.finish();
}
