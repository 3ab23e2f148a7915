//! The stack: all state, and the verbs that move it.
//!
//! A turn of the loop is `input`, the application, `output`, `expire`, and a
//! sleep until `deadline`. Time and frames are arguments: nothing here reads a
//! clock, a device or a random source of the host's.

mod control;
mod expected;
mod input;
mod input6;
mod interfaces;
mod large;
mod listen;
mod log;
mod looped;
mod memory;
mod path;
mod tcp;
mod time_wait;
mod unexpected;

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use arrayvec::ArrayVec;
use pollwire_rings::{Caps, FrameBuf, FramePool, Instant, NetDevice, TxBurst};

use interfaces::Interfaces;
pub use large::LARGE_FRAME;
use large::LargeFrames;
pub use log::{TcpEvent, TcpEventKind};
use looped::Looped;
pub use memory::{BYTES_PER_FLOW, Memory, RECORD_BYTES_PER_FLOW};
pub(crate) use tcp::Stray;

use crate::dhcp::{Client, DhcpConfig};
use crate::flow::FlowTable;
use crate::iface::{Events, Interface, Ipv4Cidr, Ipv6Config, VlanId};
use crate::ip::pmtu::PathMtus;
use crate::ip::{Icmp, Idents, Outbox, Reassembly};
use crate::random::Random;
use crate::tcp::MAX_REST;
use crate::tcp::table::Tcp;
use crate::timer_wheel::TimerWheel;
use crate::udp::Udp;
use crate::wire::MacAddr;
use crate::{Counter, Counters};

pub(crate) use crate::ip::IpMeta;

/// What a stack is at boot.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses of the interface.
    pub ipv4: ArrayVec<Ipv4Cidr, 4>,
    /// Default gateway.
    pub ipv4_gateway: Option<core::net::Ipv4Addr>,
    /// How the interface gets its IPv6 addresses; without, no IPv6 is spoken.
    pub ipv6: Option<Ipv6Config>,
    /// The VLAN that the interface is in: its frames are tagged, and others are
    /// not taken (IEEE 802.1Q). None by default.
    pub vlan: Option<VlanId>,
    /// Whether the addresses are probed for (RFC 5227, 2.1) before they are
    /// used, which takes 4 to 7 seconds; off by default.
    pub probe_ipv4: bool,
    /// How the interface gets an IPv4 address from a DHCP server, if it does.
    pub dhcp: Option<DhcpConfig>,
    /// DNS servers, asked before those that the network tells of.
    pub dns_servers: ArrayVec<IpAddr, 4>,
    /// 32 bytes of the platform's entropy: keys of hashes, sequence numbers and
    /// ports come from it. Equal seeds make equal stacks, which tests like and
    /// nobody else should.
    pub seed: [u8; 32],
}

impl Config {
    /// One address, no gateway.
    #[must_use]
    pub fn new(address: Ipv4Cidr, seed: [u8; 32]) -> Self {
        let mut config = Self::without_addresses(seed);
        config.ipv4.push(address);
        config
    }

    /// No address: for [`with_dhcp`](Self::with_dhcp), or addresses that the
    /// application adds.
    #[must_use]
    pub fn without_addresses(seed: [u8; 32]) -> Self {
        Self {
            ipv4: ArrayVec::new(),
            ipv4_gateway: None,
            ipv6: None,
            vlan: None,
            probe_ipv4: false,
            dhcp: None,
            dns_servers: ArrayVec::new(),
            seed,
        }
    }

    /// The same with a DHCP client (RFC 2131). Addresses that are there besides
    /// stay.
    #[must_use]
    pub fn with_dhcp(self, dhcp: DhcpConfig) -> Self {
        Self {
            dhcp: Some(dhcp),
            ..self
        }
    }

    /// The same in a VLAN.
    #[must_use]
    pub fn with_vlan(self, vlan: VlanId) -> Self {
        Self {
            vlan: Some(vlan),
            ..self
        }
    }

    /// The same with a default gateway.
    #[must_use]
    pub fn with_gateway(self, gateway: core::net::Ipv4Addr) -> Self {
        Self {
            ipv4_gateway: Some(gateway),
            ..self
        }
    }
}

/// The earlier of two times that may not come.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Why a stack did not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError<E> {
    /// Another stack took the memory before.
    MemoryTaken,
    /// The device did not open.
    Device(E),
}

impl<E: fmt::Display> fmt::Display for BootError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemoryTaken => f.write_str("the stack's memory is taken already"),
            Self::Device(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for BootError<E> {}

/// A TCP/IP stack over one interface.
///
/// Single-threaded: `!Send`, like its frames.
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<pollwire_core::Stack>();
/// ```
pub struct Stack {
    pub(crate) pool: FramePool,
    /// The interface at hand; see [`interfaces`].
    pub(crate) iface: Interface,
    interfaces: Interfaces,
    pub(crate) flows: FlowTable,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) icmp: Icmp,
    pub(crate) reassembly: Reassembly,
    pub(crate) idents: Idents,
    pub(crate) paths: PathMtus,
    looped: Looped,
    large: LargeFrames,
    /// Event logs of connections that have one.
    logs: Vec<log::FlowLog>,
    pub(crate) dhcp: Option<Client>,
    pub(crate) timers: TimerWheel,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Counters,
    pub(crate) random: Random,
    /// What configured itself.
    pub(crate) events: Events,
    /// Pieces behind the first of the packet at hand.
    pub(crate) rx_rest: ArrayVec<FrameBuf, MAX_REST>,
    now: Instant,
    /// No chore is due before this.
    chores_at: Instant,
}

impl Stack {
    /// A stack over static memory; `None` when that was taken before.
    #[must_use]
    pub fn new<const FRAMES: usize, const FLOWS: usize, const SIZE: usize>(
        memory: &'static Memory<FRAMES, FLOWS, SIZE>,
        config: &Config,
        caps: Caps,
    ) -> Option<Self> {
        memory.take().map(|parts| Self::build(parts, config, caps))
    }

    /// A stack over heap memory of the same shape, for hosts and tests.
    #[must_use]
    pub fn on_heap<const FRAMES: usize, const FLOWS: usize, const SIZE: usize>(
        config: &Config,
        caps: Caps,
    ) -> Self {
        Self::build(Memory::<FRAMES, FLOWS, SIZE>::take_heap(), config, caps)
    }

    /// A stack over static memory, and the device that `open` makes over the
    /// stack's own frames: a device may receive into them from the start.
    ///
    /// # Errors
    /// [`BootError`], when the memory was taken before or `open` failed.
    pub fn boot<const FRAMES: usize, const FLOWS: usize, const SIZE: usize, D: NetDevice, E>(
        memory: &'static Memory<FRAMES, FLOWS, SIZE>,
        config: &Config,
        open: impl FnOnce(&FramePool) -> Result<D, E>,
    ) -> Result<(Self, D), BootError<E>> {
        let parts = memory.take().ok_or(BootError::MemoryTaken)?;
        let device = open(&parts.pool).map_err(BootError::Device)?;
        Ok((Self::build(parts, config, device.caps()), device))
    }

    fn build(parts: memory::Parts, config: &Config, caps: Caps) -> Self {
        let mut random = Random::new(config.seed);
        let mac = MacAddr(caps.mac);
        let flow_key = (random.next_u64(), random.next_u64());
        Self {
            iface: Interface::new(caps, config, &mut random),
            interfaces: Interfaces::new(),
            flows: FlowTable::new(parts.slots, flow_key),
            tcp: Tcp::new(
                parts.flows,
                parts.nodes,
                parts.time_wait,
                parts.handshakes,
                &mut random,
            ),
            udp: Udp::new(flow_key),
            icmp: Icmp::new(),
            reassembly: Reassembly::new(parts.pool.capacity()),
            idents: Idents::new(&mut random),
            paths: PathMtus::new(),
            looped: Looped::new(),
            large: LargeFrames::new(),
            logs: Vec::new(),
            dhcp: config.dhcp.clone().map(|dhcp| Client::new(dhcp, mac)),
            timers: TimerWheel::new(parts.timers),
            outbox: Outbox::new(),
            counters: Counters::new(),
            events: Events::with_servers(&config.dns_servers),
            pool: parts.pool,
            random,
            rx_rest: ArrayVec::new(),
            now: Instant::ZERO,
            chores_at: Instant::ZERO,
        }
    }

    /// The time of this turn: that of the last verb called.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sets the time of this turn; never back.
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The frame pool, for devices to receive into.
    #[must_use]
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }

    /// What the device can do, as it was told to the stack.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        self.iface.caps()
    }

    /// Everything counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Adds to [`Counter::CopiedBytes`] what a layer above the stack copied of
    /// its payload (TLS, where a record spans frames).
    pub fn count_copied(&mut self, bytes: usize) {
        self.counters.add(Counter::CopiedBytes, bytes as u64);
    }

    /// TCP flows in use: connections open, being opened from this side, or
    /// being closed. Those in TIME-WAIT, and handshakes of the passive side,
    /// have records of their own.
    #[must_use]
    pub fn flows_in_use(&self) -> usize {
        self.tcp.in_use()
    }

    /// Connections in TIME-WAIT.
    #[must_use]
    pub fn time_waits(&self) -> usize {
        self.tcp.time_wait.len()
    }

    /// Flows whose handles were given up and that are not over yet.
    #[must_use]
    pub fn orphans(&self) -> usize {
        self.tcp.orphans as usize
    }

    /// Handshakes of the passive side that are under way.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.tcp.handshakes.len()
    }

    /// Random numbers from the boot's seed, for the application's own needs.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Moves what is to be sent into `tx`. Returns whether more is left for
    /// this turn: give `tx` to the device and call again.
    #[inline(never)]
    pub fn output(&mut self, now: Instant, tx: &mut TxBurst) -> bool {
        self.set_now(now);
        if !self.looped.is_empty() {
            self.receive_looped(now);
        }
        let more = self.tcp.any_touched() && self.tcp_output(now, tx);
        // Flows may have put segments for unresolved neighbours there.
        let control = self.outbox.drain_into(tx);
        more || control || !self.looped.is_empty()
    }

    /// Runs the timers that are due. Returns whether [`output`](Self::output)
    /// has something to send, from them or left from before.
    #[inline]
    pub fn expire(&mut self, now: Instant) -> bool {
        self.set_now(now);
        if self.timers.is_due(now) {
            self.tcp_expire(now);
        }
        if self.chores_at <= now {
            self.run_chores(now);
        } else {
            debug_assert!(
                self.chores_due().is_none_or(|at| at >= self.chores_at),
                "somebody set a timer and did not tell"
            );
        }
        self.has_output()
    }

    /// Whether something waits to be sent.
    #[inline]
    fn has_output(&self) -> bool {
        self.tcp.any_touched() || !self.outbox.is_empty() || !self.looped.is_empty()
    }

    /// When [`expire`](Self::expire) or [`output`](Self::output) next has work:
    /// now, if output is waiting; `None` when only a frame can change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.has_output() {
            return Some(self.now);
        }
        earlier(self.timers.next_deadline(), self.chores_due())
    }

    /// When the first of the chores is due: all timers but those of flows.
    fn chores_due(&self) -> Option<Instant> {
        let tcp = self.tcp.records_due();
        let neighbours = self.iface.deadline();
        let fragments = self.reassembly.deadline();
        let dhcp = self.dhcp.as_ref().and_then(Client::deadline);
        let own = earlier(earlier(tcp, neighbours), earlier(fragments, dhcp));
        earlier(own, self.due_aside())
    }

    /// A chore may be due earlier than was known. Whoever sets one of their
    /// timers outside of [`run_chores`](Self::run_chores) calls this; so a turn
    /// asks for one time, not for each of theirs.
    #[inline]
    pub(crate) fn chores_changed(&mut self) {
        self.chores_at = Instant::ZERO;
    }

    /// A record of a connection is due at `at`.
    pub(crate) fn note_due(&mut self, at: Instant) {
        self.tcp.note_due(at);
        self.chores_at = self.chores_at.min(at);
    }

    #[inline(never)]
    fn run_chores(&mut self, now: Instant) {
        if self.tcp.records_due().is_some_and(|at| at <= now) {
            self.expire_records(now);
        }
        self.interface_chores(now);
        self.chores_aside(now);
        if self.reassembly.deadline().is_some_and(|at| at <= now) {
            self.fragments_expire(now);
        }
        self.chores_at = self.chores_due().unwrap_or(Instant::FAR_FUTURE);
    }

    /// What is due on the interface at hand.
    fn interface_chores(&mut self, now: Instant) {
        if self.iface.deadline().is_some_and(|at| at <= now) {
            self.iface_expire(now);
        }
        if self.dhcp.is_some() {
            self.dhcp_expire(now);
        }
    }

    /// Whether `address` is one of this host's.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.is_looped(address)
    }

    /// The address of this host that packets to `destination` have; `None` when
    /// none can be sent there.
    #[must_use]
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        self.source_among(destination)
    }
}
