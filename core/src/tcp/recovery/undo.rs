//! Retransmissions that were not needed: what they took from the window is
//! given back.
//!
//! | evidence | rule |
//! |---|---|
//! | the ACK of a retransmission echoes a timestamp from before it | Eifel (RFC 3522, RFC 4015) |
//! | every retransmission is reported as a duplicate | D-SACK (RFC 2883, RFC 3708) |
//! | after a timeout, what was never sent again arrives | F-RTO (RFC 5682, 3) |

use super::Recovery;
use super::scoreboard::Blocks;
use crate::Counter;
use crate::tcp::Env;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, flag, mark};

/// Where F-RTO stands (RFC 5682, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Frto {
    /// The timeout is taken for real.
    #[default]
    Off,
    /// Step 2: the first segment went out again, and nothing else.
    Resent,
    /// Step 3: it was acknowledged; new data goes out, nothing lost does.
    Probing,
}

/// Whether the last reduction of the window may still be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// It may not.
    #[default]
    Closed,
    /// Nothing was sent again since.
    Begun,
    /// Something was.
    Resent,
}

/// What is known of the last reduction of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undo {
    /// `snd_una` when it was made: reports of older duplicates say nothing.
    from: SeqNum,
    /// Behind the last byte that can have been sent again since.
    to: SeqNum,
    /// Value of the timestamp clock at the first retransmission.
    stamp: u32,
    /// Segments sent again and not reported as duplicates; the greatest value
    /// stands for more than can be counted, and stays.
    unreported: u8,
    stage: Stage,
    /// This ACK acknowledges what was sent before the timeout, and once only.
    original: bool,
    frto: Frto,
}

impl Undo {
    pub(crate) const EMPTY: Self = Self {
        from: SeqNum::new(0),
        to: SeqNum::new(0),
        stamp: 0,
        unreported: 0,
        stage: Stage::Closed,
        original: false,
        frto: Frto::Off,
    };
}

impl Tcb<'_> {
    /// The window is about to shrink because of a loss, seen outside of
    /// recovery; by a timeout where `timeout` says so.
    pub(crate) fn begin_undo(&mut self, env: &mut Env<'_>, timeout: bool) {
        let sack = self.hot.has(flag::SACK);
        let (from, to) = (self.hot.snd_una, self.hot.snd_nxt);
        let Some(episode) = self.begin_episode(env) else {
            return;
        };
        episode.recovery.undo = Undo {
            from,
            to,
            stage: Stage::Begun,
            frto: if timeout && sack {
                Frto::Resent
            } else {
                Frto::Off
            },
            ..Undo::EMPTY
        };
    }

    /// A second timeout in a row, or one within recovery, is real.
    pub(crate) fn end_frto(&mut self) {
        if let Some(recovery) = self.cold.recovery_mut() {
            recovery.undo.frto = Frto::Off;
        }
    }

    /// Whether F-RTO holds back what is marked lost.
    pub(super) fn holds_retransmissions(&self) -> bool {
        self.cold.recovery().undo.frto == Frto::Probing
    }

    /// A segment went out again.
    pub(super) fn note_resent(&mut self, env: &Env<'_>) {
        let stamp = self.timestamp(env.now);
        let Some(Recovery { undo, .. }) = self.cold.recovery_mut() else {
            return;
        };
        if undo.stage == Stage::Begun {
            undo.stage = Stage::Resent;
            undo.stamp = stamp;
        }
        undo.unreported = undo.unreported.saturating_add(1);
    }

    /// A segment arrived that was sent once, and ends at `end`.
    pub(super) fn note_original(&mut self, end: SeqNum) {
        let in_time = end.at_or_before(self.cold.recover);
        if self.hot.has(flag::LOSS_RECOVERY)
            && in_time
            && let Some(recovery) = self.cold.recovery_mut()
        {
            recovery.undo.original = true;
        }
    }

    /// RFC 3522, 3.2: "If the value of the Timestamp Echo Reply field of the
    /// acceptable ACK's Timestamps option is smaller than the value of
    /// RetransmitTS, then set SpuriousRecovery". Returns whether recovery ended
    /// with that. For ACKs of new data within recovery.
    pub(crate) fn undo_by_timestamp(&mut self, env: &mut Env<'_>, echo: Option<u32>) -> bool {
        let undo = &self.cold.recovery().undo;
        let early = |echo: u32| echo.wrapping_sub(undo.stamp).cast_signed() < 0;
        let spurious = undo.stage == Stage::Resent
            && self.hot.has(flag::TIMESTAMPS)
            && echo.is_some_and(|echo| echo != 0 && early(echo));
        if spurious {
            self.undo_recovery(env, Counter::TcpUndoneByTimestamp);
        }
        spurious
    }

    /// The peer reports the bytes from `left` to `right` as duplicates. When
    /// that holds for all that was sent again, nothing was lost.
    pub(super) fn undo_by_report(&mut self, env: &mut Env<'_>, left: SeqNum, right: SeqNum) {
        let Some(Recovery { undo, .. }) = self.cold.recovery_mut() else {
            return;
        };
        let concerned = undo.stage == Stage::Resent
            && undo.unreported < u8::MAX
            && left.at_or_after(undo.from)
            && right.at_or_before(undo.to)
            && self.hot.snd_una.at_or_before(undo.to);
        if !concerned {
            return;
        }
        let mss = u32::from(self.hot.mss).max(1);
        let segments = right.bytes_since(left).div_ceil(mss);
        let segments = u8::try_from(segments).unwrap_or(u8::MAX);
        undo.unreported = undo.unreported.saturating_sub(segments);
        if undo.unreported == 0 {
            self.undo_recovery(env, Counter::TcpUndoneByDsack);
        }
    }

    /// F-RTO, for an ACK within the recovery from a timeout (RFC 5682, 3.1,
    /// steps 2 and 3).
    pub(crate) fn on_ack_after_timeout(
        &mut self,
        env: &mut Env<'_>,
        advanced: bool,
        blocks: &Blocks,
    ) {
        let Some(Recovery { undo, .. }) = self.cold.recovery_mut() else {
            return;
        };
        let original = core::mem::take(&mut undo.original);
        let frto = undo.frto;
        if frto == Frto::Off {
            return;
        }
        if !self.hot.has(flag::LOSS_RECOVERY) {
            // 2a: all that was in flight is acknowledged, by whichever copy.
            self.end_frto();
        } else if original {
            // 3b: it was sent before the timeout, so that came too early.
            self.undo_recovery(env, Counter::TcpUndoneByFrto);
        } else if frto == Frto::Resent && advanced {
            // 2b: new data tells the original flight from its copies, if there
            // is some that may go out.
            let window = (self.hot.snd_una + self.hot.snd_wnd).bytes_since(self.hot.snd_nxt);
            let new = self.hot.unsent.is_some() && window >= u32::from(self.hot.mss);
            if let Some(recovery) = self.cold.recovery_mut() {
                recovery.undo.frto = if new { Frto::Probing } else { Frto::Off };
            }
        } else if frto == Frto::Probing && (advanced || !blocks.is_empty()) {
            // 3a: what went out after the timeout is all that arrives.
            self.end_frto();
        }
    }

    /// Nothing was lost: windows and marks are what they were, and recovery is
    /// over.
    fn undo_recovery(&mut self, env: &mut Env<'_>, evidence: Counter) {
        if let Some(recovery) = self.cold.recovery_mut() {
            recovery.undo = Undo::EMPTY;
        }
        if !self.undo_congestion(env.now) {
            return;
        }
        env.counters.inc(evidence);
        if self.hot.has(flag::RECOVERY) {
            self.forget_losses(env);
            self.hot.clear(flag::RECOVERY | flag::RESEND_FIN);
            self.cold.marks &= !mark::FORCED;
            let una = self.hot.snd_una;
            if let Some(recovery) = self.cold.recovery_mut() {
                recovery.rack.on_recovery_exit();
                // Which copies arrived is not known: nothing is late by their
                // measure.
                recovery.rack.begin(una);
            }
            self.hot.dup_acks = 0;
            if !self.hot.has(flag::SACK) {
                self.hot.sacked = 0;
            }
        }
    }
}
