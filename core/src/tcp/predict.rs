//! Header prediction: the segment that an open connection expects (Jacobson
//! 1990; RFC 9293 leaves it to implementations).
//!
//! In order, acknowledging what was sent, with nothing lost or out of order on
//! either side: one compare each, then the data moves to the reader. Everything
//! else takes the full path, which gives the same result for these segments
//! too.

use pollwire_rings::FrameBuf;

use super::Env;
use super::input::Outcome;
use super::segment::{MIN_HEADER, Segment};
use super::tcb::{Tcb, TcpState, flag};
use crate::DropReason;
use crate::wire::tcp::{ACK, PSH};

/// Any of these means that something out of the ordinary goes on.
const UNUSUAL: u32 = flag::RECOVERY
    | flag::OUT_OF_ORDER
    | flag::READ_SHUT
    | flag::FIN_QUEUED
    | flag::PERSIST
    | flag::EMBRYO;

impl Tcb<'_> {
    /// Whether this is the expected segment.
    #[inline]
    fn is_expected(&self, env: &Env<'_>, seg: &Segment) -> bool {
        let hot = &*self.hot;
        let acked = seg.ack.raw().wrapping_sub(hot.snd_una.raw());
        let in_flight = hot.snd_nxt.raw().wrapping_sub(hot.snd_una.raw());
        let room = hot.rcv_adv.raw().wrapping_sub(hot.rcv_nxt.raw());
        let timely = match seg.timestamps {
            Some((value, _)) => {
                hot.has(flag::TIMESTAMPS) && value.wrapping_sub(hot.ts_recent).cast_signed() >= 0
            }
            None => !hot.has(flag::TIMESTAMPS),
        };
        // A bare ACK of nothing new may be a duplicate: it counts.
        let tells = seg.len > 0 || acked > 0;
        seg.flags & !PSH == ACK
            && hot.state == TcpState::Established
            && !hot.has(UNUSUAL)
            && seg.seq == hot.rcv_nxt
            && acked <= in_flight
            && seg.len <= room
            && timely
            && tells
            && seg.header_len == MIN_HEADER + hot.option_bytes()
            && hot.sacked | hot.lost | u32::from(hot.dup_acks) == 0
            && seg.window != 0
            && hot.snd_wnd != 0
            && env.rest.is_empty()
    }

    /// Takes the expected segment; gives any other back.
    #[inline]
    pub(crate) fn predict(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        mut frame: FrameBuf,
    ) -> Result<Result<Outcome, DropReason>, FrameBuf> {
        if !self.is_expected(env, seg) {
            return Err(frame);
        }
        if let Some((value, _)) = seg.timestamps
            && self.hot.rcv_nxt == self.hot.last_ack_sent
        {
            self.hot.ts_recent = value;
            self.cold.ts_recent_at = env.now;
        }
        self.cold.heard_at = env.now;
        self.hot.snd_wl1 = seg.seq;
        self.hot.snd_wl2 = seg.ack;
        let window = u32::from(seg.window) << self.hot.snd_scale;
        if window != self.hot.snd_wnd {
            self.hot.snd_wnd = window;
            self.cold.max_snd_wnd = self.cold.max_snd_wnd.max(window);
        }
        if seg.ack != self.hot.snd_una {
            self.on_new_ack(env, seg.ack, seg.timestamps);
        }
        if seg.len == 0 {
            return Ok(Ok(Outcome::Keep));
        }
        frame.trim_front(seg.header_len);
        if let Err(reason) = self.take_in_order(env, frame.freeze(), seg.len) {
            return Ok(Err(reason));
        }
        self.schedule_ack(env, seg);
        self.wake_reader();
        Ok(Ok(Outcome::Keep))
    }
}
