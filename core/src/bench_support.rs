//! The flow table and the timer wheel, opened to the benches and to nobody
//! else: not part of the interface, and only there with the feature `bench`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use pollwire_rings::{Instant, Region};

use crate::FlowKey;
use crate::flow::{FlowTable, Slot};
use crate::timer_wheel::{Link, TimerWheel};

/// A flow table and the keys in it.
pub struct Flows {
    table: FlowTable,
    keys: Vec<FlowKey>,
}

impl core::fmt::Debug for Flows {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Flows").finish_non_exhaustive()
    }
}

impl Flows {
    /// A table of `count` flows to one server, as full as a table gets.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let slots = (0..2 * count.next_power_of_two()).map(|_| Slot::EMPTY);
        let mut table = FlowTable::new(Region::from_box(slots.collect()), (1, 2));
        let local = SocketAddr::from(([10, 0, 0, 2], 80));
        let keys: Vec<FlowKey> = (0..count)
            .map(|index| {
                let [_, high, low, port] = index.to_be_bytes();
                let peer = Ipv4Addr::new(10, 1, high, low);
                FlowKey::new(local, SocketAddr::from((peer, 40_000 + u16::from(port))))
            })
            .collect();
        for (index, key) in (0..).zip(&keys) {
            table.insert(table.hash(key), index);
        }
        Self { table, keys }
    }

    /// The key of flow `index`.
    #[must_use]
    pub fn key(&self, index: usize) -> Option<FlowKey> {
        self.keys.get(index).copied()
    }

    /// Looks a flow up as input does: hash, probe, compare.
    #[must_use]
    #[inline]
    pub fn find(&self, key: &FlowKey) -> Option<u32> {
        self.table.lookup(self.table.hash(key), |index| {
            self.keys.get(index as usize) == Some(key)
        })
    }
}

/// A timer wheel.
pub struct Timers(TimerWheel);

impl core::fmt::Debug for Timers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

impl Timers {
    /// Timers `0..count`, none armed.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let links: Box<[Link]> = (0..count).map(|_| Link::EMPTY).collect();
        Self(TimerWheel::new(Region::from_box(links)))
    }

    /// Has timer `id` fire at `at`, or leaves it where it stands if that is
    /// earlier.
    #[inline]
    pub fn arm(&mut self, id: u32, at: Instant) {
        self.0.arm(id, at);
    }

    /// Disarms timer `id`.
    #[inline]
    pub fn cancel(&mut self, id: u32) {
        self.0.cancel(id);
    }

    /// Takes a timer that is due.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.0.pop_due(now)
    }

    /// When there is something to do.
    #[must_use]
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.next_deadline()
    }
}
