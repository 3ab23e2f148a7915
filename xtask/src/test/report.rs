//! What the steps came to.

use std::time::Duration;

use crate::process::Outcome;

const SEE: &str = "see below";

/// Most lines of one failed test, or of another program, that are told again.
const EXCERPT: usize = 40;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All was well, in so many tests (1 for a step that is one check).
    Passed { tests: Tests },
    /// Something was not; `excerpt` is what its output says of it.
    Failed {
        why: String,
        tests: Tests,
        excerpt: Vec<String>,
    },
    /// It could not run here.
    Skipped { why: String },
}

/// How many tests of a step passed, failed and were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Why, for each test that could not run here.
    pub(crate) skipped: Vec<String>,
}

impl Verdict {
    /// One check, and it is well.
    pub(crate) fn passed() -> Self {
        Self::Passed {
            tests: Tests {
                passed: 1,
                ..Tests::default()
            },
        }
    }

    /// One check, and it is not.
    pub(crate) fn failed(why: String) -> Self {
        Self::Failed {
            why,
            tests: Tests {
                failed: 1,
                ..Tests::default()
            },
            excerpt: Vec::new(),
        }
    }

    /// A step that cannot run here.
    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped { why: why.into() }
    }

    /// One check that a program did.
    pub(crate) fn of_check(outcome: &Outcome) -> Self {
        if outcome.success {
            return Self::passed();
        }
        Self::Failed {
            why: SEE.into(),
            tests: Tests {
                failed: 1,
                ..Tests::default()
            },
            excerpt: excerpt(&outcome.lines),
        }
    }

    /// What `cargo test` printed.
    pub(crate) fn of_tests(outcome: &Outcome) -> Self {
        let mut tests = Tests::default();
        // The harness counts a test that could not run as passed.
        let mut not_run = 0;
        let mut reasons = Vec::new();
        for line in &outcome.lines {
            if let Some((_, reason)) = line.split_once(" ... ignored, ") {
                reasons.push(format!("ignored: {reason}"));
            } else if let Some(result) = line.strip_prefix("test result: ") {
                tests.passed += count_before(result, " passed");
                tests.failed += count_before(result, " failed");
                let mut reasons = reasons.drain(..);
                for _ in 0..count_before(result, " ignored") {
                    let why = reasons.next().unwrap_or_else(|| "ignored".into());
                    tests.skipped.push(why);
                }
            } else if let Some(why) = line.trim_start().strip_prefix("skipped: ") {
                tests.skipped.push(why.into());
                not_run += 1;
            }
        }
        tests.passed = tests.passed.saturating_sub(not_run);
        if outcome.success {
            Self::Passed { tests }
        } else {
            // A build that fails runs no test at all.
            tests.failed = tests.failed.max(1);
            Self::Failed {
                why: SEE.into(),
                tests,
                excerpt: excerpt(&outcome.lines),
            }
        }
    }
}

/// What a failed program's output says of the failure: of tests, the end of
/// each failed one's output, up to a backtrace; of anything else, its end.
fn excerpt(lines: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    let mut rest = lines;
    while let Some(from) = rest.iter().position(|line| line == "failures:") {
        rest = &rest[from + 1..];
        let end = rest
            .iter()
            .position(|line| line == "failures:" || line.starts_with("test result: "))
            .unwrap_or(rest.len());
        for section in rest[..end].chunk_by(|_, next| !next.starts_with("---- ")) {
            told.extend(section.first().filter(|line| line.starts_with("---- ")));
            let body = section.get(1..).unwrap_or_default();
            let end = body.iter().position(|line| line == "stack backtrace:");
            told.extend(ending(&body[..end.unwrap_or(body.len())]));
        }
        rest = &rest[end..];
    }
    if told.is_empty() {
        told.extend(ending(lines));
    }
    told.into_iter().cloned().collect()
}

/// The last lines of `lines`, without the empty ones.
fn ending(lines: &[String]) -> impl Iterator<Item = &String> {
    let from = lines.len().saturating_sub(EXCERPT);
    lines[from..].iter().filter(|line| !line.is_empty())
}

fn count_before(text: &str, word: &str) -> u64 {
    text.split(';')
        .filter_map(|part| part.trim_end().strip_suffix(word))
        .filter_map(|part| part.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// What stands above the steps' names and what [`Report::add`] gives.
pub(crate) const HEADING: &str = "\
step                            result   checks  seconds
--------------------------------------------------------------------------------";

/// All steps of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Verdict)>,
}

impl Report {
    /// Gives the step's result, tests, seconds, and why if there is a why.
    pub(crate) fn add(&mut self, name: String, verdict: Verdict, took: Duration) -> String {
        let (word, count, why) = match &verdict {
            Verdict::Passed { tests } => ("ok", tests.passed, skips(tests)),
            Verdict::Failed { why, tests, .. } => ("FAILED", tests.failed, why.clone()),
            Verdict::Skipped { why } => ("skipped", 1, why.clone()),
        };
        let seconds = took.as_secs_f64();
        let line = format!("{word:<8} {count:>6} {seconds:>8.1}  {why}");
        self.rows.push((name, verdict));
        line.trim_end().to_owned()
    }

    /// Whether nothing failed.
    pub(crate) fn success(&self) -> bool {
        !self
            .rows
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Failed { .. }))
    }

    /// The excerpts of what failed, each under its step's name.
    pub(crate) fn failures(&self) -> String {
        let mut text = String::new();
        for (name, verdict) in &self.rows {
            if let Verdict::Failed { excerpt, .. } = verdict {
                text.push_str(&format!("\nFAILED: {name}\n"));
                for line in excerpt {
                    text.push_str(&format!("  {line}\n"));
                }
            }
        }
        text
    }

    /// `N passed, N failed, N skipped`.
    pub(crate) fn closing_line(&self) -> String {
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for (_, verdict) in &self.rows {
            match verdict {
                Verdict::Passed { tests } | Verdict::Failed { tests, .. } => {
                    passed += tests.passed;
                    failed += tests.failed;
                    skipped += tests.skipped.len();
                }
                Verdict::Skipped { .. } => skipped += 1,
            }
        }
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The distinct reasons why tests did not run.
fn skips(tests: &Tests) -> String {
    let mut reasons: Vec<&str> = tests.skipped.iter().map(String::as_str).collect();
    reasons.sort_unstable();
    reasons.dedup();
    match reasons.as_slice() {
        [] => String::new(),
        reasons => format!("{} skipped: {}", tests.skipped.len(), reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(success: bool, text: &str) -> Outcome {
        Outcome {
            success,
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn counts_what_cargo_test_prints() {
        let verdict = Verdict::of_tests(&outcome(
            true,
            "running 3 tests\n\
             test long ... ignored, takes minutes\n\
             test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n\
             skipped: no TAP device here\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ));
        let Verdict::Passed { tests } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((tests.passed, tests.failed), (4, 0));
        assert_eq!(
            tests.skipped,
            ["ignored: takes minutes", "ignored", "no TAP device here"]
        );
    }

    #[test]
    fn a_failed_build_counts_as_a_failure() {
        let verdict = Verdict::of_tests(&outcome(false, "error: could not compile"));
        assert!(matches!(
            verdict,
            Verdict::Failed {
                tests: Tests { failed: 1, .. },
                ..
            }
        ));
    }

    #[test]
    fn tells_again_what_failed() {
        let lines = "test a ... ok\n\nsuccesses:\n\n---- a stdout ----\nall is well\n\n\
                     failures:\n\n---- b stdout ----\n\nthread 'b' panicked at b.rs:1:1:\n\
                     no answer\nstack backtrace:\n   0: b\n\n\nfailures:\n    b\n\n\
                     test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured";
        let mut report = Report::default();
        let verdict = Verdict::of_tests(&outcome(false, lines));
        report.add("tests/letters".into(), verdict, Duration::ZERO);
        let verdict = Verdict::of_check(&outcome(false, "warning: old\nerror: bad"));
        report.add("lints".into(), verdict, Duration::ZERO);
        assert_eq!(
            report.failures(),
            "\nFAILED: tests/letters\n  ---- b stdout ----\n  thread 'b' panicked at \
             b.rs:1:1:\n  no answer\n\nFAILED: lints\n  warning: old\n  error: bad\n"
        );
    }

    #[test]
    fn closes_with_the_sums() {
        let mut report = Report::default();
        report.add("a".into(), Verdict::passed(), Duration::ZERO);
        let line = report.add("b".into(), Verdict::skipped("no KVM"), Duration::ZERO);
        assert_eq!(line, "skipped       1      0.0  no KVM");
        assert!(report.success());
        report.add("c".into(), Verdict::failed("bad".into()), Duration::ZERO);
        assert!(!report.success());
        assert_eq!(report.closing_line(), "1 passed, 1 failed, 1 skipped");
    }
}
