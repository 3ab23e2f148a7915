//! What the fuzz targets do with their bytes.
//!
//! Each target is a function of bytes that panics when it finds a fault, so
//! that `tests/fuzz_corpus.rs` of the root package runs the same code on stable
//! Rust, over the inputs that are kept in `corpus/`.

<<<<<<< HEAD
mod fragments;
=======
mod dns;
>>>>>>> 67354a7 (fuzz: a resolver whose servers say anything; pages on the resolver and the new images)
mod frame;
mod host;
mod input;
mod parsers;
mod tcp_pair;

<<<<<<< HEAD
pub use fragments::fragments;
=======
pub use dns::dns;
>>>>>>> 67354a7 (fuzz: a resolver whose servers say anything; pages on the resolver and the new images)
pub use input::input;
pub use parsers::parsers;
pub use tcp_pair::tcp_pair;
