//! Linux's side of the link: a TAP device, its DHCP server, and a device that
//! makes time go by faster for the stack than for Linux.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as StdInstant};
use std::{env, fs, thread};

use pollwire::rings::tap::Tap;
use pollwire::rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst};
use pollwire::{Clock, Instant};

use super::iproute::ip;
use super::namespace::Skip;

/// The TAP device of the namespace.
pub(crate) const TAP: &str = "tap0";
/// Linux's address.
pub(crate) const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Nothing to build.
pub(crate) fn build() {}

/// Makes the TAP device of this namespace.
pub(crate) fn make_tap() -> Result<(), Skip> {
    for arguments in [
        "link set lo up",
        "tuntap add tap0 mode tap",
        "address add 10.9.0.1/24 dev tap0",
        "link set tap0 up",
    ] {
        ip(arguments)?;
    }
    Ok(())
}

/// A TAP whose user's time goes by so many times as fast as Linux's.
pub(crate) struct Hasty {
    tap: Tap,
    haste: u32,
}

impl Hasty {
    pub(crate) fn new(tap: Tap, haste: u32) -> Self {
        Self { tap, haste }
    }

    pub(crate) fn clock(&self) -> HastyClock {
        HastyClock {
            origin: StdInstant::now(),
            haste: self.haste,
        }
    }
}

impl NetDevice for Hasty {
    fn caps(&self) -> Caps {
        self.tap.caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        self.tap.rx_burst(pool, out)
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        self.tap.tx_burst(burst)
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.tap.wait(timeout.map(|timeout| timeout / self.haste));
    }
}

/// The clock that goes with it.
pub(crate) struct HastyClock {
    origin: StdInstant,
    haste: u32,
}

impl Clock for HastyClock {
    fn now(&mut self) -> Instant {
        Instant::ZERO + self.origin.elapsed() * self.haste
    }
}

/// Linux's DHCP server, until it is dropped.
pub(crate) struct Dnsmasq {
    child: Child,
    log: PathBuf,
}

impl Dnsmasq {
    /// Gives out addresses from 10.9.0.`first` to .`first + 9` for so long.
    pub(crate) fn start(first: u8, lease: &str, options: &[&str]) -> Self {
        let run = env::var(super::namespace::INSIDE).expect("in a namespace");
        let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = |what: &str| tmp.join(format!("dnsmasq-{run}.{what}"));
        let log = file("log");
        let out = fs::File::create(&log).expect("writable");
        let last = first + 9;
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
            .args([
                "--user=root",
                "--pid-file",
                "--log-dhcp",
                "--log-facility=-",
            ])
            .args([
                "--interface=tap0",
                "--bind-interfaces",
                "--dhcp-authoritative",
            ])
            // It would wait three seconds for an answer to a ping first.
            .arg("--no-ping")
            .arg(format!("--dhcp-leasefile={}", file("leases").display()))
            .arg(format!("--dhcp-range=10.9.0.{first},10.9.0.{last},{lease}"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a descriptor is free"))
            .stderr(out)
            .spawn()
            .expect("dnsmasq runs");
        let mut server = Self { child, log };
        let start = StdInstant::now();
        while !server.text().contains("sockets bound exclusively") {
            let ended = server.child.try_wait().expect("a child");
            assert!(ended.is_none(), "dnsmasq ended: {}", server.text());
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{}",
                server.text()
            );
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Forgets the leases that earlier servers gave.
    pub(crate) fn forget() {
        let run = env::var(super::namespace::INSIDE).expect("in a namespace");
        let file = format!("dnsmasq-{run}.leases");
        let _gone = fs::remove_file(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file));
    }

    /// What it has said.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.text());
        }
    }
}

/// Another DHCP server, busybox's, until it is dropped.
pub(crate) struct Udhcpd {
    child: Child,
}

impl Udhcpd {
    /// Gives out addresses from 10.9.0.`first` to .`first + 9` for so many
    /// seconds.
    pub(crate) fn start(first: u8, lease: u32) -> Result<Self, Skip> {
        let help = Command::new("busybox").args(["udhcpd", "--help"]).output();
        let help = help.map_err(|error| Skip(format!("no busybox: {error}")))?;
        if !String::from_utf8_lossy(&help.stderr).contains("Usage: udhcpd") {
            return Err(Skip("busybox has no udhcpd".into()));
        }
        let run = env::var(super::namespace::INSIDE).expect("in a namespace");
        let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = |what: &str| tmp.join(format!("udhcpd-{run}.{what}"));
        let last = first + 9;
        let (leases, pid) = (file("leases"), file("pid"));
        fs::write(&leases, "").expect("writable");
        let settings = format!(
            "start 10.9.0.{first}\nend 10.9.0.{last}\ninterface tap0\nmax_leases 10\n\
             lease_file {}\npidfile {}\nopt lease {lease}\nopt subnet 255.255.255.0\n\
             opt router 10.9.0.1\nopt dns 10.9.0.53\nopt domain example.test\n",
            leases.display(),
            pid.display()
        );
        let conf = file("conf");
        fs::write(&conf, settings).expect("writable");
        let child = Command::new("busybox")
            // It would wait two seconds for somebody who has the address.
            .args(["udhcpd", "-f", "-a", "20"])
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("busybox runs");
        Ok(Self { child })
    }
}

impl Drop for Udhcpd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
