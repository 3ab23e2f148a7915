//! What the tests of images share: building them, and running the tender.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The tender that cargo built for this test.
pub(crate) const TENDER: &str = env!("CARGO_BIN_EXE_pollwire-tender");

/// Builds the images (for spt) once and returns the path of `name`.
pub(crate) fn image(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unikernels");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../unikernels/Cargo.toml");
    // The flags of this build are not for guests.
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--package",
            "hello",
            "--package",
            "mirror",
            "--package",
            "services",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the images must build");
    target.join("release")
}

/// Runs the tender to its end.
pub(crate) fn tender<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(TENDER)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the tender runs")
}

/// Standard output and error, one behind the other.
pub(crate) fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}
