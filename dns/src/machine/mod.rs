//! The resolver without sockets and clocks: questions, datagrams, bytes and time
//! go in; datagrams, bytes and answers come out.
//!
//! Whoever drives it calls [`Machine::start`], then, after this and every other
//! call, carries out what [`Machine::poll_output`] asks for, hands in what
//! arrives ([`on_datagram`](Machine::on_datagram),
//! [`on_stream_data`](Machine::on_stream_data), ...), calls
//! [`Machine::expire`] when [`Machine::deadline`] is due, and takes the answers
//! of the queries that [`Machine::poll_finished`] names. [`Resolver`] is such a
//! driver.
//!
//! [`Resolver`]: crate::Resolver

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use pollwire_core::{Instant, Random};

use crate::answer::Found;
use crate::cache::Cache;
use crate::hosts::absolute;
use crate::{Answer, Config, Counter, Counters, DnsError, Nameserver, Source, special};

mod query;
mod server;
mod stream;
mod udp;

#[cfg(test)]
mod tests;

use query::Query;
use server::Server;
use stream::Stream;
use udp::Exchange;

/// A lookup under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

/// One query to one server over UDP, with a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(u64);

/// A connection to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send `message` to `server`, from the socket of `exchange`: opened now, on
    /// a random port, unless it is open already. Answers go to
    /// [`Machine::on_datagram`], failures to [`Machine::on_datagram_failed`].
    SendDatagram {
        /// Whose socket.
        exchange: ExchangeId,
        /// Where to.
        server: SocketAddr,
        /// What.
        message: Rc<[u8]>,
    },
    /// Close the socket of `exchange`.
    CloseExchange(ExchangeId),
    /// Connect to `server`, by TCP or TLS as it says, and report to
    /// [`Machine::on_connected`] or [`Machine::on_stream_closed`].
    Connect {
        /// The name of the new connection.
        stream: StreamId,
        /// Where to.
        server: Nameserver,
    },
    /// Send `bytes`, which hold whole messages with their lengths.
    SendBytes {
        /// On which connection.
        stream: StreamId,
        /// What.
        bytes: Rc<[u8]>,
    },
    /// Close the connection. Nothing more is to be reported of it.
    CloseStream(StreamId),
}

/// A sans-IO stub resolver.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    servers: Vec<Server>,
    queries: BTreeMap<QueryId, Query>,
    /// Queries that are under way, for others with the same question.
    questions: BTreeMap<(Name, RecordType), QueryId>,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    streams: BTreeMap<StreamId, Stream>,
    cache: Cache,
    random: Random,
    output: VecDeque<Output>,
    finished: VecDeque<QueryId>,
    counters: Counters,
    last_id: u64,
}

impl Machine {
    /// A resolver whose ids and letters come from `random`.
    #[must_use]
    pub fn new(config: Config, random: Random) -> Self {
        Self {
            servers: config.servers.iter().cloned().map(Server::new).collect(),
            cache: Cache::new(config.cache),
            config,
            queries: BTreeMap::new(),
            questions: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            streams: BTreeMap::new(),
            random,
            output: VecDeque::new(),
            finished: VecDeque::new(),
            counters: Counters::new(),
            last_id: 0,
        }
    }

    /// How it works.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Answers in the cache, and about how many bytes they take.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.len(), self.cache.bytes())
    }

    /// Forgets all answers.
    pub fn clear_cache(&mut self) {
        self.cache.clear();
    }

    /// Asks other servers from now on; what is under way begins anew.
    pub fn set_servers(&mut self, now: Instant, servers: Vec<Nameserver>) {
        self.config.servers.clone_from(&servers);
        self.servers = servers.into_iter().map(Server::new).collect();
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            self.drop_stream(stream);
        }
        let running: Vec<QueryId> = self.questions.values().copied().collect();
        for id in running {
            self.begin(now, id);
        }
    }

    /// Changes the domains that short names are tried in.
    pub fn set_search(&mut self, search: Vec<Name>) {
        self.config.search = search;
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Looks up the records of one type at one name, which is taken to be
    /// absolute. The answer may be there at once: see
    /// [`poll_finished`](Self::poll_finished).
    pub fn start(&mut self, now: Instant, name: &Name, record_type: RecordType) -> QueryId {
        self.counters.inc(Counter::Lookups);
        let name = absolute(name);
        if let Some(local) = special::answer(&name, record_type, &self.config.hosts) {
            self.counters.inc(Counter::Local);
            let ttl = Duration::from_secs(3600);
            return self.finished_query(local.map(Rc::new), Source::Local, ttl);
        }
        let hit = self.cache.get(now, &name, record_type);
        if let Some(hit) = &hit
            && (!hit.stale || hit.at_once)
        {
            let (counter, source, ttl) = if hit.stale {
                (Counter::StaleAnswers, Source::Stale, query::STALE_TTL)
            } else {
                (Counter::CacheHits, Source::Cache, hit.ttl)
            };
            self.counters.inc(counter);
            return self.finished_query(hit.outcome.clone(), source, ttl);
        }
        let key = (name, record_type);
        if let Some(id) = self.questions.get(&key).copied()
            && let Some(query) = self.queries.get_mut(&id)
        {
            self.counters.inc(Counter::Joined);
            query.waiters += 1;
            if query.done.is_some() {
                self.finished.push_back(id);
            }
            return id;
        }
        if self.questions.len() >= self.config.max_queries {
            return self.finished_query(Err(DnsError::Busy), Source::Local, Duration::ZERO);
        }
        let id = QueryId(self.new_id());
        let stale = hit.and_then(|hit| hit.outcome.ok());
        let query = Query::new(key.clone(), now, now + self.config.timeout, stale);
        self.queries.insert(id, query);
        self.questions.insert(key, id);
        self.begin(now, id);
        id
    }

    fn finished_query(
        &mut self,
        outcome: Result<Rc<Found>, DnsError>,
        source: Source,
        ttl: Duration,
    ) -> QueryId {
        let id = QueryId(self.new_id());
        let answer = outcome.map(|found| Answer { found, source, ttl });
        self.queries.insert(id, Query::finished(answer));
        self.finished.push_back(id);
        id
    }

    /// The answer, once it is there. Every [`start`](Self::start) is to be
    /// followed by one answer taken or one [`cancel`](Self::cancel).
    pub fn take(&mut self, id: QueryId) -> Option<Result<Answer, DnsError>> {
        let Some(query) = self.queries.get_mut(&id) else {
            return Some(Err(DnsError::Stopped));
        };
        let answer = query.done.clone()?;
        query.waiters = query.waiters.saturating_sub(1);
        if query.waiters == 0 && !query.running {
            self.queries.remove(&id);
        }
        Some(answer)
    }

    /// Whether anything is kept of a query: somebody waits, or it goes on.
    pub(crate) fn is_known(&self, id: QueryId) -> bool {
        self.queries.contains_key(&id)
    }

    /// Gives up one interest in a query; the last one ends it.
    pub fn cancel(&mut self, now: Instant, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.waiters = query.waiters.saturating_sub(1);
        // One that was answered from stale records goes on to refresh them.
        if query.waiters == 0 && !(query.running && query.done.is_some()) {
            self.forget(now, id);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// The next query whose answer can be [taken](Self::take).
    pub fn poll_finished(&mut self) -> Option<QueryId> {
        self.finished.pop_front()
    }

    /// When [`expire`](Self::expire) is to be called; `None`: not by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let queries = self
            .questions
            .values()
            .filter_map(|id| self.queries.get(id));
        let queries = queries.map(Query::due);
        let streams = self.streams.values().filter_map(|stream| stream.idle_until);
        queries.chain(streams).min()
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Instant) {
        let running = self.questions.values().copied();
        let due = |id: &QueryId| self.queries.get(id).is_some_and(|query| query.due() <= now);
        let due: Vec<QueryId> = running.filter(due).collect();
        for id in due {
            self.expire_query(now, id);
        }
        let idle = |(id, stream): (&StreamId, &Stream)| {
            stream
                .idle_until
                .is_some_and(|until| until <= now)
                .then_some(*id)
        };
        let idle: Vec<StreamId> = self.streams.iter().filter_map(idle).collect();
        for id in idle {
            self.drop_stream(id);
        }
    }
}
