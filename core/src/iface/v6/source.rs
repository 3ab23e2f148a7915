//! Which of our addresses a packet goes out from (RFC 6724, 5).

use core::net::Ipv6Addr;

use super::address::{Origin, Own};

/// Prefix, its length, and label: RFC 6724, 2.1. Its precedences are for the
/// choice of destinations.
const POLICY: [(u128, u32, u8); 9] = [
    (1, 128, 0),
    (0xffff << 32, 96, 4),
    (0, 96, 3),
    (0x2001 << 112, 32, 5),
    (0x2002 << 112, 16, 2),
    (0x3ffe << 112, 16, 12),
    (0xfec0 << 112, 10, 11),
    (0xfc00 << 112, 7, 13),
    (0, 0, 1),
];

/// The label of an address: that of the longest prefix.
fn label(address: Ipv6Addr) -> u8 {
    let bits = address.to_bits();
    POLICY
        .iter()
        .filter(|(prefix, len, _)| common_prefix(bits, *prefix) >= *len)
        .max_by_key(|(_, len, _)| *len)
        .map_or(1, |&(_, _, label)| label)
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

/// The best of `own` for packets to `destination`: RFC 6724, 5, rules 1, 2, 3,
/// 6, 7 and 8. All our addresses are on one interface, which leaves rules 4, 5
/// and 5.5 without effect.
pub(super) fn select(
    own: &[Own],
    destination: Ipv6Addr,
    prefer_temporary: bool,
) -> Option<Ipv6Addr> {
    let wanted = scope(destination);
    let wanted_label = label(destination);
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
                label(address) == wanted_label,
                temporary,
                shared,
            )
        })
        .map(Own::address)
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
            ("::1", 0),
            ("::ffff:10.0.0.1", 4),
            ("::a00:1", 3),
            ("2001::1", 5),
            ("2002::1", 2),
            ("3ffe::1", 12),
            ("fec0::1", 11),
            ("fd12::1", 13),
            ("2001:db8::1", 1),
        ] {
            assert_eq!(label(text.parse().unwrap()), expected, "{text}");
        }
    }
}
