//! The sans-IO core of pollwire: wire formats, IP, ICMP, UDP and TCP, and the
//! sockets over them.
//!
//! [`Stack`] owns all state. It has five verbs and takes time and frames as
//! arguments, so every protocol runs in virtual time under test:
//! [`input`](Stack::input), [`output`](Stack::output),
//! [`expire`](Stack::expire), [`deadline`](Stack::deadline), and the socket
//! operations (`tcp_*`, `udp_*`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_support;
mod counters;
mod dhcp;
mod dhcpv6;
mod drop_reason;
mod error;
mod executor;
mod flow;
mod iface;
mod ip;
mod random;
mod runtime;
mod socket;
mod stack;
mod tcp;
mod timer_wheel;
mod udp;
pub mod wire;

pub use counters::{Counter, Counters};
pub use dhcp::{DhcpConfig, DhcpLease, Fallback};
pub use dhcpv6::{Dhcpv6, Dhcpv6Info};
pub use drop_reason::DropReason;
pub use error::{ConnError, Error, Misuse};
pub use executor::{
    Either, JoinHandle, Sleep, TimedOut, YieldNow, join, join_all, select, yield_now,
};
pub use flow::FlowKey;
pub use iface::{
    InterfaceId, InterfaceIds, Ipv4Cidr, Ipv6Cidr, Ipv6Config, MAX_INTERFACES, NetEvent,
    ParseCidrError, VlanId,
};
pub use pollwire_rings::{Clock, Instant};
pub use random::Random;
pub use runtime::Runtime;
pub use socket::{
    BoundUdp, ConnectedUdp, Net, NetCell, ReadHalf, TcpFlow, TcpListener, UdpSocket, WriteHalf,
};
pub use stack::{
    BYTES_PER_FLOW, BootError, Config, LARGE_FRAME, Memory, RECORD_BYTES_PER_FLOW, Stack, TcpEvent,
    TcpEventKind,
};
pub use tcp::{
    CongestionControl, Ecn, FlowId, Handshake, Interest, ListenOptions, ListenerId, ListenerStats,
    LossState, Pacing, SeqNum, Shutdown, SynCookies, TcpInfo, TcpOptions, TcpState,
};
pub use udp::{UdpId, UdpOptions, UdpReceived};

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
