//! A network namespace for each test, and skipping aloud.

use std::env;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::host;

/// Set in the copy of this process that runs in the namespace: the number of
/// this process.
pub(crate) const INSIDE: &str = "POLLWIRE_E2E_INSIDE";
/// Most tests take seconds; this ends one that is stuck, on however slow a
/// machine.
const SECONDS: u32 = 600;

/// Why a test cannot run on this machine.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl From<String> for Skip {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// Runs `body` as test `name` in a network namespace with a TAP device in it,
/// as process 1 of a process namespace: nothing that it starts outlives it.
pub(crate) fn isolated(name: &str, body: impl FnOnce() -> Result<(), Skip>) {
    isolated_for(SECONDS, name, body);
}

/// The same for a test that takes up to `seconds`.
pub(crate) fn isolated_for(seconds: u32, name: &str, body: impl FnOnce() -> Result<(), Skip>) {
    isolated_with(host::build, seconds, name, body);
}

/// The same for a test that needs what `build` builds.
pub(crate) fn isolated_with(
    build: fn(),
    seconds: u32,
    name: &str,
    body: impl FnOnce() -> Result<(), Skip>,
) {
    if env::var_os(INSIDE).is_some() {
        // Ends the line that the harness has begun.
        println!();
        if let Err(Skip(why)) = host::make_tap().and_then(|()| body()) {
            println!("skipped: {why}");
        }
        return;
    }
    if let Err(Skip(why)) = enter(name, seconds, build) {
        println!("skipped: {why}");
    }
}

/// Held while a test runs: they share few cores, build the same programs, and
/// some look at the time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs this test again where it may do as it likes.
fn enter(name: &str, seconds: u32, build: fn()) -> Result<(), Skip> {
    let _alone = alone();
    for tool in ["unshare", "timeout", "ip"] {
        need(tool)?;
    }
    let flags = flags()?;
    build();
    let output = Command::new("timeout")
        .args(["--signal=KILL", &seconds.to_string(), "unshare"])
        .args(flags)
        // A thousand connections take a descriptor each.
        .args(["sh", "-c", "ulimit -n 4096 || :; exec \"$0\" \"$@\""])
        .arg(env::current_exe().expect("known"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .arg("--include-ignored")
        .env(INSIDE, process::id().to_string())
        .output()
        .expect("timeout runs");
    print!("{}", indented(&output.stdout));
    eprint!("{}", indented(&output.stderr));
    assert!(
        output.status.success(),
        "{}: {}",
        name,
        match output.status.code() {
            None | Some(137) => format!("not done after {seconds} s"),
            Some(code) => format!("exit code {code}"),
        }
    );
    Ok(())
}

/// Without the inner harness's own lines, which would be counted twice.
fn indented(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter(|line| !["", "ok", "FAILED", "failures:"].contains(line))
        .filter(|line| !line.starts_with("running ") && !line.starts_with("test "))
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// How this user can have a namespace: root, or a user namespace.
fn flags() -> Result<Vec<&'static str>, Skip> {
    let mut why = String::new();
    for user in [&[][..], &["--user", "--map-root-user"]] {
        let flags = [user, &["--net", "--pid", "--fork", "--kill-child"]].concat();
        let probe = Command::new("unshare").args(&flags).arg("true").output();
        let probe = probe.expect("unshare runs");
        if probe.status.success() {
            return Ok(flags);
        }
        why = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
    }
    Err(Skip(format!("no network namespace: {why}")))
}

/// Where `program` is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Skips without `program`.
pub(crate) fn need(program: &str) -> Result<(), Skip> {
    match find(program) {
        Some(_) => Ok(()),
        None => Err(Skip(format!("{program} is not installed"))),
    }
}
