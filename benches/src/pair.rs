//! What a stack must be able to do to take part.

use core::time::Duration;

/// Payload bytes of a full segment on Ethernet without TCP options.
pub const MSS: usize = 1460;

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host that connects.
    Client,
    /// The host that listens.
    Server,
}

impl End {
    /// The other host.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What the two devices do for their stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// Nothing: checksums are computed and verified in software.
    None,
    /// The devices compute and verify checksums.
    Checksum,
    /// The same, and they segment TCP.
    Segmentation,
}

/// The version of IP that the hosts speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How a pair is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What the devices do.
    pub offloads: Offloads,
    /// What carries the work.
    pub ip: IpVersion,
    /// How many connections may be open beside the one that works.
    pub idle: usize,
}

impl Setup {
    /// `offloads`, over IPv4, and no idle connections.
    #[must_use]
    pub const fn new(offloads: Offloads) -> Self {
        Self {
            offloads,
            ip: IpVersion::V4,
            idle: 0,
        }
    }
}

/// Two hosts of one stack, joined by a wire. Both know each other's Ethernet
/// address when [`new`](Self::new) returns.
pub trait Pair: Sized {
    /// The stack's name, as tables print it.
    const NAME: &'static str;

    /// An open connection, both ends of it.
    type Flow: Copy;

    /// Boots two hosts.
    ///
    /// # Panics
    ///
    /// If the stack, as it is built here, does not speak this version of IP.
    fn new(setup: &Setup) -> Self;

    /// Moves virtual time on.
    fn advance(&mut self, by: Duration);

    /// Lets `end` take everything in that the wire holds for it.
    fn ingress(&mut self, end: End);

    /// Lets `end` send what it has to send, up to what the wire takes.
    fn egress(&mut self, end: End);

    /// Opens a connection, up to the established state at both ends.
    fn open(&mut self) -> Self::Flow;

    /// Closes a connection from both ends, the client first, and lets virtual
    /// time pass until every trace of it is gone.
    fn close(&mut self, flow: Self::Flow);

    /// Opens `count` connections that will never carry data. They may be set up
    /// by any way that ends in the same state.
    fn open_idle(&mut self, count: usize);

    /// Offers up to `len` bytes for sending; returns how many were taken.
    fn send(&mut self, from: End, flow: Self::Flow, len: usize) -> usize;

    /// Reads all that has arrived; returns how many bytes that was.
    fn receive(&mut self, at: End, flow: Self::Flow) -> usize;

    /// Sends a datagram of `len` bytes to the peer; false when it was refused.
    fn send_datagram(&mut self, from: End, len: usize) -> bool;

    /// Takes one datagram; returns its length.
    fn receive_datagram(&mut self, at: End) -> Option<usize>;
}
