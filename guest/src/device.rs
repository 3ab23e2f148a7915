//! Why a network device cannot be had.

use core::fmt;

/// Why there is no such device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The program declares no network device of that name, or the machine has
    /// not so many.
    NotAttached,
    /// The device is there but does not start (Unikraft): what failed, and the
    /// driver's error number, negative.
    Refused(&'static str, i32),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached => f.write_str("no network device of that name is declared"),
            Self::Refused(what, error) => write!(f, "the network device: {what} ({error})"),
        }
    }
}

impl core::error::Error for DeviceError {}
