//! Whose fault it was: the packet's ([`DropReason`]), the connection's
//! ([`ConnError`]) or the caller's ([`Misuse`]).

use core::fmt;

/// Why the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ConnError {
    /// The peer answered the SYN with RST: nobody listens there.
    Refused = 1,
    /// The peer reset the connection (RFC 9293, 3.5.2).
    Reset,
    /// The peer stayed silent past the connect or user timeout, or all
    /// retransmissions were in vain (RFC 9293, 3.8.3).
    TimedOut,
    /// Keepalive probes went unanswered (RFC 9293, 3.8.4).
    KeepaliveTimedOut,
    /// No route to the peer, or its neighbour does not answer.
    HostUnreachable,
    /// This side aborted the connection.
    Aborted,
    /// This host does not have the connection's address any more.
    AddressGone,
    /// Writing after this side closed, or reading after it shut reading down.
    Closed,
}

impl fmt::Display for ConnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by peer",
            Self::TimedOut => "connection timed out",
            Self::KeepaliveTimedOut => "peer stopped answering keepalive probes",
            Self::HostUnreachable => "host unreachable",
            Self::Aborted => "connection aborted",
            Self::AddressGone => "this host's address is gone",
            Self::Closed => "connection closed",
        })
    }
}

impl core::error::Error for ConnError {}

/// What the caller did wrong, or asked for more than was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The handle names a socket that is gone.
    StaleHandle,
    /// Another socket holds that address and port.
    AddressInUse,
    /// The address is none of this host's.
    AddressNotLocal,
    /// No usable source address for that destination.
    NoSourceAddress,
    /// The destination cannot be sent to (unspecified, multicast or broadcast
    /// where only unicast makes sense, port 0).
    BadDestination,
    /// All flows of [`Memory`](crate::Memory) are taken.
    NoFlowFree,
    /// All frames of [`Memory`](crate::Memory) are taken.
    NoFrameFree,
    /// All ephemeral ports towards that destination are taken.
    NoPortFree,
    /// The datagram does not fit.
    TooLong,
    /// No more addresses, routes, groups or interfaces can be kept.
    TableFull,
    /// The stack has no such interface.
    NoSuchInterface,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StaleHandle => "the socket is gone",
            Self::AddressInUse => "address in use",
            Self::AddressNotLocal => "not an address of this host",
            Self::NoSourceAddress => "no source address for that destination",
            Self::BadDestination => "bad destination address",
            Self::NoFlowFree => "all flows are in use",
            Self::NoFrameFree => "all frames are in use",
            Self::NoPortFree => "all ephemeral ports are in use",
            Self::TooLong => "message too long",
            Self::TableFull => "no more addresses, routes, groups or interfaces can be kept",
            Self::NoSuchInterface => "no such interface",
        })
    }
}

impl core::error::Error for Misuse {}

/// What a socket operation answers when it cannot do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// Not now: try again after the socket has been woken.
    WouldBlock,
    /// The connection is over.
    Conn(ConnError),
    /// The call could never have worked.
    Misuse(Misuse),
}

impl From<ConnError> for Error {
    fn from(error: ConnError) -> Self {
        Self::Conn(error)
    }
}

impl From<Misuse> for Error {
    fn from(error: Misuse) -> Self {
        Self::Misuse(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("not ready"),
            Self::Conn(error) => error.fmt(f),
            Self::Misuse(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}
