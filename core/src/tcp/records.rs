//! Compact records: what is left of a connection before it is open and after it
//! is closed.
//!
//! A table has a fixed number of records, found by name through a hash table of
//! its own. The hash is that of the flow's key, which the caller knows anyway. Its records stand in a few queues; all that stand in one have the
//! same lifetime, so a queue is ordered by time without any work, and what is
//! due stands at its head.

use pollwire_rings::Region;

use super::tcb::ListLinks;
use crate::flow::{FlowTable, KeyWords, Slot};

/// What names a record: a flow's key, or something of the same size.
pub(crate) type Name = KeyWords;

/// A record: name, place in its queue, content. All-zero is unused.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Record<T> {
    name: Name,
    /// Neighbours in the queue, or the next unused record.
    links: ListLinks,
    pub(crate) body: T,
}

impl<T> Record<T> {
    /// An unused record around an all-zero `body`.
    pub(crate) const fn unused(body: T) -> Self {
        Self {
            name: [0; 9],
            links: ListLinks { prev: 0, next: 0 },
            body,
        }
    }
}

/// Ends of a queue (index + 1, 0 for none).
#[derive(Clone, Copy)]
struct Ends {
    head: u32,
    tail: u32,
}

/// A table of records in `QUEUES` queues.
pub(crate) struct Records<T: 'static, const QUEUES: usize> {
    records: Region<Record<T>>,
    table: FlowTable,
    queues: [Ends; QUEUES],
    free: u32,
    /// Records from here on were never used.
    fresh: u32,
    len: u32,
}

impl<T: Copy + 'static, const QUEUES: usize> Records<T, QUEUES> {
    /// An empty table; `records` and `slots`, two for each record, are all
    /// zero.
    pub(crate) fn new(records: Region<Record<T>>, slots: Region<Slot>) -> Self {
        Self {
            records,
            // It is given hashes, and makes none.
            table: FlowTable::new(slots, (0, 0)),
            queues: [Ends { head: 0, tail: 0 }; QUEUES],
            free: 0,
            fresh: 0,
            len: 0,
        }
    }

    /// Records in use.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether every record is in use.
    pub(crate) fn is_full(&self) -> bool {
        self.len() == self.records.len()
    }

    /// Whether more than half of the records are in use.
    pub(crate) fn is_crowded(&self) -> bool {
        self.len() > self.records.len() / 2
    }

    /// The record under this name, whose hash is `hash`.
    #[inline]
    pub(crate) fn find(&self, hash: u32, name: impl Fn() -> Name) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let same = |index: u32| self.record(index).is_some_and(|found| found.name == name());
        self.table.lookup(hash, same)
    }

    fn record(&self, index: u32) -> Option<&Record<T>> {
        self.records.get(index as usize)
    }

    fn record_mut(&mut self, index: u32) -> Option<&mut Record<T>> {
        self.records.get_mut(index as usize)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.record(index).map(|record| &record.body)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.record_mut(index).map(|record| &mut record.body)
    }

    pub(crate) fn name(&self, index: u32) -> Option<Name> {
        self.record(index).map(|record| record.name)
    }

    /// The first record of a queue: the one that is due first.
    pub(crate) fn front(&self, queue: usize) -> Option<u32> {
        self.queues.get(queue)?.head.checked_sub(1)
    }

    /// Keeps a record under a name that none has yet, at the end of `queue`;
    /// `None` when all are in use.
    pub(crate) fn insert(&mut self, hash: u32, name: Name, body: T, queue: usize) -> Option<u32> {
        let index = match self.free.checked_sub(1) {
            Some(index) => {
                self.free = self.record(index)?.links.next;
                index
            }
            None if (self.fresh as usize) < self.records.len() => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        let links = ListLinks::default();
        *self.record_mut(index)? = Record { name, links, body };
        self.table.insert(hash, index);
        self.len += 1;
        self.link(index, queue);
        Some(index)
    }

    /// Gives a record up that was kept under `hash`; returns its content.
    pub(crate) fn remove(&mut self, hash: u32, index: u32) -> Option<T> {
        if !self.table.remove(hash, index) {
            return None;
        }
        self.unlink(index);
        self.len -= 1;
        let free = core::mem::replace(&mut self.free, index + 1);
        let record = self.record_mut(index)?;
        record.links = ListLinks {
            prev: 0,
            next: free,
        };
        Some(record.body)
    }

    /// Moves a record to the end of `queue`.
    pub(crate) fn requeue(&mut self, index: u32, queue: usize) {
        self.unlink(index);
        self.link(index, queue);
    }

    fn link(&mut self, index: u32, queue: usize) {
        let Some(ends) = self.queues.get_mut(queue) else {
            return;
        };
        let prev = core::mem::replace(&mut ends.tail, index + 1);
        if prev == 0 {
            ends.head = index + 1;
        } else if let Some(before) = self.record_mut(prev - 1) {
            before.links.next = index + 1;
        }
        if let Some(record) = self.record_mut(index) {
            record.links = ListLinks { prev, next: 0 };
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(record) = self.record_mut(index) else {
            return;
        };
        let ListLinks { prev, next } = core::mem::take(&mut record.links);
        match prev.checked_sub(1) {
            Some(before) => {
                if let Some(before) = self.record_mut(before) {
                    before.links.next = next;
                }
            }
            None => self.replace_end(index, |ends| &mut ends.head, next),
        }
        match next.checked_sub(1) {
            Some(behind) => {
                if let Some(behind) = self.record_mut(behind) {
                    behind.links.prev = prev;
                }
            }
            None => self.replace_end(index, |ends| &mut ends.tail, prev),
        }
    }

    /// `index` stood at one end of its queue; `other` does now.
    fn replace_end(&mut self, index: u32, end: fn(&mut Ends) -> &mut u32, other: u32) {
        let mut ends = self.queues.iter_mut().map(end);
        if let Some(end) = ends.find(|end| **end == index + 1) {
            *end = other;
        }
    }

    /// Indices below this were used at some time.
    pub(crate) fn used(&self) -> u32 {
        self.fresh
    }
}

#[cfg(test)]
mod tests;
