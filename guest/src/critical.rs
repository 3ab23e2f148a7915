//! Critical sections, which crates link to that keep state for several cores.

use critical_section::RawRestoreState;

struct OneCore;

critical_section::set_impl!(OneCore);

// SAFETY: a guest has one CPU and one thread, and its only interrupt-like event,
// a CPU fault, never returns: nothing can run between `acquire` and `release`
// but their caller.
unsafe impl critical_section::Impl for OneCore {
    unsafe fn acquire() -> RawRestoreState {}

    unsafe fn release(_: RawRestoreState) {}
}
