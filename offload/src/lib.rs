//! Arithmetic that network cards do and that a stack must be able to do
//! itself: Internet checksums, segmentation and coalescing of TCP segments,
//! and the receive-side-scaling hash.
//!
//! Everything here works on bytes and lengths. There are no packet types, no
//! allocation and no I/O, so every layer above can use it.
//!
//! ```
//! use pollwire_offload::checksum::Sum;
//!
//! // An IPv4 header whose checksum field (bytes 10 and 11) is still zero.
//! let mut header = [
//!     0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
//!     0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
//! ];
//! let check = Sum::of_array(&header).finish();
//! assert_eq!(check, 0xb861);
//!
//! header[10..12].copy_from_slice(&check.to_be_bytes());
//! assert!(Sum::of_array(&header).is_valid());
//! ```
#![no_std]
#![deny(unsafe_code)]

pub mod checksum;
pub mod coalesce;
pub mod rss;
pub mod segment;

pub use checksum::{Sum, copy_and_sum, sum_chain, update_u16, update_u32};

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
