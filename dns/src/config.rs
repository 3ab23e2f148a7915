//! What a resolver may be told.

use alloc::vec::Vec;
use core::time::Duration;

use hickory_proto::rr::Name;
use pollwire_core::Net;

use crate::{Hosts, Nameserver};

/// How a resolver works. Start from [`Config::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nameservers, the preferred one first. Those that did not answer of
    /// late are asked last.
    pub servers: Vec<Nameserver>,
    /// Domains to try below for names with few dots, in order.
    pub search: Vec<Name>,
    /// Names with at least this many dots are tried as they are before the
    /// search list, others after it.
    pub ndots: u8,
    /// Names that are answered without asking.
    pub hosts: Hosts,
    /// How long a lookup may take in all.
    pub timeout: Duration,
    /// How long to wait for a first answer over UDP before the next server is
    /// asked, while nothing is known of the server. It doubles with each round.
    pub first_wait: Duration,
    /// How often every server is asked.
    pub rounds: u8,
    /// How long a query over TCP or TLS may take, the connection included.
    pub stream_wait: Duration,
    /// How long a connection without queries is kept, unless the server says how
    /// long it keeps it (RFC 7828).
    pub stream_idle: Duration,
    /// The longest that such a connection is kept, whatever the server says.
    pub stream_idle_max: Duration,
    /// The largest UDP answer asked for, in bytes (RFC 6891). Larger answers
    /// come over TCP.
    pub udp_payload: u16,
    /// Mix the case of the letters in queries and check it in answers: some
    /// bits more that a forger must guess.
    pub mix_case: bool,
    /// Believe the AD bit of plain UDP and TCP answers: right only when the way
    /// to the servers is trusted (RFC 6840, 5.8).
    pub trust_ad: bool,
    /// Aliases followed at most.
    pub max_aliases: usize,
    /// Records in one answer at most, over all sections.
    pub max_records: u16,
    /// Queries under way at most.
    pub max_queries: usize,
    /// What the cache may hold.
    pub cache: CacheLimits,
}

/// What the cache may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Answers at most; 0 turns the cache off.
    pub entries: usize,
    /// Bytes at most, as far as they can be told.
    pub bytes: usize,
    /// Shorter times to live are raised to this.
    pub min_ttl: Duration,
    /// Longer ones are cut to this.
    pub max_ttl: Duration,
    /// For how long "no such name" and "no records" are kept at most (RFC 2308,
    /// 5: one to three hours).
    pub max_negative_ttl: Duration,
    /// For how long a server's failure is kept (RFC 9520, 3.2: at least one
    /// second, at most five minutes).
    pub failure_ttl: Duration,
    /// For how long beyond their time to live answers may serve when no server
    /// answers (RFC 8767); `None`: not at all.
    pub serve_stale: Option<Duration>,
}

impl CacheLimits {
    /// 1024 answers, 512 KiB, at most a day, negative ones at most an hour,
    /// failures five seconds, nothing stale.
    pub const DEFAULT: Self = Self {
        entries: 1024,
        bytes: 512 * 1024,
        min_ttl: Duration::ZERO,
        max_ttl: Duration::from_secs(86_400),
        max_negative_ttl: Duration::from_secs(3600),
        failure_ttl: Duration::from_secs(5),
        serve_stale: None,
    };
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    /// Asks the servers that DHCP, DHCPv6 or routers (RFC 8106) have told the
    /// stack of by now, and completes names with the domains that came with
    /// them. [`Resolver::follow_network`](crate::Resolver::follow_network) has
    /// a resolver go with later changes.
    #[must_use]
    pub fn announced(net: Net<'_>) -> Self {
        let (servers, search) = crate::front::announced(net);
        Self {
            search,
            ..Self::new(servers)
        }
    }

    /// Asks `servers`; no search list, no static hosts, ten seconds per lookup.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = Nameserver>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            search: Vec::new(),
            ndots: 1,
            hosts: Hosts::new(),
            timeout: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            rounds: 3,
            stream_wait: Duration::from_secs(4),
            stream_idle: Duration::from_secs(10),
            stream_idle_max: Duration::from_secs(120),
            udp_payload: 1232,
            mix_case: true,
            trust_ad: false,
            max_aliases: 12,
            max_records: 256,
            max_queries: 256,
            cache: CacheLimits::DEFAULT,
        }
    }
}
