//! What configures itself, told to the application: addresses, routers and DNS
//! servers that come and go.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::Waker;

use pollwire_rings::Instant;

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

/// Who told of a DNS server or search domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DnsSource {
    /// The configuration.
    Config,
    /// Router advertisements (RFC 8106).
    Router,
    /// DHCP, of either version.
    Dhcp,
}

/// Something that is valid for a while.
struct Timed<T> {
    value: T,
    source: DnsSource,
    until: Instant,
}

/// Events that wait, and what is known of DNS.
pub(crate) struct Events {
    queue: VecDeque<NetEvent>,
    waker: Option<Waker>,
    servers: Vec<Timed<IpAddr>>,
    domains: Vec<Timed<String>>,
}

impl Events {
    /// No events yet; `servers` are there from the start and for ever.
    pub(crate) fn with_servers(servers: &[IpAddr]) -> Self {
        let mut events = Self::new();
        for &server in servers {
            let (source, until) = (DnsSource::Config, Instant::FAR_FUTURE);
            put(&mut events.servers, Instant::ZERO, source, server, until);
        }
        events
    }

    pub(crate) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            waker: None,
            servers: Vec::new(),
            domains: Vec::new(),
        }
    }

    /// Adds an event and wakes who waits for one.
    pub(crate) fn push(&mut self, event: NetEvent) {
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

    /// `source` tells of a DNS server that is valid until then; a time that is
    /// not ahead takes it back. Of too many, the first told stay.
    pub(crate) fn dns_server(
        &mut self,
        now: Instant,
        source: DnsSource,
        server: IpAddr,
        until: Instant,
    ) {
        if put(&mut self.servers, now, source, server, until) {
            self.push(NetEvent::DnsChanged);
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
        if put(&mut self.domains, now, source, domain, until) {
            self.push(NetEvent::DnsChanged);
        }
    }

    /// Forgets all that `source` told.
    pub(crate) fn forget_dns(&mut self, source: DnsSource) {
        let before = self.servers.len() + self.domains.len();
        self.servers.retain(|known| known.source != source);
        self.domains.retain(|known| known.source != source);
        if self.servers.len() + self.domains.len() != before {
            self.push(NetEvent::DnsChanged);
        }
    }

    /// Lets go of what is not valid any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        let before = self.servers.len() + self.domains.len();
        self.servers.retain(|known| known.until > now);
        self.domains.retain(|known| known.until > now);
        if self.servers.len() + self.domains.len() != before {
            self.push(NetEvent::DnsChanged);
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
    source: DnsSource,
    value: T,
    until: Instant,
) -> bool {
    let known = list
        .iter()
        .position(|known| known.value == value && known.source == source);
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
        None if until > now && list.len() < MAX_DNS => {
            list.push(Timed {
                value,
                source,
                until,
            });
            true
        }
        None => false,
    }
}

impl Stack {
    /// The oldest change of the network's configuration that was not read yet.
    /// At most 64 wait; of more, the oldest are forgotten.
    pub fn next_event(&mut self) -> Option<NetEvent> {
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

    /// The DNS servers that are configured, and those that routers (RFC 8106) or
    /// DHCP told of and that are valid now, in the order of their coming.
    pub fn dns_servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.events.servers.iter().map(|known| known.value)
    }

    /// The domains in which to look up short names, told and valid likewise.
    pub fn search_domains(&self) -> impl Iterator<Item = &str> + '_ {
        self.events.domains.iter().map(|known| known.value.as_str())
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(events.queue, [NetEvent::DnsChanged]);
        assert_eq!(events.deadline(), at(15));
        events.expire(at(15));
        let left: Vec<IpAddr> = events.servers.iter().map(|known| known.value).collect();
        assert_eq!(left, vec![server(2)]);
        events.dns_server(at(16), DnsSource::Router, server(2), at(16));
        assert!(events.servers.is_empty());
        assert_eq!(events.deadline(), Instant::FAR_FUTURE);
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
            Some(&NetEvent::AddressUp(server(255))),
            "the newest are kept"
        );
    }
}
