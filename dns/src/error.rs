//! Why a lookup gave nothing.

use core::fmt;

use hickory_proto::op::ResponseCode;

/// Why a lookup gave nothing.
///
/// [`NoSuchName`](Self::NoSuchName) and [`NoRecords`](Self::NoRecords) are
/// answers: some server said so. The others mean that nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsError {
    /// The name does not exist (RFC 2308, 2.1: NXDOMAIN).
    NoSuchName,
    /// The name exists, but has no record of that type (RFC 2308, 2.2: NODATA).
    NoRecords,
    /// Every server refused or failed; this is the last one's code.
    Failed {
        /// What the server answered.
        code: ResponseCode,
        /// The extended error that came with it (RFC 8914), if any.
        extended: Option<u16>,
    },
    /// No server's answer made sense.
    BadAnswer,
    /// Aliases lead in a circle, or to too many others.
    AliasLoop,
    /// No server answered in time.
    TimedOut,
    /// No server could be reached.
    Unreachable,
    /// No nameserver is configured.
    NoServer,
    /// What was asked for is no domain name (RFC 1035, 2.3.4).
    BadName,
    /// Too many queries are under way.
    Busy,
    /// The resolver was dropped.
    Stopped,
}

impl DnsError {
    /// Whether a server said that there is nothing: asking again will not help.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoRecords)
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "no such name",
            Self::NoRecords => "no records of that type",
            Self::Failed { code, extended } => {
                write!(f, "the nameserver failed: {code}")?;
                return match extended {
                    Some(code) => write!(f, " (extended error {code})"),
                    None => Ok(()),
                };
            }
            Self::BadAnswer => "no nameserver's answer made sense",
            Self::AliasLoop => "too many aliases, or aliases in a circle",
            Self::TimedOut => "no nameserver answered in time",
            Self::Unreachable => "no nameserver could be reached",
            Self::NoServer => "no nameserver is configured",
            Self::BadName => "not a domain name",
            Self::Busy => "too many queries are under way",
            Self::Stopped => "the resolver was stopped",
        })
    }
}

impl core::error::Error for DnsError {}
