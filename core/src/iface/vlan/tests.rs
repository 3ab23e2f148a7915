//! Frames with tags and without, rule by rule, and two hosts in one VLAN.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use pollwire_rings::{Caps, Instant, RxBurst, RxChecksum, RxMeta, TxBurst};

use super::VlanId;
use crate::{
    Config, DropReason, Error, FlowId, Ipv6Config, ListenOptions, NetEvent, Stack, TcpOptions,
    UdpId,
};

const VLAN: u16 = 10;

/// A host and what it has put on its wire, as the wire has it.
struct Host {
    stack: Stack,
    now: Instant,
    sent: Vec<Vec<u8>>,
}

fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

impl Host {
    /// 10.0.0.`last`, in a VLAN or in none.
    fn new(last: u8, vlan: Option<u16>) -> Self {
        Self::with_caps(last, vlan, Caps::plain(mac(last), 1500))
    }

    fn with_caps(last: u8, vlan: Option<u16>, caps: Caps) -> Self {
        let address = std::format!("10.0.0.{last}/24").parse().unwrap();
        let mut config = Config::new(address, [last; 32]);
        config.ipv6 = Some(Ipv6Config::LINK_LOCAL);
        if let Some(vlan) = vlan {
            config = config.with_vlan(VlanId::new(vlan).expect("a VLAN"));
        }
        Self {
            stack: Stack::on_heap::<512, 16, 2048>(&config, caps),
            now: Instant::from_secs(1),
            sent: Vec::new(),
        }
    }

    /// Timers and output; what leaves is in `sent` afterwards.
    fn turn(&mut self) {
        let mut tx = TxBurst::new();
        self.stack.expire(self.now);
        loop {
            let more = self.stack.output(self.now, &mut tx);
            for packet in tx.iter() {
                self.sent.push(packet.pieces.concat_bytes());
            }
            let count = tx.packets();
            tx.consume(count);
            if !more {
                return;
            }
        }
    }

    fn give_all(&mut self, frames: &[Vec<u8>], checksum: RxChecksum) {
        for frames in frames.chunks(8) {
            let mut burst = RxBurst::new();
            for bytes in frames {
                let mut frame = self.stack.pool().alloc().expect("a frame is free");
                assert_eq!(frame.extend_from_slice(bytes), bytes.len());
                let meta = RxMeta {
                    checksum,
                    ..RxMeta::default()
                };
                burst.push(frame, meta).expect("room");
            }
            self.stack.input(self.now, &mut burst);
        }
    }

    fn give(&mut self, bytes: &[u8]) {
        self.give_all(&[bytes.to_vec()], RxChecksum::Unknown);
    }

    #[track_caller]
    fn refuses(&mut self, bytes: &[u8], reason: DropReason) {
        let before = self.stack.counters().clone();
        self.give(bytes);
        let after = self.stack.counters();
        assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{after}");
        assert_eq!(after.dropped_total(), before.dropped_total() + 1);
    }

    /// A socket at port 7.
    fn bind(&mut self) -> UdpId {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7));
        self.stack.udp_bind(any).expect("free")
    }

    fn finish(mut self) {
        for _ in 0..400 {
            self.now += Duration::from_secs(1);
            self.turn();
        }
        let pool = self.stack.pool();
        assert_eq!(pool.available(), pool.capacity(), "frames leaked");
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [pollwire_rings::FrameRef] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|piece| piece.to_vec()).collect()
    }
}

/// The frame with a tag that says `tci`.
fn tag(frame: &[u8], tci: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0], &tci.to_be_bytes(), rest].concat()
}

/// A datagram from 10.0.0.1 to 10.0.0.2, port 7.
fn datagram() -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    let check = pollwire_offload::checksum::Sum::of(&ip).finish();
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    let udp = [0, 9, 0, 7, 0, 9, 0, 0, b'!'];
    [&mac(2)[..], &mac(1), &[8, 0], &ip, &udp].concat()
}

#[test]
fn ieee_802_1q_9_6_identifiers_are_1_to_4094() {
    for id in [0, 4095, 4096, u16::MAX] {
        assert_eq!(VlanId::new(id), None);
    }
    for id in [1, 10, 4094] {
        assert_eq!(VlanId::new(id).map(VlanId::get), Some(id));
    }
}

#[test]
fn ieee_802_1q_9_6_frames_of_our_vlan_are_taken_and_no_others() {
    let mut host = Host::new(2, Some(VLAN));
    let socket = host.bind();
    // Whatever the priority, and whether it may be discarded first.
    for high in 0..16_u16 {
        host.give(&tag(&datagram(), high << 12 | VLAN));
        assert!(host.stack.udp_try_recv(socket).is_ok());
    }
    for id in [1, 9, 11, 4094, 4095] {
        host.refuses(&tag(&datagram(), id), DropReason::VlanNotOurs);
    }
    host.refuses(&datagram(), DropReason::VlanMissing);
    for high in 0..16_u16 {
        host.refuses(&tag(&datagram(), high << 12), DropReason::VlanMissing);
    }
    // A tag behind the tag is another network's.
    let twice = tag(&tag(&datagram(), VLAN), VLAN);
    host.refuses(&twice, DropReason::EthernetUnknownType);
    for len in 14..18 {
        let whole = tag(&datagram(), VLAN);
        host.refuses(&whole[..len], DropReason::EthernetTooShort);
    }
    assert!(host.stack.udp_try_recv(socket).is_err());
    host.stack.udp_close(socket);
    host.finish();
}

#[test]
fn ieee_802_1q_9_6_without_a_vlan_priorities_are_taken_and_vlans_are_not() {
    let mut host = Host::new(2, None);
    let socket = host.bind();
    for high in 0..16_u16 {
        host.give(&tag(&datagram(), high << 12));
        assert!(host.stack.udp_try_recv(socket).is_ok());
    }
    for id in [1, 10, 4094, 4095] {
        host.refuses(&tag(&datagram(), id), DropReason::VlanNotOurs);
    }
    host.give(&datagram());
    assert!(host.stack.udp_try_recv(socket).is_ok());
    host.stack.udp_close(socket);
    host.finish();
}

#[test]
fn a_tag_fits_beside_the_mtu_or_within() {
    let mut caps = Caps::plain(mac(2), 1500);
    let mtu = |host: Host| host.stack.caps().mtu;
    assert_eq!(mtu(Host::with_caps(2, None, caps)), 1500);
    assert_eq!(mtu(Host::with_caps(2, Some(VLAN), caps)), 1496);
    caps.tag_beside_mtu = true;
    assert_eq!(mtu(Host::with_caps(2, Some(VLAN), caps)), 1500);
}

/// Two hosts on one wire: whatever is on it, is tagged.
struct Pair {
    hosts: [Host; 2],
    frames: usize,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            hosts: [1, 2].map(|last| Host::new(last, Some(VLAN))),
            frames: 0,
        };
        // Until both have a link-local address.
        for _ in 0..100 {
            pair.pass(Duration::from_millis(100));
        }
        pair
    }

    /// One turn of each; what one sends, the other gets.
    fn pass(&mut self, time: Duration) {
        for from in 0..2 {
            self.hosts[from].now += time;
            self.hosts[from].turn();
            let sent = core::mem::take(&mut self.hosts[from].sent);
            for frame in &sent {
                assert_eq!(frame[12..16], [0x81, 0, 0, 10], "a frame without its tag");
                assert!(frame.len() <= 1514);
            }
            self.frames += sent.len();
            self.hosts[1 - from].give_all(&sent, RxChecksum::Unknown);
        }
    }

    /// A fifth of a second, in small steps.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.pass(Duration::from_millis(10));
        }
    }

    /// An open connection: both ends.
    fn connect(&mut self, to: IpAddr) -> [FlowId; 2] {
        let any = match to {
            IpAddr::V4(_) => SocketAddr::from(([0; 4], 80)),
            IpAddr::V6(_) => SocketAddr::from(([0_u16; 8], 80)),
        };
        let [client, server] = &mut self.hosts;
        let listener = server.stack.tcp_listen(any, ListenOptions::DEFAULT);
        let listener = listener.expect("free");
        let to = SocketAddr::new(to, 80);
        let flow = client.stack.tcp_connect(to, TcpOptions::DEFAULT).unwrap();
        for _ in 0..20 {
            self.pass(Duration::from_millis(1));
        }
        let server = &mut self.hosts[1].stack;
        let accepted = server.tcp_try_accept(listener).expect("a connection");
        server.tcp_close_listener(listener);
        [flow, accepted]
    }

    fn finish(self) {
        for host in self.hosts {
            host.finish();
        }
    }
}

fn link_local(host: &mut Host) -> IpAddr {
    while let Some(event) = host.stack.next_event() {
        if let NetEvent::AddressUp(own @ IpAddr::V6(_)) = event {
            return own;
        }
    }
    panic!("no address");
}

#[test]
fn connections_and_datagrams_cross_a_vlan() {
    let mut pair = Pair::new();
    let v6 = link_local(&mut pair.hosts[1]);
    for to in [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), v6] {
        let flows = pair.connect(to);
        let data: Vec<u8> = (0..300_000_usize).map(|at| (at / 7) as u8).collect();
        for (from, into) in [(0, 1), (1, 0)] {
            let (mut sent, mut got) = (0, Vec::new());
            for _ in 0..3000 {
                let sender = &mut pair.hosts[from].stack;
                sent += sender
                    .tcp_try_write(flows[from], &data[sent..])
                    .unwrap_or(0);
                pair.pass(Duration::from_micros(100));
                let receiver = &mut pair.hosts[into].stack;
                while let Ok(Some(frame)) = receiver.tcp_try_recv(flows[into]) {
                    got.extend_from_slice(&frame);
                }
                if got.len() == data.len() {
                    break;
                }
            }
            assert!(got == data, "{to}: {} of {}", got.len(), data.len());
            let timeouts = pair.hosts[from].stack.counters();
            assert_eq!(timeouts.get(crate::Counter::TcpTimeouts), 0);
        }
        for (host, flow) in pair.hosts.iter_mut().zip(flows) {
            host.stack.tcp_abort(flow);
        }
        pair.pass(Duration::from_millis(1));
        // In one frame, and in fragments.
        let any = match to {
            IpAddr::V4(_) => SocketAddr::from(([0; 4], 9)),
            IpAddr::V6(_) => SocketAddr::from(([0_u16; 8], 9)),
        };
        let [a, b] = [0, 1].map(|host: usize| pair.hosts[host].stack.udp_bind(any).unwrap());
        for len in [0, 1, 1400, 1472, 5000, 60_000] {
            let data = vec![5; len];
            let to = SocketAddr::new(to, 9);
            for _ in 0..3 {
                pair.hosts[0].stack.udp_try_send(a, &data, to).unwrap();
                pair.pass(Duration::from_micros(100));
                let mut out = vec![0; 65_535];
                let got = pair.hosts[1].stack.udp_try_recv_into(b, &mut out);
                assert_eq!(got.map(|(len, _)| len), Ok(len));
            }
        }
        pair.hosts[0].stack.udp_close(a);
        pair.hosts[1].stack.udp_close(b);
    }
    assert!(pair.frames > 800, "{}", pair.frames);
    pair.finish();
}

#[test]
fn segments_without_the_tag_reach_no_flow() {
    let mut pair = Pair::new();
    let v6 = link_local(&mut pair.hosts[1]);
    for to in [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), v6] {
        let [client, server] = pair.connect(to);
        for count in [1, 3] {
            // The other end's flow is the last that received.
            pair.hosts[0].stack.tcp_try_write(client, b"ping").unwrap();
            pair.pass(Duration::from_millis(1));
            while let Ok(Some(_)) = pair.hosts[1].stack.tcp_try_recv(server) {}
            // Nothing is unacknowledged, so that the next one goes at once.
            pair.settle();
            // The next segment, its tag taken off on the way.
            pair.hosts[0].stack.tcp_try_write(client, b"pong").unwrap();
            pair.hosts[0].turn();
            let sent = core::mem::take(&mut pair.hosts[0].sent);
            let [frame] = &sent[..] else {
                panic!("one segment, not {}", sent.len())
            };
            let plain = [&frame[..12], &frame[16..]].concat();
            let host = &mut pair.hosts[1];
            let missing = |host: &Host| host.stack.counters().dropped(DropReason::VlanMissing);
            let before = missing(host);
            host.give_all(&vec![plain; count], RxChecksum::Verified);
            assert_eq!(missing(host), before + count as u64);
            let got = host.stack.tcp_try_recv(server);
            let got = got.map(|got| got.map(|got| got.to_vec()));
            assert_eq!(got, Err(Error::WouldBlock), "{to}, {count}");
            host.give(frame);
            let got = host.stack.tcp_try_recv(server).expect("open");
            assert_eq!(got.as_deref(), Some(&b"pong"[..]));
            pair.settle();
        }
        pair.hosts[0].stack.tcp_abort(client);
        pair.hosts[1].stack.tcp_abort(server);
        pair.pass(Duration::from_millis(1));
    }
    pair.finish();
}
