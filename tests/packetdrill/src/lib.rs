#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod call;
mod engine;
mod errno;
#[expect(unsafe_code, reason = "C calls, and hands pointers over: ADR 10")]
pub mod ffi;
mod host;
mod info;
mod link;
pub mod script;
mod settings;
mod socket;
mod sockopt;

pub use call::{Call, PollItem};
pub use engine::{Engine, Sent};
pub use errno::{Answer, Errno};
pub use settings::{ClockMode, Settings};
