//! Unikraft back end: uknetdev, through a shim in C.
//!
//! Unikraft's network API is C with inline functions, and structures whose
//! layout depends on the build. So the half that deals with `uk_netbuf` is C
//! (`unikraft/lib-pollwire/shim/netdev.c`), compiled within the Unikraft build,
//! and hands over one table of functions, [`Shim`]; the frames' half is
//! [`UnikraftDevice`], on this side. The module names no foreign symbol, so
//! programs without Unikraft link as before.
//!
//! **Receiving.** Up to a quarter of the pool is lent to the driver, which asks
//! the shim for buffers; the shim has them at hand and never calls into Rust.
//! Received frames are the lent ones, nothing is copied. While the pool is short,
//! packets of more than 128 bytes are dropped rather than kept, so that
//! acknowledgements come in; and when the driver has just one buffer left and
//! nothing can take its place, reception waits, for virtio-net would never refill
//! an empty ring.
//!
//! **Transmitting.** Each piece of a packet gets a descriptor of its own over
//! the frame's bytes, and the driver's header goes into a descriptor in front of
//! them: frames stay untouched, so that a segment can be under way twice. The
//! device completes checksums and segments TCP over IPv4 where the host offers
//! it. uknetdev has no burst call: each packet is one call of the driver, which
//! notifies the host as virtio sees fit.
//!
//! **Completions.** virtio-net gives transmitted frames back only when it is
//! asked to transmit the next. After 10 ms without, or when the pool is empty,
//! the shim sends a frame to the device's own address, which no bridge forwards.
//!
//! **Idle.** [`wait`](crate::NetDevice::wait) switches the receive interrupt on
//! and halts until it, or the deadline, comes. Nothing runs in the interrupt
//! handler.
//!
//! # What is not tested
//!
//! The shim and this module run in the project's tests over a driver that
//! imitates virtio-net of Unikraft 0.17 with its faults
//! (`unikraft/testbed`; `docs/backends.md` has the details). What only a Unikraft
//! machine can show: the interrupt
//! that ends a halt and the race before it, the memory barriers and cache
//! effects of a real ring, that a slot's bytes lie contiguous in physical
//! memory, and drivers other than virtio-net, which the shim refuses.

mod device;
mod lent;
mod report;
mod shim;

pub use device::UnikraftDevice;
pub use report::{OpenError, UnikraftStats};
pub use shim::{
    RX_CONTINUES, RX_PARTIAL, RX_VALID, RawCaps, RawStats, RxBuffer, RxReceived, Shim, ShimDevice,
    TX_MOST_PIECES, TX_PARTIAL, TX_TSO4, TxPiece, TxRequest, VERSION,
};
