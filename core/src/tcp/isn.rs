//! Initial sequence numbers (RFC 6528) and timestamp offsets.

use core::hash::Hasher;

use pollwire_rings::Instant;
use siphasher::sip::SipHasher13;

use super::seq::SeqNum;
use crate::FlowKey;

/// Keys of the boot: what nobody outside can compute from.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    isn: (u64, u64),
    timestamps: (u64, u64),
}

impl Secrets {
    pub(crate) fn new(mut next: impl FnMut() -> u64) -> Self {
        Self {
            isn: (next(), next()),
            timestamps: (next(), next()),
        }
    }

    fn hash(key: (u64, u64), flow: &FlowKey) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
        hasher.write(&flow.to_bytes());
        hasher.finish()
    }

    /// RFC 6528, 3: "ISN = M + F(localip, localport, remoteip, remoteport,
    /// secretkey)", with M a timer of 4 microseconds.
    pub(crate) fn isn(&self, now: Instant, flow: &FlowKey) -> SeqNum {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a clock modulo 2^32, by the RFC"
        )]
        let clock = (now.as_micros() / 4) as u32;
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let offset = Self::hash(self.isn, flow) as u32;
        SeqNum::new(clock.wrapping_add(offset))
    }

    /// Offset of a flow's timestamp clock (RFC 7323, 5.4: hides uptime).
    pub(crate) fn timestamp_offset(&self, flow: &FlowKey) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let offset = Self::hash(self.timestamps, flow) as u32;
        offset
    }
}
