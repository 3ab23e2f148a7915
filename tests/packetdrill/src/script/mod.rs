//! packetdrill's script language: what of it our own scripts use.
//!
//! A script is a list of events, each with a time: packets that come (`<`) and
//! that must go (`>`), system calls, and assertions on `TCP_INFO`. The language
//! is described with [packetdrill](https://github.com/google/packetdrill); the
//! README beside this crate says what is not supported here.

mod event;
mod lexer;
mod parser;
mod runner;
mod symbols;
mod syscall;
mod wire;

pub use runner::{Failure, run};
