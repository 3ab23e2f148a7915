//! The platform half of the shim: `platform.c`.

unsafe extern "C" {
    /// Nanoseconds since boot; never runs backwards.
    pub(super) safe fn pollwire_uk_monotonic() -> u64;
    /// Nanoseconds since the Unix epoch.
    pub(super) safe fn pollwire_uk_wall() -> u64;
    /// Bytes of memory that the machine has.
    pub(super) safe fn pollwire_uk_memory() -> u64;
    /// The largest block that can be spared for the heap, and its size; null
    /// without one. It is the caller's for good.
    pub(super) fn pollwire_uk_heap(size: *mut usize) -> *mut u8;
    /// Writes to the console.
    pub(super) fn pollwire_uk_console(text: *const u8, len: usize);
    /// Ends the machine.
    pub(super) fn pollwire_uk_exit(code: i32) -> !;
}
