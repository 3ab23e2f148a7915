//! UDP (RFC 768): sockets with bounded receive queues.
//!
//! | file | what it holds |
//! |---|---|
//! | [`input`] | what arrives, and errors about what was sent |
//! | [`api`] | what applications call |
//! | [`groups`] | groups that sockets listen to |
//! | [`marks`] | hop limit, traffic class, checksums or none |
//! | [`pieces`] | datagrams in several frames |
//! | [`ports`] | from a port to its sockets |
//! | [`expected`] | plain datagrams for the socket that received last |
//! | [`route`] | headers to the peer that was written to last |

mod api;
mod expected;
mod groups;
mod input;
mod marks;
mod pieces;
mod ports;
mod route;

#[cfg(test)]
pub(crate) mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::task::Waker;

use pollwire_offload::checksum::Sum;
use pollwire_rings::FrameRef;

use crate::wire::ipv4::PROTOCOL_UDP;
use crate::{ConnError, InterfaceId, Misuse};
pub(crate) use expected::{V4_HEADERS, V6_HEADERS};
pub use marks::UdpReceived;
use marks::{Marks, Outgoing};
use ports::Ports;
use route::Route;

/// A UDP socket. Stale once closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId {
    index: u32,
    generation: u32,
}

/// Bounds of a socket's receive queue. What comes while either is reached is
/// dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Datagrams that may wait; 1 at least. Their places are allocated by the
    /// bind. One that came in several frames takes a place for each.
    pub recv_datagrams: usize,
    /// Bytes that may wait, counted as the frames' whole slots; one datagram
    /// may wait whatever it costs.
    pub recv_bytes: usize,
}

impl UdpOptions {
    /// 64 datagrams, 128 KiB.
    pub const DEFAULT: Self = Self {
        recv_datagrams: 64,
        recv_bytes: 128 * 1024,
    };
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A datagram that waits to be received, or a frame of one.
struct Datagram {
    payload: FrameRef,
    origin: Origin,
    /// Hop limit and traffic class.
    marks: [u8; 2],
    /// The datagram before it had the same origin.
    again: bool,
    /// The next one in the queue is the next frame of the same datagram.
    more: bool,
}

/// Where a datagram came from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Origin {
    from: SocketAddr,
    /// The address of ours that it was sent to, if it was not for many.
    to: Option<IpAddr>,
}

/// A bound socket, or the place of one.
struct Socket {
    /// `None`: any address of this host.
    address: Option<IpAddr>,
    port: u16,
    generation: u32,
    open: bool,
    /// The only peer, when connected.
    remote: Option<SocketAddr>,
    /// Where the newest datagram in the queue, or the one that was in it last,
    /// came from, if that was plain.
    newest: Option<Origin>,
    /// Where the datagram received last came from.
    answering: Option<Origin>,
    /// Hop limit and traffic class of that one.
    received: [u8; 2],
    /// What its datagrams' headers say.
    marks: Marks,
    /// The groups that it listens to.
    groups: Vec<(InterfaceId, IpAddr)>,
    /// The way to whom it wrote last.
    route: Route,
    /// What an ICMP error said, told once.
    error: Option<ConnError>,
    options: UdpOptions,
    queue: VecDeque<Datagram>,
    /// Slot bytes that the queue holds.
    held: usize,
    waker: Option<Waker>,
    /// A task waits: `waker` is to be woken, once.
    waiting: bool,
}

impl Socket {
    /// A place that no socket holds.
    const CLOSED: Self = Self {
        address: None,
        port: 0,
        generation: 0,
        open: false,
        remote: None,
        newest: None,
        answering: None,
        received: [0; 2],
        marks: Marks::new(0),
        groups: Vec::new(),
        route: Route::NONE,
        error: None,
        options: UdpOptions::DEFAULT,
        queue: VecDeque::new(),
        held: 0,
        waker: None,
        waiting: false,
    };

    #[inline]
    fn matches(&self, local: IpAddr) -> bool {
        self.address.is_none_or(|address| address == local)
    }

    #[inline]
    fn has_room(&self, slot: usize) -> bool {
        self.has_room_for(1, slot)
    }

    /// Whether a datagram in so many frames of `slot` bytes may wait.
    #[inline]
    fn has_room_for(&self, frames: usize, slot: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() + frames <= self.options.recv_datagrams
                && self.held.saturating_add(slot * frames) <= self.options.recv_bytes)
    }

    #[inline]
    fn push(&mut self, datagram: Datagram) {
        self.push_piece(datagram);
        self.wake();
    }

    #[inline]
    fn push_piece(&mut self, datagram: Datagram) {
        self.held += datagram.payload.slot_size();
        self.queue.push_back(datagram);
    }

    #[inline]
    fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.held = self.held.saturating_sub(datagram.payload.slot_size());
        self.received = datagram.marks;
        if !datagram.again {
            self.answer(datagram.origin);
        }
        Some(datagram)
    }

    /// Has answers to `origin` go out from the address that it wrote to.
    fn answer(&mut self, origin: Origin) {
        let before = self.answering.replace(origin);
        // The source address to the peer of the route may be another one now.
        if [Some(origin), before]
            .iter()
            .flatten()
            .any(|origin| origin.from == self.route.remote)
        {
            self.route.forget();
        }
    }

    /// The source of datagrams to `remote`, if the socket has one.
    ///
    /// RFC 1122, 3.3.4.2: "If the datagram is sent in response to a received
    /// datagram, the source address for the response SHOULD be the
    /// specific-destination address of the request."
    #[inline]
    fn source_for(&self, remote: SocketAddr) -> Option<IpAddr> {
        self.address.or(match self.answering {
            Some(origin) if origin.from == remote => origin.to,
            _ => None,
        })
    }

    #[inline]
    fn wake(&mut self) {
        if core::mem::take(&mut self.waiting)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// All UDP sockets of a stack.
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    /// Places of closed sockets.
    free: Vec<u32>,
    /// The socket that a datagram came for last.
    last: u32,
    ports: Ports,
}

impl Udp {
    /// No sockets yet; `key` is a secret of the boot.
    pub(crate) fn new(key: (u64, u64)) -> Self {
        Self {
            sockets: Vec::new(),
            free: Vec::new(),
            last: 0,
            ports: Ports::new(key.0 ^ key.1),
        }
    }

    #[inline]
    fn socket(&mut self, id: UdpId) -> Result<&mut Socket, Misuse> {
        match self.sockets.get_mut(id.index as usize) {
            Some(socket) if socket.open && socket.generation == id.generation => Ok(socket),
            _ => Err(Misuse::StaleHandle),
        }
    }

    /// The socket for datagrams to `local`.
    fn lookup(&mut self, local: SocketAddr) -> Option<&mut Socket> {
        let Self {
            sockets,
            ports,
            last,
            ..
        } = self;
        // Binding sees to it that at most one matches.
        let index = ports.sockets(local.port()).find(|&index| {
            sockets
                .get(index as usize)
                .is_some_and(|socket| socket.matches(local.ip()))
        })?;
        *last = index;
        sockets.get_mut(index as usize)
    }

    /// Whether a socket on `address` and `port` would take datagrams of another.
    fn conflicts(&self, address: Option<IpAddr>, port: u16) -> bool {
        self.ports.sockets(port).any(|index| {
            self.sockets.get(index as usize).is_some_and(|other| {
                address.is_none() || other.address.is_none() || other.address == address
            })
        })
    }
}

/// The sum of the pseudo-header (RFC 768; RFC 8200, 8.1).
#[inline]
fn pseudo_sum(src: IpAddr, dst: IpAddr, len: u16) -> Sum {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            Sum::pseudo_v4(src.octets(), dst.octets(), PROTOCOL_UDP, len)
        }
        (src, dst) => Sum::pseudo_v6(to_v6(src), to_v6(dst), PROTOCOL_UDP, u32::from(len)),
    }
}

fn to_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
