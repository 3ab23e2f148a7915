//! What a resolver counts.

use pollwire_perf::{CounterSet, Named};

/// A resolver's counters.
pub type Counters = CounterSet<{ Counter::ALL.len() }>;

/// What a resolver counts; each datagram and message that it refuses has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(usize)]
pub enum Counter {
    /// Lookups of one name and type.
    Lookups,
    /// Of them: answered from the cache.
    CacheHits,
    /// Of them: answered past the time to live (RFC 8767).
    StaleAnswers,
    /// Of them: joined to one that was under way already.
    Joined,
    /// Of them: answered without asking.
    Local,
    /// Datagrams sent.
    UdpQueries,
    /// Messages sent over TCP or TLS.
    StreamQueries,
    /// Connections begun.
    Connections,
    /// Answers that were truncated and asked for again over TCP.
    Truncated,
    /// Attempts that no answer came to in time.
    TimedOut,
    /// Servers that failed to answer a question: SERVFAIL and its like.
    ServerFailures,
    /// Cache entries thrown out to make room.
    Evicted,
    /// Refused: too short for a header.
    TooShort,
    /// Refused: a query, or another operation's response.
    NotAResponse,
    /// Refused: from an address that was not asked.
    WrongServer,
    /// Refused: an id that is not the query's.
    WrongId,
    /// Refused: the answer to another question.
    WrongQuestion,
    /// Refused: the right question in other letters.
    WrongCase,
    /// Refused: more records than are taken.
    TooManyRecords,
    /// Refused: not a DNS message.
    Malformed,
    /// Refused: delegates to others instead of answering.
    Lame,
    /// Refused: the query is not under way any more.
    Late,
}

impl Named for Counter {
    const ALL: &'static [Self] = &[
        Self::Lookups,
        Self::CacheHits,
        Self::StaleAnswers,
        Self::Joined,
        Self::Local,
        Self::UdpQueries,
        Self::StreamQueries,
        Self::Connections,
        Self::Truncated,
        Self::TimedOut,
        Self::ServerFailures,
        Self::Evicted,
        Self::TooShort,
        Self::NotAResponse,
        Self::WrongServer,
        Self::WrongId,
        Self::WrongQuestion,
        Self::WrongCase,
        Self::TooManyRecords,
        Self::Malformed,
        Self::Lame,
        Self::Late,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Lookups => "lookups",
            Self::CacheHits => "cache-hits",
            Self::StaleAnswers => "stale-answers",
            Self::Joined => "joined",
            Self::Local => "local",
            Self::UdpQueries => "udp-queries",
            Self::StreamQueries => "stream-queries",
            Self::Connections => "connections",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed-out",
            Self::ServerFailures => "server-failures",
            Self::Evicted => "evicted",
            Self::TooShort => "too-short",
            Self::NotAResponse => "not-a-response",
            Self::WrongServer => "wrong-server",
            Self::WrongId => "wrong-id",
            Self::WrongQuestion => "wrong-question",
            Self::WrongCase => "wrong-case",
            Self::TooManyRecords => "too-many-records",
            Self::Malformed => "malformed",
            Self::Lame => "lame",
            Self::Late => "late",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}
