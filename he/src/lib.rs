#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod front;
mod history;
pub mod machine;
mod plan;
mod report;
pub mod select;

pub use config::{Config, Family};
pub use front::{ConnectError, Connected, HappyEyeballs};
pub use history::History;
pub use machine::Machine;
pub use plan::{Target, Via};
pub use report::{Attempt, Cause, Lookup, Outcome, Report};
