//! What a device tells: why it cannot be opened, and what happened on it.

use core::ffi::c_int;
use core::fmt;

use super::shim::VERSION;

/// Why a device could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The machine has no device of that index.
    NotAttached,
    /// Something else has it already.
    Busy,
    /// Its driver is not virtio-net.
    NotSupported,
    /// Frames of this pool are too small for it, or have too little headroom,
    /// or there are not enough.
    Pool,
    /// The shim is of another version than this crate.
    Version(u32),
    /// Unikraft's error, a positive errno.
    Platform(i32),
}

impl OpenError {
    pub(super) fn of(code: c_int) -> Self {
        match code.wrapping_neg() {
            16 => Self::Busy,
            19 => Self::NotAttached,
            95 => Self::NotSupported,
            other => Self::Platform(other),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached => f.write_str("no such network device"),
            Self::Busy => f.write_str("the network device is in use"),
            Self::NotSupported => f.write_str("the network device is not virtio-net"),
            Self::Pool => f.write_str("the pool's frames are too few or too small"),
            Self::Version(version) => {
                write!(f, "the shim has version {version}, {VERSION} is needed")
            }
            Self::Platform(errno) => write!(f, "Unikraft's error {errno}"),
        }
    }
}

impl core::error::Error for OpenError {}

/// What happened on a device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnikraftStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Of those, how many had an incomplete checksum: from the same host.
    pub rx_partial: u64,
    /// Packets dropped because they were shorter than an Ethernet header, or
    /// came in more pieces than a burst has room for.
    pub rx_invalid: u64,
    /// Packets of more than 128 bytes dropped because frames were scarce.
    pub rx_scarce: u64,
    /// Frames lost to the driver, one with each packet whose length it disliked.
    pub rx_lost: u64,
    /// Times that reception waited because no frame could take the place of a
    /// received one.
    pub rx_starved: u64,
    /// Frames that the driver has for reception now.
    pub rx_lent: usize,
    /// Of those, how many lie in the driver's ring; it can shrink, not grow.
    pub rx_posted: usize,
    /// Packets handed over for transmission.
    pub tx_packets: u64,
    /// Of those, how many had their checksum left to the device.
    pub tx_partial: u64,
    /// Of those, how many are to be segmented by the device.
    pub tx_segmented: u64,
    /// Packets dropped because they do not suit the device: too short, too
    /// long, in too many pieces, or with requests beyond its [`Caps`](crate::Caps).
    pub tx_invalid: u64,
    /// Packets that the driver refused with an error.
    pub tx_errors: u64,
    /// Pieces that the driver has for transmission now.
    pub tx_held: usize,
    /// Frames sent to itself, to get transmitted ones back.
    pub tx_reapers: u64,
    /// Sleeps.
    pub halts: u64,
}
