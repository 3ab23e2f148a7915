//! The README shows the example as it is.

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
