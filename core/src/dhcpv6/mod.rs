//! Stateless DHCPv6, the client's side: what is to be known of a network beside
//! addresses (RFC 8415, 6.1 and 18.2.6; RFC 3646).
//!
//! | file | what it holds |
//! |---|---|
//! | [`client`] | the client's states and timers, without input or output |
//! | [`apply`] | what they mean to the stack: when to ask, DNS servers |

mod apply;
mod client;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

pub(crate) use client::Client;

use crate::wire::dhcpv6::MAX_LIST;

/// When DHCPv6 servers are asked for what is to be known beside addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dhcpv6 {
    /// Never.
    Never,
    /// When a router advertises that there is such a server (RFC 4861, 4.2: the
    /// flags M and O).
    #[default]
    Advertised,
    /// From the start, whatever routers advertise.
    Always,
}

/// What a DHCPv6 server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcpv6Info {
    /// DNS servers, the preferred one first.
    pub dns_servers: ArrayVec<Ipv6Addr, MAX_LIST>,
    /// Domains to look up short names in.
    pub search_domains: Vec<String>,
    /// When servers are asked again; the far future for never.
    pub refresh_at: Instant,
}
