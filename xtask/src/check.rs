//! `cargo xtask check`: the limits that the house keeps and that no lint sees.

mod docs;
mod names;
mod rules;
mod source;

use crate::process::root;

/// Prints what is wrong; true when nothing is.
pub(crate) fn run() -> Result<bool, String> {
    let sources = source::all(&root())?;
    let mut wrong = Vec::new();
    for file in &sources {
        wrong.extend(rules::file(file));
    }
    wrong.extend(rules::simd_homes(&sources));
    wrong.extend(names::unused(&sources));
    wrong.extend(docs::wrong(&root())?);
    for line in &wrong {
        println!("{line}");
    }
    let long = rules::long(&sources);
    for line in &long {
        println!("note: {line}");
    }
    println!(
        "{} source files, {} of them longer than they should be; {} violations",
        sources.len(),
        long.len(),
        wrong.len()
    );
    Ok(wrong.is_empty())
}
