//! The project's source files, read once.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the repository's root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether the file holds nothing but tests or benches.
    pub(crate) fn is_test(&self) -> bool {
        let path = &self.path;
        path.ends_with("/tests.rs")
            || path
                .split('/')
                .any(|part| matches!(part, "tests" | "benches" | "fuzz"))
    }

    /// The lines above the file's own test module, numbered from 1. Comments
    /// are cut off, so that rules about code do not see them.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .map(|(number, line)| (number, without_comment(line)))
    }

    /// The lines above the file's own test module, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut below_cfg_test = false;
        (1..).zip(self.text.lines()).take_while(move |(_, line)| {
            let ends = below_cfg_test && line.starts_with("mod ") && line.ends_with('{');
            below_cfg_test = *line == "#[cfg(test)]";
            !ends
        })
    }
}

/// `line` up to a comment. A `//` inside a string cuts too, which can hide
/// code from a rule but never accuse it.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// All Rust files below `root` that are not built or hidden.
pub(crate) fn all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in files(root, &["rs"])? {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        sources.push(Source {
            path: relative(root, &path),
            text,
        });
    }
    Ok(sources)
}

/// `path` from `root`, with forward slashes.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// All files below `root` with one of `extensions`, sorted.
pub(crate) fn files(root: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|found| extensions.iter().any(|e| found == *e))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_ends_at_the_test_module() {
        let source = Source {
            path: "core/src/a.rs".into(),
            text:
                "fn a() {} // why\n#[cfg(test)]\nuse b;\n#[cfg(test)]\nmod tests {\nfn t() {}\n}\n"
                    .into(),
        };
        let code: Vec<_> = source.code().collect();
        assert_eq!(code.len(), 4);
        assert_eq!(code[0], (1, "fn a() {} "));
    }
}
