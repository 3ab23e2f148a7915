//! What happens when the program panics.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::{ExitCode, exit};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A panic while the message is formatted ends the guest without another.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        crate::println!("{info}");
    }
    exit::exit(ExitCode::PANIC)
}
