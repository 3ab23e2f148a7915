//! The race over a stack's sockets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};

use pollwire_core::{Instant, Net, Sleep, TcpFlow, TcpOptions};
use pollwire_dns::{DnsError, IpStream, RecordType, Resolver};

use crate::machine::{AttemptId, Decision, Output};
use crate::{Cause, Config, Family, History, Machine, Report};

/// Connects to hosts by name, over whichever family is faster.
pub struct HappyEyeballs<'n> {
    net: Net<'n>,
    resolver: Option<Resolver<'n>>,
    config: Config,
    tcp: TcpOptions,
    history: RefCell<History>,
}

/// A connection, and how it came about.
#[derive(Debug)]
pub struct Connected<T> {
    /// What connected first.
    pub flow: T,
    /// All that happened on the way.
    pub report: Report,
}

/// Why nothing connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What was decided.
    pub decision: Decision,
    /// All that happened on the way.
    pub report: Report,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decision {
            Decision::NoAddress(error) => write!(f, "no address: {error}"),
            Decision::TimedOut => f.write_str("no attempt connected in time"),
            _ => match self.report.attempts.last() {
                Some(last) if self.report.attempts.len() == 1 => match &last.outcome {
                    crate::Outcome::Failed(cause) => write!(f, "{}: {cause}", last.address),
                    outcome => write!(f, "{}: {}", last.address, outcome.name()),
                },
                _ => write!(f, "all {} attempts failed", self.report.attempts.len()),
            },
        }
    }
}

impl core::error::Error for ConnectError {}

impl<'n> HappyEyeballs<'n> {
    /// Names are looked up by `resolver`.
    #[must_use]
    pub fn new(resolver: Resolver<'n>) -> Self {
        Self {
            net: resolver.net(),
            resolver: Some(resolver),
            config: Config::DEFAULT,
            tcp: TcpOptions::DEFAULT,
            history: RefCell::new(History::new()),
        }
    }

    /// Only addresses are connected to: there is nobody to ask for names.
    #[must_use]
    pub fn without_names(net: Net<'n>) -> Self {
        Self {
            net,
            resolver: None,
            config: Config::DEFAULT,
            tcp: TcpOptions::DEFAULT,
            history: RefCell::new(History::new()),
        }
    }

    /// The same with other delays and bounds.
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// The same with other options for its TCP connections.
    #[must_use]
    pub fn with_tcp_options(self, tcp: TcpOptions) -> Self {
        Self { tcp, ..self }
    }

    /// Connects to `host`, a name or a literal address, at the first of `ports`
    /// that answers. Dropping the future gives up.
    ///
    /// # Errors
    /// [`ConnectError`], with all that was tried.
    pub async fn connect(
        &self,
        host: &str,
        ports: &[u16],
    ) -> Result<Connected<TcpFlow<'n>>, ConnectError> {
        self.race(host, ports, |address| self.tcp(address)).await
    }

    /// Connects to `host` at one port.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_host(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Connected<TcpFlow<'n>>, ConnectError> {
        self.connect(host, &[port]).await
    }

    /// Connects to the first of `addresses` that answers.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_ip(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<Connected<TcpFlow<'n>>, ConnectError> {
        self.race_ip(addresses, |address| self.tcp(address)).await
    }

    async fn tcp(&self, address: SocketAddr) -> Result<TcpFlow<'n>, Cause> {
        let flow = TcpFlow::connect_with(self.net, address, self.tcp).await;
        flow.map_err(Cause::Net)
    }

    /// As [`connect`](Self::connect), with `open` making each connection: TCP and
    /// whatever has to succeed on top of it, as a TLS handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn race<T, F>(
        &self,
        host: &str,
        ports: &[u16],
        open: impl Fn(SocketAddr) -> F,
    ) -> Result<Connected<T>, ConnectError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let now = self.net.now();
        let machine = Machine::new(now, self.config, host, ports, &self.history.borrow());
        let lookups = match &self.resolver {
            Some(resolver) => resolver.stream_ip(host),
            None => Err(DnsError::NoServer),
        };
        let mut race = Race::new(self.net, machine, open);
        match lookups {
            Ok(lookups) => race.lookups = Some(lookups),
            Err(error) => race.without_lookups(host, error),
        }
        let result = race.run().await;
        let now = self.net.now();
        let mut history = self.history.borrow_mut();
        match &result {
            Ok(connected) => {
                if let Some(won) = connected.report.winner() {
                    let rtt = won.ended.since(won.started);
                    history.note(now, host, won.address.ip(), rtt);
                }
            }
            Err(_) => history.forget(host),
        }
        result
    }

    /// As [`connect_ip`](Self::connect_ip), with `open` making each connection.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn race_ip<T, F>(
        &self,
        addresses: &[SocketAddr],
        open: impl Fn(SocketAddr) -> F,
    ) -> Result<Connected<T>, ConnectError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let source = |address| self.net.with_stack(|stack| stack.source_for(address));
        let machine = Machine::with_addresses(self.net.now(), self.config, addresses, source);
        Race::new(self.net, machine, open).run().await
    }
}

impl fmt::Debug for HappyEyeballs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HappyEyeballs")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

type Opening<F> = (AttemptId, Pin<Box<F>>);

/// One race under way. Dropping it closes all of its attempts.
struct Race<'n, O, F> {
    net: Net<'n>,
    machine: Machine,
    open: O,
    lookups: Option<IpStream<'n>>,
    openings: Vec<Opening<F>>,
    timer: Option<(Instant, Pin<Box<Sleep<'n>>>)>,
}

impl<'n, T, O, F> Race<'n, O, F>
where
    O: Fn(SocketAddr) -> F,
    F: Future<Output = Result<T, Cause>>,
{
    fn new(net: Net<'n>, machine: Machine, open: O) -> Self {
        Self {
            net,
            machine,
            open,
            lookups: None,
            openings: Vec::new(),
            timer: None,
        }
    }

    /// A literal needs no lookups; anything else cannot do without.
    fn without_lookups(&mut self, host: &str, error: DnsError) {
        let literal = host.parse::<IpAddr>().ok();
        for family in [Family::V6, Family::V4] {
            let found = literal.filter(|address| Family::of(*address) == family);
            let result = match &found {
                Some(address) => Ok(core::slice::from_ref(address)),
                None if literal.is_some() => Err(DnsError::NoRecords),
                None => Err(error),
            };
            self.tell(family, result);
        }
    }

    fn tell(&mut self, family: Family, result: Result<&[IpAddr], DnsError>) {
        let net = self.net;
        let source = |address| net.with_stack(|stack| stack.source_for(address));
        self.machine.on_addresses(net.now(), family, result, source);
    }

    async fn run(mut self) -> Result<Connected<T>, ConnectError> {
        let (winner, decision) = poll_fn(|cx| self.poll(cx)).await;
        // The losers close here, before the winner is handed out.
        self.openings.clear();
        let report = self.machine.into_report();
        match winner {
            Some(flow) => Ok(Connected { flow, report }),
            None => Err(ConnectError { decision, report }),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Option<T>, Decision)> {
        let mut winner = None;
        loop {
            self.machine.expire(self.net.now());
            self.carry_out();
            if let Some(decision) = self.machine.decision() {
                return Poll::Ready((winner, decision));
            }
            let told = self.poll_lookups(cx);
            let ended = self.poll_openings(cx, &mut winner);
            if told || ended {
                continue;
            }
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect { attempt, address } => {
                    let opening = Box::pin((self.open)(address));
                    self.openings.push((attempt, opening));
                }
                Output::Close(attempt) => self.openings.retain(|(other, _)| *other != attempt),
            }
        }
    }

    /// Whether a lookup was answered.
    fn poll_lookups(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(lookups) = &mut self.lookups else {
            return false;
        };
        match lookups.poll_next(cx) {
            Poll::Pending => false,
            Poll::Ready(None) => {
                self.lookups = None;
                false
            }
            Poll::Ready(Some((record_type, answer))) => {
                let family = match record_type {
                    RecordType::AAAA => Family::V6,
                    _ => Family::V4,
                };
                let addresses: Result<Vec<IpAddr>, DnsError> =
                    answer.map(|answer| answer.addresses().collect());
                let addresses = addresses.as_deref().map_err(|error| *error);
                self.tell(family, addresses);
                true
            }
        }
    }

    /// Whether an attempt ended; the first that connected is put into `winner`.
    fn poll_openings(&mut self, cx: &mut Context<'_>, winner: &mut Option<T>) -> bool {
        let mut ended = VecDeque::new();
        self.openings
            .retain_mut(|(attempt, opening)| match opening.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(result) => {
                    ended.push_back((*attempt, result));
                    false
                }
            });
        let now = self.net.now();
        let any = !ended.is_empty();
        for (attempt, result) in ended {
            match result {
                Ok(flow) => {
                    self.machine.on_connected(now, attempt);
                    if self.machine.decision() == Some(Decision::Connected(attempt)) {
                        *winner = Some(flow);
                    }
                }
                Err(cause) => self.machine.on_failed(now, attempt, cause),
            }
        }
        any
    }

    /// Ready when the machine's deadline is due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.machine.deadline() else {
            return Poll::Pending;
        };
        if self.timer.as_ref().is_none_or(|(at, _)| *at != due) {
            self.timer = Some((due, Box::pin(self.net.sleep_until(due))));
        }
        match &mut self.timer {
            Some((_, sleep)) => sleep.as_mut().poll(cx).map(|_| self.timer = None),
            None => Poll::Ready(()),
        }
    }
}

#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;
