//! Happy Eyeballs version 2 (RFC 8305), with version 3's use of HTTPS records
//! (draft-ietf-happy-happyeyeballs-v3), without sockets and clocks: answers of
//! lookups, ends of attempts and time go in; lookups and attempts come out.
//!
//! Whoever drives it hands in what happens
//! ([`on_addresses`](Machine::on_addresses), [`on_services`](Machine::on_services),
//! [`on_connected`](Machine::on_connected), [`on_failed`](Machine::on_failed)),
//! calls [`Machine::expire`] when [`Machine::deadline`] is due, carries out what
//! [`Machine::poll_output`] asks for, and looks at [`Machine::decision`].

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use pollwire_core::Instant;
use pollwire_dns::{DnsError, Name, RecordType, Services};

use crate::history::{History, Known};
use crate::plan::{Candidate, Plan, Target, Via};
use crate::report::{Attempt, Cause, Lookup, Outcome, Report};
use crate::{Config, Family};

/// An attempt, by its place in [`Report::attempts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(usize);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look up the addresses of both families (or the one that is wanted) of a
    /// name that HTTPS records lead to.
    Resolve {
        /// What to call it in [`Machine::on_addresses`].
        target: Target,
        /// The name, absolute.
        name: String,
    },
    /// Begin to connect.
    Connect {
        /// The name of the attempt.
        attempt: AttemptId,
        /// Where to.
        address: SocketAddr,
    },
    /// Give the attempt up and close it. Nothing more is to be reported of it.
    Close(AttemptId),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This attempt connected.
    Connected(AttemptId),
    /// No address was found.
    NoAddress(DnsError),
    /// Every attempt failed.
    AllFailed,
    /// Time was up.
    TimedOut,
}

/// HTTPS records that are being looked up.
#[derive(Debug)]
struct Awaited {
    name: Name,
    alpn: Vec<Vec<u8>>,
}

/// One connection to be made.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    known: Option<Known>,
    dns_error: DnsError,
    plan: Plan,
    services: Option<Awaited>,
    /// What is tried next, in order.
    untried: VecDeque<Candidate>,
    /// The resolution delay, which begins with the first address, ends then.
    grace: Option<Instant>,
    /// What is there waits for better until then.
    hold_until: Option<Instant>,
    /// The host's own addresses wait until then for those of its services.
    services_until: Instant,
    next_attempt: Instant,
    running: usize,
    report: Report,
    output: VecDeque<Output>,
    decision: Option<Decision>,
}

impl Machine {
    /// Connects to `host` at the first of `ports` that answers. The lookups of
    /// both families (or the one that `config` wants) are under way from `now`
    /// on. `history` tells what worked before.
    #[must_use]
    pub fn new(now: Instant, config: Config, host: &str, ports: &[u16], history: &History) -> Self {
        let known = history.get(now, host);
        let plan = Plan::new(&config, host, ports, known, true);
        Self {
            known,
            ..Self::bare(now, config, host.into(), plan)
        }
    }

    /// The same with HTTPS records: their lookup, at `name`, is under way, too,
    /// and `alpn` is what the client speaks over TLS (RFC 9460, 7.1.2).
    #[must_use]
    pub fn with_services(self, name: Name, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Self {
            services: Some(Awaited { name, alpn }),
            ..self
        }
    }

    /// The HTTPS records are those of another name of a search list.
    pub(crate) fn set_services_name(&mut self, name: Name) {
        if let Some(awaited) = &mut self.services {
            awaited.name = name;
        }
    }

    /// Connects to the first of `addresses` that answers; `source_for` tells
    /// this host's address for each.
    #[must_use]
    pub fn with_addresses(
        now: Instant,
        config: Config,
        addresses: &[SocketAddr],
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Self {
        let plan = Plan::new(&config, "", &[], None, false);
        let mut machine = Self::bare(now, config, String::new(), plan);
        for address in addresses {
            let (ip, port) = (address.ip(), address.port());
            machine.plan.add(Target::HOST, ip, &[port], &source_for);
        }
        machine.sort();
        machine.proceed(now);
        machine
    }

    fn bare(now: Instant, config: Config, host: String, plan: Plan) -> Self {
        Self {
            config,
            known: None,
            dns_error: DnsError::NoRecords,
            plan,
            services: None,
            untried: VecDeque::new(),
            grace: None,
            hold_until: None,
            services_until: now,
            next_attempt: now,
            running: 0,
            report: Report {
                host,
                started: now,
                ended: now,
                lookups: Vec::new(),
                attempts: Vec::new(),
            },
            output: VecDeque::new(),
            decision: None,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// What came of it; `None` while it goes on.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What happened.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    /// How long the winner's handshake took, and where it went.
    #[must_use]
    pub fn won(&self) -> Option<(IpAddr, Duration)> {
        let winner = self.report.winner()?;
        Some((winner.address.ip(), winner.ended.since(winner.started)))
    }

    /// When [`expire`](Self::expire) is to be called; `None` once it is decided.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.decision.is_some() {
            return None;
        }
        let running = self
            .report
            .attempts
            .iter()
            .filter(|attempt| is_running(attempt));
        let timeouts = running.map(|attempt| attempt.started + self.config.attempt_timeout);
        let mut due = self.report.started + self.config.timeout;
        due = timeouts.min().map_or(due, |timeout| timeout.min(due));
        if let Some(next) = self.next_at() {
            due = due.min(next);
        }
        Some(due)
    }

    /// The lookup of `target`'s addresses of `family` was answered. More may follow
    /// for the same family, as changes are told; `source_for` tells this host's
    /// address for each.
    pub fn on_addresses(
        &mut self,
        now: Instant,
        target: Target,
        family: Family,
        result: Result<&[IpAddr], DnsError>,
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) {
        if self.decision.is_some() || !self.plan.wants(family) {
            return;
        }
        self.plan.answered(target, family);
        self.report.lookups.push(Lookup {
            name: self.plan.name(target).into(),
            record: family.record(),
            at: now,
            addresses: result.map(<[IpAddr]>::to_vec).unwrap_or_default(),
            result: result.map(<[IpAddr]>::len),
        });
        match result {
            Ok(addresses) => {
                let mine = addresses
                    .iter()
                    .filter(|address| Family::of(**address) == family);
                for address in mine {
                    self.plan.add(target, *address, &[], &source_for);
                }
                self.plan.drop_hints(target, family);
            }
            Err(error) => {
                if error.is_answer() {
                    self.plan.drop_hints(target, family);
                }
                let worse = !error.is_answer() || self.dns_error == DnsError::NoRecords;
                if target == Target::HOST && worse {
                    self.dns_error = error;
                }
            }
        }
        self.sort();
        self.hold(now);
        self.proceed(now);
    }

    /// The lookup of HTTPS records that [`with_services`](Self::with_services)
    /// speaks of was answered.
    pub fn on_services(
        &mut self,
        now: Instant,
        result: Result<&Services, DnsError>,
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) {
        let Some(awaited) = self.services.take() else {
            return;
        };
        if self.decision.is_some() {
            return;
        }
        self.report.lookups.push(Lookup {
            name: awaited.name.to_string(),
            record: RecordType::HTTPS,
            at: now,
            addresses: Vec::new(),
            result: result.map(|services| services.list.len()),
        });
        if let Ok(services) = result {
            let (name, alpn) = (&awaited.name, &awaited.alpn);
            for target in self.plan.add_services(name, services, alpn, &source_for) {
                let name = self.plan.name(target).into();
                self.output.push_back(Output::Resolve { target, name });
            }
            self.services_until = now + self.config.resolution_delay;
            self.sort();
        }
        self.hold(now);
        self.proceed(now);
    }

    /// RFC 8305, 3: "If a positive A response is received first due to
    /// reordering, the client SHOULD wait a short time for the AAAA response";
    /// with a negative AAAA response, any attempt begun, or IPv4 to be tried first
    /// anyway, there is nothing to wait for. HTTPS records, and the addresses of
    /// the best of the names that they lead to, are waited for as well (Happy
    /// Eyeballs 3, 4.2): one such delay, from the first address on, is for all.
    fn hold(&mut self, now: Instant) {
        if self.untried.is_empty() || !self.report.attempts.is_empty() {
            self.hold_until = None;
            return;
        }
        let v4_first = self.known.is_some_and(|known| known.family() == Family::V4);
        let wait = self.services.is_some()
            || self.plan.awaits_best()
            || (!v4_first && self.plan.awaits_better());
        let grace = *self.grace.get_or_insert(now + self.config.resolution_delay);
        self.hold_until = (wait && grace > now).then_some(grace);
    }

    /// Puts what was not tried in order.
    ///
    /// RFC 8305, 3 and 4: addresses that come later join the list; the turn goes
    /// to the family that was not tried last.
    fn sort(&mut self) {
        let attempts = &self.report.attempts;
        let tried = |address| attempts.iter().any(|attempt| attempt.address == address);
        let (first, count) = match attempts.last() {
            Some(last) => (Some(Family::of(last.address.ip()).other()), 1),
            None => (
                self.known.map(|known| known.family()),
                self.config.first_family_count,
            ),
        };
        self.untried = self.plan.order(tried, first, count).into();
    }

    /// When the next attempt may begin; `None`: not before something else happens.
    fn next_at(&self) -> Option<Instant> {
        let next = self.untried.front().filter(|_| self.has_room())?;
        let mut at = match self.running {
            0 => self.report.started,
            _ => self.next_attempt,
        };
        at = self.hold_until.map_or(at, |until| until.max(at));
        // RFC 9460, 3: "If the client is SVCB-optional, and connecting using this
        // list of endpoints has failed, the client now attempts to use non-SVCB
        // connection modes." That is, not while any of them may still succeed;
        // but lookups that are never answered must not end it all.
        if next.via == Via::Host && self.plan.has_services() {
            let mut attempts = self.report.attempts.iter();
            if attempts.any(|attempt| is_running(attempt) && attempt.via != Via::Host) {
                return None;
            }
            if self.plan.awaits_services() {
                at = at.max(self.services_until);
            }
        }
        Some(at)
    }

    /// Whether another attempt may be made at all.
    fn has_room(&self) -> bool {
        self.running < self.config.max_running.max(1)
            && self.report.attempts.len() < self.config.max_attempts
    }

    /// Begins what attempts may begin now, and finds out whether all is lost.
    fn proceed(&mut self, now: Instant) {
        if self.decision.is_some() {
            return;
        }
        if self.hold_until.is_some_and(|until| until <= now) {
            self.hold_until = None;
        }
        if self.next_at().is_some_and(|at| at <= now)
            && let Some(candidate) = self.untried.pop_front()
        {
            self.begin(now, candidate);
        }
        let exhausted =
            self.untried.is_empty() || self.report.attempts.len() >= self.config.max_attempts;
        let awaited = self.services.is_some() || self.plan.awaits_any();
        if self.running == 0 && exhausted && !awaited {
            let decision = if self.report.attempts.is_empty() {
                Decision::NoAddress(self.dns_error)
            } else {
                Decision::AllFailed
            };
            self.decide(now, decision);
        }
    }

    fn begin(&mut self, now: Instant, candidate: Candidate) {
        let Candidate { address, via } = candidate;
        let attempt = AttemptId(self.report.attempts.len());
        self.report.attempts.push(Attempt {
            address,
            via,
            started: now,
            ended: now,
            outcome: Outcome::Running,
        });
        self.running += 1;
        self.next_attempt = now + self.config.delay(self.known.map(|known| known.rtt));
        self.output.push_back(Output::Connect { attempt, address });
    }

    fn end(&mut self, now: Instant, attempt: AttemptId, outcome: Outcome) -> bool {
        let state = self.report.attempts.get_mut(attempt.0);
        let Some(state) = state.filter(|state| is_running(state)) else {
            return false;
        };
        state.ended = now;
        state.outcome = outcome;
        self.running = self.running.saturating_sub(1);
        true
    }

    /// The attempt connected: all others are given up.
    ///
    /// RFC 8305, 5: "Once one of the connection attempts succeeds [...] all other
    /// connections attempts that have not yet succeeded SHOULD be canceled."
    pub fn on_connected(&mut self, now: Instant, attempt: AttemptId) {
        if self.decision.is_none() && self.end(now, attempt, Outcome::Connected) {
            self.decide(now, Decision::Connected(attempt));
        }
    }

    /// The attempt failed: the next one begins at once.
    pub fn on_failed(&mut self, now: Instant, attempt: AttemptId, cause: Cause) {
        if self.decision.is_none() && self.end(now, attempt, Outcome::Failed(cause)) {
            self.next_attempt = now;
            self.proceed(now);
        }
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Instant) {
        if self.decision.is_some() {
            return;
        }
        if self.report.started + self.config.timeout <= now {
            return self.decide(now, Decision::TimedOut);
        }
        let late = |(index, attempt): (usize, &Attempt)| {
            let over = attempt.started + self.config.attempt_timeout <= now;
            (is_running(attempt) && over).then_some(AttemptId(index))
        };
        let late: Vec<AttemptId> = self
            .report
            .attempts
            .iter()
            .enumerate()
            .filter_map(late)
            .collect();
        for attempt in late {
            self.end(now, attempt, Outcome::TimedOut);
            self.output.push_back(Output::Close(attempt));
            self.next_attempt = now;
        }
        self.proceed(now);
    }

    fn decide(&mut self, now: Instant, decision: Decision) {
        self.decision = Some(decision);
        self.report.ended = now;
        for index in 0..self.report.attempts.len() {
            let attempt = AttemptId(index);
            if self.end(now, attempt, Outcome::GivenUp) {
                self.output.push_back(Output::Close(attempt));
            }
        }
    }
}

fn is_running(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::Running
}

#[cfg(test)]
mod tests;
