//! Hosts with several interfaces, and others with one, on wires between them.

mod jumbo;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, HEADROOM, Instant, RxBurst, RxChecksum, RxMeta, TxBurst};

use crate::{
    Config, Counter, DhcpConfig, DropReason, Error, FlowId, InterfaceId, Ipv6Config, ListenOptions,
    MAX_INTERFACES, Misuse, NetEvent, Stack, TcpOptions, VlanId,
};

const FIRST: InterfaceId = InterfaceId::FIRST;

fn caps(last: u8) -> Caps {
    Caps::plain([2, 0, 0, 0, 0, last], 1500)
}

fn config(seed: u8, v4: &str, v6: &str) -> Config {
    let mut config = Config::new(v4.parse().unwrap(), [seed; 32]);
    let mut ipv6 = Ipv6Config::LINK_LOCAL;
    if !v6.is_empty() {
        ipv6.addresses.push(v6.parse().unwrap());
    }
    config.ipv6 = Some(ipv6);
    config
}

fn stack(config: &Config, caps: Caps) -> Stack {
    Stack::on_heap::<512, 16, 2048>(config, caps)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(text), port)
}

fn any_of(address: IpAddr, port: u16) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    }
}

/// An end of a wire: a host, and its interface.
type End = (usize, InterfaceId);

/// Hosts, wires, and what went over each wire last.
struct World {
    hosts: Vec<Stack>,
    wires: Vec<Vec<End>>,
    seen: Vec<Vec<Vec<u8>>>,
    now: Instant,
}

impl World {
    fn new(hosts: Vec<Stack>, wires: Vec<Vec<End>>) -> Self {
        let mut world = Self {
            seen: vec![Vec::new(); wires.len()],
            hosts,
            wires,
            now: Instant::from_secs(1),
        };
        // Until all have their link-local addresses.
        for _ in 0..50 {
            world.pass(Duration::from_millis(100));
        }
        world
    }

    /// One turn of everybody; what leaves by one end of a wire arrives at the
    /// others.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for wire in 0..self.wires.len() {
            self.seen[wire].clear();
        }
        for wire in 0..self.wires.len() {
            for from in 0..self.wires[wire].len() {
                let sent = self.output(self.wires[wire][from]);
                for to in 0..self.wires[wire].len() {
                    if to != from {
                        self.give(self.wires[wire][to], &sent, RxChecksum::Unknown);
                    }
                }
                self.seen[wire].extend(sent);
            }
        }
    }

    fn output(&mut self, (host, interface): End) -> Vec<Vec<u8>> {
        let (mut tx, mut sent) = (TxBurst::new(), Vec::new());
        let stack = &mut self.hosts[host];
        stack.expire(self.now);
        loop {
            let more = stack.output_on(interface, self.now, &mut tx);
            for packet in tx.iter() {
                let bytes = packet.pieces.iter().flat_map(|piece| piece.to_vec());
                sent.push(bytes.collect());
            }
            let count = tx.packets();
            tx.consume(count);
            if !more {
                return sent;
            }
        }
    }

    fn give(&mut self, (host, interface): End, frames: &[Vec<u8>], checksum: RxChecksum) {
        let stack = &mut self.hosts[host];
        for frames in frames.chunks(8) {
            let mut burst = RxBurst::new();
            for bytes in frames {
                // In pieces where it is longer than a frame.
                let room = stack.pool().frame_size() - HEADROOM;
                let last = bytes.len().div_ceil(room);
                for (piece, bytes) in bytes.chunks(room).enumerate() {
                    let mut frame = stack.pool().alloc().expect("a frame is free");
                    assert_eq!(frame.extend_from_slice(bytes), bytes.len());
                    let meta = RxMeta {
                        checksum,
                        continues: piece + 1 < last,
                        ..RxMeta::default()
                    };
                    burst.push(frame, meta).expect("room");
                }
            }
            stack.input_on(interface, self.now, &mut burst);
        }
    }

    fn settle(&mut self) {
        for _ in 0..30 {
            self.pass(Duration::from_millis(10));
        }
    }

    /// An open connection from one host to another's address.
    fn connect(&mut self, client: usize, server: usize, to: SocketAddr) -> [FlowId; 2] {
        let local = any_of(to.ip(), to.port());
        let listener = self.hosts[server].tcp_listen(local, ListenOptions::DEFAULT);
        let listener = listener.expect("free");
        let flow = self.hosts[client].tcp_connect(to, TcpOptions::DEFAULT);
        let flow = flow.expect("opens");
        self.settle();
        let accepted = self.hosts[server].tcp_try_accept(listener);
        let accepted = accepted.unwrap_or_else(|error| panic!("{to}: {error}"));
        self.hosts[server].tcp_close_listener(listener);
        [flow, accepted]
    }

    /// Sends `len` bytes from one end to the other; returns the length of the
    /// longest frame on the first wire.
    fn transfer(
        &mut self,
        (from, out): (usize, FlowId),
        (to, into): (usize, FlowId),
        len: usize,
    ) -> usize {
        let data: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
        let (mut sent, mut got, mut longest) = (0, Vec::new(), 0);
        for _ in 0..4000 {
            let sender = &mut self.hosts[from];
            sent += sender.tcp_try_write(out, &data[sent..]).unwrap_or(0);
            self.pass(Duration::from_micros(100));
            let lengths = self.seen[0].iter().map(Vec::len);
            longest = longest.max(lengths.max().unwrap_or(0));
            while let Ok(Some(frame)) = self.hosts[to].tcp_try_recv(into) {
                got.extend_from_slice(&frame);
            }
            if got.len() == data.len() {
                break;
            }
        }
        assert!(got == data, "{} of {}", got.len(), data.len());
        longest
    }

    fn dropped(&self, host: usize, reason: DropReason) -> u64 {
        self.hosts[host].counters().dropped(reason)
    }

    /// The link-local address that came up on an interface.
    fn link_local(&mut self, (host, interface): End) -> Ipv6Addr {
        while let Some((on, event)) = self.hosts[host].next_event_of() {
            if let NetEvent::AddressUp(IpAddr::V6(own)) = event
                && on == interface
                && own.is_unicast_link_local()
            {
                return own;
            }
        }
        panic!("no address");
    }

    fn finish(mut self) {
        for _ in 0..400 {
            self.pass(Duration::from_secs(1));
        }
        for stack in &self.hosts {
            assert_eq!(stack.flows_in_use(), 0);
            let pool = stack.pool();
            assert_eq!(pool.available(), pool.capacity(), "frames leaked");
        }
    }
}

/// Host 0 with two interfaces; host 1 on the first one's wire, host 2 on the
/// other's.
fn two_links() -> (World, InterfaceId) {
    let mut both = stack(&config(1, "10.1.0.1/24", "fd00:1::1/64"), caps(1));
    let second = both.add_interface(&config(0, "10.2.0.1/24", "fd00:2::1/64"), caps(2));
    let second = second.expect("room");
    let one = stack(&config(2, "10.1.0.2/24", "fd00:1::2/64"), caps(3));
    let other = stack(&config(3, "10.2.0.2/24", "fd00:2::2/64"), caps(4));
    let wires = vec![vec![(0, FIRST), (1, FIRST)], vec![(0, second), (2, FIRST)]];
    (World::new(vec![both, one, other], wires), second)
}

#[test]
fn connections_go_through_each_interface() {
    let (mut world, second) = two_links();
    for (peer, own, to) in [
        (1, "10.1.0.1", "10.1.0.2"),
        (2, "10.2.0.1", "10.2.0.2"),
        (1, "fd00:1::1", "fd00:1::2"),
        (2, "fd00:2::1", "fd00:2::2"),
    ] {
        let right = if peer == 1 { FIRST } else { second };
        assert_eq!(world.hosts[0].source_for(ip(to)), Some(ip(own)));
        assert_eq!(world.hosts[0].interface_with(ip(own)), Some(right));
        for [a, b] in [[(0, peer), (peer, 0)], [(peer, 0), (0, peer)]] {
            let to = if a.0 == 0 { to } else { own };
            let [client, server] = world.connect(a.0, a.1, at(to, 80));
            world.transfer((a.0, client), (b.0, server), 200_000);
            world.transfer((b.0, server), (a.0, client), 200_000);
            world.hosts[a.0].tcp_abort(client);
            world.hosts[b.0].tcp_abort(server);
            world.settle();
        }
    }
    let counters = world.hosts[0].counters();
    assert_eq!(counters.get(Counter::TcpTimeouts), 0, "{counters}");
    world.finish();
}

#[test]
fn connections_through_all_interfaces_at_once() {
    let (mut world, _) = two_links();
    let peers = [(1, at("10.1.0.2", 80)), (2, at("10.2.0.2", 80))];
    let ends = peers.map(|(peer, to)| (peer, world.connect(0, peer, to)));
    let data = vec![9; 200_000];
    let (mut sent, mut got) = ([0; 2], [0; 2]);
    for _ in 0..4000 {
        for (which, (peer, [client, server])) in ends.into_iter().enumerate() {
            let rest = &data[sent[which]..];
            sent[which] += world.hosts[0].tcp_try_write(client, rest).unwrap_or(0);
            while let Ok(Some(frame)) = world.hosts[peer].tcp_try_recv(server) {
                got[which] += frame.len();
            }
        }
        world.pass(Duration::from_micros(100));
    }
    assert_eq!(got, [data.len(); 2]);
    // One ends while it has something to send and waits for its interface.
    let [_, (_, [client, _])] = ends;
    world.hosts[0].tcp_try_write(client, b"more").expect("open");
    world.output((0, FIRST));
    assert!(world.hosts[0].tcp.any_parked());
    assert!(
        world.hosts[0]
            .deadline()
            .is_some_and(|due| due <= world.now)
    );
    for (peer, [client, server]) in ends {
        world.hosts[0].tcp_abort(client);
        world.hosts[peer].tcp_abort(server);
    }
    world.finish();
}

#[test]
fn datagrams_go_through_each_interface() {
    let (mut world, second) = two_links();
    for (peer, to) in [
        (1, "10.1.0.2"),
        (2, "10.2.0.2"),
        (1, "fd00:1::2"),
        (2, "fd00:2::2"),
    ] {
        let any = any_of(ip(to), 7);
        let [a, b] = [0, peer].map(|host: usize| world.hosts[host].udp_bind(any).expect("free"));
        for len in [0, 1, 1400, 5000, 60_000] {
            let data = vec![len as u8; len];
            for _ in 0..3 {
                world.hosts[0]
                    .udp_try_send(a, &data, at(to, 7))
                    .expect("sends");
                world.settle();
                let mut out = vec![0; 65_535];
                let (count, from) = world.hosts[peer]
                    .udp_try_recv_into(b, &mut out)
                    .expect("came");
                assert!(out[..count] == data);
                world.hosts[peer]
                    .udp_try_send(b, &data, from)
                    .expect("sends");
                world.settle();
                let (count, from) = world.hosts[0].udp_try_recv_into(a, &mut out).expect("came");
                assert!(out[..count] == data);
                assert_eq!(from, at(to, 7));
            }
        }
        world.hosts[0].udp_close(a);
        world.hosts[peer].udp_close(b);
    }
    // To all hosts of a link: the interface has to be said.
    let everybody = at("255.255.255.255", 7);
    let any = any_of(everybody.ip(), 7);
    let sockets = [0, 1, 2].map(|host: usize| world.hosts[host].udp_bind(any).expect("free"));
    let send = |stack: &mut Stack| stack.udp_try_send(sockets[0], b"all", everybody);
    world.hosts[0]
        .with_interface(second, send)
        .expect("there")
        .expect("sends");
    world.settle();
    assert!(world.hosts[2].udp_try_recv(sockets[2]).is_ok());
    assert!(world.hosts[1].udp_try_recv(sockets[1]).is_err());
    for (host, socket) in sockets.into_iter().enumerate() {
        world.hosts[host].udp_close(socket);
    }
    world.finish();
}

#[test]
fn rfc_1122_3_3_4_2_a_packet_is_for_the_interface_that_it_comes_in_on() {
    let (mut world, second) = two_links();
    for (own, to, reason) in [
        ("10.2.0.1", "10.2.0.2", DropReason::Ipv4NotForUs),
        ("fd00:2::1", "fd00:2::2", DropReason::Ipv6NotForUs),
    ] {
        let [client, server] = world.connect(0, 2, at(to, 80));
        for (count, mac) in [(1, 1), (3, 1), (1, 2), (3, 2)] {
            // The flow is the last that received.
            world.hosts[2].tcp_try_write(server, b"ping").expect("open");
            world.settle();
            assert!(world.hosts[0].tcp_try_recv(client).is_ok());
            // The next segment comes in on the other interface.
            world.hosts[2].tcp_try_write(server, b"pong").expect("open");
            let sent = world.output((2, FIRST));
            let [frame] = &sent[..] else {
                panic!("one segment, not {}", sent.len())
            };
            let mut astray = frame.clone();
            astray[..6].copy_from_slice(&caps(mac).mac);
            let reason = match mac {
                1 => reason,
                _ => DropReason::EthernetNotForUs,
            };
            let before = world.dropped(0, reason);
            world.give((0, FIRST), &vec![astray; count], RxChecksum::Verified);
            assert_eq!(world.dropped(0, reason), before + count as u64, "{own}");
            let got = world.hosts[0].tcp_try_recv(client).map(drop);
            assert_eq!(got, Err(Error::WouldBlock));
            world.give((0, second), &sent, RxChecksum::Unknown);
            assert!(world.hosts[0].tcp_try_recv(client).is_ok());
            world.settle();
        }
        world.hosts[0].tcp_abort(client);
        world.hosts[2].tcp_abort(server);
        world.settle();
    }
    // From an address that is this host's on another interface.
    let id = world.hosts[0]
        .udp_bind(any_of(ip("10.1.0.1"), 7))
        .expect("free");
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend([10, 2, 0, 1, 10, 1, 0, 1]);
    let check = pollwire_offload::checksum::Sum::of(&packet).finish();
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    let udp = [0, 7, 0, 7, 0, 9, 0, 0, b'!'];
    let frame = [&caps(1).mac[..], &caps(3).mac, &[8, 0], &packet, &udp].concat();
    world.give((0, FIRST), &[frame.clone(), frame], RxChecksum::Verified);
    assert_eq!(world.dropped(0, DropReason::Ipv4OwnSource), 2);
    world.hosts[0].udp_close(id);
    world.finish();
}

#[test]
fn this_host_reaches_all_its_addresses() {
    let (mut world, _) = two_links();
    for to in [
        "10.1.0.1",
        "10.2.0.1",
        "fd00:1::1",
        "fd00:2::1",
        "127.0.0.1",
        "::1",
    ] {
        let [client, server] = world.connect(0, 0, at(to, 80));
        world.transfer((0, client), (0, server), 100_000);
        world.hosts[0].tcp_abort(client);
        world.hosts[0].tcp_abort(server);
        world.settle();
    }
    // From one interface's address to the other's.
    let listener = world.hosts[0].tcp_listen(at("10.2.0.1", 80), ListenOptions::DEFAULT);
    let listener = listener.expect("free");
    let options = TcpOptions {
        local: Some(at("10.1.0.1", 0)),
        ..TcpOptions::DEFAULT
    };
    let client = world.hosts[0]
        .tcp_connect(at("10.2.0.1", 80), options)
        .expect("opens");
    world.settle();
    let server = world.hosts[0]
        .tcp_try_accept(listener)
        .expect("a connection");
    world.transfer((0, server), (0, client), 100_000);
    world.hosts[0].tcp_abort(client);
    world.hosts[0].tcp_abort(server);
    world.hosts[0].tcp_close_listener(listener);
    world.finish();
}

#[test]
fn rfc_1122_3_3_4_3_the_longest_prefix_chooses_interface_and_source() {
    let (mut world, second) = two_links();
    let host = &mut world.hosts[0];
    let source = |host: &mut Stack, to| host.source_for(ip(to));
    assert_eq!(source(host, "192.0.2.1"), None);
    let everywhere = "0.0.0.0/0".parse().unwrap();
    host.add_ipv4_route(everywhere, Some(Ipv4Addr::new(10, 1, 0, 2)))
        .unwrap();
    assert_eq!(source(host, "192.0.2.1"), Some(ip("10.1.0.1")));
    let gateway = Some(Ipv4Addr::new(10, 2, 0, 2));
    let narrow = "192.0.2.0/24".parse().unwrap();
    let add = |stack: &mut Stack| stack.add_ipv4_route(narrow, gateway);
    host.with_interface(second, add)
        .expect("there")
        .expect("room");
    assert_eq!(source(host, "192.0.2.1"), Some(ip("10.2.0.1")));
    assert_eq!(source(host, "192.0.3.1"), Some(ip("10.1.0.1")));
    // Equals: the first one, or the one that was asked.
    let add = |stack: &mut Stack| stack.add_ipv4_route(everywhere, gateway);
    host.with_interface(second, add)
        .expect("there")
        .expect("room");
    assert_eq!(source(host, "192.0.3.1"), Some(ip("10.1.0.1")));
    let asked = |stack: &mut Stack| source(stack, "192.0.3.1");
    assert_eq!(host.with_interface(second, asked), Ok(Some(ip("10.2.0.1"))));
    // Packets go where their source address says.
    let any = any_of(ip("10.1.0.1"), 7);
    let id = host.udp_bind(any).expect("free");
    let peer = world.hosts[2].udp_bind(any).expect("free");
    world.hosts[0]
        .udp_try_send(id, b"x", at("192.0.2.9", 7))
        .expect("sends");
    let before = world.dropped(2, DropReason::Ipv4NotForUs);
    world.settle();
    assert_eq!(
        world.dropped(2, DropReason::Ipv4NotForUs),
        before + 1,
        "a router would take it"
    );
    world.hosts[0].udp_close(id);
    world.hosts[2].udp_close(peer);
    world.finish();
}

/// A gateway's word counts on its link, and leads to neighbours there.
#[test]
fn rfc_1122_3_2_2_2_a_redirect_is_for_the_interface_that_it_comes_in_on() {
    let (mut world, second) = two_links();
    let host = &mut world.hosts[0];
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let gateway = Some(Ipv4Addr::new(10, 2, 0, 2));
    let add = |stack: &mut Stack| stack.add_ipv4_route(everywhere, gateway);
    host.with_interface(second, add)
        .expect("there")
        .expect("room");
    let far = at("192.0.2.9", 9);
    let id = host.udp_bind(at("10.2.0.1", 7)).expect("free");
    host.udp_connect(id, Some(far)).expect("fine");
    host.udp_try_send(id, b"x", far).expect("sends");
    world.settle();

    let mut message = vec![5, 1, 0, 0, 10, 2, 0, 9];
    message.extend([0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    message.extend([10, 2, 0, 1, 192, 0, 2, 9, 0, 7, 0, 9, 0, 9, 0, 0]);
    let check = Sum::of(&message).finish();
    message[2..4].copy_from_slice(&check.to_be_bytes());
    let mut packet = vec![
        0x45,
        0,
        0,
        20 + message.len() as u8,
        0,
        0,
        0,
        0,
        64,
        1,
        0,
        0,
    ];
    packet.extend([10, 2, 0, 2, 10, 2, 0, 1]);
    let check = Sum::of(&packet).finish();
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    let to = |last: u8| {
        [
            &[2, 0, 0, 0, 0, last, 2, 0, 0, 0, 0, 4, 8, 0],
            &packet[..],
            &message,
        ]
        .concat()
    };
    let taken = |world: &World| world.hosts[0].counters().get(Counter::IcmpRedirects);

    world.give((0, FIRST), &[to(1)], RxChecksum::Unknown);
    assert_eq!(taken(&world), 0);
    world.give((0, second), &[to(2)], RxChecksum::Unknown);
    assert_eq!(taken(&world), 1);
    world.pass(Duration::from_millis(1));
    let asks = |frames: &[Vec<u8>]| {
        let asks = |frame: &&Vec<u8>| frame[12..14] == [8, 6] && frame[38..42] == [10, 2, 0, 9];
        frames.iter().filter(asks).count()
    };
    assert_eq!([asks(&world.seen[0]), asks(&world.seen[1])], [0, 1]);
    // Nobody answers there; all goes on through the gateway, and it is forgotten.
    for _ in 0..5 {
        world.pass(Duration::from_secs(1));
    }
    let host = &mut world.hosts[0];
    assert_eq!(host.counters().get(Counter::NeighborsFailed), 1);
    let before = world.dropped(2, DropReason::Ipv4NotForUs);
    world.hosts[0].udp_try_send(id, b"x", far).expect("sends");
    world.settle();
    assert_eq!(world.dropped(2, DropReason::Ipv4NotForUs), before + 1);
    world.hosts[0].udp_close(id);
    world.finish();
}

#[test]
fn rfc_4007_6_zones_tell_links_apart() {
    let (mut world, second) = two_links();
    let theirs = [(1, FIRST), (2, second)]
        .map(|(host, interface)| (host, interface, world.link_local((host, FIRST))));
    for (host, interface, address) in theirs {
        let zoned = |zone| SocketAddr::V6(SocketAddrV6::new(address, 80, 0, zone));
        let [client, server] = world.connect(0, host, zoned(interface.zone()));
        world.transfer((0, client), (host, server), 50_000);
        world.transfer((host, server), (0, client), 50_000);
        world.hosts[0].tcp_abort(client);
        world.hosts[host].tcp_abort(server);
        let nowhere = world.hosts[0].tcp_connect(zoned(9), TcpOptions::DEFAULT);
        assert_eq!(nowhere, Err(Misuse::BadDestination));
        let any = any_of(address.into(), 80);
        let [a, b] = [0, host].map(|host: usize| world.hosts[host].udp_bind(any).expect("free"));
        let sent = world.hosts[0].udp_try_send(a, b"ping", zoned(interface.zone()));
        assert_eq!(sent, Ok(()));
        world.settle();
        let (_, from) = world.hosts[host].udp_try_recv(b).expect("came");
        assert_eq!(world.hosts[0].interface_with(from.ip()), Some(interface));
        // The answer to an answer needs no zone.
        world.hosts[host]
            .udp_try_send(b, b"pong", from)
            .expect("sends");
        world.settle();
        let (_, from) = world.hosts[0].udp_try_recv(a).expect("came");
        world.hosts[0]
            .udp_try_send(a, b"again", from)
            .expect("sends");
        world.settle();
        assert!(world.hosts[host].udp_try_recv(b).is_ok());
        world.hosts[0].udp_close(a);
        world.hosts[host].udp_close(b);
    }
    world.finish();
}

#[test]
fn vlans_share_a_device() {
    let vlan = |id| VlanId::new(id).expect("a VLAN");
    let mut trunk = stack(&config(1, "10.1.0.1/24", "fd00:1::1/64"), caps(1));
    let ten = trunk.add_vlan(FIRST, vlan(10), &config(0, "10.2.0.1/24", "fd00:2::1/64"));
    let ten = ten.expect("room");
    let twenty = trunk.add_vlan(ten, vlan(20), &config(0, "10.3.0.1/24", "fd00:3::1/64"));
    let twenty = twenty.expect("room");
    let again = trunk.add_vlan(FIRST, vlan(10), &config(0, "10.4.0.1/24", ""));
    assert_eq!(again, Err(Misuse::AddressInUse));
    for (id, mtu, tag) in [
        (FIRST, 1500, None),
        (ten, 1496, Some(10)),
        (twenty, 1496, Some(20)),
    ] {
        let seen = trunk.with_interface(id, |stack| (stack.caps().mtu, stack.vlan()));
        assert_eq!(seen, Ok((mtu, tag.and_then(VlanId::new))));
    }
    let peers = [
        stack(&config(2, "10.1.0.2/24", "fd00:1::2/64"), caps(3)),
        stack(
            &config(3, "10.2.0.2/24", "fd00:2::2/64").with_vlan(vlan(10)),
            caps(4),
        ),
        stack(
            &config(4, "10.3.0.2/24", "fd00:3::2/64").with_vlan(vlan(20)),
            caps(5),
        ),
    ];
    let [a, b, c] = peers;
    let wire = vec![(0, FIRST), (1, FIRST), (2, FIRST), (3, FIRST)];
    let mut world = World::new(vec![trunk, a, b, c], vec![wire]);
    for (peer, to) in [
        (1, "10.1.0.2"),
        (2, "10.2.0.2"),
        (3, "10.3.0.2"),
        (1, "fd00:1::2"),
        (2, "fd00:2::2"),
        (3, "fd00:3::2"),
    ] {
        let [client, server] = world.connect(0, peer, at(to, 80));
        world.transfer((0, client), (peer, server), 100_000);
        world.transfer((peer, server), (0, client), 100_000);
        world.hosts[0].tcp_abort(client);
        world.hosts[peer].tcp_abort(server);
        world.settle();
    }
    // Nobody heard what was not for him, and the trunk takes no other VLAN.
    assert!(world.dropped(1, DropReason::VlanNotOurs) > 0);
    assert!(world.dropped(2, DropReason::VlanMissing) > 0);
    assert_eq!(world.dropped(0, DropReason::VlanNotOurs), 0);
    world.finish();
}

#[test]
fn dhcp_runs_on_the_interface_that_it_is_wanted_on() {
    let mut both = stack(&config(1, "10.1.0.1/24", ""), caps(1));
    let wanted = Config::without_addresses([0; 32]).with_dhcp(DhcpConfig::new());
    let second = both.add_interface(&wanted, caps(2)).expect("room");
    let mut world = World::new(vec![both], vec![vec![(0, FIRST)], vec![(0, second)]]);
    let is_dhcp = |frame: &Vec<u8>| frame.get(23) == Some(&17) && frame[36..38] == [0, 67];
    let mut asked = [0, 0];
    for _ in 0..200 {
        world.pass(Duration::from_millis(100));
        for (wire, asked) in asked.iter_mut().enumerate() {
            *asked += world.seen[wire]
                .iter()
                .filter(|frame| is_dhcp(frame))
                .count();
        }
    }
    assert_eq!(asked[0], 0);
    assert!(asked[1] >= 1, "{asked:?}");
    assert!(world.hosts[0].dhcp_lease().is_none());
    world.finish();
}

#[test]
fn groups_are_joined_on_one_interface() {
    let (mut world, second) = two_links();
    for group in ["224.5.6.7", "ff02::5:6"] {
        let group = ip(group);
        let any = any_of(group, 7);
        let sockets = [0, 1, 2].map(|host: usize| world.hosts[host].udp_bind(any).expect("free"));
        let join = |stack: &mut Stack| stack.udp_join(sockets[0], group);
        assert_eq!(world.hosts[0].with_interface(second, join), Ok(Ok(())));
        for peer in [1, 2] {
            let to = SocketAddr::new(group, 7);
            world.hosts[peer]
                .udp_try_send(sockets[peer], b"news", to)
                .expect("sends");
            world.settle();
            let heard = world.hosts[0].udp_try_recv(sockets[0]).is_ok();
            assert_eq!(heard, peer == 2, "{group}");
        }
        for (host, socket) in sockets.into_iter().enumerate() {
            world.hosts[host].udp_close(socket);
        }
        // Left where it was joined.
        let socket = world.hosts[0].udp_bind(any).expect("free");
        let other = world.hosts[2].udp_bind(any).expect("free");
        let to = SocketAddr::new(group, 7);
        world.hosts[2]
            .udp_try_send(other, b"news", to)
            .expect("sends");
        world.settle();
        assert!(world.hosts[0].udp_try_recv(socket).is_err());
        world.hosts[0].udp_close(socket);
        world.hosts[2].udp_close(other);
    }
    world.finish();
}

#[test]
fn what_cannot_be_is_refused() {
    let mut host = stack(&config(1, "10.1.0.1/24", "fd00:1::1/64"), caps(1));
    let same_mac = host.add_interface(&config(0, "10.2.0.1/24", ""), caps(1));
    assert_eq!(same_mac, Err(Misuse::AddressInUse));
    let same_v4 = host.add_interface(&config(0, "10.1.0.1/16", ""), caps(2));
    assert_eq!(same_v4, Err(Misuse::AddressInUse));
    let same_v6 = host.add_interface(&config(0, "10.2.0.1/24", "fd00:1::1/64"), caps(2));
    assert_eq!(same_v6, Err(Misuse::AddressInUse));
    let missing = InterfaceId::new(1).expect("a number");
    assert_eq!(
        host.with_interface(missing, |_| ()),
        Err(Misuse::NoSuchInterface)
    );
    let vlan = VlanId::new(5).expect("a VLAN");
    let orphan = host.add_vlan(missing, vlan, &config(0, "10.2.0.1/24", ""));
    assert_eq!(orphan, Err(Misuse::NoSuchInterface));
    for number in 1..MAX_INTERFACES as u8 {
        let own = std::format!("10.{}.0.1/24", number + 1);
        let added = host.add_interface(&config(0, &own, ""), caps(number + 1));
        assert_eq!(added.map(InterfaceId::index), Ok(usize::from(number)));
    }
    let more = host.add_interface(&config(0, "10.99.0.1/24", ""), caps(99));
    assert_eq!(more, Err(Misuse::TableFull));
    assert_eq!(host.interface_ids().count(), MAX_INTERFACES);
    // An address belongs to one interface.
    let taken = host.add_ipv4_address("10.2.0.1/24".parse().unwrap(), false);
    assert_eq!(taken, Err(Misuse::AddressInUse));
}
