//! From the shim's `main` to the program's.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};

use pollwire_rings::FramePool;

use super::{GuestDevice, shim};
use crate::boot::pollwire_guest_main;
use crate::heap::{self, LEAST};
use crate::{Abi, DeviceError, Guest, exit};

unsafe extern "Rust" {
    /// Defined by [`entry!`](crate::entry) in the program.
    safe static POLLWIRE_GUEST_DEVICES: &'static [&'static str];
}

/// Called by the shim's `main`, with what Unikraft gave that.
///
/// # Safety
/// Called once, with C's arguments of `main`, which stay as they are.
#[unsafe(no_mangle)]
unsafe extern "C" fn pollwire_uk_main(argc: c_int, argv: *const *const c_char) -> ! {
    // SAFETY: the caller's promise.
    match unsafe { boot(argc, argv) } {
        Ok(guest) => exit::exit(pollwire_guest_main(guest)),
        Err(reason) => exit::refuse(reason),
    }
}

/// # Safety
/// As for [`pollwire_uk_main`].
unsafe fn boot(argc: c_int, argv: *const *const c_char) -> Result<Guest, &'static str> {
    let mut heap_size = 0;
    // SAFETY: writes one number.
    let start = unsafe { shim::pollwire_uk_heap(&raw mut heap_size) };
    if start.is_null() || heap_size < LEAST {
        return Err("no memory for a heap: give the machine more");
    }
    // SAFETY: first and only call, with a block that is this guest's for good.
    unsafe { heap::claim(start, heap_size) }?;
    let mut words = Vec::new();
    // The first is the program's name.
    for at in 1..usize::try_from(argc).unwrap_or(0) {
        // SAFETY: the caller's promise: so many pointers to terminated text.
        let word: &'static CStr = unsafe { CStr::from_ptr(argv.add(at).read()) };
        words.push(word.to_str().map_err(|_| "an argument is not UTF-8")?);
    }
    Guest::boot(Machine, words.into_iter(), heap_size)
}

/// Unikraft's side of a [`Guest`].
#[derive(Debug)]
pub(crate) struct Machine;

impl Machine {
    pub(crate) fn abi(&self) -> Abi {
        Abi::Unikraft
    }

    /// Unikraft enables AVX at boot where the CPU has it.
    pub(crate) fn enable_avx(&self) -> Result<(), &'static str> {
        Ok(())
    }

    pub(crate) fn net(&self, name: &str, pool: &FramePool) -> Result<GuestDevice, DeviceError> {
        let index = POLLWIRE_GUEST_DEVICES
            .iter()
            .position(|&known| known == name);
        let index = index.and_then(|index| u32::try_from(index).ok());
        GuestDevice::open(index.ok_or(DeviceError::NotAttached)?, pool)
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn wall_clock(&self) -> u64 {
        shim::pollwire_uk_wall()
    }

    pub(crate) fn memory_size(&self) -> u64 {
        shim::pollwire_uk_memory()
    }
}
