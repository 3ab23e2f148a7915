//! Round-trip estimation and the retransmission timeout (RFC 6298).

/// Lower bound of what the RTO allows beyond the smoothed round trip,
/// microseconds. RFC 6298, 2.4 says that the RTO SHOULD be one second at least;
/// like Linux and every server of today we take 200 ms. As in Linux it bounds
/// the variance's share: on a long and steady path, too, a delayed ACK (up to
/// 200 ms) is no loss.
pub(crate) const MIN_RTO_US: u32 = 200_000;
/// Upper bound of the RTO, microseconds (RFC 6298, 2.5: at least 60 s).
pub(crate) const MAX_RTO_US: u32 = 60_000_000;
/// What a probe allows for beyond two round trips, microseconds.
const PROBE_SLACK_US: u32 = 2000;
/// RTO before the first sample (RFC 6298, 2.1).
pub(crate) const INITIAL_RTO_US: u32 = 1_000_000;

/// Smoothed round-trip time. All-zero: no sample yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// SRTT in microseconds; 0 before the first sample.
    pub(crate) srtt_us: u32,
    /// RTTVAR in microseconds.
    pub(crate) rttvar_us: u32,
    /// Consecutive timeouts without progress.
    pub(crate) backoff: u8,
}

impl Rtt {
    pub(crate) const NEW: Self = Self {
        srtt_us: 0,
        rttvar_us: 0,
        backoff: 0,
    };

    /// Folds in a sample and returns it, within bounds. RFC 6298, 2.2 and 2.3.
    #[inline(always)]
    pub(crate) fn sample(&mut self, micros: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most the bound")]
        let sample = (micros.min(u64::from(MAX_RTO_US)) as u32).max(1);
        if self.srtt_us == 0 {
            self.srtt_us = sample;
            self.rttvar_us = sample / 2;
            return sample;
        }
        let deviation = self.srtt_us.abs_diff(sample);
        self.rttvar_us = self.rttvar_us - self.rttvar_us / 4 + deviation / 4;
        self.srtt_us = (self.srtt_us - self.srtt_us / 8 + sample / 8).max(1);
        sample
    }

    /// The present timeout, back-off included, in nanoseconds.
    #[inline(always)]
    pub(crate) fn rto_nanos(&self) -> u64 {
        let base = if self.srtt_us == 0 {
            INITIAL_RTO_US
        } else {
            (self.srtt_us + (self.rttvar_us * 4).max(MIN_RTO_US)).min(MAX_RTO_US)
        };
        if self.backoff == 0 {
            return u64::from(base) * 1000;
        }
        let micros = (u64::from(base) << self.backoff.min(16)).min(u64::from(MAX_RTO_US));
        micros * 1000
    }

    /// When a probe goes out after the last ACK, nanoseconds (RFC 8985, 7.2):
    /// after two round trips, with two milliseconds for a peer that was busy;
    /// never later than the RTO without back-off.
    #[inline]
    pub(crate) fn probe_nanos(&self) -> u64 {
        if self.srtt_us == 0 {
            return self.rto_nanos();
        }
        let slack = (self.srtt_us + PROBE_SLACK_US).min(MIN_RTO_US);
        u64::from(self.srtt_us + slack) * 1000
    }

    /// RFC 6298, 5.5: "The host MUST set RTO <- RTO * 2 ("back off the timer")."
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6298_2_first_and_later_samples() {
        let mut rtt = Rtt::NEW;
        assert_eq!(rtt.rto_nanos(), 1_000_000_000);
        rtt.sample(100_000);
        assert_eq!((rtt.srtt_us, rtt.rttvar_us), (100_000, 50_000));
        assert_eq!(rtt.rto_nanos(), 300_000_000);
        for _ in 0..100 {
            rtt.sample(100_000);
        }
        assert_eq!(rtt.rto_nanos(), 100_000_000 + u64::from(MIN_RTO_US) * 1000);
    }

    #[test]
    fn rfc8985_7_2_a_probe_waits_two_round_trips_and_never_beyond_the_rto() {
        for (srtt_us, wait_us) in [(1, 2002), (40_000, 82_000), (300_000, 500_000)] {
            let mut rtt = Rtt::NEW;
            rtt.sample(srtt_us);
            assert_eq!(rtt.probe_nanos(), wait_us * 1000);
            assert!(rtt.probe_nanos() <= rtt.rto_nanos());
        }
        assert_eq!(Rtt::NEW.probe_nanos(), 1_000_000_000);
    }

    #[test]
    fn rfc6298_5_5_back_off_doubles_up_to_the_cap() {
        let mut rtt = Rtt::NEW;
        let mut last = rtt.rto_nanos();
        for _ in 0..40 {
            rtt.back_off();
            let next = rtt.rto_nanos();
            assert_eq!(next, (last * 2).min(u64::from(MAX_RTO_US) * 1000));
            last = next;
        }
    }
}
