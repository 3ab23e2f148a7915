//! The fuzz targets on stable Rust: every input that is kept in `fuzz/corpus`,
//! and as many from a seed as take a few seconds.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own for the fuzzer")]
mod targets;

#[path = "common/random.rs"]
mod random;

use std::fmt::Display;
use std::fs;
use std::path::Path;

use random::Random;

/// An input at work: says which one it was when the target panics, and nothing
/// otherwise, since there are many.
struct Input<'a>(&'a dyn Display);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed on {}", self.0);
        }
    }
}

/// Runs `target` over the inputs kept for `name`, then over `count` made ones.
fn replay(name: &str, target: fn(&[u8]), count: u64, longest: u64) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut kept: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "{} is empty", directory.display());
    for path in &kept {
        let _input = Input(&path.display());
        target(&fs::read(path).unwrap());
    }
    for seed in 0..count {
        let _input = Input(&format_args!("seed {seed}"));
        let mut random = Random::new(seed);
        let len = random.next_u64() % longest;
        let bytes: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
        target(&bytes);
    }
}

#[test]
fn dns() {
    replay("dns", targets::dns, 20_000, 400);
}

#[test]
fn parsers() {
    replay("parsers", targets::parsers, 100_000, 60);
}

#[test]
fn input() {
    replay("input", targets::input, 2000, 3000);
}

#[test]
fn fragments() {
    replay("fragments", targets::fragments, 3000, 600);
}

#[test]
fn tcp_pair() {
    replay("tcp_pair", targets::tcp_pair, 2000, 2000);
}
