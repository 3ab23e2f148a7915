//! The programs of pollwire's unikernels, written once: `unikernels/services`
//! and `unikernels/echo` boot them as guests, `examples/` runs them on Linux.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod echo;
pub mod services;
