//! A race under way.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};

use pollwire_core::{Instant, Net, Sleep};
use pollwire_dns::{DnsError, IpStream, Name, RecordType, Resolver, Services};

use super::{ConnectError, Connected};
use crate::machine::{AttemptId, Decision, Output};
use crate::{Cause, Family, Machine, Target};

/// What is known of services, and the name that was asked.
pub(super) type ServicesLookup<'n> =
    Pin<Box<dyn Future<Output = (Name, Result<Services, DnsError>)> + 'n>>;
type Opening<F> = (AttemptId, Pin<Box<F>>);

/// One race under way. Dropping it closes all of its attempts.
pub(super) struct Race<'n, O, F> {
    net: Net<'n>,
    machine: Machine,
    open: O,
    pub(super) resolver: Option<Resolver<'n>>,
    pub(super) services: Option<ServicesLookup<'n>>,
    lookups: Vec<(Target, IpStream<'n>)>,
    openings: Vec<Opening<F>>,
    timer: Option<(Instant, Pin<Box<Sleep<'n>>>)>,
}

impl<'n, T, O, F> Race<'n, O, F>
where
    O: Fn(SocketAddr) -> F,
    F: Future<Output = Result<T, Cause>>,
{
    pub(super) fn new(net: Net<'n>, machine: Machine, open: O) -> Self {
        Self {
            net,
            machine,
            open,
            resolver: None,
            services: None,
            lookups: Vec::new(),
            openings: Vec::new(),
            timer: None,
        }
    }

    /// Begins to look the addresses of `name` up.
    pub(super) fn look_up(&mut self, target: Target, name: &str) {
        let lookups = match &self.resolver {
            Some(resolver) => resolver.stream_ip(name),
            None => Err(DnsError::NoServer),
        };
        match lookups {
            Ok(lookups) => self.lookups.push((target, lookups)),
            Err(error) => self.without_lookups(target, name, error),
        }
    }

    /// A literal needs no lookups; anything else cannot do without.
    fn without_lookups(&mut self, target: Target, name: &str, error: DnsError) {
        let literal = name.parse::<IpAddr>().ok();
        for family in [Family::V6, Family::V4] {
            let found = literal.filter(|address| Family::of(*address) == family);
            let result = match &found {
                Some(address) => Ok(core::slice::from_ref(address)),
                None if literal.is_some() => Err(DnsError::NoRecords),
                None => Err(error),
            };
            self.tell(target, family, result);
        }
    }

    fn tell(&mut self, target: Target, family: Family, result: Result<&[IpAddr], DnsError>) {
        let net = self.net;
        let source = |address| net.with_stack(|stack| stack.source_for(address));
        self.machine
            .on_addresses(net.now(), target, family, result, source);
    }

    pub(super) async fn run(mut self) -> Result<Connected<T>, ConnectError> {
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
            let told = self.poll_services(cx) | self.poll_lookups(cx);
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
                Output::Resolve { target, name } => self.look_up(target, &name),
                Output::Connect { attempt, address } => {
                    let opening = Box::pin((self.open)(address));
                    self.openings.push((attempt, opening));
                }
                Output::Close(attempt) => self.openings.retain(|(other, _)| *other != attempt),
            }
        }
    }

    /// Whether the lookup of HTTPS records was answered.
    fn poll_services(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(lookup) = &mut self.services else {
            return false;
        };
        let Poll::Ready((name, found)) = lookup.as_mut().poll(cx) else {
            return false;
        };
        self.services = None;
        let net = self.net;
        let source = |address| net.with_stack(|stack| stack.source_for(address));
        let found = found.as_ref().map_err(|error| *error);
        self.machine.set_services_name(name);
        self.machine.on_services(net.now(), found, source);
        true
    }

    /// Whether a lookup of addresses was answered.
    fn poll_lookups(&mut self, cx: &mut Context<'_>) -> bool {
        let mut told = Vec::new();
        self.lookups
            .retain_mut(|(target, lookup)| match lookup.poll_next(cx) {
                Poll::Pending => true,
                Poll::Ready(None) => false,
                Poll::Ready(Some(event)) => {
                    told.push((*target, event));
                    true
                }
            });
        let any = !told.is_empty();
        for (target, (record_type, answer)) in told {
            let family = match record_type {
                RecordType::AAAA => Family::V6,
                _ => Family::V4,
            };
            let addresses: Result<Vec<IpAddr>, DnsError> =
                answer.map(|answer| answer.addresses().collect());
            let addresses = addresses.as_deref().map_err(|error| *error);
            self.tell(target, family, addresses);
        }
        any
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
