//! The examples of RFC 6724, 10.2, and rules of their own.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn to(address: &str, source: &str) -> Destination {
    Destination {
        address: ip(address),
        source: (!source.is_empty()).then(|| ip(source)),
        known_rtt: None,
    }
}

/// The better one is preferred, wherever it stood.
fn prefers(better: Destination, worse: Destination) {
    for mut list in [[better, worse], [worse, better]] {
        list.sort_by(compare);
        assert_eq!(list, [better, worse]);
    }
}

#[test]
fn rfc6724_6_rule_1_avoid_unusable_destinations() {
    prefers(
        to("198.51.100.121", "198.51.100.117"),
        to("2001:db8:1::1", ""),
    );
}

#[test]
fn rfc6724_6_rule_2_prefer_matching_scope() {
    // 10.2: "Candidate Source Addresses: 2001:db8:1::2, fe80::1 or 169.254.13.78".
    prefers(
        to("2001:db8:1::1", "2001:db8:1::2"),
        to("198.51.100.121", "169.254.13.78"),
    );
    prefers(
        to("198.51.100.121", "198.51.100.117"),
        to("2001:db8:1::1", "fe80::1"),
    );
}

#[test]
fn rfc6724_6_rule_5_prefer_matching_label() {
    prefers(
        to("2002:c633:6401::1", "2002:c633:6401::2"),
        to("2001:db8:1::1", "2002:c633:6401::2"),
    );
    prefers(
        to("198.51.100.1", "198.51.100.2"),
        to("2001:db8::1", "fd00::2"),
    );
}

#[test]
fn rfc6724_6_rule_6_prefer_higher_precedence() {
    prefers(
        to("2001:db8:1::1", "2001:db8:1::2"),
        to("10.1.2.3", "10.1.2.4"),
    );
    prefers(
        to("2001:db8:1::1", "2001:db8:1::2"),
        to("2002:c633:6401::1", "2002:c633:6401::2"),
    );
    prefers(to("10.1.2.3", "10.1.2.4"), to("fd00::1", "fd00::2"));
    prefers(to("::1", "::1"), to("2001:db8:1::1", "2001:db8:1::2"));
}

#[test]
fn rfc6724_6_rule_8_prefer_smaller_scope() {
    prefers(
        to("fe80::1", "fe80::2"),
        to("2001:db8:1::1", "2001:db8:1::2"),
    );
}

#[test]
fn rfc6724_6_rule_9_use_longest_matching_prefix() {
    prefers(
        to("2001:db8:1::1", "2001:db8:1::2"),
        to("2001:db8:3ffe::1", "2001:db8:3f44::2"),
    );
    // Interface identifiers do not count.
    let (one, other) = (
        to("2001:db8::1", "2001:db8::2"),
        to("2001:db8::f000", "2001:db8::2"),
    );
    assert_eq!(compare(&one, &other), Ordering::Equal);
}

#[test]
fn rfc6724_6_rule_10_otherwise_leave_the_order_unchanged() {
    let list = ["203.0.113.9", "198.51.100.1", "203.0.113.1"];
    let mut sorted = list.map(|address| to(address, "198.51.100.7"));
    sorted.sort_by(compare);
    assert_eq!(sorted, list.map(|address| to(address, "198.51.100.7")));
}

#[test]
fn rfc8305_4_addresses_used_before_come_first_the_nearer_before_the_others() {
    let used = |address, millis| Destination {
        known_rtt: Some(Duration::from_millis(millis)),
        ..to(address, "2001:db8::7")
    };
    prefers(
        used("2001:db8:8000::2", 30),
        to("2001:db8::1", "2001:db8::7"),
    );
    prefers(used("2001:db8:8000::2", 30), used("2001:db8::2", 40));
    // But the family is decided before.
    prefers(
        to("2001:db8::1", "2001:db8::7"),
        Destination {
            known_rtt: Some(Duration::from_millis(1)),
            ..to("10.1.2.3", "10.1.2.4")
        },
    );
}

fn ordered(first: Option<Family>, first_count: usize) -> std::string::String {
    let v6 = (1..5).map(|n| to(&std::format!("2001:db8::{n}"), "2001:db8::99"));
    let v4 = (1..3).map(|n| to(&std::format!("192.0.2.{n}"), "192.0.2.99"));
    let mut list: Vec<Destination> = v4.chain(v6).collect();
    order(&mut list, first, first_count);
    let letter = |destination: &Destination| {
        if destination.address.is_ipv6() {
            '6'
        } else {
            '4'
        }
    };
    list.iter().map(letter).collect()
}

#[test]
fn rfc8305_4_families_take_turns_from_the_best_address_on() {
    assert_eq!(ordered(None, 1), "646466");
    assert_eq!(ordered(None, 2), "664646");
    assert_eq!(ordered(None, 9), "666644");
    assert_eq!(ordered(Some(Family::V4), 1), "464666");
    assert_eq!(ordered(None, 0), "646466");
}

#[test]
fn one_family_alone_keeps_its_order() {
    let mut list = [to("192.0.2.2", "192.0.2.9"), to("192.0.2.1", "192.0.2.9")];
    order(&mut list, Some(Family::V6), 1);
    assert_eq!(
        list.map(|destination| destination.address),
        [ip("192.0.2.2"), ip("192.0.2.1")]
    );
    order(&mut [], None, 1);
}

#[test]
fn scopes_are_those_of_rfc4007_and_rfc6724_3_2() {
    for (address, scope) in [
        ("fe80::1", Scope::LINK_LOCAL),
        ("::1", Scope::LINK_LOCAL),
        ("fec0::1", Scope::SITE_LOCAL),
        ("fd00::1", Scope::GLOBAL),
        ("ff02::1", Scope::LINK_LOCAL),
        ("ff0e::1", Scope::GLOBAL),
        ("127.0.0.1", Scope::LINK_LOCAL),
        ("169.254.1.1", Scope::LINK_LOCAL),
        ("10.0.0.1", Scope::GLOBAL),
    ] {
        assert_eq!(Scope::of(ip(address)), scope, "{address}");
    }
}
