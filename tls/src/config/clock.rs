//! The time by which certificates are judged.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use pollwire_core::Instant;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// What the wall clock shows, told once: from then on the monotonic clock tells
/// how far it has gone.
///
/// ```
/// use std::time::Duration;
/// use pollwire_core::Instant;
/// use pollwire_tls::WallClock;
///
/// let boot = Instant::ZERO;
/// let clock = WallClock::new(Duration::from_secs(1_767_225_600), boot);
/// assert_eq!(clock.at(boot + Duration::from_secs(60)).as_secs(), 1_767_225_660);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Unix time when the monotonic clock stood at zero.
    origin: Duration,
}

impl WallClock {
    /// `since_epoch` is the time since the Unix epoch when the monotonic clock
    /// of the loop ([`Net::now`](pollwire_core::Net::now)) shows `now`.
    #[must_use]
    pub fn new(since_epoch: Duration, now: Instant) -> Self {
        let uptime = Duration::from_nanos(now.as_nanos());
        Self {
            origin: since_epoch.saturating_sub(uptime),
        }
    }

    /// Time since the Unix epoch when the monotonic clock shows `now`.
    #[must_use]
    pub fn at(self, now: Instant) -> Duration {
        self.origin + Duration::from_nanos(now.as_nanos())
    }
}

/// The clock as rustls asks it: it stands at the beginning of the last
/// handshake.
#[derive(Debug)]
pub(crate) struct SharedClock {
    wall: WallClock,
    seconds: AtomicU64,
}

impl SharedClock {
    pub(super) fn new(wall: WallClock) -> Self {
        let seconds = AtomicU64::new(wall.origin.as_secs());
        Self { wall, seconds }
    }

    pub(crate) fn set(&self, now: Instant) {
        self.seconds
            .store(self.wall.at(now).as_secs(), Ordering::Relaxed);
    }

    pub(super) fn seconds(&self) -> u64 {
        self.seconds.load(Ordering::Relaxed)
    }
}

impl TimeProvider for SharedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.seconds(),
        )))
    }
}
