//! Where packets go next: prefixes of the link, routes through routers, and
//! redirects (RFC 4861, 5; RFC 4191, 3).

use core::net::Ipv6Addr;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use super::Neighbors;
use crate::Ipv6Cidr;
use crate::iface::redirects::Redirects;
use crate::wire::ndp::Preference;

/// Most routes through routers, default routes included.
pub(crate) const MAX_ROUTES: usize = 16;
/// Most prefixes that are known to be on the link.
pub(crate) const MAX_PREFIXES: usize = 16;

/// Everywhere.
const DEFAULT: Ipv6Cidr = match Ipv6Cidr::new(Ipv6Addr::UNSPECIFIED, 0) {
    Some(all) => all,
    None => panic!("0 is a prefix length"),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    to: Ipv6Cidr,
    router: Ipv6Addr,
    preference: Preference,
    /// The far future for those given by hand.
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OnLink {
    prefix: Ipv6Cidr,
    until: Instant,
}

/// A router became a default router, or ceased to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouterChange {
    Up,
    Down,
}

/// The tables.
pub(crate) struct Hops {
    /// Of equals the first is used; a router that fails moves to the end, so
    /// that all get their turn (RFC 4861, 6.3.6).
    routes: ArrayVec<Route, MAX_ROUTES>,
    prefixes: ArrayVec<OnLink, MAX_PREFIXES>,
    redirects: Redirects<Ipv6Addr>,
    changed: bool,
}

impl Hops {
    pub(crate) const fn new() -> Self {
        Self {
            routes: ArrayVec::new_const(),
            prefixes: ArrayVec::new_const(),
            redirects: Redirects::new(),
            changed: false,
        }
    }

    /// Whether next hops may be others since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// The neighbour that packets to the unicast address `destination` go to.
    pub(crate) fn next(&self, destination: Ipv6Addr, neighbors: &Neighbors) -> Option<Ipv6Addr> {
        if destination.is_unicast_link_local() {
            return Some(destination);
        }
        if let Some(hop) = self.redirects.hop(destination) {
            return Some(hop);
        }
        if self.is_on_link(destination) {
            return Some(destination);
        }
        // RFC 4191, 3.2: reachable routers before all others, then the longest
        // prefix, then preference.
        self.routes
            .iter()
            .rev()
            .filter(|route| route.to.contains(destination))
            .max_by_key(|route| {
                let reachable = neighbors.may_be_reachable(route.router);
                (reachable, route.to.prefix(), route.preference)
            })
            .map(|route| route.router)
    }

    /// The bits of the longest prefix by which a way to the unicast address
    /// `destination` is known.
    pub(crate) fn reach(&self, destination: Ipv6Addr) -> Option<u8> {
        if destination.is_unicast_link_local() {
            return Some(64);
        }
        if self.redirects.hop(destination).is_some() {
            return Some(128);
        }
        let prefixes = self.prefixes.iter().map(|known| known.prefix);
        let routes = self.routes.iter().map(|route| route.to);
        let all = prefixes.chain(routes);
        all.filter(|prefix| prefix.contains(destination))
            .map(|prefix| prefix.prefix())
            .max()
    }

    /// Whether `address` lies under a prefix of the link.
    pub(crate) fn is_on_link(&self, address: Ipv6Addr) -> bool {
        address.is_unicast_link_local()
            || self
                .prefixes
                .iter()
                .any(|known| known.prefix.contains(address))
    }

    /// Whether `router` is a default router.
    pub(crate) fn is_default_router(&self, router: Ipv6Addr) -> bool {
        let found = |route: &Route| route.router == router && route.to == DEFAULT;
        self.routes.iter().any(found)
    }

    /// Whether there is a default router.
    pub(crate) fn has_default_router(&self) -> bool {
        self.routes.iter().any(|route| route.to == DEFAULT)
    }

    /// A prefix is on the link until then; a time that is not ahead takes it
    /// back. Of too many, the first stay, as do those given by hand.
    pub(crate) fn set_on_link(&mut self, now: Instant, prefix: Ipv6Cidr, until: Instant) {
        let prefix = prefix.network();
        let known = self.prefixes.iter().position(|old| old.prefix == prefix);
        let by_hand = |old: &OnLink| old.until == Instant::FAR_FUTURE;
        match known {
            Some(index) if self.prefixes.get(index).is_some_and(by_hand) => {}
            Some(index) if until <= now => {
                self.prefixes.remove(index);
                self.changed = true;
            }
            Some(index) => {
                if let Some(old) = self.prefixes.get_mut(index) {
                    old.until = until;
                }
            }
            None if until > now => {
                let new = OnLink { prefix, until };
                self.changed |= self.prefixes.try_push(new).is_ok();
            }
            None => {}
        }
    }

    /// `router` is a default router until then.
    pub(crate) fn set_default(
        &mut self,
        now: Instant,
        router: Ipv6Addr,
        preference: Preference,
        until: Instant,
    ) -> Option<RouterChange> {
        self.set_route(now, DEFAULT, router, preference, until)
    }

    /// `router` leads to `to` until then; a time that is not ahead takes it
    /// back. A route given by hand stays as it is.
    pub(crate) fn set_route(
        &mut self,
        now: Instant,
        to: Ipv6Cidr,
        router: Ipv6Addr,
        preference: Preference,
        until: Instant,
    ) -> Option<RouterChange> {
        let to = to.network();
        let known = self
            .routes
            .iter()
            .position(|route| route.to == to && route.router == router);
        if let Some(index) = known {
            let route = self.routes.get_mut(index)?;
            if route.until == Instant::FAR_FUTURE && until != Instant::FAR_FUTURE {
                return None;
            }
            if until <= now {
                self.routes.remove(index);
                self.forget_hop(router);
                self.changed = true;
                return Some(RouterChange::Down);
            }
            self.changed |= route.preference != preference;
            (route.preference, route.until) = (preference, until);
            return None;
        }
        if until <= now {
            return None;
        }
        let new = Route {
            to,
            router,
            preference,
            until,
        };
        self.routes.try_push(new).ok()?;
        self.changed = true;
        Some(RouterChange::Up)
    }

    /// A router said that `destination` is better reached through `hop`.
    pub(crate) fn redirect(&mut self, destination: Ipv6Addr, hop: Ipv6Addr) {
        self.redirects.set(destination, hop, Instant::FAR_FUTURE);
        self.changed = true;
    }

    /// `hop` did not answer: redirects to it are void (RFC 4861, 7.3.3), and
    /// other routers get their turn before it.
    pub(crate) fn failed(&mut self, hop: Ipv6Addr) {
        self.forget_hop(hop);
        let (mut others, mut own) = (ArrayVec::<Route, MAX_ROUTES>::new(), ArrayVec::new());
        for route in self.routes.drain(..) {
            if route.router == hop {
                own.push(route);
            } else {
                others.push(route);
            }
        }
        let own: ArrayVec<Route, MAX_ROUTES> = own;
        self.changed |= !own.is_empty();
        others.extend(own);
        self.routes = others;
    }

    /// `router` turned out to be none (RFC 4861, 7.2.5). Returns whether it was
    /// a default router.
    pub(crate) fn no_router(&mut self, router: Ipv6Addr) -> bool {
        let was = self.is_default_router(router);
        self.routes
            .retain(|route| route.router != router || route.until == Instant::FAR_FUTURE);
        self.forget_hop(router);
        self.changed = true;
        was && !self.is_default_router(router)
    }

    fn forget_hop(&mut self, hop: Ipv6Addr) {
        self.changed |= self.redirects.forget_hop(hop);
    }

    /// Lets go of what is not valid any more; returns default routers that
    /// went.
    pub(crate) fn expire(&mut self, now: Instant) -> ArrayVec<Ipv6Addr, MAX_ROUTES> {
        let gone: ArrayVec<Route, MAX_ROUTES> = self
            .routes
            .iter()
            .filter(|route| route.until <= now)
            .copied()
            .collect();
        let before = self.prefixes.len();
        self.prefixes.retain(|known| known.until > now);
        self.changed |= self.prefixes.len() != before || !gone.is_empty();
        self.routes.retain(|route| route.until > now);
        for route in &gone {
            self.forget_hop(route.router);
        }
        gone.iter()
            .filter(|route| route.to == DEFAULT)
            .map(|route| route.router)
            .collect()
    }

    /// When [`expire`](Self::expire) next has work; the far future for never.
    pub(crate) fn deadline(&self) -> Instant {
        let routes = self.routes.iter().map(|route| route.until);
        let prefixes = self.prefixes.iter().map(|known| known.until);
        routes.chain(prefixes).min().unwrap_or(Instant::FAR_FUTURE)
    }
}
