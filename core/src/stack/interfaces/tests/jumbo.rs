//! Links that carry 9000 bytes at once, over frames that hold as much and over
//! frames that do not.

use core::net::{IpAddr, SocketAddr};
use std::vec;
use std::vec::Vec;

use super::{FIRST, World, any_of, at, config, ip};
use crate::{Counter, Stack, TcpOptions};
use pollwire_rings::Caps;

const MTU: u16 = 9000;
const ETHERNET: usize = 14;

fn host<const SIZE: usize>(last: u8) -> Stack {
    let (v4, v6) = (
        std::format!("10.1.0.{last}/24"),
        std::format!("fd00:1::{last}/64"),
    );
    let caps = Caps::plain([2, 0, 0, 0, 0, last], MTU);
    Stack::on_heap::<512, 16, SIZE>(&config(last, &v4, &v6), caps)
}

/// Two hosts with frames of these sizes, headroom included.
fn world<const FIRST_SIZE: usize, const SECOND_SIZE: usize>() -> World {
    let hosts = vec![host::<FIRST_SIZE>(1), host::<SECOND_SIZE>(2)];
    World::new(hosts, vec![vec![(0, FIRST), (1, FIRST)]])
}

/// The MSS option of the SYN that host 0 sends to `to`.
fn announced_mss(world: &mut World, to: &str) -> u16 {
    let flow = world.hosts[0].tcp_connect(at(to, 9), TcpOptions::DEFAULT);
    let mut sent = Vec::new();
    // The neighbour is known, or is asked for first.
    for _ in 0..3 {
        sent.extend(world.output((0, FIRST)));
        world.give((1, FIRST), &sent, pollwire_rings::RxChecksum::Unknown);
        let answer = world.output((1, FIRST));
        world.give((0, FIRST), &answer, pollwire_rings::RxChecksum::Unknown);
    }
    world.hosts[0].tcp_abort(flow.expect("opens"));
    let ip_header = if to.contains(':') { 40 } else { 20 };
    let protocol = if to.contains(':') { 20 } else { 23 };
    let options = ETHERNET + ip_header + 20;
    let syn = sent
        .iter()
        .find(|frame| frame.get(protocol) == Some(&6))
        .expect("a SYN");
    assert_eq!(syn[options..options + 2], [2, 4]);
    u16::from_be_bytes([syn[options + 2], syn[options + 3]])
}

/// Has host 0 send data to host 1, which sends it back; returns the length of
/// the longest frame.
fn echo_stream(world: &mut World, to: &str, len: usize) -> usize {
    let [client, server] = world.connect(0, 1, at(to, 80));
    let mut longest = 0;
    for [(from, out), (end, into)] in [[(0, client), (1, server)], [(1, server), (0, client)]] {
        longest = longest.max(world.transfer((from, out), (end, into), len));
    }
    world.hosts[0].tcp_abort(client);
    world.hosts[1].tcp_abort(server);
    world.settle();
    longest
}

/// Has host 0 send a datagram to host 1, which sends it back; returns the length
/// of the longest frame.
fn echo_datagram(world: &mut World, to: IpAddr, len: usize) -> usize {
    let any = any_of(to, 7);
    let [a, b] = [0, 1].map(|host: usize| world.hosts[host].udp_bind(any).expect("free"));
    let data: Vec<u8> = (0..len).map(|at| (at * 31 + at / 256) as u8).collect();
    let (mut longest, mut out) = (0, vec![0; 65_535]);
    let mut pass = |world: &mut World| {
        for _ in 0..5 {
            world.pass(core::time::Duration::from_millis(1));
            let lengths = world.seen[0].iter().map(Vec::len);
            longest = longest.max(lengths.max().unwrap_or(0));
        }
    };
    let to = SocketAddr::new(to, 7);
    world.hosts[0].udp_try_send(a, &data, to).expect("sends");
    pass(world);
    let came = world.hosts[1].udp_try_recv_into(b, &mut out);
    let counters = world.hosts[1].counters();
    let (count, from) = came.unwrap_or_else(|error| panic!("{to}, {len}: {error}; {counters}"));
    assert!(out[..count] == data, "{to}: {count} of {len}");
    world.hosts[1].udp_try_send(b, &data, from).expect("sends");
    pass(world);
    let came = world.hosts[0].udp_try_recv_into(a, &mut out);
    let counters = world.hosts[0].counters();
    let (count, _) = came.unwrap_or_else(|error| panic!("{to}, {len}: {error}; {counters}"));
    assert!(out[..count] == data, "{to}: {count} of {len}");
    world.hosts[0].udp_close(a);
    world.hosts[1].udp_close(b);
    longest
}

#[test]
fn rfc_9293_3_7_1_segments_fill_jumbo_frames() {
    let mut world = world::<16384, 16384>();
    for (to, mss) in [("10.1.0.2", 8960), ("fd00:1::2", 8940)] {
        assert_eq!(announced_mss(&mut world, to), mss);
        let longest = echo_stream(&mut world, to, 1_000_000);
        assert_eq!(longest, usize::from(MTU) + ETHERNET);
    }
    assert_eq!(world.hosts[0].counters().get(Counter::TcpTimeouts), 0);
    world.finish();
}

#[test]
fn datagrams_fill_jumbo_frames() {
    let mut world = world::<16384, 16384>();
    let fragmented = |world: &World| world.hosts[0].counters().get(Counter::Fragmented);
    for (to, most) in [("10.1.0.2", 8972), ("fd00:1::2", 8952)] {
        let before = fragmented(&world);
        for len in [0, 1, 1472, 1473, most - 1, most] {
            echo_datagram(&mut world, ip(to), len);
        }
        assert_eq!(fragmented(&world), before);
        let longest = echo_datagram(&mut world, ip(to), most);
        assert_eq!(longest, usize::from(MTU) + ETHERNET);
        for len in [most + 1, 30_000, 65_507] {
            let longest = echo_datagram(&mut world, ip(to), len);
            assert!((9000..=9014).contains(&longest), "{longest}");
        }
        assert_eq!(fragmented(&world), before + 3);
    }
    world.finish();
}

#[test]
fn rfc_1191_6_jumbo_senders_heed_shorter_paths() {
    let mut world = world::<16384, 16384>();
    for to in ["10.1.0.2", "fd00:1::2"] {
        let [client, server] = world.connect(0, 1, at(to, 80));
        let longest = world.transfer((0, client), (1, server), 300_000);
        assert_eq!(longest, 9014);
        assert!(world.hosts[0].lower_path_mtu(ip(to), 1500, 9000));
        let longest = world.transfer((0, client), (1, server), 300_000);
        assert_eq!(longest, 1514);
        assert_eq!(world.hosts[0].path_mtu(ip(to)), 1500);
        world.hosts[0].tcp_abort(client);
        world.hosts[1].tcp_abort(server);
        world.settle();
    }
    world.finish();
}

#[test]
fn frames_shorter_than_the_mtu_are_chained() {
    // 2048 bytes hold 1920 behind the headroom.
    let mut world = world::<2048, 16384>();
    for to in ["10.1.0.2", "fd00:1::2"] {
        assert_eq!(announced_mss(&mut world, to), 1920);
        let longest = echo_stream(&mut world, to, 300_000);
        assert!(longest <= 1920 + 20 + 40 + ETHERNET, "{longest}");
        // What comes in one packet comes in several frames, and what leaves does
        // so in fragments that each fill a frame.
        for len in [1900, 1920, 1921, 5000, 8952, 8972, 30_000] {
            echo_datagram(&mut world, ip(to), len);
        }
    }
    world.finish();
}
