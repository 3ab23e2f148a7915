//! Solo5 back ends: the `spt` and `hvt` tenders, without C bindings.
//!
//! [`manifest`] and [`ring`] are layouts and logic alone and run anywhere;
//! [`Spt`] and [`Hvt`] are the calls that a guest makes to its tender, and
//! [`SptDevice`] and [`HvtDevice`] the devices over them. Checked against the
//! ABI of Solo5 v0.12 (`hvt` and `spt` version 2, manifest version 1).

pub mod manifest;
pub mod ring;

#[cfg(target_arch = "x86_64")]
mod hvt;
#[cfg(target_arch = "x86_64")]
mod hypercall;
#[cfg(target_arch = "x86_64")]
mod spt;
#[cfg(target_arch = "x86_64")]
mod syscall;

#[cfg(target_arch = "x86_64")]
pub use hvt::HvtDevice;
#[cfg(target_arch = "x86_64")]
pub use hypercall::{Hvt, HvtBootInfo, NetReadError};
#[cfg(target_arch = "x86_64")]
pub use spt::SptDevice;
#[cfg(target_arch = "x86_64")]
pub use syscall::{Errno, Spt, SptBootInfo};

use crate::{Caps, FrameRef, HEADROOM};

/// What keeps a device from carrying frames, and what went wrong on its way.
/// All counts are since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solo5Stats {
    /// Frames that filled the whole buffer, so that the host may have cut them.
    pub rx_truncated: u64,
    /// Frames of more than 128 bytes dropped because frames were scarce: the last
    /// sixteenth of the pool is for what frees them.
    pub rx_scarce: u64,
    /// Reads that the host answered with an error.
    pub rx_errors: u64,
    /// Ring entries of the host that contradict the protocol and were ignored.
    pub host_violations: u64,
    /// Frames shorter than an Ethernet header or longer than the MTU allows.
    pub tx_invalid: u64,
    /// Writes that the host answered with an error.
    pub tx_errors: u64,
    /// Bytes copied to join the pieces of a packet, as neither tender takes
    /// chains.
    pub tx_joined_bytes: u64,
    /// Times the hvt ring's I/O thread had to be woken.
    pub kicks: u64,
}

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// The MTU that frames of `frame_size` bytes can receive, at most `host_mtu`.
/// One byte stays free, so that a frame that fills its buffer is known to be
/// cut.
fn usable_mtu(host_mtu: u16, frame_size: usize) -> u16 {
    let room = frame_size.saturating_sub(HEADROOM + ETHERNET + 1);
    u16::try_from(room).unwrap_or(u16::MAX).min(host_mtu)
}

/// What the tenders offer: nothing, and they take no chains.
fn caps(mac: [u8; 6], mtu: u16) -> Caps {
    let mut caps = Caps::plain(mac, mtu);
    caps.gathers = false;
    caps
}

/// Copies `pieces` one behind the other; `joined` is at least as long as they.
fn join<'a>(pieces: &[FrameRef], joined: &'a mut [u8]) -> &'a [u8] {
    let mut len = 0;
    for piece in pieces {
        if let Some(place) = joined.get_mut(len..len + piece.len()) {
            place.copy_from_slice(piece);
            len += piece.len();
        }
    }
    joined.get(..len).unwrap_or_default()
}
