//! What there is to connect to: a host's own addresses, and those that its HTTPS
//! records lead to (RFC 9460), in the order in which they are to be tried.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use pollwire_dns::{Name, Service, Services};

use crate::history::Known;
use crate::select::{self, Destination};
use crate::{Config, Family};

/// Names whose addresses are looked up for one race at most, the host's own
/// included.
const HOSTS: usize = 8;
/// What HTTPS services speak unless they say otherwise (RFC 9460, 9.1.1).
const DEFAULT_PROTOCOL: &[u8] = b"http/1.1";

/// A name whose addresses are looked up, by its place among those of a race; the
/// host itself is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(usize);

impl Target {
    /// The host itself.
    pub const HOST: Self = Self(0);
}

/// What led to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The host's own address records.
    Host,
    /// An HTTPS record of this priority.
    Service(u16),
    /// The address records of where an alias among the HTTPS records leads.
    Alias,
}

/// An address to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) via: Via,
}

/// A name, and what is known of its addresses.
#[derive(Clone, Debug)]
struct Host {
    name: String,
    /// By family: its lookup is still out.
    awaited: [bool; 2],
    /// Each with its ports; none: those of whatever led here.
    addresses: Vec<(Destination, Vec<u16>)>,
}

/// One way to the host: addresses of one name at some ports.
#[derive(Clone, Debug)]
struct Endpoint {
    via: Via,
    target: Target,
    ports: Vec<u16>,
    hints: Vec<Destination>,
}

/// All that there is to connect to.
#[derive(Debug)]
pub(crate) struct Plan {
    family: Option<Family>,
    /// Addresses taken of one name at most.
    max_addresses: usize,
    known: Option<Known>,
    hosts: Vec<Host>,
    endpoints: Vec<Endpoint>,
}

impl Plan {
    /// `host` at `ports`; `awaited`: its addresses are being looked up.
    pub(crate) fn new(
        config: &Config,
        host: &str,
        ports: &[u16],
        known: Option<Known>,
        awaited: bool,
    ) -> Self {
        let mut plan = Self {
            family: config.family,
            max_addresses: config.max_attempts,
            known,
            hosts: Vec::new(),
            endpoints: Vec::from([Endpoint {
                via: Via::Host,
                target: Target::HOST,
                ports: ports.into(),
                hints: Vec::new(),
            }]),
        };
        plan.hosts.push(plan.host(host.into(), awaited));
        plan
    }

    fn host(&self, name: String, awaited: bool) -> Host {
        let awaits = |family| awaited && self.wants(family);
        Host {
            name,
            awaited: [awaits(Family::V4), awaits(Family::V6)],
            addresses: Vec::new(),
        }
    }

    pub(crate) fn wants(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }

    /// The name of `target`.
    pub(crate) fn name(&self, target: Target) -> &str {
        self.hosts.get(target.0).map_or("", |host| &host.name)
    }

    /// Whether any lookup of addresses is still out.
    pub(crate) fn awaits_any(&self) -> bool {
        self.hosts.iter().any(|host| host.awaited.contains(&true))
    }

    /// Whether a lookup is still out of which HTTPS records speak.
    pub(crate) fn awaits_services(&self) -> bool {
        let mut services = self.endpoints.iter().filter(|way| way.via != Via::Host);
        services.any(|way| {
            let host = self.hosts.get(way.target.0);
            host.is_some_and(|host| host.awaited.contains(&true))
        })
    }

    /// Whether IPv6 addresses of the best way are still being looked up, and
    /// there is none to begin with.
    pub(crate) fn awaits_better(&self) -> bool {
        let Some(best) = self.endpoints.first() else {
            return false;
        };
        let six = |destination: &Destination| destination.address.is_ipv6();
        let host = self.hosts.get(best.target.0);
        host.is_some_and(|host| {
            host.awaited.get(Family::V6.index()) == Some(&true)
                && !best.hints.iter().any(six)
                && !host
                    .addresses
                    .iter()
                    .any(|(destination, _)| six(destination))
        })
    }

    /// Whether nothing is known of the best way yet, and something may be soon.
    pub(crate) fn awaits_best(&self) -> bool {
        let Some(best) = self.endpoints.first() else {
            return false;
        };
        let host = self.hosts.get(best.target.0);
        best.hints.is_empty()
            && host.is_some_and(|host| host.addresses.is_empty() && host.awaited.contains(&true))
    }

    /// Whether HTTPS records lead somewhere.
    pub(crate) fn has_services(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// The lookup of addresses of one family is over.
    pub(crate) fn answered(&mut self, target: Target, family: Family) {
        let host = self.hosts.get_mut(target.0);
        if let Some(awaited) = host.and_then(|host| host.awaited.get_mut(family.index())) {
            *awaited = false;
        }
    }

    /// RFC 9460, 7.3: hints serve until the addresses are known.
    pub(crate) fn drop_hints(&mut self, target: Target, family: Family) {
        for way in &mut self.endpoints {
            if way.target == target {
                way.hints.retain(|hint| Family::of(hint.address) != family);
            }
        }
    }

    fn destination(
        &self,
        address: IpAddr,
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Destination {
        let known = self.known.filter(|known| known.address == address);
        Destination {
            address,
            source: source_for(address),
            known_rtt: known.map(|known| known.rtt),
        }
    }

    /// Adds an address of `target`, at `ports` instead of the usual ones if there
    /// are any.
    pub(crate) fn add(
        &mut self,
        target: Target,
        address: IpAddr,
        ports: &[u16],
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) {
        let wanted = self.wants(Family::of(address));
        let (destination, max) = (self.destination(address, source_for), self.max_addresses);
        let Some(host) = self.hosts.get_mut(target.0) else {
            return;
        };
        let mut same = host.addresses.iter_mut();
        if let Some((_, known)) = same.find(|(other, _)| other.address == address) {
            let new = ports.iter().filter(|port| !known.contains(port));
            let new: Vec<u16> = new.copied().collect();
            known.extend(new);
        } else if wanted && host.addresses.len() < max {
            host.addresses.push((destination, ports.into()));
        }
    }

    /// Takes in the services that `asked`'s HTTPS records tell of, as far as they
    /// speak one of `alpn`; gives the names whose addresses are to be looked up.
    ///
    /// RFC 9460, 7.1.2: "Clients SHOULD NOT attempt connection to a service
    /// endpoint whose SVCB ALPN set does not contain any supported protocols."
    pub(crate) fn add_services(
        &mut self,
        asked: &Name,
        services: &Services,
        alpn: &[Vec<u8>],
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Vec<Target> {
        let direct = (!services.aliased && self.is_host(asked)).then_some(&services.owner);
        let usual = self.endpoints.first().map(|host| host.ports.clone());
        let usual = usual.unwrap_or_default();
        let (mut ways, mut new) = (Vec::new(), Vec::new());
        for service in &services.list {
            if !alpn
                .iter()
                .any(|protocol| service.speaks(protocol, DEFAULT_PROTOCOL))
            {
                continue;
            }
            let Some(target) = self.target(&service.target, direct, &mut new) else {
                continue;
            };
            ways.push(Endpoint {
                via: Via::Service(service.priority),
                target,
                ports: service
                    .port
                    .map_or_else(|| usual.clone(), |port| [port].into()),
                hints: self.hints(service, target, &source_for),
            });
        }
        // RFC 9460, 3: "if at least one AliasMode record was processed,
        // SVCB-optional clients SHALL append to the list of endpoints an endpoint
        // consisting of the final value of $QNAME, the authority endpoint's port
        // number, and no SvcParams."
        if services.aliased
            && let Some(target) = self.target(&services.owner, direct, &mut new)
        {
            ways.push(Endpoint {
                via: Via::Alias,
                target,
                ports: usual,
                hints: Vec::new(),
            });
        }
        self.endpoints.splice(0..0, ways);
        new
    }

    fn is_host(&self, name: &Name) -> bool {
        let host = self.hosts.first();
        let host = host.and_then(|host| Name::from_utf8(&host.name).ok());
        host.is_some_and(|host| host.eq_ignore_root(name))
    }

    /// The place of `name`, which is put into `new` when it was not there yet.
    /// `direct` is the host itself by another name, where CNAME records led.
    fn target(
        &mut self,
        name: &Name,
        direct: Option<&Name>,
        new: &mut Vec<Target>,
    ) -> Option<Target> {
        if direct == Some(name) || self.is_host(name) {
            return Some(Target::HOST);
        }
        let text = name.to_string();
        if let Some(at) = self.hosts.iter().position(|host| host.name == text) {
            return Some(Target(at));
        }
        if self.hosts.len() >= HOSTS {
            return None;
        }
        let target = Target(self.hosts.len());
        self.hosts.push(self.host(text, true));
        new.push(target);
        Some(target)
    }

    /// The hints of `service` for those families of which nothing is known yet.
    fn hints(
        &self,
        service: &Service,
        target: Target,
        source_for: impl Fn(IpAddr) -> Option<IpAddr>,
    ) -> Vec<Destination> {
        let six = service.ipv6_hints.iter().copied().map(IpAddr::V6);
        let four = service.ipv4_hints.iter().copied().map(IpAddr::V4);
        let open = |address: &IpAddr| {
            let host = self.hosts.get(target.0);
            host.is_some_and(|host| host.awaited.get(Family::of(*address).index()) == Some(&true))
        };
        six.chain(four)
            .filter(open)
            .map(|address| self.destination(address, &source_for))
            .collect()
    }

    /// What is to be tried, in order, without what was `tried`: services by their
    /// priority, then the host's own addresses; within each of these groups as RFC
    /// 6724 says, the families in turn, beginning with `first`.
    pub(crate) fn order(
        &self,
        tried: impl Fn(SocketAddr) -> bool,
        first: Option<Family>,
        first_count: usize,
    ) -> Vec<Candidate> {
        let mut ordered: Vec<Candidate> = Vec::new();
        for group in self.endpoints.chunk_by(|one, next| one.via == next.via) {
            let found = |address| ordered.iter().any(|known| known.address == address);
            let group = Group::of(self, group, |address| tried(address) || found(address));
            let mut order: Vec<Destination> = group.0.iter().map(|(to, ..)| *to).collect();
            let first = if ordered.is_empty() { first } else { None };
            select::order(&mut order, first, first_count);
            for destination in order {
                let mut all = group.0.iter();
                let found = all.find(|(other, ..)| *other == destination);
                ordered.extend(found.into_iter().flat_map(|(.., left)| left));
            }
        }
        ordered
    }
}

/// Endpoints of one rank: each address once, with what is left to try there.
struct Group(Vec<(Destination, Vec<Candidate>)>);

impl Group {
    fn of(plan: &Plan, ways: &[Endpoint], tried: impl Fn(SocketAddr) -> bool) -> Self {
        let mut group = Self(Vec::new());
        for way in ways {
            let hints = way.hints.iter().map(|hint| (hint, &way.ports));
            let host = plan.hosts.get(way.target.0);
            let addresses = host.into_iter().flat_map(|host| &host.addresses);
            let addresses = addresses.map(|(destination, own)| {
                let ports = if own.is_empty() { &way.ports } else { own };
                (destination, ports)
            });
            for (destination, ports) in addresses.chain(hints) {
                group.add(*destination, ports, way.via, &tried);
            }
        }
        group
    }

    fn add(
        &mut self,
        destination: Destination,
        ports: &[u16],
        via: Via,
        tried: impl Fn(SocketAddr) -> bool,
    ) {
        let left = ports
            .iter()
            .map(|port| SocketAddr::new(destination.address, *port))
            .filter(|address| !tried(*address))
            .map(|address| Candidate { address, via });
        let left: Vec<Candidate> = left.collect();
        let mut same = self.0.iter_mut();
        match same.find(|(other, _)| other.address == destination.address) {
            Some((_, known)) => {
                known.extend(left);
                // A list of ports may name one twice.
                let mut seen = Vec::new();
                known.retain(|candidate| {
                    let new = !seen.contains(&candidate.address);
                    seen.push(candidate.address);
                    new
                });
            }
            None if !left.is_empty() => self.0.push((destination, left)),
            None => {}
        }
    }
}
