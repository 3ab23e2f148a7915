//! The real shim and the real back end, pollwire above them, and a pollwire
//! stack on the other end of a wire; the driver between has virtio-net's faults.

mod device;
mod endurance;
mod random;
mod runtime;
mod scarce;
mod table;
#[cfg(target_os = "linux")]
mod tap;
mod traffic;
mod world;
