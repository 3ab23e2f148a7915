//! A guest that is linked into a Unikraft image.
//!
//! The C shim in `unikraft/lib-pollwire/shim` brings what this asks for;
//! `pollwire_uk.h` there is the contract.

mod boot;
mod clock;
mod device;
mod shim;

pub(crate) use self::boot::Machine;
pub use self::clock::GuestClock;
pub use self::device::GuestDevice;

/// Writes on Unikraft's consoles.
pub(crate) fn write(text: &[u8]) {
    // SAFETY: the shim reads so many bytes, and keeps none.
    unsafe { shim::pollwire_uk_console(text.as_ptr(), text.len()) }
}

/// Ends the machine.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: takes any number, and does not return.
    unsafe { shim::pollwire_uk_exit(i32::from(code)) }
}

/// Declares the program: its `main` function and its network devices, in the
/// order in which the machine has them.
///
/// `main` takes a [`Guest`](crate::Guest) and returns what
/// [`Termination`](crate::Termination) accepts.
///
/// ```ignore
/// pollwire_guest::entry!(main; net "service", net "management");
/// ```
#[macro_export]
macro_rules! entry {
    ($main:path $(; $(net $name:literal),+ $(,)?)?) => {
        const _: () = {
            #[unsafe(no_mangle)]
            static POLLWIRE_GUEST_DEVICES: &[&str] = &[$($($name),+)?];
            #[unsafe(no_mangle)]
            fn pollwire_guest_main(guest: $crate::Guest) -> $crate::ExitCode {
                $crate::Termination::report($main(guest))
            }
        };
    };
}
