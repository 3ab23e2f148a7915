//! Why a network device cannot be had.

use core::fmt;

use pollwire_rings::unikraft::OpenError;

/// Why there is no such device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The program declares no network device of that name, or the machine has
    /// not so many.
    NotAttached,
    /// The device is there, but Unikraft does not let it start.
    Unikraft(OpenError),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached => f.write_str("no network device of that name"),
            Self::Unikraft(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeviceError {}
