//! Linux's side: a TAP device, and what speaks over it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use pollwire::rings::local_mac;
use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Skip;

/// Nothing on a TAP takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing to build.
pub(crate) fn build() {}

/// Runs `ip` with these arguments.
pub(crate) fn ip(arguments: &str) -> Result<(), Skip> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip runs");
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Skip(format!("ip {arguments}: {}", why.trim())))
}

/// Makes the TAP devices of this namespace.
pub(crate) fn make_tap() -> Result<(), Skip> {
    for arguments in [
        "link set lo up",
        "tuntap add tap0 mode tap",
        "link set tap0 up",
        "address add 10.9.0.1/24 dev tap0",
        "address add fd00:9::1/64 dev tap0 nodad",
    ] {
        ip(arguments)?;
    }
    Ok(())
}

/// Has Linux know that `address` lives at the Ethernet address made of `seed`.
pub(crate) fn neighbour(address: &str, seed: u64, device: &str) -> Result<(), Skip> {
    let mac = local_mac(seed).map(|byte| format!("{byte:02x}")).join(":");
    ip(&format!(
        "neighbour replace {address} lladdr {mac} dev {device} nud permanent"
    ))
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

/// Has Linux ping `target` with `size` bytes of payload; whether all of it came
/// back.
pub(crate) fn ping(target: Ipv4Addr, size: usize) -> bool {
    let icmp = Some(Protocol::ICMPV4);
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, icmp).expect("root here");
    let to = SocketAddr::from((target, 0));
    socket.connect(&to.into()).expect("connected");
    let second = Duration::from_secs(1);
    socket.set_read_timeout(Some(second)).expect("settable");
    let mut request = vec![8, 0, 0, 0, 0x70, 0x77, 0, 1];
    request.extend(pattern(size));
    let check = pollwire::offload::Sum::of(&request).finish();
    request[2..4].copy_from_slice(&check.to_be_bytes());
    let start = Instant::now();
    socket.send(&request).expect("sent");
    let mut packet = vec![0; 66_000];
    while start.elapsed() < second {
        match socket.read(&mut packet) {
            Ok(count) => {
                let reply = &packet[20..count];
                if reply[0] == 0 && reply[4..] == request[4..] {
                    return true;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return false;
            }
        }
    }
    false
}

/// Has Linux send datagrams of these sizes to an echo at `to`.
pub(crate) fn udp_echo(to: SocketAddr, sizes: impl Iterator<Item = usize>) {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).expect("a port is free");
    socket.connect(to).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut answer = vec![0; 66_000];
    for size in sizes {
        let data = pattern(size);
        socket.send(&data).expect("sent");
        let count = socket.recv(&mut answer).expect("an echo");
        assert!(answer[..count] == data, "{to}: {size} bytes: {count} came");
    }
}

/// Has Linux send `size` bytes over a connection to an echo at `to`.
pub(crate) fn tcp_echo(to: SocketAddr, size: usize) {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("settable");
    stream.set_write_timeout(Some(PATIENCE)).expect("settable");
    let data = pattern(size);
    let mut writer = stream.try_clone().expect("a descriptor is free");
    let sent = data.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&sent).expect("written");
        writer.shutdown(Shutdown::Write).expect("open");
    });
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed).expect("read");
    sender.join().expect("no panic");
    assert!(echoed == data, "{to}: {} of {size} bytes", echoed.len());
}
