//! Frames and the rings that carry them: the pool, the handles, the bursts
//! and the back ends of [pollwire](https://docs.rs/pollwire).
//!
//! All packet memory is one [`FrameMemory`], sized by const generics and meant
//! for a `static`. A [`FramePool`] hands its slots out as [`FrameBuf`]s
//! (unique, writable), which freeze into [`FrameRef`]s (shared, read-only). A
//! frame returns to its pool when the last handle drops; nothing is copied and
//! nothing is allocated on the way.
//!
//! ```
//! use pollwire_rings::{FrameMemory, FramePool};
//!
//! static MEMORY: FrameMemory<64> = FrameMemory::new();
//! let pool = FramePool::from_static(&MEMORY).expect("taken once");
//! let mut frame = pool.alloc().expect("64 frames are free");
//! frame.extend_from_slice(b"payload");
//! frame.push_front(4).expect("headroom").copy_from_slice(b"head");
//! let shared = frame.freeze();
//! let again = shared.clone();
//! assert_eq!(&again[..], b"headpayload");
//! drop((shared, again));
//! assert_eq!(pool.available(), pool.capacity());
//! ```
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod burst;
mod device;
mod frame;
#[cfg(all(feature = "std", target_os = "linux"))]
mod host;
mod pool;
mod region;
mod scarce;
mod time;

pub mod memory;
pub mod pcap;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod seqpacket;
pub mod solo5;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod tap;
pub mod unikraft;

pub use burst::{
    RX_BURST, RX_PIECES, RxBurst, RxDrain, RxFrame, TX_PACKETS, TX_PIECES, TxBurst, TxPacket,
    TxPlace,
};
pub use device::{
    Caps, Gso, GsoKind, NetDevice, RxChecksum, RxMeta, TxChecksum, TxMeta, local_mac,
};
pub use frame::{FrameBuf, FrameRef, HeaderRoom};
pub use pool::{FrameMemory, FramePool, HEADROOM};
pub use region::{Blank, Region, TakeCell};
pub use time::{Clock, Instant};

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
