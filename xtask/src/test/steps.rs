//! The checks themselves.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::report::Verdict;
use super::{Log, Step};
use crate::image::{self, Abi};
use crate::process::{self, cargo, root};
use crate::tools::{self, CARGO_DENY, VALGRIND};

/// Lints beside those of the manifests, in every workspace.
const LINTS: &str = "-D warnings -W clippy::too_many_lines -W clippy::disallowed_methods \
                     -W clippy::disallowed_types";

const GUESTS: &str = "--manifest-path unikernels/Cargo.toml";

/// What the libraries promise to build with.
const OLDEST_RUST: &str = "1.88";

/// The libraries, which keep that promise.
const LIBRARIES: &str = "-p pollwire -p pollwire-offload -p pollwire-rings -p pollwire-core \
                         -p pollwire-perf -p pollwire-tls -p pollwire-dns -p pollwire-he";

/// What all tests are built from. One selection: another would build the
/// libraries again, with other features.
const TESTED: &str = "--workspace --all-features";

/// Checks that take minutes at most.
pub(super) fn quick() -> Result<Vec<Step>, String> {
    let members = members_tests(&root())?;
    let members = members.iter().map(|name| format!(" --test {name}"));
    Ok(vec![
        check_step("formatting", "fmt --all -- --check".into()),
        check_step(
            "formatting, unikernels",
            format!("fmt {GUESTS} --all -- --check"),
        ),
        check_step(
            "formatting, fuzz",
            "fmt --manifest-path fuzz/Cargo.toml -- --check".into(),
        ),
        own_step("house limits", &["check"]),
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
            format!("{TESTED} --lib --bins{}", members.collect::<String>()),
        ),
        tests_step(
            "unit tests, unikernels",
            // With what other packages' libraries are built already.
            format!(
                "{GUESTS} -p pollwire-apps -p pollwire-args --target-dir {}",
                process::target_dir().display()
            ),
        ),
        tests_step("doc tests", format!("{TESTED} --doc")),
    ])
}

/// Checks that take longer or need more.
pub(super) fn thorough() -> Result<Vec<Step>, String> {
    let mut steps = vec![
        Step::new("documentation", |log| {
            let mut doc = cargo("doc --workspace --no-deps --all-features");
            let outcome = log.run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
            Ok(Verdict::of_check(&outcome))
        }),
        Step::new(format!("builds with Rust {OLDEST_RUST}"), oldest_rust),
        Step::new("licences and sources", |log| {
            deny(log, "bans licenses sources")
        }),
        Step::new("advisories", |log| deny(log, "advisories")),
    ];
    steps.push(Step::new("images", |log| {
        let names = image::names()?;
        image::prepare(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (name, abi) in names
            .iter()
            .flat_map(|name| Abi::SOLO5.map(|abi| (name, abi)))
        {
            log.line(&image::build(name, abi)?.display().to_string());
        }
        Ok(Verdict::passed())
    }));
    steps.push(Step::new("program hello for Unikraft", |log| {
        let program = image::build("hello", Abi::Unikraft)?;
        log.line(&program.display().to_string());
        Ok(Verdict::passed())
    }));
    for name in integration_tests(&root())? {
        let arguments = format!("{TESTED} --test {name}");
        steps.push(tests_step(format!("tests/{name}"), arguments));
    }
    steps.push(own_step("demo", &["demo"]));
    steps.push(Step::new("instruction counts", |log| {
        if VALGRIND.path().is_none() {
            return Ok(Verdict::skipped(VALGRIND.missing()));
        }
        own_command(log, &["bench", "--gate"])
    }));
    Ok(steps)
}

/// Another command of this program.
fn own_step(name: &str, arguments: &'static [&str]) -> Step {
    Step::new(name, move |log| own_command(log, arguments))
}

fn own_command(log: &mut Log, arguments: &[&str]) -> Result<Verdict, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let outcome = log.run(process::command(program).args(arguments))?;
    Ok(Verdict::of_check(&outcome))
}

fn check_step(name: &str, arguments: String) -> Step {
    Step::new(name, move |log| {
        let outcome = log.run(&mut cargo(&arguments))?;
        Ok(Verdict::of_check(&outcome))
    })
}

/// Tests whose standard output is wanted even when they pass, since they say
/// there what they could not do.
fn tests_step(name: impl Into<String>, arguments: String) -> Step {
    Step::new(name, move |log| {
        let mut tests = cargo(&format!("test {arguments} -- --show-output"));
        let outcome = log.run(&mut tests)?;
        Ok(Verdict::of_tests(&outcome))
    })
}

/// The integration tests of the package in `folder`: files, or folders with a
/// `main.rs`.
fn integration_tests(folder: &Path) -> Result<Vec<String>, String> {
    let names = folders_and_files(&folder.join("tests"))?
        .iter()
        .filter_map(|path| test_name(path))
        .collect();
    Ok(names)
}

/// Those of the workspace's members in and below `folder`, which are not the
/// steps of their own that the root package's are.
fn members_tests(folder: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for path in folders_and_files(folder)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or(".");
        if !path.is_dir() || name.starts_with('.') || NO_MEMBERS.contains(&name) {
            continue;
        }
        if path.join("Cargo.toml").is_file() && path.join("tests").is_dir() {
            names.extend(integration_tests(&path)?);
        }
        names.extend(members_tests(&path)?);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Folders with packages outside the workspace, or with none.
const NO_MEMBERS: [&str; 4] = ["unikernels", "guest", "fuzz", "target"];

fn folders_and_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    Ok(paths)
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

fn oldest_rust(log: &mut Log) -> Result<Verdict, String> {
    if !tools::has_toolchain(OLDEST_RUST) {
        return Ok(Verdict::skipped(format!(
            "toolchain {OLDEST_RUST} is not installed (rustup toolchain install {OLDEST_RUST})"
        )));
    }
    let mut build = process::command("rustup");
    build.args(["run", OLDEST_RUST, "cargo", "check", "--all-features"]);
    build.args(LIBRARIES.split_whitespace());
    let outcome = log.run(&mut build)?;
    Ok(Verdict::of_check(&outcome))
}

/// cargo-deny over both workspaces.
fn deny(log: &mut Log, what: &str) -> Result<Verdict, String> {
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
        let outcome = log.run(&mut deny)?;
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
        let names = integration_tests(&root()).unwrap();
        for test in ["simulator", "goodput"] {
            assert!(names.iter().any(|name| name == test), "{test}: {names:?}");
        }
        let members = members_tests(&root()).unwrap();
        for test in ["bursts", "scripts", "testbed", "transfer"] {
            assert!(
                members.iter().any(|name| name == test),
                "{test}: {members:?}"
            );
        }
        assert!(
            members.iter().all(|name| !names.contains(name)),
            "{members:?}"
        );
        // Shared code, and a package of its own.
        for other in ["common", "packetdrill"] {
            assert!(names.iter().all(|name| name != other), "{other}: {names:?}");
        }
    }
}
