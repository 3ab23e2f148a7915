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
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

/// How long DHCP and the like may take before a client goes on without.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somewhere on the Internet: a host with an address for that has more than one
/// for its link.
const SOMEWHERE: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);

/// Waits until this host has an address, as a client must under DHCP or SLAAC;
/// not for ever, as the client's own errors tell more. One of IPv6 is enough
/// unless one of IPv4 is on its way. Who speaks IPv6 only has no use for the other,
/// and waits as long as one may come.
pub(crate) async fn wait_for_address(net: Net<'_>, only_v6: bool) {
    let has_address = || {
        net.with_stack(|stack| {
            let has_v4 = stack.source_for(Ipv4Addr::BROADCAST.into()).is_some();
            let v6 = stack.source_for(SOMEWHERE.into());
            let has_v6 = matches!(v6, Some(IpAddr::V6(own)) if !own.is_unicast_link_local());
            if only_v6 {
                has_v6 || !stack.awaits_ipv6()
            } else {
                has_v4 || (has_v6 && !stack.awaits_ipv4())
            }
        })
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

/// Waits until the network has told of a DNS server; not for ever.
pub(crate) async fn wait_for_servers(net: Net<'_>) {
    let waiting = async {
        loop {
            let (version, any) = net.with_stack(|stack| {
                let any = stack.dns_servers().next().is_some();
                (stack.dns_version(), any)
            });
            if any {
                return;
            }
            net.dns_changed(version).await;
        }
    };
    if let Err(TimedOut) = net.timeout(PATIENCE, waiting).await {
        log::warn!("still without a DNS server");
    }
}
