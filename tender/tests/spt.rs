//! Images under the tender, as processes: needs neither root nor KVM.

mod common;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use common::{TENDER, image, tender, text};

#[track_caller]
fn hello(arguments: &[&str], code: i32, says: &str) {
    let mut words = vec!["--mem=64".to_owned(), "--".to_owned()];
    words.push(image("hello").to_string_lossy().into_owned());
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    let output = tender(&words);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    assert!(text(&output).contains(says), "{}", text(&output));
}

#[test]
fn arguments_and_exit_codes() {
    hello(&["7", "more"], 7, "hello 7 more\n");
    hello(&[], 0, "spt guest, 64 MiB of memory");
}

#[test]
fn failures_are_told() {
    hello(&["panic"], 101, "asked to");
    hello(&["out-of-memory"], 101, "memory allocation of");
    hello(&["overflow"], 1, "stack overflow");
    hello(&["fault"], 1, "invalid instruction");
    hello(
        &["--guest.nonsense"],
        103,
        "cannot boot: an unknown --guest. argument",
    );
    hello(&["--guest.log=loud"], 103, "cannot boot: --guest.log takes");
}

#[test]
fn log_levels() {
    hello(&["--guest.log=debug"], 0, "eight random bytes");
    let output = tender([image("hello").as_os_str(), "--guest.log=warn".as_ref()]);
    assert!(!text(&output).contains("INFO"), "{}", text(&output));
}

#[test]
fn bad_images_and_options_are_told() {
    let hello = image("hello");
    let mirror = image("mirror");
    let garbage = fresh_path("garbage");
    fs::write(&garbage, b"\x7fELF").expect("writable");
    for (words, part) in [
        (vec!["/nonexistent".as_ref()], "/nonexistent"),
        (vec![garbage.as_os_str()], "not a 64-bit ELF file"),
        (vec![TENDER.as_ref()], "not a fixed-address"),
        (vec![mirror.as_os_str()], "--net:service="),
        (
            vec!["--net:x=tap0".as_ref(), hello.as_os_str()],
            "no network 'x'",
        ),
        (
            vec!["--net:service=nonesuch0".as_ref(), mirror.as_os_str()],
            "nonesuch0",
        ),
        (
            vec!["--net:service=fd:999".as_ref(), mirror.as_os_str()],
            "descriptor 999",
        ),
        (vec!["--mem=2".as_ref(), mirror.as_os_str()], "memory"),
    ] {
        let output = tender(&words);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{words:?}: {}",
            text(&output)
        );
        assert!(text(&output).contains(part), "{words:?}: {}", text(&output));
    }
    let net = format!("--net:service=wire:{}", garbage.display());
    let output = tender([net.as_ref(), mirror.as_os_str()]);
    assert!(
        text(&output).contains("no wire is there"),
        "{}",
        text(&output)
    );
    fs::remove_file(garbage).expect("a file that is no socket stays");
}

#[test]
fn two_guests_on_a_wire() {
    let path = fresh_path("wire");
    // A left-over of a tender that died must not be in the way.
    drop(UnixListener::bind(&path).expect("bindable"));
    let net = format!("--net:service=wire:{}", path.display());
    let mut reflecting = Command::new(TENDER)
        .args(["--mem=64", &net])
        .arg(image("mirror"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tender runs");
    let sending = {
        let (net, mirror) = (net.clone(), image("mirror"));
        thread::spawn(move || {
            Command::new(TENDER)
                .args(["--mem=64", &net])
                .arg(mirror)
                .args(["send", "20000", "1514", "32"])
                .output()
                .expect("the tender runs")
        })
    };
    let sent = sending.join().expect("no panic");
    let code = reflecting.wait().expect("a child").code();
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent));
    assert!(text(&sent).contains("20000 frames of 1514 bytes came back, 0 of them wrong"));
    assert_eq!(code, Some(0));
    assert!(
        !path.exists(),
        "the wire's path is gone once both ends have met"
    );
}

/// A path that no other test uses and that does not exist.
fn fresh_path(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("pollwire-{}-{name}", std::process::id()));
    let _absent = fs::remove_file(&path);
    path
}
