//! The same work over pollwire and over smoltcp: two hosts in one process,
//! joined by a wire in memory, in virtual time.
//!
//! A stack takes part by implementing [`Pair`]; the work is in [`workload`] and
//! knows nothing of the stack. So both sides do the same, and what differs in
//! the counts is the stack.
//!
//! Ethernet, IPv4, MTU 1500. pollwire uses TCP timestamps (1448 bytes per
//! segment), which smoltcp does not (1460); figures are per 1460 bytes all the
//! same. The application writes into the stack's own memory and reads in place,
//! where the stack lets it. The wire copies each frame once: that copy stands
//! for the DMA of a real device, and both stacks pay it.
//!
//! pollwire does the same work over IPv6 too (1428 bytes per segment), to be
//! compared with itself over IPv4. smoltcp is built without IPv6: with it, all
//! that it does gets dearer.
#![forbid(unsafe_code)]

mod pair;
mod pollwire;
mod smoltcp;
pub mod workload;

pub use pair::{End, IpVersion, MSS, Offloads, Pair, Setup};
pub use pollwire::{Flow, PollwirePair};
pub use smoltcp::SmoltcpPair;
