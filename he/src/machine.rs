//! Happy Eyeballs version 2 (RFC 8305) without sockets and clocks: answers of
//! lookups, ends of attempts and time go in; attempts come out.
//!
//! Whoever drives it hands in what happens
//! ([`on_addresses`](Machine::on_addresses), [`on_connected`](Machine::on_connected),
//! [`on_failed`](Machine::on_failed)), calls [`Machine::expire`] when
//! [`Machine::deadline`] is due, carries out what [`Machine::poll_output`] asks
//! for, and looks at [`Machine::decision`].

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use pollwire_core::Instant;
use pollwire_dns::DnsError;

use crate::history::{History, Known};
use crate::report::{Attempt, Cause, Lookup, Outcome, Report};
use crate::select::{self, Destination};

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
    pub const fn record(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}

/// The values of RFC 8305, 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to wait for AAAA records once A records are there: 50 ms.
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
    /// Attempts under way at once at most: 8.
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
        max_running: 8,
        family: None,
    };

    /// The wait between attempts, for a host whose handshake takes `rtt`.
    fn delay(&self, rtt: Option<Duration>) -> Duration {
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

/// An attempt, by its place in [`Report::attempts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(usize);

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
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

/// An address to try, at its own ports.
#[derive(Clone, Debug)]
struct Candidate {
    destination: Destination,
    ports: Vec<u16>,
}

/// One connection to be made.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    ports: Vec<u16>,
    known: Option<Known>,
    /// By family: its lookup is still out.
    awaited: [bool; 2],
    dns_error: DnsError,
    candidates: Vec<Candidate>,
    /// What is tried next, in order.
    untried: VecDeque<SocketAddr>,
    /// Addresses of IPv4 wait for those of IPv6 until then.
    hold_until: Option<Instant>,
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
        let wanted = |family| config.family.is_none_or(|only| only == family);
        Self {
            awaited: [wanted(Family::V4), wanted(Family::V6)],
            known: history.get(now, host),
            ..Self::bare(now, config, host.into(), ports.into())
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
        let mut machine = Self::bare(now, config, String::new(), Vec::new());
        for address in addresses {
            machine.add(address.ip(), &[address.port()], &source_for);
        }
        machine.sort();
        machine.proceed(now);
        machine
    }

    fn bare(now: Instant, config: Config, host: String, ports: Vec<u16>) -> Self {
        Self {
            config,
            ports,
            known: None,
            awaited: [false; 2],
            dns_error: DnsError::NoRecords,
            candidates: Vec::new(),
            untried: VecDeque::new(),
            hold_until: None,
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
        if !self.untried.is_empty() && self.has_room() {
            let next = self.hold_until.unwrap_or(self.next_attempt);
            due = due.min(next);
        }
        Some(due)
    }

    /// The lookup of `family` was answered. More may follow for the same family,
    /// as changes are told; `source_for` tells this host's address for each.
    pub fn on_addresses(
        &mut self,
        now: Instant,
        family: Family,
        result: Result<&[IpAddr], DnsError>,
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) {
        let wanted = self.config.family.is_none_or(|only| only == family);
        if self.decision.is_some() || !wanted {
            return;
        }
        if let Some(awaited) = self.awaited.get_mut(family.index()) {
            *awaited = false;
        }
        self.report.lookups.push(Lookup {
            family,
            at: now,
            result: result.map(<[IpAddr]>::len),
        });
        match result {
            Ok(addresses) => {
                let ports = core::mem::take(&mut self.ports);
                let mine = addresses
                    .iter()
                    .filter(|address| Family::of(**address) == family);
                for address in mine {
                    self.add(*address, &ports, &source_for);
                }
                self.ports = ports;
                self.sort();
            }
            Err(error) => {
                if !error.is_answer() || self.dns_error == DnsError::NoRecords {
                    self.dns_error = error;
                }
            }
        }
        self.hold(now);
        self.proceed(now);
    }

    /// RFC 8305, 3: "If a positive A response is received first due to
    /// reordering, the client SHOULD wait a short time for the AAAA response";
    /// with a negative AAAA response, any attempt begun, or IPv4 to be tried first
    /// anyway, there is nothing to wait for.
    fn hold(&mut self, now: Instant) {
        let v4_first = self.known.is_some_and(|known| known.family() == Family::V4);
        let wait = self.awaited.get(Family::V6.index()) == Some(&true)
            && !v4_first
            && self.report.attempts.is_empty()
            && !self.candidates.is_empty();
        self.hold_until = match self.hold_until {
            Some(until) if wait => Some(until),
            _ => wait.then(|| now + self.config.resolution_delay),
        };
    }

    fn add(
        &mut self,
        address: IpAddr,
        ports: &[u16],
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) {
        let known = self.known.filter(|known| known.address == address);
        let wanted = self
            .config
            .family
            .is_none_or(|only| only == Family::of(address));
        let mut same = self.candidates.iter_mut();
        if let Some(same) = same.find(|candidate| candidate.destination.address == address) {
            let new = ports.iter().filter(|port| !same.ports.contains(port));
            let new: Vec<u16> = new.copied().collect();
            same.ports.extend(new);
        } else if wanted && self.candidates.len() < self.config.max_attempts {
            self.candidates.push(Candidate {
                destination: Destination {
                    address,
                    source: source_for(address),
                    known_rtt: known.map(|known| known.rtt),
                },
                ports: ports.into(),
            });
        }
    }

    /// Puts what was not tried in order: RFC 6724, then families in turn.
    ///
    /// RFC 8305, 3 and 4: addresses that come later join the list; the turn goes
    /// to the family that was not tried last.
    fn sort(&mut self) {
        let tried = |address: &SocketAddr| {
            let mut attempts = self.report.attempts.iter();
            attempts.any(|attempt| attempt.address == *address)
        };
        let mut targets: Vec<(Destination, Vec<SocketAddr>)> = Vec::new();
        for candidate in &self.candidates {
            let ip = candidate.destination.address;
            let sockets = candidate
                .ports
                .iter()
                .map(|port| SocketAddr::new(ip, *port));
            let left: Vec<SocketAddr> = sockets.filter(|address| !tried(address)).collect();
            if !left.is_empty() {
                targets.push((candidate.destination, left));
            }
        }
        let mut order: Vec<Destination> = targets.iter().map(|(target, _)| *target).collect();
        let last = self.report.attempts.last();
        let (first, count) = match last {
            Some(last) => (Some(Family::of(last.address.ip()).other()), 1),
            None => (
                self.known.map(|known| known.family()),
                self.config.first_family_count,
            ),
        };
        select::order(&mut order, first, count);
        self.untried.clear();
        for destination in order {
            let found = targets.iter().find(|(target, _)| *target == destination);
            self.untried
                .extend(found.into_iter().flat_map(|(_, left)| left));
        }
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
        let held = self.hold_until.is_some();
        let free = self.running == 0 || self.next_attempt <= now;
        if !held
            && free
            && self.has_room()
            && let Some(address) = self.untried.pop_front()
        {
            self.begin(now, address);
        }
        let exhausted =
            self.untried.is_empty() || self.report.attempts.len() >= self.config.max_attempts;
        if self.running == 0 && exhausted && !self.awaited.contains(&true) {
            let decision = if self.report.attempts.is_empty() {
                Decision::NoAddress(self.dns_error)
            } else {
                Decision::AllFailed
            };
            self.decide(now, decision);
        }
    }

    fn begin(&mut self, now: Instant, address: SocketAddr) {
        let attempt = AttemptId(self.report.attempts.len());
        self.report.attempts.push(Attempt {
            address,
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
