//! SYN cookies (RFC 4987, 3.6): a handshake whose state the peer keeps.
//!
//! ```text
//!    31      24 23                     0
//!   +----------+------------------------+
//!   |   when   |  hash, plus MSS step   |   + a hash of the flow and the peer's ISN
//!   +----------+------------------------+
//! ```
//!
//! The initial sequence number says when it was made, in steps of 64 seconds,
//! and one of eight segment sizes. Where the peer uses timestamps, the last six
//! bits of ours carry the rest, as in Linux: its window scale, SACK and ECN. An
//! acknowledgement is believed if both hashes fit and it is at most two steps
//! old; a forged one fits once in a million tries.

use core::hash::Hasher;

use pollwire_rings::Instant;
use siphasher::sip::SipHasher24;

use super::open::Offer;
use super::seq::SeqNum;
use crate::{FlowKey, Random};

/// Seconds of a step: how long a cookie is made alike.
const STEP_SECS: u64 = 64;
/// A cookie is good in the step in which it was made and in the next.
const STEPS: u32 = 2;
/// How long after the last cookie one may still come back.
pub(crate) const LIFE_NANOS: u64 = STEPS as u64 * STEP_SECS * 1_000_000_000;

/// Segment sizes that a cookie can tell: the least, two of old dial-up and
/// IPv4's default, IPv6's default, tunnels, Ethernet with IPv6 and with IPv4,
/// jumbo frames. The peer gets the largest that it asked for.
const SEGMENT_SIZES: [u16; 8] = [48, 256, 536, 1220, 1360, 1440, 1460, 8960];

/// Bits of a timestamp that carry options.
const OPTION_BITS: u32 = 6;
const OPTIONS: u32 = (1 << OPTION_BITS) - 1;
/// In place of a window scale: none.
const NO_SCALE: u32 = 0xf;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;

/// Keys of the boot.
#[derive(Clone, Copy)]
pub(crate) struct Cookies {
    keys: [(u64, u64); 2],
}

impl Cookies {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut key = || (random.next_u64(), random.next_u64());
        Self {
            keys: [key(), key()],
        }
    }

    /// 32 bits that only this host can compute.
    fn hash(&self, which: usize, key: &FlowKey, irs: SeqNum, step: u32) -> u32 {
        let (k0, k1) = self.keys[which & 1];
        // Two rounds and four, not one and three: everybody may see as many of
        // these as he likes.
        let mut hasher = SipHasher24::new_with_keys(k0, k1);
        hasher.write(&key.to_bytes());
        hasher.write_u32(irs.raw());
        hasher.write_u32(step);
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash")]
        let hash = hasher.finish() as u32;
        hash
    }

    /// The initial sequence number that answers a SYN with number `irs`.
    pub(crate) fn make(&self, key: &FlowKey, irs: SeqNum, mss: u16, now: Instant) -> SeqNum {
        let step = step_of(now);
        let size = SEGMENT_SIZES.iter().rposition(|&size| size <= mss);
        let size = u32::try_from(size.unwrap_or(0)).unwrap_or(0);
        let low = self.hash(1, key, irs, step).wrapping_add(size) & 0x00ff_ffff;
        let base = self.hash(0, key, irs, 0);
        SeqNum::new(base.wrapping_add(step << 24).wrapping_add(low))
    }

    /// The segment size that cookie `iss` tells; `None` when it is none of ours
    /// or too old.
    pub(crate) fn check(
        &self,
        key: &FlowKey,
        irs: SeqNum,
        iss: SeqNum,
        now: Instant,
    ) -> Option<u16> {
        let base = self.hash(0, key, irs, 0);
        let cookie = iss.raw().wrapping_sub(base);
        let step = step_of(now);
        let age = step.wrapping_sub(cookie >> 24) & 0xff;
        if age >= STEPS {
            return None;
        }
        let made = step.wrapping_sub(age);
        let size = cookie.wrapping_sub(self.hash(1, key, irs, made)) & 0x00ff_ffff;
        SEGMENT_SIZES.get(size as usize).copied()
    }
}

const fn step_of(now: Instant) -> u32 {
    (now.as_nanos() / (STEP_SECS * 1_000_000_000)) as u32
}

/// What of an offer a cookie can keep.
pub(crate) fn keepable(offer: Offer) -> Offer {
    let timed = offer.timestamp.is_some();
    Offer {
        scale: offer.scale.filter(|_| timed),
        sack: offer.sack && timed,
        ecn: offer.ecn && timed,
        ..offer
    }
}

/// The clock of a flow, `clock` milliseconds, with `offer` in its last bits:
/// never ahead of the clock.
pub(crate) fn timestamp(clock: u32, offer: &Offer) -> u32 {
    let mut bits = offer.scale.map_or(NO_SCALE, u32::from) & 0xf;
    bits |= if offer.sack { SACK } else { 0 };
    bits |= if offer.ecn { ECN } else { 0 };
    let back = (clock & OPTIONS).wrapping_sub(bits) & OPTIONS;
    clock.wrapping_sub(back)
}

/// The offer that a peer's acknowledgement brings back: `mss` is the cookie's,
/// `timestamps` the peer's and the echo of `timestamp`, its offset taken off.
pub(crate) fn offer(mss: u16, timestamps: Option<(u32, u32)>) -> Offer {
    let echo = timestamps.map_or(NO_SCALE, |(_, echo)| echo);
    let scale = echo & NO_SCALE;
    Offer {
        mss,
        scale: u8::try_from(scale).ok().filter(|_| scale != NO_SCALE),
        sack: echo & SACK != 0,
        timestamp: timestamps.map(|(value, _)| value),
        ecn: echo & ECN != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey::v4(([10, 0, 0, 1], 80), ([192, 0, 2, 1], port))
    }

    fn cookies() -> Cookies {
        Cookies::new(&mut Random::new([9; 32]))
    }

    #[test]
    fn rfc4987_3_6_a_cookie_comes_back_within_two_steps() {
        let (cookies, irs) = (cookies(), SeqNum::new(77));
        let made = Instant::from_secs(1_000_000);
        let iss = cookies.make(&key(1), irs, 1460, made);
        for (later, good) in [(0, true), (127, true), (128, false), (300, false)] {
            let now = Instant::from_secs(1_000_000 + later);
            let steps = (1_000_000 + later) / 64 - 1_000_000 / 64;
            assert_eq!(steps < 2, good);
            assert_eq!(cookies.check(&key(1), irs, iss, now).is_some(), good);
        }
        assert_eq!(cookies.check(&key(1), irs, iss, made), Some(1460));
        assert_eq!(cookies.check(&key(2), irs, iss, made), None);
        assert_eq!(cookies.check(&key(1), irs + 1, iss, made), None);
        let other = Cookies::new(&mut Random::new([8; 32]));
        assert_eq!(other.check(&key(1), irs, iss, made), None);
    }

    #[test]
    fn a_segment_size_is_never_above_what_was_asked_for() {
        let (cookies, irs, now) = (cookies(), SeqNum::new(1), Instant::from_secs(5));
        for mss in [48, 100, 535, 536, 1459, 1460, 9000, u16::MAX] {
            let iss = cookies.make(&key(1), irs, mss, now);
            let told = cookies.check(&key(1), irs, iss, now).expect("ours");
            assert!(told <= mss);
        }
    }

    #[test]
    fn forged_cookies_are_rare() {
        let (cookies, irs, now) = (cookies(), SeqNum::new(1), Instant::from_secs(5));
        let mut random = Random::new([1; 32]);
        let hits = (0..200_000)
            .filter(|_| {
                let guess = SeqNum::new(random.next_u32());
                cookies.check(&key(1), irs, guess, now).is_some()
            })
            .count();
        assert!(hits <= 2, "{hits} of 200,000");
    }

    #[test]
    fn options_survive_in_the_timestamp() {
        for bits in 0..64_u32 {
            let offer = Offer {
                mss: 1460,
                scale: Some((bits & 0xf) as u8).filter(|&shift| shift < 15),
                sack: bits & 16 != 0,
                timestamp: Some(123),
                ecn: bits & 32 != 0,
            };
            for clock in [0, 5, 63, 64, 1000, u32::MAX] {
                let value = timestamp(clock, &offer);
                assert!(clock.wrapping_sub(value) < 64, "never ahead");
                assert_eq!(super::offer(1460, Some((123, value))), offer);
            }
        }
        let bare = super::offer(536, None);
        assert_eq!((bare.scale, bare.sack, bare.ecn), (None, false, false));
    }
}
