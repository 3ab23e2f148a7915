//! A machine and a peer on a wire, in virtual time.

use std::alloc::{Layout, alloc_zeroed};
use std::time::Duration;

use pollwire_core::{Config, Counter, FlowId, ListenOptions, Memory, Stack, TcpOptions};
use pollwire_rings::memory::{self, Direction, Impairments, MemoryDevice, Wire};
use pollwire_rings::unikraft::UnikraftDevice;
use pollwire_rings::{Caps, Instant, NetDevice, RxBurst, TxBurst};
use pollwire_uk_testbed::{BedConfig, Bridge, Testbed};

/// How soon to look again after what nothing reports.
const STEP: Duration = Duration::from_micros(100);

/// A stack, its device and its bursts.
pub(crate) struct Host<D> {
    pub(crate) stack: Stack,
    pub(crate) device: D,
    rx: RxBurst,
    tx: TxBurst,
}

impl<D: NetDevice> Host<D> {
    pub(crate) fn new(stack: Stack, device: D) -> Self {
        Self {
            stack,
            device,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    pub(crate) fn receive(&mut self, now: Instant) {
        self.device.rx_burst(self.stack.pool(), &mut self.rx);
        self.stack.input(now, &mut self.rx);
        self.stack.expire(now);
    }

    pub(crate) fn transmit(&mut self, now: Instant) {
        loop {
            let more = self.stack.output(now, &mut self.tx);
            if self.device.tx_burst(&mut self.tx) == 0 || !more {
                return;
            }
        }
    }
}

/// What the wire does, and what the peer's side offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wiring {
    pub(crate) impairments: Impairments,
    /// The peer is on the same host: its checksums are left incomplete.
    pub(crate) same_host: bool,
    /// Connections are over IPv6.
    pub(crate) ipv6: bool,
    pub(crate) seed: u64,
}

impl Wiring {
    pub(crate) const PLAIN: Self = Self {
        impairments: Impairments::NONE,
        same_host: true,
        ipv6: false,
        seed: 1,
    };
}

/// The machine is 10.0.0.1, the peer 10.0.0.2.
pub(crate) struct World {
    pub(crate) machine: Host<UnikraftDevice>,
    pub(crate) peer: Host<MemoryDevice>,
    pub(crate) bed: Testbed,
    pub(crate) bridge: Bridge<MemoryDevice>,
    wire: Wire,
    wiring: Wiring,
    pub(crate) now: Instant,
    /// The machine may copy: small payloads, which disorder and losses make, are
    /// joined in one frame.
    pub(crate) may_copy: bool,
}

pub(crate) fn config(last: u8, wiring: Wiring) -> Config {
    let mut entropy = [last; 32];
    entropy[..8].copy_from_slice(&wiring.seed.to_le_bytes());
    let address = format!("10.0.0.{last}/24").parse().expect("an address");
    let mut config = Config::new(address, entropy);
    if wiring.ipv6 {
        config = config.with_ipv6(format!("fd00::{last}/64").parse().expect("an address"));
        if let Some(v6) = &mut config.ipv6 {
            v6.dad_transmits = 0;
        }
    }
    config
}

/// Memory as a program's `static` is: all zero, for good.
pub(crate) fn leak<const FRAMES: usize>() -> &'static Memory<FRAMES, 64> {
    let layout = Layout::new::<Memory<FRAMES, 64>>();
    // SAFETY: memory for stacks is meant for `.bss`: zero bytes are its initial
    // value.
    unsafe { &*alloc_zeroed(layout).cast() }
}

impl World {
    /// A machine with `FRAMES` frames.
    pub(crate) fn new<const FRAMES: usize>(bed: &BedConfig, wiring: Wiring) -> Self {
        let testbed = Testbed::attach(bed);
        let open = |pool: &_| testbed.open(pool);
        let (stack, device) =
            Stack::boot(leak::<FRAMES>(), &config(1, wiring), open).expect("boots");
        let mut caps = Caps::plain([2, 0, 0, 0, 0, 2], 1500);
        caps.tx_checksum = wiring.same_host;
        let peer_stack = Stack::on_heap::<1024, 64, 2048>(&config(2, wiring), caps);
        let mut near_caps = Caps::plain(bed.mac, 1500);
        near_caps.tx_checksum = wiring.same_host;
        let (mut near, mut far) = memory::pair(near_caps, caps);
        if wiring.impairments != Impairments::NONE {
            near.impair(wiring.impairments.seeded(wiring.seed * 2));
            far.impair(wiring.impairments.seeded(wiring.seed * 2 + 1));
        }
        let wire = near.wire();
        Self {
            machine: Host::new(stack, device),
            peer: Host::new(peer_stack, far),
            bed: testbed,
            bridge: Bridge::new(testbed, near),
            wire,
            wiring,
            now: Instant::from_secs(1),
            may_copy: false,
        }
    }

    /// One turn of both hosts at the present time. Returns whether anything
    /// crossed the bridge.
    fn turn(&mut self, app: &mut impl FnMut(&mut Stack, &mut Stack)) -> bool {
        self.wire.advance(self.now);
        self.bed.set_clock(self.now);
        let arrived = self.bridge.pump();
        self.machine.receive(self.now);
        self.peer.receive(self.now);
        app(&mut self.machine.stack, &mut self.peer.stack);
        self.machine.transmit(self.now);
        self.peer.transmit(self.now);
        self.bridge.pump() || arrived
    }

    /// Runs until `done` or the time is up; returns whether it was done.
    pub(crate) fn run(
        &mut self,
        limit: Duration,
        mut app: impl FnMut(&mut Stack, &mut Stack),
        mut done: impl FnMut(&mut Stack, &mut Stack) -> bool,
    ) -> bool {
        let limit = self.now + limit;
        loop {
            let busy = self.turn(&mut app);
            if done(&mut self.machine.stack, &mut self.peer.stack) {
                return true;
            }
            if busy {
                continue;
            }
            let next = [
                self.wire.next_event(),
                self.machine.stack.deadline(),
                self.peer.stack.deadline(),
                // What waits for buffers, or for room in the ring.
                (self.bridge.is_blocked() || !self.machine.tx.is_empty()).then_some(self.now),
            ];
            match next.into_iter().flatten().min() {
                // What is due now, and was not done, waits for frames.
                Some(next) if next <= limit => self.now = next.max(self.now + STEP),
                _ => return false,
            }
        }
    }

    /// An open connection from the peer to the machine: machine's end, peer's.
    pub(crate) fn connect(&mut self, port: u16) -> (FlowId, FlowId) {
        let (any, machine) = match self.wiring.ipv6 {
            false => ("0.0.0.0", "10.0.0.1"),
            true => ("[::]", "[fd00::1]"),
        };
        let local = format!("{any}:{port}").parse().expect("an address");
        let listener = self
            .machine
            .stack
            .tcp_listen(local, ListenOptions::DEFAULT)
            .expect("free");
        let remote = format!("{machine}:{port}").parse().expect("an address");
        let client = self
            .peer
            .stack
            .tcp_connect(remote, TcpOptions::DEFAULT)
            .expect("a port");
        let mut server = None;
        self.run(
            Duration::from_secs(300),
            |_, _| {},
            |machine, peer| {
                server = server.or_else(|| machine.tcp_try_accept(listener).ok());
                server.is_some() && peer.tcp_try_connected(client).is_ok()
            },
        );
        self.machine.stack.tcp_close_listener(listener);
        (server.expect("the connection opens"), client)
    }

    /// The machine does nothing but wait until its driver holds nothing that is
    /// transmitted.
    pub(crate) fn idle(&mut self) {
        for _ in 0..8 {
            self.machine.device.wait(Some(Duration::from_secs(1)));
            self.now = self.now.max(self.bed.clock());
            self.bridge.pump();
        }
        assert_eq!(self.machine.device.stats().tx_held, 0, "frames stay held");
    }

    /// Frames of the machine that are neither free nor lent for reception.
    pub(crate) fn frames_out(&self) -> usize {
        let pool = self.machine.stack.pool();
        pool.in_use() - self.machine.device.stats().rx_lent
    }

    /// Lets everything end, and checks that every frame is home, that nothing was
    /// copied by the machine's stack, and that the driver had no complaint.
    pub(crate) fn finish(mut self) {
        self.run(Duration::from_secs(2_000), |_, _| {}, |_, _| false);
        self.idle();
        let stats = self.machine.device.stats();
        assert_eq!(self.machine.stack.flows_in_use(), 0, "flows left");
        assert_eq!(self.frames_out(), 0, "frames lost: {stats:?}");
        let peer = self.peer.stack.pool();
        assert_eq!(peer.available(), peer.capacity(), "the peer lost frames");
        assert_eq!(stats.rx_lost, 0, "buffers lost");
        assert_eq!(stats.rx_posted, self.bed.stats().rx_posted as usize);
        assert_eq!(self.bed.stats().complaints, 0, "the driver complains");
        let counters = self.machine.stack.counters();
        let copied = counters.get(Counter::CopiedBytes);
        assert!(self.may_copy || copied == 0, "{copied} bytes copied");
        assert_eq!((stats.tx_errors, stats.tx_invalid), (0, 0));
        for direction in [Direction::FirstToSecond, Direction::SecondToFirst] {
            let wire = self.wire.stats(direction);
            assert_eq!((wire.bad_request, wire.too_long), (0, 0), "{direction:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "{}\n{}",
                format_args!("{:?}", self.machine.device.stats()),
                self.now.as_nanos()
            );
            println!("{:?}\n{:?}", self.bed.stats(), self.bridge.stats());
            println!("free frames: {}", self.machine.stack.pool().available());
            println!("machine:\n{}", self.machine.stack.counters());
            println!("peer:\n{}", self.peer.stack.counters());
        }
    }
}
