//! What configures itself, told to the application: addresses, routers and DNS
//! servers that come and go.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::Waker;

use pollwire_rings::Instant;

use super::InterfaceId;
use crate::Stack;

/// Most events that wait to be read; the oldest gives way.
const MAX_EVENTS: usize = 64;
/// Most DNS servers, and most search domains, that are kept.
const MAX_DNS: usize = 8;

/// A change of the network's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetEvent {
    /// This host has the address from now on.
    AddressUp(IpAddr),
    /// This host does not have the address any more.
    AddressDown(IpAddr),
    /// Another host has the address: it is not used.
    AddressDuplicate(IpAddr),
    /// A router leads to everywhere else.
    RouterUp(IpAddr),
    /// A router is none any more.
    RouterDown(IpAddr),
    /// [`Stack::dns_servers`] or [`Stack::search_domains`] changed.
    DnsChanged,
}

/// Who told of a DNS server or search domain, the most trusted first. RFC 8106,
/// 5.3.1: what DHCP tells takes precedence over what routers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DnsSource {
    /// The configuration.
    Config,
    /// DHCP for IPv4.
    Dhcp,
    /// DHCP for IPv6.
    Dhcpv6,
    /// Router advertisements (RFC 8106).
    Router,
}

/// Something that is valid for a while.
#[derive(Clone, PartialEq)]
struct Timed<T> {
    value: T,
    source: DnsSource,
    interface: InterfaceId,
    until: Instant,
}

/// Events that wait, and what is known of DNS.
pub(crate) struct Events {
    /// The interface that events are about from now on.
    pub(crate) interface: InterfaceId,
    queue: VecDeque<(InterfaceId, NetEvent)>,
    waker: Option<Waker>,
    servers: Vec<Timed<IpAddr>>,
    domains: Vec<Timed<String>>,
    /// Changes with what is known of DNS.
    dns_version: u32,
    dns_wakers: Vec<Waker>,
}

impl Events {
    /// No events yet; `servers` are there from the start and for ever.
    pub(crate) fn with_servers(servers: &[IpAddr]) -> Self {
        let mut events = Self::new();
        events.add_servers(servers);
        events
    }

    /// `servers` are there for ever.
    pub(crate) fn add_servers(&mut self, servers: &[IpAddr]) {
        for &server in servers {
            let (source, until) = ((DnsSource::Config, self.interface), Instant::FAR_FUTURE);
            put(&mut self.servers, Instant::ZERO, source, server, until);
        }
    }

    pub(crate) const fn new() -> Self {
        Self {
            interface: InterfaceId::FIRST,
            queue: VecDeque::new(),
            waker: None,
            servers: Vec::new(),
            domains: Vec::new(),
            dns_version: 0,
            dns_wakers: Vec::new(),
        }
    }

    /// Adds an event and wakes who waits for one.
    pub(crate) fn push(&mut self, event: NetEvent) {
        let event = (self.interface, event);
        if self.queue.back() == Some(&event) {
            return;
        }
        if self.queue.len() >= MAX_EVENTS {
            self.queue.pop_front();
        }
        self.queue.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn dns_changed(&mut self) {
        self.dns_version = self.dns_version.wrapping_add(1);
        for waker in self.dns_wakers.drain(..) {
            waker.wake();
        }
        self.push(NetEvent::DnsChanged);
    }

    /// `source` tells of a DNS server that is valid until then; a time that is
    /// not ahead takes it back. Of too many, those of the most trusted source
    /// stay, and of one source the first told.
    pub(crate) fn dns_server(
        &mut self,
        now: Instant,
        source: DnsSource,
        server: IpAddr,
        until: Instant,
    ) {
        let told = (source, self.interface);
        if put(&mut self.servers, now, told, server, until) {
            self.dns_changed();
        }
    }

    /// The same of a search domain.
    pub(crate) fn search_domain(
        &mut self,
        now: Instant,
        source: DnsSource,
        domain: String,
        until: Instant,
    ) {
        let told = (source, self.interface);
        if put(&mut self.domains, now, told, domain, until) {
            self.dns_changed();
        }
    }

    /// What `source` tells on this interface is this and nothing else, valid until
    /// it tells otherwise.
    pub(crate) fn set_dns<'a>(
        &mut self,
        source: DnsSource,
        servers: impl Iterator<Item = IpAddr>,
        domains: impl Iterator<Item = &'a str>,
    ) {
        let told = (source, self.interface);
        let changed = set(&mut self.servers, told, servers);
        let domains = domains.map(String::from);
        if set(&mut self.domains, told, domains) | changed {
            self.dns_changed();
        }
    }

    /// Forgets all that `source` told on this interface.
    pub(crate) fn forget_dns(&mut self, source: DnsSource) {
        let before = self.servers.len() + self.domains.len();
        let told = (source, self.interface);
        self.servers
            .retain(|known| (known.source, known.interface) != told);
        self.domains
            .retain(|known| (known.source, known.interface) != told);
        if self.servers.len() + self.domains.len() != before {
            self.dns_changed();
        }
    }

    /// Lets go of what is not valid any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        let before = self.servers.len() + self.domains.len();
        self.servers.retain(|known| known.until > now);
        self.domains.retain(|known| known.until > now);
        if self.servers.len() + self.domains.len() != before {
            self.dns_changed();
        }
    }

    /// When [`expire`](Self::expire) next has work; the far future for never.
    pub(crate) fn deadline(&self) -> Instant {
        let servers = self.servers.iter().map(|known| known.until);
        let domains = self.domains.iter().map(|known| known.until);
        servers.chain(domains).min().unwrap_or(Instant::FAR_FUTURE)
    }
}

/// Adds, prolongs or removes `value`. Returns whether the list changed.
fn put<T: PartialEq>(
    list: &mut Vec<Timed<T>>,
    now: Instant,
    (source, interface): (DnsSource, InterfaceId),
    value: T,
    until: Instant,
) -> bool {
    let known = list.iter().position(|known| {
        known.value == value && known.source == source && known.interface == interface
    });
    match known {
        Some(index) if until <= now => {
            list.remove(index);
            true
        }
        Some(index) => {
            if let Some(known) = list.get_mut(index) {
                known.until = until;
            }
            false
        }
        None if until > now => insert(
            list,
            Timed {
                value,
                source,
                interface,
                until,
            },
        ),
        None => false,
    }
}

/// Adds a value behind those of the same source. Returns whether there was
/// room: in a full list, the last of a less trusted source gives way.
fn insert<T>(list: &mut Vec<Timed<T>>, new: Timed<T>) -> bool {
    let at = list.partition_point(|known| known.source <= new.source);
    if at >= MAX_DNS {
        return false;
    }
    list.truncate(MAX_DNS - 1);
    list.insert(at, new);
    true
}

/// Replaces the values that `source` told on an interface. Returns whether the list changed.
fn set<T: PartialEq + Clone>(
    list: &mut Vec<Timed<T>>,
    (source, interface): (DnsSource, InterfaceId),
    values: impl Iterator<Item = T>,
) -> bool {
    let before = list.clone();
    list.retain(|known| (known.source, known.interface) != (source, interface));
    for value in values.take(MAX_DNS) {
        let told = (source, interface);
        put(list, Instant::ZERO, told, value, Instant::FAR_FUTURE);
    }
    *list != before
}

/// What of `list` is told, each value once.
fn told<T: PartialEq>(list: &[Timed<T>]) -> impl Iterator<Item = &T> {
    list.iter().enumerate().filter_map(|(at, known)| {
        let mut before = list.iter().take(at);
        let again = before.any(|earlier| earlier.value == known.value);
        (!again).then_some(&known.value)
    })
}

impl Stack {
    /// The oldest change of the network's configuration that was not read yet.
    /// At most 64 wait; of more, the oldest are forgotten.
    pub fn next_event(&mut self) -> Option<NetEvent> {
        self.next_event_of().map(|(_, event)| event)
    }

    /// The same, and the interface that it is about.
    pub fn next_event_of(&mut self) -> Option<(InterfaceId, NetEvent)> {
        self.events.queue.pop_front()
    }

    /// Has `waker` woken, once, at the next event; at once if one waits.
    pub fn wake_on_event(&mut self, waker: &Waker) {
        if self.events.queue.is_empty() {
            self.events.waker = Some(waker.clone());
        } else {
            waker.wake_by_ref();
        }
    }

    /// The DNS servers that are configured, then those that DHCP, DHCPv6 and
    /// routers (RFC 8106) told of and that are valid now, each in the order in
    /// which they were told; eight at most.
    pub fn dns_servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        told(&self.events.servers).copied()
    }

    /// Replaces the DNS servers and search domains that are configured, as those
    /// of [`Config::dns_servers`](crate::Config::dns_servers) are; what the
    /// network tells is not concerned.
    pub fn configure_dns<'a>(
        &mut self,
        servers: impl IntoIterator<Item = IpAddr>,
        domains: impl IntoIterator<Item = &'a str>,
    ) {
        let (servers, domains) = (servers.into_iter(), domains.into_iter());
        self.events.set_dns(DnsSource::Config, servers, domains);
    }

    /// A number that is another one whenever [`dns_servers`](Self::dns_servers)
    /// or [`search_domains`](Self::search_domains) changed.
    #[must_use]
    pub fn dns_version(&self) -> u32 {
        self.events.dns_version
    }

    /// Has `waker` woken, once, when [`dns_version`](Self::dns_version) is not
    /// `seen` any more. Any number of tasks may wait.
    pub fn wake_on_dns(&mut self, seen: u32, waker: &Waker) {
        let wakers = &mut self.events.dns_wakers;
        if self.events.dns_version != seen {
            waker.wake_by_ref();
        } else if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// The domains in which to look up short names, told and valid likewise.
    pub fn search_domains(&self) -> impl Iterator<Item = &str> + '_ {
        told(&self.events.domains).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn server(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn servers_come_stay_and_go() {
        let mut events = Events::new();
        let at = Instant::from_secs;
        events.dns_server(at(1), DnsSource::Router, server(1), at(10));
        events.dns_server(at(1), DnsSource::Router, server(2), at(20));
        events.dns_server(at(2), DnsSource::Router, server(1), at(15));
        assert_eq!(events.queue, [(InterfaceId::FIRST, NetEvent::DnsChanged)]);
        assert_eq!(events.deadline(), at(15));
        events.expire(at(15));
        let left: Vec<IpAddr> = events.servers.iter().map(|known| known.value).collect();
        assert_eq!(left, vec![server(2)]);
        events.dns_server(at(16), DnsSource::Router, server(2), at(16));
        assert!(events.servers.is_empty());
        assert_eq!(events.deadline(), Instant::FAR_FUTURE);
    }

    #[test]
    fn rfc_8106_5_3_1_dhcp_comes_before_routers_and_each_replaces_its_own() {
        let mut events = Events::with_servers(&[server(9)]);
        events.queue.clear();
        let (now, ever) = (Instant::ZERO, Instant::FAR_FUTURE);
        let list = |events: &Events| told(&events.servers).copied().collect::<Vec<_>>();
        for last in 1..=8 {
            events.dns_server(now, DnsSource::Router, server(last), ever);
        }
        let routers: Vec<IpAddr> = [9, 1, 2, 3, 4, 5, 6, 7].map(server).into();
        assert_eq!(list(&events), routers, "eight in all");
        events.queue.clear();
        let say = |events: &mut Events, servers: &[u8], domains: &[&str]| {
            let servers = servers.iter().copied().map(server);
            events.set_dns(DnsSource::Dhcpv6, servers, domains.iter().copied());
            events.queue.drain(..).count()
        };
        assert_eq!(say(&mut events, &[20, 2], &["a"]), 1);
        assert_eq!(list(&events), [9, 20, 2, 1, 3, 4, 5].map(server), "2 once");
        assert_eq!(say(&mut events, &[20, 2], &["a"]), 0, "nothing new");
        assert_eq!(say(&mut events, &[2, 20], &["a"]), 1, "in another order");
        events.dns_server(now, DnsSource::Dhcp, server(30), ever);
        assert_eq!(list(&events)[..4], [9, 30, 2, 20].map(server));
        assert_eq!(say(&mut events, &[], &["a", "b", "a"]), 1);
        assert_eq!(list(&events)[..3], [9, 30, 1].map(server));
        let domains: Vec<String> = told(&events.domains).cloned().collect();
        assert_eq!(domains, ["a".to_string(), "b".to_string()]);
        events.forget_dns(DnsSource::Dhcpv6);
        assert!(events.domains.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut events = Events::new();
        for last in 0..=255 {
            events.dns_server(
                Instant::ZERO,
                DnsSource::Router,
                server(last),
                Instant::from_secs(1),
            );
            events.push(NetEvent::AddressUp(server(last)));
        }
        assert_eq!(events.servers.len(), MAX_DNS);
        assert_eq!(events.queue.len(), MAX_EVENTS);
        assert_eq!(
            events.queue.back(),
            Some(&(InterfaceId::FIRST, NetEvent::AddressUp(server(255)))),
            "the newest are kept"
        );
    }
}
