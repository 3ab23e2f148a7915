//! Over IPv6, beside a router: radvd says that this Linux is one, and which
//! prefix the programs make their addresses of. What lies behind it is an address
//! of Linux that is on no link of theirs.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::certificate::Certificate;
use super::checks::{self, Pattern};
use super::dns::unbound;
use super::fetch::{NAMES, nginx_at};
use super::host::{Host, OURS, Running, TAP, patience, temporary};
use super::iproute::ip;
use super::namespace::{Skip, isolated, need};

/// Linux on the link.
const NEAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 6, 0, 0, 0, 1);
/// Linux elsewhere.
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);

/// A link that is narrower than IPv4's, so that both show.
const MTU: usize = 1400;

/// As often as mobile hosts would have it (RFC 6275, 7.5), for whom nobody waits.
const RADVD: &str = "
interface tap0 {
    AdvSendAdvert on;
    IgnoreIfMissing on;
    AdvIntervalOpt on;
    MinDelayBetweenRAs 0.3;
    MinRtrAdvInterval 0.3;
    MaxRtrAdvInterval 0.5;
    AdvDefaultLifetime 1800;
    AdvLinkMTU 1400;
    prefix 2001:db8:5:6::/64 { AdvOnLink on; AdvAutonomous on; };
    RDNSS 2001:db8:5:6::1 { AdvRDNSSLifetime 600; };
};
";

/// How much of some things the services are to do.
pub(crate) struct Amounts {
    /// Bytes to echo, from near and from far.
    stream: usize,
    /// Bytes of which none may be copied.
    uncopied: usize,
}

pub(crate) const MUCH: Amounts = Amounts {
    stream: 20_000_000,
    uncopied: 300_000,
};

const SOME: Amounts = Amounts {
    stream: 2_000_000,
    ..MUCH
};

/// Starts radvd, and makes a router of this Linux.
fn radvd() -> Result<Running, Skip> {
    need("radvd")?;
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Err(Skip("Linux has no IPv6".to_owned()));
    }
    let _as_may_be = fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    ip(&format!("address add {NEAR}/64 dev {TAP} nodad"))?;
    ip(&format!("address add {FAR}/128 dev lo nodad"))?;
    let settings = temporary("radvd");
    fs::write(&settings, RADVD).expect("writable");
    let mut command = Command::new("radvd");
    command
        .args(["-n", "-m", "stderr", "-C"])
        .arg(settings)
        .arg("-p")
        .arg(temporary("radvd.pid"));
    Ok(Running::start(command))
}

/// What the program makes of radvd's prefix: RFC 4291, appendix A.
fn own_address() -> Ipv6Addr {
    let ours = OURS.to_string();
    let known = Command::new("ip")
        .args(["neigh", "show", &ours, "dev", TAP])
        .output();
    let known = String::from_utf8(known.expect("ip runs").stdout).expect("text");
    let mut words = known.split_whitespace();
    words.find(|&word| word == "lladdr").expect(&known);
    let mac: Vec<u8> = words
        .next()
        .expect(&known)
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect(&known))
        .collect();
    let mut own = NEAR.octets();
    own[8..11].copy_from_slice(&mac[..3]);
    own[8] ^= 2;
    own[11..13].copy_from_slice(&[0xff, 0xfe]);
    own[13..].copy_from_slice(&mac[3..]);
    own.into()
}

/// The services at an address that a router's advertisement gave them, from the
/// link and from elsewhere.
pub(crate) fn services(hosts: &[Host], amounts: &Amounts) -> Result<(), Skip> {
    let router = radvd()?;
    for host in hosts {
        let (server, _) = host.services_with(&["--ipv6=eui64"])?;
        let own = own_address();
        wait_for(own, &[&router, &server]);
        for from in [NEAR, FAR] {
            pings(from, own);
            datagrams(from, own);
            checks::echo(connect(from, own, 7), amounts.stream);
            if need("curl").is_ok() {
                curl(from, own);
            }
        }
        checks::full_segments_are_not_copied(IpAddr::V6(own), amounts.uncopied);
        println!("{host}: {own} serves {NEAR}, and {FAR} by the router");
    }
    Ok(())
}

/// Pages from beyond the router, for programs that know of nothing but what it
/// advertises, the nameserver among it.
pub(crate) fn pages(hosts: &[Host]) -> Result<(), Skip> {
    let certificate = Certificate::new()?;
    let _router = radvd()?;
    let _names = unbound(&format!(
        "    interface: {NEAR}\n    access-control: ::/0 allow\n{NAMES}"
    ))?;
    let listen = format!("listen [{FAR}]:80; listen [{FAR}]:443 ssl;");
    let pages = nginx_at(&certificate, &listen)?;
    let trust = format!("--cacert={}", certificate.base64());
    for host in hosts {
        for (v4, family, url) in [
            ("--ipv4=none", None, "https://far.example/page"),
            // IPv4 is there at once; it is of no use.
            ("--ipv4=10.0.0.2/24", Some("-6"), "http://far.example/page"),
        ] {
            let arguments = [v4, "--ipv6=slaac", "--log=error", &trust, url];
            let arguments: Vec<&str> = arguments.into_iter().chain(family).collect();
            let end = host.run("fetch", &arguments).finish();
            assert!(end.1.contains("[2001:db8:77::1]:"), "{host}: {}", end.1);
            pages.came(host, url, end);
        }
        println!("{host}: pages from {FAR} by the router");
    }
    Ok(())
}

fn socket(from: Ipv6Addr, kind: Type, protocol: Protocol) -> Socket {
    let socket = Socket::new(Domain::IPV6, kind, Some(protocol)).expect("root here");
    let from = SocketAddr::from((from, 0));
    socket.bind(&from.into()).expect("ours");
    socket
}

fn connect(from: Ipv6Addr, to: Ipv6Addr, port: u16) -> std::net::TcpStream {
    let socket = socket(from, Type::STREAM, Protocol::TCP);
    let to = SocketAddr::from((to, port));
    socket.connect(&to.into()).expect("it listens");
    for set in [Socket::set_read_timeout, Socket::set_write_timeout] {
        set(&socket, Some(patience())).expect("settable");
    }
    socket.into()
}

/// Until it answers: after the advertisement, and after duplicate address detection.
fn wait_for(own: Ipv6Addr, running: &[&Running]) {
    let start = Instant::now();
    let socket: UdpSocket = socket(NEAR, Type::DGRAM, Protocol::UDP).into();
    let wait = Duration::from_millis(100);
    socket.set_read_timeout(Some(wait)).expect("settable");
    loop {
        // It may be unreachable as yet.
        let sent = socket.send_to(b"ready?", (own, 7));
        if socket.recv(&mut [0; 16]).is_ok() {
            return;
        }
        if sent.is_err() {
            thread::sleep(wait);
        }
        let said = || running.iter().map(|one| one.text()).collect::<String>();
        assert!(start.elapsed() < 3 * patience(), "no {own}: {}", said());
    }
}

/// Sizes that go in one packet of the link, and longer ones.
const SIZES: [usize; 9] = [0, 1, 8, 56, 1000, MTU - 48, MTU - 47, 4000, 60_000];

/// RFC 4443, 4.1 and 4.2.
fn pings(from: Ipv6Addr, to: Ipv6Addr) {
    const ECHO_REPLY: u8 = 129;
    let socket = socket(from, Type::RAW, Protocol::ICMPV6);
    let address = SocketAddr::from((to, 0));
    socket.connect(&address.into()).expect("connected");
    socket.set_read_timeout(Some(patience())).expect("settable");
    let pattern = Pattern::new();
    for (number, size) in (0_u8..).zip(SIZES) {
        let head = [128, 0, 0, 0, 0x70, 0x77, 0, number];
        let request = [&head[..], pattern.at(size, size)].concat();
        socket.send(&request).expect("sent");
        let mut reply = vec![0; 1 << 16];
        loop {
            let count = (&socket).read(&mut reply).expect("an answer");
            // Neighbour discovery passes by here, too.
            if count >= 8 && reply[0] == ECHO_REPLY && reply[4..8] == request[4..8] {
                assert!(reply[4..count] == request[4..], "ping of {size} bytes");
                break;
            }
        }
    }
}

fn datagrams(from: Ipv6Addr, to: Ipv6Addr) {
    let socket: UdpSocket = socket(from, Type::DGRAM, Protocol::UDP).into();
    socket.connect((to, 7)).expect("connected");
    socket.set_read_timeout(Some(patience())).expect("settable");
    let pattern = Pattern::new();
    let mut answer = vec![0; 1 << 16];
    for size in SIZES {
        socket.send(pattern.at(size, size)).expect("sent");
        let count = socket.recv(&mut answer).expect("an answer");
        assert!(answer[..count] == *pattern.at(size, size), "{size} bytes");
    }
}

/// The page over HTTP and HTTPS, whose certificate names the IPv4 address.
fn curl(from: Ipv6Addr, to: Ipv6Addr) {
    let limit = patience().as_secs().to_string();
    for (scheme, port) in [("http", 80), ("https", 443)] {
        let output = Command::new("curl")
            .args(["-sS", "-m", &limit, "-6", "--interface", &from.to_string()])
            .arg("--connect-to")
            .arg(format!("{OURS}:{port}:[{to}]:{port}"))
            .arg("--cacert")
            .arg(super::tls::CERTIFICATE)
            .args(["-w", "\n%{http_code} %{remote_ip}\n"])
            .arg(format!("{scheme}://{OURS}/"))
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{scheme}: {text}{why}");
        assert!(text.contains("<h1>pollwire</h1>"), "{scheme}: {text}");
        assert!(text.contains(&format!("\n200 {to}\n")), "{scheme}: {text}");
    }
}

#[test]
fn services_over_ipv6_beside_a_router() {
    isolated("router::services_over_ipv6_beside_a_router", || {
        services(&Host::all(), &SOME)
    });
}

#[test]
fn pages_over_ipv6_beside_a_router() {
    isolated("router::pages_over_ipv6_beside_a_router", || {
        pages(&Host::all())
    });
}
