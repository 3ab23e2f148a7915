//! The smallest image: greets, says what it knows of its machine and exits.
//!
//! `fault`, `panic`, `overflow` and `out-of-memory` show what happens when a
//! guest goes wrong; any number is the exit code.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use pollwire_guest::{ExitCode, Guest};

pollwire_guest::entry!(main);

fn main(guest: Guest) -> ExitCode {
    let words: Vec<&str> = guest.args().collect();
    pollwire_guest::println!("hello {}", words.join(" "));
    log::info!(
        "{} guest, {} MiB of memory, {} KiB of heap, {} s since 1970",
        guest.abi(),
        guest.memory_size() >> 20,
        guest.heap_size() >> 10,
        guest.wall_clock().as_secs(),
    );
    let mut random = [0_u8; 8];
    guest.random().fill(&mut random);
    log::debug!("eight random bytes: {random:02x?}");
    match words.first().copied() {
        Some("panic") => panic!("asked to"),
        Some("fault") => pollwire_guest::trap(),
        Some("overflow") => ExitCode::from(u8::from(recurse(u64::MAX) == 1)),
        Some("out-of-memory") => {
            let mut hoard: Vec<String> = Vec::new();
            loop {
                hoard.push("x".repeat(1 << 20));
            }
        }
        Some(word) => ExitCode::from(word.parse().unwrap_or(0)),
        None => ExitCode::SUCCESS,
    }
}

#[expect(unconditional_recursion, reason = "shows the stack's guard")]
fn recurse(depth: u64) -> u64 {
    core::hint::black_box(recurse(core::hint::black_box(depth - 1))) + 1
}
