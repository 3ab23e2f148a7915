#![no_std]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
pub mod host;

pub use pollwire_core::*;
#[cfg(feature = "dns")]
#[doc(inline)]
pub use pollwire_dns as dns;
#[cfg(feature = "he")]
#[doc(inline)]
pub use pollwire_he as he;
#[cfg(feature = "tls")]
#[doc(inline)]
pub use pollwire_tls as tls;
#[doc(inline)]
pub use {pollwire_offload as offload, pollwire_perf as perf, pollwire_rings as rings};
