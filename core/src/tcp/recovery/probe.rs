//! Tail loss probes (RFC 8985, 7): when the ACK of a flight's end is overdue,
//! one segment goes out before the retransmission timer must fire, for its
//! acknowledgement shows what is missing.
//!
//! Arming costs nothing: on a flow with SACK and no disorder, `rtx_at` is the
//! probe's time (`Tcb::rtx_timeout`). What it stands for is found out when it
//! comes.

use super::DISORDER;
use crate::Counter;
use crate::tcp::Env;
use crate::tcp::congestion::CongestionEvent;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, TcpState, flag};

/// The probe outstanding, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    #[default]
    None,
    /// It carried new data.
    NewData,
    /// It repeated the last segment (RFC 8985, 5.3: "TLP.is_retrans").
    Retransmission,
}

/// State of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    /// `snd_nxt` when the probe had gone out ("TLP.end_seq").
    end: SeqNum,
    kind: Kind,
}

impl Probe {
    pub(crate) const EMPTY: Self = Self {
        end: SeqNum::new(0),
        kind: Kind::None,
    };

    /// Whether a probe's fate is not known yet.
    pub(super) fn is_out(&self) -> bool {
        self.kind != Kind::None
    }
}

impl Tcb<'_> {
    /// Whether the timer that fired stands for a probe (RFC 8985, 7.2 and 7.3).
    pub(crate) fn may_probe(&self) -> bool {
        let usual = self.hot.flags & (flag::SACK | flag::RTO_TIMER | DISORDER) == flag::SACK;
        usual
            && self.hot.state >= TcpState::Established
            && self.hot.flight() > 0
            && self.hot.snd_wnd > 0
            && self.hot.rtt.backoff == 0
            && !self.cold.recovery().probe.is_out()
    }

    /// The probe timer fired. The retransmission timer follows (RFC 8985, 7.3:
    /// "After attempting to send a loss probe, ... the sender MUST arm the RTO
    /// timer, not the PTO timer").
    pub(crate) fn on_probe_timer(&mut self, env: &Env<'_>) {
        self.hot.set(flag::SEND_PROBE);
        self.start_rto(env.now);
    }

    /// A probe has been sent.
    pub(super) fn note_probe(&mut self, env: &mut Env<'_>, retransmission: bool) {
        env.counters.inc(Counter::TcpLossProbes);
        self.begin_disorder(env);
        let end = self.hot.snd_nxt;
        if let Some(recovery) = self.cold.recovery_mut() {
            let kind = if retransmission {
                Kind::Retransmission
            } else {
                Kind::NewData
            };
            recovery.probe = Probe { end, kind };
        }
        self.start_rto(env.now);
    }

    /// Recovery begins: probes have no say in it (RFC 8985, 7.1).
    pub(crate) fn forget_probe(&mut self) {
        if let Some(recovery) = self.cold.recovery_mut() {
            recovery.probe = Probe::EMPTY;
        }
    }

    /// What an ACK says of a probe (RFC 8985, 7.4.2). `advanced`: it acknowledges
    /// something new; `duplicate`: where the report of a duplicate ends, if the
    /// ACK carries one.
    pub(crate) fn on_probe_ack(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        advanced: bool,
        blocks: bool,
        duplicate: Option<SeqNum>,
    ) {
        let Probe { end, kind } = self.cold.recovery().probe;
        if kind == Kind::None || seg.ack.before(end) {
            return;
        }
        let matches = duplicate.is_some_and(|right| right == end || right + 1 == end);
        let bare = !advanced && !blocks && seg.seq_len() == 0;
        if kind == Kind::NewData || matches {
            self.forget_probe();
        } else if seg.ack.after(end) {
            self.forget_probe();
            // The probe repaired the only loss: congestion all the same.
            if !self.hot.has(flag::RECOVERY) {
                self.on_congestion_event(env.now, CongestionEvent::Loss);
                self.hot.cwnd = self.hot.cwnd.min(self.cold.ssthresh);
                self.on_recovery_exit(env.now);
            }
        } else if bare {
            self.forget_probe();
        }
    }
}
