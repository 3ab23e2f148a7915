//! Proportional rate reduction (RFC 9937, which obsoletes RFC 6937): in fast
//! recovery `cwnd` goes down to `ssthresh` by and by, clocked by what arrives,
//! so that neither silence nor a burst follows a loss.

use crate::tcp::tcb::{Tcb, flag};

/// State of a fast recovery, in bytes (RFC 9937, 6.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reduction {
    /// What arrived since it began ("prr_delivered").
    delivered: u32,
    /// What was sent since ("prr_out").
    out: u32,
    /// What was in flight before ("RecoverFS").
    flight: u32,
}

impl Reduction {
    pub(crate) const EMPTY: Self = Self {
        delivered: 0,
        out: 0,
        flight: 0,
    };
}

impl Tcb<'_> {
    /// Fast recovery begins with an ACK of `delivered` bytes; 0 if a timer
    /// began it.
    ///
    /// RFC 9937, 6.2: RecoverFS counts neither what was selectively acknowledged
    /// before, nor leaves out what this ACK acknowledges.
    pub(super) fn begin_reduction(&mut self, delivered: u32) {
        let outstanding = self.hot.flight().saturating_sub(self.hot.sacked);
        if let Some(recovery) = self.cold.recovery_mut() {
            recovery.reduction = Reduction {
                flight: outstanding.saturating_add(delivered).max(1),
                ..Reduction::EMPTY
            };
        }
    }

    /// Sets `cwnd` for an ACK within fast recovery. `safe`: it acknowledged
    /// something new and told of no further loss.
    pub(super) fn reduce(&mut self, delivered: u32, safe: bool) {
        let (mss, pipe) = (u32::from(self.hot.mss), self.hot.pipe());
        let ssthresh = self.cold.ssthresh;
        let Some(recovery) = self.cold.recovery_mut() else {
            return;
        };
        let reduction = &mut recovery.reduction;
        let begins = reduction.out == 0;
        if (delivered == 0 && !begins) || reduction.flight == 0 {
            return;
        }
        reduction.delivered = reduction.delivered.saturating_add(delivered);
        let mut count = if pipe > ssthresh {
            // In whole segments: half of one cannot go out.
            let share = u64::from(reduction.delivered) * u64::from(ssthresh);
            let share = share.div_ceil(u64::from(reduction.flight) * u64::from(mss));
            u32::try_from(share * u64::from(mss))
                .unwrap_or(u32::MAX)
                .saturating_sub(reduction.out)
        } else {
            // The conservative bound: as much as arrived. Where recovery makes
            // good progress, a segment more: slow start.
            let arrived = reduction.delivered.saturating_sub(reduction.out);
            let bound = arrived.max(delivered) + if safe { mss } else { 0 };
            bound.min(ssthresh - pipe)
        };
        if begins {
            // "Force a fast retransmit upon entering recovery"
            count = count.max(mss);
        }
        self.hot.cwnd = pipe + count;
    }

    /// `len` bytes went out, new or again.
    #[inline]
    pub(crate) fn note_sent_in_recovery(&mut self, len: u32) {
        if self.hot.has(flag::FAST_RECOVERY)
            && let Some(recovery) = self.cold.recovery_mut()
        {
            let reduction = &mut recovery.reduction;
            reduction.out = reduction.out.saturating_add(len);
        }
    }
}
