//! Names that promise something: a drop reason that nobody raises and a counter
//! that nobody moves would tell their reader that nothing ever happens.

use super::source::Source;

/// Errors of which each must be raised by somebody. Counted enumerations, those
/// that implement `Named`, join them.
const ERRORS: [&str; 3] = ["DropReason", "ConnError", "Misuse"];

/// Declared names that no code outside their own file uses.
pub(crate) fn unused(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for name in enumerations(source) {
            for (line, variant) in variants(source, name) {
                let used = format!("{name}::{variant}");
                if !used_elsewhere(sources, source, &used) {
                    wrong.push(format!("{}:{line}: nobody uses {used}", source.path));
                }
            }
        }
    }
    wrong
}

/// The enumerations of `source` to which the rule applies.
fn enumerations(source: &Source) -> Vec<&str> {
    let counted = source.code().filter_map(|(_, line)| {
        line.trim_start()
            .strip_prefix("impl ")?
            .split_once("Named for ")?
            .1
            .split([' ', '{'])
            .next()
    });
    let declared = |name: &&str| source.code().any(|(_, line)| line.trim_end() == head(name));
    let mut names: Vec<&str> = ERRORS.into_iter().chain(counted).filter(declared).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn head(name: &str) -> String {
    format!("pub enum {name} {{")
}

/// The variants of enumeration `name`, with their lines.
fn variants<'a>(source: &'a Source, name: &str) -> Vec<(usize, &'a str)> {
    let head = head(name);
    source
        .code()
        .skip_while(move |(_, line)| line.trim_end() != head)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('}'))
        .filter(|(_, line)| line.starts_with("    ") && !line.starts_with("     "))
        .filter_map(|(number, line)| {
            let line = line.trim();
            let end = line
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(line.len());
            (end > 0).then(|| (number, &line[..end]))
        })
        .collect()
}

fn used_elsewhere(sources: &[Source], declared: &Source, name: &str) -> bool {
    sources
        .iter()
        .filter(|source| source.path != declared.path && !source.is_test())
        .any(|source| source.code().any(|(_, line)| has_word(line, name)))
}

/// Whether `word` stands in `code` and does not go on.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn finds_reasons_that_nobody_raises() {
        let declared = source(
            "core/src/error.rs",
            "pub enum DropReason {\n    /// Doc.\n    Short,\n    Shorter = 3,\n    Odd(u8),\n}\n",
        );
        let used = source(
            "core/src/ip.rs",
            "return Err(DropReason::Shorter);\n// DropReason::Short\n",
        );
        let found = unused(&[declared, used]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("DropReason::Short"));
        assert!(found[1].ends_with("DropReason::Odd"));
    }

    #[test]
    fn finds_counters_that_nobody_moves() {
        let declared = source(
            "core/src/counters.rs",
            "pub enum TcpEvent {\n    Segment,\n    Reset,\n}\n\nimpl Named for TcpEvent {\n}\n",
        );
        let used = source("core/src/tcp.rs", "self.events.inc(TcpEvent::Segment);\n");
        let found = unused(&[declared, used]);
        assert_eq!(
            found,
            ["core/src/counters.rs:3: nobody uses TcpEvent::Reset"]
        );
    }
}
