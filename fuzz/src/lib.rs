//! What the fuzz targets do with their bytes.
//!
//! Each target is a function of bytes that panics when it finds a fault, so
//! that `tests/fuzz_corpus.rs` of the root package runs the same code on stable
//! Rust, over the inputs that are kept in `corpus/`.

mod dns;
mod fragments;
mod frame;
mod host;
mod input;
mod parsers;
mod tcp_pair;

pub use dns::dns;
pub use fragments::fragments;
pub use input::input;
pub use parsers::parsers;
pub use tcp_pair::tcp_pair;
