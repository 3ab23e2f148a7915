//! IP: what it says to the protocols above, and the way out.

mod fragment;
mod fragment6;
mod icmp;
mod icmpv6;
mod meta;
mod outbox;
mod output;
mod output6;
pub(crate) mod pmtu;
pub(crate) mod reassembly;
mod redirect;
#[cfg(test)]
mod tests;

pub(crate) use fragment::Idents;
pub(crate) use icmp::{Cause, Icmp, IcmpError};
pub(crate) use icmpv6::Icmpv6Error;
pub(crate) use meta::{IpFields, IpMeta};
pub(crate) use outbox::Outbox;
pub(crate) use output::{header, prepend};
pub(crate) use output6::header as ipv6_header;
pub(crate) use reassembly::Reassembly;
