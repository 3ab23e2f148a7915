//! Linux's side: a TAP device, and what speaks over it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;

use pollwire::rings::local_mac;

use super::beside::{PATIENCE, pattern};
use super::iproute::ip;
use super::namespace::Skip;

/// Nothing to build.
pub(crate) fn build() {}

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
    ))?;
    Ok(())
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
