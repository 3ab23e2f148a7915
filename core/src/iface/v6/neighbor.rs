//! The neighbour cache of IPv6: the states and transitions of RFC 4861, 7.3.
//!
//! Memory is fixed, and the same rules protect it as protect ARP's cache: what
//! an attacker can make up never displaces what has been verified.

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use crate::wire::MacAddr;
use crate::wire::ndp::NeighborAdvertisement;

/// Most neighbours known or asked for at once.
pub(crate) const CAPACITY: usize = 128;
/// Most of them that are verified.
const MAX_VERIFIED: usize = 112;
/// RFC 4861, 10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT.
pub(crate) const TRIES: u8 = 3;
/// RFC 4861, 10: DELAY_FIRST_PROBE_TIME.
pub(crate) const DELAY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for in its group, `tries` times; no answer yet.
    Incomplete { tries: u8 },
    /// Known to have been reachable within the reachable time.
    Reachable,
    /// Not known to be reachable any more: used all the same.
    Stale,
    /// Used while stale: upper layers have a moment to tell of progress.
    Delay,
    /// In use while asked by unicast, `tries` times so far.
    Probe { tries: u8 },
}

/// How readily an entry gives way: the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Learned unasked and never used.
    Learned,
    /// Used, but never verified.
    Unverified,
    /// Answered us at least once.
    Verified,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: Ipv6Addr,
    mac: MacAddr,
    state: State,
    worth: Worth,
    used: Instant,
    due: Instant,
    /// A flow may hold a copy of the Ethernet address.
    cached: bool,
    is_router: bool,
}

/// What a sender is to do with its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Send it there.
    Known(MacAddr),
    /// Let it wait, and ask. The neighbour in the field gave way: nobody asks
    /// for it any more.
    Ask(Option<Ipv6Addr>),
    /// Let it wait: the question is out already.
    Waiting,
}

/// What a message about a neighbour changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// There is an entry for it.
    pub(crate) known: bool,
    /// Packets may wait for this Ethernet address, which is known now.
    pub(crate) resolved: Option<MacAddr>,
    /// It was a router and is none any more (RFC 4861, 7.2.5).
    pub(crate) no_router: bool,
}

/// What is to be done for a neighbour whose time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask for it in its group, again.
    Ask(Ipv6Addr),
    /// Ask it by unicast; the first time round unless somebody heard from it.
    Probe {
        address: Ipv6Addr,
        mac: MacAddr,
        first: bool,
    },
    /// It did not answer; the entry is gone.
    Failed(Ipv6Addr),
}

/// The times that routers may set (RFC 4861, 6.3.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long an answer holds.
    pub(crate) reachable: Duration,
    /// Between solicitations.
    pub(crate) retransmit: Duration,
}

impl Timing {
    /// RFC 4861, 10: REACHABLE_TIME and RETRANS_TIMER.
    pub(crate) const DEFAULT: Self = Self {
        reachable: Duration::from_secs(30),
        retransmit: Duration::from_secs(1),
    };
}

/// The cache.
pub(crate) struct Neighbors {
    entries: Vec<Entry>,
    last: usize,
    pub(crate) timing: Timing,
    /// No entry is due before.
    next_due: Instant,
    /// An Ethernet address that was handed out to be kept is void.
    changed: bool,
}

impl Neighbors {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            last: 0,
            timing: Timing::DEFAULT,
            next_due: Instant::FAR_FUTURE,
            changed: false,
        }
    }

    /// Whether kept Ethernet addresses are void since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// A time before which nothing is due; the far future when nothing is.
    pub(crate) fn deadline(&self) -> Instant {
        self.next_due
    }

    fn position(&self, address: Ipv6Addr) -> Option<usize> {
        let hit = self.entries.get(self.last);
        if hit.is_some_and(|entry| entry.address == address) {
            return Some(self.last);
        }
        self.entries
            .iter()
            .position(|entry| entry.address == address)
    }

    fn find(&mut self, address: Ipv6Addr) -> Option<&mut Entry> {
        self.last = self.position(address)?;
        self.entries.get_mut(self.last)
    }

    /// The Ethernet address for a packet to `address`. Makes an entry, and the
    /// caller ask, when there is none.
    pub(crate) fn resolve(&mut self, now: Instant, address: Ipv6Addr) -> Resolution {
        if let Some(mac) = self.lookup(now, address, false) {
            return Resolution::Known(mac);
        }
        if let Some(entry) = self.find(address) {
            entry.used = now;
            return Resolution::Waiting;
        }
        let gone = self.make_room();
        let due = now + self.timing.retransmit;
        self.entries.push(Entry {
            address,
            mac: MacAddr::ZERO,
            state: State::Incomplete { tries: 1 },
            worth: Worth::Unverified,
            used: now,
            due,
            cached: false,
            is_router: false,
        });
        self.next_due = self.next_due.min(due);
        Resolution::Ask(gone)
    }

    /// The Ethernet address of `address`, if it is known. `cache` says that the
    /// caller keeps it until it is void.
    ///
    /// RFC 4861, 7.3.3: "The first time a node sends a packet to a neighbor
    /// whose entry is STALE, the sender changes the state to DELAY".
    pub(crate) fn lookup(
        &mut self,
        now: Instant,
        address: Ipv6Addr,
        cache: bool,
    ) -> Option<MacAddr> {
        let entry = self.find(address)?;
        if matches!(entry.state, State::Incomplete { .. }) {
            return None;
        }
        entry.used = now;
        entry.worth = entry.worth.max(Worth::Unverified);
        entry.cached |= cache;
        let mac = entry.mac;
        if entry.state == State::Stale {
            entry.state = State::Delay;
            entry.due = now + DELAY;
            self.next_due = self.next_due.min(now + DELAY);
        }
        Some(mac)
    }

    /// A neighbour advertisement that was checked (RFC 4861, 7.2.5).
    pub(crate) fn advertised(
        &mut self,
        now: Instant,
        said: &NeighborAdvertisement,
        mac: Option<MacAddr>,
    ) -> Heard {
        let reachable_until = now + self.timing.reachable;
        let Some(entry) = self.find(said.target) else {
            return Heard::default();
        };
        let mut heard = Heard {
            known: true,
            ..Heard::default()
        };
        let incomplete = matches!(entry.state, State::Incomplete { .. });
        let differs = mac.is_some_and(|mac| mac != entry.mac);
        if incomplete {
            // "If the link layer has addresses and no Target Link-Layer Address
            // option is included, the receiving node SHOULD silently discard
            // the received advertisement."
            let Some(mac) = mac else {
                return heard;
            };
            entry.mac = mac;
            entry.set_state(said.solicited, reachable_until);
            heard.resolved = Some(mac);
        } else if !said.replaces && differs {
            // "If the state of the entry is REACHABLE, set it to STALE, but do
            // not update the entry in any other way."
            if entry.state == State::Reachable {
                entry.set_state(false, reachable_until);
            }
            return heard;
        } else {
            if let Some(mac) = mac {
                entry.mac = mac;
            }
            if said.solicited {
                entry.set_state(true, reachable_until);
            } else if differs {
                entry.set_state(false, reachable_until);
            }
        }
        heard.no_router = entry.is_router && !said.router;
        entry.is_router = said.router;
        let void = differs && !incomplete && core::mem::take(&mut entry.cached);
        let verified = entry.worth == Worth::Verified;
        self.changed |= void;
        self.next_due = self.next_due.min(reachable_until);
        if verified {
            self.bound_verified(said.target);
        }
        heard
    }

    /// Somebody told its Ethernet address beside the point: in a solicitation,
    /// a router's message or a redirect (RFC 4861, 7.2.3 and 6.3.4). Makes an
    /// entry, but displaces nothing that was ever used.
    pub(crate) fn told(
        &mut self,
        now: Instant,
        address: Ipv6Addr,
        mac: MacAddr,
        is_router: bool,
    ) -> Heard {
        let mut heard = Heard {
            known: true,
            ..Heard::default()
        };
        if let Some(entry) = self.find(address) {
            entry.is_router |= is_router;
            if entry.mac == mac && !matches!(entry.state, State::Incomplete { .. }) {
                return heard;
            }
            if matches!(entry.state, State::Incomplete { .. }) {
                heard.resolved = Some(mac);
            }
            entry.mac = mac;
            entry.set_state(false, now);
            let void = core::mem::take(&mut entry.cached);
            self.changed |= void;
            return heard;
        }
        if self.entries.len() >= CAPACITY && !self.evict(Worth::Learned) {
            return Heard::default();
        }
        self.entries.push(Entry {
            address,
            mac,
            state: State::Stale,
            worth: Worth::Learned,
            used: now,
            due: Instant::FAR_FUTURE,
            cached: false,
            is_router,
        });
        heard
    }

    /// An upper layer made progress with the help of `address` (RFC 4861,
    /// 7.3.1).
    pub(crate) fn confirm(&mut self, now: Instant, address: Ipv6Addr) {
        let until = now + self.timing.reachable;
        if let Some(entry) = self.find(address)
            && !matches!(entry.state, State::Incomplete { .. })
        {
            entry.set_state(true, until);
            self.next_due = self.next_due.min(until);
        }
    }

    /// Whether `address` is reachable or may be (RFC 4861, 6.3.6: "in any state
    /// other than INCOMPLETE").
    pub(crate) fn may_be_reachable(&self, address: Ipv6Addr) -> bool {
        self.position(address)
            .and_then(|index| self.entries.get(index))
            .is_some_and(|entry| !matches!(entry.state, State::Incomplete { .. }))
    }

    /// What is due, in order of the entries. Entries of neighbours that did not
    /// answer are gone afterwards.
    pub(crate) fn expire(&mut self, now: Instant) -> ArrayVec<Due, CAPACITY> {
        let mut all = ArrayVec::new();
        if now < self.next_due {
            return all;
        }
        let retransmit = now + self.timing.retransmit;
        let mut next_due = Instant::FAR_FUTURE;
        let mut index = 0;
        while let Some(entry) = self.entries.get_mut(index) {
            if entry.due <= now {
                let due = entry.step(retransmit);
                if entry.state == State::Stale {
                    self.changed |= core::mem::take(&mut entry.cached);
                }
                all.extend(due);
                if matches!(due, Some(Due::Failed(_))) {
                    self.remove(index);
                    continue;
                }
            }
            next_due = next_due.min(self.entries.get(index).map_or(next_due, |entry| entry.due));
            index += 1;
        }
        self.next_due = next_due;
        all
    }

    fn remove(&mut self, index: usize) {
        if index < self.entries.len() && self.entries.swap_remove(index).cached {
            self.changed = true;
        }
    }

    /// Makes room for an entry that is asked for. Returns who gave way if
    /// packets may wait for it.
    fn make_room(&mut self) -> Option<Ipv6Addr> {
        if self.entries.len() < CAPACITY {
            return None;
        }
        let index = self.least_useful(Worth::Unverified)?;
        let address = self.entries.get(index).map(|entry| entry.address);
        self.remove(index);
        address
    }

    /// Removes the least useful entry worth at most `worth`, if there is one.
    fn evict(&mut self, worth: Worth) -> bool {
        let index = self.least_useful(worth);
        if let Some(index) = index {
            self.remove(index);
        }
        index.is_some()
    }

    fn least_useful(&self, at_most: Worth) -> Option<usize> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.worth <= at_most)
            .min_by_key(|(_, entry)| (entry.worth, entry.used))
            .map(|(index, _)| index)
    }

    /// Lets the least recently used verified entry go when there are too many
    /// of them; `newest` stays.
    fn bound_verified(&mut self, newest: Ipv6Addr) {
        let verified = |entry: &Entry| entry.worth == Worth::Verified;
        if self.entries.iter().filter(|entry| verified(entry)).count() <= MAX_VERIFIED {
            return;
        }
        let oldest = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| verified(entry) && entry.address != newest)
            .min_by_key(|(_, entry)| entry.used)
            .map(|(index, _)| index);
        if let Some(index) = oldest {
            self.remove(index);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name of an entry's state.
    #[cfg(test)]
    pub(crate) fn state(&self, address: Ipv6Addr) -> Option<&'static str> {
        let entry = self.entries.get(self.position(address)?)?;
        Some(match entry.state {
            State::Incomplete { .. } => "INCOMPLETE",
            State::Reachable => "REACHABLE",
            State::Stale => "STALE",
            State::Delay => "DELAY",
            State::Probe { .. } => "PROBE",
        })
    }
}

impl Entry {
    /// REACHABLE until then, or STALE.
    fn set_state(&mut self, reachable: bool, until: Instant) {
        if reachable {
            self.state = State::Reachable;
            self.worth = Worth::Verified;
            self.due = until;
        } else {
            self.state = State::Stale;
            self.due = Instant::FAR_FUTURE;
        }
    }

    /// Its time is up: what it turns into, and what is to be done.
    fn step(&mut self, retransmit: Instant) -> Option<Due> {
        let address = self.address;
        let probe = |mac, first| Due::Probe {
            address,
            mac,
            first,
        };
        match &mut self.state {
            State::Incomplete { tries } | State::Probe { tries } if *tries >= TRIES => {
                Some(Due::Failed(address))
            }
            State::Incomplete { tries } => {
                *tries += 1;
                self.due = retransmit;
                Some(Due::Ask(address))
            }
            State::Probe { tries } => {
                *tries += 1;
                self.due = retransmit;
                Some(probe(self.mac, false))
            }
            State::Delay => {
                self.state = State::Probe { tries: 1 };
                self.due = retransmit;
                Some(probe(self.mac, true))
            }
            State::Reachable | State::Stale => {
                self.set_state(false, retransmit);
                None
            }
        }
    }
}
