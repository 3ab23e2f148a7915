//! The flow table: from a key's hash to a flow's index.
//!
//! Open addressing with linear probing over a power of two of slots, at most
//! half of them taken. Removal shifts the run behind it back, so there are no
//! tombstones and a table that has seen millions of flows is as fast as a new
//! one. The keys live with the flows; a slot holds 32 bits of hash, which
//! settles all but one comparison in four thousand million, and the index.
//!
//! The hash is SipHash-1-3 under a key of the boot, so nobody outside can
//! choose ports that collide.

use pollwire_rings::Region;

use super::FlowKey;

/// A slot of the table. All-zero is empty: `tag` of a taken one is never 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Slot {
    tag: u32,
    value: u32,
}

const _: () = assert!(size_of::<Slot>() == 8);

impl Slot {
    /// A slot that holds nothing.
    pub(crate) const EMPTY: Self = Self { tag: 0, value: 0 };
}

/// The table.
pub(crate) struct FlowTable {
    slots: Region<Slot>,
    /// Number of slots used as a mask: a power of two, minus one.
    mask: usize,
    len: usize,
    key: (u64, u64),
}

/// The tag of a hash: the hash itself, except that 0 is taken.
#[inline]
const fn tag(hash: u32) -> u32 {
    if hash == 0 { 1 } else { hash }
}

impl FlowTable {
    /// An empty table over `slots`, all zero, keyed with `key`. Of a number of
    /// slots that is no power of two the next lower one is used.
    pub(crate) fn new(slots: Region<Slot>, key: (u64, u64)) -> Self {
        let usable = match slots.len() {
            0 => 0,
            len => 1 << len.ilog2(),
        };
        Self {
            slots,
            mask: usize::saturating_sub(usable, 1),
            len: 0,
            key,
        }
    }

    /// Flows in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The hash of `key`.
    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "32 of the 64 bits serve")]
        let hash = key.hash_under(self.key) as u32;
        hash
    }

    #[inline]
    fn slot(&self, at: usize) -> Slot {
        self.slots
            .get(at & self.mask)
            .copied()
            .unwrap_or(Slot::EMPTY)
    }

    #[inline]
    fn put(&mut self, at: usize, slot: Slot) {
        let at = at & self.mask;
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    /// The value filed under `hash` for which `eq` holds.
    #[inline]
    pub(crate) fn lookup(&self, hash: u32, eq: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = tag as usize;
        // The table is at most half full, so the run ends; the bound is for
        // memory that was not zero.
        for _ in 0..=self.mask {
            let slot = self.slot(at);
            if slot.tag == tag && eq(slot.value) {
                return Some(slot.value);
            }
            if slot.tag == 0 {
                return None;
            }
            at = at.wrapping_add(1);
        }
        None
    }

    /// Files `value` under `hash`; `false` when half of the slots are taken.
    /// The caller sees to it that a key is filed once.
    pub(crate) fn insert(&mut self, hash: u32, value: u32) -> bool {
        if (self.len + 1) * 2 > self.mask + 1 {
            return false;
        }
        let tag = tag(hash);
        let mut at = tag as usize;
        for _ in 0..=self.mask {
            if self.slot(at).tag == 0 {
                self.put(at, Slot { tag, value });
                self.len += 1;
                return true;
            }
            at = at.wrapping_add(1);
        }
        false
    }

    /// Takes `value` out from under `hash`; `false` when it is not there.
    pub(crate) fn remove(&mut self, hash: u32, value: u32) -> bool {
        let tag = tag(hash);
        let mut at = tag as usize;
        for _ in 0..=self.mask {
            let slot = self.slot(at);
            if slot.tag == tag && slot.value == value {
                self.close_gap(at);
                self.len -= 1;
                return true;
            }
            if slot.tag == 0 {
                return false;
            }
            at = at.wrapping_add(1);
        }
        false
    }

    /// Moves later entries of the run into the gap at `gap`, each only as far
    /// as its home slot allows, and leaves the last gap empty.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = gap;
        for _ in 0..self.mask {
            at = at.wrapping_add(1);
            let slot = self.slot(at);
            if slot.tag == 0 {
                break;
            }
            let from_home = at.wrapping_sub(slot.tag as usize) & self.mask;
            let from_gap = at.wrapping_sub(gap) & self.mask;
            if from_home >= from_gap {
                self.put(gap, slot);
                gap = at;
            }
        }
        self.put(gap, Slot::EMPTY);
    }
}
