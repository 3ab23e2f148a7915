//! Names, races and TLS together, in virtual time: the programs' own services on
//! one host, their clients on the other, a wire between them.

mod hour;
mod json;
#[path = "../common/random.rs"]
mod random;
mod world;
