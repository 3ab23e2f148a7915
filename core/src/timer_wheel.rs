//! Timers: one per flow, in a hierarchical wheel (Varghese and Lauck).
//!
//! Eight levels of 64 slots cover all of a 64-bit clock at a tick of 2^16 ns
//! (65.5 µs). A timer stands on the level of the highest group of six bits in
//! which its tick differs from the present one, so within a level the slots
//! ahead are exactly those above the present position, nothing ever wraps, and
//! the next slot in use is the lowest bit set of the lowest level in use.
//!
//! Timers are links in memory of the caller's, named by index: arming, moving
//! and cancelling allocate nothing and take constant time. A timer moves down
//! a level at most seven times before it fires.

use pollwire_rings::{Instant, Region};

/// Nanoseconds of a tick, as a power of two.
const TICK_BITS: u32 = 16;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
const LAST_TICK: u64 = u64::MAX >> TICK_BITS;

/// A timer's links and time. All-zero is unarmed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Neighbours in the slot's list: index + 1, 0 for none.
    prev: u32,
    next: u32,
    /// Tick in the low 48 bits; above them where it stands: level * 64 + slot
    /// + 1, 0 for unarmed.
    place_tick: u64,
}

const _: () = assert!(size_of::<Link>() == 16);

impl Link {
    /// A timer that is not armed.
    pub(crate) const EMPTY: Self = Self {
        prev: 0,
        next: 0,
        place_tick: 0,
    };

    #[inline]
    const fn tick(&self) -> u64 {
        self.place_tick & LAST_TICK
    }

    /// Level and slot; `None` when unarmed.
    #[inline]
    const fn place(&self) -> Option<(usize, usize)> {
        match self.place_tick >> (u64::BITS - TICK_BITS) {
            0 => None,
            place => {
                let place = place as usize - 1;
                Some((place / SLOTS, place % SLOTS))
            }
        }
    }
}

/// The wheel.
pub(crate) struct TimerWheel {
    links: Region<Link>,
    /// Present tick: every armed timer is at or after it.
    now: u64,
    /// First timer of each slot: index + 1.
    heads: [[u32; SLOTS]; LEVELS],
    /// Slots in use of each level, one bit each.
    occupied: [u64; LEVELS],
    /// Levels in use, one bit each.
    levels: u8,
    /// No slot in use begins before this tick: spares most calls the search.
    soonest: u64,
}

/// Where a timer for `tick` stands when it is `now`.
#[inline]
const fn place_of(now: u64, tick: u64) -> (usize, usize) {
    let differs = (now ^ tick) | 1;
    let level = (u64::BITS - 1 - differs.leading_zeros()) / SLOT_BITS;
    let slot = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
    (level as usize, slot)
}

impl TimerWheel {
    /// Timers `0..links.len()`, none armed; `links` is all zero.
    pub(crate) fn new(links: Region<Link>) -> Self {
        Self {
            links,
            now: 0,
            heads: [[0; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            levels: 0,
            soonest: u64::MAX,
        }
    }

    /// Whether timer `id` is armed.
    #[cfg(test)]
    pub(crate) fn is_armed(&self, id: u32) -> bool {
        self.links
            .get(id as usize)
            .is_some_and(|link| link.place_tick != 0)
    }

    /// Has timer `id` fire at `at` or up to a tick later. One that already
    /// stands at or before that time stays where it is: whoever re-arms later
    /// and later, as each ACK does, pays nothing, and arms anew when it fires
    /// before its time has come.
    #[inline(always)]
    pub(crate) fn arm(&mut self, id: u32, at: Instant) {
        let stands = self
            .links
            .get(id as usize)
            .is_some_and(|link| link.place_tick != 0 && link.tick() << TICK_BITS <= at.as_nanos());
        if !stands {
            self.file(id, at);
        }
    }

    #[inline(never)]
    fn file(&mut self, id: u32, at: Instant) {
        let Some(link) = self.links.get(id as usize) else {
            return;
        };
        // Rounded up, so nothing fires early.
        let tick = at
            .as_nanos()
            .div_ceil(1 << TICK_BITS)
            .min(LAST_TICK)
            .max(self.now);
        if link.place_tick != 0 {
            if link.tick() <= tick {
                return;
            }
            self.unlink(id);
        }
        self.link(id, tick);
    }

    /// Disarms timer `id`.
    pub(crate) fn cancel(&mut self, id: u32) {
        self.unlink(id);
    }

    /// Takes a timer that is due at `now` and disarms it.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_nanos() >> TICK_BITS;
        if now < self.soonest {
            return None;
        }
        while let Some((level, slot, start)) = self.next_slot() {
            self.soonest = start;
            if start > now {
                break;
            }
            self.now = start;
            if level == 0 {
                let id = self.head(level, slot).checked_sub(1)?;
                self.unlink(id);
                return Some(id);
            }
            self.spread(level, slot);
        }
        // Everything armed is later than `now`, so all of it keeps its place.
        self.now = self.now.max(now);
        if self.levels == 0 {
            self.soonest = u64::MAX;
        }
        None
    }

    /// Moves all timers of the slot that has begun to levels below: what stood
    /// behind would be missed once time moves on within the slot.
    fn spread(&mut self, level: usize, slot: usize) {
        while let Some(id) = self.head(level, slot).checked_sub(1) {
            let Some(link) = self.links.get(id as usize) else {
                return;
            };
            let tick = link.tick();
            self.unlink(id);
            self.link(id, tick);
        }
    }

    /// Whether a timer may be due: no later than
    /// [`next_deadline`](Self::next_deadline).
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.levels != 0 && self.soonest <= now.as_nanos() >> TICK_BITS
    }

    /// When [`pop_due`](Self::pop_due) has something to do: never later than
    /// the first timer, and earlier only when timers must change level.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.levels == 0 {
            return None;
        }
        Some(Instant::from_nanos(
            self.soonest.saturating_mul(1 << TICK_BITS),
        ))
    }

    /// The first slot in use: level, slot, and the tick at which it begins.
    #[inline]
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied.get(level as usize)?.trailing_zeros();
        let below = level * SLOT_BITS;
        let block = self.now >> below >> SLOT_BITS << SLOT_BITS;
        let start = (block | u64::from(slot)) << below;
        Some((level as usize, slot as usize, start))
    }

    #[inline]
    fn head(&self, level: usize, slot: usize) -> u32 {
        self.heads
            .get(level)
            .and_then(|heads| heads.get(slot))
            .copied()
            .unwrap_or(0)
    }

    #[inline]
    fn set_head(&mut self, level: usize, slot: usize, head: u32) {
        let (Some(heads), Some(occupied)) =
            (self.heads.get_mut(level), self.occupied.get_mut(level))
        else {
            return;
        };
        if let Some(place) = heads.get_mut(slot) {
            *place = head;
        }
        let bit = 1_u64 << slot;
        *occupied = if head == 0 {
            *occupied & !bit
        } else {
            *occupied | bit
        };
        let bit = 1_u8 << level;
        self.levels = if *occupied == 0 {
            self.levels & !bit
        } else {
            self.levels | bit
        };
    }

    #[inline]
    fn link(&mut self, id: u32, tick: u64) {
        let (level, slot) = place_of(self.now, tick);
        // Its slot begins no earlier than the present tick.
        let begins = tick >> (level as u32 * SLOT_BITS) << (level as u32 * SLOT_BITS);
        self.soonest = self.soonest.min(begins.max(self.now));
        let next = self.head(level, slot);
        if let Some(next) = next
            .checked_sub(1)
            .and_then(|next| self.links.get_mut(next as usize))
        {
            next.prev = id + 1;
        }
        let place = (level * SLOTS + slot + 1) as u64;
        if let Some(link) = self.links.get_mut(id as usize) {
            *link = Link {
                prev: 0,
                next,
                place_tick: place << (u64::BITS - TICK_BITS) | tick,
            };
        }
        self.set_head(level, slot, id + 1);
    }

    #[inline]
    fn unlink(&mut self, id: u32) {
        let Some(link) = self.links.get_mut(id as usize) else {
            return;
        };
        let Some((level, slot)) = link.place() else {
            return;
        };
        let Link { prev, next, .. } = core::mem::replace(link, Link::EMPTY);
        if let Some(next) = next
            .checked_sub(1)
            .and_then(|next| self.links.get_mut(next as usize))
        {
            next.prev = prev;
        }
        match prev.checked_sub(1) {
            None => self.set_head(level, slot, next),
            Some(prev) => {
                if let Some(prev) = self.links.get_mut(prev as usize) {
                    prev.next = next;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
