//! Listeners: who may connect, and who waits to be accepted.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};
use core::task::Waker;

use super::options::TcpOptions;

/// What a listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; 1 at least.
    pub backlog: usize,
    /// Handshakes that may be under way; 1 at least. All listeners together
    /// have as many as [`Memory`](crate::Memory) has flows.
    pub syn_queue: usize,
    /// Options of the connections accepted.
    pub tcp: TcpOptions,
}

impl ListenOptions {
    /// A backlog of 128, and 128 handshakes.
    pub const DEFAULT: Self = Self {
        backlog: 128,
        syn_queue: 128,
        tcp: TcpOptions::DEFAULT,
    };
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
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
        }
    }

    /// Whether a SYN to `local` is for this listener.
    fn matches(&self, local: SocketAddr) -> bool {
        self.open
            && self.port == local.port()
            && self.address.is_none_or(|address| address == local.ip())
    }

    /// Whether no further handshake may begin.
    pub(crate) fn syn_queue_is_full(&self) -> bool {
        self.half_open >= self.options.syn_queue
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
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        true
    }
}

/// The listener for SYNs to `local`: one at just that address before one at
/// every address.
pub(crate) fn find(listeners: &[Listener], local: SocketAddr) -> Option<u16> {
    let matching = |exact: bool| {
        listeners
            .iter()
            .position(|one| one.matches(local) && one.address.is_some() == exact)
    };
    let found = matching(true).or_else(|| matching(false))?;
    u16::try_from(found).ok()
}
