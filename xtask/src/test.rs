//! `cargo xtask test`: every check in order, and a table of what happened.

mod report;
mod steps;

use std::time::Instant;

use self::report::{Report, Verdict};

/// A check: its name and how to run it.
struct Step {
    name: String,
    run: Box<dyn FnOnce() -> Result<Verdict, String>>,
}

impl Step {
    fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<Verdict, String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Runs all checks, or the quick ones; true when none failed.
pub(crate) fn run(quick: bool) -> Result<bool, String> {
    let mut report = Report::default();
    let mut all = steps::quick();
    if !quick {
        all.extend(steps::thorough()?);
    }
    let count = all.len();
    for (index, step) in all.into_iter().enumerate() {
        println!("\n==> {}/{count} {}", index + 1, step.name);
        let start = Instant::now();
        let verdict = (step.run)().unwrap_or_else(Verdict::failed);
        if let Verdict::Skipped { why } = &verdict {
            println!("skipped: {why}");
        }
        if let Verdict::Failed { why, .. } = &verdict {
            println!("failed: {why}");
        }
        report.add(step.name, verdict, start.elapsed());
    }
    println!("\n{}", report.table());
    println!("{}", report.failures());
    println!("{}", report.closing_line());
    Ok(report.success())
}
