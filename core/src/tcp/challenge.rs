//! How many challenge ACKs a host sends in all (RFC 5961, 7).

use pollwire_rings::Instant;

use crate::Random;

/// Challenge ACKs per second, on average.
const PER_SECOND: u32 = 1000;
const SECOND_NANOS: u64 = 1_000_000_000;

/// A budget that is renewed each second.
///
/// RFC 5961, 7, asks for a limit. A limit that is known and shared is a side
/// channel: whoever uses it up on a connection of his own sees whether a forged
/// segment hit somebody else's (CVE-2016-5696). So each second's budget is
/// random, as in Linux, and each connection has a limit of its own as well.
#[derive(Debug, Default)]
pub(crate) struct ChallengeLimit {
    renewed_at: Instant,
    left: u32,
}

impl ChallengeLimit {
    /// Whether a challenge ACK may go out now; counts it.
    pub(crate) fn allow(&mut self, now: Instant, random: &mut Random) -> bool {
        if self.renewed_at == Instant::ZERO || now.nanos_since(self.renewed_at) >= SECOND_NANOS {
            self.renewed_at = now;
            self.left = PER_SECOND / 2 + random.below(PER_SECOND);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5961_7_the_budget_is_renewed_and_no_second_is_like_another() {
        let mut random = Random::new([5; 32]);
        let mut limit = ChallengeLimit::default();
        let mut budgets = [0; 20];
        for (second, budget) in budgets.iter_mut().enumerate() {
            let now = Instant::from_secs(1 + second as u64);
            while limit.allow(now, &mut random) {
                *budget += 1;
            }
        }
        assert!(budgets.iter().all(|budget| (500..1500).contains(budget)));
        let first = budgets[0];
        assert!(budgets.iter().any(|&budget| budget != first));
    }
}
