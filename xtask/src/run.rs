//! Booting an image on a TAP device.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::image::{self, Abi};
use crate::tools::Tool;

const QEMU: Tool = Tool {
    program: "qemu-system-x86_64",
    install: "apt-get install qemu-system-x86",
};

/// Memory for any of the images.
const MEGABYTES: &str = "128";
/// What is printed by an image that was asked for help; each has it.
const HELP: &str = "--help";
/// An image that tells its usage does so in a fraction of this.
const PROBE: Duration = Duration::from_secs(5);
/// QEMU's status when Unikraft turned the machine off, and when it crashed: its
/// own marks, 41 and 42, as `isa-debug-exit` reports them.
const UNIKRAFT_ENDED: i32 = 41 * 2 + 1;
const UNIKRAFT_CRASHED: i32 = 42 * 2 + 1;
/// What a guest's own faults are reported as.
const FAULT: i32 = 102;

/// What to boot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) abi: Abi,
    pub(crate) tap: String,
    /// The image, unless it is the one that was built last.
    pub(crate) file: Option<PathBuf>,
    /// The program's arguments.
    pub(crate) words: Vec<String>,
}

impl Run {
    /// Boots it and waits for its end; returns its exit code.
    pub(crate) fn run(&self) -> Result<i32, String> {
        let mut command = match self.abi {
            Abi::Spt | Abi::Hvt => self.under_the_tender()?,
            Abi::Unikraft => self.in_qemu()?,
        };
        let status = command
            .status()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let code = match self.abi {
            Abi::Spt | Abi::Hvt => status.code(),
            Abi::Unikraft => exit_code(status),
        };
        let code = code.ok_or_else(|| format!("{}: {status}", self.name))?;
        eprintln!("{} ended with {code}", self.name);
        Ok(code)
    }

    fn under_the_tender(&self) -> Result<Command, String> {
        let image = match &self.file {
            Some(file) => file.clone(),
            None => image::build(&self.name, self.abi)?,
        };
        let mut command = Command::new(image::tender()?);
        command.args(["--mem=64", &format!("--net:service={}", self.tap), "--"]);
        command.arg(image).args(&self.words);
        Ok(command)
    }

    fn in_qemu(&self) -> Result<Command, String> {
        QEMU.need()?;
        let image = match &self.file {
            Some(file) => file.clone(),
            None => image::path(&self.name, Abi::Unikraft),
        };
        if !image.is_file() {
            return Err(format!(
                "there is no {}: Unikraft's build makes the image, see docs/unikraft.md",
                image.display()
            ));
        }
        let accelerator = if kvm_works(&image) { "kvm" } else { "tcg" };
        eprintln!("QEMU with {accelerator}, on {}", self.tap);
        let mut command = machine(&image, accelerator, &self.words);
        command.args(["-netdev", &netdev(&self.tap), "-device", NIC]);
        Ok(command)
    }
}

/// virtio-net in its legacy form, which Unikraft's PCI driver takes.
const NIC: &str = "virtio-net-pci,netdev=service,disable-modern=on";

fn netdev(tap: &str) -> String {
    format!("tap,id=service,ifname={tap},script=no,downscript=no,vhost=off")
}

/// One, with a place for another that is never filled. QEMU before 8.2 leaves out
/// the memory barriers of a machine that can have one processor only, though its
/// devices run beside it: a driver then misses that the host wants to be told of a
/// packet, and both wait for ever.
const CPUS: &str = "1,maxcpus=2";

/// QEMU with `image`, without a network.
fn machine(image: &Path, accelerator: &str, words: &[String]) -> Command {
    let mut command = Command::new(QEMU.program);
    command
        .args(["-accel", accelerator, "-smp", CPUS, "-m", MEGABYTES])
        .args(["-cpu", if accelerator == "kvm" { "host" } else { "max" }])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        // Its status tells the exit code.
        .args(["-serial", "stdio", "-device", "isa-debug-exit"])
        .arg("-kernel")
        .arg(image)
        .args(["-append", &command_line(words)])
        .stdin(Stdio::null());
    command
}

/// Unikraft's command line: its own arguments end with `--`.
fn command_line(words: &[String]) -> String {
    let mut line = "pollwire --".to_owned();
    for word in words {
        line.push(' ');
        if word.contains(char::is_whitespace) {
            line.push_str(&format!("\"{word}\""));
        } else {
            line.push_str(word);
        }
    }
    line
}

/// What the program ended with: `isa-debug-exit` makes 2 * code + 1 of it. `None`
/// when QEMU was ended or failed.
fn exit_code(status: ExitStatus) -> Option<i32> {
    match status.code()? {
        0 | UNIKRAFT_ENDED => Some(0),
        UNIKRAFT_CRASHED => Some(FAULT),
        code if code > 1 && code % 2 == 1 => Some(code / 2),
        _ => None,
    }
}

/// Whether KVM runs `image`: there are machines whose `/dev/kvm` cannot.
fn kvm_works(image: &Path) -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let mut probe = machine(image, "kvm", &[HELP.to_owned()]);
    let Ok(mut child) = probe.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return false;
    };
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < PROBE => thread::sleep(Duration::from_millis(10)),
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    // It has ended already, or ends now; either is well.
    let _ended = child.kill();
    let _status = child.wait();
    status.and_then(exit_code) == Some(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn quotes_what_has_spaces() {
        let words = ["--a=b".to_owned(), "c d".to_owned()];
        assert_eq!(command_line(&words), "pollwire -- --a=b \"c d\"");
    }

    #[test]
    fn tells_exit_codes() {
        let code = |status: i32| exit_code(ExitStatus::from_raw(status << 8));
        assert_eq!(code(83), Some(0));
        assert_eq!(code(2 * 64 + 1), Some(64));
        assert_eq!(code(85), Some(102));
        // QEMU's own.
        assert_eq!(code(1), None);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), None);
    }
}
