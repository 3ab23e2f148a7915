//! pollwire's side of the comparison: a turn is what its `Runtime` does, with
//! the workload in the place of tasks.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pollwire_core::{
    Config, Counter, FlowId, Instant, Ipv4Cidr, Ipv6Cidr, ListenOptions, ListenerId, Stack,
    TcpOptions, UdpId,
};
use pollwire_rings::memory::{self, MemoryDevice};
use pollwire_rings::{Caps, NetDevice, RxBurst, TxBurst};

use crate::{End, IpVersion, Offloads, Pair, Setup};

const TCP_PORT: u16 = 80;
const UDP_PORT: u16 = 7;
/// Idle connections per listener: well below the number of ephemeral ports.
const PER_LISTENER: usize = 8192;

const FRAMES: usize = 2048;
/// Flows of a host without many idle connections, and of one with.
const FEW_FLOWS: usize = 1024;
const MANY_FLOWS: usize = 1 << 17;
/// Connections in TIME-WAIT after which the client waits for them to end.
const CROWD: usize = 500;
/// Tenths of a second until an IPv6 address may be used.
const SETTLES: usize = 50;
/// Longer than TIME-WAIT, which lasts a minute.
const TIME_WAIT: Duration = Duration::from_secs(61);

/// What a full segment carries beside its headers, with twelve bytes of
/// timestamps.
const fn segment(ip: IpVersion) -> usize {
    match ip {
        IpVersion::V4 => 1448,
        IpVersion::V6 => 1428,
    }
}

struct Host {
    stack: Stack,
    device: MemoryDevice,
    udp: UdpId,
    rx: RxBurst,
    tx: TxBurst,
}

/// Two pollwire hosts.
pub struct PollwirePair {
    now: Instant,
    ip: IpVersion,
    /// Payload bytes of a full segment.
    segment: usize,
    client: Host,
    server: Host,
    listener: ListenerId,
}

/// Both ends of an open connection.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    client: FlowId,
    server: FlowId,
}

impl core::fmt::Debug for PollwirePair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PollwirePair")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

const fn number(end: End) -> u8 {
    match end {
        End::Client => 1,
        End::Server => 2,
    }
}

const fn v4(end: End) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number(end))
}

const fn v6(end: End) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number(end) as u16)
}

fn endpoint(ip: IpVersion, end: End, port: u16) -> SocketAddr {
    let address = match ip {
        IpVersion::V4 => IpAddr::V4(v4(end)),
        IpVersion::V6 => IpAddr::V6(v6(end)),
    };
    SocketAddr::new(address, port)
}

fn any(ip: IpVersion, port: u16) -> SocketAddr {
    let address = match ip {
        IpVersion::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpVersion::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, port)
}

fn config(ip: IpVersion, end: End) -> Config {
    let seed = [number(end); 32];
    match ip {
        IpVersion::V4 => {
            let cidr = Ipv4Cidr::new(v4(end), 24).expect("24 is a prefix length");
            Config::new(cidr, seed)
        }
        IpVersion::V6 => {
            let cidr = Ipv6Cidr::new(v6(end), 64).expect("64 is a prefix length");
            Config::without_addresses(seed).with_ipv6(cidr)
        }
    }
}

fn caps(end: End, offloads: Offloads) -> Caps {
    let mut caps = Caps::plain([2, 0, 0, 0, 0, number(end)], 1500);
    caps.tx_checksum = offloads != Offloads::None;
    caps.tso4 = offloads == Offloads::Segmentation;
    caps
}

impl Host {
    fn new(end: End, setup: &Setup, device: MemoryDevice) -> Self {
        let config = config(setup.ip, end);
        let caps = device.caps();
        let mut stack = if setup.idle < FEW_FLOWS - CROWD {
            Stack::on_heap::<FRAMES, FEW_FLOWS, 2048>(&config, caps)
        } else {
            Stack::on_heap::<FRAMES, MANY_FLOWS, 2048>(&config, caps)
        };
        let udp = stack
            .udp_bind(any(setup.ip, UDP_PORT))
            .expect("a fresh stack binds");
        Self {
            stack,
            device,
            udp,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    fn ingress(&mut self, now: Instant) {
        if self.device.rx_burst(self.stack.pool(), &mut self.rx) > 0 {
            self.stack.input(now, &mut self.rx);
        }
    }

    /// Sends, runs the timers, and sends what they gave rise to.
    #[inline]
    fn egress(&mut self, now: Instant) {
        let mut timers_ran = false;
        loop {
            let more = self.stack.output(now, &mut self.tx);
            if !self.tx.is_empty() {
                self.device.tx_burst(&mut self.tx);
                if more && self.tx.is_empty() {
                    continue;
                }
            }
            if timers_ran || !self.stack.expire(now) {
                return;
            }
            timers_ran = true;
        }
    }
}

impl PollwirePair {
    fn host(&mut self, end: End) -> &mut Host {
        match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// One way and back, application aside.
    fn round(&mut self) {
        for end in [End::Client, End::Server] {
            self.egress(end);
            self.ingress(end.peer());
        }
    }

    /// Waits until the addresses are known to be nobody else's (RFC 4862, 5.4).
    fn settle(&mut self) {
        for _ in 0..SETTLES {
            self.advance(Duration::from_millis(100));
            self.round();
        }
    }

    fn listen(&mut self, port: u16) -> ListenerId {
        let options = ListenOptions {
            tcp: TcpOptions::DEFAULT.nodelay(),
            ..ListenOptions::DEFAULT
        };
        self.server
            .stack
            .tcp_listen(any(self.ip, port), options)
            .expect("the port is free")
    }

    fn handshake(&mut self, listener: ListenerId, port: u16) -> Flow {
        let client = self
            .client
            .stack
            .tcp_connect(
                endpoint(self.ip, End::Server, port),
                TcpOptions::DEFAULT.nodelay(),
            )
            .expect("a flow is free");
        for _ in 0..100 {
            self.round();
            if let Ok(server) = self.server.stack.tcp_try_accept(listener) {
                self.client
                    .stack
                    .tcp_try_connected(client)
                    .expect("the server answered");
                return Flow { client, server };
            }
        }
        panic!("pollwire: no handshake");
    }

    fn flow_id(end: End, flow: Flow) -> FlowId {
        match end {
            End::Client => flow.client,
            End::Server => flow.server,
        }
    }

    /// Bytes that either stack has copied.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        [&self.client, &self.server]
            .iter()
            .map(|host| host.stack.counters().get(Counter::CopiedBytes))
            .sum()
    }
}

impl Pair for PollwirePair {
    const NAME: &'static str = "pollwire";
    type Flow = Flow;

    fn new(setup: &Setup) -> Self {
        let (left, right) = memory::pair(
            caps(End::Client, setup.offloads),
            caps(End::Server, setup.offloads),
        );
        let client = Host::new(End::Client, setup, left);
        let mut server = Host::new(End::Server, setup, right);
        let options = ListenOptions {
            tcp: TcpOptions::DEFAULT.nodelay(),
            ..ListenOptions::DEFAULT
        };
        let listener = server
            .stack
            .tcp_listen(any(setup.ip, TCP_PORT), options)
            .expect("the port is free");
        let mut pair = Self {
            now: Instant::from_secs(1),
            ip: setup.ip,
            segment: segment(setup.ip),
            client,
            server,
            listener,
        };
        if setup.ip == IpVersion::V6 {
            pair.settle();
        }
        // The first datagram resolves the neighbours.
        for from in [End::Client, End::Server] {
            pair.advance(Duration::ZERO);
            assert!(pair.send_datagram(from, 1), "pollwire: datagram refused");
            pair.round();
            pair.round();
            assert_eq!(
                pair.receive_datagram(from.peer()),
                Some(1),
                "pollwire: datagram lost"
            );
        }
        pair
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    fn ingress(&mut self, end: End) {
        let now = self.now;
        self.host(end).ingress(now);
    }

    fn egress(&mut self, end: End) {
        let now = self.now;
        self.host(end).egress(now);
    }

    fn open(&mut self) -> Flow {
        self.handshake(self.listener, TCP_PORT)
    }

    fn close(&mut self, flow: Flow) {
        self.client.stack.tcp_close(flow.client);
        self.egress(End::Client);
        self.ingress(End::Server);
        self.server.stack.tcp_close(flow.server);
        self.egress(End::Server);
        self.ingress(End::Client);
        self.egress(End::Client);
        self.ingress(End::Server);
        assert!(
            self.server.stack.tcp_state(flow.server).is_err(),
            "pollwire: does not close"
        );
        if self.client.stack.time_waits() >= CROWD {
            self.advance(TIME_WAIT);
            self.round();
        }
    }

    fn open_idle(&mut self, count: usize) {
        let mut port = TCP_PORT;
        let mut listener = self.listener;
        for index in 1..=count {
            if index % PER_LISTENER == 0 {
                port += 1;
                listener = self.listen(port);
            }
            self.handshake(listener, port);
        }
    }

    fn send(&mut self, from: End, flow: Flow, len: usize) -> usize {
        let (id, segment) = (Self::flow_id(from, flow), self.segment);
        let stack = &mut self.host(from).stack;
        let mut taken = 0;
        while taken < len {
            let count = segment.min(len - taken);
            let Some(mut frame) = stack.frame_alloc() else {
                break;
            };
            if frame.push_back(count).is_none() || stack.tcp_try_send(id, frame).is_err() {
                break;
            }
            taken += count;
        }
        taken
    }

    fn receive(&mut self, at: End, flow: Flow) -> usize {
        let id = Self::flow_id(at, flow);
        let stack = &mut self.host(at).stack;
        let mut total = 0;
        // Nothing yet counts as nothing.
        let _ = stack.tcp_try_recv_all(id, |frame| total += frame.len());
        total
    }

    fn send_datagram(&mut self, from: End, len: usize) -> bool {
        let to = endpoint(self.ip, from.peer(), UDP_PORT);
        let host = self.host(from);
        let Ok(frame) = host.stack.udp_reserve(host.udp, len) else {
            return false;
        };
        host.stack.udp_try_send_frame(host.udp, frame, to).is_ok()
    }

    fn receive_datagram(&mut self, at: End) -> Option<usize> {
        let host = self.host(at);
        let (frame, _) = host.stack.udp_try_recv(host.udp).ok()?;
        Some(frame.len())
    }
}
