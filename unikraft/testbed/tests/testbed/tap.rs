//! The machine on a TAP: Linux's own TCP and UDP on the other end.
//!
//! Runs where the process is root, has /dev/net/tun and may make namespaces;
//! elsewhere it says why it is skipped.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant as Real};

use pollwire_core::{Config, Counter, ListenOptions, Memory, Stack};
use pollwire_rings::tap::{Offloads, Tap};
use pollwire_rings::{Instant, NetDevice, RxBurst, TxBurst};
use pollwire_uk_testbed::{BedConfig, Bridge, Testbed};

use crate::table::compare;
use crate::traffic::Echo;
use crate::world;

const BYTES: usize = 20_000_000;
const DATAGRAMS: usize = 200;
const MACHINE: &str = "10.77.0.2:7";

/// What byte `at` of the stream is.
fn fill(at: usize) -> u8 {
    (at.wrapping_mul(31) >> 7) as u8
}

fn ip(arguments: &str) -> Result<(), String> {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("ip {arguments}: {other:?}")),
    }
}

/// A TAP in a network namespace of this thread's own, the kernel at 10.77.0.1.
fn tap(name: &str, offloads: Offloads) -> Result<Tap, String> {
    // SAFETY: plain integers; only this thread changes its namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(format!("no network namespace: {error}"));
    }
    let tap = Tap::open(name, BedConfig::QEMU.mac, offloads).map_err(|e| format!("no TAP: {e}"))?;
    ip(&format!("link set {name} up"))?;
    ip(&format!("address add 10.77.0.1/24 dev {name}"))?;
    Ok(tap)
}

/// Runs `test` in a thread, for the namespace goes away with it.
fn with_tap(name: &'static str, offloads: Offloads, test: impl FnOnce(Tap) + Send + 'static) {
    let run = thread::spawn(move || match tap(name, offloads) {
        Ok(tap) => test(tap),
        Err(why) => println!("skipped: {why}"),
    });
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_table_says_what_a_tap_says() {
    with_tap("pwtable0", Offloads::ALL, |tap| compare("TAP", tap.caps()));
}

/// What the kernel's end does: an echo, then datagrams.
fn client() -> (usize, usize) {
    let address: SocketAddr = MACHINE.parse().expect("an address");
    let mut stream = TcpStream::connect(address).expect("connects");
    let mut writer = stream.try_clone().expect("one more descriptor");
    let sender = thread::spawn(move || {
        let data: Vec<u8> = (0..BYTES).map(fill).collect();
        writer.write_all(&data).expect("open");
        writer.shutdown(Shutdown::Write).expect("open");
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("ends in order");
    sender.join().expect("sent");
    let intact = back.iter().enumerate();
    let intact = intact.take_while(|&(at, &byte)| byte == fill(at));
    let echoed = intact.count();

    let socket = UdpSocket::bind("10.77.0.1:0").expect("free");
    let timeout = Some(Duration::from_secs(60));
    socket.set_read_timeout(timeout).expect("not zero");
    let mut answered = 0;
    for index in 0..DATAGRAMS {
        let data = vec![index as u8; 1 + index * 7];
        socket.send_to(&data, address).expect("sent");
        let mut answer = [0; 2000];
        let (len, from) = socket.recv_from(&mut answer).expect("answered");
        answered += usize::from(from == address && answer[..len] == data);
    }
    (echoed, answered)
}

/// As QEMU does it: packets to segment go to the kernel whole; what comes from
/// the kernel is cut by it, for the driver takes no longer packets.
#[test]
fn linux_gets_its_echo_back_over_a_tap() {
    let offloads = Offloads {
        checksum: true,
        segmentation: false,
    };
    with_tap("pwbed0", offloads, |tap| {
        let testbed = Testbed::attach(&BedConfig::QEMU);
        let open = |pool: &_| testbed.open(pool);
        let memory: &'static Memory<1024, 64> = world::leak();
        let address = "10.77.0.2/24".parse().expect("an address");
        let config = Config::new(address, [7; 32]);
        let (mut stack, mut device) = Stack::boot(memory, &config, open).expect("boots");
        let mut bridge = Bridge::new(testbed, tap);
        let local: SocketAddr = "0.0.0.0:7".parse().expect("an address");
        let listener = stack
            .tcp_listen(local, ListenOptions::DEFAULT)
            .expect("free");
        let udp = stack.udp_bind(local).expect("free");
        let (done, result) = mpsc::channel();
        let client = thread::spawn(move || done.send(client()));

        let (mut rx, mut tx) = (RxBurst::new(), TxBurst::new());
        let (mut echoes, start) = (Vec::new(), Real::now());
        let outcome = loop {
            let elapsed = start.elapsed();
            assert!(elapsed < Duration::from_secs(300), "it takes for ever");
            let now = Instant::from_secs(1) + elapsed;
            testbed.set_clock(now);
            let busy = bridge.pump();
            device.rx_burst(stack.pool(), &mut rx);
            stack.input(now, &mut rx);
            stack.expire(now);
            while let Ok(flow) = stack.tcp_try_accept(listener) {
                echoes.push((flow, Echo::default()));
            }
            for (flow, echo) in &mut echoes {
                echo.run(&mut stack, *flow);
            }
            while let Ok((frame, from)) = stack.udp_try_recv(udp) {
                stack.udp_try_send_frame(udp, frame, from).expect("room");
            }
            while stack.output(now, &mut tx) && device.tx_burst(&mut tx) > 0 {}
            device.tx_burst(&mut tx);
            if let Ok(outcome) = result.try_recv() {
                break outcome;
            }
            if !busy {
                thread::yield_now();
            }
        };
        client.join().expect("no panic").expect("received");
        assert_eq!(outcome, (BYTES, DATAGRAMS));
        let (stats, crossed) = (device.stats(), bridge.stats());
        println!("{:?}: {stats:?} {crossed:?}", start.elapsed());
        assert!(crossed.longest > 1514, "{} bytes", crossed.longest);
        assert!(stats.tx_segmented > 0 && stats.rx_partial > 0);
        assert_eq!(
            (stats.tx_errors, stats.tx_invalid, stats.rx_lost),
            (0, 0, 0)
        );
        assert_eq!(testbed.stats().complaints, 0);
        // The kernel sends what is left of a write by itself: such small payloads
        // are joined in one frame, as a frame for each would be dear.
        let copied = stack.counters().get(Counter::CopiedBytes);
        assert!(copied < BYTES as u64 / 1000, "{copied} bytes copied");
    });
}
