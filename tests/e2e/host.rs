//! What the programs run on, and the programs as they run.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::iproute::ip;
use super::namespace::{INSIDE, Skip, find, need};

/// The program's address.
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Linux's address.
pub(crate) const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The TAP device of the namespace.
pub(crate) const TAP: &str = "tap0";

/// Set inside of an emulated machine.
pub(crate) const EMULATED: &str = "POLLWIRE_E2E_EMULATED";

/// Set when the programs run in an emulated machine.
static SLOW: AtomicBool = AtomicBool::new(false);

/// Nothing on a TAP takes longer, on however slow a machine; in an emulated one
/// all takes far longer.
pub(crate) fn patience() -> Duration {
    let slow = emulated() || SLOW.load(Ordering::Relaxed);
    Duration::from_secs(if slow { 240 } else { 60 })
}

pub(crate) fn emulated() -> bool {
    env::var_os(EMULATED).is_some()
}

/// Makes the TAP device of this namespace, where it is not yet there.
pub(crate) fn make_tap() -> Result<(), Skip> {
    let commands = [
        "link set lo up",
        "tuntap add tap0 mode tap",
        "address add 10.0.0.1/24 dev tap0",
        "link set tap0 up",
    ];
    // An emulated machine comes with it.
    for arguments in commands.iter().filter(|_| !emulated()) {
        ip(arguments).map_err(|why| Skip(format!("no TAP: {why}")))?;
    }
    // Linux's first ARP request may meet a device that is not yet active; the
    // next one is not to be a second later. Slower otherwise, that is all.
    let _slower = fs::write("/proc/sys/net/ipv4/neigh/tap0/retrans_time_ms", "10");
    Ok(())
}

/// Waits until no program holds the TAP: the last one's end takes a moment.
fn wait_for_tap() {
    let start = Instant::now();
    loop {
        let link = Command::new("ip").args(["link", "show", TAP]).output();
        let link = link.expect("ip runs").stdout;
        if String::from_utf8_lossy(&link).contains("NO-CARRIER") {
            return;
        }
        assert!(start.elapsed() < patience(), "{TAP} is in use");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Where a program runs.
pub(crate) enum Host {
    /// As image, under a tender.
    Tender {
        name: &'static str,
        tender: PathBuf,
        abi: &'static str,
    },
    /// As image with Unikraft in it, in QEMU.
    Unikraft,
    /// As Linux process.
    Linux,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tender { name, .. } => f.write_str(name),
            Self::Unikraft => f.write_str("Unikraft"),
            Self::Linux => f.write_str("Linux"),
        }
    }
}

impl Host {
    pub(crate) fn bundled_tender() -> Self {
        Self::Tender {
            name: "bundled tender",
            tender: tender(),
            abi: "spt",
        }
    }

    /// Solo5's own tender, from the environment's `SOLO5_SPT` or the path.
    pub(crate) fn solo5_spt() -> Result<Self, Skip> {
        let named = env::var_os("SOLO5_SPT").filter(|named| !named.is_empty());
        let why = "solo5-spt is not in PATH, nor named by SOLO5_SPT";
        let tender = named.map(PathBuf::from).or_else(|| find("solo5-spt"));
        Ok(Self::Tender {
            name: "solo5-spt",
            tender: tender.ok_or_else(|| Skip(why.to_owned()))?,
            abi: "spt",
        })
    }

    /// As virtual machine, where KVM runs what an image needs.
    pub(crate) fn hvt() -> Self {
        Self::Tender {
            name: "bundled tender, hvt",
            tender: tender(),
            abi: "hvt",
        }
    }

    /// Unikraft in QEMU, where `UK_ROOT` says that there is Unikraft, with the
    /// images of `programs`. KVM is left to `cargo xtask run`: emulation is the
    /// same everywhere.
    pub(crate) fn unikraft(programs: &[&str]) -> Result<Self, Skip> {
        if env::var_os("UK_ROOT").is_none_or(|root| root.is_empty()) {
            return Err(Skip("UK_ROOT not set".to_owned()));
        }
        need("qemu-system-x86_64")?;
        for program in programs {
            let image = image(program, "unikraft");
            if !image.is_file() {
                let why = format!("no {}: docs/unikraft.md says how", image.display());
                return Err(Skip(why));
            }
        }
        SLOW.store(true, Ordering::Relaxed);
        Ok(Self::Unikraft)
    }

    /// The hosts of spt images that there are.
    pub(crate) fn spt() -> Vec<Self> {
        let mut found = vec![Self::bundled_tender()];
        match Self::solo5_spt() {
            Ok(host) => found.push(host),
            Err(Skip(why)) => println!("not under Solo5's own tender: {why}"),
        }
        found
    }

    /// The hosts that there are, KVM aside.
    pub(crate) fn all() -> Vec<Self> {
        let mut found = Self::spt();
        found.push(Self::Linux);
        found
    }

    /// Seconds that its wall clock may be behind. Unikraft 0.17 reads the PC's
    /// battery clock once, in whole seconds, and measures the processor's clock
    /// for a tenth of a second at boot: when an emulated machine has to wait
    /// meanwhile, time is slow in it ever after.
    pub(crate) fn clock_behind(&self) -> u32 {
        if matches!(self, Self::Unikraft) {
            60
        } else {
            0
        }
    }

    /// Starts `program` with `arguments`.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Running {
        wait_for_tap();
        let command = match self {
            Self::Tender { tender, abi, .. } => {
                let mut command = Command::new(tender);
                command
                    .args(["--mem=64", &format!("--net:service={TAP}"), "--"])
                    .arg(image(program, abi));
                command
            }
            Self::Unikraft => {
                let netdev =
                    format!("tap,id=service,ifname={TAP},script=no,downscript=no,vhost=off");
                let mac = "52:54:00:77:00:01";
                return Running::in_qemu(qemu(program, &netdev, mac, &arguments.join(" ")));
            }
            Self::Linux => {
                let mut command = Command::new(target().join("debug/examples").join(program));
                command.arg(format!("--tap={TAP}"));
                command
            }
        };
        let mut command = command;
        command.args(arguments);
        Running::start(command)
    }

    /// Starts `services`, and tells how long it took to the first reply.
    pub(crate) fn services(&self) -> Result<(Running, Duration), Skip> {
        self.services_with(&[])
    }

    /// The same with `more` arguments.
    pub(crate) fn services_with(&self, more: &[&str]) -> Result<(Running, Duration), Skip> {
        let arguments = ["--ipv4=10.0.0.2/24", "--log=debug"];
        let server = self.run("services", &[&arguments, more].concat());
        let start = server.start;
        server.wait_for("10.0.0.2/24");
        if matches!(self, Self::Tender { abi: "hvt", .. }) {
            server.wait_for("network service: ring");
        }
        let socket = UdpSocket::bind((THEIRS, 0)).expect("a port is free");
        let wait = Duration::from_millis(20);
        socket.set_read_timeout(Some(wait)).expect("settable");
        loop {
            // The TAP has no carrier before the program has opened it.
            let _unreachable = socket.send_to(b"ready?", (OURS, 7));
            if socket.recv(&mut [0; 16]).is_ok() {
                return Ok((server, start.elapsed()));
            }
            assert!(start.elapsed() < patience(), "{}", server.text());
        }
    }
}

/// What a program on Unikraft ended with: `isa-debug-exit` makes 2 * code + 1 of
/// it; Unikraft itself ends with 83, and crashes with 85, a guest's 102.
fn program_code(status: i32) -> Option<i32> {
    match status {
        83 => Some(0),
        85 => Some(102),
        status if status > 1 && status % 2 == 1 => Some(status / 2),
        _ => None,
    }
}

/// QEMU with the Unikraft image of `program` and one network device.
pub(crate) fn qemu(program: &str, netdev: &str, mac: &str, arguments: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        // With a place for a second processor: QEMU before 8.2 leaves out the memory
        // barriers of a machine that has none, and devices stop for good.
        .args("-accel tcg -smp 1,maxcpus=2 -cpu max -m 128".split(' '))
        .args("-nodefaults -no-reboot -display none".split(' '))
        .args("-serial stdio -device isa-debug-exit".split(' '))
        .args(["-netdev", netdev])
        .arg("-device")
        .arg(format!(
            "virtio-net-pci,netdev=service,disable-modern=on,mac={mac}"
        ))
        .arg("-kernel")
        .arg(image(program, "unikraft"))
        .arg("-append")
        .arg(format!("{program} -- {arguments}"));
    command
}

/// Connects to the program as soon as it listens.
pub(crate) fn connect(port: u16) -> TcpStream {
    connect_to((OURS, port).into())
}

/// The same, wherever it is.
pub(crate) fn connect_to(address: SocketAddr) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(flow) => {
                for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
                    set(&flow, Some(patience())).expect("settable");
                }
                return flow;
            }
            Err(error) if start.elapsed() > patience() => panic!("{address}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A program as it runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    start: Instant,
    log: PathBuf,
    /// Its exit code is what QEMU made of it.
    in_qemu: bool,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let log = temporary("log");
        let file = File::create(&log).expect("writable");
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor is free"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            start,
            log,
            in_qemu: false,
        }
    }

    /// The same for QEMU with Unikraft.
    pub(crate) fn in_qemu(command: Command) -> Self {
        let mut running = Self::start(command);
        running.in_qemu = true;
        running
    }

    /// What it has printed, with Unix's ends of lines.
    pub(crate) fn text(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }

    /// Waits until it has printed `part`.
    pub(crate) fn wait_for(&self, part: &str) {
        let start = Instant::now();
        while !self.text().contains(part) {
            assert!(start.elapsed() < patience(), "no {part}: {}", self.text());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for its end: exit code and output.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                let code = match status.code() {
                    Some(code) if self.in_qemu => program_code(code),
                    code => code,
                };
                return (code, self.text());
            }
            assert!(start.elapsed() < 3 * patience(), "no end: {}", self.text());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.text());
        }
        let _gone = fs::remove_file(&self.log);
    }
}

/// What the programs that run have printed so far.
pub(crate) fn printed_by_programs() -> String {
    let run = format!("e2e-{}-", env::var(INSIDE).expect("in a namespace"));
    let files = fs::read_dir(env!("CARGO_TARGET_TMPDIR")).expect("readable");
    let logs = files.flatten().filter(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with(&run) && name.ends_with(".log")
    });
    logs.map(|log| String::from_utf8_lossy(&fs::read(log.path()).unwrap_or_default()).into_owned())
        .collect()
}

/// A path that nothing else uses.
pub(crate) fn temporary(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = env::var(INSIDE).expect("in a namespace");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{run}-{unique}.{name}"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{path:?}: {error}"),
        _ => path,
    }
}

fn target() -> &'static Path {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().expect("a target directory")
}

/// Builds all programs, once. Not for the inside of a namespace, from where
/// cargo reaches no registry.
pub(crate) fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        for arguments in [
            "xtask image services --abi spt",
            "xtask image services --abi hvt",
            "xtask image echo --abi spt",
            "xtask image resolve --abi spt",
            "xtask image resolve --abi hvt",
            "xtask image fetch --abi spt",
            "xtask image fetch --abi hvt",
            // As the libraries were built for the tests already.
            "build --quiet --profile test --workspace --all-features \
             --example services --example resolve --example fetch",
        ] {
            println!("cargo {arguments} ...");
            let start = Instant::now();
            let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args(arguments.split(' '))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .env("CARGO_TARGET_DIR", target())
                .status()
                .expect("cargo runs");
            assert!(status.success(), "cargo {arguments}");
            println!("cargo {arguments}: {:.1?}", start.elapsed());
        }
    });
}

/// The image of `program`.
pub(crate) fn image(program: &str, abi: &str) -> PathBuf {
    target().join("images").join(format!("{program}.{abi}"))
}

/// The bundled tender, which building an image builds too.
pub(crate) fn tender() -> PathBuf {
    target().join("debug/pollwire-tender")
}
