//! Hardly a frame to spare, over a TAP device and with Linux's TCP at the other
//! end: what frees frames, acknowledgements, must come in all the while. What
//! cannot run on a machine says so in a line `skipped: why`.
#![cfg(target_os = "linux")]

#[path = "common/iproute.rs"]
mod iproute;
#[path = "e2e/namespace.rs"]
mod namespace;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use namespace::isolated;
use pollwire::host::MonotonicClock;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{Config, Net, NetCell, Runtime, Stack};

/// Linux's side.
mod host {
    use super::iproute::ip;
    use super::namespace::Skip;

    /// Nothing to build.
    pub(crate) fn build() {}

    /// Makes the TAP device of this namespace.
    pub(crate) fn make_tap() -> Result<(), Skip> {
        for arguments in [
            "link set lo up",
            "tuntap add tap0 mode tap",
            "link set tap0 up",
            "address add 10.9.0.1/24 dev tap0",
        ] {
            ip(arguments)?;
        }
        Ok(())
    }
}

/// Frames of the pool: fewer than eight windows take.
const FRAMES: usize = 64;
const STREAMS: usize = 8;
const LENGTH: usize = 100_000;
/// However slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services over the TAP, beside `work` in a thread of its own; every frame is
/// back in the pool in the end.
fn serve(offloads: Offloads, work: impl FnOnce() + Send + 'static) {
    let device = Tap::open("tap0", local_mac(7), offloads).expect("a TAP");
    let config = Config::new("10.9.0.2/24".parse().expect("a CIDR"), [7; 32]);
    let cell = NetCell::new(Stack::on_heap::<FRAMES, 16, 2048>(&config, device.caps()));
    let mut runtime = Runtime::new(&cell, device, MonotonicClock::new());
    runtime.block_on(async |net: Net<'_>| {
        let services = net.spawn(pollwire_apps::services::run(
            net,
            pollwire::host::wall_clock,
        ));
        let worker = thread::spawn(work);
        while !worker.is_finished() {
            net.sleep(Duration::from_millis(1)).await;
        }
        if worker.join().is_err() {
            net.with_stack(|stack| {
                println!("{} of {FRAMES} frames free", stack.pool().available());
                print!("{}", stack.counters());
            });
            panic!("the streams stand still");
        }
        services.abort();
        for _ in 0..1000 {
            if net.with_stack(|stack| stack.pool().in_use()) == 0 {
                return;
            }
            net.sleep(Duration::from_millis(10)).await;
        }
        panic!("frames are left behind");
    });
    println!("{:?}", runtime.device().stats());
}

fn pattern(stream: usize) -> Vec<u8> {
    (0..LENGTH)
        .map(|at| (at * 31 + at / 256 + stream) as u8)
        .collect()
}

/// Writes to the echo service, and begins to read when all that goes into buffers
/// has gone there.
fn echo(stream: usize) {
    let to: SocketAddr = "10.9.0.2:7".parse().expect("an address");
    let mut flow = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
    flow.set_read_timeout(Some(PATIENCE)).expect("settable");
    flow.set_write_timeout(Some(PATIENCE)).expect("settable");
    let mut writing = flow.try_clone().expect("a descriptor");
    let writer = thread::spawn(move || {
        writing.write_all(&pattern(stream)).expect("written");
        writing.shutdown(Shutdown::Write).expect("open");
    });
    thread::sleep(Duration::from_millis(500));
    let mut back = Vec::new();
    flow.read_to_end(&mut back).expect("all comes back");
    assert!(back == pattern(stream), "stream {stream}");
    writer.join().expect("all was written");
}

fn streams() {
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| thread::spawn(move || echo(stream)))
        .collect();
    for stream in streams {
        stream.join().expect("a stream");
    }
}

#[test]
fn streams_that_want_more_frames_than_there_are() {
    isolated("streams_that_want_more_frames_than_there_are", || {
        for offloads in [Offloads::NONE, Offloads::ALL] {
            serve(offloads, streams);
        }
        Ok(())
    });
}
