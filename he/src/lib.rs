#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod front;
mod history;
pub mod machine;
mod report;
pub mod select;

pub use front::{ConnectError, Connected, HappyEyeballs};
pub use history::History;
pub use machine::{Config, Family, Machine};
pub use report::{Attempt, Cause, Lookup, Outcome, Report};
