//! How large records are made.
//!
//! A record can be opened only when all of it has come. At the beginning of a
//! connection and after idle time, when the congestion window is small, a record
//! is one segment, so that the first segment is of use at once; in bulk it is as
//! large as TLS allows, which costs least per byte.

use core::time::Duration;

use pollwire_core::Instant;

/// Bytes that are sent in records of one segment before larger ones.
const WARM_UP: usize = 64 * 1024;
/// Silence after which a connection begins anew.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pace {
    sent: usize,
    last: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            last: Instant::ZERO,
        }
    }

    /// Whether the next record may be large.
    pub(super) fn is_bulk(&mut self, now: Instant) -> bool {
        if now - self.last >= IDLE {
            self.sent = 0;
        }
        self.sent >= WARM_UP
    }

    pub(super) fn on_sent(&mut self, now: Instant, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
        self.last = now;
    }
}
