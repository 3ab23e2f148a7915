//! Header prediction: the segment that an open connection expects (Jacobson
//! 1990; RFC 9293 leaves it to implementations).
//!
//! In order, acknowledging what was sent, with nothing lost or out of order on
//! either side: one compare each, then the data moves to the reader. Everything
//! else takes the full path, which gives the same result for these segments
//! too.

use pollwire_rings::FrameBuf;

use super::Env;
use super::coarse::{Millisecond, Second};
use super::seq::SeqNum;
use super::tcb::{Hot, Tcb, TcpState, flag};
use crate::DropReason;

/// Any of these means that something out of the ordinary goes on.
const UNUSUAL: u32 = flag::RECOVERY
    | flag::OUT_OF_ORDER
    | flag::READ_SHUT
    | flag::FIN_QUEUED
    | flag::PERSIST
    | flag::EMBRYO
    | flag::UNORDERED_ACKS
    | flag::WATCHED;

/// What counts of a segment that may be the expected one: an ACK, perhaps with
/// PSH, no other flag, timestamps if the flow has them and no other option.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
    /// As in the header.
    pub(crate) window: u16,
    pub(crate) push: bool,
    /// Payload bytes.
    pub(crate) len: u32,
    /// Value and echo; meaningful when the flow has timestamps.
    pub(crate) timestamp: (u32, u32),
}

impl Expected {
    /// Whether this is the segment that the flow expects.
    #[inline(always)]
    pub(crate) fn is_due(&self, hot: &Hot) -> bool {
        let acked = self.ack.raw().wrapping_sub(hot.snd_una.raw());
        let in_flight = hot.snd_nxt.raw().wrapping_sub(hot.snd_una.raw());
        let room = hot.rcv_adv.raw().wrapping_sub(hot.rcv_nxt.raw());
        // Without timestamps both are zero.
        let late = self.timestamp.0.wrapping_sub(hot.ts_recent).cast_signed() < 0;
        self.seq == hot.rcv_nxt
            // Its window is news: a segment from further on may have told later
            // news already.
            && hot.snd_wl1.at_or_before(self.seq)
            && hot.state == TcpState::Established
            && !hot.has(UNUSUAL)
            && acked <= in_flight
            && self.len <= room
            // A bare ACK of nothing new may be a duplicate: it counts.
            && self.len | acked != 0
            && !late
            && self.window != 0
            && hot.snd_wnd != 0
    }
}

impl Tcb<'_> {
    /// Takes a segment that [`Expected::is_due`] recognised; `frame` holds its
    /// payload. [`end_expected`](Self::end_expected) follows the last of a run.
    #[inline(always)]
    pub(crate) fn on_expected(
        &mut self,
        env: &mut Env<'_>,
        seg: &Expected,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        // Without timestamps it is never looked at.
        if self.hot.rcv_nxt == self.hot.last_ack_sent {
            self.hot.ts_recent = seg.timestamp.0;
            self.cold.ts_recent_at = Second::of(env.now);
        }
        if seg.ack != self.hot.snd_una {
            self.on_expected_ack(env, seg.ack, seg.timestamp);
        }
        if seg.len == 0 {
            return Ok(());
        }
        self.take_in_order(env, frame.freeze(), seg.len)
    }

    /// Does what a run of expected segments needs but once: `last` is the run's
    /// last, `longest` its longest payload.
    #[inline(always)]
    pub(crate) fn end_expected(&mut self, env: &mut Env<'_>, last: &Expected, longest: u32) {
        self.cold.heard_at = Millisecond::of(env.now);
        self.hot.snd_wl1 = last.seq;
        self.hot.snd_wl2 = last.ack;
        let window = u32::from(last.window) << self.hot.snd_scale;
        if window != self.hot.snd_wnd {
            self.hot.snd_wnd = window;
            self.cold.max_snd_wnd = self.cold.max_snd_wnd.max(window);
        }
        if longest > 0 {
            self.schedule_ack(env, longest, last.push);
            self.wake_reader();
        }
    }
}
