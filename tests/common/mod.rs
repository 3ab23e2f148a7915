//! Two stacks on a wire, in virtual time.

use pollwire::rings::Caps;
use pollwire::rings::memory::{self, Impairments, MemoryDevice, Wire};
use pollwire::rings::pcap::{PcapOptions, PcapTee};
use pollwire::rings::{NetDevice, RxBurst, TxBurst};
use pollwire::{Config, FlowId, Instant, ListenOptions, Stack, TcpOptions};

/// A stack, its device and its bursts.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) device: PcapTee<MemoryDevice, Vec<u8>, Wire>,
    rx: RxBurst,
    tx: TxBurst,
}

impl Host {
    fn new(stack: Stack, device: MemoryDevice) -> Self {
        let clock = device.wire();
        let options = PcapOptions {
            snap_length: 96,
            ..PcapOptions::default()
        };
        let device = PcapTee::new(device, Vec::new(), clock, options);
        Self {
            stack,
            device,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    /// Receives, and lets timers fire.
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

/// Two hosts on one wire: 10.0.0.1 and 10.0.0.2.
pub(crate) struct Sim {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) wire: Wire,
    pub(crate) now: Instant,
    seed: u64,
}

pub(crate) fn caps(last: u8) -> Caps {
    Caps::plain([2, 0, 0, 0, 0, last], 1500)
}

/// A stack at 10.0.0.`last`/24 over heap memory.
pub(crate) fn stack<const FRAMES: usize, const FLOWS: usize>(last: u8, seed: u64) -> Stack {
    let mut entropy = [last; 32];
    entropy[..8].copy_from_slice(&seed.to_le_bytes());
    let address = format!("10.0.0.{last}/24").parse().unwrap();
    Stack::on_heap::<FRAMES, FLOWS, 2048>(&Config::new(address, entropy), caps(last))
}

impl Sim {
    pub(crate) fn new(seed: u64, impairments: Impairments) -> Self {
        Self::with_stacks(
            seed,
            impairments,
            stack::<1024, 64>(1, seed),
            stack::<1024, 64>(2, seed),
        )
    }

    pub(crate) fn with_stacks(seed: u64, impairments: Impairments, a: Stack, b: Stack) -> Self {
        let (mut left, mut right) = memory::pair(*a.caps(), *b.caps());
        if impairments != Impairments::NONE {
            left.impair(impairments.seeded(seed.wrapping_mul(2)));
            right.impair(impairments.seeded(seed.wrapping_mul(2) + 1));
        }
        let wire = left.wire();
        Self {
            a: Host::new(a, left),
            b: Host::new(b, right),
            wire,
            now: Instant::from_secs(1),
            seed,
        }
    }

    /// One turn of both hosts at the present time, `app` between receiving and
    /// sending.
    pub(crate) fn turn(&mut self, app: &mut impl FnMut(&mut Stack, &mut Stack)) {
        self.wire.advance(self.now);
        self.a.receive(self.now);
        self.b.receive(self.now);
        app(&mut self.a.stack, &mut self.b.stack);
        self.a.transmit(self.now);
        self.b.transmit(self.now);
    }

    /// The next instant at which something happens.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        [
            self.wire.next_event(),
            self.a.stack.deadline(),
            self.b.stack.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Runs until `done` or the time is up; returns whether it was done.
    pub(crate) fn run(
        &mut self,
        limit: Instant,
        mut app: impl FnMut(&mut Stack, &mut Stack),
        mut done: impl FnMut(&mut Stack, &mut Stack) -> bool,
    ) -> bool {
        loop {
            self.turn(&mut app);
            if done(&mut self.a.stack, &mut self.b.stack) {
                return true;
            }
            let Some(next) = self.next_event() else {
                return false;
            };
            if next > limit {
                return false;
            }
            self.now = self.now.max(next);
        }
    }

    /// An open connection from a to b: both ends.
    pub(crate) fn connect(&mut self, port: u16, options: TcpOptions) -> (FlowId, FlowId) {
        let listen = ListenOptions {
            tcp: options,
            ..ListenOptions::DEFAULT
        };
        let local = format!("0.0.0.0:{port}").parse().unwrap();
        let listener = self.b.stack.tcp_listen(local, listen).unwrap();
        let remote = format!("10.0.0.2:{port}").parse().unwrap();
        let client = self.a.stack.tcp_connect(remote, options).unwrap();
        let mut server = None;
        let limit = self.now + std::time::Duration::from_secs(300);
        self.run(
            limit,
            |_, _| {},
            |a, b| {
                server = server.or_else(|| b.tcp_try_accept(listener).ok());
                server.is_some() && a.tcp_try_connected(client).is_ok()
            },
        );
        self.b.stack.tcp_close_listener(listener);
        (client, server.expect("the connection opens"))
    }

    /// Lets everything end and checks that every frame is home.
    pub(crate) fn finish(mut self) {
        let limit = self.now + std::time::Duration::from_secs(2_000);
        self.run(limit, |_, _| {}, |_, _| false);
        for stack in [&self.a.stack, &self.b.stack] {
            let pool = stack.pool();
            assert_eq!(stack.flows_in_use(), 0, "flows left, seed {}", self.seed);
            assert_eq!(
                pool.available(),
                pool.capacity(),
                "frames lost, seed {}",
                self.seed
            );
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let path = format!("{}/sim-{}.pcapng", env!("CARGO_TARGET_TMPDIR"), self.seed);
        let saved = std::fs::write(&path, &*self.a.device.sink_mut());
        eprintln!("seed {}, capture at {path}: {saved:?}", self.seed);
        eprintln!(
            "a:\n{}b:\n{}",
            self.a.stack.counters(),
            self.b.stack.counters()
        );
    }
}
