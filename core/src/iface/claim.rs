//! How this host comes to have an IPv4 address, and keeps it (RFC 5227).
//!
//! A configured address is announced at once: a unikernel serves from its first
//! millisecond, and whoever has the address already defends it, which is
//! counted and logged. One that a DHCP server gave, and a configured one where
//! asked, is probed for first.

use core::net::Ipv4Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use super::routes::Origin;
use super::{Ipv4Cidr, MAX_ADDRESSES};
use crate::random::Random;

/// RFC 5227, 1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u8 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_NUM: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What is to be done next for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Ask whether somebody has it; asked so often.
    Probe(u8),
    /// Tell that it is ours, so many times more.
    Announce(u8),
    /// Nothing.
    Settled,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    own: Ipv4Cidr,
    origin: Origin,
    phase: Phase,
    due: Instant,
    /// When it was last defended.
    defended: Option<Instant>,
}

/// What a claim's time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask whether somebody has the address.
    Probe(Ipv4Addr),
    /// Nobody has it: it is ours. An announcement follows.
    Use(Ipv4Cidr),
    /// Tell that it is ours.
    Announce(Ipv4Cidr),
}

/// What to do about another station that uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Announce it.
    Defend,
    /// It was defended a moment ago.
    Bear,
    /// Give the address up: it was only being probed for, or a DHCP server can
    /// give another.
    Yield(Origin),
}

/// All addresses, those probed for included.
pub(super) struct Claims {
    list: ArrayVec<Claim, MAX_ADDRESSES>,
}

impl Claims {
    pub(super) const fn new() -> Self {
        Self {
            list: ArrayVec::new_const(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Claims an address: at once, or after probing for it from `probe` on.
    /// `false` when there is no room, or it is claimed already.
    pub(super) fn add(&mut self, own: Ipv4Cidr, origin: Origin, probe: Option<Instant>) -> bool {
        let (phase, due) = match probe {
            Some(at) => (Phase::Probe(0), at),
            None => (Phase::Announce(ANNOUNCE_NUM), Instant::ZERO),
        };
        let claim = Claim {
            own,
            origin,
            phase,
            due,
            defended: None,
        };
        self.find(own.address()).is_none() && self.list.try_push(claim).is_ok()
    }

    /// When the first probe is sent.
    ///
    /// RFC 5227, 2.1.1: "When ready to begin probing, the host should then wait
    /// for a random time interval selected uniformly in the range zero to
    /// PROBE_WAIT seconds".
    pub(super) fn first_probe(now: Instant, random: &mut Random) -> Instant {
        now + random_between(random, Duration::ZERO, PROBE_WAIT)
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        self.list.retain(|claim| claim.own.address() != address);
    }

    pub(super) fn origin(&self, address: Ipv4Addr) -> Option<Origin> {
        self.find(address).map(|claim| claim.origin)
    }

    /// Whether the address is being probed for.
    pub(super) fn is_probed(&self, address: Ipv4Addr) -> bool {
        self.find(address)
            .is_some_and(|claim| matches!(claim.phase, Phase::Probe(_)))
    }

    /// Whether the address is claimed, be it only probed for.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.find(address).is_some()
    }

    fn find(&self, address: Ipv4Addr) -> Option<&Claim> {
        self.list
            .iter()
            .find(|claim| claim.own.address() == address)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list
            .iter()
            .filter(|claim| claim.phase != Phase::Settled)
            .map(|claim| claim.due)
            .min()
    }

    /// Takes one thing that is due.
    pub(super) fn next_due(&mut self, now: Instant, random: &mut Random) -> Option<Due> {
        let claim = self
            .list
            .iter_mut()
            .find(|claim| claim.phase != Phase::Settled && claim.due <= now)?;
        let (due, phase, wait) = match claim.phase {
            Phase::Probe(sent) if sent < PROBE_NUM => {
                let wait = if sent + 1 < PROBE_NUM {
                    random_between(random, PROBE_MIN, PROBE_MAX)
                } else {
                    ANNOUNCE_WAIT
                };
                (
                    Due::Probe(claim.own.address()),
                    Phase::Probe(sent + 1),
                    wait,
                )
            }
            Phase::Probe(_) => (
                Due::Use(claim.own),
                Phase::Announce(ANNOUNCE_NUM),
                Duration::ZERO,
            ),
            Phase::Announce(left) if left > 1 => (
                Due::Announce(claim.own),
                Phase::Announce(left - 1),
                ANNOUNCE_INTERVAL,
            ),
            Phase::Announce(_) | Phase::Settled => {
                (Due::Announce(claim.own), Phase::Settled, Duration::ZERO)
            }
        };
        claim.phase = phase;
        claim.due = now + wait;
        Some(due)
    }

    /// Another station uses the address, or probes for one that we probe for.
    ///
    /// RFC 5227, 2.4: configured addresses are defended whatever happens, as in
    /// (c), but only once within DEFEND_INTERVAL; those that a DHCP server gave
    /// are given up at the second conflict within it, as in (b).
    pub(super) fn conflict(&mut self, now: Instant, address: Ipv4Addr) -> Conflict {
        let claim = self
            .list
            .iter_mut()
            .find(|claim| claim.own.address() == address);
        let Some(claim) = claim else {
            return Conflict::Bear;
        };
        let lately = claim
            .defended
            .is_some_and(|last| now.since(last) < DEFEND_INTERVAL);
        match (claim.phase, claim.origin) {
            (Phase::Probe(_), origin) => Conflict::Yield(origin),
            (_, Origin::Dhcp) if lately => Conflict::Yield(Origin::Dhcp),
            _ if lately => Conflict::Bear,
            _ => {
                claim.defended = Some(now);
                Conflict::Defend
            }
        }
    }
}

/// A random time from `least` to `most`.
pub(crate) fn random_between(random: &mut Random, least: Duration, most: Duration) -> Duration {
    let span = most.saturating_sub(least).as_millis();
    let span = u32::try_from(span).unwrap_or(u32::MAX);
    least + Duration::from_millis(random.below(span.saturating_add(1)).into())
}
