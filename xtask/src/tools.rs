//! Programs that are not part of Rust: whether they are here, and how to get them.

use std::path::PathBuf;

use crate::process;

/// A program that some step needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// What is run.
    pub(crate) program: &'static str,
    /// How it is installed.
    pub(crate) install: &'static str,
}

pub(crate) const VALGRIND: Tool = Tool {
    program: "valgrind",
    install: "apt-get install valgrind",
};

pub(crate) const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    install: "cargo install --locked cargo-deny",
};

pub(crate) const GUNGRAUN_RUNNER: Tool = Tool {
    program: "gungraun-runner",
    install: "cargo install --locked gungraun-runner --version 0.20.0",
};

pub(crate) const C_COMPILER: Tool = Tool {
    program: "cc",
    install: "apt-get install gcc libc6-dev",
};

impl Tool {
    /// Where it is, if it is.
    pub(crate) fn path(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|directory| directory.join(self.program))
            .find(|candidate| candidate.is_file())
    }

    /// What to tell somebody who lacks it.
    pub(crate) fn missing(self) -> String {
        format!("{} is not installed ({})", self.program, self.install)
    }

    /// Nothing if it is here.
    ///
    /// # Errors
    ///
    /// What is missing and how to install it.
    pub(crate) fn need(self) -> Result<(), String> {
        self.path().map(|_| ()).ok_or_else(|| self.missing())
    }
}

/// Whether rustup has `toolchain`.
pub(crate) fn has_toolchain(toolchain: &str) -> bool {
    process::quiet(process::command("rustup").args(["toolchain", "list"]))
        .is_ok_and(|outcome| outcome.lines.iter().any(|line| line.starts_with(toolchain)))
}
