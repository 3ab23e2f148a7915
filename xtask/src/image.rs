//! Building unikernel images.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use crate::process::{self, cargo, root, target_dir};
use crate::tools;

/// What an image runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// A process under seccomp: `solo5-spt`.
    Spt,
    /// A virtual machine: `solo5-hvt`.
    Hvt,
    /// A virtual machine with Unikraft in it.
    Unikraft,
}

impl Abi {
    /// Those of Solo5's tenders.
    pub(crate) const SOLO5: [Self; 2] = [Self::Spt, Self::Hvt];
    /// All.
    const ALL: [Self; 3] = [Self::Spt, Self::Hvt, Self::Unikraft];

    /// Its name on command lines and in file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spt => "spt",
            Self::Hvt => "hvt",
            Self::Unikraft => "unikraft",
        }
    }
}

impl FromStr for Abi {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|abi| abi.name() == text)
            .ok_or_else(|| format!("{text:?} is none of spt, hvt and unikraft"))
    }
}

/// The images that can be built: the programs in `unikernels/`.
pub(crate) fn names() -> Result<Vec<String>, String> {
    let directory = root().join("unikernels");
    let entries =
        fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("src/main.rs").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Builds image `name` for `abi`; returns where it lies. For Unikraft it is the
/// program alone, one relocatable object: Unikraft's build makes the image of
/// it, by means of `unikraft/lib-pollwire`.
pub(crate) fn build(name: &str, abi: Abi) -> Result<PathBuf, String> {
    tools::C_COMPILER.need()?;
    let known = names()?;
    if !known.iter().any(|known| known == name) {
        return Err(format!(
            "there is no image {name:?}; there are: {}",
            known.join(", ")
        ));
    }
    fs::create_dir_all(folder()).map_err(|error| format!("{}: {error}", folder().display()))?;
    match abi {
        Abi::Spt | Abi::Hvt => solo5(name, abi),
        Abi::Unikraft => object(name),
    }
}

/// Where image `name` for `abi` lies once it is built.
pub(crate) fn path(name: &str, abi: Abi) -> PathBuf {
    folder().join(format!("{name}.{}", abi.name()))
}

fn folder() -> PathBuf {
    target_dir().join("images")
}

fn solo5(name: &str, abi: Abi) -> Result<PathBuf, String> {
    let program = program(name, "unikernels", &[])?;
    let image = path(name, abi);
    process::succeed(
        process::command(tender()?)
            .args(["set-abi", abi.name()])
            .arg(program)
            .arg(&image),
    )?;
    Ok(image)
}

fn object(name: &str) -> Result<PathBuf, String> {
    let features = ["--features", "pollwire-guest/unikraft"];
    let program = program(name, "unikernels-unikraft", &features)?;
    let object = folder().join(format!("{name}.unikraft.o"));
    fs::copy(&program, &object).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(object)
}

/// Builds what images `names` of Solo5 are made of, at once: that takes less time
/// than one after the other.
pub(crate) fn prepare(names: &[&str]) -> Result<(), String> {
    tools::C_COMPILER.need()?;
    let packages = names.iter().flat_map(|name| ["--package", name]);
    process::succeed(
        cargo("build --release --manifest-path unikernels/Cargo.toml")
            .args(packages)
            .arg("--target-dir")
            .arg(target_dir().join("unikernels")),
    )
}

/// Builds program `name` in `folder` of the target directory.
fn program(name: &str, folder: &str, options: &[&str]) -> Result<PathBuf, String> {
    let guests = target_dir().join(folder);
    process::succeed(
        cargo("build --release --manifest-path unikernels/Cargo.toml --package")
            .arg(name)
            .arg("--target-dir")
            .arg(&guests)
            .args(options),
    )?;
    Ok(guests.join("release").join(name))
}

/// Builds the bundled tender; returns where it lies.
pub(crate) fn tender() -> Result<PathBuf, String> {
    process::succeed(&mut cargo("build --package pollwire-tender"))?;
    Ok(target_dir().join("debug/pollwire-tender"))
}
