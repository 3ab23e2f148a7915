//! What a lookup gives.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A nameserver, just now.
    Server(SocketAddr),
    /// The cache.
    Cache,
    /// The cache, past its time to live, since no server answered (RFC 8767).
    Stale,
    /// This resolver itself: a literal, a static host, a special-use name.
    Local,
}

/// The records that were asked for. Copies are cheap: they share the records.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) found: Rc<Found>,
    pub(crate) source: Source,
    pub(crate) ttl: Duration,
}

/// What the cache keeps of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    /// Names on the way from `name` to that of the records, `name` excluded.
    pub(crate) aliases: Vec<Name>,
    pub(crate) records: Vec<Record>,
    pub(crate) authentic: bool,
}

impl Answer {
    /// The name that was asked for.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.found.name
    }

    /// The type that was asked for.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        self.found.record_type
    }

    /// The name that has the records: where the last alias leads.
    #[must_use]
    pub fn canonical_name(&self) -> &Name {
        self.found.aliases.last().unwrap_or(&self.found.name)
    }

    /// The names that aliases led to, in order; empty when there was none.
    #[must_use]
    pub fn aliases(&self) -> &[Name] {
        &self.found.aliases
    }

    /// The records, all of the type that was asked for, and at least one. Their
    /// own times to live are as they came: see [`ttl`](Self::ttl).
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.found.records
    }

    /// The data of the records.
    pub fn data(&self) -> impl Iterator<Item = &RData> {
        self.found.records.iter().map(|record| &record.data)
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.data().filter_map(|data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
    }

    /// How long this holds from now on; whole seconds, the shortest of all
    /// records and aliases.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Where it came from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Whether a resolver that this one trusts has verified it (DNSSEC's AD
    /// bit). Always `false` unless [`Config::trust_ad`](crate::Config::trust_ad)
    /// is set or the server is authenticated by TLS.
    #[must_use]
    pub fn authentic(&self) -> bool {
        self.found.authentic
    }
}
