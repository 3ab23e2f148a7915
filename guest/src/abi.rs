//! What a guest can run on.

use core::fmt;

/// What runs the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// Solo5, as a virtual machine.
    Hvt,
    /// Solo5, as a process under a system-call filter.
    Spt,
    /// Unikraft, linked into the image.
    Unikraft,
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hvt => "hvt",
            Self::Spt => "spt",
            Self::Unikraft => "unikraft",
        })
    }
}
