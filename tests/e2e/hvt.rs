//! The programs as hvt images.
//!
//! Where KVM runs them, they are tried in a network namespace like the others.
//! Elsewhere this test's own program goes into a machine that QEMU emulates, with
//! the tender, the images and the tools, and does there what it does elsewhere,
//! against the Linux of that machine.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::emulator::Emulator;
use super::host::{self, EMULATED, Host, image, tender};
use super::namespace::{INSIDE, Skip, alone, find, isolated, need};
use super::progress::step;
use super::{dns, fetch, http, services};

/// What the checks start.
const TOOLS: [&str; 5] = ["curl", "nginx", "openssl", "unbound", "wrk"];
const IMAGES: [&str; 3] = ["services", "resolve", "fetch"];
/// A check that goes on says so more often.
const SILENCE: Duration = Duration::from_secs(300);

#[test]
fn programs_under_hvt() {
    under_hvt("hvt::programs_under_hvt", || {
        let host = Host::hvt();
        part("services", || services(&host, &super::EMULATED));
        part("curl", || with_services(&host, "curl", http::curl));
        part("wrk", || {
            with_services(&host, "wrk", || println!("{}", http::wrk()))
        });
        part("resolve", || step("names", 0, || dns::names(&host)));
        part("fetch", || step("pages", 9_000_000, || fetch::pages(&host)));
    });
}

fn part(name: &str, run: impl FnOnce() -> Result<(), Skip>) {
    let start = Instant::now();
    if let Err(Skip(why)) = run() {
        println!("skipped: {why}");
    }
    println!("{name}: {:.1?} in all", start.elapsed());
}

fn with_services(host: &Host, tool: &str, check: impl FnOnce()) -> Result<(), Skip> {
    need(tool)?;
    let _server = host.services()?;
    step(tool, 0, check);
    Ok(())
}

/// Runs `body`, test `name`, where hvt images run.
fn under_hvt(name: &str, body: impl FnOnce()) {
    let inside = env::var_os(INSIDE).is_some();
    if !inside {
        host::build();
    }
    if inside || kvm_runs_images() {
        isolated(name, || {
            body();
            Ok(())
        });
        return;
    }
    let _alone = alone();
    match Emulator::find("e2e-hvt") {
        Ok(machine) => emulate(machine, name),
        Err(missing) => println!("skipped: {missing}"),
    }
}

/// Whether there is a KVM, and one that runs an image as hardware would: some
/// are emulations that cannot, or not in a day.
fn kvm_runs_images() -> bool {
    let wire = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-hvt.wire");
    Path::new("/dev/kvm").exists()
        && Command::new("timeout")
            .args(["--signal=KILL", "10"])
            .arg(tender())
            .arg(format!("--net:service=wire:{}", wire.display()))
            .arg(image("services", "hvt"))
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// Runs test `name` inside of `machine`.
fn emulate(mut machine: Emulator, name: &str) {
    machine.silence = SILENCE;
    let here = env::current_exe().expect("known");
    machine.add_program(&here.to_string_lossy(), "/bin/e2e");
    let tender = tender();
    let tender = tender.to_string_lossy();
    machine.add_program(&tender, &tender);
    for name in IMAGES {
        let image = image(name, "hvt");
        machine.add_file(&image, &image.to_string_lossy());
    }
    for tool in TOOLS {
        // The check that needs a missing one says so.
        if let Some(path) = find(tool) {
            machine.add_program(&path.to_string_lossy(), &format!("/bin/{tool}"));
        }
    }
    let script = format!(
        "mkdir -p {temporary} /etc /var/log/nginx /var/lib/nginx\n\
         echo root:x:0:0::/:/bin/sh > /etc/passwd\n\
         echo root:x:0: > /etc/group\n\
         echo http 80/tcp > /etc/services\n\
         ulimit -n 4096\n\
         export {INSIDE}=1 {EMULATED}=1\n\
         e2e --exact {name} --include-ignored --nocapture --test-threads=1 2>&1\n\
         echo exit code $?",
        temporary = env!("CARGO_TARGET_TMPDIR"),
    );
    let mut begun = false;
    let output = machine.run(&script, &mut |since, line| {
        // Neither the firmware's clearing of the screen nor lines that another
        // harness would count.
        if line.starts_with("test hvt::") {
            begun = true;
        } else if begun && line.starts_with("skipped: ") {
            println!("  {line}");
        } else if begun {
            println!("  {:4} s  {line}", since.as_secs());
        }
    });
    assert!(begun, "{name} did not begin:\n{output}");
    assert!(output.contains("exit code 0\r\n"), "see above");
}
