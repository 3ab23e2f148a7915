//! Exit codes and how a guest ends.

use core::fmt::Debug;

use pollwire_rings::solo5::{Hvt, Spt};

use crate::Abi;

/// What the tender exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(u8);

impl ExitCode {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something failed.
    pub const FAILURE: Self = Self(1);
    /// The arguments were wrong (`EX_USAGE`).
    pub const USAGE: Self = Self(64);
    /// The program panicked.
    pub const PANIC: Self = Self(101);
    /// The CPU faulted (hvt; on spt the host ends the process with a signal).
    pub const FAULT: Self = Self(102);
    /// The machine lacks what a guest needs.
    pub const BOOT_REFUSED: Self = Self(103);
}

impl From<u8> for ExitCode {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

/// What `main` may return.
pub trait Termination {
    /// Its exit code.
    fn report(self) -> ExitCode;
}

impl Termination for () {
    fn report(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Termination for ExitCode {
    fn report(self) -> ExitCode {
        self
    }
}

impl<T: Termination, E: Debug> Termination for Result<T, E> {
    fn report(self) -> ExitCode {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::println!("Error: {error:?}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Ends the guest with an invalid instruction: on hvt the fault handler says
/// where, on spt the tender.
pub fn trap() -> ! {
    // SAFETY: faults, and does nothing else.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Ends the guest.
pub(crate) fn exit(code: ExitCode) -> ! {
    let status = i32::from(code.0);
    match Abi::of_image() {
        // SAFETY: the image's note says which guest this is.
        Abi::Hvt => unsafe { Hvt::new() }.halt(status),
        // SAFETY: as above.
        Abi::Spt => unsafe { Spt::new() }.exit(status),
    }
}
