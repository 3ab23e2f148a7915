//! The heap: one block, which the platform finds.

use core::alloc::{GlobalAlloc, Layout};

use talc::TalcCell;
use talc::source::Manual;

struct Heap(TalcCell<Manual>);

// SAFETY: a guest has one thread, and nothing that interrupts it allocates: hvt
// delivers no interrupts, spt no signals, Unikraft's interrupts run no Rust, and
// fault handlers do not allocate.
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

/// Less than this is no heap to speak of.
pub(crate) const LEAST: usize = 64 * 1024;

/// Gives a block of memory to the allocator.
///
/// # Safety
/// Called once, with memory that nothing else uses.
pub(crate) unsafe fn claim(start: *mut u8, size: usize) -> Result<(), &'static str> {
    // SAFETY: the caller's promise.
    unsafe { HEAP.0.claim(start, size) }.ok_or("the heap could not be set up")?;
    Ok(())
}
