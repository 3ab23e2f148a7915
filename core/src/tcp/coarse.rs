//! Times that need little precision, in little space.

use pollwire_rings::Instant;

/// Microseconds, modulo 2^32: 71 minutes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a clock modulo 2^32")]
pub(crate) const fn micros(now: Instant) -> u32 {
    now.as_micros() as u32
}

/// Milliseconds, modulo 2^32: 49 days. The clock of TCP's timestamps, without
/// a flow's offset.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a clock modulo 2^32")]
pub(crate) const fn millis(now: Instant) -> u32 {
    now.as_millis() as u32
}

/// A time in units of 2^`SHIFT` nanoseconds, modulo 2^32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coarse<const SHIFT: u32>(u32);

/// To about a second; an age is right for 146 years.
pub(crate) type Second = Coarse<30>;
/// To about a millisecond; an age is right for 52 days.
pub(crate) type Millisecond = Coarse<20>;

impl<const SHIFT: u32> Coarse<SHIFT> {
    /// All-zero: no time, or the clock's first unit.
    pub(crate) const ZERO: Self = Self(0);

    /// This time, rounded down.
    #[inline(always)]
    pub(crate) fn of(now: Instant) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a clock modulo 2^32")]
        Self((now.as_nanos() >> SHIFT) as u32)
    }

    /// Whether this is later than `other`; both within half the range.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds from then to `now`, to a unit.
    pub(crate) fn nanos_to(self, now: Instant) -> u64 {
        u64::from(Self::of(now).0.wrapping_sub(self.0)) << SHIFT
    }
}
