//! From a port to the sockets bound to it.
//!
//! Open addressing with linear probing, at most half full, grown only by a
//! bind. Removal shifts the run behind it back, so there are no tombstones.
//! Several sockets may share a port with different addresses; they stand in
//! one run.

use alloc::boxed::Box;
use alloc::vec;

/// One bound port. All-zero is free: `socket` counts from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    port: u16,
    socket: u32,
}

/// The table.
pub(super) struct Ports {
    entries: Box<[Entry]>,
    len: usize,
    /// An odd secret of the boot: which ports collide is nobody's business.
    multiplier: u64,
}

const FIRST_SIZE: usize = 8;

impl Ports {
    /// An empty table.
    pub(super) fn new(secret: u64) -> Self {
        Self {
            entries: Box::default(),
            len: 0,
            multiplier: secret | 1,
        }
    }

    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// Multiply-shift hashing: the high bits of the product.
    #[inline]
    fn home(&self, port: u16) -> usize {
        let product = u64::from(port).wrapping_mul(self.multiplier);
        usize::try_from(product >> 40).unwrap_or(0) & self.mask()
    }

    /// The sockets bound to `port`.
    #[inline]
    pub(super) fn sockets(&self, port: u16) -> impl Iterator<Item = u32> + '_ {
        let (home, mask) = (self.home(port), self.mask());
        (0..self.entries.len())
            .map_while(move |step| {
                let entry = self.entries.get(home.wrapping_add(step) & mask)?;
                (entry.socket != 0).then_some(*entry)
            })
            .filter(move |entry| entry.port == port)
            .map(|entry| entry.socket - 1)
    }

    /// Adds a socket.
    pub(super) fn insert(&mut self, port: u16, socket: u32) {
        if (self.len + 1) * 2 > self.entries.len() {
            self.grow();
        }
        self.place(Entry {
            port,
            socket: socket + 1,
        });
        self.len += 1;
    }

    fn place(&mut self, entry: Entry) {
        let (mut at, mask) = (self.home(entry.port), self.mask());
        // Half of the entries are free at least, so this ends.
        while self.entries.get(at).is_some_and(|old| old.socket != 0) {
            at = (at + 1) & mask;
        }
        if let Some(free) = self.entries.get_mut(at) {
            *free = entry;
        }
    }

    fn grow(&mut self) {
        let size = (self.entries.len() * 2).max(FIRST_SIZE);
        let old = core::mem::replace(
            &mut self.entries,
            vec![Entry::default(); size].into_boxed_slice(),
        );
        for entry in old.iter().filter(|entry| entry.socket != 0) {
            self.place(*entry);
        }
    }

    /// Removes a socket; without effect when it is not there.
    pub(super) fn remove(&mut self, port: u16, socket: u32) {
        let (home, mask) = (self.home(port), self.mask());
        let found = (0..self.entries.len())
            .map(|step| home.wrapping_add(step) & mask)
            .take_while(|&at| self.entries.get(at).is_some_and(|entry| entry.socket != 0))
            .find(|&at| {
                self.entries
                    .get(at)
                    .is_some_and(|entry| entry.port == port && entry.socket == socket + 1)
            });
        let Some(mut hole) = found else { return };
        self.len -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&entry) = self.entries.get(at).filter(|entry| entry.socket != 0) else {
                break;
            };
            // An entry may move back to the hole unless its home lies between
            // the hole and itself.
            let from_home = at.wrapping_sub(self.home(entry.port)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                if let Some(free) = self.entries.get_mut(hole) {
                    *free = entry;
                }
                hole = at;
            }
        }
        if let Some(free) = self.entries.get_mut(hole) {
            *free = Entry::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::Ports;

    proptest! {
        #[test]
        fn agrees_with_a_set(
            secret: u64,
            steps in proptest::collection::vec((any::<bool>(), 0_u16..24, 0_u32..4), 0..200),
        ) {
            let mut ports = Ports::new(secret);
            let mut set = BTreeSet::new();
            for (add, port, socket) in steps {
                if add {
                    if set.insert((port, socket)) {
                        ports.insert(port, socket);
                    }
                } else {
                    set.remove(&(port, socket));
                    ports.remove(port, socket);
                }
                for port in 0..24 {
                    let mut found: Vec<u32> = ports.sockets(port).collect();
                    found.sort_unstable();
                    let expected: Vec<u32> =
                        set.range((port, 0)..=(port, 3)).map(|&(_, socket)| socket).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert_eq!(ports.len, set.len());
        }
    }
}
