//! Running other programs: their output is shown as it comes, and kept; one
//! that does not end is ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest that one program may take: several times what the slowest needs on
/// two cores, from nothing built.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// Its standard output and error output, line by line as they came.
    pub(crate) lines: Vec<String>,
}

impl Outcome {
    /// Whether any line contains `text`.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// Root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent()
        .map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command that runs in the repository's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Cargo with `arguments`, split at spaces.
pub(crate) fn cargo(arguments: &str) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(program);
    command.args(arguments.split_whitespace());
    command
}

/// Runs `command` to its end, its output shown and kept.
pub(crate) fn show(command: &mut Command) -> io::Result<Outcome> {
    run(command, |line| {
        // Nobody reads any more: the work goes on all the same.
        let _closed = writeln!(io::stdout(), "{line}");
    })
}

/// Runs `command` to its end, its output kept only.
pub(crate) fn quiet(command: &mut Command) -> io::Result<Outcome> {
    run(command, |_| ())
}

/// Runs `command` to its end, its output kept; `each` gets every line as it
/// comes.
pub(crate) fn run(command: &mut Command, mut each: impl FnMut(&str)) -> io::Result<Outcome> {
    let deadline = Instant::now() + LONGEST;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{program} cannot be started: {error}"),
            )
        })?;
    let receiver = outputs(&mut child);
    let mut lines = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(line) => {
                each(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                let minutes = LONGEST.as_secs() / 60;
                lines.push(format!("{program} was ended after {minutes} minutes"));
                return Ok(Outcome {
                    success: false,
                    lines,
                });
            }
        }
    }
    Ok(Outcome {
        success: child.wait()?.success(),
        lines,
    })
}

/// What `child` prints from now on, line by line; ends when it has closed both
/// its outputs.
fn outputs(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || forward(output, &sender));
    }
    if let Some(errors) = child.stderr.take() {
        thread::spawn(move || forward(errors, &sender));
    }
    receiver
}

/// Ends `child` and what it has started: killing cargo alone would leave the
/// test that hangs.
fn end(child: &mut Child) {
    let descendants = descendants(child.id());
    // Either may have ended by itself meanwhile.
    let _ended = child.kill();
    for process in descendants {
        let _ended = Command::new("kill")
            .args(["-9", &process.to_string()])
            .status();
    }
    let _status = child.wait();
}

/// The processes below `process`, as far as this system tells.
fn descendants(process: u32) -> Vec<u32> {
    let list = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(list).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .flat_map(|child| {
            let mut below = descendants(child);
            below.push(child);
            below
        })
        .collect()
}

fn forward(source: impl Read, to: &mpsc::Sender<String>) {
    let mut source = BufReader::new(source);
    let mut bytes = Vec::new();
    while matches!(source.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if to.send(line).is_err() {
            return;
        }
    }
}

/// Runs `command`, its output shown only when it fails.
///
/// # Errors
///
/// The program cannot be started, or fails.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let outcome = quiet(command).map_err(|error| error.to_string())?;
    if outcome.success {
        return Ok(());
    }
    for line in &outcome.lines {
        eprintln!("{line}");
    }
    Err(format!("{command:?} failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_a_program_and_what_it_started() {
        let mut shell = Command::new("sh");
        // The shell stays, since it has more to do.
        shell.args(["-c", "sleep 600; true"]);
        let mut child = shell.stdout(Stdio::piped()).spawn().expect("sh");
        let receiver = outputs(&mut child);
        let patience = Instant::now() + Duration::from_secs(60);
        while descendants(child.id()).is_empty() {
            if Instant::now() > patience || !Path::new("/proc/self/task").exists() {
                println!("skipped: this system does not list a process's children");
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        end(&mut child);
        // Its output closes only when nobody holds it any more.
        let closed = receiver.recv_timeout(Duration::from_secs(60));
        assert_eq!(closed, Err(RecvTimeoutError::Disconnected));
    }
}
