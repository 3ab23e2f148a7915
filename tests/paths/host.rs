//! Linux as routers and hosts: threads, each in a network namespace of its own,
//! joined by virtual wires.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::iproute::ip;
use super::namespace::Skip;

/// Nothing to build.
pub(crate) fn build() {}

/// Makes the TAP device of this namespace, without addresses.
pub(crate) fn make_tap() -> Result<(), Skip> {
    for arguments in ["link set lo up", "tuntap add tap0 mode tap"] {
        ip(arguments).map_err(Skip)?;
    }
    // Before it is up: nobody else is there to be asked about duplicates.
    set("ipv6/conf/tap0/accept_dad", "0");
    ip("link set tap0 up").map_err(Skip)
}

/// Sets what is at `/proc/sys/net/`, where Linux has it.
fn set(name: &str, value: &str) {
    let _unknown = fs::write(format!("/proc/sys/net/{name}"), value);
}

/// Has the namespace of this thread forward packets, and tell of errors as often
/// as there are any.
pub(crate) fn forward() {
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv4/icmp_msgs_per_sec", "100000"),
        ("ipv6/icmp/ratelimit", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ] {
        set(name, value);
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Another namespace: what runs in its thread, runs there.
pub(crate) struct Node {
    work: Sender<Work>,
    id: String,
}

impl Node {
    /// A namespace with nothing in it.
    pub(crate) fn new() -> Result<Self, Skip> {
        let (work, queue) = channel::<Work>();
        let (say, said) = channel();
        thread::spawn(move || {
            let entered = unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string());
            set("ipv6/conf/default/accept_dad", "0");
            let up = entered.and_then(|()| ip("link set lo up"));
            let _waits = say.send(up.map(|()| gettid().to_string()));
            for work in queue {
                work();
            }
        });
        let id = said.recv().expect("it answers").map_err(Skip)?;
        Ok(Self { work, id })
    }

    /// The thread, as `ip` takes it for a namespace.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Runs `work` in the namespace, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, said) = channel();
        let work = Box::new(move || {
            let _waits = say.send(work());
        });
        self.work.send(work).expect("it lives");
        said.recv().expect("no panic in it")
    }

    /// Runs `ip` there, for each of these lines.
    pub(crate) fn ip(&self, lines: &[&str]) -> Result<(), Skip> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        self.run(move || lines.iter().try_for_each(|line| ip(line)))
            .map_err(Skip)
    }

    /// Puts the link of that name, from the namespace of this thread, there.
    pub(crate) fn take_link(&self, name: &str) -> Result<(), Skip> {
        ip(&format!("link set {name} netns {}", self.id)).map_err(Skip)
    }

    /// Serves echo over TCP and UDP on port 7 of those addresses there.
    pub(crate) fn echo(&self, addresses: &[&str]) {
        for address in addresses {
            let address: IpAddr = address.parse().expect("an address");
            self.run(move || {
                let listener = TcpListener::bind((address, 7)).expect("free");
                thread::spawn(move || {
                    for flow in listener.incoming() {
                        thread::spawn(|| echo_flow(flow.expect("a flow")));
                    }
                });
                let socket = UdpSocket::bind((address, 7)).expect("free");
                thread::spawn(move || {
                    let mut data = vec![0; 66_000];
                    loop {
                        // Errors are about what was sent.
                        if let Ok((len, from)) = socket.recv_from(&mut data) {
                            let _lost = socket.send_to(&data[..len], from);
                        }
                    }
                });
            });
        }
    }

    /// How many packets were forwarded there: over IPv4, over IPv6.
    pub(crate) fn forwarded(&self) -> (u64, u64) {
        self.run(|| {
            let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            let (v4, v6) = (read("snmp"), read("snmp6"));
            let (v4, v6) = (v4.expect("readable"), v6.expect("readable"));
            let mut lines = v4.lines().filter(|line| line.starts_with("Ip:"));
            let (names, values) = (lines.next(), lines.next());
            let fields = |line: Option<&str>| -> Vec<String> {
                line.into_iter()
                    .flat_map(str::split_whitespace)
                    .map(String::from)
                    .collect()
            };
            let (names, values) = (fields(names), fields(values));
            let at = names.iter().position(|name| name == "ForwDatagrams");
            let v6 = v6
                .lines()
                .find_map(|line| line.strip_prefix("Ip6OutForwDatagrams"));
            (
                values[at.expect("there")].parse().expect("a number"),
                v6.expect("there").trim().parse().expect("a number"),
            )
        })
    }
}

fn echo_flow(mut flow: std::net::TcpStream) {
    let mut data = vec![0; 65_536];
    while let Ok(len @ 1..) = flow.read(&mut data) {
        if flow.write_all(&data[..len]).is_err() {
            return;
        }
    }
}
