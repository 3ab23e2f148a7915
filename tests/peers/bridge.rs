//! Wires between hosts, with impairments, in real time: the same ones that the
//! simulator has in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use pollwire::host::MonotonicClock;
use pollwire::perf::Histogram;
use pollwire::rings::memory::{Impairment, Impairments};
use pollwire::rings::seqpacket::SeqPacket;
use pollwire::rings::tap::Tap;
use pollwire::rings::{FramePool, NetDevice, RxBurst, TxBurst, TxMeta};
use pollwire::{Clock, Instant};

use super::streams::Sparing;

/// The bridge sleeps no longer than this, to see that it is done.
const TICK: Duration = Duration::from_millis(20);

/// Where a host's packets come from and go to.
pub(crate) enum Port {
    /// Linux's own stack, in some namespace.
    Linux(Tap),
    /// pollwire, in this process.
    Ours(SeqPacket),
}

impl Port {
    fn device(&mut self) -> &mut dyn NetDevice {
        match self {
            Self::Linux(tap) => tap,
            Self::Ours(socket) => socket,
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Linux(tap) => tap.as_fd(),
            Self::Ours(socket) => socket.as_fd(),
        }
    }
}

/// A wire: its two ends, and what becomes of a packet that comes from each.
pub(crate) struct Lane {
    ports: [Port; 2],
    paths: [Sparing; 2],
}

impl Lane {
    /// `path` impairs both directions, with random numbers of their own.
    pub(crate) fn new(ports: [Port; 2], path: Impairments, seeds: [u64; 2]) -> Self {
        Self {
            ports,
            paths: seeds.map(|seed| Sparing {
                path: path.seeded(seed),
                delay: path.delay,
            }),
        }
    }
}

/// What happened on the wires.
#[derive(Default)]
pub(crate) struct Report {
    /// Packets that arrived.
    pub(crate) carried: u64,
    /// Packets that were lost by chance.
    pub(crate) lost: u64,
    /// Packets that found a queue full.
    pub(crate) overflowed: u64,
    /// Packets that a host did not take.
    pub(crate) refused: u64,
    /// How much later than they should have packets arrived, microseconds.
    lateness: Histogram,
}

impl Report {
    /// The lateness that so many of a thousand packets did not exceed.
    pub(crate) fn late(&self, per_mille: u32) -> Duration {
        Duration::from_micros(self.lateness.quantile(per_mille))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} packets carried, {} lost, {} overflowed, {} refused; late by {:?} (p50), {:?} (p99), {:?} (p99.9)",
            self.carried,
            self.lost,
            self.overflowed,
            self.refused,
            self.late(500),
            self.late(990),
            self.late(999),
        )
    }
}

/// A packet under way; ordered by its arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    due: Instant,
    order: u64,
    lane: usize,
    end: usize,
    bytes: Vec<u8>,
}

struct Bridge {
    lanes: Vec<Lane>,
    under_way: BinaryHeap<Reverse<Parcel>>,
    order: u64,
    clock: MonotonicClock,
    pool: FramePool,
    rx: RxBurst,
    tx: TxBurst,
    report: Report,
}

/// Carries packets until `done`.
pub(crate) fn run(lanes: Vec<Lane>, done: &AtomicBool) -> Report {
    let mut bridge = Bridge {
        lanes,
        under_way: BinaryHeap::new(),
        order: 0,
        clock: MonotonicClock::new(),
        pool: FramePool::on_heap::<256, 2048>(),
        rx: RxBurst::new(),
        tx: TxBurst::new(),
        report: Report::default(),
    };
    let descriptors: Vec<OwnedFd> = bridge
        .lanes
        .iter()
        .flat_map(|lane| &lane.ports)
        .map(|port| port.as_fd().try_clone_to_owned().expect("a descriptor"))
        .collect();
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|descriptor| PollFd::new(descriptor.as_fd(), PollFlags::POLLIN))
        .collect();
    while !done.load(Ordering::Relaxed) {
        let wait = bridge.deliver().map_or(TICK, |wait| wait.min(TICK));
        // Interrupted: looks again.
        let _ = ppoll(&mut polled, Some(TimeSpec::from(wait)), None);
        for (index, port) in polled.iter().enumerate() {
            if port.any() == Some(true) {
                bridge.collect(index / 2, index % 2);
            }
        }
    }
    bridge.report
}

impl Bridge {
    /// Hands over what is due; returns how long nothing will be.
    fn deliver(&mut self) -> Option<Duration> {
        loop {
            let now = self.clock.now();
            let due = self.under_way.peek()?.0.due;
            if due > now {
                return Some(due - now);
            }
            let Reverse(parcel) = self.under_way.pop()?;
            let late = (now - due).as_micros();
            self.report
                .lateness
                .record(u64::try_from(late).unwrap_or(u64::MAX));
            self.hand_over(&parcel);
        }
    }

    fn hand_over(&mut self, parcel: &Parcel) {
        let mut frame = self.pool.alloc().expect("each frame is freed at once");
        frame.extend_from_slice(&parcel.bytes);
        let full = self.tx.push(frame.freeze(), TxMeta::default());
        assert!(full.is_ok(), "the burst is empty");
        let port = &mut self.lanes[parcel.lane].ports[parcel.end];
        if port.device().tx_burst(&mut self.tx) == 1 {
            self.report.carried += 1;
        } else {
            self.report.refused += 1;
            self.tx = TxBurst::new();
        }
    }

    /// Takes what a host sent, and decides what becomes of it.
    fn collect(&mut self, index: usize, end: usize) {
        let lane = &mut self.lanes[index];
        let device = lane.ports[end].device();
        device.rx_burst(&self.pool, &mut self.rx);
        for received in self.rx.drain() {
            let now = self.clock.now();
            let mut bytes = received.frame.to_vec();
            let fate = lane.paths[end].judge(now, &mut bytes);
            self.report.overflowed += u64::from(fate.overflowed);
            self.report.lost += u64::from(fate.arrives.is_none() && !fate.overflowed);
            for due in [fate.arrives, fate.again].into_iter().flatten() {
                self.order += 1;
                self.under_way.push(Reverse(Parcel {
                    due,
                    order: self.order,
                    lane: index,
                    end: 1 - end,
                    bytes: bytes.clone(),
                }));
            }
        }
    }
}
