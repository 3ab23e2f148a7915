//! The programs of `unikernels/` against Linux's TCP/IP: as images under the
//! bundled tender and under Solo5's own, and as Linux programs over a TAP.
//!
//! Each test runs in a network namespace of its own, which `unshare` makes and
//! which vanishes with it, with a TAP device and one server inside. What cannot
//! run on a machine says so in a line `skipped: why`. The figures that are
//! printed are there to be read; no test depends on them.
//!
//! Solo5's tender comes with its sources (github.com/Solo5/solo5: `./configure.sh
//! && make`, which takes libseccomp-dev) or from opam; it is found in `PATH`, or
//! where `SOLO5_SPT` says.

#[path = "e2e/certificate.rs"]
mod certificate;
#[path = "e2e/checks.rs"]
mod checks;
#[path = "e2e/dns.rs"]
mod dns;
#[path = "../tender/tests/emulator/mod.rs"]
mod emulator;
#[path = "e2e/fetch.rs"]
mod fetch;
#[path = "e2e/host.rs"]
mod host;
#[path = "e2e/http.rs"]
mod http;
#[path = "e2e/hvt.rs"]
mod hvt;
#[path = "common/iproute.rs"]
mod iproute;
#[path = "e2e/lossy.rs"]
mod lossy;
#[path = "e2e/namespace.rs"]
mod namespace;
#[path = "e2e/peers.rs"]
mod peers;
#[path = "e2e/progress.rs"]
mod progress;
#[path = "e2e/races.rs"]
mod races;
#[path = "e2e/router.rs"]
mod router;
#[path = "e2e/slow.rs"]
mod slow;
#[path = "e2e_tls/server.rs"]
#[expect(dead_code, reason = "a part of what e2e_tls.rs uses")]
mod tls;
#[path = "e2e/unikraft.rs"]
mod unikraft;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::panic;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use host::{Host, Running, THEIRS};
use namespace::{Skip, isolated};
use pollwire::host::MonotonicClock;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{Config, NetCell, Runtime, Stack};
use progress::step;

/// How much of some things `services` is to do.
struct Amounts {
    /// Pings and UDP datagrams that go in fragments.
    fragmented: usize,
    /// Bytes to echo, to discard, and to generate five times less.
    stream: usize,
    /// Bytes of which none may be copied, nor sent twice.
    uncopied: usize,
}

const MUCH: Amounts = Amounts {
    fragmented: 660,
    stream: 100_000_000,
    uncopied: 20_000_000,
};

/// For an emulated machine, which a busy one leaves waiting more often.
const EMULATED: Amounts = Amounts {
    uncopied: 300_000,
    ..MUCH
};

/// All that `services` is to do, on `host`.
fn services(host: &Host, amounts: &Amounts) -> Result<(), Skip> {
    let (server, boot) = host.services()?;
    println!("{host}: first reply {boot:?} after its start");
    // Unikraft's driver has a ring of them.
    let lent = match host {
        Host::Unikraft => http::counter("frames-in-use"),
        _ => 0,
    };
    let (fragmented, stream, uncopied) = (amounts.fragmented, amounts.stream, amounts.uncopied);
    step("ping of every size", 0, || {
        checks::ping_of_every_size(fragmented);
    });
    step("UDP echo of every size", 0, || {
        checks::udp_echo_of_every_size(fragmented);
    });
    step("refused ports", 0, checks::refused_ports);
    step("daytime", 0, || checks::daytime(host.clock_behind()));
    step("chargen", stream / 5, || checks::chargen(stream / 5));
    step("HTTP on one connection", 0, http::keep_alive_and_pipelining);
    step("echo", 2 * stream, || {
        checks::echo(host::connect(7), stream)
    });
    step("discard", stream, || checks::discard(stream));
    step("full segments without a copy", 3 * uncopied, || {
        checks::full_segments_are_not_copied(host::OURS.into(), uncopied);
    });
    step("1000 connections", 0, || checks::connections_at_once(1000));
    step("nothing held", 0, || checks::nothing_held_for_ever(lent));
    drop(server);
    Ok(())
}

#[test]
fn services_under_the_bundled_tender() {
    isolated("services_under_the_bundled_tender", || {
        services(&Host::bundled_tender(), &MUCH)
    });
}

#[test]
fn services_under_solo5_spt() {
    isolated("services_under_solo5_spt", || {
        services(&Host::solo5_spt()?, &MUCH)
    });
}

#[test]
fn services_on_linux() {
    isolated("services_on_linux", || services(&Host::Linux, &MUCH));
}

/// Two congestion controls and two loss recoveries, each against the other.
#[test]
fn echo_over_a_bad_wire() {
    const SEED: u64 = 0x5eed;
    isolated("echo_over_a_bad_wire", || {
        println!("seed {SEED:#x}");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let server = scope.spawn(|| serve_badly(SEED, &done));
            let outcome = panic::catch_unwind(|| {
                for length in [0, 1, 100_000, 10_000_000] {
                    checks::echo(host::connect(7), length);
                }
            });
            done.store(true, Ordering::Relaxed);
            server.join().expect("no panic in the stack");
            outcome.unwrap_or_else(|cause| panic::resume_unwind(cause));
        });
        Ok(())
    });
}

/// Runs the services in this process, over a bad TAP, until `done`.
fn serve_badly(seed: u64, done: &AtomicBool) {
    let tap = Tap::open(host::TAP, local_mac(seed), Offloads::NONE).expect("a TAP");
    let device = lossy::Lossy::new(tap, seed);
    let address = "10.0.0.2/24".parse().expect("an address");
    let config = Config::new(address, [0x5e; 32]);
    let cell = NetCell::new(Stack::on_heap::<4096, 64, 2048>(&config, device.caps()));
    Runtime::new(&cell, device, MonotonicClock::new()).block_on(async |net| {
        let services = pollwire_apps::services::run(net, pollwire::host::wall_clock);
        net.spawn(services).detach();
        while !done.load(Ordering::Relaxed) {
            net.sleep(Duration::from_millis(10)).await;
        }
        net.with_stack(|stack| print!("{}", stack.counters()));
        for _ in 0..500 {
            if net.with_stack(|stack| stack.pool().in_use()) == 0 {
                return;
            }
            net.sleep(Duration::from_millis(10)).await;
        }
        panic!("frames are left behind");
    });
}

#[test]
fn http_with_curl() {
    isolated("http_with_curl", || {
        namespace::need("curl")?;
        for host in Host::all() {
            let _server = host.services()?;
            http::curl();
        }
        Ok(())
    });
}

#[test]
fn http_with_wrk() {
    isolated("http_with_wrk", || {
        namespace::need("wrk")?;
        for host in Host::all() {
            let _server = host.services()?;
            println!("{host}: {}", http::wrk());
        }
        Ok(())
    });
}

#[test]
fn wrong_arguments_are_told() {
    isolated("wrong_arguments_are_told", || {
        Host::all().iter().for_each(wrong_arguments);
        Ok(())
    });
}

fn wrong_arguments(host: &Host) {
    for (arguments, code, says) in [
        (&["--help"][..], 0, "--ipv4-gateway"),
        (&[], 64, "services: --ipv4"),
        (&["--ipv4=10.0.0.2/33"], 64, "10.0.0.2/33"),
        (&["--ipv4=10.0.0.2/24", "--frob"], 64, "--frob"),
        (&["--ipv4=10.0.0.2/24", "extra"], 64, "extra"),
    ] {
        let (found, text) = host.run("services", arguments).finish();
        assert_eq!(found, Some(code), "{host} {arguments:?}: {text}");
        assert!(text.contains(says), "{host} {arguments:?}: {text}");
    }
}

#[test]
fn echo_server_serves_linux() {
    isolated("echo_server_serves_linux", || {
        Host::spt().iter().for_each(echo_server);
        Ok(())
    });
}

fn echo_server(host: &Host) {
    let server = host.run("echo", &["--ipv4=10.0.0.2/24", "--limit=2", "server"]);
    for length in [0, 10_000_000] {
        checks::echo(host::connect(9000), length);
    }
    let (code, text) = server.finish();
    assert_eq!(code, Some(0), "{host}: {text}");
    assert!(text.contains(" payload_bytes=100000"), "{host}: {text}");
}

/// A server in Linux that changes byte `wrong`, if any.
fn linux_echo(listener: &TcpListener, wrong: Option<usize>) {
    let (mut flow, _) = listener.accept().expect("a client");
    let (mut at, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let count = flow.read(&mut buffer).expect("readable");
        if count == 0 {
            break;
        }
        if let Some(byte) = wrong.and_then(|wrong| buffer[..count].get_mut(wrong.wrapping_sub(at)))
        {
            *byte ^= 1;
        }
        at += count;
        flow.write_all(&buffer[..count]).expect("writable");
    }
    flow.shutdown(Shutdown::Write).expect("open");
}

#[test]
fn echo_client_checks_what_linux_sends() {
    isolated("echo_client_checks_what_linux_sends", || {
        Host::spt().iter().for_each(echo_client);
        Ok(())
    });
}

fn echo_client(host: &Host) {
    let listener = TcpListener::bind((THEIRS, 7000)).expect("the port is free");
    for (wrong, code, says) in [
        (None, 0, "5000000 bytes came back intact"),
        (Some(4_999_999), 1, "not what was sent"),
    ] {
        let there = format!("{THEIRS}:7000");
        let arguments = ["--ipv4=10.0.0.2/24", "client", &there, "5000000"];
        let client = host.run("echo", &arguments);
        linux_echo(&listener, wrong);
        let (found, text) = client.finish();
        assert_eq!(found, Some(code), "{host}: {text}");
        assert!(text.contains(says), "{host}: {text}");
    }
    drop(listener);
    let nobody = format!("{THEIRS}:7001");
    let (code, text) = host
        .run("echo", &["--ipv4=10.0.0.2/24", "client", &nobody])
        .finish();
    assert_eq!(code, Some(1), "{host}: {text}");
    assert!(text.contains("refused"), "{host}: {text}");
}

/// Two images, each other's peers: needs no TAP.
#[test]
fn echo_images_on_a_wire() {
    isolated("echo_images_on_a_wire", || {
        let tender = host::tender();
        let image = host::image("echo", "spt");
        let path = host::temporary("wire");
        let start = |arguments: &[&str]| {
            let mut command = Command::new(&tender);
            command
                .arg("--mem=64")
                .arg(format!("--net:service=wire:{}", path.display()))
                .arg(&image)
                .args(arguments);
            Running::start(command)
        };
        let server = start(&["--ipv4=10.0.0.2/24", "--limit=1", "server"]);
        let client = start(&["--ipv4=10.0.0.3/24", "client", "10.0.0.2", "50000000"]);
        let (code, text) = client.finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("50000000 bytes came back intact"), "{text}");
        let (code, text) = server.finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(" copied_bytes=0"), "{text}");
        Ok(())
    });
}
