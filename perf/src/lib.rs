//! Measuring from the inside: counters, histograms and an event trace that
//! live in static memory and cost a few instructions each.
//!
//! Nothing here allocates, and every type has a `const fn new` of all zeros, so
//! a `static` of it lies in `.bss`. With the feature `std` the package also
//! builds `pollwire-perf`, a load generator for the other end of the wire.
//!
//! ```
//! use pollwire_perf::{CounterSet, Histogram, Named};
//!
//! #[derive(Clone, Copy)]
//! #[repr(usize)]
//! enum Drop {
//!     BadChecksum,
//!     NoSocket,
//! }
//!
//! impl Named for Drop {
//!     const ALL: &'static [Self] = &[Drop::BadChecksum, Drop::NoSocket];
//!     fn name(self) -> &'static str {
//!         ["bad-checksum", "no-socket"][self as usize]
//!     }
//!     fn index(self) -> usize {
//!         self as usize
//!     }
//! }
//!
//! let mut drops = CounterSet::<2>::new();
//! drops.inc(Drop::NoSocket);
//! drops.add(Drop::NoSocket, 2);
//! assert_eq!(drops.get(Drop::NoSocket), 3);
//! assert_eq!(drops.display::<Drop>().to_string(), "no-socket=3");
//!
//! let mut turns = Histogram::new();
//! (1..=1000).for_each(|nanoseconds| turns.record(nanoseconds));
//! assert_eq!((turns.count(), turns.max()), (1000, 1000));
//! assert!((985..=1000).contains(&turns.quantile(990)));
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod counter;
mod histogram;
mod trace;

pub use counter::{CounterSet, Named};
pub use histogram::Histogram;
pub use trace::{Event, EventTrace};

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
