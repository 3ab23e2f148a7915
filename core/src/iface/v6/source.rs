//! Which of our addresses a packet goes out from, and which of a peer's is
//! tried first (RFC 6724).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use super::address::{Origin, Own};
use crate::Stack;

/// Prefix, its length, precedence and label: RFC 6724, 2.1.
const POLICY: [(u128, u32, u8, u8); 9] = [
    (1, 128, 50, 0),
    (0xffff << 32, 96, 35, 4),
    (0, 96, 1, 3),
    (0x2001 << 112, 32, 5, 5),
    (0x2002 << 112, 16, 30, 2),
    (0x3ffe << 112, 16, 1, 12),
    (0xfec0 << 112, 10, 1, 11),
    (0xfc00 << 112, 7, 3, 13),
    (0, 0, 40, 1),
];

/// Precedence and label of an address: those of the longest prefix.
fn policy(address: Ipv6Addr) -> (u8, u8) {
    let bits = address.to_bits();
    POLICY
        .iter()
        .filter(|(prefix, len, ..)| common_prefix(bits, *prefix) >= *len)
        .max_by_key(|(_, len, ..)| *len)
        .map_or((40, 1), |&(_, _, precedence, label)| (precedence, label))
}

const fn common_prefix(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

/// RFC 6724, 3.1: the scope, as in multicast addresses.
fn scope(address: Ipv6Addr) -> u8 {
    let [first, second, ..] = address.octets();
    if first == 0xff {
        second & 0x0f
    } else if address.is_unicast_link_local() || address.is_loopback() {
        2
    } else if first == 0xfe && second & 0xc0 == 0xc0 {
        5
    } else {
        0xe
    }
}

/// IPv4 addresses stand IPv4-mapped in the policy table; RFC 6724, 3.2, gives
/// them scopes.
fn scope_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => 2,
        IpAddr::V4(_) => 0xe,
        IpAddr::V6(v6) => scope(v6),
    }
}

const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The best of `own` for packets to `destination`: RFC 6724, 5, rules 1, 2, 3,
/// 6, 7 and 8. All our addresses are on one interface, which leaves rules 4, 5
/// and 5.5 without effect.
pub(super) fn select(
    own: &[Own],
    destination: Ipv6Addr,
    prefer_temporary: bool,
) -> Option<Ipv6Addr> {
    let wanted = scope(destination);
    let label = policy(destination).1;
    own.iter()
        .filter(|own| own.is_assigned())
        // Of equals the last is taken: reversed, the one that came first.
        .rev()
        .max_by_key(|own| {
            let address = own.address();
            let has = scope(address);
            // Rule 2: the smallest scope that suffices, else the largest.
            let scope_rank = if has >= wanted {
                (true, u8::MAX - has)
            } else {
                (false, has)
            };
            let temporary = (own.origin == Origin::Temporary) == prefer_temporary;
            // Rule 8 compares no further than the source's own prefix.
            let shared = common_prefix(address.to_bits(), destination.to_bits())
                .min(u32::from(own.cidr.prefix()));
            (
                address == destination,
                scope_rank,
                !own.deprecated,
                policy(address).1 == label,
                temporary,
                shared,
            )
        })
        .map(Own::address)
}

impl Stack {
    /// Sorts addresses of one peer so that the most promising come first: RFC
    /// 6724, 6, rules 1, 2, 3, 5, 6, 8 and 9. Those that nothing leads to come
    /// last; equals keep their order.
    pub fn order_destinations(&self, destinations: &mut [IpAddr]) {
        destinations.sort_by_cached_key(|&destination| {
            let source = self.source_for(destination);
            let (precedence, label) = policy(mapped(destination));
            let fits = source.is_some_and(|source| scope_of(source) == scope_of(destination));
            let same_label = source.is_some_and(|source| policy(mapped(source)).1 == label);
            let deprecated =
                matches!(source, Some(IpAddr::V6(source)) if self.iface.v6.is_deprecated(source));
            // Rule 9 is for IPv6 only: what addresses share in IPv4 says little
            // (RFC 6724, 6: "when DA and DB belong to the same address family").
            let shared = match (source, destination) {
                (Some(IpAddr::V6(source)), IpAddr::V6(destination)) => {
                    common_prefix(source.to_bits(), destination.to_bits()).min(64)
                }
                _ => 0,
            };
            (
                source.is_none(),
                !fits,
                deprecated,
                !same_label,
                Reverse(precedence),
                scope_of(destination),
                Reverse(shared),
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iface::v6::address::Phase;

    fn own(text: &str, deprecated: bool, origin: Origin) -> Own {
        Own {
            phase: Phase::Assigned,
            deprecated,
            ..Own::new(text.parse().unwrap(), origin)
        }
    }

    fn chosen(own: &[Own], to: &str, temporary: bool) -> std::string::String {
        let source = select(own, to.parse().unwrap(), temporary);
        source.map_or("none".into(), |source| std::format!("{source}"))
    }

    #[test]
    fn rfc6724_5_rules_of_source_selection() {
        let link_local = own("fe80::1/64", false, Origin::LinkLocal);
        let global = own("2001:db8:1::1/64", false, Origin::Slaac);
        let other = own("2001:db8:2::1/64", false, Origin::Slaac);
        let old = own("2001:db8:2::9/64", true, Origin::Slaac);
        let temporary = own("2001:db8:1::7/64", false, Origin::Temporary);
        let local = own("fd00::1/64", false, Origin::Static);
        let all = [link_local, global, other, old, temporary, local];
        for (rule, to, best) in [
            ("1", "2001:db8:2::9", "2001:db8:2::9"),
            ("2, larger", "2001:db8:1::9", "2001:db8:1::1"),
            ("2, smaller", "fe80::9", "fe80::1"),
            ("2, multicast", "ff02::1", "fe80::1"),
            ("3 and 8", "2001:db8:2::8", "2001:db8:2::1"),
            ("6", "fd00::9", "fd00::1"),
        ] {
            assert_eq!(chosen(&all, to, false), best, "rule {rule}");
        }
        assert_eq!(chosen(&all, "2001:db8:1::9", true), "2001:db8:1::7");
        assert_eq!(chosen(&[old], "2001:db8::", false), "2001:db8:2::9");
        assert_eq!(chosen(&[link_local], "2001:db8::", false), "fe80::1");
        let tentative = Own {
            phase: Phase::New,
            ..global
        };
        assert_eq!(chosen(&[tentative], "2001:db8::", false), "none");
    }

    #[test]
    fn rfc6724_2_1_the_policy_table() {
        for (text, expected) in [
            ("::1", (50, 0)),
            ("::ffff:10.0.0.1", (35, 4)),
            ("::a00:1", (1, 3)),
            ("2001::1", (5, 5)),
            ("2002::1", (30, 2)),
            ("3ffe::1", (1, 12)),
            ("fec0::1", (1, 11)),
            ("fd12::1", (3, 13)),
            ("2001:db8::1", (40, 1)),
        ] {
            assert_eq!(policy(text.parse().unwrap()), expected, "{text}");
        }
    }
}
