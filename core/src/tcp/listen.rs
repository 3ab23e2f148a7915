//! Listeners: who may connect, and who waits to be accepted.

use alloc::collections::VecDeque;
use core::net::IpAddr;
use core::task::Waker;

use pollwire_rings::Instant;

use super::cookie;
use super::options::TcpOptions;
use crate::FlowKey;

/// What a listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; 1 at least.
    pub backlog: usize,
    /// Handshakes that may be under way; 1 at least. All listeners together
    /// have as many as [`Memory`](crate::Memory) has flows.
    pub syn_queue: usize,
    /// Whether SYNs are answered when the queue of handshakes is full.
    pub syn_cookies: SynCookies,
    /// Options of the connections accepted.
    pub tcp: TcpOptions,
}

impl ListenOptions {
    /// A backlog of 128, 128 handshakes, SYN cookies beyond that.
    pub const DEFAULT: Self = Self {
        backlog: 128,
        syn_queue: 128,
        syn_cookies: SynCookies::WhenFull,
        tcp: TcpOptions::DEFAULT,
    };
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When SYN cookies are sent (RFC 4987, 3.6): answers to SYNs that need no
/// memory here. They know eight segment sizes; window scale, SACK and ECN only
/// with peers that use timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynCookies {
    /// Never: SYNs that find the queue full are dropped.
    Off,
    /// When the queue of handshakes is full.
    #[default]
    WhenFull,
    /// Always: handshakes take no memory at all.
    Always,
}

/// What a listener has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Connections that wait to be accepted.
    pub waiting: usize,
    /// Handshakes under way.
    pub half_open: usize,
    /// SYNs that began a handshake or were answered by a cookie.
    pub syns: u64,
    /// SYNs dropped because the queue of handshakes was full.
    pub syns_dropped: u64,
    /// SYNs answered by a cookie.
    pub cookies_sent: u64,
    /// Connections opened by a cookie that came back.
    pub cookies_taken: u64,
    /// Acknowledgements that brought back no cookie of ours, or an old one.
    pub cookies_failed: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// SYNs and last ACKs that were dropped because too many connections waited
    /// to be accepted.
    pub accept_overflows: u64,
}

/// A socket in LISTEN.
pub(crate) struct Listener {
    /// `None`: any address of this host.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) generation: u32,
    pub(crate) open: bool,
    pub(crate) options: ListenOptions,
    /// Handshakes under way: the length of the SYN queue.
    pub(crate) half_open: usize,
    /// Flows ready to be accepted, oldest first. Its memory is taken when the
    /// listener opens, never later.
    pub(crate) accepted: VecDeque<u32>,
    pub(crate) waker: Option<Waker>,
    /// When the last SYN cookie was sent; zero if never.
    pub(crate) cookie_at: Instant,
    pub(crate) stats: ListenerStats,
}

impl Listener {
    pub(crate) fn new(address: Option<IpAddr>, port: u16, options: ListenOptions) -> Self {
        let options = ListenOptions {
            backlog: options.backlog.max(1),
            syn_queue: options.syn_queue.max(1),
            ..options
        };
        Self {
            address,
            port,
            generation: 0,
            open: true,
            options,
            half_open: 0,
            accepted: VecDeque::with_capacity(options.backlog),
            waker: None,
            cookie_at: Instant::ZERO,
            stats: ListenerStats::default(),
        }
    }

    /// What it has seen.
    pub(crate) fn stats(&self) -> ListenerStats {
        ListenerStats {
            waiting: self.accepted.len(),
            half_open: self.half_open,
            ..self.stats
        }
    }

    /// Whether a cookie of this listener's may come back.
    pub(crate) fn expects_cookies(&self, now: Instant) -> bool {
        self.cookie_at != Instant::ZERO && now.nanos_since(self.cookie_at) < cookie::LIFE_NANOS
    }

    /// Whether no further handshake may begin.
    pub(crate) fn syn_queue_is_full(&self) -> bool {
        self.half_open >= self.options.syn_queue
    }

    /// Whether more than half of the handshakes are under way that may be.
    pub(crate) fn is_crowded(&self) -> bool {
        self.half_open > self.options.syn_queue / 2
    }

    /// Whether no further connection may wait to be accepted.
    pub(crate) fn accept_queue_is_full(&self) -> bool {
        self.accepted.len() >= self.options.backlog
    }

    /// Puts a flow into the accept queue; `false` when that is full.
    pub(crate) fn push(&mut self, index: u32) -> bool {
        if self.accept_queue_is_full() {
            return false;
        }
        self.accepted.push_back(index);
        self.stats.opened += 1;
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        true
    }
}

/// The listener for SYNs of the flow with this key: one at just that address before one at
/// every address.
pub(crate) fn find(listeners: &[Listener], key: &FlowKey) -> Option<u16> {
    let (mut found, port) = (None, key.local_port());
    for (index, one) in listeners.iter().enumerate() {
        if !one.open || one.port != port {
            continue;
        }
        match one.address {
            None => found = found.or(Some(index)),
            Some(address) if address == key.local().ip() => return u16::try_from(index).ok(),
            Some(_) => {}
        }
    }
    u16::try_from(found?).ok()
}
