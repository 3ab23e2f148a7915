//! The arguments that every networked program has.

use core::net::Ipv4Addr;

use log::LevelFilter;
use pollwire_core::{Config, Ipv4Cidr};

use crate::{Matches, Opt, Stop};

const IPV4: Opt = Opt::value(
    "ipv4",
    "ADDRESS/BITS",
    "this host's IPv4 address, as 10.0.0.2/24",
);
const GATEWAY: Opt = Opt::value("ipv4-gateway", "ADDRESS", "the router to everywhere else");
const LOG: Opt = Opt::value(
    "log",
    "LEVEL",
    "off, error, warn, info (default), debug, trace",
);

/// Where a program is on the network, and how much it says.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The address, from `--ipv4`.
    pub ipv4: Ipv4Cidr,
    /// The router, from `--ipv4-gateway`.
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// From `--log`.
    pub log: Option<LevelFilter>,
}

impl Network {
    /// The options that [`from_matches`](Self::from_matches) reads.
    pub const OPTIONS: &'static [Opt] = &[IPV4, GATEWAY, LOG];

    /// Reads them.
    ///
    /// # Errors
    /// [`Stop::Usage`] when the address is missing or one of them is wrong.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        Ok(Self {
            ipv4: matches.required(&IPV4)?,
            ipv4_gateway: matches.value(&GATEWAY)?,
            log: matches.value(&LOG)?,
        })
    }

    /// The stack's configuration; `seed` is 32 bytes of entropy.
    #[must_use]
    pub fn config(&self, seed: [u8; 32]) -> Config {
        let config = Config::new(self.ipv4, seed);
        match self.ipv4_gateway {
            Some(gateway) => config.with_gateway(gateway),
            None => config,
        }
    }
}
