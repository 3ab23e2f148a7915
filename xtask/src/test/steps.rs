//! The checks themselves.

use std::fs;
use std::path::Path;

use super::Step;
use super::report::Verdict;
use crate::image::{self, Abi};
use crate::process::{self, cargo, root};
use crate::tools::{self, CARGO_DENY, VALGRIND};
use crate::{bench, check, demo};

/// Lints beside those of the manifests, in every workspace.
const LINTS: &str = "-D warnings -W clippy::too_many_lines -W clippy::disallowed_methods \
                     -W clippy::disallowed_types";

const GUESTS: &str = "--manifest-path unikernels/Cargo.toml";

/// What the libraries promise to build with.
const OLDEST_RUST: &str = "1.88";

/// The libraries, which keep that promise.
const LIBRARIES: &str = "-p pollwire -p pollwire-offload -p pollwire-rings -p pollwire-core \
                         -p pollwire-perf -p pollwire-tls -p pollwire-dns -p pollwire-he";

/// Checks that take minutes at most.
pub(super) fn quick() -> Vec<Step> {
    vec![
        check_step("formatting", "fmt --all -- --check".into()),
        check_step(
            "formatting, unikernels",
            format!("fmt {GUESTS} --all -- --check"),
        ),
        check_step(
            "formatting, fuzz",
            "fmt --manifest-path fuzz/Cargo.toml -- --check".into(),
        ),
        Step::new("house limits", || {
            Ok(truth(check::run()?, "see the list above"))
        }),
        check_step(
            "lints",
            format!("clippy --workspace --all-targets --all-features -- {LINTS}"),
        ),
        check_step(
            "lints, unikernels",
            format!(
                "clippy {GUESTS} --workspace --target-dir {} -- {LINTS}",
                guest_target()
            ),
        ),
        check_step(
            "lints, unikernels on Unikraft",
            format!(
                "clippy {GUESTS} --workspace --features pollwire-guest/unikraft --target-dir {} \
                 -- {LINTS}",
                guest_target()
            ),
        ),
        tests_step(
            "unit tests",
            "--workspace --exclude pollwire --lib --bins --tests".into(),
        ),
        tests_step(
            "unit tests, unikernels",
            format!(
                "{GUESTS} -p pollwire-apps -p pollwire-args --target-dir {}",
                guest_target()
            ),
        ),
        tests_step("doc tests", "--workspace --doc".into()),
    ]
}

/// Checks that take longer or need more.
pub(super) fn thorough() -> Result<Vec<Step>, String> {
    let mut steps = vec![
        Step::new("documentation", || {
            let mut doc = cargo("doc --workspace --no-deps --all-features");
            let outcome = process::show(doc.env("RUSTDOCFLAGS", "-D warnings"))
                .map_err(|error| error.to_string())?;
            Ok(Verdict::of_check(&outcome))
        }),
        Step::new(format!("builds with Rust {OLDEST_RUST}"), oldest_rust),
        Step::new("licences and sources", || deny("bans licenses sources")),
        Step::new("advisories", || deny("advisories")),
    ];
    for name in image::names()? {
        steps.push(Step::new(format!("image {name}"), move || {
            for abi in Abi::SOLO5 {
                println!("{}", image::build(&name, abi)?.display());
            }
            Ok(Verdict::passed())
        }));
    }
    steps.push(Step::new("program hello for Unikraft", || {
        println!("{}", image::build("hello", Abi::Unikraft)?.display());
        Ok(Verdict::passed())
    }));
    for name in integration_tests()? {
        let arguments = format!("-p pollwire --all-features --test {name}");
        steps.push(tests_step(format!("tests/{name}"), arguments));
    }
    steps.push(Step::new("demo", || {
        Ok(truth(demo::run()?, "see its output above"))
    }));
    steps.push(Step::new("instruction counts", || {
        if VALGRIND.path().is_none() {
            return Ok(Verdict::skipped(VALGRIND.missing()));
        }
        Ok(truth(
            bench::run(bench::Mode::Gate)?,
            "a count is above its limit",
        ))
    }));
    Ok(steps)
}

fn truth(good: bool, otherwise: &str) -> Verdict {
    if good {
        Verdict::passed()
    } else {
        Verdict::failed(otherwise.into())
    }
}

fn check_step(name: &str, arguments: String) -> Step {
    Step::new(name, move || {
        let outcome = process::show(&mut cargo(&arguments)).map_err(|error| error.to_string())?;
        Ok(Verdict::of_check(&outcome))
    })
}

/// Tests whose standard output is shown even when they pass, since they say
/// there what they could not do.
fn tests_step(name: impl Into<String>, arguments: String) -> Step {
    Step::new(name, move || {
        let mut tests = cargo(&format!("test {arguments} -- --show-output"));
        let outcome = process::show(&mut tests).map_err(|error| error.to_string())?;
        Ok(Verdict::of_tests(&outcome))
    })
}

/// The root package's integration tests, each a step of its own: a file, or a
/// folder with a `main.rs`.
fn integration_tests() -> Result<Vec<String>, String> {
    let directory = root().join("tests");
    let entries =
        fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| test_name(&entry.ok()?.path()))
        .collect();
    names.sort();
    Ok(names)
}

/// The name of the integration test at `path`, if there is one. A folder with
/// a manifest is a package, with a step of its own.
fn test_name(path: &Path) -> Option<String> {
    let is_file = path.extension().is_some_and(|extension| extension == "rs");
    let is_folder = path.join("main.rs").is_file() && !path.join("Cargo.toml").exists();
    let name = path.file_stem()?.to_str()?;
    (is_file || is_folder).then(|| name.to_owned())
}

fn guest_target() -> String {
    process::target_dir()
        .join("unikernels")
        .display()
        .to_string()
}

fn oldest_rust() -> Result<Verdict, String> {
    if !tools::has_toolchain(OLDEST_RUST) {
        return Ok(Verdict::skipped(format!(
            "toolchain {OLDEST_RUST} is not installed (rustup toolchain install {OLDEST_RUST})"
        )));
    }
    let mut build = process::command("rustup");
    build.args(["run", OLDEST_RUST, "cargo", "check", "--all-features"]);
    build.args(LIBRARIES.split_whitespace());
    let outcome = process::show(&mut build).map_err(|error| error.to_string())?;
    Ok(Verdict::of_check(&outcome))
}

/// cargo-deny over both workspaces.
fn deny(what: &str) -> Result<Verdict, String> {
    if CARGO_DENY.path().is_none() {
        return Ok(Verdict::skipped(CARGO_DENY.missing()));
    }
    for manifest in ["Cargo.toml", "unikernels/Cargo.toml"] {
        let mut deny = process::command("cargo-deny");
        deny.args([
            "--manifest-path",
            manifest,
            "--config",
            "deny.toml",
            "check",
        ]);
        deny.args(what.split(' '));
        let outcome = process::show(&mut deny).map_err(|error| error.to_string())?;
        if outcome.mentions("failed to fetch advisory database") {
            return Ok(Verdict::skipped(
                "the advisory database cannot be fetched here",
            ));
        }
        if !outcome.success {
            return Ok(Verdict::of_check(&outcome));
        }
    }
    Ok(Verdict::passed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test that is not listed here is run by nobody.
    #[test]
    fn tests_in_folders_are_found() {
        let names = integration_tests().unwrap();
        for test in ["simulator", "goodput"] {
            assert!(names.iter().any(|name| name == test), "{test}: {names:?}");
        }
        // Shared code, and a package of its own.
        for other in ["common", "packetdrill"] {
            assert!(names.iter().all(|name| name != other), "{other}: {names:?}");
        }
    }
}
