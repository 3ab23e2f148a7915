//! The two functions of libc that `getrandom` 0.2 calls, and so ring: entropy
//! for TLS comes from the same source as the guest's own.
//!
//! `getrandom` is built with `linux_disable_fallback`: it makes the system call
//! or fails, and reads no file.

use core::ffi::{c_int, c_long};
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::entropy;

/// Linux's number of `getrandom`.
const GETRANDOM: c_long = 318;
/// No such system call.
const ENOSYS: c_int = 38;
/// The hardware failed.
const EIO: c_int = 5;

/// The guest has one thread.
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// # Safety
/// libc's `syscall`. Its arguments are variable in C; those of integer kind are
/// passed in the same registers either way.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    buffer: *mut u8,
    length: usize,
    _flags: usize,
) -> c_long {
    if number != GETRANDOM {
        ERRNO.store(ENOSYS, Ordering::Relaxed);
        return -1;
    }
    // SAFETY: the caller gives `length` bytes to write; zeroes make them
    // initialised.
    let bytes = unsafe {
        ptr::write_bytes(buffer, 0, length);
        slice::from_raw_parts_mut(buffer, length)
    };
    match entropy::seeded() {
        Ok(mut random) => {
            random.fill(bytes);
            c_long::try_from(length).unwrap_or(c_long::MAX)
        }
        Err(_) => {
            ERRNO.store(EIO, Ordering::Relaxed);
            -1
        }
    }
}

/// libc's place of `errno`.
#[unsafe(no_mangle)]
extern "C" fn __errno_location() -> *mut c_int {
    ERRNO.as_ptr()
}
