//! The race over a stack's sockets.

use alloc::boxed::Box;
use alloc::string::String;
use core::cell::RefCell;
use core::fmt;
use core::net::SocketAddr;

use pollwire_core::{Net, TcpFlow, TcpOptions};
use pollwire_dns::{DnsError, Resolver};

use self::race::{Race, ServicesLookup};
use crate::machine::Decision;
use crate::{Cause, Config, History, Machine, Report, Target};

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
        let machine = self.machine(host, ports);
        self.run(host, machine, None, open).await
    }

    /// As [`race`](Self::race) to the HTTPS service of `host` at one port, wherever
    /// the host's HTTPS records (RFC 9460) say that it is to be had. `alpn`: what
    /// the client offers to speak over TLS, `http/1.1` if it offers nothing.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn race_https<T, F>(
        &self,
        host: &str,
        port: u16,
        alpn: &[&[u8]],
        open: impl Fn(SocketAddr) -> F,
    ) -> Result<Connected<T>, ConnectError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let machine = self.machine(host, &[port]);
        let resolver = self.resolver.as_ref();
        let Some((resolver, name)) =
            resolver.and_then(|resolver| Some((resolver, resolver.https_name(host, port)?)))
        else {
            return self.run(host, machine, None, open).await;
        };
        let alpn: &[&[u8]] = if alpn.is_empty() {
            &[b"http/1.1"]
        } else {
            alpn
        };
        let machine = machine.with_services(name.clone(), alpn);
        let resolver = resolver.clone();
        let host_asked = String::from(host);
        let lookup = async move {
            let found = resolver.https_services(&host_asked, port).await;
            found.unwrap_or((name, Err(DnsError::NoRecords)))
        };
        self.run(host, machine, Some(Box::pin(lookup)), open).await
    }

    fn machine(&self, host: &str, ports: &[u16]) -> Machine {
        let now = self.net.now();
        Machine::new(now, self.config, host, ports, &self.history.borrow())
    }

    async fn run<T, F>(
        &self,
        host: &str,
        machine: Machine,
        services: Option<ServicesLookup<'n>>,
        open: impl Fn(SocketAddr) -> F,
    ) -> Result<Connected<T>, ConnectError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let mut race = Race::new(self.net, machine, open);
        race.resolver = self.resolver.clone();
        race.services = services;
        race.look_up(Target::HOST, host);
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

mod race;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;
