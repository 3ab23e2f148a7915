//! The programs of pollwire's unikernels, written once: `unikernels/services`
//! and `unikernels/echo` boot them as guests, `examples/` runs them on Linux.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod echo;
mod json;
pub mod resolve;
pub mod services;

use alloc::string::String;

/// What a program that runs once leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What to print.
    pub text: String,
    /// What to exit with.
    pub exit_code: u8,
}
