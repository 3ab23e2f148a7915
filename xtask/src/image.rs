//! Building unikernel images.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use crate::process::{self, cargo, root, target_dir};
use crate::tools;

/// Which tender an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// A process under seccomp: `solo5-spt`.
    Spt,
    /// A virtual machine: `solo5-hvt`.
    Hvt,
}

impl Abi {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Spt, Self::Hvt];

    /// Its name on command lines and in file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spt => "spt",
            Self::Hvt => "hvt",
        }
    }
}

impl FromStr for Abi {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|abi| abi.name() == text)
            .ok_or_else(|| format!("{text:?} is neither spt nor hvt"))
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

/// Builds image `name` for `abi`; returns where it lies.
pub(crate) fn build(name: &str, abi: Abi) -> Result<PathBuf, String> {
    tools::C_COMPILER.need()?;
    let known = names()?;
    if !known.iter().any(|known| known == name) {
        return Err(format!(
            "there is no image {name:?}; there are: {}",
            known.join(", ")
        ));
    }
    let guests = target_dir().join("unikernels");
    process::succeed(
        cargo("build --release --manifest-path unikernels/Cargo.toml --package")
            .arg(name)
            .arg("--target-dir")
            .arg(&guests),
    )?;
    let tender = tender()?;
    let images = target_dir().join("images");
    fs::create_dir_all(&images).map_err(|error| format!("{}: {error}", images.display()))?;
    let image = images.join(format!("{name}.{}", abi.name()));
    process::succeed(
        process::command(tender)
            .args(["set-abi", abi.name()])
            .arg(guests.join("release").join(name))
            .arg(&image),
    )?;
    Ok(image)
}

/// Builds the bundled tender; returns where it lies.
pub(crate) fn tender() -> Result<PathBuf, String> {
    process::succeed(&mut cargo("build --package pollwire-tender"))?;
    Ok(target_dir().join("debug/pollwire-tender"))
}
