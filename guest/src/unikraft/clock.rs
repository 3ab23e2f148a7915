//! The monotonic clock.

use pollwire_rings::{Clock, Instant};

use super::shim;

/// Monotonic time since boot, as Unikraft's platform tells it.
#[derive(Clone, Copy, Debug)]
pub struct GuestClock;

impl GuestClock {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl Clock for GuestClock {
    fn now(&mut self) -> Instant {
        Instant::from_nanos(shim::pollwire_uk_monotonic())
    }
}
