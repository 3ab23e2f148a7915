//! An in-memory wire: two devices joined in one process.
//!
//! What one end transmits, the other receives. The wire holds the sender's
//! frames until the receiver's turn, as a device's DMA ring would, and copies
//! them once, into frames of the receiver's pool: that copy stands for the DMA.
//! It is the wire's only cost that grows with the bytes, and in steady state it
//! allocates nothing.
//!
//! Offloads cross as they do between two guests of one host: a partial checksum
//! arrives as [`RxChecksum::Partial`](crate::RxChecksum::Partial), and a packet to be segmented arrives
//! whole where the receiving end takes coalesced packets
//! ([`MemoryDevice::set_coalesced_rx`]); elsewhere the wire segments it and
//! completes the checksums, as a network card would.
//!
//! For tests, either direction can be impaired ([`MemoryDevice::impair`]): then
//! packets are finished and cut to the MTU as on a real wire, and an
//! [`Impairment`] decides what becomes of each, in virtual time.
//!
//! The ends should have pools of their own: a wire that is full holds up to
//! 1024 frames of the sender's.
//!
//! ```
//! use core::time::Duration;
//! use pollwire_rings::memory::{self, Impairments};
//! use pollwire_rings::{Caps, FramePool, Instant, NetDevice, RxBurst, TxBurst, TxMeta};
//!
//! let pool = FramePool::on_heap::<64, 2048>();
//! let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
//! let (mut left, mut right) = memory::pair(caps(1), caps(2));
//! left.impair(Impairments { delay: Duration::from_millis(3), ..Impairments::NONE }.seeded(1));
//!
//! let mut frame = pool.alloc().expect("free");
//! frame.extend_from_slice(&[0; 60]);
//! let mut burst = TxBurst::new();
//! burst.push(frame.freeze(), TxMeta::default()).expect("room");
//! assert_eq!(left.tx_burst(&mut burst), 1);
//!
//! let (wire, mut received) = (left.wire(), RxBurst::new());
//! assert_eq!(right.rx_burst(&pool, &mut received), 0);
//! wire.advance(wire.next_event().expect("one packet is on its way"));
//! assert_eq!(wire.now(), Instant::from_millis(3));
//! assert_eq!(right.rx_burst(&pool, &mut received), 1);
//! ```

mod impair;
mod lane;
mod line;
mod segment;

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::time::Duration;

pub use impair::{Fate, Impairment, Impairments, SeededImpairment};

use crate::{Caps, Clock, FramePool, Instant, NetDevice, RxBurst, TxBurst};
use lane::Lane;

/// What happened to the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireStats {
    /// Packets that the sending device accepted.
    pub sent: u64,
    /// Packets that reached the receiver's burst. Segmentation, duplication
    /// and loss make this differ from `sent`.
    pub delivered: u64,
    /// Bytes of those packets, Ethernet headers included.
    pub delivered_bytes: u64,
    /// Packets lost by the impairment.
    pub lost: u64,
    /// Packets lost because the impairment's queue was full.
    pub overflowed: u64,
    /// Packets that the impairment delivered twice.
    pub duplicated: u64,
    /// Packets that the impairment changed.
    pub corrupted: u64,
    /// Packets delivered after one that was sent later.
    pub reordered: u64,
    /// Packets dropped because their checksum or segmentation request does not
    /// fit their bytes: the sender's fault.
    pub bad_request: u64,
    /// Packets dropped because the receiver's pool or burst is too small to
    /// take them even when empty.
    pub too_long: u64,
}

/// A direction of the wire, by the order of the devices in [`pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first device to the second.
    FirstToSecond,
    /// From the second device to the first.
    SecondToFirst,
}

type SharedLane = Rc<RefCell<Lane>>;

/// One end of a wire.
#[derive(Debug)]
pub struct MemoryDevice {
    caps: Caps,
    outgoing: SharedLane,
    incoming: SharedLane,
    wire: Wire,
    coalesced_rx: bool,
}

/// Two joined ends, `first` and `second` being what they can do.
///
/// An end whose `caps` offer segmentation (`tso4` or `tso6`) also takes
/// coalesced packets until [`MemoryDevice::set_coalesced_rx`] says otherwise.
#[must_use]
pub fn pair(first: Caps, second: Caps) -> (MemoryDevice, MemoryDevice) {
    let (forth, back) = (SharedLane::default(), SharedLane::default());
    let end = |caps: Caps, outgoing: &SharedLane, incoming: &SharedLane| MemoryDevice {
        caps,
        outgoing: outgoing.clone(),
        incoming: incoming.clone(),
        wire: Wire {
            forth: forth.clone(),
            back: back.clone(),
        },
        coalesced_rx: caps.tso4 || caps.tso6,
    };
    (end(first, &forth, &back), end(second, &back, &forth))
}

impl MemoryDevice {
    /// Whether this end takes packets of several segments as they are (with
    /// [`RxMeta::gso_size`](crate::RxMeta::gso_size) set) or has the wire
    /// segment them.
    pub fn set_coalesced_rx(&mut self, on: bool) {
        self.coalesced_rx = on;
    }

    /// Subjects whatever this end transmits from now on to `impairment`.
    /// Packets that the wire already holds keep their fate.
    pub fn impair(&mut self, impairment: impl Impairment + 'static) {
        self.outgoing.borrow_mut().impair(Box::new(impairment));
    }

    /// A handle on the wire, to drive its time and read its statistics.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }
}

impl NetDevice for MemoryDevice {
    fn caps(&self) -> Caps {
        self.caps
    }

    #[inline]
    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let receiver = lane::Receiver {
            coalesces: self.coalesced_rx,
            verifies: self.caps.tx_checksum,
        };
        self.incoming.borrow_mut().receive(receiver, pool, out)
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        self.outgoing.borrow_mut().send(burst)
    }

    /// Returns at once: time on this wire is the caller's ([`Wire::advance`]).
    fn wait(&mut self, _timeout: Option<Duration>) {}
}

/// A handle on a wire: its virtual time and its statistics.
#[derive(Clone, Debug)]
pub struct Wire {
    forth: SharedLane,
    back: SharedLane,
}

impl Wire {
    /// Sets the wire's time. Packets that are due by then can be received. Time
    /// does not run backwards: an earlier instant changes nothing.
    pub fn advance(&self, now: Instant) {
        self.forth.borrow_mut().advance(now);
        self.back.borrow_mut().advance(now);
    }

    /// The wire's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.forth.borrow().now()
    }

    /// When the next packet arrives at either end: not later than
    /// [`now`](Self::now) when one waits to be received, `None` when the wire
    /// is empty.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let (forth, back) = (
            self.forth.borrow().next_event(),
            self.back.borrow().next_event(),
        );
        match (forth, back) {
            (Some(forth), Some(back)) => Some(forth.min(back)),
            (one, other) => one.or(other),
        }
    }

    /// What happened to the packets of one direction so far.
    #[must_use]
    pub fn stats(&self, direction: Direction) -> WireStats {
        match direction {
            Direction::FirstToSecond => self.forth.borrow().stats(),
            Direction::SecondToFirst => self.back.borrow().stats(),
        }
    }
}

impl Clock for Wire {
    fn now(&mut self) -> Instant {
        Wire::now(self)
    }
}
