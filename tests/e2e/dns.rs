//! The resolver against real servers: unbound and dnsmasq.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::certificate::Certificate;
use super::host::{self, Host, Running, THEIRS, patience, temporary};
use super::namespace::{Skip, isolated, need};

/// How unbound works here.
const SETTINGS: &str = r#"
server:
    directory: "/"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 10.0.0.1
    access-control: 10.0.0.0/8 allow
    max-udp-size: 512
"#;

/// The zone that both serve, as unbound has it; `big` does not fit into 512
/// bytes, `fail` is forwarded to where unbound may not ask.
const ZONE: &str = r#"
    local-zone: "example." static
    local-data: "www.example. 300 A 198.51.100.1"
    local-data: "www.example. 300 AAAA 2001:db8::1"
    local-data: "alias.example. 300 CNAME www.example."
    local-data: "example. 300 MX 10 mail.example."
    local-data: "example. 300 SOA ns.example. admin.example. 1 2 3 4 60"
    local-data: 'text.example. 300 TXT "say \"hi\"" "twice"'
    local-data: "_http._tcp.example. 300 SRV 1 2 80 www.example."
    local-data: "www.example. 300 HTTPS 1 . alpn=h2"
    local-data-ptr: "198.51.100.1 www.example"
    local-zone: "refused.example.org." always_refuse
forward-zone:
    name: "fail.example.org."
    forward-addr: 127.0.0.1@9
"#;

/// How often a machine may be too slow for what is to be quick.
pub(crate) const ATTEMPTS: u32 = 8;
/// Addresses of `big.example`.
pub(crate) const MANY: usize = 100;

/// Starts a server and waits until it listens.
pub(crate) fn start(mut command: Command, arguments: &[String]) -> Running {
    command.args(arguments);
    let server = Running::start(command);
    let start = Instant::now();
    while TcpStream::connect((THEIRS, 53)).is_err() {
        assert!(start.elapsed() < patience(), "{}", server.text());
        thread::sleep(Duration::from_millis(10));
    }
    server
}

/// Starts unbound with `zone` and what else belongs into its configuration.
pub(crate) fn unbound(zone: &str) -> Result<Running, Skip> {
    need("unbound")?;
    let path = temporary("unbound");
    fs::write(&path, format!("{SETTINGS}{zone}")).expect("writable");
    let arguments = ["-d".into(), "-c".into(), path.display().to_string()];
    Ok(start(Command::new("unbound"), &arguments))
}

/// [`ZONE`], with many addresses of one name.
fn zone() -> String {
    let many =
        (1..=MANY).map(|n| format!("    local-data: \"big.example. 300 A 198.51.100.{n}\"\n"));
    let (first, rest) = ZONE
        .trim_start_matches('\n')
        .split_once('\n')
        .expect("lines");
    format!("{first}\n{}{rest}", many.collect::<String>())
}

pub(crate) fn dnsmasq(more: &[&str]) -> Result<Running, Skip> {
    need("dnsmasq")?;
    let mut arguments: Vec<String> = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--pid-file",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=10.0.0.1",
        "--local=/example/",
        "--edns-packet-max=512",
        "--host-record=www.example,198.51.100.1,2001:db8::1",
        "--cname=alias.example,www.example",
        "--mx-host=example,mail.example,10",
        "--txt-record=text.example,say hi,twice",
        "--srv-host=_http._tcp.example,www.example,80,1,2",
    ]
    .map(String::from)
    .into();
    arguments.extend((1..=MANY).map(|n| format!("--host-record=big.example,198.51.100.{n}")));
    arguments.extend(more.iter().copied().map(String::from));
    Ok(start(Command::new("dnsmasq"), &arguments))
}

/// Runs `resolve`; gives its exit code and output.
pub(crate) fn resolve(host: &Host, servers: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let servers = servers.split(',').map(|one| format!("--nameserver={one}"));
    let servers: Vec<String> = servers.collect();
    let mut all = vec!["--ipv4=10.0.0.2/24", "--log=error"];
    all.extend(servers.iter().map(String::as_str));
    all.extend(arguments);
    host.run("resolve", &all).finish()
}

/// What `resolve` is to say to what: name, type, exit code, parts of the text.
type Case = (&'static str, &'static str, i32, &'static [&'static str]);

const CASES: [Case; 8] = [
    (
        "www.example",
        "A",
        0,
        &["www.example. ", " A 198.51.100.1\n"],
    ),
    ("www.example", "AAAA", 0, &[" AAAA 2001:db8::1\n"]),
    (
        "alias.example",
        "A",
        0,
        &[" CNAME www.example.\n", " A 198.51.100.1\n"],
    ),
    ("example", "MX", 0, &[" MX 10 mail.example.\n"]),
    (
        "text.example",
        "TXT",
        0,
        &[" TXT \"say ", "hi", "\" \"twice\"\n"],
    ),
    (
        "_http._tcp.example",
        "SRV",
        0,
        &[" SRV 1 2 80 www.example.\n"],
    ),
    (
        "198.51.100.1",
        "PTR",
        0,
        &["1.100.51.198.in-addr.arpa. ", " PTR www.example.\n"],
    ),
    (
        "nobody.example",
        "A",
        2,
        &["nobody.example A: no such name\n"],
    ),
];

/// Every kind of question, over UDP and TCP, and an answer that is too long.
pub(crate) fn questions(host: &Host) {
    for servers in ["udp:10.0.0.1", "tcp:10.0.0.1"] {
        // One tells that TCP works; to start a program takes long there.
        let few = host::emulated() && servers.starts_with("tcp");
        let cases = if few { &CASES[..1] } else { &CASES };
        for &(name, record_type, code, parts) in cases {
            let arguments = [&*format!("--host={name}"), &format!("--type={record_type}")];
            let (found, text) = resolve(host, servers, &arguments);
            assert_eq!(found, Some(code), "{host} {servers} {name}: {text}");
            for part in parts {
                assert!(text.contains(part), "{host} {servers} {name}: {text}");
            }
        }
        let (found, text) = resolve(host, servers, &["--host=big.example", "--type=A"]);
        assert_eq!(found, Some(0), "{host} {servers}: {text}");
        assert_eq!(text.matches(" A 198.51.100.").count(), MANY, "{text}");
    }
}

/// All questions, to unbound.
pub(crate) fn names(host: &Host) -> Result<(), Skip> {
    let _server = unbound(&zone())?;
    questions(host);
    Ok(())
}

#[test]
fn names_from_unbound() {
    isolated("dns::names_from_unbound", || {
        let _server = unbound(&zone())?;
        for host in Host::all() {
            questions(&host);
            let https = ["--host=www.example", "--type=https"];
            let (code, text) = resolve(&host, "10.0.0.1", &https);
            assert_eq!(code, Some(0), "{host}: {text}");
            assert!(text.contains(" HTTPS 1 . alpn="), "{host}: {text}");
            for (name, says) in [
                (
                    "a.refused.example.org",
                    "the nameserver failed: Query Refused",
                ),
                (
                    "a.fail.example.org",
                    "the nameserver failed: Server Failure",
                ),
            ] {
                let (code, text) = resolve(&host, "10.0.0.1", &[&format!("--host={name}")]);
                assert_eq!(code, Some(1), "{host}: {text}");
                assert!(text.contains(says), "{host}: {text}");
            }
        }
        Ok(())
    });
}

#[test]
fn names_from_dnsmasq() {
    isolated("dns::names_from_dnsmasq", || {
        let _server = dnsmasq(&[])?;
        for host in Host::all() {
            questions(&host);
        }
        Ok(())
    });
}

/// With `--json`, what DHCP gave is told, and its nameserver is the one asked.
#[test]
fn the_lease_is_told() {
    isolated("dns::the_lease_is_told", || {
        let leases = format!("--dhcp-leasefile={}", temporary("leases").display());
        let _server = dnsmasq(&[
            "--dhcp-range=10.0.0.50,10.0.0.59,255.255.255.0,1h",
            "--dhcp-authoritative",
            "--dhcp-option=option:router,10.0.0.1",
            "--domain=example",
            &leases,
        ])?;
        for host in Host::all() {
            let arguments = ["--ipv4=dhcp", "--log=error", "--host=www", "--json"];
            let (code, text) = host.run("resolve", &arguments).finish();
            assert_eq!(code, Some(0), "{host}: {text}");
            let told: serde_json::Value = serde_json::from_str(text.trim()).expect(&text);
            let lease = &told["lease"];
            let address = lease["address"].as_str().expect(&text);
            assert!(
                address.starts_with("10.0.0.5") && address.ends_with("/24"),
                "{text}"
            );
            assert_eq!(lease["server"], "10.0.0.1", "{host}");
            assert_eq!(lease["routers"], serde_json::json!(["10.0.0.1"]), "{host}");
            assert_eq!(lease["dns"], serde_json::json!(["10.0.0.1"]), "{host}");
            assert_eq!(lease["domain"], "example", "{host}");
            let left = lease["seconds_left"].as_u64().expect(&text);
            assert!((3000..=3600).contains(&left), "{text}");
            assert_eq!(told["lookups"][0]["name"], "www.example.", "{host}");
        }
        Ok(())
    });
}

/// Milliseconds until a name's address is known.
fn time_to_resolve(host: &Host, servers: &str) -> u64 {
    let arguments = ["--host=www.example", "--type=A", "--json"];
    let (code, text) = resolve(host, servers, &arguments);
    assert_eq!(code, Some(0), "{host} {servers}: {text}");
    assert!(text.contains("\"data\":\"198.51.100.1\""), "{text}");
    let (_, rest) = text.split_once("\"elapsed_us\":").expect(&text);
    let micros: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let millis = micros.parse::<u64>().expect("a number") / 1000;
    println!("{host}: {servers}: {millis} ms");
    millis
}

#[test]
fn one_nameserver_dead() {
    isolated("dns::one_nameserver_dead", || {
        let _server = unbound(&zone())?;
        for host in Host::all() {
            for (servers, least, most) in [
                // Nobody has that address: one wait.
                ("udp:10.0.0.9,udp:10.0.0.1", 1000, 4000),
                // Nobody listens there, and Linux says so; the first packet may
                // be lost while the TAP comes up.
                ("udp:10.0.0.1:5300,udp:10.0.0.1", 0, 1900),
                ("tcp:10.0.0.1:5300,tcp:10.0.0.1", 0, 1900),
            ] {
                // A machine that is busy elsewhere is late now and then.
                let in_time = (0..ATTEMPTS).any(|_| {
                    let millis = time_to_resolve(&host, servers);
                    assert!(millis >= least, "{host} {servers}: {millis} ms");
                    millis < most
                });
                assert!(in_time, "{host} {servers}: never in {most} ms");
            }
            let (code, text) = resolve(
                &host,
                "10.0.0.9",
                &["--host=www.example", "--dns-timeout=1"],
            );
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(
                text.contains("no nameserver answered in time"),
                "{host}: {text}"
            );
            let (code, text) = resolve(&host, "quic:10.0.0.1", &["--host=www.example"]);
            assert_eq!(code, Some(64), "{host}: {text}");
        }
        Ok(())
    });
}

/// RFC 7858 and RFC 8310: whom the resolver believes to be its nameserver.
#[test]
fn names_over_tls() {
    isolated("dns::names_over_tls", || {
        let certificate = Certificate::new()?;
        let tls = format!(
            "    interface: 10.0.0.1@853\n    tls-port: 853\n    tls-service-key: \"{}\"\n    \
             tls-service-pem: \"{}\"\n{ZONE}",
            certificate.key.display(),
            certificate.chain.display()
        );
        let _server = unbound(&tls)?;
        let pin = certificate.key_hash();
        for host in Host::all() {
            for (server, code) in [
                ("tls:10.0.0.1!none".to_owned(), 0),
                (format!("tls:10.0.0.1!key-fp:sha256:{pin}"), 0),
                (
                    format!("tls:10.0.0.1:853!www.example!key-fp:sha256:{pin}"),
                    0,
                ),
                // Nobody whom Mozilla trusts stands behind it.
                ("tls:10.0.0.1!www.example".to_owned(), 1),
                (format!("tls:10.0.0.1!cert-fp:sha256:{pin}"), 1),
                // No TLS there.
                ("tls:10.0.0.1:53!none".to_owned(), 1),
            ] {
                let arguments = ["--host=www.example", "--type=A"];
                let (found, text) = resolve(&host, &server, &arguments);
                assert_eq!(found, Some(code), "{host} {server}: {text}");
            }
        }
        Ok(())
    });
}
