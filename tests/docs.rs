//! The pages show the code as it is.

use std::fs;
use std::path::Path;

#[test]
fn the_echo_server_of_the_readme_is_the_example() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/echo.rs");
    let shown = readme
        .split_once("```rust,no_run\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(code, _)| code)
        .expect("the README shows a program");
    let code = example.split_once("use ").map(|(_, code)| code);
    assert_eq!(shown.strip_prefix("use "), code);
}

/// The text of all sources under `folder`.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut text = String::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("a source file");
        }
    }
    text
}

#[test]
fn functions_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = sources(&root.join("core/src")) + &sources(&root.join("rings/src"));
    let page = include_str!("../ARCHITECTURE.md");
    // Code stands between every other pair of backticks.
    let functions: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| Some(code.split_once("::")?.1))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(functions.len() > 10, "the page names its functions");
    for name in functions {
        let defined = ["(", "<"].map(|end| format!("fn {name}{end}"));
        let found = defined.iter().any(|defined| text.contains(defined))
            || text.contains(&format!("{name}:"));
        assert!(found, "ARCHITECTURE.md names {name}, which is not there");
    }
}
