//! A guest of Solo5's tenders, hvt and spt.

mod boot;
mod clock;
mod device;
mod fault;
mod heap;
mod note;

use pollwire_rings::solo5::{Hvt, Spt};

pub(crate) use self::boot::Machine;
pub use self::clock::GuestClock;
pub use self::device::GuestDevice;
use crate::Abi;

/// Writes on the tender's console.
pub(crate) fn write(text: &[u8]) {
    match note::abi() {
        // SAFETY: the image's note says which guest this is.
        Abi::Hvt => unsafe { Hvt::new() }.puts(text),
        // SAFETY: as above.
        _ => unsafe { Spt::new() }.puts(text),
    }
}

/// Ends the guest.
pub(crate) fn exit(code: u8) -> ! {
    let status = i32::from(code);
    match note::abi() {
        // SAFETY: the image's note says which guest this is.
        Abi::Hvt => unsafe { Hvt::new() }.halt(status),
        // SAFETY: as above.
        _ => unsafe { Spt::new() }.exit(status),
    }
}

/// Declares the program: its `main` function and the devices that it asks the
/// tender for.
///
/// `main` takes a [`Guest`](crate::Guest) and returns what
/// [`Termination`](crate::Termination) accepts. Device names have letters and
/// digits only.
///
/// ```ignore
/// pollwire_guest::entry!(main; net "service", net "management");
/// ```
#[macro_export]
macro_rules! entry {
    ($main:path $(; $(net $name:literal),+ $(,)?)?) => {
        const _: () = {
            use $crate::manifest::{Entry, Note};
            const DEVICES: &[Entry] = &[$($(Entry::net($name)),+)?];
            #[used]
            #[unsafe(link_section = ".note.solo5.manifest")]
            static MANIFEST: Note<{ DEVICES.len() }> = Note::new([$($(Entry::net($name)),+)?]);
            #[unsafe(no_mangle)]
            fn pollwire_guest_main(guest: $crate::Guest) -> $crate::ExitCode {
                $crate::Termination::report($main(guest))
            }
        };
    };
}
