//! Boots a Rust program as a unikernel: a Solo5 guest, without C, or with the
//! feature `unikraft` a Unikraft application.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use pollwire_guest::{ExitCode, Guest};
//!
//! pollwire_guest::entry!(main; net "service");
//!
//! fn main(guest: Guest) -> ExitCode {
//!     pollwire_guest::println!("hello {}", guest.args().next().unwrap_or("world"));
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! One image serves both tenders of Solo5: it reads its own ABI note at boot, and
//! `cargo xtask image NAME --abi spt|hvt` writes the note. For Unikraft the same
//! source becomes one relocatable object, which `unikraft/lib-pollwire` hands to
//! Unikraft's build. What the crate gives the program:
//!
//! * a stack of 1 MiB. Under Solo5 it lies right above read-only pages, so that an
//!   overflow faults (link with `-Wl,--defsym=pollwire_stack_size=N` for another
//!   size); Unikraft's has no guard, and its size is Unikraft's configuration;
//! * a heap: under Solo5 from the end of the image to the end of memory, on
//!   Unikraft a large block of Unikraft's own;
//! * `log` output on the console, level `info` unless the boot argument
//!   `--guest.log=LEVEL` says otherwise;
//! * clocks, entropy, arguments, devices: see [`Guest`];
//! * entropy for ring, which asks `getrandom` and so libc: the two functions of
//!   libc that this takes are here, and give what the CPU gives;
//! * on hvt, a handler that prints CPU faults (Unikraft has one).
//!
//! Boot arguments that begin with `--guest.` are for this crate and hidden from
//! [`Guest::args`]: `--guest.log=off|error|warn|info|debug|trace`, and
//! `--guest.avx`, which lets an hvt guest use AVX (others always may).
//!
//! Exit codes besides the program's own: [`ExitCode::PANIC`],
//! [`ExitCode::FAULT`], [`ExitCode::BOOT_REFUSED`].
#![no_std]

extern crate alloc;

mod abi;
mod boot;
mod console;
mod critical;
mod device;
mod entropy;
mod exit;
mod heap;
mod libc_entropy;
mod memory;
mod panic;
#[cfg(not(feature = "unikraft"))]
mod solo5;
#[cfg(feature = "unikraft")]
mod unikraft;

#[cfg(not(feature = "unikraft"))]
use solo5 as platform;
#[cfg(feature = "unikraft")]
use unikraft as platform;

pub use abi::Abi;
pub use boot::Guest;
pub use console::Console;
pub use device::DeviceError;
pub use entropy::Random;
pub use exit::{ExitCode, Termination, trap};
pub use platform::{GuestClock, GuestDevice};
#[cfg(not(feature = "unikraft"))]
pub use pollwire_rings::solo5::manifest;

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        use ::core::fmt::Write as _;
        let mut console = $crate::Console::new();
        let _infallible = ::core::writeln!(console, $($argument)*);
    }};
}
