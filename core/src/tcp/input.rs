//! Segment arrives (RFC 9293, 3.10.7).

use arrayvec::ArrayVec;
use pollwire_rings::{FrameBuf, Instant};

use super::Env;
use super::coarse::{Millisecond, Second};
use super::segment::{MIN_HEADER, Segment};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag, mark};
use crate::wire::tcp::{ACK, CWR, FIN, PSH, RST, SYN, TcpOptions};
use crate::{ConnError, Counter, DropReason};

/// What a segment means for the flow as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Keep,
    /// The handshake is complete.
    Established,
    /// It entered TIME-WAIT.
    TimeWait,
    /// It is over.
    Ended(Option<ConnError>),
    /// It is over, and the peer is told by RST with this sequence number.
    ResetPeer(SeqNum, ConnError),
    /// It goes on; the segment is answered by RST with this sequence number.
    Reject(SeqNum),
    /// It is over; the segment is answered by RST with this sequence number.
    Refuse(SeqNum, ConnError),
}

/// FIN-WAIT-2 of a flow that nobody holds any more.
pub(crate) const FIN_WAIT_2_NANOS: u64 = 60_000_000_000;
/// A first sample of one second makes an RTO of three (RFC 6298, 2.2).
const AFTER_LOST_SYN_US: u64 = 1_000_000;
/// At most one challenge ACK per flow in this time (RFC 5961, 7).
const CHALLENGE_NANOS: u64 = 500_000_000;
/// `ts_recent` is void after 24 days (RFC 7323, 5.5).
const TS_RECENT_LIFE_NANOS: u64 = 24 * 86_400 * 1_000_000_000;

type Verdict = Result<Outcome, DropReason>;

impl Tcb<'_> {
    /// Takes a segment that belongs to this flow. `frame` begins with its TCP
    /// header.
    #[inline]
    pub(crate) fn on_segment(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Verdict {
        if self.hot.state == TcpState::SynSent {
            return self.on_segment_in_syn_sent(env, seg, frame);
        }
        if self.hot.state == TcpState::SynReceived {
            return self.on_segment_in_syn_received(env, seg.clone(), frame);
        }
        self.check_timestamps(env, seg)?;
        self.check_sequence(env, seg)?;
        if seg.flags & (RST | SYN | ACK) != ACK {
            return self.on_odd_flags(env, seg);
        }
        self.on_synchronized(env, seg, frame)
    }

    fn on_segment_in_syn_received(
        &mut self,
        env: &mut Env<'_>,
        mut seg: Segment,
        frame: FrameBuf,
    ) -> Verdict {
        if self.strip_known_syn(&mut seg)? {
            return Ok(Outcome::Keep);
        }
        self.check_timestamps(env, &seg)?;
        self.check_sequence(env, &seg)?;
        if seg.flags & (RST | SYN | ACK) != ACK {
            return self.on_odd_flags(env, &seg);
        }
        self.on_handshake_ack(env, &seg, frame)
    }

    /// A SYN that was seen before, in SYN-RECEIVED: without ACK, ours was lost
    /// and goes out again; with ACK (simultaneous open) only the ACK counts.
    /// Returns whether the segment is dealt with.
    fn strip_known_syn(&mut self, seg: &mut Segment) -> Result<bool, DropReason> {
        if !seg.has(SYN) || seg.seq != self.cold.irs || seg.has(RST) {
            return Ok(false);
        }
        if !seg.has(ACK) {
            self.hot.set(flag::SEND_SYN);
            return Ok(true);
        }
        seg.seq += 1;
        seg.flags &= !SYN;
        Ok(false)
    }

    /// RFC 7323, 5.3: PAWS.
    #[inline]
    fn check_timestamps(&mut self, env: &mut Env<'_>, seg: &Segment) -> Result<(), DropReason> {
        if !self.hot.has(flag::TIMESTAMPS) || seg.has(RST) {
            return Ok(());
        }
        let Some((value, _)) = seg.timestamps else {
            // RFC 7323, 3.2: "If a non-<RST> segment is received without a TSopt,
            // a TCP SHOULD silently drop the segment."
            return Err(DropReason::TcpNoTimestamp);
        };
        let age = i64::from(self.hot.ts_recent.wrapping_sub(value).cast_signed());
        if age > 0
            && age > self.overtaking_allowance()
            && self.cold.ts_recent_at.nanos_to(env.now) < TS_RECENT_LIFE_NANOS
        {
            self.challenge(env);
            return Err(DropReason::TcpPaws);
        }
        Ok(())
    }

    /// How much older than TS.Recent a segment may be that others overtook, in
    /// ticks of the peer's clock, taken for milliseconds: a round trip.
    ///
    /// The letter of RFC 7323, 5.3 refuses each older one. Where a path reorders,
    /// every retransmission then condemns what is under way beside it: it fills
    /// the first hole, so its time becomes TS.Recent, and whatever was sent before
    /// it and comes after it is lost. What PAWS is for keeps: with windows of at
    /// most 2^30 bytes (2.3) sequence numbers do not come round within four round
    /// trips.
    fn overtaking_allowance(&self) -> i64 {
        i64::from(self.hot.rtt.srtt_us / 1000)
    }

    /// RFC 7323, 4.3: the update of TS.Recent, once both sequence number and
    /// acknowledgement are known to be right. Before that, one blind segment
    /// with a timestamp from the future would shut the peer out.
    #[inline]
    fn note_timestamp(&mut self, env: &Env<'_>, seg: &Segment) {
        let Some((value, _)) = seg.timestamps else {
            return;
        };
        let newer = value.wrapping_sub(self.hot.ts_recent).cast_signed() >= 0
            || self.cold.ts_recent_at.nanos_to(env.now) >= TS_RECENT_LIFE_NANOS;
        // "SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent"
        if newer && self.hot.has(flag::TIMESTAMPS) && seg.seq.at_or_before(self.hot.last_ack_sent) {
            self.hot.ts_recent = value;
            self.cold.ts_recent_at = Second::of(env.now);
        }
    }

    /// RFC 9293, 3.10.7.4, first: the acceptability test.
    #[inline]
    fn check_sequence(&mut self, env: &mut Env<'_>, seg: &Segment) -> Result<(), DropReason> {
        let end = seg.end();
        let fits = end.at_or_before(self.hot.rcv_adv);
        if seg.seq == self.hot.rcv_nxt && (fits || seg.seq_len() == 0) {
            return Ok(());
        }
        let window = self.hot.rcv_adv.bytes_since(self.hot.rcv_nxt);
        let begins = seg.seq.at_or_after(self.hot.rcv_nxt) && seg.seq.before(self.hot.rcv_adv);
        let acceptable = match (seg.seq_len(), window) {
            (0, 0) => seg.seq == self.hot.rcv_nxt,
            (0, _) => begins,
            // "If the RCV.WND is zero, no segments will be acceptable, but
            // special allowance should be made to accept valid ACKs, URGs, and
            // RSTs": its payload is cut off later.
            (_, 0) => seg.seq == self.hot.rcv_nxt,
            _ => {
                let last = end - 1;
                begins || (last.at_or_after(self.hot.rcv_nxt) && last.before(self.hot.rcv_adv))
            }
        };
        if acceptable {
            return Ok(());
        }
        if seg.has(RST) {
            return Err(DropReason::TcpRstOutOfWindow);
        }
        // "If an incoming segment is not acceptable, an acknowledgment should be
        // sent in reply". Data is answered each time (the peer lost our ACK);
        // bare ACKs at a bounded rate, so that two confused ends do not loop.
        if seg.seq_len() > 0 && !seg.has(SYN) {
            let end = seg.seq + seg.len;
            if end.at_or_before(self.hot.rcv_nxt) {
                self.report_duplicate(env, seg.seq, end);
            }
            self.ack_now()
        } else {
            self.answer_once(env);
        }
        Err(DropReason::TcpOutOfWindow)
    }

    /// RST, SYN, or no ACK.
    #[cold]
    fn on_odd_flags(&mut self, env: &mut Env<'_>, seg: &Segment) -> Verdict {
        if seg.has(RST) {
            // RFC 5961, 3.2: "If the RST bit is set and the sequence number
            // exactly matches the next expected sequence number (RCV.NXT), then
            // TCP MUST reset the connection." Else, within the window: "TCP MUST
            // send an acknowledgment (challenge ACK)".
            if seg.seq != self.hot.rcv_nxt {
                self.challenge(env);
                return Err(DropReason::TcpRstChallenged);
            }
            let error = match self.hot.state {
                TcpState::SynReceived if self.cold.listener == 0 => Some(ConnError::Refused),
                TcpState::Closing | TcpState::LastAck => None,
                _ => Some(ConnError::Reset),
            };
            return Ok(Outcome::Ended(error));
        }
        if seg.has(SYN) {
            // RFC 5961, 4.2: "TCP MUST send an ACK (also referred to as
            // challenge ACK) to the remote peer".
            self.challenge(env);
            return Err(DropReason::TcpUnexpectedSyn);
        }
        Err(DropReason::TcpNoAck)
    }

    /// Asks for an ACK that tells a confused peer where we stand (RFC 5961). The
    /// caller drops the segment; then the stack looks whether the host may send
    /// one more.
    pub(crate) fn challenge(&mut self, env: &mut Env<'_>) {
        if self.may_answer(env) {
            self.cold.marks |= mark::CHALLENGE;
        }
    }

    /// An ACK for what is outside of the window, at a bounded rate: keepalive
    /// probes of the peer's, and old ACKs.
    fn answer_once(&mut self, env: &mut Env<'_>) {
        if self.may_answer(env) {
            self.ack_now();
        }
    }

    fn may_answer(&mut self, env: &mut Env<'_>) -> bool {
        let due = self.cold.challenge_at.is_zero()
            || self.cold.challenge_at.nanos_to(env.now) >= CHALLENGE_NANOS;
        if due {
            self.cold.challenge_at = Millisecond::of(env.now);
        }
        due
    }

    fn on_handshake_ack(&mut self, env: &mut Env<'_>, seg: &Segment, frame: FrameBuf) -> Verdict {
        let good = seg.ack.after(self.hot.snd_una) && seg.ack.at_or_before(self.hot.snd_nxt);
        if !good {
            return Ok(Outcome::Reject(seg.ack));
        }
        self.enter_established(env, seg);
        match self.on_synchronized(env, seg, frame) {
            Ok(Outcome::Keep) | Err(_) => Ok(Outcome::Established),
            other => other,
        }
    }

    /// The handshake is complete: our SYN is acknowledged.
    pub(crate) fn enter_established(&mut self, env: &mut Env<'_>, seg: &Segment) {
        let closed = self.hot.has(flag::FIN_QUEUED);
        self.hot.state = if closed {
            TcpState::FinWait1
        } else {
            TcpState::Established
        };
        self.hot.snd_una = seg.ack;
        // RFC 7323, 2.2: the window of a SYN is not scaled; this is not one.
        let shift = if seg.has(SYN) { 0 } else { self.hot.snd_scale };
        self.hot.snd_wnd = u32::from(seg.window) << shift;
        self.hot.snd_wl1 = seg.seq;
        self.hot.snd_wl2 = seg.ack;
        self.cold.max_snd_wnd = self.hot.snd_wnd;
        self.hot.clear(flag::SEND_SYN);
        let first_try = self.hot.rtt.backoff == 0;
        if let (Some((_, echo)), true) = (seg.timestamps, self.hot.has(flag::TIMESTAMPS)) {
            let millis = self.timestamp(env.now).wrapping_sub(echo);
            if millis < 60_000 {
                self.hot.rtt.sample((u64::from(millis) * 1000).max(100));
            }
        } else if first_try && self.cold.stuck_since != Instant::ZERO {
            self.hot
                .rtt
                .sample(env.now.nanos_since(self.cold.stuck_since) / 1000);
        } else if !first_try {
            // RFC 6298, 5.7: after the loss of a SYN "the RTO MUST be
            // re-initialized to 3 seconds when data transmission begins".
            self.hot.rtt.sample(AFTER_LOST_SYN_US);
        }
        self.hot.rtt.backoff = 0;
        self.hot.rtx_at = Instant::ZERO;
        self.cold.stuck_since = Instant::ZERO;
        self.cold.heard_at = Millisecond::of(env.now);
        self.restart_keepalive(env);
        env.counters.inc(Counter::TcpEstablished);
        self.wake_writer();
    }

    /// ACK, data and FIN of an acceptable segment in a synchronized state.
    #[inline]
    fn on_synchronized(&mut self, env: &mut Env<'_>, seg: &Segment, frame: FrameBuf) -> Verdict {
        self.cold.heard_at = Millisecond::of(env.now);
        if seg.ack.after(self.hot.snd_nxt) {
            // RFC 9293, 3.10.7.4: "If the ACK acks something not yet sent
            // (SEG.ACK > SND.NXT), then send an ACK, drop the segment, and
            // return."
            self.challenge(env);
            return Err(DropReason::TcpBadAck);
        }
        if seg.ack.before(self.hot.snd_una - self.cold.max_snd_wnd) {
            // RFC 5961, 5.2: acceptable only if SND.UNA - MAX.SND.WND <= SEG.ACK.
            self.challenge(env);
            return Err(DropReason::TcpBadAck);
        }
        self.note_timestamp(env, seg);
        if seg.header_len > MIN_HEADER + self.hot.option_bytes() && self.hot.has(flag::SACK) {
            let blocks = sack_of(&frame, seg);
            self.on_ack(env, seg, &blocks);
        } else {
            self.on_ack(env, seg, &[]);
        }
        if self.hot.has(flag::FIN_SENT)
            && let Some(outcome) = self.after_fin_acked(env)
        {
            return Ok(outcome);
        }
        if seg.len == 0 && !seg.has(FIN) {
            return Ok(Outcome::Keep);
        }
        if self.hot.has(flag::ECN) && (seg.ce || seg.has(CWR)) {
            self.on_ecn_data(env, seg);
        }
        self.on_text(env, seg, frame)
    }

    /// The transitions that an acknowledged FIN makes.
    fn after_fin_acked(&mut self, env: &mut Env<'_>) -> Option<Outcome> {
        if !self.hot.fin_acked() {
            return None;
        }
        match self.hot.state {
            TcpState::FinWait1 => {
                self.hot.state = TcpState::FinWait2;
                if !self.hot.has(flag::OWNED) {
                    self.cold.misc_at = env.now.plus_nanos(FIN_WAIT_2_NANOS);
                }
                self.wake_writer();
                None
            }
            TcpState::Closing => Some(self.enter_time_wait()),
            TcpState::LastAck => Some(Outcome::Ended(None)),
            _ => None,
        }
    }

    fn enter_time_wait(&mut self) -> Outcome {
        self.hot.state = TcpState::TimeWait;
        self.wake_reader();
        self.wake_writer();
        Outcome::TimeWait
    }

    /// Payload and FIN.
    #[inline]
    fn on_text(&mut self, env: &mut Env<'_>, seg: &Segment, frame: FrameBuf) -> Verdict {
        let mut fin = seg.has(FIN);
        let mut len = seg.len;
        if !self.hot.state.can_receive() {
            self.ack_now();
            return Err(DropReason::TcpAfterFin);
        }
        if len > 0 && !self.hot.has(flag::OWNED | flag::EMBRYO) && seg.end().after(self.hot.rcv_nxt)
        {
            // RFC 9293, 3.6.1: data for a connection that the application closed
            // is lost, and "the TCP endpoint should send a RST to show that data
            // was lost".
            return Ok(Outcome::Refuse(seg.ack, ConnError::Aborted));
        }
        let room = self.hot.rcv_adv.bytes_since(seg.seq);
        if len > room {
            len = room;
            fin = false;
            self.ack_now();
        }
        let fin_at = seg.seq + len;
        if len > 0 {
            let before = self.hot.rcv_nxt;
            self.take_payload(env, seg, frame, len)?;
            if self.hot.rcv_nxt != before {
                self.schedule_ack(env, seg.len, seg.has(PSH));
                self.wake_reader();
            }
        }
        if fin && fin_at == self.hot.rcv_nxt {
            return Ok(self.on_fin());
        }
        if fin {
            self.keep_early_fin(env, fin_at);
        } else if self.cold.marks & mark::EARLY_FIN != 0
            && self.cold.episode().early_fin == self.hot.rcv_nxt
        {
            return Ok(self.on_fin());
        }
        Ok(Outcome::Keep)
    }

    /// A FIN behind a hole counts once the hole is filled. The flag keeps the
    /// segment that fills it off the fast path.
    #[cold]
    fn keep_early_fin(&mut self, env: &mut Env<'_>, at: SeqNum) {
        self.ack_now();
        if let Some(episode) = self.begin_episode(env) {
            episode.early_fin = at;
            self.cold.marks |= mark::EARLY_FIN;
            self.hot.set(flag::OUT_OF_ORDER);
        }
    }

    /// Queues the payload, in one piece or several.
    #[inline]
    fn take_payload(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        mut frame: FrameBuf,
        len: u32,
    ) -> Result<(), DropReason> {
        frame.trim_front(seg.header_len);
        frame.truncate(len as usize);
        if env.rest.is_empty() {
            return self.on_data(env, seg.seq, frame.freeze());
        }
        let mut left = len - u32::try_from(frame.len()).unwrap_or(len).min(len);
        let mut at = seg.seq + (len - left);
        if !frame.is_empty() {
            self.on_data(env, seg.seq, frame.freeze())?;
        }
        let pieces: ArrayVec<FrameBuf, { super::MAX_REST }> = core::mem::take(env.rest);
        for mut piece in pieces {
            piece.truncate(left as usize);
            if piece.is_empty() {
                continue;
            }
            let took = u32::try_from(piece.len()).unwrap_or(left);
            self.on_data(env, at, piece.freeze())?;
            at += took;
            left -= took;
        }
        Ok(())
    }

    /// RFC 9293, 3.10.7.4, eighth: check the FIN bit.
    fn on_fin(&mut self) -> Outcome {
        self.hot.rcv_nxt += 1;
        self.hot.rcv_adv = self.hot.rcv_adv.later(self.hot.rcv_nxt);
        self.ack_now();
        self.wake_reader();
        match self.hot.state {
            TcpState::Established => self.hot.state = TcpState::CloseWait,
            TcpState::FinWait1 if self.hot.fin_acked() => return self.enter_time_wait(),
            TcpState::FinWait1 => self.hot.state = TcpState::Closing,
            TcpState::FinWait2 => return self.enter_time_wait(),
            _ => {}
        }
        self.wake_writer();
        Outcome::Keep
    }
}

fn sack_of(frame: &FrameBuf, seg: &Segment) -> ArrayVec<(u32, u32), 4> {
    frame
        .get(MIN_HEADER..seg.header_len)
        .and_then(TcpOptions::parse)
        .map(|options| options.sack_blocks)
        .unwrap_or_default()
}
