#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
mod cache;
mod config;
mod counters;
mod error;
mod front;
mod hosts;
pub mod machine;
mod message;
mod nameserver;
mod search;
mod service;
mod special;

pub use answer::{Answer, Source};
pub use config::{CacheLimits, Config};
pub use counters::{Counter, Counters};
pub use error::DnsError;
#[cfg(feature = "tls")]
pub use front::TlsTrust;
pub use front::{Addresses, IpStream, Resolver};
pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
pub use hosts::{Hosts, HostsError};
pub use machine::Machine;
pub use nameserver::{Authenticator, Nameserver, NameserverError, Tls, Transport};
pub use search::candidates;
pub use service::{Service, Services};
