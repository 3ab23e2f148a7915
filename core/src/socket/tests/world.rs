//! The test bench: two runtimes, one wire, one clock.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use pollwire_rings::memory::{MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};

use crate::{Config, Counter, Instant, Ipv4Cidr, JoinHandle, Net, NetCell, Runtime, Stack};

pub(crate) const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// On the same network, but nobody is there.
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// Turns without progress after which a test counts as stalled.
const PATIENCE: u32 = 1_000_000;

pub(crate) fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Both hosts' stacks, and the ends of the wire between them.
pub(crate) struct Hosts<'n> {
    pub(crate) left: NetCell<'n>,
    pub(crate) right: NetCell<'n>,
}

/// Stacks with 512 frames and 512 flows each.
pub(crate) fn hosts<'n>() -> (Hosts<'n>, MemoryDevice, MemoryDevice) {
    hosts_with::<512, 512>()
}

pub(crate) fn hosts_with<'n, const FRAMES: usize, const FLOWS: usize>()
-> (Hosts<'n>, MemoryDevice, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (left, right) = pair(caps(1), caps(2));
    let stack = |ip, seed, device: &MemoryDevice| {
        let cidr = Ipv4Cidr::new(ip, 24).expect("24 is fine");
        let config = Config::new(cidr, [seed; 32]);
        NetCell::new(Stack::on_heap::<FRAMES, FLOWS, 2048>(
            &config,
            device.caps(),
        ))
    };
    let hosts = Hosts {
        left: stack(LEFT, 1, &left),
        right: stack(RIGHT, 2, &right),
    };
    (hosts, left, right)
}

/// Both hosts running.
pub(crate) struct World<'n, L = MemoryDevice> {
    pub(crate) left: Runtime<'n, L, Wire>,
    pub(crate) right: Runtime<'n, MemoryDevice, Wire>,
    pub(crate) wire: Wire,
}

impl<'n, L: NetDevice> World<'n, L> {
    pub(crate) fn new(hosts: &'n Hosts<'n>, left: L, right: MemoryDevice) -> Self {
        let wire = right.wire();
        Self {
            left: Runtime::new(&hosts.left, left, wire.clone()),
            right: Runtime::new(&hosts.right, right, wire.clone()),
            wire,
        }
    }

    /// The left and the right host's handles.
    pub(crate) fn nets(&self) -> (Net<'n>, Net<'n>) {
        (self.left.net(), self.right.net())
    }

    /// One turn of each; `false` when there was nothing to do.
    pub(crate) fn turn(&mut self) -> bool {
        let left = self.left.turn();
        self.right.turn() || left
    }

    /// When anything happens next by itself.
    fn next(&self) -> Option<Instant> {
        let wire = self.wire.next_event();
        let ends = [self.left.deadline(), self.right.deadline(), wire];
        ends.into_iter().flatten().min()
    }

    /// Runs until the task has ended; gives its output.
    pub(crate) fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        for _ in 0..PATIENCE {
            let worked = self.turn();
            if let Some(output) = task.try_take() {
                return output;
            }
            if !worked {
                let next = self.next().expect("a stalled test has nothing to wait for");
                self.wire.advance(next);
            }
        }
        panic!("the test does not end");
    }

    /// Lets `span` of virtual time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.wire.now() + span;
        for _ in 0..PATIENCE {
            if self.turn() {
                continue;
            }
            if self.wire.now() >= end {
                return;
            }
            let next = self.next().unwrap_or(end).min(end);
            self.wire.advance(next);
        }
        panic!("the hosts never rest");
    }

    /// Lets everything come to its end, then checks that nothing is left: no
    /// frame, no flow, no timer, no task.
    pub(crate) fn check_empty(&mut self) {
        self.pass(Duration::from_secs(600));
        for net in [self.left.net(), self.right.net()] {
            assert_eq!(net.task_count(), 0, "tasks are left");
            net.with_stack(|stack| {
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
                let pool = stack.pool();
                assert_eq!(pool.available(), pool.capacity(), "frames are left");
            });
        }
    }
}

/// Bytes that the stack copied so far.
pub(crate) fn copied(net: Net<'_>) -> u64 {
    net.with_stack(|stack| stack.counters().get(Counter::CopiedBytes))
}
