//! A host that talks to itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::vec;
use std::vec::Vec;

use pollwire_rings::{Caps, Instant, RxBurst, RxChecksum, RxMeta, TxBurst};

use crate::{
    Config, ConnError, Counter, DropReason, Error, Ipv6Config, ListenOptions, NetEvent, Shutdown,
    Stack, TcpOptions,
};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

struct Host {
    stack: Stack,
    now: Instant,
    /// Its link-local address.
    v6: IpAddr,
}

impl Host {
    fn new() -> Self {
        let mut config = Config::new("10.0.0.2/24".parse().expect("a CIDR"), [3; 32]);
        config.ipv6 = Some(Ipv6Config::LINK_LOCAL);
        let caps = Caps::plain([2, 0, 0, 0, 0, 2], 1500);
        let mut host = Self {
            stack: Stack::on_heap::<512, 16, 2048>(&config, caps),
            now: Instant::from_secs(1),
            v6: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // What a host says of itself at boot.
        for _ in 0..10 {
            host.now += core::time::Duration::from_secs(2);
            host.turn();
        }
        while let Some(event) = host.stack.next_event() {
            if let NetEvent::AddressUp(own @ IpAddr::V6(_)) = event {
                host.v6 = own;
            }
        }
        host
    }

    /// A turn of the loop; returns how many packets reached the device.
    fn turn(&mut self) -> usize {
        let mut tx = TxBurst::new();
        self.stack.expire(self.now);
        self.stack.output(self.now, &mut tx);
        tx.packets()
    }

    /// Turns until nothing happens any more; nothing reaches the device.
    fn settle(&mut self) {
        for _ in 0..200 {
            assert_eq!(self.turn(), 0, "nothing leaves the host");
            if self.stack.deadline().is_none_or(|due| due > self.now) {
                return;
            }
        }
        panic!("does not settle");
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let v4 = [OWN, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3)].map(IpAddr::V4);
        v4.into_iter()
            .chain([self.v6])
            .chain([IpAddr::V6(Ipv6Addr::LOCALHOST)])
            .collect()
    }

    fn finish(mut self) {
        for _ in 0..200 {
            self.now += core::time::Duration::from_secs(1);
            self.turn();
        }
        let pool = self.stack.pool();
        assert_eq!(pool.available(), pool.capacity(), "frames leaked");
    }
}

#[test]
fn rfc_1122_3_2_1_3_datagrams_to_ourselves_arrive() {
    let mut host = Host::new();
    let addresses = host.addresses();
    assert_eq!(addresses.len(), 5);
    for address in addresses {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let server = host.stack.udp_bind((any, 7).into()).expect("free");
        let client = host.stack.udp_bind((any, 0).into()).expect("free");
        for len in [0, 1, 1400, 5000, 60_000] {
            let data = vec![7; len];
            let to = SocketAddr::new(address, 7);
            host.stack.udp_try_send(client, &data, to).expect("sends");
            host.settle();
            let mut got = vec![0; 65_535];
            let received = host.stack.udp_try_recv_into(server, &mut got);
            let (count, from) = received.expect("a datagram");
            assert_eq!(got[..count], data, "{address}");
            assert!(host.stack.is_looped(from.ip()));
            host.stack
                .udp_try_send(server, b"back", from)
                .expect("sends");
            host.settle();
            assert!(host.stack.udp_try_recv(client).is_ok());
        }
        host.stack.udp_close(server);
        host.stack.udp_close(client);
    }
    host.finish();
}

#[test]
fn connections_to_ourselves_carry_data_both_ways() {
    let mut host = Host::new();
    for address in host.addresses() {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let listener = host
            .stack
            .tcp_listen((any, 80).into(), ListenOptions::DEFAULT)
            .expect("free");
        let to = SocketAddr::new(address, 80);
        let client = host
            .stack
            .tcp_connect(to, TcpOptions::DEFAULT)
            .expect("opens");
        host.settle();
        let server = host.stack.tcp_try_accept(listener).expect("a connection");
        let data: Vec<u8> = (0..100_000_usize).map(|at| (at / 7) as u8).collect();
        let (mut sent, mut got) = (0, Vec::new());
        for _ in 0..2000 {
            if sent < data.len() {
                sent += host.stack.tcp_try_write(client, &data[sent..]).unwrap_or(0);
            }
            host.turn();
            while let Ok(Some(frame)) = host.stack.tcp_try_recv(server) {
                got.extend_from_slice(&frame);
            }
            if got.len() == data.len() {
                break;
            }
            host.now += core::time::Duration::from_millis(1);
        }
        assert!(got == data, "{address}: {} of {}", got.len(), data.len());
        for flow in [client, server] {
            host.stack
                .tcp_shutdown(flow, Shutdown::Write)
                .expect("open");
        }
        host.settle();
        for flow in [client, server] {
            host.stack.tcp_abort(flow);
        }
        host.stack.tcp_close_listener(listener);
    }
    host.finish();
}

/// RFC 1122, 4.1.3.3, and RFC 4443, 3.1.
#[test]
fn rfc_1122_4_1_3_3_our_own_closed_ports_are_told() {
    for address in Host::new().addresses() {
        own_closed_port(Host::new(), address);
    }
}

fn own_closed_port(mut host: Host, address: IpAddr) {
    let any = match address {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let id = host.stack.udp_bind(any).expect("free");
    let nobody = SocketAddr::new(address, 9);
    host.stack.udp_connect(id, Some(nobody)).expect("connects");
    host.stack
        .udp_try_send(id, b"anybody?", nobody)
        .expect("sends");
    host.settle();
    let told = host.stack.udp_try_recv(id).map(drop);
    assert_eq!(told, Err(Error::Conn(ConnError::Refused)));
    host.stack.udp_close(id);
    let flow = host
        .stack
        .tcp_connect(nobody, TcpOptions::DEFAULT)
        .expect("opens");
    host.settle();
    let told = host.stack.tcp_try_connected(flow);
    assert_eq!(told, Err(Error::Conn(ConnError::Refused)));
    host.stack.tcp_abort(flow);
    host.finish();
}

#[test]
fn the_queue_is_bounded() {
    let mut host = Host::new();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let id = host.stack.udp_bind(any).expect("free");
    let to = SocketAddr::from((OWN, 9));
    for _ in 0..400 {
        host.stack.udp_try_send(id, b"x", to).expect("sends");
    }
    let dropped = host.stack.counters().dropped(DropReason::OutboxFull);
    assert_eq!(dropped, 400 - 256);
    host.settle();
    assert!(host.stack.counters().get(Counter::Ipv4In) >= 256);
    host.stack.udp_close(id);
    host.finish();
}

#[test]
fn rfc_1122_3_2_1_3_loopback_addresses_from_the_wire_are_refused() {
    use crate::udp::tests::peer::{Peer, datagram};
    let mut host = Peer::new();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7));
    let id = host.stack.udp_bind(any).expect("free");
    let body = datagram(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::LOCALHOST, 5, 7, b"x");
    host.give(Ipv4Addr::LOCALHOST, 17, &body);
    assert_eq!(host.dropped(DropReason::Ipv4NotForUs), 1);
    assert!(host.stack.udp_try_recv(id).is_err());
    host.finish();
}

/// A segment with one byte of data that the flow of `index` expects, as the wire
/// would bring it.
fn forged(stack: &Stack, index: u32) -> Vec<u8> {
    let (key, hot) = (stack.tcp.key(index), stack.tcp.hot(index));
    let (key, hot) = (*key.expect("a flow"), hot.expect("a flow"));
    let mut tcp = key.remote_port().to_be_bytes().to_vec();
    tcp.extend(key.local_port().to_be_bytes());
    tcp.extend(hot.rcv_nxt.raw().to_be_bytes());
    tcp.extend(hot.snd_nxt.raw().to_be_bytes());
    tcp.extend([0x80, 0x10, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10]);
    tcp.extend((hot.ts_recent + 1).to_be_bytes());
    tcp.extend([0; 4]);
    tcp.push(b'!');
    let len = u16::try_from(tcp.len()).expect("short");
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9];
    match (key.local().ip(), key.remote().ip()) {
        (IpAddr::V4(own), IpAddr::V4(peer)) => {
            let mut ip = vec![0x45, 0];
            ip.extend((len + 20).to_be_bytes());
            ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            ip.extend(peer.octets());
            ip.extend(own.octets());
            let check = pollwire_offload::checksum::Sum::of(&ip).finish();
            ip[10..12].copy_from_slice(&check.to_be_bytes());
            frame.extend([8, 0]);
            frame.extend(ip);
        }
        (IpAddr::V6(own), IpAddr::V6(peer)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([6, 64]);
            frame.extend(peer.octets());
            frame.extend(own.octets());
        }
        _ => unreachable!("both of one version"),
    }
    frame.extend(tcp);
    frame
}

#[test]
fn nobody_on_the_wire_speaks_for_this_host() {
    let mut host = Host::new();
    for address in host.addresses() {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let options = ListenOptions::DEFAULT;
        let listener = host.stack.tcp_listen((any, 80).into(), options);
        let listener = listener.expect("free");
        let to = SocketAddr::new(address, 80);
        let client = host.stack.tcp_connect(to, TcpOptions::DEFAULT);
        let client = client.expect("opens");
        host.settle();
        let server = host.stack.tcp_try_accept(listener).expect("a connection");
        for id in [client, server] {
            // As a run of packets, and alone.
            for count in [3, 1] {
                host.stack.tcp_try_write(client, b"ping").expect("open");
                host.stack.tcp_try_write(server, b"pong").expect("open");
                host.settle();
                for end in [client, server] {
                    while let Ok(Some(_)) = host.stack.tcp_try_recv(end) {}
                }
                let before = host.stack.counters().dropped_total();
                let bytes = forged(&host.stack, id.index);
                let mut burst = RxBurst::new();
                for _ in 0..count {
                    let mut frame = host.stack.pool().alloc().expect("free");
                    frame.extend_from_slice(&bytes);
                    let meta = RxMeta {
                        checksum: RxChecksum::Verified,
                        ..RxMeta::default()
                    };
                    burst.push(frame, meta).expect("room");
                }
                host.stack.input(host.now, &mut burst);
                assert_eq!(host.stack.counters().dropped_total(), before + count);
                let got = host.stack.tcp_try_recv(id).map(drop);
                assert_eq!(got, Err(Error::WouldBlock), "{address}");
            }
        }
        for flow in [client, server] {
            host.stack.tcp_abort(flow);
        }
        host.settle();
        host.stack.tcp_close_listener(listener);
    }
    host.finish();
}

#[test]
fn rfc_5927_nobody_else_complains_of_what_this_host_tells_itself() {
    use crate::udp::tests::peer::{OWN, Peer, datagram};
    let mut host = Peer::new();
    let own = SocketAddr::from((OWN, 9));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7));
    let id = host.stack.udp_bind(any).expect("free");
    host.stack.udp_connect(id, Some(own)).expect("connects");
    // Port unreachable, about a datagram from our port 7 to our port 9.
    let quoted = datagram(OWN, OWN, 7, 9, b"x");
    let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip.extend(OWN.octets());
    ip.extend(OWN.octets());
    let mut body = vec![3, 3, 0, 0, 0, 0, 0, 0];
    body.extend(ip);
    body.extend(quoted);
    let check = pollwire_offload::checksum::Sum::of(&body).finish();
    body[2..4].copy_from_slice(&check.to_be_bytes());
    host.give(OWN, 1, &body);
    assert_eq!(host.dropped(DropReason::IcmpNoFlow), 1);
    let told = host.stack.udp_try_recv(id).map(drop);
    assert_eq!(told, Err(Error::WouldBlock));
    host.finish();
}
