//! Exit codes and how a guest ends.

use core::fmt::Debug;

use crate::platform;

/// What the tender exits with, or the virtual machine.
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
    /// The CPU faulted (hvt; on spt the host ends the process with a signal,
    /// Unikraft reports faults itself).
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
/// where, on spt the tender, on Unikraft its trap handler.
pub fn trap() -> ! {
    // SAFETY: faults, and does nothing else.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Ends the guest.
pub(crate) fn exit(code: ExitCode) -> ! {
    platform::exit(code.0)
}

/// Ends a guest whose machine lacks something.
pub(crate) fn refuse(reason: &str) -> ! {
    crate::println!("pollwire-guest: cannot boot: {reason}");
    exit(ExitCode::BOOT_REFUSED)
}
