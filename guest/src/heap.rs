//! The heap: everything from the end of the image to the end of memory.

use core::alloc::{GlobalAlloc, Layout};

use talc::TalcCell;
use talc::source::Manual;

/// Left free at the very end: the tenders refuse any I/O that touches the last
/// byte of memory.
const TAIL: usize = 4096;
/// Less than this is no heap to speak of.
const LEAST: usize = 64 * 1024;

struct Heap(TalcCell<Manual>);

// SAFETY: a guest has one thread, and nothing interrupts it: hvt delivers no
// interrupts, spt no signals, and the fault handler does not allocate.
unsafe impl Sync for Heap {}

// SAFETY: forwards to talc, which upholds the contract.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap(TalcCell::new(Manual));

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
    unsafe { HEAP.0.claim(start, size) }.ok_or("the heap could not be set up")?;
    Ok(size)
}
