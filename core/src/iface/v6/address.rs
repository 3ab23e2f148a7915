//! An interface's own IPv6 addresses: their lives, and their identifiers.

use core::hash::Hasher;
use core::net::Ipv6Addr;

use pollwire_rings::Instant;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::Ipv6Cidr;
use crate::wire::MacAddr;

/// The prefix of link-local addresses (RFC 4291, 2.5.6).
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// Where an address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Every interface has one.
    LinkLocal,
    /// By hand.
    Static,
    /// From an advertised prefix (RFC 4862).
    Slaac,
    /// From an advertised prefix, for a while (RFC 8981).
    Temporary,
}

/// How far duplicate address detection has come (RFC 4862, 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not begun.
    New,
    /// So many more solicitations, and one more wait.
    Tentative { left: u8 },
    /// Nobody else has it.
    Assigned,
    /// Somebody else has it.
    Duplicate,
}

/// One of our addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) cidr: Ipv6Cidr,
    pub(crate) origin: Origin,
    pub(crate) phase: Phase,
    /// When detection goes on; the far future when it does not.
    pub(crate) due: Instant,
    pub(crate) valid_until: Instant,
    pub(crate) preferred_until: Instant,
    /// New connections should not use it (RFC 4862, 5.5.4).
    pub(crate) deprecated: bool,
    /// How often another identifier was tried (RFC 7217: DAD_Counter).
    pub(crate) retries: u8,
    /// When it was made; for temporary addresses.
    pub(crate) made_at: Instant,
    /// A temporary address has its successor already.
    pub(crate) succeeded: bool,
    /// Its solicited-node group is joined.
    pub(crate) joined: bool,
}

impl Own {
    /// An address for ever, detection to begin at once.
    pub(crate) const fn new(cidr: Ipv6Cidr, origin: Origin) -> Self {
        Self {
            cidr,
            origin,
            phase: Phase::New,
            due: Instant::ZERO,
            valid_until: Instant::FAR_FUTURE,
            preferred_until: Instant::FAR_FUTURE,
            deprecated: false,
            retries: 0,
            made_at: Instant::ZERO,
            succeeded: false,
            joined: false,
        }
    }

    pub(crate) const fn address(&self) -> Ipv6Addr {
        self.cidr.address()
    }

    /// May be used.
    pub(crate) fn is_assigned(&self) -> bool {
        self.phase == Phase::Assigned
    }

    /// Being tried; answers no one, and hears only who else tries.
    pub(crate) fn is_tentative(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Tentative { .. })
    }
}

/// What identifiers are made of.
#[derive(Clone, Copy)]
pub(crate) enum Identifiers {
    /// The key of RFC 7217's function.
    Stable(u64, u64),
    /// RFC 4291, appendix A.
    Eui64,
}

impl Identifiers {
    /// The address under `prefix`, of whose bits the lower 64 are ignored; the
    /// `retries`th try.
    pub(crate) fn address(self, prefix: Ipv6Addr, mac: MacAddr, retries: u8) -> Ipv6Addr {
        let high = prefix.to_bits() >> 64 << 64;
        let low = match self {
            Self::Eui64 => eui64(mac),
            Self::Stable(a, b) => stable((a, b), prefix, mac, retries),
        };
        Ipv6Addr::from_bits(high | u128::from(low))
    }

    /// The link-local address.
    pub(crate) fn link_local(self, mac: MacAddr, retries: u8) -> Ipv6Addr {
        self.address(LINK_LOCAL, mac, retries)
    }
}

/// RFC 4291, appendix A: the Ethernet address around ff:fe, its universal bit
/// inverted.
fn eui64(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// RFC 7217, 5: F(prefix, interface, network, DAD_Counter, secret). F is
/// SipHash-2-4, which is a pseudo-random function under its key; the interface
/// is named by its Ethernet address, and the network left out, as it may be.
fn stable(key: (u64, u64), prefix: Ipv6Addr, mac: MacAddr, retries: u8) -> u64 {
    let [p @ .., _, _, _, _, _, _, _, _] = prefix.octets();
    for counter in u16::from(retries).. {
        let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
        hasher.write(&p);
        hasher.write(&mac.0);
        hasher.write(&counter.to_be_bytes());
        let id = hasher.finish128().h1;
        if !is_reserved(id) {
            return id;
        }
    }
    0
}

/// Identifiers that RFC 5453 reserves: the subnet router's anycast address,
/// IANA's range, and that of subnet anycast addresses (RFC 2526).
pub(crate) const fn is_reserved(id: u64) -> bool {
    id == 0
        || id >> 24 == 0x02_005e_fffe
        || id >= 0xfdff_ffff_ffff_ff80 && id <= 0xfdff_ffff_ffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);

    #[test]
    fn rfc4291_appendix_a_identifiers_from_ethernet_addresses() {
        let address = Identifiers::Eui64.link_local(MAC, 0);
        assert_eq!(
            address,
            "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap()
        );
        let prefix = "2001:db8:1:2:ffff::".parse().unwrap();
        let address = Identifiers::Eui64.address(prefix, MAC, 0);
        assert_eq!(
            address,
            "2001:db8:1:2:3656:78ff:fe9a:bcde"
                .parse::<Ipv6Addr>()
                .unwrap()
        );
    }

    #[test]
    fn rfc7217_5_identifiers_are_stable_per_prefix_and_differ_otherwise() {
        let (one, other) = (Identifiers::Stable(1, 2), Identifiers::Stable(1, 3));
        let prefix = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let id = |from: Identifiers, under: &str, retries| {
            from.address(prefix(under), MAC, retries).to_bits() & u128::from(u64::MAX)
        };
        let first = id(one, "2001:db8::", 0);
        assert_eq!(first, id(one, "2001:db8::9", 0), "only the prefix counts");
        assert_ne!(first, id(one, "2001:db8:0:1::", 0));
        assert_ne!(first, id(one, "2001:db8::", 1));
        assert_ne!(first, id(other, "2001:db8::", 0));
        let neighbour = one.address(prefix("2001:db8::"), MacAddr([2; 6]), 0);
        assert_ne!(first, neighbour.to_bits() & u128::from(u64::MAX));
    }

    #[test]
    fn rfc5453_reserved_identifiers_are_not_used() {
        for id in [
            0,
            0x0200_5eff_fe00_5212,
            0xfdff_ffff_ffff_ff80,
            0xfdff_ffff_ffff_ffff,
        ] {
            assert!(is_reserved(id), "{id:x}");
        }
        for id in [
            1,
            0x0200_5eff_ff00_0000,
            0xfdff_ffff_ffff_ff7f,
            0xfe00_0000_0000_0000,
        ] {
            assert!(!is_reserved(id), "{id:x}");
        }
    }
}
