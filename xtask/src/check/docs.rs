//! What the pages say must be true: commands exist, links lead somewhere, and
//! no page or script names a place on somebody's machine.

use std::fs;
use std::path::Path;

use super::source::{files, relative};

/// The commands of this program.
const COMMANDS: [&str; 6] = ["demo", "test", "image", "run", "bench", "check"];
/// Beginnings of paths that exist on one machine only, written apart.
const PRIVATE: [&str; 3] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
];

/// What is wrong in pages, manifests and scripts.
pub(crate) fn wrong(root: &Path) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for path in files(root, &["md", "toml", "sh", "rs", "yml"])? {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = relative(root, &path);
        let page = path.extension().is_some_and(|extension| extension == "md");
        for (number, line) in (1..).zip(text.lines()) {
            let mut found = private(line);
            if page {
                found.extend(command(root, line));
                found.extend(links(path.parent().unwrap_or(root), line));
            }
            wrong.extend(
                found
                    .into_iter()
                    .map(|what| format!("{name}:{number}: {what}")),
            );
        }
    }
    Ok(wrong)
}

fn private(line: &str) -> Vec<String> {
    PRIVATE
        .iter()
        .filter(|path| {
            line.match_indices(**path).any(|(at, _)| {
                // Only the beginning of a path: a folder of that name may lie deeper.
                !line[..at]
                    .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'))
            })
        })
        .map(|path| format!("{path} is a place on one machine"))
        .collect()
}

/// A command that `line` tells its reader to run, and that does not exist.
fn command(root: &Path, line: &str) -> Option<String> {
    let (_, rest) = line.split_once("cargo ")?;
    let words: Vec<&str> = rest.split([' ', '`', '#', ',', ';', ')']).collect();
    match words.as_slice() {
        ["xtask", "image", name, ..] if is_name(name) => {
            let image = root.join("unikernels").join(name);
            (!image.is_dir()).then(|| format!("there is no image {name}"))
        }
        ["xtask", name, ..] if is_name(name) => {
            (!COMMANDS.contains(name)).then(|| format!("there is no command cargo xtask {name}"))
        }
        words => {
            let at = words.iter().position(|word| *word == "--example")?;
            let name = words.get(at + 1)?;
            let found = ["", "offload", "rings", "core", "perf"]
                .iter()
                .any(|package| {
                    let examples = root.join(package).join("examples");
                    examples.join(format!("{name}.rs")).is_file() || examples.join(name).is_dir()
                });
            (!found).then(|| format!("there is no example {name}"))
        }
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Relative links of `line` that lead nowhere.
fn links(directory: &Path, line: &str) -> Vec<String> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .filter(|target| !directory.join(target).exists())
        .map(|target| format!("the link to {target} leads nowhere"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::root;

    #[test]
    fn finds_commands_that_do_not_exist() {
        assert!(command(&root(), "run `cargo xtask test --quick` first").is_none());
        assert!(command(&root(), "cargo xtask demo").is_none());
        assert!(command(&root(), "cargo xtask dance").is_some());
        assert!(command(&root(), "cargo xtask image nothing --abi spt").is_some());
        assert!(command(&root(), "cargo run --example nothing -- --tap=tap0").is_some());
        assert!(command(&root(), "cargo xtask image NAME --abi spt").is_none());
    }

    #[test]
    fn finds_links_that_lead_nowhere() {
        assert!(
            links(
                &root(),
                "[a](LICENSE-MIT) [b](https://example.org) [c](#here)"
            )
            .is_empty()
        );
        assert_eq!(links(&root(), "[a](nowhere.md#part)").len(), 1);
    }

    #[test]
    fn finds_private_places() {
        assert_eq!(private(&format!("look into {}me", PRIVATE[0])).len(), 1);
        assert!(private(&format!("a{}b", PRIVATE[2])).is_empty());
    }
}
