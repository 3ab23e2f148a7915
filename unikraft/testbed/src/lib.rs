//! Drives pollwire's Unikraft shim without Unikraft.
//!
//! The shim, `unikraft/lib-pollwire/shim/netdev.c`, is compiled here as it is,
//! against headers that imitate Unikraft's API and a driver that behaves as
//! virtio-net of Unikraft 0.17 does, faults included: [`Traps`] switches them.
//! Behind the driver's rings is a [`Bridge`] to any other
//! [`NetDevice`](pollwire_rings::NetDevice): one end of a memory wire, a TAP.
//! The clock is virtual, and everything belongs to the thread that made it.
//!
//! For tests only.

mod bed;
mod bridge;
mod ffi;

pub use bed::{BedConfig, BedStats, Testbed, Traps};
pub use bridge::{Bridge, BridgeStats};
pub use ffi::Vnet;
