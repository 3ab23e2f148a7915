//! Two stacks and a bottleneck between them, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pollwire::perf::Histogram;
use pollwire::rings::memory::{
    self, Fate, Impairment, Impairments, MemoryDevice, SeededImpairment, Wire,
};
use pollwire::rings::{Caps, NetDevice, RxBurst, TxBurst};
use pollwire::{Config, Counter, FlowId, Instant, ListenOptions, Stack, TcpOptions};

/// Pool of each host: 64 MiB, so that it limits nothing.
const FRAMES: usize = 32_768;
/// Written at a time.
const CHUNK: [u8; 16_384] = [7; 16_384];

/// Notes how long packets wait for the line.
struct Metered {
    inner: SeededImpairment,
    least: Duration,
    waits: Rc<RefCell<Histogram>>,
}

impl Impairment for Metered {
    fn judge(&mut self, now: Instant, packet: &mut [u8]) -> Fate {
        let fate = self.inner.judge(now, packet);
        if let Some(arrives) = fate.arrives {
            let wait = (arrives - now).saturating_sub(self.least);
            let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
            self.waits.borrow_mut().record(micros);
        }
        fate
    }
}

struct Host {
    stack: Stack,
    device: MemoryDevice,
    rx: RxBurst,
    tx: TxBurst,
}

impl Host {
    fn receive(&mut self, now: Instant) {
        self.device.rx_burst(self.stack.pool(), &mut self.rx);
        self.stack.input(now, &mut self.rx);
        self.stack.expire(now);
    }

    fn transmit(&mut self, now: Instant) {
        loop {
            let more = self.stack.output(now, &mut self.tx);
            if self.device.tx_burst(&mut self.tx) == 0 || !more {
                return;
            }
        }
    }
}

/// A transfer from the first host to the second that never ends.
pub(crate) struct Flow {
    from: FlowId,
    to: FlowId,
    pub(crate) received: u64,
}

/// The hosts, the wire, and the flows over it.
pub(crate) struct World {
    sender: Host,
    receiver: Host,
    wire: Wire,
    pub(crate) now: Instant,
    pub(crate) flows: Vec<Flow>,
    waits: Rc<RefCell<Histogram>>,
}

fn stack(last: u8, seed: u64) -> Stack {
    let mut entropy = [last; 32];
    entropy[..8].copy_from_slice(&seed.to_le_bytes());
    let address = format!("10.0.0.{last}/24").parse().unwrap();
    let caps = Caps::plain([2, 0, 0, 0, 0, last], 1500);
    Stack::on_heap::<FRAMES, 64, 2048>(&Config::new(address, entropy), caps)
}

impl World {
    /// `path` impairs both directions.
    pub(crate) fn new(seed: u64, path: Impairments) -> Self {
        let (sender, receiver) = (stack(1, seed), stack(2, seed));
        let (mut left, mut right) = memory::pair(*sender.caps(), *receiver.caps());
        let waits = Rc::new(RefCell::new(Histogram::default()));
        left.impair(Metered {
            inner: path.seeded(seed.wrapping_mul(2)),
            least: path.delay,
            waits: Rc::clone(&waits),
        });
        right.impair(path.seeded(seed.wrapping_mul(2) + 1));
        let wire = left.wire();
        let host = |stack, device| Host {
            stack,
            device,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        };
        Self {
            sender: host(sender, left),
            receiver: host(receiver, right),
            wire,
            now: Instant::from_secs(1),
            flows: Vec::new(),
            waits,
        }
    }

    /// Opens a connection and begins to send.
    pub(crate) fn open(&mut self, options: TcpOptions) {
        let port = 7000 + u16::try_from(self.flows.len()).unwrap();
        let listen = ListenOptions {
            tcp: options,
            ..ListenOptions::DEFAULT
        };
        let local = format!("0.0.0.0:{port}").parse().unwrap();
        let listener = self.receiver.stack.tcp_listen(local, listen).unwrap();
        let remote = format!("10.0.0.2:{port}").parse().unwrap();
        let from = self.sender.stack.tcp_connect(remote, options).unwrap();
        let limit = self.now + Duration::from_secs(100);
        let to = loop {
            self.turn();
            if self.sender.stack.tcp_try_connected(from).is_ok()
                && let Ok(to) = self.receiver.stack.tcp_try_accept(listener)
            {
                break to;
            }
            assert!(self.advance(limit), "the connection opens");
        };
        self.receiver.stack.tcp_close_listener(listener);
        self.flows.push(Flow {
            from,
            to,
            received: 0,
        });
    }

    /// Runs until `end`, or until `bytes` more have arrived.
    pub(crate) fn run(&mut self, end: Instant, bytes: u64) {
        let goal = self.received() + bytes;
        while self.received() < goal {
            self.turn();
            if !self.advance(end) {
                self.now = end;
                return;
            }
        }
    }

    /// Bytes that arrived in all.
    pub(crate) fn received(&self) -> u64 {
        self.flows.iter().map(|flow| flow.received).sum()
    }

    /// A counter of the sending host.
    pub(crate) fn sent(&self, counter: Counter) -> u64 {
        self.sender.stack.counters().get(counter)
    }

    /// Forgets how long packets waited.
    pub(crate) fn reset_waits(&self) {
        self.waits.borrow_mut().reset();
    }

    /// The time that 99 of 100 packets waited at most.
    pub(crate) fn p99_wait(&self) -> Duration {
        Duration::from_micros(self.waits.borrow().quantile(990))
    }

    /// Ends all flows; every frame is home again.
    pub(crate) fn finish(mut self) {
        for flow in core::mem::take(&mut self.flows) {
            self.sender.stack.tcp_abort(flow.from);
            self.receiver.stack.tcp_abort(flow.to);
        }
        let end = self.now + Duration::from_secs(2000);
        self.turn();
        while self.advance(end) {
            self.turn();
        }
        for stack in [&self.sender.stack, &self.receiver.stack] {
            assert_eq!(stack.flows_in_use(), 0);
            assert_eq!(stack.pool().available(), stack.pool().capacity());
        }
    }

    fn turn(&mut self) {
        self.wire.advance(self.now);
        self.receiver.receive(self.now);
        self.sender.receive(self.now);
        for flow in &mut self.flows {
            while self.sender.stack.tcp_try_write(flow.from, &CHUNK).is_ok() {}
            while let Ok(Some(frame)) = self.receiver.stack.tcp_try_recv(flow.to) {
                flow.received += frame.len() as u64;
            }
        }
        self.receiver.transmit(self.now);
        self.sender.transmit(self.now);
    }

    /// On to the next event, if that is before `limit`.
    fn advance(&mut self, limit: Instant) -> bool {
        let next = [
            self.wire.next_event(),
            self.sender.stack.deadline(),
            self.receiver.stack.deadline(),
        ]
        .into_iter()
        .flatten()
        .min();
        match next {
            Some(next) if next <= limit => {
                self.now = self.now.max(next);
                true
            }
            _ => false,
        }
    }
}
