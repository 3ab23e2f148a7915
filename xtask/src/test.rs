//! `cargo xtask test`: every check in order, a line for each, and what failed.
//! What the checks print is kept in a file.

mod report;
mod steps;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use self::report::{Report, Verdict};
use crate::process::{self, Outcome};

/// A check: its name and how to run it.
struct Step {
    name: String,
    run: Box<Check>,
}

type Check = dyn FnOnce(&mut Log) -> Result<Verdict, String>;

impl Step {
    fn new(
        name: impl Into<String>,
        run: impl FnOnce(&mut Log) -> Result<Verdict, String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// What the checks print.
struct Log {
    file: File,
    path: PathBuf,
    /// It is shown as well.
    verbose: bool,
}

impl Log {
    fn new(verbose: bool) -> Result<Self, String> {
        let path = process::target_dir().join("test.log");
        let failed = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(process::target_dir()).map_err(failed)?;
        let file = File::create(&path).map_err(failed)?;
        Ok(Self {
            file,
            path,
            verbose,
        })
    }

    fn line(&mut self, line: &str) {
        // The verdict counts; a disk that is full or a reader that is gone does
        // not change it.
        let _full = writeln!(self.file, "{line}");
        if self.verbose {
            let _closed = writeln!(io::stdout(), "{line}");
        }
    }

    /// Runs `command` to its end.
    fn run(&mut self, command: &mut Command) -> Result<Outcome, String> {
        process::run(command, |line| self.line(line)).map_err(|error| error.to_string())
    }
}

/// Runs all checks, or the quick ones; true when none failed. Shows what they
/// print if `verbose`.
pub(crate) fn run(quick: bool, verbose: bool) -> Result<bool, String> {
    let mut log = Log::new(verbose)?;
    let mut report = Report::default();
    let mut all = steps::quick()?;
    if !quick {
        all.extend(steps::thorough()?);
    }
    let count = all.len();
    println!("{}", report::HEADING);
    for (index, step) in all.into_iter().enumerate() {
        log.line(&format!("\n==> {}/{count} {}", index + 1, step.name));
        print!("{:<31}", step.name);
        let _closed = io::stdout().flush();
        let start = Instant::now();
        let verdict = (step.run)(&mut log).unwrap_or_else(Verdict::failed);
        println!(" {}", report.add(step.name, verdict, start.elapsed()));
    }
    print!("{}", report.failures());
    println!("\n{}", report.closing_line());
    println!("All that was printed: {}", log.path.display());
    Ok(report.success())
}
