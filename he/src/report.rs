//! What happened, as data and as a timeline.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use pollwire_core::{Error, Instant};
use pollwire_dns::{DnsError, RecordType};

use crate::Via;

/// What it took to connect, or to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name or address that was given; empty for a list of addresses.
    pub host: String,
    /// When it began.
    pub started: Instant,
    /// When it was decided.
    pub ended: Instant,
    /// The lookups that were answered, in the order of their answers.
    pub lookups: Vec<Lookup>,
    /// The attempts, in the order in which they began.
    pub attempts: Vec<Attempt>,
}

/// What one lookup gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The name that was asked for: the host, or one that its HTTPS records lead
    /// to.
    pub name: String,
    /// What was asked for: A, AAAA or HTTPS records.
    pub record: RecordType,
    /// When the answer came.
    pub at: Instant,
    /// The addresses in it, of A and AAAA records.
    pub addresses: Vec<IpAddr>,
    /// How many addresses or services it held.
    pub result: Result<usize, DnsError>,
}

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where to.
    pub address: SocketAddr,
    /// What led there.
    pub via: Via,
    /// When it began.
    pub started: Instant,
    /// When it ended; equal to `started` while it goes on.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It goes on.
    Running,
    /// It connected, before all others.
    Connected,
    /// It failed.
    Failed(Cause),
    /// It took too long.
    TimedOut,
    /// Another one was faster, or time was up for all.
    GivenUp,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection.
    Net(Error),
    /// What came on top of it, in words.
    Above(String),
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Net(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::Above(what) => f.write_str(what),
        }
    }
}

impl Outcome {
    /// One word for it, in kebab-case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Connected => "connected",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed-out",
            Self::GivenUp => "given-up",
        }
    }
}

impl Report {
    /// The attempt that connected.
    #[must_use]
    pub fn winner(&self) -> Option<&Attempt> {
        self.attempts
            .iter()
            .find(|attempt| attempt.outcome == Outcome::Connected)
    }

    /// How long it took in all.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// All that happened, in order, each with its time.
    fn events(&self) -> Vec<(Instant, String)> {
        use alloc::format;
        let mut events = Vec::new();
        for lookup in &self.lookups {
            let own = lookup.name.trim_end_matches('.') == self.host.trim_end_matches('.');
            let of = if own {
                String::new()
            } else {
                format!(" of {}", lookup.name)
            };
            let record = lookup.record;
            let kind = match record {
                RecordType::HTTPS => ["service", "services"],
                _ => ["address", "addresses"],
            };
            let what = match lookup.result {
                Ok(1) => format!("{record}{of}: 1 {}", kind[0]),
                Ok(count) => format!("{record}{of}: {count} {}", kind[1]),
                Err(error) => format!("{record}{of}: {error}"),
            };
            events.push((lookup.at, false, what));
        }
        for attempt in &self.attempts {
            let address = attempt.address;
            let via = match attempt.via {
                Via::Host => String::new(),
                Via::Service(priority) => format!(", service of priority {priority}"),
                Via::Alias => ", by an alias".into(),
            };
            let what = format!("connecting to {address}{via}");
            events.push((attempt.started, false, what));
            let what = match &attempt.outcome {
                Outcome::Running => continue,
                Outcome::Connected => format!("connected to {address}"),
                Outcome::Failed(cause) => format!("{address} failed: {cause}"),
                Outcome::TimedOut => format!("{address} timed out"),
                Outcome::GivenUp => format!("{address} given up"),
            };
            let lost = attempt.outcome == Outcome::GivenUp;
            events.push((attempt.ended, lost, what));
        }
        // What ends a race comes before what it ends.
        events.sort_by_key(|(at, lost, _)| (*at, *lost));
        let events = events.into_iter();
        events.map(|(at, _, what)| (at, what)).collect()
    }
}

/// A line per event, with the milliseconds since the beginning.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in self.events() {
            let micros = at.since(self.started).as_micros();
            writeln!(f, "{:>6}.{:03} ms  {what}", micros / 1000, micros % 1000)?;
        }
        Ok(())
    }
}
