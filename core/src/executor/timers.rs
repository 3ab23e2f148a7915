//! The tasks' timers: a binary heap that knows where each timer sits.
//!
//! Dropping a [`Sleep`](super::Sleep) takes its timer out at once, so the memory
//! is bounded by the timers that exist, and the loop never wakes for one that
//! was cancelled. A timeout that is set and cancelled around every read sits
//! at the heap's bottom, where both are a few instructions.

use alloc::vec::Vec;
use core::task::Waker;

use pollwire_rings::Instant;

/// A timer's slot; valid until [`Timers::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId(u32);

const NOWHERE: u32 = u32::MAX;

struct Slot {
    /// Index in the heap, [`NOWHERE`] once fired or while free.
    position: u32,
    waker: Option<Waker>,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: Instant,
    slot: u32,
}

/// All timers of one executor.
#[derive(Default)]
pub(super) struct Timers {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fewer than 2^32 timers: each has a slot index of 32 bits"
)]
impl Timers {
    /// A timer that wakes `waker` at `deadline`.
    pub(super) fn insert(&mut self, deadline: Instant, waker: &Waker) -> TimerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                position: NOWHERE,
                waker: None,
            });
            // One entry per slot at most, so returning a slot never allocates.
            self.free.reserve(self.slots.len());
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize].waker = Some(waker.clone());
        self.heap.push(Entry { deadline, slot });
        self.sift_up(self.heap.len() - 1);
        TimerId(slot)
    }

    /// Makes a pending timer wake `waker` instead; `false` when it has fired.
    pub(super) fn set_waker(&mut self, id: TimerId, waker: &Waker) -> bool {
        let slot = &mut self.slots[id.0 as usize];
        if slot.position == NOWHERE {
            return false;
        }
        match &mut slot.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Removes a timer, fired or not; gives its waker back to be dropped by
    /// the caller, outside of any borrow.
    pub(super) fn remove(&mut self, id: TimerId) -> Option<Waker> {
        let slot = &mut self.slots[id.0 as usize];
        let (position, waker) = (slot.position, slot.waker.take());
        if position != NOWHERE {
            self.unlink(position as usize);
        }
        self.free.push(id.0);
        waker
    }

    /// The waker of a timer that is due at `now`; `None` when none is left.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        while let Some(first) = self.heap.first().copied()
            && first.deadline <= now
        {
            self.unlink(0);
            if let Some(waker) = self.slots[first.slot as usize].waker.take() {
                return Some(waker);
            }
        }
        None
    }

    /// When the next timer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Timers that have not fired.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.heap.len()
    }

    fn unlink(&mut self, position: usize) {
        let gone = self.heap.swap_remove(position);
        self.slots[gone.slot as usize].position = NOWHERE;
        if position < self.heap.len() {
            let settled = self.sift_up(position);
            self.sift_down(settled);
        }
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot as usize].position = position as u32;
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 2;
            let above = self.heap[parent];
            if above.deadline <= entry.deadline {
                break;
            }
            self.place(position, above);
            position = parent;
        }
        self.place(position, entry);
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let left = 2 * position + 1;
            let Some(mut below) = self.heap.get(left).copied() else {
                break;
            };
            let mut child = left;
            if let Some(right) = self.heap.get(left + 1)
                && right.deadline < below.deadline
            {
                below = *right;
                child = left + 1;
            }
            if entry.deadline <= below.deadline {
                break;
            }
            self.place(position, below);
            position = child;
        }
        self.place(position, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn fires_in_order_and_reuses_slots() {
        let mut timers = Timers::default();
        let ids: Vec<_> = [30, 10, 20]
            .iter()
            .map(|&ms| timers.insert(at(ms), Waker::noop()))
            .collect();
        assert_eq!(timers.deadline(), Some(at(10)));
        assert!(timers.pop_due(at(9)).is_none());
        assert!(timers.pop_due(at(20)).is_some());
        assert!(timers.pop_due(at(20)).is_some());
        assert!(timers.pop_due(at(20)).is_none());
        assert!(!timers.set_waker(ids[1], Waker::noop()), "it has fired");
        assert!(timers.set_waker(ids[0], Waker::noop()));
        for id in ids {
            timers.remove(id);
        }
        assert_eq!(timers.deadline(), None);
        timers.insert(at(1), Waker::noop());
        assert_eq!(timers.slots.len(), 3, "slots are reused");
    }

    proptest! {
        /// Against a plain sorted list, under any order of insert, remove, pop.
        #[test]
        fn agrees_with_a_sorted_list(steps in prop::collection::vec((0u8..3, 0u64..50), 1..200)) {
            let mut timers = Timers::default();
            let mut model: Vec<(u64, TimerId)> = Vec::new();
            for (what, value) in steps {
                match what {
                    0 => model.push((value, timers.insert(at(value), Waker::noop()))),
                    1 if !model.is_empty() => {
                        let (_, id) = model.swap_remove(value as usize % model.len());
                        timers.remove(id);
                    }
                    _ => {
                        let mut fired = 0;
                        while timers.pop_due(at(value)).is_some() {
                            fired += 1;
                        }
                        let (due, rest): (Vec<_>, Vec<_>) =
                            model.into_iter().partition(|(deadline, _)| *deadline <= value);
                        prop_assert_eq!(due.len(), fired);
                        for (_, id) in due {
                            timers.remove(id);
                        }
                        model = rest;
                    }
                }
                prop_assert_eq!(timers.pending(), model.len());
                let next = model.iter().map(|(deadline, _)| at(*deadline)).min();
                prop_assert_eq!(timers.deadline(), next);
            }
        }
    }
}
