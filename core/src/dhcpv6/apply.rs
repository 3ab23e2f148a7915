//! What stateless DHCPv6 means to the stack.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use pollwire_rings::{FrameBuf, Instant};

use super::{Dhcpv6, Dhcpv6Info};
use crate::iface::DnsSource;
use crate::ip::IpMeta;
use crate::wire::dhcpv6::{CLIENT_PORT, InformationReply, SERVER_PORT, SERVERS};
use crate::wire::ndp::RouterAdvertisement;
use crate::{Counter, DropReason, Stack};

/// How long to wait for a link-local address that is still being tried.
const TENTATIVE: Duration = Duration::from_millis(500);

impl Stack {
    /// What a DHCPv6 server told beside addresses, once one did.
    #[must_use]
    pub fn dhcpv6_info(&self) -> Option<&Dhcpv6Info> {
        self.iface.v6.dhcpv6.info()
    }

    /// Asks DHCPv6 servers for what is to be known beside addresses, DNS servers
    /// above all: now, and again as they say, whatever routers advertise. What
    /// was told before stays until there is an answer. Without effect where no
    /// IPv6 is spoken.
    pub fn dhcpv6_ask(&mut self) {
        if self.iface.v6.is_enabled() {
            let now = self.now();
            self.chores_changed();
            self.iface.v6.dhcpv6.start(now);
            self.reschedule_v6();
        }
    }

    /// A router has advertised something: perhaps that there are DHCPv6 servers.
    ///
    /// RFC 4861, 4.2: the flag O "indicates that other configuration information
    /// is available via DHCPv6", and M makes it redundant.
    pub(crate) fn dhcpv6_advertised(&mut self, now: Instant, said: &RouterAdvertisement) {
        let v6 = &mut self.iface.v6;
        let wanted = v6.dhcpv6_when() == Dhcpv6::Advertised;
        if wanted && (said.managed || said.other) && !v6.dhcpv6.is_active() {
            v6.dhcpv6.start(now);
        }
    }

    /// Takes a datagram to the client's port. `frame` is its payload.
    #[cold]
    pub(crate) fn dhcpv6_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        frame: &FrameBuf,
    ) -> Result<(), DropReason> {
        // It was asked from the link-local address, and answers come there: so
        // nobody beyond the link can make one up.
        let ours = matches!(ip.dst, IpAddr::V6(own) if own.is_unicast_link_local());
        if !ours {
            return Err(DropReason::DhcpUnexpected);
        }
        let reply = InformationReply::parse(frame).ok_or(DropReason::DhcpMalformed)?;
        let info = self.iface.v6.dhcpv6.input(now, reply)?;
        self.counters.inc(Counter::DhcpIn);
        let servers = info.dns_servers.iter().copied().map(IpAddr::V6);
        let domains = info.search_domains.iter().map(|domain| &**domain);
        self.events.set_dns(DnsSource::Dhcpv6, servers, domains);
        self.chores_changed();
        self.reschedule_v6();
        Ok(())
    }

    /// Does what is due.
    pub(crate) fn dhcpv6_expire(&mut self, now: Instant) {
        let Self { iface, random, .. } = self;
        let v6 = &mut iface.v6;
        if v6.dhcpv6.deadline() > now {
            return;
        }
        let Some(own) = v6.link_local() else {
            v6.dhcpv6.postpone(now + TENTATIVE);
            return;
        };
        let Some(message) = v6.dhcpv6.expire(now, random) else {
            return;
        };
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.inc(Counter::NoFrame);
            return;
        };
        frame.extend_from_slice(&message);
        let from = SocketAddr::new(IpAddr::V6(own), CLIENT_PORT);
        let to = SocketAddr::new(IpAddr::V6(SERVERS), SERVER_PORT);
        self.counters.inc(Counter::DhcpOut);
        self.udp_send_own(now, from, to, frame);
    }
}
