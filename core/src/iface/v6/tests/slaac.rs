//! Addresses from advertised prefixes: RFC 4862, 5.5, RFC 7217, RFC 8981.

use super::router::{AUTONOMOUS, ON_LINK, advert, listening};
use super::*;
use crate::iface::v6::address::Origin;

const DAY: u32 = 86_400;

/// Our addresses under the prefix that the tests advertise.
fn made(host: &Host) -> Vec<(Ipv6Addr, Origin)> {
    let addresses = host.stack.iface.v6.addresses.iter();
    addresses
        .filter(|own| own.address().segments()[2] == 0x51aa)
        .map(|own| (own.address(), own.origin))
        .collect()
}

fn advertise(host: &mut Host, valid: u32, preferred: u32) {
    let flags = ON_LINK | AUTONOMOUS;
    let said = advert().prefix("2001:db8:51aa::", 64, flags, valid, preferred);
    host.give(said.packet());
}

fn eui64() -> Ipv6Addr {
    "2001:db8:51aa:0:0:ff:fe00:1".parse().unwrap()
}

#[test]
fn rfc4862_5_5_3_d_an_address_is_made_and_tried_before_use() {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    (v6.gateway, v6.slaac, v6.dad_transmits) = (None, true, 1);
    let mut host = Host::at_boot(&config);
    host.advance(5000);
    host.sent();
    host.events();
    advertise(&mut host, 3600, 1800);
    assert_eq!(made(&host), [(eui64(), Origin::Slaac)]);
    assert!(!host.stack.is_local(eui64().into()));
    host.advance(2000);
    let probe = host.asked();
    assert_eq!(probe, [question(eui64())]);
    assert!(host.stack.is_local(eui64().into()));
    assert!(host.events().contains(&NetEvent::AddressUp(eui64().into())));
    host.finish();
}

#[test]
fn an_address_is_awaited_until_it_is_there() {
    for slaac in [false, true] {
        let mut config = config();
        let v6 = config.ipv6.as_mut().unwrap();
        v6.addresses.clear();
        (v6.gateway, v6.slaac, v6.dad_transmits) = (None, slaac, 1);
        let mut host = Host::at_boot(&config);
        host.advance(5000);
        host.sent();
        assert_eq!(host.stack.awaits_ipv6(), slaac, "a router may come");
        advertise(&mut host, 3600, 1800);
        assert_eq!(host.stack.awaits_ipv6(), slaac, "it is tried");
        host.advance(2000);
        assert!(!host.stack.awaits_ipv6());
        host.sent();
        host.events();
        host.finish();
    }
    let mut host = Host::at_boot(&config());
    host.advance(5000);
    assert!(!host.stack.awaits_ipv6(), "an address was given");
    host.sent();
    host.events();
    host.finish();
}

#[test]
fn rfc7217_5_identifiers_are_stable_by_default() {
    let made_with = |secret: Option<[u8; 16]>, seed| {
        let mut config = config();
        config.seed = [seed; 32];
        let v6 = config.ipv6.as_mut().unwrap();
        (v6.gateway, v6.slaac) = (None, true);
        v6.identifiers = InterfaceIds::Stable(secret);
        let mut host = Host::at_boot(&config);
        host.stack.expire(host.now);
        advertise(&mut host, 3600, 1800);
        let address = made(&host)[0].0;
        host.finish();
        address
    };
    let secret = Some([3; 16]);
    assert_eq!(made_with(secret, 1), made_with(secret, 2), "over boots");
    assert_ne!(made_with(secret, 1), made_with(Some([4; 16]), 1));
    assert_ne!(made_with(None, 1), made_with(None, 2));
    assert_ne!(made_with(secret, 1), eui64());
}

#[test]
fn rfc4862_5_5_3_what_makes_no_address() {
    let mut host = listening();
    let flags = ON_LINK | AUTONOMOUS;
    let prefix = "2001:db8:51aa::";
    for said in [
        advert().prefix(prefix, 64, ON_LINK, 600, 600),
        advert().prefix(prefix, 64, flags, 600, 601),
        advert().prefix(prefix, 64, flags, 0, 0),
        advert().prefix(prefix, 56, flags, 600, 600),
        advert().prefix(prefix, 129, flags, 600, 600),
        advert().prefix("fe80::", 64, flags, 600, 600),
        advert().prefix("ff02::", 64, flags, 600, 600),
    ] {
        host.give(said.packet());
        assert_eq!(made(&host), []);
    }
    let before = host.stack.iface.v6.addresses.len();
    assert_eq!(before, 2);
    // Without SLAAC no prefix makes an address, but routers are listened to.
    let mut config = config();
    config.ipv6.as_mut().unwrap().gateway = None;
    let mut manual = Host::at_boot(&config);
    manual.stack.expire(manual.now);
    advertise(&mut manual, 600, 600);
    assert_eq!(made(&manual), []);
    assert!(manual.stack.iface.v6.next_hop(FAR).is_some());
    manual.finish();
    host.finish();
}

#[test]
fn rfc4862_5_5_4_addresses_grow_old_and_die() {
    let mut host = listening();
    advertise(&mut host, 10_000, 5000);
    host.events();
    let far = IpAddr::from("2001:db8:51aa::99".parse::<Ipv6Addr>().unwrap());
    assert_eq!(host.stack.source_for(far), Some(eui64().into()));
    host.advance(5_000_000);
    assert_eq!(
        host.stack.source_for(far),
        Some(OUR_IP.into()),
        "deprecated: not for what is new"
    );
    assert!(host.stack.is_local(eui64().into()), "but still ours");
    host.advance(5_000_000);
    assert!(!host.stack.is_local(eui64().into()));
    assert!(
        host.events()
            .contains(&NetEvent::AddressDown(eui64().into()))
    );
    host.finish();
}

#[test]
fn rfc4862_5_5_3_e_no_advertisement_ends_an_address_within_two_hours() {
    let mut host = listening();
    let valid = |host: &Host| {
        let addresses = &host.stack.iface.v6.addresses;
        let own = addresses.iter().find(|own| own.address() == eui64());
        own.map(|own| own.valid_until.since(host.now).as_secs())
    };
    advertise(&mut host, DAY, DAY);
    assert_eq!(valid(&host), Some(u64::from(DAY)));
    // A rogue one.
    advertise(&mut host, 1, 0);
    assert_eq!(valid(&host), Some(7200));
    assert!(
        host.stack.iface.v6.is_deprecated(eui64()),
        "preference may go"
    );
    // Not longer than was left, if that is less.
    host.advance(3_600_000);
    advertise(&mut host, 1, 0);
    assert_eq!(valid(&host), Some(3600));
    advertise(&mut host, 4000, 4000);
    assert_eq!(valid(&host), Some(4000));
    assert!(!host.stack.iface.v6.is_deprecated(eui64()));
    host.advance(4_000_000);
    assert_eq!(valid(&host), None);
    host.finish();
}

#[test]
fn rfc8981_3_temporary_addresses_are_preferred_and_replaced() {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    (v6.gateway, v6.slaac, v6.temporary) = (None, true, true);
    let mut host = Host::at_boot(&config);
    host.stack.expire(host.now);
    advertise(&mut host, 30 * DAY, 7 * DAY);
    let first = made(&host);
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].1, first[1].1), (Origin::Slaac, Origin::Temporary));
    let far = IpAddr::from("2001:db8:51aa::99".parse::<Ipv6Addr>().unwrap());
    assert_eq!(host.stack.source_for(far), Some(first[1].0.into()));
    let mut seen = vec![first[1].0];
    for _ in 0..6 * 24 {
        host.advance(3_600_000);
        advertise(&mut host, 30 * DAY, 7 * DAY);
        let own = made(&host);
        let temporary = own.iter().filter(|(_, from)| *from == Origin::Temporary);
        assert!(own.len() <= 6, "{own:?}");
        for (address, _) in temporary {
            if !seen.contains(address) {
                seen.push(*address);
            }
        }
        let source = host.stack.source_for(far).unwrap();
        assert_eq!(source, IpAddr::V6(*seen.last().unwrap()), "the newest");
        host.sent();
    }
    assert!(
        (6..=11).contains(&seen.len()),
        "one a day or so: {}",
        seen.len()
    );
    host.finish();
}

#[test]
fn rfc7217_6_a_duplicate_made_address_is_made_anew() {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    (v6.gateway, v6.slaac, v6.dad_transmits) = (None, true, 1);
    v6.identifiers = InterfaceIds::Stable(Some([1; 16]));
    let mut host = Host::at_boot(&config);
    host.advance(5000);
    advertise(&mut host, 3600, 1800);
    let first = made(&host)[0].0;
    host.advance(1000);
    let taken = advertisement(OVERRIDE, first, Some(mac(9)));
    host.give(Packet::icmp(&taken).dst(crate::wire::ipv6::ALL_NODES));
    let second = made(&host)[0].0;
    assert_ne!(first, second);
    assert_eq!(first.segments()[..4], second.segments()[..4]);
    host.advance(5000);
    assert!(host.stack.is_local(second.into()));
    host.finish();
}

/// RFC 6724, 5, rule 3: a kept way out does not outlive its source address.
#[test]
fn rfc4862_5_5_4_datagrams_leave_a_source_that_grows_old() {
    let mut config = config();
    let v6 = config.ipv6.as_mut().unwrap();
    (v6.gateway, v6.slaac) = (None, true);
    let mut host = Host::at_boot(&config);
    host.stack.expire(host.now);
    advertise(&mut host, 7200, 4);
    let neighbor: Ipv6Addr = "2001:db8:51aa::9".parse().unwrap();
    let any = core::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, 7));
    let id = host.stack.udp_bind(any).unwrap();
    let source = |host: &mut Host| {
        let to = core::net::SocketAddr::from((neighbor, 7));
        let frame = host.stack.frame_alloc().unwrap();
        host.stack.udp_try_send_frame(id, frame, to).unwrap();
        let mut sent = host.sent();
        // An advertisement that nobody asked for would void the way, too.
        if sent.iter().all(|sent| sent.next != 17) {
            let message = super::advertisement(SOLICITED | OVERRIDE, neighbor, Some(mac(9)));
            host.give(Packet::icmp(&message).src(neighbor));
            sent = host.sent();
        }
        let datagram = sent.iter().find(|sent| sent.next == 17);
        datagram.map(|sent| sent.src)
    };
    for _ in 0..4 {
        source(&mut host);
    }
    assert_eq!(source(&mut host), Some(eui64()));
    host.advance(4100);
    assert_eq!(source(&mut host), Some(OUR_IP));
    host.finish();
}
