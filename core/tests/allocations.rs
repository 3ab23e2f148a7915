//! The data path allocates nothing: neither the stack, nor the executor, nor
//! the sockets, nor the in-memory device, once a connection is open.

use core::cell::Cell;
use core::net::{Ipv4Addr, SocketAddr};

use allocation_counter::measure;
use pollwire_core::{
    Config, Error, Instant, Ipv4Cidr, Net, NetCell, Runtime, Stack, TcpFlow, TcpListener, UdpSocket,
};
use pollwire_rings::memory::{MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Round trips before counting: queues find their size.
const WARM: u64 = 2_000;
/// Round trips counted.
const COUNTED: u64 = 10_000;

fn stack<'n>(ip: Ipv4Addr, device: &MemoryDevice) -> NetCell<'n> {
    let cidr = Ipv4Cidr::new(ip, 24).expect("24 is fine");
    let config = Config::new(cidr, [ip.octets()[3]; 32]);
    NetCell::new(Stack::on_heap::<1024, 16, 2048>(&config, device.caps()))
}

/// Runs both hosts until `count` has grown by `rounds`; returns the heap
/// allocations that this took.
fn allocations(
    left: &mut Runtime<'_, MemoryDevice, Wire>,
    right: &mut Runtime<'_, MemoryDevice, Wire>,
    wire: &Wire,
    count: &Cell<u64>,
    rounds: u64,
) -> u64 {
    let (end, mut turns) = (count.get() + rounds, 0);
    measure(|| {
        while count.get() < end {
            turns += 1;
            assert!(
                turns < 100 * (rounds + 100),
                "stalled at {} of {end}",
                count.get()
            );
            left.turn();
            right.turn();
            // A microsecond passes: timers come into it too.
            wire.advance(Instant::from_nanos(Wire::now(wire).as_nanos() + 1_000));
        }
    })
    .count_total
}

/// Counts round trips of `size` bytes on an open connection.
fn tcp_allocations(size: usize) -> u64 {
    let (count, caps) = (Cell::new(0), |last| {
        Caps::plain([2, 0, 0, 0, 0, last], 1500)
    });
    let (left, right) = pair(caps(1), caps(2));
    let (a, b) = (stack(LEFT, &left), stack(RIGHT, &right));
    let wire = left.wire();
    let mut left = Runtime::new(&a, left, wire.clone());
    let mut right = Runtime::new(&b, right, wire.clone());
    right.net().spawn(tcp_echo(right.net())).detach();
    left.net()
        .spawn(tcp_client(left.net(), size, &count))
        .detach();
    allocations(&mut left, &mut right, &wire, &count, WARM);
    allocations(&mut left, &mut right, &wire, &count, COUNTED)
}

async fn tcp_echo(net: Net<'_>) -> Result<(), Error> {
    let flow = TcpListener::bind(net, SocketAddr::from((RIGHT, 7)))?
        .accept()
        .await?;
    flow.set_nodelay(true)?;
    while let Some(frame) = flow.recv().await? {
        flow.send(frame).await?;
    }
    Ok(())
}

async fn tcp_client(net: Net<'_>, size: usize, count: &Cell<u64>) -> Result<(), Error> {
    let flow = TcpFlow::connect(net, SocketAddr::from((RIGHT, 7))).await?;
    flow.set_nodelay(true)?;
    loop {
        let mut frame = flow.alloc_frame().await;
        frame.set_len(size);
        flow.send(frame).await?;
        let mut left = size;
        while left > 0 {
            // A timeout around each read, as servers have: it may not allocate.
            let read = net.timeout(core::time::Duration::from_secs(5), flow.recv());
            let frame = read.await.expect("in time")?.expect("open");
            left -= frame.len();
        }
        count.set(count.get() + 1);
    }
}

async fn udp_echo(net: Net<'_>) -> Result<(), Error> {
    let socket = UdpSocket::bind(net, SocketAddr::from((RIGHT, 7)))?;
    loop {
        let (frame, from) = socket.recv_frame_from().await?;
        socket.send_frame_to(frame, from).await?;
    }
}

async fn udp_client(net: Net<'_>, count: &Cell<u64>) -> Result<(), Error> {
    let socket = UdpSocket::bind(net, SocketAddr::from((LEFT, 0)))?;
    loop {
        let to = SocketAddr::from((RIGHT, 7));
        socket.send_with(64, to, |bytes| bytes.fill(1)).await?;
        drop(socket.recv_frame_from().await?);
        count.set(count.get() + 1);
    }
}

#[test]
fn small_requests_on_an_open_connection_allocate_nothing() {
    assert_eq!(tcp_allocations(64), 0);
}

#[test]
fn full_segments_on_an_open_connection_allocate_nothing() {
    assert_eq!(tcp_allocations(1460), 0);
}

#[test]
fn datagrams_allocate_nothing() {
    let (count, caps) = (Cell::new(0), |last| {
        Caps::plain([2, 0, 0, 0, 0, last], 1500)
    });
    let (left, right) = pair(caps(1), caps(2));
    let (a, b) = (stack(LEFT, &left), stack(RIGHT, &right));
    let wire = left.wire();
    let mut left = Runtime::new(&a, left, wire.clone());
    let mut right = Runtime::new(&b, right, wire.clone());
    right.net().spawn(udp_echo(right.net())).detach();
    left.net().spawn(udp_client(left.net(), &count)).detach();
    allocations(&mut left, &mut right, &wire, &count, WARM);
    let counted = allocations(&mut left, &mut right, &wire, &count, COUNTED);
    assert_eq!(counted, 0);
}
