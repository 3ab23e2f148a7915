//! The monotonic clock.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use pollwire_rings::solo5::Spt;
use pollwire_rings::{Clock, Instant};

use super::note;
use crate::Abi;

/// Nanoseconds per tick of the time-stamp counter, times 2^32 (hvt).
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The counter at boot (hvt).
static ORIGIN: AtomicU64 = AtomicU64::new(0);

/// Monotonic time: since boot on hvt, since the host's boot on spt.
#[derive(Clone, Copy, Debug)]
pub struct GuestClock {
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Tsc { scale: u64, origin: u64 },
    Host(Spt),
}

/// Tells the clock of an hvt guest how fast the time-stamp counter runs.
pub(crate) fn calibrate(hertz: u64) {
    let scale = (1_000_000_000_u128 << 32) / u128::from(hertz.max(1));
    SCALE.store(u64::try_from(scale).unwrap_or(u64::MAX), Ordering::Relaxed);
    ORIGIN.store(ticks(), Ordering::Relaxed);
}

impl GuestClock {
    pub(crate) fn new() -> Self {
        let source = match note::abi() {
            Abi::Hvt => Source::Tsc {
                scale: SCALE.load(Ordering::Relaxed),
                origin: ORIGIN.load(Ordering::Relaxed),
            },
            // SAFETY: the image's note says that this is an spt guest.
            _ => Source::Host(unsafe { Spt::new() }),
        };
        Self { source }
    }
}

impl Clock for GuestClock {
    fn now(&mut self) -> Instant {
        match self.source {
            Source::Tsc { scale, origin } => {
                let elapsed = u128::from(ticks().saturating_sub(origin));
                let nanos = (elapsed * u128::from(scale)) >> 32;
                Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            Source::Host(spt) => spt.monotonic_clock(),
        }
    }
}

/// Solo5 demands an invariant counter of the host, and a guest has one CPU.
fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and nothing disables it here.
    unsafe { _rdtsc() }
}
