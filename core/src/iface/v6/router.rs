//! Routers: asked for (RFC 4861, 6.3.7, with the patience of RFC 7559), and
//! taken at their word within bounds (RFC 4861, 6.3.4; RFC 4191; RFC 8106).

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use pollwire_rings::Instant;

use super::address::{Origin, Own};
use super::hop::RouterChange;
use crate::iface::{DnsSource, NetEvent};
use crate::wire::ipv6::{ALL_ROUTERS, MIN_MTU};
use crate::wire::ndp::{
    HOP_LIMIT, NdpOption, Options, PrefixInformation, RouteInformation, RouterAdvertisement,
    emit_router_solicitation, read_names,
};
use crate::{Counter, DropReason, Ipv6Cidr, Random, Stack};

/// RFC 4861, 10: RTR_SOLICITATION_INTERVAL; RFC 7559, 2.1: IRT.
const FIRST_INTERVAL: Duration = Duration::from_secs(4);
/// RFC 7559, 2.1: MRT.
const LAST_INTERVAL: Duration = Duration::from_secs(3600);
/// RFC 4861, 6.2.1: the largest AdvReachableTime.
const MAX_REACHABLE: u32 = 3_600_000;
/// Between solicitations, whatever routers say: less would flood, more would
/// stall.
const RETRANSMIT: (u32, u32) = (100, 10_000);
/// Hop limits below are not believed: a forged one could confine a host to its
/// link (CVE-2015-2922).
const LEAST_HOP_LIMIT: u8 = 32;
/// Names of one DNSSL option that are looked at.
const MAX_NAMES: usize = 8;

/// When routers are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// The far future when they are not.
    pub(super) due: Instant,
    interval: Duration,
}

impl Asking {
    pub(super) const NOT: Self = Self {
        due: Instant::FAR_FUTURE,
        interval: Duration::ZERO,
    };

    /// From the beginning, at `due`.
    pub(super) const fn from(due: Instant) -> Self {
        Self {
            due,
            interval: Duration::ZERO,
        }
    }

    /// The next time: RFC 7559, 2, by the rules of RFC 8415, 15: twice the
    /// interval before, give or take a tenth, an hour at most.
    fn next(&mut self, now: Instant, random: &mut Random) {
        let tenth = |base: Duration, random: &mut Random| {
            let span = u32::try_from(base.as_millis() / 5).unwrap_or(u32::MAX);
            let jitter = Duration::from_millis(random.below(span.saturating_add(1)).into());
            (base + jitter).saturating_sub(base / 10)
        };
        self.interval = match self.interval {
            Duration::ZERO => tenth(FIRST_INTERVAL, random),
            before => tenth(before, random) + before,
        };
        if self.interval > LAST_INTERVAL {
            self.interval = tenth(LAST_INTERVAL, random);
        }
        self.due = now + self.interval;
    }
}

/// The last moment that is not "for ever by hand": what routers advertise
/// without end, they can take back.
const ADVERTISED_FOR_EVER: Instant = Instant::from_nanos(u64::MAX - 1);

/// When something that is valid for `seconds` is not any more.
pub(super) fn until(now: Instant, seconds: u32) -> Instant {
    if seconds == u32::MAX {
        ADVERTISED_FOR_EVER
    } else {
        now + Duration::from_secs(seconds.into())
    }
}

impl Stack {
    /// Asks for routers if it is time.
    pub(super) fn solicit_expire(&mut self, now: Instant) {
        let v6 = &mut self.iface.v6;
        if v6.asking.due > now {
            return;
        }
        if !v6.config.hears_routers() {
            v6.asking = Asking::NOT;
            return;
        }
        v6.asking.next(now, &mut self.random);
        let link_local = |own: &&Own| own.origin == Origin::LinkLocal && own.is_assigned();
        let source = v6.addresses.iter().find(link_local).map(Own::address);
        let mac = source.map(|_| v6.mac);
        let (bytes, len) = emit_router_solicitation(mac);
        let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let message = bytes.get(..len).unwrap_or(&bytes);
        if self.send_icmpv6(now, source, ALL_ROUTERS, HOP_LIMIT, message) {
            self.counters.inc(Counter::NdpRouterSolicitationsOut);
        }
    }

    /// Begins to ask for routers again when the last one is gone.
    pub(super) fn router_went(&mut self, now: Instant, router: Ipv6Addr) {
        self.events.push(NetEvent::RouterDown(IpAddr::V6(router)));
        let v6 = &mut self.iface.v6;
        if !v6.hops.has_default_router() && v6.asking.due == Instant::FAR_FUTURE {
            v6.asking = Asking::from(now);
        }
    }

    /// RFC 4861, 6.1.2 and 6.3.4.
    pub(super) fn on_router_advertisement(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        said: &RouterAdvertisement,
        options: Options<'_>,
    ) -> Result<(), DropReason> {
        // "Routers must use their link-local address as the source for Router
        // Advertisement [...] messages so that hosts can uniquely identify
        // routers."
        if !src.is_unicast_link_local() {
            return Err(DropReason::NdpBadAddress);
        }
        if !self.iface.v6.config.hears_routers() {
            return Err(DropReason::NdpUnwanted);
        }
        self.counters.inc(Counter::NdpRouterAdvertisementsIn);
        let ends = until(now, said.lifetime.into());
        let change = self
            .iface
            .v6
            .hops
            .set_default(now, src, said.preference, ends);
        self.on_router_change(now, src, change);
        if said.lifetime > 0 {
            self.iface.v6.asking = Asking::NOT;
        }
        if let Some(mac) = options.source_mac() {
            self.told(now, src, mac, true);
        }
        self.take_parameters(said);
        self.dhcpv6_advertised(now, said);
        for option in options.iter() {
            self.on_router_option(now, src, option);
        }
        self.reschedule_v6();
        Ok(())
    }

    fn on_router_change(&mut self, now: Instant, router: Ipv6Addr, change: Option<RouterChange>) {
        match change {
            Some(RouterChange::Up) => {
                log::info!("router {router}");
                self.events.push(NetEvent::RouterUp(IpAddr::V6(router)));
            }
            Some(RouterChange::Down) => self.router_went(now, router),
            None => {}
        }
    }

    /// The times and limits that all hosts of the link share.
    fn take_parameters(&mut self, said: &RouterAdvertisement) {
        if said.hop_limit >= LEAST_HOP_LIMIT && said.hop_limit != self.iface.v6.hop_limit {
            self.iface.v6.hop_limit = said.hop_limit;
            // Headers that flows and sockets keep have the old one.
            self.iface.invalidate();
        }
        let v6 = &mut self.iface.v6;
        if said.retransmit > 0 {
            let millis = said.retransmit.clamp(RETRANSMIT.0, RETRANSMIT.1);
            v6.neighbors.timing.retransmit = Duration::from_millis(millis.into());
        }
        if (1..=MAX_REACHABLE).contains(&said.reachable) && said.reachable != v6.base_reachable {
            v6.base_reachable = said.reachable;
            // RFC 4861, 6.3.4: a random time between half and one and a half of
            // it, lest all hosts ask together.
            let millis = said.reachable / 2 + self.random.below(said.reachable.max(1));
            v6.neighbors.timing.reachable = Duration::from_millis(millis.into());
        }
    }

    fn on_router_option(&mut self, now: Instant, router: Ipv6Addr, option: NdpOption<'_>) {
        match option {
            NdpOption::Mtu(mtu) => {
                let link = self.iface.caps().mtu;
                // Neither below what IPv6 needs nor above what the link has.
                if let Ok(mtu) = u16::try_from(mtu)
                    && (MIN_MTU..=link).contains(&mtu)
                    && mtu != self.iface.v6.mtu
                {
                    self.iface.v6.mtu = mtu;
                    // Flows learn of it when they next send.
                    self.iface.invalidate();
                }
            }
            NdpOption::Prefix(prefix) => self.on_prefix(now, &prefix),
            NdpOption::Route(route) => self.on_route(now, router, &route),
            NdpOption::DnsServers(lifetime, servers) => {
                let ends = until(now, lifetime);
                for server in servers {
                    let server = Ipv6Addr::from(*server);
                    if !server.is_multicast() && !server.is_unspecified() {
                        let server = IpAddr::V6(server);
                        self.events.dns_server(now, DnsSource::Router, server, ends);
                    }
                }
            }
            NdpOption::DnsSearch(lifetime, names) => {
                let ends = until(now, lifetime);
                for name in read_names(names, MAX_NAMES) {
                    self.events
                        .search_domain(now, DnsSource::Router, name, ends);
                }
            }
            NdpOption::SourceMac(_) | NdpOption::TargetMac(_) | NdpOption::RedirectedHeader(_) => {}
        }
    }

    /// RFC 4191, 3.1: a host of type C.
    fn on_route(&mut self, now: Instant, router: Ipv6Addr, route: &RouteInformation) {
        let Some(to) = Ipv6Cidr::new(route.prefix, route.len) else {
            return;
        };
        let ends = until(now, route.lifetime);
        let hops = &mut self.iface.v6.hops;
        let change = hops.set_route(now, to, router, route.preference, ends);
        if route.len == 0 {
            self.on_router_change(now, router, change);
        }
    }

    /// RFC 4861, 6.3.4, and RFC 4862, 5.5.3.
    fn on_prefix(&mut self, now: Instant, said: &PrefixInformation) {
        let Some(prefix) = Ipv6Cidr::new(said.prefix, said.len) else {
            return;
        };
        // "If the prefix is the link-local prefix, silently ignore the Prefix
        // Information option"; groups have no hosts.
        if said.prefix.is_unicast_link_local() || said.prefix.is_multicast() {
            return;
        }
        // A prefix of all addresses would draw every packet to the link.
        if said.on_link && said.len > 0 {
            let ends = until(now, said.valid);
            self.iface.v6.hops.set_on_link(now, prefix, ends);
        }
        if said.autonomous && self.iface.v6.config.slaac {
            self.on_autonomous(now, prefix, said);
        }
    }

    /// Finds out anew when IPv6 next has work.
    pub(crate) fn reschedule_v6(&mut self) {
        let dns = self.events.deadline();
        self.iface.v6.reschedule(dns);
    }
}
