//! The ring that an hvt guest shares with its tender's I/O thread
//! (`hvt_ring.h`), and the device over it.
//!
//! One FIFO carries the reads and the writes of a guest. The guest publishes an
//! entry per frame; the tender answers reads, and only reads, with a commit
//! each, in order. [`RingDevice`] differs from Solo5's C bindings in two ways:
//!
//! * a write publishes the pool frame's own address, and the device holds the
//!   frame until `ent_head` has passed its entry: no copy;
//! * reads are posted in batches into pool frames. A write waits behind posted
//!   reads, so a batch is no larger than traffic warrants: twice the last one
//!   when every read of it found a frame, else as many as did; none when idle.
//!
//! Everything that the host writes is checked before use. A contradiction is
//! counted and ignored; a frame that the host may still write to is never given
//! back to the pool.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use core::time::Duration;

mod device;
#[cfg(test)]
mod tests;

pub use device::RingDevice;

/// Entries, and commits, of a ring.
pub const RING_SIZE: usize = 1024;
/// Longest frame that goes through the ring; longer ones take a hypercall.
pub const LONGEST_FRAME: usize = 2048;

const OPERATION_WRITE: u32 = 1;
const OPERATION_READ: u32 = 2;

const RET_OK: u32 = 0;
const RET_AGAIN: u32 = 1;

/// The shared memory. Every field is atomic, as the other side may write any of
/// it at any time.
#[repr(C)]
#[derive(Debug)]
pub struct Ring {
    guest: GuestLine,
    host: HostLine,
    entries: [Entry; RING_SIZE],
    commits: [Commit; RING_SIZE],
}

/// Written by the guest.
#[repr(C, align(64))]
#[derive(Debug)]
struct GuestLine {
    ent_tail: AtomicU32,
    com_head: AtomicU32,
}

/// Written by the tender.
#[repr(C, align(64))]
#[derive(Debug)]
struct HostLine {
    ent_head: AtomicU32,
    com_tail: AtomicU32,
    needs_kick: AtomicU32,
}

#[repr(C)]
#[derive(Debug)]
struct Entry {
    operation: AtomicU32,
    handle: AtomicU32,
    data: AtomicU64,
    len: AtomicU32,
    id: AtomicU32,
    reserved: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct Commit {
    id: AtomicU32,
    ret: AtomicU32,
    len: AtomicU32,
    reserved: AtomicU32,
}

const _: () = {
    assert!(core::mem::offset_of!(Ring, host) == 64);
    assert!(core::mem::offset_of!(Ring, entries) == 128);
    assert!(size_of::<Entry>() == 32);
    assert!(size_of::<Commit>() == 16);
    assert!(size_of::<Ring>() == 128 + RING_SIZE * 48);
};

/// Place of a free-running index in the arrays.
fn slot(index: u32) -> usize {
    index as usize % RING_SIZE
}

/// What a ring device asks of its tender besides the ring.
pub trait RingHost {
    /// Wakes the I/O thread.
    fn kick(&mut self);

    /// Sleeps until a device can be read or `timeout` has passed; returns the
    /// set of readable handles.
    fn poll(&mut self, timeout: Option<Duration>) -> u64;

    /// Writes one frame without the ring; `false` when the host refuses it.
    fn write(&mut self, handle: u32, frame: &[u8]) -> bool;
}

/// A frame that a tender takes from a ring or answers; for tenders and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send `len` bytes at `address`.
    Write {
        /// Which device.
        handle: u32,
        /// Where the frame lies in guest memory.
        address: u64,
        /// Its length.
        len: u32,
    },
    /// Receive at most `len` bytes into `address` and answer with
    /// [`RingServer::commit`].
    Read {
        /// Which device.
        handle: u32,
        /// Where the frame goes in guest memory.
        address: u64,
        /// Room for it.
        len: u32,
        /// To be repeated in the answer.
        id: u32,
    },
    /// Something else; skipped.
    Unknown,
}

/// The tender's end of a ring.
#[derive(Debug)]
pub struct RingServer<'r> {
    ring: &'r Ring,
    head: u32,
    commits: u32,
}

impl<'r> RingServer<'r> {
    /// The tender's end of a fresh, zeroed `ring`.
    #[must_use]
    pub fn new(ring: &'r Ring) -> Self {
        Self {
            ring,
            head: 0,
            commits: 0,
        }
    }

    /// Whether the guest has published anything that is not done.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ring.guest.ent_tail.load(Ordering::Acquire) != self.head
    }

    /// The oldest request that is not done.
    #[must_use]
    pub fn next(&self) -> Option<Request> {
        use Ordering::Relaxed;
        if !self.has_work() {
            return None;
        }
        let entry = self.ring.entries.get(slot(self.head))?;
        let (handle, address) = (entry.handle.load(Relaxed), entry.data.load(Relaxed));
        let (len, id) = (entry.len.load(Relaxed), entry.id.load(Relaxed));
        Some(match entry.operation.load(Relaxed) {
            OPERATION_WRITE => Request::Write {
                handle,
                address,
                len,
            },
            OPERATION_READ => Request::Read {
                handle,
                address,
                len,
                id,
            },
            _ => Request::Unknown,
        })
    }

    /// Answers a read: `Some(bytes)` received, or nothing there. Comes before
    /// its [`done`](Self::done).
    pub fn commit(&mut self, id: u32, received: Option<u32>) {
        use Ordering::{Relaxed, Release};
        if let Some(commit) = self.ring.commits.get(slot(self.commits)) {
            commit.id.store(id, Relaxed);
            let ret = if received.is_some() {
                RET_OK
            } else {
                RET_AGAIN
            };
            commit.ret.store(ret, Relaxed);
            commit.len.store(received.unwrap_or(0), Relaxed);
        }
        self.commits = self.commits.wrapping_add(1);
        self.ring.host.com_tail.store(self.commits, Release);
    }

    /// The oldest request is done; its entry may be used again.
    pub fn done(&mut self) {
        self.head = self.head.wrapping_add(1);
        self.ring.host.ent_head.store(self.head, Ordering::Release);
    }

    /// Says that a kick is needed from now on. Returns `false`, with the word
    /// taken back, when work has come meanwhile: then do not sleep.
    #[must_use]
    pub fn prepare_to_sleep(&self) -> bool {
        self.ring.host.needs_kick.store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.has_work() {
            self.woken();
            return false;
        }
        true
    }

    /// No kick is needed while the thread runs.
    pub fn woken(&self) {
        self.ring.host.needs_kick.store(0, Ordering::Release);
    }
}
