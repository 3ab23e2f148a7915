//! The machine in virtual time: what it sends, and what it makes of answers.

mod adversary;
mod bench;
mod cache;
mod datagrams;
mod streams;
