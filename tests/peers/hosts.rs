//! The hosts at the ends of a wire: Linux in a namespace, and pollwire.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use pollwire::host::MonotonicClock;
use pollwire::rings::pcap::{PcapOptions, PcapTee};
use pollwire::rings::seqpacket::SeqPacket;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{Config, Net, NetCell, Runtime, Stack};
use socket2::{Domain, Socket, Type};

use super::iproute::ip;
use super::namespace::Skip;

/// Linux's address; where it speaks to itself, the listener's.
pub(crate) const LISTENER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The other end's: pollwire's, or Linux's once more.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PORT: u16 = 5001;

/// How long a blocking call of Linux's may take before it looks around.
const PATIENCE: Duration = Duration::from_millis(50);

/// Nothing to build, nothing to set up for [`super::namespace`].
pub(crate) fn build() {}

pub(crate) fn make_tap() -> Result<(), Skip> {
    match fs::metadata("/dev/net/tun") {
        Ok(_) => Ok(()),
        Err(error) => Err(Skip(format!("no TAP: /dev/net/tun: {error}"))),
    }
}

/// Asks for real-time priority, for this thread and those that it will start: a
/// loaded machine is to bend time as little as may be. Returns whether it is
/// granted.
pub(crate) fn hurry() -> bool {
    let id = gettid().to_string();
    let output = Command::new("chrt")
        .args(["--fifo", "--pid", "5", &id])
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// Moves this thread into a new network namespace, with a TAP device that has
/// `address` and no offloads.
pub(crate) fn enter_linux(address: Ipv4Addr) -> Result<Tap, Skip> {
    let skip = |what: &str, error: &dyn std::fmt::Display| Skip(format!("{what}: {error}"));
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| skip("no network namespace", &error))?;
    // Only noise on the wire otherwise.
    let _unknown = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    let mac = local_mac(u64::from(address.to_bits()));
    let tap = Tap::open("tap0", mac, Offloads::NONE).map_err(|error| skip("no TAP", &error))?;
    for arguments in [
        format!("address add {address}/24 dev tap0"),
        "link set tap0 up".to_owned(),
    ] {
        ip(&arguments)?;
    }
    Ok(tap)
}

/// A socket with the congestion control that pollwire has, too.
fn cubic() -> Result<Socket, Skip> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    match socket.set_tcp_congestion(b"cubic") {
        Ok(()) => Ok(socket),
        Err(error) => Err(Skip(format!("Linux has no CUBIC here: {error}"))),
    }
}

/// Linux's listener in this thread's namespace.
pub(crate) fn listen() -> Result<TcpListener, Skip> {
    let socket = cubic()?;
    let address = SocketAddr::from((LISTENER, PORT));
    socket.bind(&address.into()).expect("the port is free");
    socket.listen(8).expect("bound");
    socket.set_nonblocking(true).expect("settable");
    Ok(socket.into())
}

/// Waits for a connection until `give_up`.
pub(crate) fn accept(listener: &TcpListener, give_up: Instant) -> TcpStream {
    loop {
        match listener.accept() {
            Ok((flow, _)) => return prepared(flow),
            Err(_) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("nobody connects: {error}"),
        }
    }
}

/// Linux connects from this thread's namespace.
pub(crate) fn connect(address: Ipv4Addr, give_up: Instant) -> TcpStream {
    let wait = give_up.saturating_duration_since(Instant::now());
    let address = SocketAddr::from((address, PORT));
    // The listener's thread has seen that it can be set.
    let socket = cubic().unwrap_or_else(|Skip(why)| panic!("{why}"));
    let connected = socket.connect_timeout(&address.into(), wait);
    connected.expect("the other side listens");
    prepared(socket.into())
}

fn prepared(flow: TcpStream) -> TcpStream {
    flow.set_nonblocking(false).expect("settable");
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&flow, Some(PATIENCE)).expect("settable");
    }
    flow
}

/// Ends a connection with a reset, so that nothing of it outlives its namespace.
pub(crate) fn reset(flow: TcpStream) {
    let socket = Socket::from(flow);
    socket.set_linger(Some(Duration::ZERO)).expect("settable");
}

/// What the kernel knows of the connections in this thread's namespace.
pub(crate) fn socket_statistics() -> String {
    let output = Command::new("ss").args(["-tinHO"]).output();
    output.map_or_else(
        |error| format!("ss: {error}"),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Runs `body` over a stack of its own at [`CLIENT`], with `wire` for its link;
/// returns the capture too, `snap_length` bytes of each packet, if not 0.
pub(crate) fn run_ours<T>(
    wire: OwnedFd,
    seed: u64,
    snap_length: u32,
    body: impl AsyncFnOnce(Net<'_>) -> T,
) -> (T, Vec<u8>) {
    let device = SeqPacket::from_fd(wire, local_mac(seed), 1500).expect("a socket");
    if snap_length == 0 {
        return (drive(device, seed, body), Vec::new());
    }
    let mut capture = Vec::new();
    let options = PcapOptions {
        snap_length,
        ..PcapOptions::default()
    };
    let device = PcapTee::new(device, &mut capture, MonotonicClock::new(), options);
    let value = drive(device, seed, body);
    (value, capture)
}

fn drive<T>(device: impl NetDevice, seed: u64, body: impl AsyncFnOnce(Net<'_>) -> T) -> T {
    let mut entropy = [0x5e; 32];
    entropy[..8].copy_from_slice(&seed.to_le_bytes());
    let address = format!("{CLIENT}/24").parse().expect("an address");
    let stack = Stack::on_heap::<16_384, 16, 2048>(&Config::new(address, entropy), device.caps());
    let cell = NetCell::new(stack);
    Runtime::new(&cell, device, MonotonicClock::new()).block_on(async |net| body(net).await)
}
