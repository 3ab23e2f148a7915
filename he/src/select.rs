//! Which address to try first (RFC 6724, 6, and RFC 8305, 4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use crate::Family;

/// An address and what the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// This host's address that packets to it would have; `None` when none can
    /// be sent there.
    pub source: Option<IpAddr>,
    /// The round-trip time measured when it was last used, if it was.
    pub known_rtt: Option<Duration>,
}

/// How far an address reaches (RFC 6724, 3.1): the larger, the farther.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(u8);

impl Scope {
    /// One link.
    pub const LINK_LOCAL: Self = Self(0x2);
    /// One site; deprecated (RFC 3879).
    pub const SITE_LOCAL: Self = Self(0x5);
    /// Everywhere.
    pub const GLOBAL: Self = Self(0xe);

    /// The scope of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            // RFC 6724, 3.2: auto-configured and loopback addresses are
            // link-local, all others global.
            IpAddr::V4(v4) if v4.is_link_local() || v4.is_loopback() => Self::LINK_LOCAL,
            IpAddr::V4(_) => Self::GLOBAL,
            IpAddr::V6(v6) => {
                let [first, ..] = v6.segments();
                if v6.is_multicast() {
                    Self(v6.octets()[1] & 0xf)
                } else if v6.is_loopback() || first & 0xffc0 == 0xfe80 {
                    Self::LINK_LOCAL
                } else if first & 0xffc0 == 0xfec0 {
                    Self::SITE_LOCAL
                } else {
                    Self::GLOBAL
                }
            }
        }
    }
}

/// A line of the policy table: prefix, its length, precedence, label.
type Policy = (Ipv6Addr, u32, u8, u8);

/// The default policy table (RFC 6724, 2.1), the longest prefixes first.
const POLICIES: [Policy; 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

/// IPv4 addresses stand in the table as IPv4-mapped ones.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Leading bits that two addresses have in common.
fn common_prefix(one: Ipv6Addr, other: Ipv6Addr) -> u32 {
    (one.to_bits() ^ other.to_bits()).leading_zeros()
}

/// Precedence and label of `address`.
fn policy(address: IpAddr) -> (u8, u8) {
    let address = mapped(address);
    let fits = |(prefix, len, ..): &&Policy| common_prefix(address, *prefix) >= *len;
    let found = POLICIES.iter().find(fits);
    found.map_or((40, 1), |(.., precedence, label)| (*precedence, *label))
}

impl Destination {
    /// Rule 2: the source has the same scope.
    fn scope_matches(&self) -> bool {
        self.source
            .is_some_and(|source| Scope::of(source) == Scope::of(self.address))
    }

    /// Rule 5: the source has the same label.
    fn label_matches(&self) -> bool {
        self.source
            .is_some_and(|source| policy(source).1 == policy(self.address).1)
    }

    /// Rule 9: leading bits in common with the source, up to the length of a
    /// subnet prefix. Of IPv4 addresses that says nothing.
    fn matching_prefix(&self) -> u32 {
        match (self.address, self.source) {
            (IpAddr::V6(address), Some(IpAddr::V6(source))) => {
                common_prefix(address, source).min(64)
            }
            _ => 0,
        }
    }

    /// Used before, and how near it was.
    fn use_before(&self) -> (bool, Duration) {
        (self.known_rtt.is_none(), self.known_rtt.unwrap_or_default())
    }
}

/// Compares two destinations by the rules of RFC 6724, 6; less is better.
///
/// Rules 3, 4 and 7 (deprecated, home and tunnelled addresses) do not apply:
/// this stack has no such source addresses. Between rules 8 and 9 comes what RFC
/// 8305, 4 adds: addresses that were used before go first, the nearer ones
/// before the others.
#[must_use]
pub fn compare(one: &Destination, other: &Destination) -> Ordering {
    let key = |destination: &Destination| {
        (
            // Rule 1: avoid unusable destinations.
            destination.source.is_none(),
            // Rule 2: prefer matching scope.
            !destination.scope_matches(),
            // Rule 5: prefer matching label.
            !destination.label_matches(),
            // Rule 6: prefer higher precedence.
            Reverse(policy(destination.address).0),
            // Rule 8: prefer smaller scope.
            Scope::of(destination.address),
            destination.use_before(),
            // Rule 9: use longest matching prefix.
            Reverse(destination.matching_prefix()),
            // Rule 10: otherwise leave the order unchanged.
        )
    };
    key(one).cmp(&key(other))
}

/// Sorts by [`compare`], then takes turns between the families, beginning with
/// `first`, or with that of the best address.
///
/// RFC 8305, 4: `first_count` addresses (its "First Address Family Count") of
/// the first family stand at the beginning.
pub fn order(destinations: &mut [Destination], first: Option<Family>, first_count: usize) {
    destinations.sort_by(compare);
    let Some(best) = destinations.first() else {
        return;
    };
    let first = first.unwrap_or_else(|| Family::of(best.address));
    let (mut ours, mut others): (VecDeque<_>, VecDeque<_>) = destinations
        .iter()
        .copied()
        .partition(|destination| Family::of(destination.address) == first);
    let mut ordered: Vec<Destination> = Vec::with_capacity(destinations.len());
    ordered.extend(ours.drain(..first_count.max(1).min(ours.len())));
    while !(ours.is_empty() && others.is_empty()) {
        ordered.extend(others.pop_front());
        ordered.extend(ours.pop_front());
    }
    destinations.copy_from_slice(&ordered);
}

#[cfg(test)]
mod tests;
