//! The arguments that every networked program has.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{AddrParseError, IpAddr, Ipv4Addr};
use core::str::FromStr;
use core::time::Duration;

use log::LevelFilter;
use pollwire_core::{Config, DhcpConfig, Fallback, Ipv4Cidr, ParseCidrError, VlanId};

use crate::ipv6::{self, Ipv6};
use crate::{Matches, Opt, Stop};

const IPV4: Opt = Opt::values(
    "ipv4",
    "ADDRESS/BITS",
    "this host's IPv4 address, as 10.0.0.2/24; or dhcp, or none; several add up",
);
const GATEWAY: Opt = Opt::value("ipv4-gateway", "ADDRESS", "the router to everywhere else");
const FALLBACK: Opt = Opt::value(
    "ipv4-fallback",
    "ADDRESS/BITS",
    "the address to have while no DHCP server answers",
);
const HOSTNAME: Opt = Opt::value("hostname", "NAME", "what this host calls itself to DHCP");
const VLAN: Opt = Opt::value(
    "vlan",
    "ID",
    "the VLAN to be in, 1 to 4094: frames are tagged",
);
const LOG: Opt = Opt::value(
    "log",
    "LEVEL",
    "off, error, warn, info (default), debug, trace",
);

/// How long DHCP is waited for before the fallback is taken.
const PATIENCE: Duration = Duration::from_secs(15);

/// A value of `--ipv4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Source {
    /// An address.
    Address(Ipv4Cidr),
    /// What a DHCP server gives.
    Dhcp,
    /// No address.
    None,
}

impl FromStr for Ipv4Source {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            "none" => Ok(Self::None),
            address => address.parse().map(Self::Address),
        }
    }
}

impl fmt::Display for Ipv4Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dhcp => f.write_str("dhcp"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Where a program is on the network, and how much it says. Prints as where
/// its addresses come from.
#[derive(Clone, Debug)]
pub struct Network {
    /// The addresses, from `--ipv4`.
    pub ipv4: Vec<Ipv4Source>,
    /// The router, from `--ipv4-gateway`.
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// The address without a DHCP server, from `--ipv4-fallback`.
    pub ipv4_fallback: Option<Ipv4Cidr>,
    /// The same for IPv6.
    pub ipv6: Ipv6,
    /// DNS servers, from `--nameserver`, as far as they are plain addresses.
    pub nameservers: Vec<IpAddr>,
    /// From `--hostname`; empty for none.
    pub hostname: String,
    /// From `--vlan`.
    pub vlan: Option<VlanId>,
    /// From `--log`.
    pub log: Option<LevelFilter>,
}

/// A plain address, or one with a transport, which only programs read that
/// look names up.
struct Nameserver(Option<IpAddr>);

impl FromStr for Nameserver {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.split_once(':') {
            Some(("udp" | "tcp" | "tls", _)) => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))),
        }
    }
}

/// A VLAN's number.
struct Vlan(VlanId);

impl FromStr for Vlan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let id = text.parse().ok().and_then(VlanId::new);
        id.map(Self).ok_or("not a number from 1 to 4094")
    }
}

impl Network {
    /// The DNS servers. Programs that look names up read it, too, for the servers
    /// that are to be reached in another way than on UDP's port 53.
    pub const NAMESERVER: Opt = Opt::values(
        "nameserver",
        "SERVER",
        "ADDR, udp:ADDR[:PORT], tcp:..., tls:ADDR[:PORT]!HOST[!AUTHENTICATOR]; several add up",
    );

    /// The options that [`from_matches`](Self::from_matches) reads.
    pub const OPTIONS: &'static [Opt] = &[
        IPV4,
        GATEWAY,
        FALLBACK,
        ipv6::IPV6,
        ipv6::GATEWAY,
        ipv6::SECRET,
        ipv6::TEMPORARY,
        ipv6::NO_DAD,
        Self::NAMESERVER,
        HOSTNAME,
        VLAN,
        LOG,
    ];

    /// Reads them.
    ///
    /// # Errors
    /// [`Stop::Usage`] when there is neither `--ipv4` nor `--ipv6`, too many of an option, or one
    /// of them is wrong.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        let network = Self {
            ipv4: matches.values(&IPV4)?,
            ipv4_gateway: matches.value(&GATEWAY)?,
            ipv4_fallback: matches.value(&FALLBACK)?,
            ipv6: Ipv6::from_matches(matches)?,
            nameservers: matches
                .values::<Nameserver>(&Self::NAMESERVER)?
                .into_iter()
                .filter_map(|server| server.0)
                .collect(),
            hostname: matches.value(&HOSTNAME)?.unwrap_or_default(),
            vlan: matches.value::<Vlan>(&VLAN)?.map(|vlan| vlan.0),
            log: matches.value(&LOG)?,
        };
        if network.ipv4.is_empty() && !network.ipv6.is_wanted() {
            return Err(matches.missing(&IPV4));
        }
        if network.addresses().count() > MAX_ADDRESSES {
            return Err(
                matches.mistake(format_args!("--ipv4: more than {MAX_ADDRESSES} addresses"))
            );
        }
        if network.nameservers.len() > MAX_NAMESERVERS {
            return Err(matches.mistake(format_args!(
                "--nameserver: more than {MAX_NAMESERVERS} of them"
            )));
        }
        if network.ipv4_fallback.is_some() && !network.wants_dhcp() {
            return Err(matches.mistake("--ipv4-fallback goes with --ipv4=dhcp"));
        }
        Ok(network)
    }

    fn wants_dhcp(&self) -> bool {
        self.ipv4.contains(&Ipv4Source::Dhcp)
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Cidr> + '_ {
        self.ipv4.iter().filter_map(|source| match source {
            Ipv4Source::Address(address) => Some(*address),
            Ipv4Source::Dhcp | Ipv4Source::None => None,
        })
    }

    /// The stack's configuration; `seed` is 32 bytes of entropy.
    #[must_use]
    pub fn config(&self, seed: [u8; 32]) -> Config {
        let mut config = Config::without_addresses(seed);
        config.vlan = self.vlan;
        config.ipv4.extend(self.addresses().take(MAX_ADDRESSES));
        self.ipv6.configure(&mut config);
        let nameservers = self.nameservers.iter().copied();
        config.dns_servers.extend(nameservers.take(MAX_NAMESERVERS));
        let fallback = self.ipv4_fallback.map(|address| Fallback {
            address,
            gateway: self.ipv4_gateway,
            after: PATIENCE,
        });
        if fallback.is_none() {
            config.ipv4_gateway = self.ipv4_gateway;
        }
        if self.wants_dhcp() {
            config.dhcp = Some(DhcpConfig {
                host_name: self.hostname.clone(),
                fallback,
                ..DhcpConfig::new()
            });
        }
        config
    }
}

/// As many as [`Config::ipv4`] holds.
const MAX_ADDRESSES: usize = 4;
/// As many as [`Config::dns_servers`] holds.
const MAX_NAMESERVERS: usize = 4;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = self.ipv4.iter().map(|source| source as &dyn fmt::Display);
        let v6 = self.ipv6.sources.iter();
        let v6 = v6.map(|source| source as &dyn fmt::Display);
        for (at, source) in v4.chain(v6).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{source}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::Program;

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
    fn addresses_add_up() {
        let network = network(&[
            "--ipv4=10.0.0.2/24",
            "--ipv4=10.0.0.3/24",
            "--ipv4=dhcp",
            "--ipv4-gateway=10.0.0.1",
            "--nameserver=10.0.0.53",
            "--nameserver=fd00::53",
            "--hostname=web",
            "--vlan=10",
        ])
        .expect("fine");
        assert_eq!(network.to_string(), "10.0.0.2/24, 10.0.0.3/24, dhcp");
        let config = network.config([0; 32]);
        assert_eq!(config.ipv4.len(), 2);
        assert_eq!(config.ipv4_gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(config.dns_servers.len(), 2);
        assert_eq!(config.vlan, VlanId::new(10));
        let dhcp = config.dhcp.expect("asked for");
        assert_eq!((&dhcp.host_name[..], dhcp.probe), ("web", true));
        assert_eq!(dhcp.fallback, None);
    }

    #[test]
    fn a_fallback_has_the_gateway() {
        let args = [
            "--ipv4=dhcp",
            "--ipv4-fallback=10.0.0.2/24",
            "--ipv4-gateway=10.0.0.1",
        ];
        let config = network(&args).expect("fine").config([0; 32]);
        assert_eq!(config.ipv4_gateway, None);
        let fallback = config.dhcp.and_then(|dhcp| dhcp.fallback);
        let gateway = fallback.and_then(|fallback| fallback.gateway);
        assert_eq!(gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        let none = network(&["--ipv4=none"]).expect("fine").config([0; 32]);
        assert!(none.ipv4.is_empty() && none.dhcp.is_none());
    }

    #[test]
    fn mistakes_are_told() {
        for (args, part) in [
            (&[][..], "--ipv4=ADDRESS/BITS is needed"),
            (&["--ipv4=10.0.0.2"], "prefix length missing"),
            (&["--ipv4=dhpc"], "--ipv4=dhpc: prefix length missing"),
            (&["--ipv4=10.0.0.2/24"; 5], "more than 4 addresses"),
            (
                &["--ipv4=10.0.0.2/24", "--ipv4-fallback=10.0.0.3/24"],
                "goes with --ipv4=dhcp",
            ),
            (&["--ipv4=dhcp", "--nameserver=dns"], "--nameserver=dns"),
            (&["--ipv4=dhcp", "--vlan=0"], "1 to 4094"),
            (&["--ipv4=dhcp", "--vlan=4095"], "1 to 4094"),
        ] {
            let stop = network(args).expect_err("a mistake");
            assert!(stop.to_string().contains(part), "{stop}");
        }
    }
}
