//! Two hosts in one process: a resolver here, a toy DNS server there, a wire
//! between them, in virtual time.

mod follow;
mod lookups;
#[cfg(feature = "tls")]
mod tls;
mod world;
