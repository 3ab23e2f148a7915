//! A machine with hardware-like KVM, emulated by QEMU.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// In the order in which they can be inserted, below the modules' `kernel/`.
const MODULES: [&str; 5] = [
    "virt/lib/irqbypass.ko",
    "arch/x86/kvm/kvm.ko",
    "drivers/crypto/ccp/ccp.ko",
    "arch/x86/kvm/kvm-amd.ko",
    "drivers/net/tun.ko",
];
/// Boots before a machine that stops is a failure.
const BOOTS: usize = 3;
/// On a busy host the kernel would find its emulated timer too slow, and panic.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check";
const QEMU: &str = "qemu-system-x86_64";

/// What the machine is made of.
pub(crate) struct Emulator {
    kernel: PathBuf,
    root: PathBuf,
    /// Every command of a script ends, or says something, in less. So a machine
    /// that is silent for longer has itself stopped; what its kernel says does not
    /// count, which goes on complaining of stuck processors.
    pub(crate) silence: Duration,
}

impl Emulator {
    /// Looks for all parts; says what is missing and how to get it.
    /// The machine's files are kept under `name`, which no other test may use.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let runs = |program: &str, argument: &str| {
            let status = Command::new(program)
                .arg(argument)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok()
        };
        if !runs(QEMU, "--version") {
            return Err(format!(
                "{QEMU} is missing; try: apt-get install qemu-system-x86"
            ));
        }
        let busybox = busybox()?;
        let (kernel, modules) = kernel()?;
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("removable");
        }
        for directory in [
            "bin", "dev", "lib", "lib64", "modules", "proc", "sys", "tmp",
        ] {
            fs::create_dir_all(root.join(directory)).expect("writable");
        }
        let mut emulator = Self {
            kernel,
            root,
            silence: Duration::from_secs(180),
        };
        emulator.add_file(&busybox, "/bin/busybox");
        for module in MODULES {
            let source = modules.join("kernel").join(module);
            let name = source
                .file_name()
                .expect("a file name")
                .to_string_lossy()
                .into_owned();
            emulator.add_file(&source, &format!("/modules/{name}"));
        }
        Ok(emulator)
    }

    /// Copies a file into the machine.
    pub(crate) fn add_file(&mut self, from: &Path, to: &str) {
        let to = self.root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a directory")).expect("writable");
        fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    /// Copies a program and the libraries that it needs.
    pub(crate) fn add_program(&mut self, from: &str, to: &str) {
        self.add_file(Path::new(from), to);
        let listed = Command::new("ldd").arg(from).output().expect("ldd runs");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for library in libraries {
            self.add_file(Path::new(library), library);
        }
    }

    /// Boots the machine, runs `script` in busybox's shell and returns all that
    /// it printed; `tell` has each line as soon as it is there, and the time since
    /// the machine was switched on.
    pub(crate) fn run(&self, script: &str, tell: &mut dyn FnMut(Duration, &str)) -> String {
        let modules: String = MODULES
            .iter()
            .filter_map(|module| module.rsplit('/').next())
            .map(|name| format!("insmod /modules/{name}\n"))
            .collect();
        let init = format!(
            "#!/bin/busybox sh\n\
             /bin/busybox --install -s /bin\n\
             export PATH=/bin\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t devtmpfs devtmpfs /dev\n\
             {modules}\
             ip link set lo up\n\
             tunctl -t tap0 >/dev/null\n\
             ip addr add 10.0.0.1/24 dev tap0\n\
             ip link set tap0 up\n\
             {script}\n\
             poweroff -f\n"
        );
        fs::write(self.root.join("init"), init).expect("writable");
        self.pack();
        let mut output = String::new();
        for boot in 1..=BOOTS {
            match self.boot(tell) {
                Ok(output) => return output,
                Err(partial) => output = partial,
            }
            println!("the emulated machine stopped in boot {boot} of {BOOTS}");
        }
        panic!("the emulated machine stopped {BOOTS} times:\n{output}")
    }

    fn initrd(&self) -> PathBuf {
        self.root.with_extension("cpio")
    }

    fn pack(&self) {
        let pack = "chmod 755 init bin/*; find . | busybox cpio -o -H newc 2>/dev/null";
        let output = fs::File::create(self.initrd()).expect("writable");
        let status = Command::new("sh")
            .args(["-c", pack])
            .current_dir(&self.root)
            .stdout(output)
            .status()
            .expect("sh runs");
        assert!(status.success(), "the initial file system must pack");
    }

    /// What the machine printed until it switched itself off.
    fn boot(&self, tell: &mut dyn FnMut(Duration, &str)) -> Result<String, String> {
        let log = self.root.with_extension("log");
        let mut machine = Command::new(QEMU)
            // Both processors in one thread: with one each, either waits for ever now
            // and then for an interrupt that the other has sent, with QEMU 7.2.
            .args(["-M", "q35", "-accel", "tcg,thread=single", "-smp", "2"])
            .args(["-cpu", "max,+svm,+npt", "-m", "1024"])
            .args(["-nographic", "-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.initrd())
            .args(["-append", COMMAND_LINE])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).expect("writable"))
            .spawn()
            .expect("QEMU runs");
        let printed = || String::from_utf8_lossy(&fs::read(&log).expect("readable")).into_owned();
        let start = Instant::now();
        let (mut heard, mut told) = (start, 0);
        loop {
            let ended = machine.try_wait().expect("a child").is_some();
            let now = printed();
            for line in now.lines().take(now.matches('\n').count()).skip(told) {
                tell(start.elapsed(), line);
                told += 1;
                if !from_kernel(line) {
                    heard = Instant::now();
                }
            }
            if ended {
                return Ok(now);
            }
            if heard.elapsed() > self.silence {
                machine.kill().expect("killable");
                machine.wait().expect("a child");
                return Err(now);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whether the machine's kernel says so: `[   41.710741] rcu: INFO: ...`.
fn from_kernel(line: &str) -> bool {
    let time = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    time.is_some_and(|(time, _)| time.trim().parse::<f64>().is_ok())
}

fn busybox() -> Result<PathBuf, String> {
    let missing = "busybox is missing or not static; try: apt-get install busybox-static";
    let found = env::var_os("PATH")
        .and_then(|path| {
            let mut files = env::split_paths(&path).map(|directory| directory.join("busybox"));
            files.find(|file| file.exists())
        })
        .ok_or(missing)?;
    let listed = Command::new("ldd")
        .arg(&found)
        .output()
        .map_err(|error| error.to_string())?;
    if String::from_utf8_lossy(&listed.stdout).contains("=>") {
        return Err(missing.to_owned());
    }
    Ok(found)
}

/// A kernel and its modules: the newest version of which all parts are there.
fn kernel() -> Result<(PathBuf, PathBuf), String> {
    let root = env::var_os("POLLWIRE_KERNEL_ROOT").map_or(PathBuf::from("/"), PathBuf::from);
    let mut versions: Vec<_> = fs::read_dir(root.join("lib/modules"))
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    versions.sort();
    for version in versions.iter().rev() {
        let modules = root.join("lib/modules").join(version);
        let mut name = std::ffi::OsString::from("vmlinuz-");
        name.push(version);
        let kernel = root.join("boot").join(name);
        let complete = MODULES
            .iter()
            .all(|module| modules.join("kernel").join(module).exists());
        if complete && kernel.exists() {
            return Ok((kernel, modules));
        }
    }
    Err(
        "no Debian kernel with the modules kvm-amd and tun; install linux-image-amd64, or \
         without installing: apt-get download the package that it depends on, dpkg -x it to \
         a directory, and name that in POLLWIRE_KERNEL_ROOT"
            .to_owned(),
    )
}
