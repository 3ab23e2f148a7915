//! Families of addresses, and the values of RFC 8305, 8.

use core::net::IpAddr;
use core::time::Duration;

use pollwire_dns::RecordType;

/// The families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The type of the records that hold such addresses.
    #[must_use]
    pub const fn record(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}

/// The values of RFC 8305, 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to wait for AAAA and HTTPS records once some address is there: 50
    /// ms.
    pub resolution_delay: Duration,
    /// Addresses of the first family before the other gets its turn: 1.
    pub first_family_count: usize,
    /// How long to wait for an attempt before the next one begins: 250 ms.
    pub attempt_delay: Duration,
    /// The least such wait when it is chosen by what is known of the host: 100
    /// ms. Never below 10 ms.
    pub min_attempt_delay: Duration,
    /// The longest: 2 s.
    pub max_attempt_delay: Duration,
    /// How long one attempt may take: 10 s.
    pub attempt_timeout: Duration,
    /// How long all of it may take: 30 s.
    pub timeout: Duration,
    /// Addresses tried at most: 32.
    pub max_attempts: usize,
    /// Attempts under way at once at most: 16.
    pub max_running: usize,
    /// Use one family only.
    pub family: Option<Family>,
}

/// RFC 8305, 5: "a subsequent connection MUST NOT be started within 10
/// milliseconds of the previous attempt."
const LEAST_DELAY: Duration = Duration::from_millis(10);

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    /// The defaults of RFC 8305, 8.
    pub const DEFAULT: Self = Self {
        resolution_delay: Duration::from_millis(50),
        first_family_count: 1,
        attempt_delay: Duration::from_millis(250),
        min_attempt_delay: Duration::from_millis(100),
        max_attempt_delay: Duration::from_secs(2),
        attempt_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(30),
        max_attempts: 32,
        max_running: 16,
        family: None,
    };

    /// The wait between attempts, for a host whose handshake takes `rtt`.
    pub(crate) fn delay(&self, rtt: Option<Duration>) -> Duration {
        let delay = match rtt {
            // RFC 8305, 5: historical round-trip times may influence it; twice
            // that leaves an ordinary handshake alone.
            Some(rtt) => (rtt * 2).clamp(
                self.min_attempt_delay,
                self.max_attempt_delay.max(self.min_attempt_delay),
            ),
            None => self.attempt_delay.min(self.max_attempt_delay),
        };
        delay.max(LEAST_DELAY)
    }
}
