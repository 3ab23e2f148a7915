//! Sequence numbers (RFC 9293, 3.4): arithmetic modulo 2^32, no total order.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. It has no `Ord`: "less" on a circle means something only
/// between numbers less than 2^31 apart, so the comparisons have names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SeqNum(u32);

impl SeqNum {
    /// The number that stands in a header field.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The number as it stands in a header field.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Signed distance from `other` to `self`.
    #[must_use]
    #[inline]
    pub const fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// Bytes from `earlier` to `self`; 0 when `self` lies before it.
    #[must_use]
    #[inline]
    pub const fn bytes_since(self, earlier: Self) -> u32 {
        let distance = self.0.wrapping_sub(earlier.0);
        if distance > i32::MAX as u32 {
            0
        } else {
            distance
        }
    }

    /// Whether `self` lies before `other`.
    #[must_use]
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        self.distance_from(other) < 0
    }

    /// Whether `self` lies before `other` or is the same.
    #[must_use]
    #[inline]
    pub const fn at_or_before(self, other: Self) -> bool {
        self.distance_from(other) <= 0
    }

    /// Whether `self` lies after `other`.
    #[must_use]
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        self.distance_from(other) > 0
    }

    /// Whether `self` lies after `other` or is the same.
    #[must_use]
    #[inline]
    pub const fn at_or_after(self, other: Self) -> bool {
        self.distance_from(other) >= 0
    }

    /// The later of two numbers.
    #[must_use]
    #[inline]
    pub const fn later(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of two numbers.
    #[must_use]
    #[inline]
    pub const fn earlier(self, other: Self) -> Self {
        if self.after(other) { other } else { self }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn add(self, rhs: u32) -> Self {
        Self(self.0.wrapping_add(rhs))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, rhs: u32) {
        *self = *self + rhs;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn sub(self, rhs: u32) -> Self {
        Self(self.0.wrapping_sub(rhs))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNum;

    #[test]
    fn comparisons_hold_across_the_wrap() {
        let before = SeqNum::new(u32::MAX - 1);
        let after = before + 4;
        assert_eq!(after.raw(), 2);
        assert!(before.before(after) && after.after(before));
        assert!(!after.before(before) && before.at_or_before(before));
        assert_eq!(after.bytes_since(before), 4);
        assert_eq!(before.bytes_since(after), 0);
        assert_eq!(after.distance_from(before), 4);
        assert_eq!(before.later(after), after);
        assert_eq!(before.earlier(after), before);
        assert_eq!(after - 4, before);
    }
}
