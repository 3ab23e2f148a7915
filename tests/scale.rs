//! Many connections: one after another, all at once, and among forged SYNs.
//!
//! Everything runs in virtual time, and in memory of a size fixed at the start.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use pollwire::rings::memory::{self, MemoryDevice, Wire};
use pollwire::rings::{Caps, NetDevice, RxBurst, RxMeta, TxBurst};
use pollwire::{
    Config, Counter, DropReason, Error, FlowId, Instant, Ipv6Config, ListenOptions, ListenerId,
    Stack, SynCookies, TcpOptions, TcpState,
};

/// A stack, its device and its bursts.
struct Host {
    stack: Stack,
    device: MemoryDevice,
    rx: RxBurst,
    tx: TxBurst,
}

impl Host {
    fn new(stack: Stack, device: MemoryDevice) -> Self {
        Self {
            stack,
            device,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    /// Whether anything came.
    fn receive(&mut self, now: Instant) -> bool {
        let count = self.device.rx_burst(self.stack.pool(), &mut self.rx);
        self.stack.input(now, &mut self.rx);
        self.stack.expire(now);
        count > 0
    }

    /// Whether anything went.
    fn transmit(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let more = self.stack.output(now, &mut self.tx);
            let sent = self.device.tx_burst(&mut self.tx);
            any |= sent > 0;
            if !more || sent == 0 {
                return any;
            }
        }
    }
}

/// A client and a server on one wire.
struct World {
    client: Host,
    server: Host,
    wire: Wire,
    now: Instant,
    listeners: Vec<ListenerId>,
}

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

fn config(last: u8) -> Config {
    let address = format!("10.0.0.{last}/24").parse().unwrap();
    Config::new(address, [last; 32])
}

fn caps(last: u8) -> Caps {
    Caps::plain([2, 0, 0, 0, 0, last], 1500)
}

impl World {
    fn new(client: Stack, server: Stack, ports: u16, listen: ListenOptions) -> Self {
        let (left, right) = memory::pair(*client.caps(), *server.caps());
        let wire = left.wire();
        let mut world = Self {
            client: Host::new(client, left),
            server: Host::new(server, right),
            wire,
            now: Instant::from_secs(1),
            listeners: Vec::new(),
        };
        for port in 0..ports {
            let local = SocketAddr::new("0.0.0.0".parse().unwrap(), 8000 + port);
            let listener = world.server.stack.tcp_listen(local, listen).unwrap();
            world.listeners.push(listener);
        }
        // So that neighbours know each other.
        let client = world.connect(0);
        world.settle();
        let server = world.accept(0).unwrap();
        world.client.stack.tcp_abort(client);
        world.settle();
        world.server.stack.tcp_abort(server);
        world
    }

    /// Lets both hosts talk until there is nothing more to say now.
    fn settle(&mut self) {
        self.wire.advance(self.now);
        let mut busy = true;
        while busy {
            busy = self.client.receive(self.now);
            busy |= self.client.transmit(self.now);
            busy |= self.server.receive(self.now);
            busy |= self.server.transmit(self.now);
        }
    }

    fn advance(&mut self, micros: u64) {
        let end = self.now.plus_nanos(micros * 1000);
        loop {
            let client = self.client.stack.deadline();
            let next = client.into_iter().chain(self.server.stack.deadline()).min();
            let Some(next) = next.filter(|next| *next < end) else {
                break;
            };
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn connect(&mut self, port: usize) -> FlowId {
        let remote = format!("10.0.0.2:{}", 8000 + port).parse().unwrap();
        let stack = &mut self.client.stack;
        stack.tcp_connect(remote, TcpOptions::DEFAULT).unwrap()
    }

    fn accept(&mut self, port: usize) -> Result<FlowId, Error> {
        self.server.stack.tcp_try_accept(self.listeners[port])
    }
}

fn send(stack: &mut Stack, flow: FlowId, bytes: &[u8]) {
    assert_eq!(stack.tcp_try_write(flow, bytes), Ok(bytes.len()));
}

fn expect(stack: &mut Stack, flow: FlowId, bytes: &[u8]) {
    let mut got = [0; 64];
    let count = stack
        .tcp_try_read(flow, &mut got)
        .unwrap_or_else(|error| panic!("{error}: {}", stack.counters()));
    assert_eq!(&got[..count], bytes);
}

#[test]
fn a_million_connections_in_flat_memory() {
    const TOTAL: usize = 1_000_000;
    const AT_ONCE: usize = 64;
    let mut world = World::new(
        Stack::on_heap::<512, 128, 2048>(&config(CLIENT), caps(CLIENT)),
        Stack::on_heap::<512, 128, 2048>(&config(SERVER), caps(SERVER)),
        1,
        ListenOptions::DEFAULT,
    );
    let round = |world: &mut World| {
        let clients: Vec<FlowId> = (0..AT_ONCE).map(|_| world.connect(0)).collect();
        world.settle();
        let servers: Vec<FlowId> = (0..AT_ONCE).map(|_| world.accept(0).unwrap()).collect();
        for &flow in &clients {
            send(&mut world.client.stack, flow, b"request");
        }
        world.settle();
        for &flow in &servers {
            expect(&mut world.server.stack, flow, b"request");
            send(&mut world.server.stack, flow, b"response");
        }
        world.settle();
        for &flow in &clients {
            expect(&mut world.client.stack, flow, b"response");
            world.client.stack.tcp_close(flow);
        }
        world.settle();
        for &flow in &servers {
            assert_eq!(world.server.stack.tcp_state(flow), Ok(TcpState::CloseWait));
            world.server.stack.tcp_close(flow);
        }
        world.settle();
        for host in [&world.client, &world.server] {
            assert_eq!((host.stack.flows_in_use(), host.stack.orphans()), (0, 0));
        }
        world.advance(100);
    };
    round(&mut world);
    let frames = |world: &World| {
        let (client, server) = (world.client.stack.pool(), world.server.stack.pool());
        (client.in_use(), server.in_use())
    };
    let begun = std::time::Instant::now();
    let mut opened = AT_ONCE + 1;
    while opened < TOTAL {
        round(&mut world);
        opened += AT_ONCE;
        // As many records as flows, no more; the oldest go.
        assert!(world.client.stack.time_waits() <= 128);
        assert_eq!(frames(&world), (0, 0));
    }
    let took = begun.elapsed();
    println!(
        "{opened} connections in {took:?}: {:?} each",
        took / opened as u32
    );
    let counters = world.server.stack.counters();
    assert_eq!(counters.get(Counter::TcpEstablished), opened as u64);
    assert_eq!(counters.get(Counter::TcpResetsOut), 0);
    assert_eq!(counters.get(Counter::TcpRetransmits), 0);
    let dropped = counters
        .drops()
        .filter(|(reason, _)| reason.name().starts_with("tcp"));
    assert_eq!(
        dropped.map(|(_, count)| count).sum::<u64>(),
        0,
        "{counters}"
    );
    world.advance(61_000_000);
    assert_eq!(world.client.stack.time_waits(), 0);
}

#[test]
fn a_hundred_thousand_at_once_and_each_passes_data() {
    const FLOWS: usize = 100_000;
    const PORTS: usize = 10;
    const BATCH: usize = 100;
    let mut world = World::new(
        Stack::on_heap::<2048, 131_072, 2048>(&config(CLIENT), caps(CLIENT)),
        Stack::on_heap::<2048, 131_072, 2048>(&config(SERVER), caps(SERVER)),
        PORTS as u16,
        ListenOptions::DEFAULT,
    );
    let mut flows = Vec::with_capacity(FLOWS);
    let begun = std::time::Instant::now();
    while flows.len() < FLOWS {
        let port = flows.len() / BATCH % PORTS;
        let clients: Vec<FlowId> = (0..BATCH).map(|_| world.connect(port)).collect();
        world.settle();
        // Nobody promises that they are accepted in the order of their SYNs.
        let mut ends = BTreeMap::new();
        for client in clients {
            let local = world.client.stack.tcp_local_addr(client).unwrap();
            ends.insert(local, client);
        }
        while let Ok(server) = world.accept(port) {
            let peer = world.server.stack.tcp_peer_addr(server).unwrap();
            flows.push((ends.remove(&peer).unwrap(), server));
        }
        assert!(ends.is_empty());
        world.advance(10);
    }
    println!("{FLOWS} opened in {:?}", begun.elapsed());
    assert_eq!(world.client.stack.flows_in_use(), FLOWS);
    assert_eq!(world.server.stack.flows_in_use(), FLOWS);
    // Idle, they hold no frame, and have no timer.
    world.advance(10_000_000);
    assert_eq!(world.server.stack.pool().in_use(), 0);
    let next = world.server.stack.deadline();
    let second = world.now.plus_nanos(1_000_000_000);
    assert!(
        next.is_none_or(|at| at > second),
        "neighbours only: {next:?}"
    );
    let begun = std::time::Instant::now();
    // A prime stride: no order that a cache or a list would like.
    for (number, at) in (0..FLOWS).map(|i| i * 7919 % FLOWS).enumerate() {
        let (client, server) = flows[at];
        let request = (at as u64).to_be_bytes();
        send(&mut world.client.stack, client, &request);
        world.settle();
        expect(&mut world.server.stack, server, &request);
        send(&mut world.server.stack, server, &request);
        world.settle();
        expect(&mut world.client.stack, client, &request);
        if number % 1000 == 0 {
            // The client's delayed acknowledgements give the frames back.
            world.advance(50_000);
        }
    }
    let each = begun.elapsed() / FLOWS as u32;
    println!("request and reply on each of {FLOWS}: {each:?}");
    for (client, server) in flows {
        world.client.stack.tcp_abort(client);
        world.server.stack.tcp_abort(server);
        if world.client.stack.deadline().is_some() {
            world.settle();
        }
    }
    world.advance(1_000_000);
    assert_eq!(world.client.stack.pool().in_use(), 0);
    assert_eq!(world.server.stack.flows_in_use(), 0);
}

#[test]
fn over_ipv6_by_cookies_alone() {
    let config6 = |last: u8| {
        let mut ipv6 = Ipv6Config::LINK_LOCAL;
        ipv6.addresses
            .push(format!("fd00::{last}/64").parse().unwrap());
        ipv6.dad_transmits = 0;
        Config {
            ipv6: Some(ipv6),
            ..config(last)
        }
    };
    let listen = ListenOptions {
        syn_cookies: SynCookies::Always,
        ..ListenOptions::DEFAULT
    };
    let mut world = World::new(
        Stack::on_heap::<512, 64, 2048>(&config6(CLIENT), caps(CLIENT)),
        Stack::on_heap::<512, 64, 2048>(&config6(SERVER), caps(SERVER)),
        1,
        listen,
    );
    let remote = "[fd00::2]:8000".parse().unwrap();
    for round in 0..100 {
        let client = &mut world.client.stack;
        let flow = client.tcp_connect(remote, TcpOptions::DEFAULT).unwrap();
        world.settle();
        assert_eq!(world.server.stack.handshakes(), 0);
        let server = world.accept(0).expect("a cookie came back");
        let info = world.server.stack.tcp_info(server).unwrap();
        assert!(info.sack && info.timestamps && info.window_scale.is_some());
        // The largest of the eight sizes that an Ethernet carries over IPv6.
        assert_eq!(info.send_mss, 1440 - 12);
        send(&mut world.client.stack, flow, b"request");
        world.settle();
        expect(&mut world.server.stack, server, b"request");
        world.client.stack.tcp_close(flow);
        world.settle();
        world.server.stack.tcp_close(server);
        world.settle();
        assert_eq!(world.client.stack.time_waits(), (round + 1).min(64));
        assert_eq!(world.server.stack.flows_in_use(), 0);
    }
    world.advance(61_000_000);
    assert_eq!(world.client.stack.time_waits(), 0);
}

/// A SYN from `source` to the server's first port, as it comes from the router.
fn forged_syn(source: [u8; 4], port: u16, seq: u32) -> Vec<u8> {
    use pollwire::offload::checksum::Sum;
    let mut tcp = Vec::with_capacity(24);
    tcp.extend(port.to_be_bytes());
    tcp.extend(8000_u16.to_be_bytes());
    tcp.extend(seq.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    let pseudo = Sum::pseudo_v4(source, [10, 0, 0, SERVER], 6, tcp.len() as u16);
    let check = pseudo.add_bytes(&tcp).finish();
    tcp[16..18].copy_from_slice(&check.to_be_bytes());
    let mut frame = vec![2, 0, 0, 0, 0, SERVER, 2, 0, 0, 0, 0, CLIENT, 8, 0];
    frame.extend([0x45, 0, 0, 20 + tcp.len() as u8, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend([10, 0, 0, SERVER]);
    let check = Sum::of(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&check.to_be_bytes());
    frame.extend(tcp);
    frame
}

#[test]
fn ten_thousand_forged_syns_a_second_keep_nobody_out() {
    const SECONDS: u32 = 5;
    let client = Stack::on_heap::<512, 64, 2048>(&config(CLIENT), caps(CLIENT));
    // Answers to forged addresses leave through the router, which is where the
    // client is as well.
    let routed = config(SERVER).with_gateway("10.0.0.1".parse().unwrap());
    let server = Stack::on_heap::<512, 64, 2048>(&routed, caps(SERVER));
    let mut world = World::new(client, server, 1, ListenOptions::DEFAULT);
    let (mut served, mut slowest) = (0_u32, 0);
    for forged in 0..SECONDS * 10_000 {
        let [_, a, b, c] = forged.to_be_bytes();
        let bytes = forged_syn(
            [198, 18 + (a & 1), b, c],
            1024 + (forged % 60_000) as u16,
            forged,
        );
        let mut frame = world.server.stack.pool().alloc().expect("frames are free");
        frame.extend_from_slice(&bytes);
        world.server.rx.push(frame, RxMeta::default()).unwrap();
        world.advance(100);
        if forged % 100 != 50 {
            continue;
        }
        // A client among them, a hundred times a second.
        let begun = world.now;
        let flow = world.connect(0);
        world.settle();
        let accepted = world.accept(0).expect("at once");
        send(&mut world.client.stack, flow, b"request");
        world.settle();
        expect(&mut world.server.stack, accepted, b"request");
        send(&mut world.server.stack, accepted, b"response");
        world.settle();
        expect(&mut world.client.stack, flow, b"response");
        world.client.stack.tcp_close(flow);
        world.server.stack.tcp_close(accepted);
        world.settle();
        served += 1;
        slowest = slowest.max(world.now.nanos_since(begun));
    }
    let stats = world
        .server
        .stack
        .tcp_listener_stats(world.listeners[0])
        .unwrap();
    println!("served {served}, slowest {slowest} ns of virtual time; {stats:?}");
    assert_eq!(served, SECONDS * 100);
    assert_eq!(stats.opened, u64::from(served) + 1);
    assert!(stats.cookies_taken > u64::from(served) / 2, "{stats:?}");
    assert_eq!((stats.accept_overflows, stats.syns_dropped), (0, 0));
    let counters = world.server.stack.counters();
    assert_eq!(counters.dropped(DropReason::TcpNoFlowFree), 0);
    assert_eq!(counters.dropped(DropReason::OutboxFull), 0);
    assert!(world.server.stack.flows_in_use() <= 2);
    world.advance(200_000_000);
    assert_eq!(world.server.stack.handshakes(), 0);
    assert_eq!(world.server.stack.pool().in_use(), 0);
}
