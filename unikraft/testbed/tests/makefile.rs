//! The library's rules for Unikraft's build, in a makefile of its own: the functions
//! of that build are stubs, and so is cargo.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

/// As much of Unikraft's build as the rules name, and an image that is linked of the
/// library's objects.
const MAKEFILE: &str = r#"
addlib_s =
qstrip = $(strip $(subst ",,$(1)))
CONFIG_LIBPOLLWIRE_MANIFEST = ""
CONFIG_LIBPOLLWIRE_PACKAGE = "program"
CONFIG_LIBPOLLWIRE_CARGO = "$(HERE)/cargo"
LIBPOLLWIRE_BUILD = $(HERE)/build
include $(LIBPOLLWIRE_BASE)/Makefile.uk
image: $(LIBPOLLWIRE_OBJS-y)
	cat $^ > $@
"#;

/// Cargo: the program is its source. Like the real one it leaves a file alone that is
/// as it should be.
const CARGO: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" > "$here/arguments"
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release"
cmp -s "$here/source" "$2/release/program" || cp "$here/source" "$2/release/program"
"#;

struct Build(PathBuf);

impl Build {
    fn new() -> Self {
        let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("makefile");
        let _none_yet = fs::remove_dir_all(&here);
        fs::create_dir_all(&here).expect("writable");
        fs::write(here.join("Makefile"), MAKEFILE).expect("writable");
        let cargo = here.join("cargo");
        fs::write(&cargo, CARGO).expect("writable");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(cargo, executable).expect("ours");
        Self(here)
    }

    /// Builds the image of `source`: what it is, and when it was linked.
    fn image(&self, source: &str) -> (String, SystemTime) {
        // Times of files have steps of a clock tick.
        thread::sleep(Duration::from_millis(30));
        if fs::read_to_string(self.0.join("source")).ok().as_deref() != Some(source) {
            fs::write(self.0.join("source"), source).expect("writable");
        }
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib-pollwire");
        let output = Command::new("make")
            .arg("-C")
            .arg(&self.0)
            .arg(format!("HERE={}", self.0.display()))
            .arg(format!("LIBPOLLWIRE_BASE={}", base.display()))
            .arg("image")
            .env_remove("POLLWIRE_CARGO_DIR")
            .output()
            .expect("make runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let image = self.0.join("image");
        let linked = fs::metadata(&image).and_then(|image| image.modified());
        let text = fs::read_to_string(image).expect("readable");
        (text, linked.expect("known"))
    }
}

#[test]
fn a_program_that_changed_is_linked_at_once_and_another_is_not() {
    let make = Command::new("make").arg("--version").output();
    if make.is_err() {
        println!("skipped: make is not installed");
        return;
    }
    let build = Build::new();
    let (text, first) = build.image("first");
    assert_eq!(text, "first");
    let arguments = fs::read_to_string(build.0.join("arguments")).expect("cargo ran");
    for part in [
        "build --release",
        "unikernels/Cargo.toml",
        "--package program",
        "--features pollwire-guest/unikraft",
    ] {
        assert!(arguments.contains(part), "no {part}: {arguments}");
    }
    let (text, second) = build.image("second");
    assert_eq!(text, "second");
    assert!(second > first);
    assert_eq!(build.image("second").1, second, "linked for nothing");
}
