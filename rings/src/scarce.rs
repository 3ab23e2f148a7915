//! Which packets are worth a frame when there are few.
//!
//! Frames come back when peers acknowledge what waits to be sent again. So if
//! received data took the last of them, no acknowledgement could come in any more,
//! and everything would stand still for good. Data that is dropped is sent again.

use crate::FramePool;

/// Longest packet that is taken in while frames are scarce: an acknowledgement
/// with all its options over IPv6 has 114 bytes, an ARP packet 60.
pub(crate) const SMALL: usize = 128;

/// Whether the pool, and the `spare` frames that a device would give back, are no
/// more than the sixteenth that the stack keeps for headers and control packets.
#[inline]
pub(crate) fn is_short(pool: &FramePool, spare: usize) -> bool {
    pool.available() + spare <= pool.capacity() / 16
}

/// Whether a packet of `len` bytes is better dropped than kept, when `spare` frames
/// would be left beside those of the pool.
#[inline]
pub(crate) fn is_unwelcome(pool: &FramePool, spare: usize, len: usize) -> bool {
    len > SMALL && is_short(pool, spare)
}
