//! The arguments about IPv6.

use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use pollwire_core::{Config, InterfaceIds, Ipv6Cidr, Ipv6Config, ParseCidrError};

use crate::{Matches, Opt, Stop};

pub(crate) const IPV6: Opt = Opt::values(
    "ipv6",
    "ADDRESS/BITS",
    "this host's IPv6 address, as fd00::2/64; or slaac, or eui64 for SLAAC with \
     identifiers from the Ethernet address, or none (default); several add up",
);
pub(crate) const GATEWAY: Opt = Opt::value(
    "ipv6-gateway",
    "ADDRESS",
    "the IPv6 router; without SLAAC no other is listened to",
);
pub(crate) const SECRET: Opt = Opt::value(
    "ipv6-secret",
    "HEX",
    "32 digits that no one else knows: slaac makes the same address at each boot",
);
pub(crate) const TEMPORARY: Opt = Opt::flag(
    "ipv6-temporary",
    "with SLAAC, connect from addresses that change daily (RFC 8981)",
);

pub(crate) const NO_DAD: Opt = Opt::flag(
    "ipv6-no-dad",
    "use IPv6 addresses at once, without asking whether others have them",
);

/// As many as [`Ipv6Config::addresses`] holds.
const MAX_ADDRESSES: usize = 4;

/// A value of `--ipv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Source {
    /// An address.
    Address(Ipv6Cidr),
    /// Addresses under advertised prefixes, with stable opaque identifiers (RFC
    /// 7217).
    Slaac,
    /// Addresses under advertised prefixes, with identifiers from the Ethernet
    /// address.
    Eui64,
    /// No IPv6.
    None,
}

impl FromStr for Ipv6Source {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        match text {
            "slaac" => Ok(Self::Slaac),
            "eui64" => Ok(Self::Eui64),
            "none" => Ok(Self::None),
            address => address.parse().map(Self::Address),
        }
    }
}

impl fmt::Display for Ipv6Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Slaac => f.write_str("slaac"),
            Self::Eui64 => f.write_str("eui64"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A value of `--ipv6-secret`. Prints as nothing that tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(u128);

/// The text is no [`Secret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSecret;

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 hexadecimal digits are needed")
    }
}

impl core::error::Error for NoSecret {}

impl FromStr for Secret {
    type Err = NoSecret;

    fn from_str(text: &str) -> Result<Self, NoSecret> {
        // `from_str_radix` would take a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoSecret);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NoSecret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How a program gets its IPv6 addresses.
#[derive(Clone, Debug, Default)]
pub struct Ipv6 {
    /// The addresses, from `--ipv6`.
    pub sources: Vec<Ipv6Source>,
    /// The router, from `--ipv6-gateway`.
    pub gateway: Option<Ipv6Addr>,
    /// From `--ipv6-secret`.
    pub secret: Option<Secret>,
    /// From `--ipv6-temporary`.
    pub temporary: bool,
    /// From `--ipv6-no-dad`.
    pub no_dad: bool,
}

impl Ipv6 {
    pub(crate) fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        let ipv6 = Self {
            sources: matches.values(&IPV6)?,
            gateway: matches.value(&GATEWAY)?,
            secret: matches.value(&SECRET)?,
            temporary: matches.flag(&TEMPORARY),
            no_dad: matches.flag(&NO_DAD),
        };
        if ipv6.addresses().count() > MAX_ADDRESSES {
            return Err(
                matches.mistake(format_args!("--ipv6: more than {MAX_ADDRESSES} addresses"))
            );
        }
        if ipv6.has(Ipv6Source::Slaac) && ipv6.has(Ipv6Source::Eui64) {
            return Err(matches.mistake("--ipv6 is either slaac or eui64"));
        }
        let made = ipv6.has(Ipv6Source::Slaac) || ipv6.has(Ipv6Source::Eui64);
        if ipv6.temporary && !made {
            return Err(matches.mistake("--ipv6-temporary goes with --ipv6=slaac or eui64"));
        }
        if ipv6.gateway.is_some() && !ipv6.is_wanted() {
            return Err(matches.mistake("--ipv6-gateway goes with --ipv6"));
        }
        Ok(ipv6)
    }

    fn has(&self, source: Ipv6Source) -> bool {
        self.sources.contains(&source)
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv6Cidr> + '_ {
        self.sources.iter().filter_map(|source| match source {
            Ipv6Source::Address(address) => Some(*address),
            _ => None,
        })
    }

    /// Whether IPv6 is spoken at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.sources
            .iter()
            .any(|source| *source != Ipv6Source::None)
    }

    pub(crate) fn configure(&self, config: &mut Config) {
        if !self.is_wanted() {
            return;
        }
        let identifiers = if self.has(Ipv6Source::Eui64) {
            InterfaceIds::Eui64
        } else {
            InterfaceIds::Stable(self.secret.map(|secret| secret.0.to_be_bytes()))
        };
        config.ipv6 = Some(Ipv6Config {
            addresses: self.addresses().take(MAX_ADDRESSES).collect(),
            gateway: self.gateway,
            slaac: self.has(Ipv6Source::Slaac) || self.has(Ipv6Source::Eui64),
            identifiers,
            temporary: self.temporary,
            dad_transmits: if self.no_dad {
                0
            } else {
                Ipv6Config::LINK_LOCAL.dad_transmits
            },
            ..Ipv6Config::LINK_LOCAL
        });
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::{Network, Program};

    const PROGRAM: Program = Program {
        name: "test",
        about: "About.",
        usage: "",
        options: &[Network::OPTIONS],
    };

    fn network(args: &[&str]) -> Result<Network, Stop> {
        Network::from_matches(&PROGRAM.parse(args.iter().copied())?)
    }

    #[test]
    fn addresses_add_up_with_slaac() {
        let network = network(&[
            "--ipv6=fd00::2/64",
            "--ipv6=slaac",
            "--ipv6-gateway=fe80::1",
            "--ipv6-secret=000102030405060708090a0b0c0d0e0f",
            "--ipv6-temporary",
        ])
        .expect("fine without IPv4");
        assert_eq!(network.to_string(), "fd00::2/64, slaac");
        let config = network.config([0; 32]);
        assert!(config.ipv4.is_empty());
        let v6 = config.ipv6.expect("asked for");
        assert_eq!(v6.addresses.len(), 1);
        assert!(v6.slaac && v6.temporary);
        assert_eq!(v6.gateway, Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)));
        let InterfaceIds::Stable(Some(secret)) = v6.identifiers else {
            panic!("{:?}", v6.identifiers);
        };
        assert_eq!((secret[0], secret[15]), (0, 15));
    }

    #[test]
    fn without_ipv6_none_is_spoken() {
        for args in [&["--ipv4=none"][..], &["--ipv4=none", "--ipv6=none"]] {
            let config = network(args).expect("fine").config([0; 32]);
            assert!(config.ipv6.is_none());
        }
        let config = network(&["--ipv6=eui64"]).expect("fine").config([0; 32]);
        let v6 = config.ipv6.expect("asked for");
        assert_eq!(v6.identifiers, InterfaceIds::Eui64);
        assert!(v6.slaac && !v6.temporary);
    }

    #[test]
    fn mistakes_are_told() {
        for (args, part) in [
            (
                &["--ipv6=10.0.0.2/24"][..],
                "--ipv6=10.0.0.2/24: not an address",
            ),
            (&["--ipv6=fd00::1"], "prefix length missing"),
            (&["--ipv6=slaac", "--ipv6=eui64"], "either slaac or eui64"),
            (&["--ipv6=fd00::1/64"; 5], "more than 4 addresses"),
            (
                &["--ipv4=none", "--ipv6-gateway=fe80::1"],
                "goes with --ipv6",
            ),
            (
                &["--ipv6=fd00::1/64", "--ipv6-temporary"],
                "goes with --ipv6=slaac",
            ),
            (
                &["--ipv6=slaac", "--ipv6-secret=12"],
                "32 hexadecimal digits",
            ),
        ] {
            let stop = network(args).expect_err("a mistake");
            assert!(stop.to_string().contains(part), "{stop}");
        }
        let secret: Secret = "000102030405060708090a0b0c0d0e0f".parse().expect("sound");
        assert_eq!(alloc::format!("{secret:?}"), "Secret");
    }
}
