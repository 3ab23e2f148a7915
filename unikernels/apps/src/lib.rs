//! The programs of pollwire's unikernels, written once: `unikernels/services`
//! and `unikernels/echo` boot them as guests, `examples/` runs them on Linux.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod echo;
pub mod fetch;
mod json;
pub mod resolve;
pub mod services;

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use pollwire_core::{Net, TimedOut};

/// What a program that runs once leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What to print.
    pub text: String,
    /// What to exit with.
    pub exit_code: u8,
}

/// How long DHCP may take before a client goes on without.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until this host has an address, as a client must under DHCP; not for
/// ever, as the client's own errors tell more.
pub(crate) async fn wait_for_address(net: Net<'_>) {
    let has_address = || {
        let anybody = IpAddr::V4(Ipv4Addr::BROADCAST);
        net.with_stack(|stack| stack.source_for(anybody).is_some())
    };
    let waiting = async {
        while !has_address() {
            net.next_event().await;
        }
    };
    if let Err(TimedOut) = net.timeout(PATIENCE, waiting).await {
        log::warn!("still without an address");
    }
}
