//! The programs as images with Unikraft in them, in QEMU: against Linux's TCP/IP
//! over a TAP, and against each other.
//!
//! Where `UK_ROOT` names Unikraft's sources, and there are images: see
//! `docs/unikraft.md`. In emulation all takes long.

use std::slice;

use super::host::{Host, Running, qemu};
use super::namespace::{Skip, isolated_with, need};
use super::{EMULATED, checks, dns, echo_client, echo_server, fetch, http, router, services, tls};

/// Twice what the longest takes on a busy machine.
const SECONDS: u32 = 1200;

/// Runs `body` as test `name`, with the images of `programs`.
fn on_unikraft(name: &str, programs: &[&str], body: impl FnOnce(&Host) -> Result<(), Skip>) {
    let name = format!("unikraft::{name}");
    isolated_with(|| (), SECONDS, &name, || body(&Host::unikraft(programs)?));
}

/// Says what a check could not do, and goes on.
fn skipping(checked: Result<(), Skip>) {
    if let Err(Skip(why)) = checked {
        println!("skipped: {why}");
    }
}

#[test]
fn services_against_linux() {
    on_unikraft("services_against_linux", &["services"], |host| {
        services(host, &EMULATED)
    });
}

#[test]
fn http_and_segmentation() {
    on_unikraft("http_and_segmentation", &["services"], |host| {
        let _server = host.services()?;
        skipping(need("tcpdump").map(|()| checks::long_packets_come()));
        skipping(need("curl").map(|()| http::curl()));
        skipping(need("wrk").map(|()| println!("{host}: {}", http::wrk())));
        Ok(())
    });
}

#[test]
fn https() {
    on_unikraft("https", &["services"], |host| {
        let _server = host.services()?;
        for check in [tls::curl, tls::openssl, tls::gnutls] {
            skipping(check());
        }
        skipping(need("wrk").map(|()| println!("{host}: {}", tls::wrk(20))));
        Ok(())
    });
}

#[test]
fn services_over_ipv6_beside_a_router() {
    on_unikraft(
        "services_over_ipv6_beside_a_router",
        &["services"],
        |host| router::services(slice::from_ref(host), &router::MUCH),
    );
}

#[test]
fn names() {
    on_unikraft("names", &["resolve"], dns::names);
}

#[test]
fn pages() {
    on_unikraft("pages", &["fetch"], fetch::pages);
}

#[test]
fn pages_over_ipv6_beside_a_router() {
    on_unikraft("pages_over_ipv6_beside_a_router", &["fetch"], |host| {
        router::pages(slice::from_ref(host))
    });
}

#[test]
fn echo_server_and_client_against_linux() {
    on_unikraft("echo_server_and_client_against_linux", &["echo"], |host| {
        echo_server(host);
        echo_client(host);
        Ok(())
    });
}

/// A program on a wire to another. QEMU
/// then offers neither checksums nor segmentation. (Datagrams carry the frames, so
/// that it does not matter who comes first.)
fn on_a_wire(program: &str, first: &str, second: &str) -> [Running; 2] {
    [(1, 2, first), (2, 1, second)].map(|(host, peer, arguments)| {
        let netdev =
            format!("socket,id=service,udp=127.0.0.1:707{peer},localaddr=127.0.0.1:707{host}");
        let mac = format!("52:54:00:77:00:{host:02x}");
        Running::in_qemu(qemu(program, &netdev, &mac, arguments))
    })
}

#[test]
fn echo_client_against_echo_server() {
    on_unikraft("echo_client_against_echo_server", &["echo"], |_| {
        let [server, client] = on_a_wire(
            "echo",
            "--ipv4=10.0.0.2/24 --limit=1 server",
            "--ipv4=10.0.0.3/24 client 10.0.0.2 10000000",
        );
        let (code, text) = client.finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("10000000 bytes came back intact"), "{text}");
        println!("{text}");
        // It ends when its last segment is acknowledged: the client's last one
        // must have left its machine.
        let (code, text) = server.finish();
        assert_eq!(code, Some(0), "{text}");
        Ok(())
    });
}

/// Raw frames, without a stack: every one of the pool comes home.
#[test]
fn mirror_against_mirror() {
    on_unikraft("mirror_against_mirror", &["mirror"], |_| {
        for (count, length) in [(2000, 1514), (2000, 60)] {
            let [mirror, sender] = on_a_wire("mirror", "", &format!("send {count} {length}"));
            let (code, text) = sender.finish();
            let all = format!("{count} frames of {length} bytes came back, 0 of them wrong");
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains(&all), "{text}");
            println!(
                "{}",
                text.lines()
                    .find(|line| line.contains("came back"))
                    .unwrap_or("")
            );
            let (code, text) = mirror.finish();
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains("reflected "), "{text}");
        }
        Ok(())
    });
}

/// How programs end, and what they are told.
#[test]
fn hello_ends_as_it_is_told() {
    on_unikraft("hello_ends_as_it_is_told", &["hello"], |host| {
        for (words, code, says) in [
            (&["you", "there"][..], 0, "hello you there"),
            (&["7"], 7, "unikraft guest, "),
            (&["panic"], 101, "asked to"),
            (&["out-of-memory"], 101, "memory"),
            // Unikraft's own crash.
            (&["fault"], 102, "hello fault"),
        ] {
            let (found, text) = host.run("hello", words).finish();
            assert_eq!(found, Some(code), "{words:?}: {text}");
            assert!(text.contains(says), "{words:?}: {text}");
        }
        Ok(())
    });
}

/// Without a source of random bits no key and no sequence number would be safe.
#[test]
fn nothing_starts_without_entropy() {
    on_unikraft("nothing_starts_without_entropy", &["hello"], |_| {
        let netdev = "socket,id=service,udp=127.0.0.1:7072,localaddr=127.0.0.1:7071";
        let mut command = qemu("hello", netdev, "52:54:00:77:00:01", "");
        // A processor with neither RDRAND nor RDSEED.
        command.args(["-cpu", "qemu64"]);
        let (code, text) = Running::in_qemu(command).finish();
        assert_eq!(code, Some(103), "{text}");
        assert!(text.contains("without entropy"), "{text}");
        Ok(())
    });
}

#[test]
fn wrong_arguments() {
    on_unikraft("wrong_arguments", &["services"], |host| {
        super::wrong_arguments(host);
        Ok(())
    });
}
