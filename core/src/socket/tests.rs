//! Two hosts on a memory wire, in virtual time.

mod life;
mod traits;
mod transfer;
mod udp;
mod v6;
pub(crate) mod world;
