//! ICMP redirects: a gateway names a better one (RFC 1122, 3.2.2.2).

#[cfg(test)]
mod tests;

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use pollwire_rings::Instant;

use super::{Cause, IcmpError, IpMeta};
use crate::wire::UnicastV4;
use crate::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::{Counter, DropReason, Stack};

/// How long a redirect is followed, unless its gateway falls silent before. The
/// old one says so again then, if it still holds.
const AGE: Duration = Duration::from_secs(600);
/// Time from one line in the log to the next.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Stack {
    /// Takes a redirect; `error` quotes the packet that it is about.
    ///
    /// RFC 1122, 3.2.2.2: "A host receiving a Redirect message MUST update its
    /// routing information accordingly." And: "A Redirect message SHOULD be
    /// silently discarded if the new gateway address it specifies is not on the
    /// same connected (sub-) net through which the Redirect arrived [...], or if
    /// the source of the Redirect is not the current first-hop gateway for the
    /// specified destination."
    ///
    /// Anybody on the link can forge the gateway's address. So the packet quoted
    /// must be one that a socket of ours may have sent, as with errors; that of
    /// ICMP's own answers nobody remembers.
    pub(super) fn on_icmp_redirect(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        error: &IcmpError,
    ) -> Result<(), DropReason> {
        let (Cause::Redirected(to), IpAddr::V4(from), IpAddr::V4(destination)) =
            (error.cause, ip.src, error.remote.ip())
        else {
            return Err(DropReason::IcmpIgnored);
        };
        if !self.can_redirect(from, destination, to) {
            return Err(DropReason::IcmpBadRedirect);
        }
        let hop = self.iface.next_hop(destination);
        if hop != Some(from) || hop == Some(destination) {
            return Err(DropReason::IcmpRedirectNotFromHop);
        }
        if error.local.ip() != ip.dst || !self.may_have_sent(error) {
            return Err(DropReason::IcmpNoFlow);
        }
        self.iface.redirects.set(destination, to, now + AGE);
        self.iface.neighbors.note_due(Some(now + AGE));
        self.chores_changed();
        // One that is asked for now is not used before it has answered, so none
        // that does not exist holds anything up.
        if self.neighbor_mac(now, to).is_some() {
            self.iface.invalidate();
        }
        self.counters.inc(Counter::IcmpRedirects);
        if self.icmp.may_log_redirect(now) {
            log::info!("{from} redirects packets for {destination} to {to}");
        }
        Ok(())
    }

    /// Whether these may be the old gateway, the destination, and the new
    /// gateway, which may be the destination itself.
    fn can_redirect(&self, from: Ipv4Addr, destination: Ipv4Addr, to: Ipv4Addr) -> bool {
        let is_other_host = |address: Ipv4Addr| {
            UnicastV4::new(address).is_some()
                && !self.iface.is_broadcast(address)
                && !self.is_local(IpAddr::V4(address))
        };
        to != from
            && is_other_host(to)
            && is_other_host(destination)
            && self.iface.share_subnet(from, to)
    }

    /// Whether a socket or a connection of ours may have sent what is quoted.
    fn may_have_sent(&mut self, quote: &IcmpError) -> bool {
        match quote.protocol {
            PROTOCOL_UDP => self.udp_writes_to(quote.local, quote.remote),
            PROTOCOL_TCP => self.tcp_may_have_sent(quote),
            _ => false,
        }
    }
}

impl super::Icmp {
    /// Whether the log may have a line about a redirect now.
    fn may_log_redirect(&mut self, now: Instant) -> bool {
        let due = now >= self.log_redirects_at;
        if due {
            self.log_redirects_at = now + LOG_INTERVAL;
        }
        due
    }
}
