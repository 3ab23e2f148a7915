//! Initial sequence numbers (RFC 6528), timestamp offsets, flow labels (RFC 6437).

use pollwire_rings::Instant;

use super::coarse::millis;
use super::seq::SeqNum;
use crate::FlowKey;

/// Keys of the boot: what nobody outside can compute from.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    key: (u64, u64),
    /// Of flow labels alone: those are seen by everybody on the way.
    labels: (u64, u64),
}

/// What a flow's numbers begin with. Both are halves of one keyed hash: whoever
/// sees one learns nothing of the other.
#[derive(Clone, Copy)]
pub(crate) struct Offsets {
    /// Of its sequence numbers.
    isn: u32,
    /// Of its timestamp clock (RFC 7323, 5.4: hides uptime).
    pub(crate) timestamps: u32,
}

impl Secrets {
    pub(crate) fn new(mut next: impl FnMut() -> u64) -> Self {
        Self {
            key: (next(), next()),
            labels: (next(), next()),
        }
    }

    /// The label of the packets that this host sends in the flow with this key;
    /// 0 for IPv4, which has none.
    ///
    /// RFC 6437, 3: one value for all packets of a flow, evenly spread over flows,
    /// not to be guessed, and not zero, which means that there is none. Records of
    /// connections have no place for it: it is worked out wherever it is needed.
    pub(crate) fn flow_label(&self, flow: &FlowKey) -> u32 {
        if flow.is_v4() {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "20 bits are wanted")]
        let label = flow.hash_under(self.labels) as u32 & 0xf_ffff;
        label.max(1)
    }

    /// What the numbers of the flow with this key begin with.
    pub(crate) fn offsets(&self, flow: &FlowKey) -> Offsets {
        let hash = flow.hash_under(self.key);
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let isn = hash as u32;
        Offsets {
            isn,
            timestamps: (hash >> 32) as u32,
        }
    }
}

impl Offsets {
    /// RFC 6528, 3: "ISN = M + F(localip, localport, remoteip, remoteport,
    /// secretkey)", with M a timer of 4 microseconds.
    pub(crate) fn isn(self, now: Instant) -> SeqNum {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a clock modulo 2^32, by the RFC"
        )]
        let clock = (now.as_micros() / 4) as u32;
        SeqNum::new(clock.wrapping_add(self.isn))
    }

    /// The value of the flow's timestamp clock.
    pub(crate) fn timestamp(self, now: Instant) -> u32 {
        millis(now).wrapping_add(self.timestamps)
    }
}
