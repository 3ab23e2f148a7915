//! TIME-WAIT: a record of 64 bytes keeps the connection's last words for twice
//! the maximum segment lifetime (RFC 9293, 3.4.2 and 3.6.1).

use pollwire_rings::Instant;

use super::header::HeaderFields;
use super::records::Record;
use super::segment::Segment;
use super::seq::SeqNum;
use super::tcb::{Tcb, flag};
use crate::DropReason;
use crate::wire::tcp::{ACK, FIN, RST};

/// 2 MSL in milliseconds; MSL is 30 seconds, as in Linux (RFC 9293, 3.4.2 takes
/// 2 minutes and lets implementations choose).
pub(crate) const TIME_WAIT_MILLIS: u32 = 60_000;
/// The same in nanoseconds.
pub(crate) const TIME_WAIT_NANOS: u64 = TIME_WAIT_MILLIS as u64 * 1_000_000;
/// A new incarnation's sequence numbers begin at least this far behind the old
/// one's: nothing of the old one lies in its window.
const ISS_DISTANCE: u32 = 65_537;

/// What must be known of a closed connection. All-zero is unused.
#[derive(Clone, Copy)]
pub(crate) struct TimeWait {
    pub(crate) snd_nxt: SeqNum,
    pub(crate) rcv_nxt: SeqNum,
    pub(crate) ts_recent: u32,
    /// When it ends, in milliseconds of the stack's clock, modulo 2^32.
    due: u32,
    /// As it goes on the wire.
    pub(crate) window: u16,
    pub(crate) timestamps: bool,
}

const _: () = assert!(
    size_of::<Record<TimeWait>>() <= 64,
    "a record is one cache line"
);

/// What becomes of a segment for a connection in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The last ACK goes out again.
    Ack,
    /// The same, and the time begins anew.
    AckAndRestart,
    /// A new connection may take the place of this one; its first sequence
    /// number lies at or behind this.
    Reopen(SeqNum),
    /// It is dropped.
    Drop(DropReason),
}

/// Milliseconds of the stack's clock, modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
const fn millis(now: Instant) -> u32 {
    now.as_nanos().div_ceil(1_000_000) as u32
}

impl TimeWait {
    /// No record. All-zero.
    pub(crate) const UNUSED: Self = Self {
        snd_nxt: SeqNum::new(0),
        rcv_nxt: SeqNum::new(0),
        ts_recent: 0,
        due: 0,
        window: 0,
        timestamps: false,
    };

    /// What is kept of a flow that has just entered TIME-WAIT.
    pub(crate) fn of(tcb: &Tcb<'_>, now: Instant) -> Self {
        let window = tcb.hot.rcv_adv.bytes_since(tcb.hot.rcv_nxt) >> tcb.hot.rcv_scale;
        Self {
            snd_nxt: tcb.hot.snd_nxt,
            rcv_nxt: tcb.hot.rcv_nxt,
            ts_recent: tcb.hot.ts_recent,
            due: millis(now).wrapping_add(TIME_WAIT_MILLIS),
            window: u16::try_from(window).unwrap_or(u16::MAX),
            timestamps: tcb.hot.has(flag::TIMESTAMPS),
        }
    }

    /// The header of the last ACK; `value` is of the flow's timestamp clock.
    pub(crate) fn ack_fields(&self, value: u32) -> HeaderFields {
        HeaderFields {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: ACK,
            window: self.window,
            timestamps: self.timestamps.then_some((value, self.ts_recent)),
            ecn: 0,
        }
    }

    /// Begins the time anew.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.due = millis(now).wrapping_add(TIME_WAIT_MILLIS);
    }

    /// Nanoseconds until it ends; 0 when it has.
    pub(crate) fn nanos_left(&self, now: Instant) -> u64 {
        let left = self.due.wrapping_sub(millis(now)).cast_signed();
        // Nothing waits longer than the whole time, whatever the clock did.
        u64::from(left.max(0).unsigned_abs().min(TIME_WAIT_MILLIS)) * 1_000_000
    }

    /// Decides on a segment (RFC 9293, 3.10.7.4; RFC 6191; RFC 1337).
    pub(crate) fn on_segment(&mut self, seg: &Segment) -> Reply {
        if seg.has(RST) {
            // RFC 1337, 3, (F1): "Ignore RST segments in TIME-WAIT state."
            return Reply::Drop(DropReason::TcpRstInTimeWait);
        }
        if seg.is_syn() {
            return if self.is_newer(seg) {
                Reply::Reopen(self.snd_nxt + ISS_DISTANCE)
            } else {
                Reply::Drop(DropReason::TcpUnexpectedSyn)
            };
        }
        if !seg.has(ACK) {
            return Reply::Drop(DropReason::TcpNoAck);
        }
        match (self.timestamps, seg.timestamps) {
            (true, None) => return Reply::Drop(DropReason::TcpNoTimestamp),
            (true, Some((value, _))) => {
                let age = value.wrapping_sub(self.ts_recent).cast_signed();
                if age < 0 {
                    return match seg.seq_len() {
                        0 => Reply::Drop(DropReason::TcpPaws),
                        _ => Reply::Ack,
                    };
                }
                if seg.seq.at_or_before(self.rcv_nxt) {
                    self.ts_recent = value;
                }
            }
            (false, _) => {}
        }
        // RFC 9293, 3.10.7.4: "The only thing that can arrive in this state is a
        // retransmission of the remote FIN. Acknowledge it, and restart the
        // 2 MSL timeout."
        if seg.has(FIN) {
            return Reply::AckAndRestart;
        }
        if seg.len > 0 {
            return Reply::Ack;
        }
        // A bare ACK: two ends that both wait must not answer each other.
        Reply::Drop(DropReason::TcpAfterFin)
    }

    /// RFC 6191, 2: whether a SYN is sure to be younger than everything of the
    /// old connection. "Otherwise, silently drop the incoming SYN segment".
    fn is_newer(&self, syn: &Segment) -> bool {
        let beyond = syn.seq.after(self.rcv_nxt);
        match (self.timestamps, syn.timestamps) {
            (true, Some((value, _))) => {
                let age = value.wrapping_sub(self.ts_recent).cast_signed();
                age > 0 || (age == 0 && beyond)
            }
            (false, Some(_)) => true,
            (_, None) => beyond,
        }
    }
}
