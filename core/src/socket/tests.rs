//! Two hosts on a memory wire, in virtual time.

mod life;
mod traits;
mod transfer;
mod udp;
pub(crate) mod world;
