//! One question's way from server to server.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use pollwire_core::Instant;

use super::{ExchangeId, Machine, Output, QueryId};
use crate::answer::Found;
use crate::message::{Response, Verdict};
use crate::{Answer, Counter, DnsError, Source, Transport};

/// The client response timer of RFC 8767, 5.
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// What is said of stale records (RFC 8767, 4), and how soon they are refreshed
/// again (RFC 8767, 5).
pub(super) const STALE_TTL: Duration = Duration::from_secs(30);
/// The longest wait for a datagram.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A server as this query sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    server: usize,
    /// It had its say.
    failed: bool,
    /// Only over TCP.
    pub(super) by_stream: bool,
}

#[derive(Debug)]
pub(super) struct Query {
    key: (Name, RecordType),
    /// What is asked for now: the end of `aliases`, if any.
    pub(super) name: Name,
    aliases: Vec<Name>,
    /// The shortest time to live of the aliases.
    ttl: u32,
    pub(super) waiters: u32,
    deadline: Instant,
    /// The servers, in the order in which they are asked.
    plan: Vec<Candidate>,
    /// Attempts made so far.
    turn: usize,
    /// The server that is asked now.
    current: Option<usize>,
    /// When the next one is.
    next: Instant,
    pub(super) exchanges: Vec<ExchangeId>,
    /// The server that answered in other letters and is asked over TCP for that.
    pub(super) checks_case: Option<usize>,
    /// It went over to a new connection once.
    pub(super) reconnected: bool,
    stale: Option<Rc<Found>>,
    stale_at: Option<Instant>,
    last_error: DnsError,
    pub(super) running: bool,
    pub(super) done: Option<Result<Answer, DnsError>>,
}

impl Query {
    pub(super) fn new(
        key: (Name, RecordType),
        now: Instant,
        deadline: Instant,
        stale: Option<Rc<Found>>,
    ) -> Self {
        Self {
            name: key.0.clone(),
            key,
            aliases: Vec::new(),
            ttl: u32::MAX,
            waiters: 1,
            deadline,
            plan: Vec::new(),
            turn: 0,
            current: None,
            next: deadline,
            exchanges: Vec::new(),
            checks_case: None,
            reconnected: false,
            stale_at: stale.as_ref().map(|_| now + STALE_AFTER),
            stale,
            last_error: DnsError::TimedOut,
            running: true,
            done: None,
        }
    }

    pub(super) fn finished(answer: Result<Answer, DnsError>) -> Self {
        let key = (Name::root(), RecordType::ZERO);
        Self {
            running: false,
            done: Some(answer),
            ..Self::new(key, Instant::ZERO, Instant::ZERO, None)
        }
    }

    pub(super) fn record_type(&self) -> RecordType {
        self.key.1
    }

    /// When something is to be done.
    pub(super) fn due(&self) -> Instant {
        let due = self.deadline.min(self.next);
        self.stale_at.map_or(due, |at| at.min(due))
    }

    pub(super) fn candidate(&mut self, server: usize) -> Option<&mut Candidate> {
        self.plan
            .iter_mut()
            .find(|candidate| candidate.server == server)
    }

    fn by_stream(&self, server: usize) -> bool {
        let found = self
            .plan
            .iter()
            .find(|candidate| candidate.server == server);
        found.is_some_and(|candidate| candidate.by_stream)
    }

    /// The next server in turn, and the round that it is in.
    fn next_server(&mut self, rounds: usize) -> Option<(usize, u32)> {
        let count = self.plan.len();
        while self.turn < count * rounds {
            let candidate = self.plan.get(self.turn % count)?;
            let round = u32::try_from(self.turn / count).unwrap_or(u32::MAX);
            self.turn += 1;
            if !candidate.failed {
                return Some((candidate.server, round));
            }
        }
        None
    }
}

impl Machine {
    /// Asks the first server for a query's present name.
    pub(super) fn begin(&mut self, now: Instant, id: QueryId) {
        self.close_exchanges(id);
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        order.sort_by_key(|index| self.servers.get(*index).and_then(|server| server.rest(now)));
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let candidate = |server| Candidate {
            server,
            failed: false,
            by_stream: false,
        };
        query.plan = order.into_iter().map(candidate).collect();
        query.turn = 0;
        query.checks_case = None;
        query.reconnected = false;
        if query.plan.is_empty() {
            query.last_error = DnsError::NoServer;
        }
        self.attempt(now, id);
    }

    /// Asks the next server, or gives up.
    pub(super) fn attempt(&mut self, now: Instant, id: QueryId) {
        let rounds = usize::from(self.config.rounds.max(1));
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        match query.next_server(rounds) {
            Some((server, round)) => {
                query.current = Some(server);
                self.ask(now, id, server, round);
            }
            None => self.give_up(now, id),
        }
    }

    /// Asks `server`, by datagram or stream.
    pub(super) fn ask(&mut self, now: Instant, id: QueryId, server: usize, round: u32) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let plain = self
            .servers
            .get(server)
            .is_some_and(|server| server.settings.transport == Transport::Udp);
        let by_stream = !plain || query.by_stream(server);
        let wait = if by_stream {
            self.config.stream_wait
        } else {
            let factor = 1_u32.checked_shl(round).unwrap_or(u32::MAX);
            self.config
                .first_wait
                .saturating_mul(factor)
                .min(LONGEST_WAIT)
        };
        query.next = now + wait;
        let asked = if by_stream {
            self.ask_by_stream(now, id, server)
        } else {
            self.ask_by_datagram(now, id, server)
        };
        if !asked {
            // A name that fits no message: no server will do better.
            self.finish(
                now,
                id,
                Err(DnsError::BadName),
                Duration::ZERO,
                Source::Local,
            );
        }
    }

    /// Asks the same server again over TCP.
    pub(super) fn turn_to_stream(&mut self, now: Instant, id: QueryId, server: usize) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.current = Some(server);
        if let Some(candidate) = query.candidate(server) {
            candidate.by_stream = true;
        }
        self.close_exchange_with(id, server);
        self.ask(now, id, server, 0);
    }

    /// Asks the same server again over UDP, with letters as they are.
    pub(super) fn turn_to_datagram(&mut self, now: Instant, id: QueryId, server: usize) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.current = Some(server);
        self.ask(now, id, server, 0);
    }

    /// `server` will not answer this query: on to the next, unless another is
    /// being asked already.
    pub(super) fn server_failed(
        &mut self,
        now: Instant,
        id: QueryId,
        server: usize,
        error: DnsError,
    ) {
        let Some(query) = self.queries.get_mut(&id).filter(|query| query.running) else {
            return;
        };
        // What a server said tells more than that another was silent.
        if !matches!(query.last_error, DnsError::Failed { .. }) {
            query.last_error = error;
        }
        if let Some(candidate) = query.candidate(server) {
            candidate.failed = true;
        }
        let is_current = query.current == Some(server);
        self.close_exchange_with(id, server);
        if is_current {
            self.attempt(now, id);
        }
    }

    /// A response to `id` that passed all checks came from `server`.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        id: QueryId,
        server: usize,
        response: Response,
        had_edns: bool,
        by_stream: bool,
    ) {
        let Some(query) = self.queries.get(&id).filter(|query| query.running) else {
            self.counters.inc(Counter::Late);
            return;
        };
        let trusted = self.config.trust_ad
            || self
                .servers
                .get(server)
                .is_some_and(|server| server.settings.is_authenticated());
        let authentic = trusted && response.authentic();
        let wire_len = response.wire_len;
        let (name, record_type) = (&query.name, query.record_type());
        let verdict = response.verdict(name, record_type, had_edns, self.config.max_aliases);
        if let Some(server) = self.servers.get_mut(server) {
            server.answered();
        }
        match verdict {
            Verdict::Found {
                aliases,
                records,
                ttl,
            } => self.found(now, id, server, aliases, records, ttl, authentic, wire_len),
            Verdict::Chase { aliases, ttl } => self.chase(now, id, aliases, ttl),
            Verdict::Nothing { error, ttl } => self.nothing(now, id, server, error, ttl),
            Verdict::Truncated if by_stream => {
                self.server_failed(now, id, server, DnsError::BadAnswer);
            }
            Verdict::Truncated => {
                self.counters.inc(Counter::Truncated);
                self.turn_to_stream(now, id, server);
            }
            Verdict::NoEdns => {
                if let Some(server) = self.servers.get_mut(server) {
                    server.lacks_edns(now);
                }
                self.close_exchange_with(id, server);
                self.ask(now, id, server, 0);
            }
            Verdict::Failed(error) => {
                self.counters.inc(Counter::ServerFailures);
                self.server_failed(now, id, server, error);
            }
            Verdict::Lame => {
                self.counters.inc(Counter::Lame);
                self.server_failed(now, id, server, DnsError::BadAnswer);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
    fn found(
        &mut self,
        now: Instant,
        id: QueryId,
        server: usize,
        more_aliases: Vec<Name>,
        records: Vec<hickory_proto::rr::Record>,
        ttl: u32,
        authentic: bool,
        wire_len: usize,
    ) {
        let source = self.source(server);
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let mut aliases = core::mem::take(&mut query.aliases);
        aliases.extend(more_aliases);
        let found = Rc::new(Found {
            name: query.key.0.clone(),
            record_type: query.key.1,
            aliases,
            records,
            authentic,
        });
        let ttl = ttl.min(query.ttl);
        let ttl = self.cache.keep(now, found.clone(), ttl, wire_len);
        self.finish(now, id, Ok(found), ttl, source);
    }

    /// Follows aliases whose end the server did not tell.
    fn chase(&mut self, now: Instant, id: QueryId, more_aliases: Vec<Name>, ttl: u32) {
        let max_aliases = self.config.max_aliases;
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let seen = |name: &Name| {
            name.eq_ignore_root(&query.key.0)
                || query.aliases.iter().any(|alias| alias.eq_ignore_root(name))
        };
        let circle = more_aliases.iter().any(seen);
        query.ttl = query.ttl.min(ttl);
        query.aliases.extend(more_aliases);
        if circle || query.aliases.len() > max_aliases {
            query.last_error = DnsError::AliasLoop;
            return self.give_up(now, id);
        }
        if let Some(end) = query.aliases.last() {
            query.name = crate::hosts::absolute(end);
        }
        self.begin(now, id);
    }

    fn nothing(
        &mut self,
        now: Instant,
        id: QueryId,
        server: usize,
        error: DnsError,
        ttl: Option<u32>,
    ) {
        let source = self.source(server);
        let Some(query) = self.queries.get(&id) else {
            return;
        };
        // RFC 2308, 5: "Negative responses without SOA records SHOULD NOT be
        // cached".
        if let Some(ttl) = ttl {
            let (name, record_type) = &query.key;
            let ttl = ttl.min(query.ttl);
            self.cache.keep_error(now, name, *record_type, error, ttl);
        }
        self.finish(now, id, Err(error), Duration::ZERO, source);
    }

    fn source(&self, server: usize) -> Source {
        let server = self.servers.get(server);
        server.map_or(Source::Cache, |server| {
            Source::Server(server.settings.address)
        })
    }

    /// No server can say.
    fn give_up(&mut self, now: Instant, id: QueryId) {
        let Some(query) = self.queries.get(&id) else {
            return;
        };
        let error = query.last_error;
        let (name, record_type) = &query.key;
        if query.stale.is_some() {
            self.cache.quiet(name, *record_type, now + STALE_TTL);
        } else if matches!(error, DnsError::Failed { .. } | DnsError::AliasLoop) {
            // RFC 9520, 3.2: resolution failures are kept, too.
            self.cache.keep_failure(now, name, *record_type, error);
        }
        match query.stale.clone() {
            Some(stale) => {
                self.counters.inc(Counter::StaleAnswers);
                self.finish(now, id, Ok(stale), STALE_TTL, Source::Stale);
            }
            None => self.finish(now, id, Err(error), Duration::ZERO, Source::Local),
        }
    }

    fn finish(
        &mut self,
        now: Instant,
        id: QueryId,
        outcome: Result<Rc<Found>, DnsError>,
        ttl: Duration,
        source: Source,
    ) {
        self.close_exchanges(id);
        let evicted = self.cache.trim();
        self.counters.add(Counter::Evicted, evicted);
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.running = false;
        self.questions.remove(&query.key);
        if query.done.is_none() {
            query.done = Some(outcome.map(|found| Answer { found, source, ttl }));
            self.finished.push_back(id);
        }
        if query.waiters == 0 {
            self.queries.remove(&id);
        }
        self.leave_streams(now, id);
    }

    /// Ends a query that nobody waits for.
    pub(super) fn forget(&mut self, now: Instant, id: QueryId) {
        self.close_exchanges(id);
        if let Some(query) = self.queries.remove(&id)
            && query.running
        {
            self.questions.remove(&query.key);
        }
        self.leave_streams(now, id);
    }

    /// Answers from stale records, and goes on asking.
    fn serve_stale(&mut self, now: Instant, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.stale_at = None;
        let (Some(found), None) = (query.stale.clone(), &query.done) else {
            return;
        };
        let answer = Answer {
            found,
            source: Source::Stale,
            ttl: STALE_TTL,
        };
        query.done = Some(Ok(answer));
        self.cache.quiet(&query.key.0, query.key.1, now + STALE_TTL);
        self.counters.inc(Counter::StaleAnswers);
        self.finished.push_back(id);
    }

    pub(super) fn expire_query(&mut self, now: Instant, id: QueryId) {
        let Some(query) = self.queries.get(&id) else {
            return;
        };
        let (deadline, next) = (query.deadline, query.next);
        if query.stale_at.is_some_and(|at| at <= now) {
            self.serve_stale(now, id);
        }
        if deadline <= now {
            self.attempt_timed_out(now, id);
            self.give_up(now, id);
        } else if next <= now {
            self.attempt_timed_out(now, id);
            self.attempt(now, id);
        }
    }

    /// The server that is being asked was silent for too long.
    fn attempt_timed_out(&mut self, now: Instant, id: QueryId) {
        let Some(server) = self.queries.get(&id).and_then(|query| query.current) else {
            return;
        };
        self.counters.inc(Counter::TimedOut);
        if let Some(server) = self.servers.get_mut(server) {
            server.silent(now);
        }
        if self
            .queries
            .get(&id)
            .is_some_and(|query| query.checks_case == Some(server))
        {
            self.lost_case_check(now, id, server);
        }
        self.check_silent_stream(now, id, server);
    }

    fn close_exchanges(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        for exchange in core::mem::take(&mut query.exchanges) {
            self.exchanges.remove(&exchange);
            self.output.push_back(Output::CloseExchange(exchange));
        }
    }
}
