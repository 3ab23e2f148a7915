//! The neighbour cache: which Ethernet address an IPv4 address on the link has.
//!
//! The states are those of RFC 4861, 7.3.2, which ARP lacks a notion of, with
//! the timings of RFC 1122, 2.3.2.1. Only this host's own need to send makes
//! the cache ask; what others say unasked is kept as [`Stale`](State::Stale)
//! and verified at its first use.
//!
//! Memory is fixed. What an attacker can make up never displaces what has been
//! verified: entries that were learned unasked give way first, then those that
//! nobody has answered for. Verified entries leave at least
//! `CAPACITY - MAX_VERIFIED` slots to them, and among themselves the least
//! recently used gives way.

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use super::{InterfaceId, MAX_INTERFACES};
use crate::wire::MacAddr;

/// Most neighbours known or asked for at once.
pub(crate) const CAPACITY: usize = 128;
/// Most of them that are verified.
const MAX_VERIFIED: usize = 112;
/// RFC 1122, 2.3.2.1: "The recommended maximum rate is 1 per second per
/// destination."
pub(crate) const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests without an answer after which a neighbour counts as gone.
pub(crate) const TRIES: u8 = 3;
/// How long an answer holds (RFC 4861, 10: REACHABLE_TIME).
pub(crate) const REACHABLE: Duration = Duration::from_secs(30);
/// How long a verified Ethernet address withstands claims of another one, so
/// that two claimants cannot make it change with every packet.
const LOCK: Duration = Duration::from_secs(1);

/// From one generation to the next: those of different interfaces differ in what
/// is left when they are divided by it.
const STEP: u32 = MAX_INTERFACES as u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for by broadcast, `tries` times; no answer yet.
    Incomplete { tries: u8 },
    /// Answered within [`REACHABLE`].
    Reachable,
    /// Known, but not verified of late: used all the same, and polled then.
    Stale,
    /// In use while polled by unicast, `tries` times so far.
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
    address: Ipv4Addr,
    mac: MacAddr,
    state: State,
    worth: Worth,
    /// When it was learned or last used, whichever is later.
    used: Instant,
    /// When the Ethernet address was last set or verified.
    updated: Instant,
    /// When the state's time is up.
    due: Instant,
    /// A flow may hold a copy of the Ethernet address.
    cached: bool,
}

/// What a sender is to do with its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Send it there.
    Known(MacAddr),
    /// Send it there, and poll the neighbour by unicast.
    Poll(MacAddr),
    /// Let it wait, and ask for the neighbour by broadcast. The neighbour in
    /// the field gave way: nobody asks for it any more.
    Ask(Option<Ipv4Addr>),
    /// Let it wait: the question is out already.
    Waiting,
}

/// What a message about a neighbour was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An address that packets may wait for is known now.
    Resolved,
    /// It told of an entry that exists.
    Known,
    /// It told of nobody in the cache.
    Unknown,
}

/// What is to be done for a neighbour whose time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask for it by broadcast, again.
    Ask(Ipv4Addr),
    /// Poll it by unicast.
    Poll(Ipv4Addr, MacAddr),
    /// It did not answer; the entry is gone.
    Failed(Ipv4Addr),
}

pub(crate) struct Neighbors {
    entries: Vec<Entry>,
    /// Index of the entry found last: most often the next one too.
    last: usize,
    generation: u32,
    /// No entry is due before.
    next_due: Instant,
}

impl Neighbors {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(CAPACITY),
            last: 0,
            generation: 1,
            next_due: Instant::FAR_FUTURE,
        }
    }

    /// Changes whenever an Ethernet address that was marked as cached does, or
    /// wants to be asked for anew; never 0.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Something that depends on neighbours is due then: this table's deadline
    /// is no later, until [`expire`](Self::expire) next has work.
    pub(crate) fn note_due(&mut self, at: Option<Instant>) {
        self.next_due = self.next_due.min(at.unwrap_or(Instant::FAR_FUTURE));
    }

    /// A time before which nothing is due.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.next_due != Instant::FAR_FUTURE).then_some(self.next_due)
    }

    fn find(&mut self, address: Ipv4Addr) -> Option<&mut Entry> {
        let hit = self
            .entries
            .get(self.last)
            .is_some_and(|entry| entry.address == address);
        if !hit {
            self.last = self
                .entries
                .iter()
                .position(|entry| entry.address == address)?;
        }
        self.entries.get_mut(self.last)
    }

    /// Whether the Ethernet address of `address` is known.
    pub(crate) fn knows(&self, address: Ipv4Addr) -> bool {
        self.entries.iter().any(|entry| {
            entry.address == address && !matches!(entry.state, State::Incomplete { .. })
        })
    }

    /// The Ethernet address for a packet to `address`. Makes an entry, and the
    /// caller ask, when there is none.
    pub(crate) fn resolve(&mut self, now: Instant, address: Ipv4Addr) -> Resolution {
        if let Some(known) = self.lookup(now, address, false) {
            return known;
        }
        if let Some(entry) = self.find(address) {
            entry.used = now;
            return Resolution::Waiting;
        }
        let gone = self.make_room(Worth::Unverified);
        let due = now + RETRANSMIT;
        self.entries.push(Entry {
            address,
            mac: MacAddr::ZERO,
            state: State::Incomplete { tries: 1 },
            worth: Worth::Unverified,
            used: now,
            updated: now,
            due,
            cached: false,
        });
        self.next_due = self.next_due.min(due);
        Resolution::Ask(gone)
    }

    /// The Ethernet address of `address`, if there is one: `Known` or `Poll`.
    /// `cache` says that the caller keeps it until the generation changes.
    pub(crate) fn lookup(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        cache: bool,
    ) -> Option<Resolution> {
        let entry = self.find(address)?;
        if matches!(entry.state, State::Incomplete { .. }) {
            return None;
        }
        entry.used = now;
        entry.worth = entry.worth.max(Worth::Unverified);
        entry.cached |= cache;
        let mac = entry.mac;
        if entry.state != State::Stale {
            return Some(Resolution::Known(mac));
        }
        entry.state = State::Probe { tries: 1 };
        entry.due = now + RETRANSMIT;
        self.next_due = self.next_due.min(now + RETRANSMIT);
        Some(Resolution::Poll(mac))
    }

    /// The neighbour answered a question of ours, if it was asked one.
    pub(crate) fn answered(&mut self, now: Instant, address: Ipv4Addr, mac: MacAddr) -> Heard {
        let Some(entry) = self.find(address) else {
            return Heard::Unknown;
        };
        let was_incomplete = match entry.state {
            State::Incomplete { .. } => true,
            State::Probe { .. } => false,
            State::Reachable | State::Stale => return self.told(now, address, mac),
        };
        let changed = entry.mac != mac && entry.cached;
        entry.mac = mac;
        entry.state = State::Reachable;
        entry.worth = Worth::Verified;
        entry.updated = now;
        entry.due = now + REACHABLE;
        self.next_due = self.next_due.min(now + REACHABLE);
        if changed {
            self.bump();
        }
        self.bound_verified(address);
        if was_incomplete {
            Heard::Resolved
        } else {
            Heard::Known
        }
    }

    /// Somebody says unasked that `mac` has `address` (RFC 826's merge). Makes
    /// no entry.
    pub(crate) fn told(&mut self, now: Instant, address: Ipv4Addr, mac: MacAddr) -> Heard {
        let Some(entry) = self.find(address) else {
            return Heard::Unknown;
        };
        let was_incomplete = matches!(entry.state, State::Incomplete { .. });
        let locked = now.since(entry.updated) < LOCK;
        if !was_incomplete && (entry.mac == mac || locked) {
            return Heard::Known;
        }
        let changed = entry.cached;
        entry.mac = mac;
        entry.state = State::Stale;
        entry.updated = now;
        entry.due = Instant::FAR_FUTURE;
        if changed {
            self.bump();
        }
        if was_incomplete {
            Heard::Resolved
        } else {
            Heard::Known
        }
    }

    /// Keeps who asked for us: most likely we are about to send there. Takes a
    /// free slot or that of the oldest of its kind, never another's.
    pub(crate) fn learn(&mut self, now: Instant, address: Ipv4Addr, mac: MacAddr) {
        if self.entries.len() == CAPACITY && !self.evict(Worth::Learned) {
            return;
        }
        self.entries.push(Entry {
            address,
            mac,
            state: State::Stale,
            worth: Worth::Learned,
            used: now,
            updated: now,
            due: Instant::FAR_FUTURE,
            cached: false,
        });
    }

    /// What is due, in order of the entries. Entries of neighbours that did not
    /// answer are gone afterwards.
    pub(crate) fn expire(&mut self, now: Instant) -> ArrayVec<Due, CAPACITY> {
        let mut all = ArrayVec::new();
        if now < self.next_due {
            return all;
        }
        let mut next_due = Instant::FAR_FUTURE;
        let mut index = 0;
        while let Some(entry) = self.entries.get_mut(index) {
            if entry.due <= now {
                match entry.step(now) {
                    Step::Keep(due) => all.extend(due),
                    Step::Remove(due) => {
                        all.extend(due);
                        self.remove(index);
                        continue;
                    }
                    Step::Age => self.age(index),
                }
            }
            next_due = next_due.min(self.entries.get(index).map_or(next_due, |entry| entry.due));
            index += 1;
        }
        self.next_due = next_due;
        all
    }

    /// The entry's word is old. Flows that hold it come and ask again, which
    /// verifies it: silent flows never know.
    fn age(&mut self, index: usize) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.state = State::Stale;
        entry.due = Instant::FAR_FUTURE;
        if core::mem::take(&mut entry.cached) {
            self.bump();
        }
    }

    /// Has everybody who holds an Ethernet address ask again.
    pub(crate) fn bump(&mut self) {
        let next = self.generation.wrapping_add(STEP);
        self.generation = if next == 0 { STEP } else { next };
    }

    /// Makes generations those of interface `id`, which no other one has.
    pub(super) fn number(&mut self, id: InterfaceId) {
        self.generation = id.zone();
    }

    fn remove(&mut self, index: usize) {
        if index < self.entries.len() && self.entries.swap_remove(index).cached {
            self.bump();
        }
    }

    /// Makes room for an entry that is worth `worth`. Returns who gave way if
    /// packets may wait for it.
    fn make_room(&mut self, worth: Worth) -> Option<Ipv4Addr> {
        if self.entries.len() < CAPACITY {
            return None;
        }
        let index = self.least_useful(worth)?;
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
    fn bound_verified(&mut self, newest: Ipv4Addr) {
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
}

/// What an entry whose time is up turns into.
enum Step {
    Keep(Option<Due>),
    Remove(Option<Due>),
    Age,
}

impl Entry {
    fn step(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Incomplete { tries } if *tries >= TRIES => {
                Step::Remove(Some(Due::Failed(self.address)))
            }
            // It may have moved to another Ethernet address: the next packet
            // asks everybody.
            State::Probe { tries } if *tries >= TRIES => Step::Remove(None),
            State::Incomplete { tries } => {
                *tries += 1;
                self.due = now + RETRANSMIT;
                Step::Keep(Some(Due::Ask(self.address)))
            }
            State::Probe { tries } => {
                *tries += 1;
                self.due = now + RETRANSMIT;
                Step::Keep(Some(Due::Poll(self.address, self.mac)))
            }
            State::Reachable => Step::Age,
            State::Stale => {
                self.due = Instant::FAR_FUTURE;
                Step::Keep(None)
            }
        }
    }
}
