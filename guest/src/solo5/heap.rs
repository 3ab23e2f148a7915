//! The heap: everything from the end of the image to the end of memory.

use crate::heap::{LEAST, claim};

/// Left free at the very end: the tenders refuse any I/O that touches the last
/// byte of memory.
const TAIL: usize = 4096;

unsafe extern "C" {
    /// End of the image, from the linker script.
    static mut _end: u8;
}

/// Gives all memory behind the image to the allocator and returns its size.
///
/// # Safety
/// Called once, with the true size of guest memory.
pub(crate) unsafe fn claim_rest_of_memory(memory_size: u64) -> Result<usize, &'static str> {
    let start = &raw mut _end;
    let too_small = "memory ends before the image does: give it more with --mem=MB";
    let end = usize::try_from(memory_size).map_err(|_| too_small)?;
    let size = end
        .checked_sub(start.addr() + TAIL)
        .filter(|&size| size >= LEAST)
        .ok_or(too_small)?;
    // SAFETY: the range starts behind the image, ends before the end of memory,
    // and nothing else uses it: the stack lies within the image.
    unsafe { claim(start, size) }?;
    Ok(size)
}
