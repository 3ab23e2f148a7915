//! hvt images under the tender, on a KVM that behaves like hardware wherever
//! the test runs: in a machine that QEMU emulates, booted from Debian's kernel
//! package. Slow, so it checks behaviour and never speed.
//!
//! Needs `qemu-system-x86_64`, a static `busybox` and a Debian kernel with its
//! modules: installed, or unpacked where `POLLWIRE_KERNEL_ROOT` says. Without
//! them it prints what is missing and how to get it.

mod common;
mod emulator;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use common::{TENDER, image, tender, text};
use emulator::Emulator;

/// A check: a name, shell commands, and what their output must contain.
struct Check {
    name: &'static str,
    commands: &'static str,
    says: &'static [&'static str],
}

const RING: &str = "timeout 120 tender --mem=16 --net:service=wire:/tmp/wire";

/// Waits until the services answer.
const UP: &str = "for i in $(seq 100); do ping -c 1 -W 1 10.0.0.2 >/dev/null 2>&1 && break; \
                  sleep 1; done";

const CHECKS: &[Check] = &[
    Check {
        name: "arguments and exit code",
        commands: "timeout 120 tender --mem=16 /hello.hvt 7 more; echo code $?",
        says: &["hello 7 more", "hvt guest, 16 MiB of memory", "code 7"],
    },
    Check {
        name: "panic",
        commands: "timeout 120 tender --mem=16 /hello.hvt panic; echo code $?",
        says: &["asked to", "code 101"],
    },
    Check {
        name: "CPU fault",
        commands: "timeout 120 tender --mem=16 /hello.hvt fault; echo code $?",
        says: &["CPU fault 6 (invalid instruction)", "code 102"],
    },
    Check {
        name: "stack overflow",
        commands: "timeout 120 tender --mem=16 /hello.hvt overflow; echo code $?",
        says: &["read-only memory", "code 1"],
    },
    Check {
        name: "heap",
        commands: "timeout 120 tender --mem=16 /hello.hvt out-of-memory; echo code $?",
        says: &["memory allocation of", "code 101"],
    },
    Check {
        name: "frames over the ring",
        commands: "RING /mirror.hvt & RING /mirror.hvt send 3000 1514 32; echo code $?; wait",
        says: &[
            "hvt guest, ring, MTU 1500",
            "3000 frames of 1514 bytes came back, 0 of them wrong",
            "code 0",
            "reflected 3001 frames",
            "host_violations: 0",
        ],
    },
    Check {
        name: "one frame at a time over the ring",
        commands: "RING /mirror.hvt & RING /mirror.hvt send 200 64 1; echo code $?; wait",
        says: &[
            "200 frames of 64 bytes came back, 0 of them wrong",
            "code 0",
        ],
    },
    Check {
        name: "frames by hypercall",
        commands: "RING --no-ring /mirror.hvt & RING --no-ring /mirror.hvt send 500 1514 16; \
                   echo code $?; wait",
        says: &[
            "hvt guest, hypercalls",
            "500 frames of 1514 bytes came back, 0 of them wrong",
            "code 0",
        ],
    },
    Check {
        name: "services to Linux over the ring",
        commands: "timeout 300 tender --mem=64 --net:service=tap0 /services.hvt \
                   --ipv4=10.0.0.2/24 & UP; ping -c 3 -s 1472 10.0.0.2; \
                   wget -q -O - http://10.0.0.2/; head -c 300000 /dev/urandom > /tmp/in; \
                   nc -w 60 10.0.0.2 7 < /tmp/in > /tmp/out & \
                   for i in $(seq 100); do cmp -s /tmp/in /tmp/out && break; sleep 1; done; \
                   cmp /tmp/in /tmp/out && echo echo intact; kill %1 %2; wait",
        says: &[
            "3 packets transmitted, 3 packets received",
            "This page came from a unikernel",
            "echo intact",
        ],
    },
];

/// With the host's `openssl`, where there is one. hvt guests run without AVX, so
/// ring takes other code than on Linux.
const TLS: Check = Check {
    name: "TLS to Linux over the ring",
    commands: "timeout 300 tender --mem=64 --net:service=tap0 /services.hvt \
               --ipv4=10.0.0.2/24 --guest.log=debug & UP; ping -c 1 10.0.0.2; \
               date -s 2026-06-01; export OPENSSL_CONF=/dev/null; \
               for version in -tls1_3 -tls1_2; do \
               printf 'GET / HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n' | \
               timeout 120 /openssl s_client -connect 10.0.0.2:443 -CAfile /cert.pem \
               -verify_return_error -quiet $version; echo openssl $version $?; done; \
               kill %1; wait",
    says: &[
        "services::tls: TLS 1.3, ",
        "openssl -tls1_3 0",
        "services::tls: TLS 1.2, ",
        "This page came from a unikernel",
        "openssl -tls1_2 0",
    ],
};

/// The certificate that the image shows.
const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../unikernels/services/tls/cert.pem"
);

/// Adds what the check of TLS needs, and the check.
fn add_tls(emulator: &mut Emulator, checks: &mut Vec<&Check>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let openssl = std::env::split_paths(&path)
        .map(|directory| directory.join("openssl"))
        .find(|file| file.is_file());
    let Some(openssl) = openssl else {
        println!("skipped: {}: openssl is not installed", TLS.name);
        return;
    };
    emulator.add_program(&openssl.to_string_lossy(), "/openssl");
    emulator.add_file(Path::new(CERTIFICATE), "/cert.pem");
    checks.push(&TLS);
}

#[test]
fn hvt_on_emulated_hardware() {
    let mut emulator = match Emulator::find("emulated") {
        Ok(emulator) => emulator,
        Err(missing) => {
            println!("skipped: {missing}");
            return;
        }
    };
    emulator.add_program(TENDER, "/bin/tender");
    emulator.add_file(&hvt_image("hello"), "/hello.hvt");
    emulator.add_file(&hvt_image("mirror"), "/mirror.hvt");
    emulator.add_file(&hvt_image("services"), "/services.hvt");
    let mut checks: Vec<&Check> = CHECKS.iter().collect();
    add_tls(&mut emulator, &mut checks);
    let mut script = String::new();
    for (index, check) in checks.iter().enumerate() {
        let commands = check.commands.replace("RING", RING).replace("UP", UP);
        script.push_str(&format!(
            "echo BEGIN {index}\n{{ {commands}; }} 2>&1\necho END {index}\n"
        ));
    }
    let output = emulator.run(&script, &mut |_, _| {});
    let mut failed = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        let part = part(&output, index);
        for says in check.says {
            if !part.contains(says) {
                failed.push(format!("{}: no '{says}' in:\n{part}", check.name));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{}\n--- whole output:\n{output}",
        failed.join("\n")
    );
}

/// The copy of image `name` for hvt.
fn hvt_image(name: &str) -> PathBuf {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.hvt"));
    let made = tender([
        OsStr::new("set-abi"),
        "hvt".as_ref(),
        image(name).as_ref(),
        output.as_ref(),
    ]);
    assert!(made.status.success(), "{}", text(&made));
    output
}

/// What check `index` printed; all from its beginning on when it never ended.
fn part(output: &str, index: usize) -> &str {
    let Some((_, rest)) = output.split_once(&format!("BEGIN {index}\r\n")) else {
        return "(it never began)";
    };
    rest.split_once(&format!("END {index}\r\n"))
        .map_or(rest, |(part, _)| part)
}

/// Own images, for a quick look: `POLLWIRE_EMULATED_SCRIPT` holds commands and
/// `POLLWIRE_EMULATED_FILES` the paths of the files that they use, at the root
/// of the emulated machine.
#[test]
fn custom_script() {
    let (Some(script), Some(files)) = (
        std::env::var_os("POLLWIRE_EMULATED_SCRIPT"),
        std::env::var_os("POLLWIRE_EMULATED_FILES"),
    ) else {
        println!("skipped: POLLWIRE_EMULATED_SCRIPT and POLLWIRE_EMULATED_FILES are not set");
        return;
    };
    let mut emulator = Emulator::find("custom").expect("what the emulated machine needs");
    emulator.add_program(TENDER, "/bin/tender");
    for path in std::env::split_paths(&files) {
        let mut inside = OsString::from("/");
        inside.push(path.file_name().expect("a file"));
        emulator.add_program(&path.to_string_lossy(), &inside.to_string_lossy());
    }
    emulator.run(&script.to_string_lossy(), &mut |since, line| {
        println!("{:4} s  {line}", since.as_secs());
    });
}
