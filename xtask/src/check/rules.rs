//! Rules that a single file keeps.

use super::source::Source;

/// Lines after which a file should be two.
const SOFT_LINES: usize = 400;
/// Lines that no file has.
const HARD_LINES: usize = 800;

/// Marks of unfinished work, written apart so that this file has none.
const MARKS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
];

/// Folders that may hold `unsafe`; `offload` only in one file.
const UNSAFE_HOMES: [&str; 4] = ["rings/", "guest/", "tender/", "unikraft/testbed/"];
const SIMD_HOME: &str = "offload/";
/// C calls it (ADR 10).
const PLUGIN: &str = "tests/packetdrill/src/ffi.rs";
/// Tests that implement an allocator to count what it is asked for.
const COUNTING_ALLOCATOR: &str = "tests/allocations.rs";

/// What is wrong with `source`.
pub(crate) fn file(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = source.lines().count();
    if lines > HARD_LINES && !source.is_test() {
        wrong.push(format!(
            "{}: {lines} lines, at most {HARD_LINES}",
            source.path
        ));
    }
    let mut report = |number: usize, what: &str| {
        wrong.push(format!("{}:{number}: {what}", source.path));
    };
    for (number, line) in (1..).zip(source.text.lines()) {
        for mark in MARKS {
            if line.contains(mark) {
                report(
                    number,
                    &format!("{mark} stands here: finish it or open an issue"),
                );
            }
        }
        let line = line.trim_start();
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            report(
                number,
                "a bare allow: write #[expect(lint, reason = \"...\")]",
            );
        }
        if line.starts_with("#[ignore]") {
            report(number, "an ignored test without its reason");
        }
    }
    if !may_be_unsafe(&source.path) {
        for (number, line) in source.code() {
            if is_unsafe(line) {
                report(
                    number,
                    "unsafe outside rings, guest, tender, the test bed, offload's SIMD file and packetdrill's",
                );
            }
        }
    }
    if is_crate_root(source) && !source.text.contains("#![forbid(unsafe_code)]") {
        report(1, "a crate that needs no unsafe must forbid it");
    }
    wrong
}

/// What should be shorter, but need not be.
pub(crate) fn long(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| !source.is_test())
        .map(|source| (source, source.lines().count()))
        .filter(|(_, lines)| *lines > SOFT_LINES)
        .map(|(source, lines)| format!("{}: {lines} lines, aim at {SOFT_LINES}", source.path))
        .collect()
}

/// `offload` has `unsafe` in one file only.
pub(crate) fn simd_homes(sources: &[Source]) -> Option<String> {
    let homes: Vec<&str> = sources
        .iter()
        .filter(|source| source.path.starts_with(SIMD_HOME) && !source.is_test())
        .filter(|source| source.code().any(|(_, line)| is_unsafe(line)))
        .map(|source| source.path.as_str())
        .collect();
    (homes.len() > 1).then(|| format!("unsafe in several files of offload: {}", homes.join(", ")))
}

fn may_be_unsafe(path: &str) -> bool {
    UNSAFE_HOMES
        .iter()
        .chain([&SIMD_HOME])
        .any(|home| path.starts_with(home))
        || path == COUNTING_ALLOCATOR
        || path == PLUGIN
}

fn is_crate_root(source: &Source) -> bool {
    let path = &source.path;
    !may_be_unsafe(path)
        && !source.is_test()
        && (path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
}

/// Whether the word `unsafe` stands in `line` as code.
fn is_unsafe(line: &str) -> bool {
    let line = line.trim_start();
    let attribute = line.starts_with("#[") || line.starts_with("#![");
    !attribute
        && line.split(['"']).step_by(2).any(|part| {
            part.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|word| word == "unsafe")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: impl Into<String>) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn finds_what_is_forbidden() {
        for (text, count) in [
            (format!("{}: later", MARKS[0]), 1),
            (["#[allow", "(dead_code)]"].concat(), 1),
            (["#[ignore", "]"].concat(), 1),
            (["let a = unsa", "fe { b };"].concat(), 1),
            ("let a = \"unsafe\"; // unsafe".into(), 0),
            ("let a = unsafe_code;".into(), 0),
            ("x\n".repeat(800), 0),
            ("x\n".repeat(801), 1),
        ] {
            let found = file(&source("core/src/a.rs", text.clone()));
            assert_eq!(found.len(), count, "{text:?}: {found:?}");
        }
        assert_eq!(file(&source("core/src/lib.rs", "")).len(), 1);
        assert!(file(&source("rings/src/lib.rs", "unsafe { }")).is_empty());
        assert!(file(&source("core/src/tests.rs", "x\n".repeat(2000))).is_empty());
    }

    #[test]
    fn offload_has_one_home_for_simd() {
        let (first, second) = (
            source("offload/src/a.rs", "unsafe {"),
            source("offload/src/b.rs", "unsafe {"),
        );
        assert!(simd_homes(&[first, second]).is_some());
        assert!(simd_homes(&[source("offload/src/a.rs", "unsafe {")]).is_none());
    }
}
