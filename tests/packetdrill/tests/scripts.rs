//! Runs our own scripts, each by its name.

use std::fs;
use std::path::Path;

use pollwire_packetdrill::script;

#[test]
fn every_script_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "pkt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "where are the scripts?");
    let mut failed = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        if let Err(failure) = script::run(&text) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            failed.push(format!("{name}, {failure}"));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}
