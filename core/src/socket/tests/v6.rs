//! The same over IPv6.

use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};

use pollwire_rings::memory::{MemoryDevice, pair};
use pollwire_rings::{Caps, NetDevice};

use super::world::{Hosts, World, copied};
use crate::{Config, Error, InterfaceIds, Net, NetCell, Stack, TcpFlow, TcpListener, UdpSocket};

const RIGHT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

fn hosts<'n>(offload: bool) -> (Hosts<'n>, MemoryDevice, MemoryDevice) {
    let caps = |last| {
        let mut caps = Caps::plain([2, 0, 0, 0, 0, last], 1500);
        caps.tx_checksum = offload;
        caps
    };
    let (left, right) = pair(caps(1), caps(2));
    let stack = |last: u8, device: &MemoryDevice| {
        let address = std::format!("fd00::{last}/64");
        let mut config = Config::without_addresses([last; 32])
            .with_ipv6(address.parse().expect("an address"))
            .with_ipv6_gateway("fe80::1".parse().expect("an address"));
        if let Some(v6) = &mut config.ipv6 {
            (v6.identifiers, v6.dad_transmits) = (InterfaceIds::Eui64, 0);
        }
        NetCell::new(Stack::on_heap::<512, 64, 2048>(&config, device.caps()))
    };
    let hosts = Hosts {
        left: stack(1, &left),
        right: stack(2, &right),
    };
    (hosts, left, right)
}

/// Serves one connection, frame by frame.
async fn echo_once(net: Net<'_>) -> Result<(), Error> {
    let listener = TcpListener::bind(net, SocketAddr::from((RIGHT, 7)))?;
    let flow = listener.accept().await?;
    assert!(flow.peer_addr()?.is_ipv6());
    while let Some(frame) = flow.recv().await? {
        flow.send(frame).await?;
    }
    flow.close().await
}

#[test]
fn a_megabyte_goes_there_and_back_without_a_copy() {
    for offload in [false, true] {
        let (hosts, left, right) = hosts(offload);
        let mut world = World::new(&hosts, left, right);
        let (here, there) = world.nets();
        there.spawn(echo_once(there)).detach();
        let client = here.spawn(async move {
            let flow = TcpFlow::connect(here, (RIGHT, 7).into()).await?;
            let (mut sent, mut back) = (0, 0);
            while back < 1_000_000 {
                if sent < 1_000_000 && sent - back < 30_000 {
                    let mut frame = flow.alloc_frame().await;
                    frame.set_len(1400);
                    frame.fill((sent / 1400) as u8);
                    sent += 1400;
                    flow.send(frame).await?;
                    continue;
                }
                let frame = flow.recv().await?.expect("not closed yet");
                for byte in frame.iter() {
                    assert_eq!(*byte, (back / 1400) as u8);
                    back += 1;
                }
            }
            flow.close().await
        });
        world.finish(client).expect("works");
        assert_eq!((copied(here), copied(there)), (0, 0));
        world.check_empty();
    }
}

#[test]
fn requests_and_replies_of_both_protocols() {
    let (hosts, left, right) = hosts(false);
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    there.spawn(echo_once(there)).detach();
    let server = UdpSocket::bind(there, (Ipv6Addr::UNSPECIFIED, 7).into()).expect("free");
    let udp = there.spawn(async move {
        for _ in 0..20 {
            let (frame, from) = server.recv_frame_from().await?;
            server.send_frame_to(frame, from).await?;
        }
        Ok::<_, Error>(())
    });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, (RIGHT, 7).into()).await?;
        let socket = UdpSocket::bind(here, (Ipv6Addr::UNSPECIFIED, 0).into())?;
        let mut got = Vec::new();
        for round in 0..20_u8 {
            flow.write_all(&[round; 64]).await?;
            let mut back = [0; 64];
            flow.read_exact(&mut back)
                .await
                .map_err(|_| Error::WouldBlock)?;
            assert_eq!(back, [round; 64]);
            socket.send_to(&[round; 64], (RIGHT, 7).into()).await?;
            let (len, from) = socket.recv_from(&mut back).await?;
            assert_eq!((len, from), (64, (RIGHT, 7).into()));
            got.push(back[0]);
        }
        flow.close().await?;
        Ok::<_, Error>(got)
    });
    let got = world.finish(client).expect("works");
    assert_eq!(got, (0..20).collect::<Vec<u8>>());
    world.finish(udp).expect("works");
    world.check_empty();
}
