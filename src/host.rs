//! What a program on Linux needs beside the stack: a clock and entropy. A guest
//! has them from `pollwire-guest`.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant as StdInstant, SystemTime};

use crate::{Clock, Instant};

/// The host's monotonic clock, from zero.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: StdInstant,
}

impl MonotonicClock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: StdInstant::now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&mut self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }
}

/// 32 bytes of the kernel's entropy, for [`Config::seed`](crate::Config::seed).
///
/// # Errors
/// The kernel's, when there is no `/dev/urandom`.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Time since the Unix epoch; zero before it.
#[must_use]
pub fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
