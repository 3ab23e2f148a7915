//! IPv6 against Linux: pings, UDP and TCP, neighbour discovery, duplicate
//! addresses, and a router's advertisements (radvd).
//!
//! Each test runs in a network namespace of its own, which `unshare` makes and
//! which vanishes with it, with a TAP device and the stack in a thread. What
//! cannot run on a machine says so in a line `skipped: why`.

#[path = "common/iproute.rs"]
mod iproute;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{
    IpAddr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{self, Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use iproute::ip;
use pollwire::host::MonotonicClock;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{
    Config, Dhcpv6Info, Error, InterfaceIds, Net, NetCell, NetEvent, Runtime, Stack, TcpFlow,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Set in the copy of this process that runs in the namespace.
const INSIDE: &str = "POLLWIRE_IPV6_INSIDE";
/// Nothing on a TAP takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Our static address, and Linux's.
const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const THEIRS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const MAC_SEED: u64 = 6;

/// Runs `body` as test `name` in a namespace; says why if that cannot be.
fn isolated(name: &str, tools: &[&str], body: impl FnOnce()) {
    static ALONE: Mutex<()> = Mutex::new(());
    if env::var_os(INSIDE).is_some() {
        match make_tap() {
            Ok(()) => body(),
            Err(why) => println!("skipped: {why}"),
        }
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for tool in ["unshare", "timeout", "ip"].iter().chain(tools) {
        if find(tool).is_none() {
            println!("skipped: {tool} is not installed");
            return;
        }
    }
    let Some(flags) = flags() else {
        println!("skipped: no network namespace");
        return;
    };
    let output = Command::new("timeout")
        .args(["--signal=KILL", "600", "unshare"])
        .args(flags)
        .arg(env::current_exe().expect("known"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, process::id().to_string())
        .output()
        .expect("timeout runs");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}", output.status);
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn flags() -> Option<Vec<&'static str>> {
    let own = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let users: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    users
        .iter()
        .map(|user| [user, &own[..]].concat())
        .find(|flags| {
            let probe = Command::new("unshare").args(flags).arg("true").output();
            probe.is_ok_and(|probe| probe.status.success())
        })
}

fn make_tap() -> Result<(), String> {
    for arguments in [
        "link set lo up",
        "tuntap add tap0 mode tap",
        "link set tap0 up",
        "address add fd00::1/64 dev tap0 nodad",
    ] {
        ip(arguments)?;
    }
    Ok(())
}

/// What the stack's thread tells.
#[derive(Default)]
struct Told {
    events: Mutex<Vec<NetEvent>>,
    dns: Mutex<Vec<IpAddr>>,
    domains: Mutex<Vec<String>>,
    dhcpv6: Mutex<Option<Dhcpv6Info>>,
    /// DHCPv6 servers are to be asked again.
    ask: AtomicBool,
    done: AtomicBool,
}

impl Told {
    /// Waits until `found` finds something in the events so far.
    fn wait<T>(&self, what: &str, found: impl Fn(&[NetEvent]) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let events = self.events.lock().unwrap().clone();
            if let Some(found) = found(&events) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {events:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for what a DHCPv6 server tells of DNS.
    fn wait_for_dhcpv6(&self, servers: &[&str], domains: &[&str]) {
        let servers: Vec<Ipv6Addr> = servers
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let start = Instant::now();
        loop {
            let info = self.dhcpv6.lock().unwrap().clone();
            if let Some(info) = &info
                && info.dns_servers[..] == servers
                && info.search_domains == domains
            {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{servers:?}: {info:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for(&self, event: NetEvent) {
        self.wait("no such event", |events| {
            events.contains(&event).then_some(())
        });
    }
}

/// Runs `body` beside a stack with the services on the TAP.
fn beside(config: &Config, offloads: Offloads, body: impl FnOnce(&Told)) {
    let told = Told::default();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(config, offloads, &told));
        // Nothing that it touches is looked at after a panic.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&told)));
        told.done.store(true, Ordering::Relaxed);
        server.join().expect("no panic in the stack");
        outcome.unwrap_or_else(|cause| panic::resume_unwind(cause));
    });
}

fn serve(config: &Config, offloads: Offloads, told: &Told) {
    let device = Tap::open("tap0", local_mac(MAC_SEED), offloads).expect("a TAP");
    let cell = NetCell::new(Stack::on_heap::<4096, 64, 2048>(config, device.caps()));
    Runtime::new(&cell, device, MonotonicClock::new()).block_on(async |net| {
        let services = pollwire_apps::services::run(net, pollwire::host::wall_clock);
        net.spawn(services).detach();
        while !told.done.load(Ordering::Relaxed) {
            net.with_stack(|stack| {
                while let Some(event) = stack.next_event() {
                    println!("{event:?}");
                    told.events.lock().unwrap().push(event);
                }
                *told.dns.lock().unwrap() = stack.dns_servers().collect();
                *told.dhcpv6.lock().unwrap() = stack.dhcpv6_info().cloned();
                if told.ask.swap(false, Ordering::Relaxed) {
                    stack.dhcpv6_ask();
                }
                *told.domains.lock().unwrap() = stack.search_domains().map(String::from).collect();
            });
            net.sleep(Duration::from_millis(5)).await;
        }
        net.with_stack(|stack| print!("{}", stack.counters()));
        for _ in 0..6000 {
            if net.with_stack(|stack| stack.pool().in_use()) == 0 {
                return;
            }
            net.sleep(Duration::from_millis(10)).await;
        }
        panic!("frames are left behind");
    });
}

fn config() -> Config {
    Config::without_addresses([6; 32]).with_ipv6("fd00::2/64".parse().expect("an address"))
}

/// The address that EUI-64 makes of a prefix of 64 bits.
fn eui64(prefix: [u16; 4]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = local_mac(MAC_SEED);
    let low = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let [p, q, r, s] = prefix;
    let high = u64::from(p) << 48 | u64::from(q) << 32 | u64::from(r) << 16 | u64::from(s);
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

fn ping(to: &str, size: usize) {
    let output = Command::new("ping")
        .args(["-6", "-c", "2", "-i", "0.05", "-W", "60", "-s"])
        .arg(size.to_string())
        .arg(to)
        .output()
        .expect("ping runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{to}, {size} bytes: {text}");
}

/// Sends and gets back `length` bytes over TCP.
fn tcp_echo(to: impl Into<SocketAddr>, length: usize) {
    let mut flow = TcpStream::connect_timeout(&to.into(), PATIENCE).expect("a connection");
    flow.set_read_timeout(Some(PATIENCE)).expect("settable");
    let mut writer = flow.try_clone().expect("cloneable");
    let byte = |at: usize| (at.wrapping_mul(31) >> 3) as u8;
    let sender = thread::spawn(move || {
        let data: Vec<u8> = (0..length).map(byte).collect();
        writer.write_all(&data).expect("writable");
        writer.shutdown(Shutdown::Write).expect("open");
    });
    let mut back = Vec::new();
    flow.read_to_end(&mut back).expect("readable");
    sender.join().expect("sent");
    assert_eq!(back.len(), length);
    assert!(back.iter().enumerate().all(|(at, got)| *got == byte(at)));
}

fn udp_echo(to: impl Into<SocketAddr>, size: usize) {
    let socket = UdpSocket::bind("[::]:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("settable");
    let sent = vec![0x5a; size];
    socket.send_to(&sent, to.into()).expect("sent");
    let mut back = vec![0; 70_000];
    let got = socket.recv(&mut back).expect("an answer");
    assert_eq!(back[..got], sent, "{size} bytes");
}

fn link_local(address: Ipv6Addr) -> SocketAddrV6 {
    let index = fs::read_to_string("/sys/class/net/tap0/ifindex").unwrap_or_default();
    SocketAddrV6::new(address, 7, 0, index.trim().parse().unwrap_or(2))
}

#[test]
fn linux_talks_to_a_static_address() {
    isolated("linux_talks_to_a_static_address", &["ping"], || {
        let mut config = config();
        if let Some(v6) = &mut config.ipv6 {
            v6.identifiers = InterfaceIds::Eui64;
        }
        for offloads in [Offloads::NONE, Offloads::ALL] {
            beside(&config, offloads, |told| {
                told.wait_for(NetEvent::AddressUp(OURS.into()));
                let own = eui64([0xfe80, 0, 0, 0]);
                told.wait_for(NetEvent::AddressUp(own.into()));
                for size in [0, 56, 1452, 1453, 5000, 65_000] {
                    ping("fd00::2", size);
                }
                ping(&format!("{own}%tap0"), 56);
                ping("ff02::1%tap0", 56);
                for size in [0, 1, 1452, 1453, 9000, 60_000] {
                    udp_echo((OURS, 7), size);
                }
                udp_echo(link_local(own), 100);
                for length in [0, 1, 100_000, 30_000_000] {
                    tcp_echo((OURS, 7), length);
                }
                tcp_echo(link_local(own), 10_000);
                let refused = TcpStream::connect_timeout(&(OURS, 4).into(), PATIENCE);
                let kind = refused.expect_err("nobody listens").kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
                let socket = UdpSocket::bind("[::]:0").expect("a socket");
                socket.connect((OURS, 4)).expect("connected");
                socket.set_read_timeout(Some(PATIENCE)).expect("settable");
                socket.send(b"anybody?").expect("sent");
                let refused = socket.recv(&mut [0; 9]).expect_err("nobody listens");
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            });
        }
    });
}

/// Sends and gets back 5 MB, and a datagram, from our side.
async fn client(net: Net<'_>) -> Result<(), Error> {
    let source = |net: Net<'_>| net.with_stack(|stack| stack.source_for(THEIRS.into()));
    while source(net) != Some(OURS.into()) {
        net.sleep(Duration::from_millis(5)).await;
    }
    let flow = TcpFlow::connect(net, (THEIRS, 7000).into()).await?;
    let sent = vec![0x77; 5_000_000];
    let (written, read) = pollwire::join(
        async {
            flow.write_all(&sent).await?;
            flow.shutdown(pollwire::Shutdown::Write)
        },
        async {
            let mut count = 0;
            while let Some(frame) = flow.recv().await? {
                assert!(frame.iter().all(|byte| *byte == 0x77));
                count += frame.len();
            }
            Ok::<_, Error>(count)
        },
    )
    .await;
    written?;
    assert_eq!(read?, sent.len());
    flow.close().await?;
    let socket = pollwire::UdpSocket::bind(net, "[::]:0".parse().expect("an address"))?;
    socket.send_to(b"datagram", (THEIRS, 7000).into()).await?;
    let mut back = [0; 20];
    let (len, from) = socket.recv_from(&mut back).await?;
    assert_eq!(
        (&back[..len], from),
        (&b"datagram"[..], (THEIRS, 7000).into())
    );
    Ok(())
}

#[test]
fn we_connect_to_linux() {
    isolated("we_connect_to_linux", &[], || {
        let listener = TcpListener::bind((THEIRS, 7000)).expect("the port is free");
        let socket = UdpSocket::bind((THEIRS, 7000)).expect("the port is free");
        let linux = thread::spawn(move || {
            let (mut flow, from) = listener.accept().expect("a client");
            assert_eq!(from.ip(), IpAddr::V6(OURS));
            let mut writer = flow.try_clone().expect("cloneable");
            std::io::copy(&mut flow, &mut writer).expect("open");
            flow.shutdown(Shutdown::Write).expect("open");
            let mut datagram = [0; 20];
            let (len, from) = socket.recv_from(&mut datagram).expect("a datagram");
            socket.send_to(&datagram[..len], from).expect("sent");
        });
        let device = Tap::open("tap0", local_mac(MAC_SEED), Offloads::ALL).expect("a TAP");
        let cell = NetCell::new(Stack::on_heap::<4096, 64, 2048>(&config(), device.caps()));
        let done = Runtime::new(&cell, device, MonotonicClock::new())
            .block_on(|net| net.timeout(PATIENCE, client(net)));
        done.expect("in time").expect("all went well");
        linux.join().expect("all went well");
    });
}

#[test]
fn linux_defends_its_address() {
    isolated("linux_defends_its_address", &[], || {
        let taken = "fd00::1/64".parse().expect("an address");
        beside(&config().with_ipv6(taken), Offloads::NONE, |told| {
            told.wait_for(NetEvent::AddressDuplicate(THEIRS.into()));
            told.wait_for(NetEvent::AddressUp(OURS.into()));
            tcp_echo((OURS, 7), 1000);
        });
    });
}

const RADVD: &str = "
interface tap0 {
    AdvSendAdvert on;
    MinRtrAdvInterval 3;
    MaxRtrAdvInterval 4;
    AdvDefaultPreference high;
    AdvLinkMTU 1400;
    AdvCurHopLimit 61;
    prefix 2001:db8:5:6::/64 { AdvOnLink on; AdvAutonomous on; };
    route 2001:db8:77::/48 { AdvRoutePreference high; };
    RDNSS 2001:db8:5:6::53 { AdvRDNSSLifetime 600; };
    DNSSL example.org { AdvDNSSLLifetime 600; };
};
";

/// Sees what crosses this namespace's links.
struct Watch(Socket);

impl Watch {
    fn start() -> Self {
        let all = Protocol::from(i32::from(3_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).expect("root");
        socket.set_nonblocking(true).expect("settable");
        Self(socket)
    }

    /// So many connections of ours were seen, each with a flow label of its own
    /// (RFC 6437), all with this hop limit (RFC 4861, 6.3.4).
    fn expect_flows(mut self, flows: usize, hop_limit: u8) {
        let mut labels = BTreeMap::<u16, BTreeSet<u32>>::new();
        let mut frame = vec![0; 70_000];
        while let Ok(len) = self.0.read(&mut frame) {
            let ours = frame[6..12] == local_mac(MAC_SEED);
            if len < 74 || !ours || frame[12..14] != [0x86, 0xdd] || frame[20] != 6 {
                continue;
            }
            assert_eq!(frame[21], hop_limit);
            let word = u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]]);
            let port = u16::from_be_bytes([frame[56], frame[57]]);
            labels.entry(port).or_default().insert(word & 0xf_ffff);
        }
        assert_eq!(labels.len(), flows, "{labels:x?}");
        assert!(
            labels.values().all(|labels| labels.len() == 1),
            "{labels:x?}"
        );
        let all: BTreeSet<u32> = labels.into_values().flatten().collect();
        assert!(all.len() == flows && !all.contains(&0), "{all:x?}");
    }
}

#[test]
fn a_router_advertises_and_leaves() {
    isolated("a_router_advertises_and_leaves", &["radvd"], || {
        // radvd wants to forward.
        let _as_may_be = fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        ip("address add 2001:db8:5:6::1/64 dev tap0 nodad").expect("an address");
        let directory = env::temp_dir().join(format!("pollwire-radvd-{}", process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("radvd.conf");
        fs::write(&file, RADVD).expect("a file");
        let config = Config::without_addresses([6; 32]).with_slaac(InterfaceIds::Eui64);
        beside(&config, Offloads::NONE, |told| {
            let mut radvd = Command::new(find("radvd").expect("found"))
                .args(["-n", "-m", "stderr", "-C"])
                .arg(&file)
                .arg("-p")
                .arg(directory.join("pid"))
                .spawn()
                .expect("radvd runs");
            let own = eui64([0x2001, 0xdb8, 5, 6]);
            told.wait_for(NetEvent::AddressUp(own.into()));
            let router = told.wait("no router", |events| {
                events.iter().find_map(|event| match event {
                    NetEvent::RouterUp(router) => Some(*router),
                    _ => None,
                })
            });
            tcp_echo((own, 7), 1_000_000);
            let watch = Watch::start();
            for _ in 0..2 {
                tcp_echo((own, 7), 10_000);
            }
            watch.expect_flows(2, 61);
            udp_echo((own, 7), 1352);
            let server: IpAddr = "2001:db8:5:6::53".parse().expect("an address");
            assert_eq!(*told.dns.lock().unwrap(), [server]);
            assert_eq!(*told.domains.lock().unwrap(), ["example.org"]);
            // It says goodbye: a lifetime of zero.
            let id = radvd.id().to_string();
            let ended = Command::new("kill").arg(id).status().expect("kill runs");
            assert!(ended.success());
            radvd.wait().expect("it ends");
            told.wait_for(NetEvent::RouterDown(router));
            // Its addresses live on.
            tcp_echo((own, 7), 1000);
        });
        fs::remove_dir_all(&directory).expect("removable");
    });
}

/// dnsmasq as router and stateless DHCPv6 server, which tells of `servers` and
/// `domain`.
fn dnsmasq(servers: &str, domain: &str) -> Child {
    Command::new(find("dnsmasq").expect("found"))
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
        .args([
            "--user=root",
            "--pid-file",
            "--log-dhcp",
            "--log-facility=-",
        ])
        .args(["--interface=tap0", "--bind-interfaces", "--enable-ra"])
        .args(["--leasefile-ro", "--dhcp-range=fd00::,ra-stateless,64"])
        .arg(format!("--dhcp-option=option6:dns-server,{servers}"))
        .arg(format!("--dhcp-option=option6:domain-search,{domain}"))
        .spawn()
        .expect("dnsmasq runs")
}

/// Stateless DHCPv6 (RFC 8415, 6.1): what a router's advertisement sets off.
#[test]
fn a_dhcpv6_server_tells_of_dns() {
    isolated("a_dhcpv6_server_tells_of_dns", &["dnsmasq"], || {
        let config = Config::without_addresses([6; 32]).with_slaac(InterfaceIds::Eui64);
        beside(&config, Offloads::NONE, |told| {
            let mut server = dnsmasq("[fd00::53],[fd00::54]", "example.test");
            told.wait_for(NetEvent::AddressUp(eui64([0xfd00, 0, 0, 0]).into()));
            told.wait_for_dhcpv6(&["fd00::53", "fd00::54"], &["example.test"]);
            let dns: Vec<IpAddr> = told.dns.lock().unwrap().clone();
            let address = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert_eq!(dns[..2], [address("fd00::53"), address("fd00::54")]);
            // Another server, and somebody who wants to know.
            server.kill().expect("it runs");
            server.wait().expect("it ends");
            let mut server = dnsmasq("[fd00::99]", "example.org");
            told.ask.store(true, Ordering::Relaxed);
            told.wait_for_dhcpv6(&["fd00::99"], &["example.org"]);
            let first = told.dns.lock().unwrap().first().copied();
            assert_eq!(first, Some(address("fd00::99")));
            server.kill().expect("it runs");
            server.wait().expect("it ends");
        });
    });
}
