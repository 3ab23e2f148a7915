//! Running other programs: their output is shown as it comes, and kept.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

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
    run(command, true)
}

/// Runs `command` to its end, its output kept only.
pub(crate) fn quiet(command: &mut Command) -> io::Result<Outcome> {
    run(command, false)
}

fn run(command: &mut Command, echo: bool) -> io::Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            io::Error::new(
                error.kind(),
                format!("{program} cannot be started: {error}"),
            )
        })?;
    let (sender, receiver) = mpsc::channel();
    let mut lines = Vec::new();
    thread::scope(|scope| {
        if let Some(output) = child.stdout.take() {
            let sender = sender.clone();
            scope.spawn(move || forward(output, &sender));
        }
        if let Some(errors) = child.stderr.take() {
            scope.spawn(move || forward(errors, &sender));
        }
        for line in receiver {
            if echo {
                // Nobody reads any more: the work goes on all the same.
                let _closed = writeln!(io::stdout(), "{line}");
            }
            lines.push(line);
        }
    });
    Ok(Outcome {
        success: child.wait()?.success(),
        lines,
    })
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
