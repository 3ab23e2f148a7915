//! What an acknowledgement does to the send side (RFC 9293, 3.10.7.4, "check
//! the ACK field"; RFC 5681).

use pollwire_rings::Instant;

use super::Env;
use super::coarse::millis;
use super::recovery::DISORDER;
use super::segment::Segment;
use super::seq::SeqNum;
use super::tcb::{Tcb, flag};
use crate::Counter;
use crate::wire::tcp::ECE;

impl Tcb<'_> {
    /// Takes the acknowledgement, the window and the SACK blocks of an
    /// acceptable segment. The caller has checked that `seg.ack` lies within
    /// what was sent.
    #[inline]
    pub(crate) fn on_ack(&mut self, env: &mut Env<'_>, seg: &Segment, sack: &[(u32, u32)]) {
        let old_window = self.hot.snd_wnd;
        let (una, sacked) = (self.hot.snd_una, self.hot.sacked);
        let advanced = seg.ack.after(self.hot.snd_una);
        if seg.ack.at_or_after(self.hot.snd_una) {
            self.update_window(seg);
        }
        if seg.has(ECE) && self.hot.has(flag::ECN) {
            self.on_ecn_echo(env, seg.ack);
        }
        if advanced {
            self.on_new_ack(env, seg.ack, seg.timestamps);
        } else if self.is_duplicate_ack(seg, old_window) {
            self.on_duplicate_ack();
        }
        let duplicate = if sack.is_empty() {
            None
        } else {
            self.on_sack(env, seg, sack)
        };
        if self.hot.has(DISORDER) || self.hot.dup_acks > 0 {
            self.on_probe_ack(env, seg, advanced, !sack.is_empty(), duplicate);
            self.on_ack_after_timeout(env, advanced, sack);
            let acked = self.hot.snd_una.bytes_since(una) + self.hot.sacked;
            self.detect_loss(env, acked.saturating_sub(sacked), advanced);
        }
        if self.hot.has(flag::WATCHED) {
            self.on_mtu_probe_ack(env);
        }
        self.after_window_change(env, old_window);
    }

    /// RFC 9293, 3.10.7.4: "If SND.UNA =< SEG.ACK =< SND.NXT, the send window
    /// should be updated. If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and
    /// SND.WL2 =< SEG.ACK)), set SND.WND <- SEG.WND".
    #[inline]
    fn update_window(&mut self, seg: &Segment) {
        let newer = self.hot.snd_wl1.before(seg.seq)
            || (self.hot.snd_wl1 == seg.seq && self.hot.snd_wl2.at_or_before(seg.ack));
        if !newer {
            return;
        }
        let window = u32::from(seg.window) << self.hot.snd_scale;
        self.hot.snd_wl1 = seg.seq;
        self.hot.snd_wl2 = seg.ack;
        if window != self.hot.snd_wnd {
            self.hot.snd_wnd = window;
            self.cold.max_snd_wnd = self.cold.max_snd_wnd.max(window);
        }
    }

    /// RFC 5681, 2: an ACK is a duplicate when data is outstanding, it carries
    /// no data, neither SYN nor FIN, acknowledges nothing new and leaves the
    /// window as it was.
    fn is_duplicate_ack(&self, seg: &Segment, old_window: u32) -> bool {
        seg.ack == self.hot.snd_una
            && self.hot.flight() > 0
            && seg.seq_len() == 0
            && self.hot.snd_wnd == old_window
    }

    /// [`on_new_ack`](Self::on_new_ack) for an expected segment, outside of
    /// recovery: at once where it acknowledges the one segment in flight, as a
    /// reply does.
    #[inline(always)]
    pub(crate) fn on_expected_ack(
        &mut self,
        env: &mut Env<'_>,
        ack: SeqNum,
        timestamps: (u32, u32),
    ) {
        let sent_at = if ack == self.hot.snd_nxt {
            env.nodes.pop_only(&mut self.hot.send, ack)
        } else {
            None
        };
        let Some(sent_at) = sent_at else {
            return self
                .again()
                .on_new_ack(&mut env.again(), ack, Some(timestamps));
        };
        let acked = ack.raw().wrapping_sub(self.hot.snd_una.raw());
        self.hot.snd_una = ack;
        let rtt_us = self.hot.rtt.sample(env.now.nanos_since(sent_at) / 1000);
        self.hot.rtt.backoff = 0;
        self.grow_window(env, acked, Some(rtt_us));
        self.hot.rtx_at = Instant::ZERO;
        self.cold.stuck_since = env.now;
        env.counters.add(Counter::TcpBytesAcked, u64::from(acked));
        self.wake_writer();
    }

    #[inline(never)]
    pub(crate) fn on_new_ack(
        &mut self,
        env: &mut Env<'_>,
        ack: SeqNum,
        timestamps: Option<(u32, u32)>,
    ) {
        let acked = ack.bytes_since(self.hot.snd_una);
        self.hot.snd_una = ack;
        let sent_at = self.drop_acked(env, ack, timestamps);
        let rtt_us = self.sample_rtt(env, sent_at, timestamps);
        self.hot.rtt.backoff = 0;
        self.cold.stuck_since = env.now;
        if self.hot.has(DISORDER) {
            self.on_ack_in_disorder(env, acked, timestamps.map(|(_, echo)| echo));
            // The sample says when a hole was filled: nothing of a queue.
            self.grow_window(env, acked, None);
        } else {
            self.hot.dup_acks = 0;
            if !self.hot.has(flag::CWND_LIMITED) {
                self.note_window_use(acked);
            }
            self.grow_window(env, acked, rtt_us);
        }
        self.restart_rtx(env);
        env.counters.add(Counter::TcpBytesAcked, u64::from(acked));
        if self.hot.queued() <= self.cold.snd_limit / 2 || self.hot.queued() == 0 {
            self.wake_writer();
        }
    }

    #[cold]
    fn on_ack_in_disorder(&mut self, env: &mut Env<'_>, acked: u32, echo: Option<u32>) {
        self.raise_fack();
        if !self.hot.has(flag::RECOVERY) {
            self.hot.dup_acks = 0;
        } else if !self.undo_by_timestamp(env, echo) {
            self.maybe_leave_recovery(env);
            if !self.hot.has(flag::SACK) {
                self.on_partial_ack(env, acked);
            }
        }
    }

    /// Takes acknowledged nodes off the queue. Returns when the newest of them
    /// was sent, if that gives a valid sample.
    #[inline]
    fn drop_acked(
        &mut self,
        env: &mut Env<'_>,
        ack: SeqNum,
        timestamps: Option<(u32, u32)>,
    ) -> Option<Instant> {
        let sent_at = env.nodes.pop_acked(&mut self.hot.send, ack);
        if self.hot.has(DISORDER)
            && let Some(sent_at) = sent_at
        {
            self.on_delivered_in_order(env, sent_at, timestamps.map(|(_, echo)| echo));
        }
        let head = self.hot.send.head.and_then(|id| env.nodes.get(id));
        if head.is_some_and(|node| node.seq.before(ack)) {
            self.drop_marked(env, ack, timestamps.map(|(_, echo)| echo))
        } else {
            sent_at
        }
    }

    /// RFC 6298, 3 (Karn's algorithm): samples come from segments sent once;
    /// with timestamps an echo says which transmission it was. Returns the
    /// sample, microseconds.
    #[inline]
    fn sample_rtt(
        &mut self,
        env: &Env<'_>,
        sent_at: Option<Instant>,
        timestamps: Option<(u32, u32)>,
    ) -> Option<u32> {
        if let Some(sent_at) = sent_at {
            Some(self.hot.rtt.sample(env.now.nanos_since(sent_at) / 1000))
        } else if let Some((_, echo)) = timestamps
            && self.hot.has(flag::TIMESTAMPS)
            && echo != 0
        {
            let millis = self.timestamp(env.now).wrapping_sub(echo);
            (millis < 60_000).then(|| self.hot.rtt.sample(u64::from(millis) * 1000))
        } else {
            None
        }
    }

    /// The value of this flow's timestamp clock: milliseconds from a secret
    /// offset.
    #[inline]
    pub(crate) fn timestamp(&self, now: Instant) -> u32 {
        millis(now).wrapping_add(self.hot.ts_offset)
    }

    /// RFC 6298, 5.2 and 5.3: off when all is acknowledged, else restarted.
    #[inline]
    pub(crate) fn restart_rtx(&mut self, env: &Env<'_>) {
        self.hot.clear(flag::TIMER_MODES);
        if self.hot.flight() == 0 {
            self.hot.rtx_at = Instant::ZERO;
        } else {
            self.hot.rtx_at = env.now.plus_nanos(self.rtx_timeout());
        }
    }

    /// A window that opens ends persist mode; a probe that a closed window
    /// refused is sent again at once.
    #[inline]
    fn after_window_change(&mut self, env: &mut Env<'_>, old_window: u32) {
        if self.hot.snd_wnd == 0 || old_window != 0 {
            return;
        }
        if self.hot.has(flag::PERSIST) {
            self.hot.clear(flag::PERSIST);
            self.hot.rtt.backoff = 0;
            self.hot.rtx_at = Instant::ZERO;
        }
        if self.hot.flight() > 0 {
            if self.begin_disorder(env) {
                self.forget_retransmission(env);
                self.mark_head_lost(env);
            }
            self.restart_rtx(env);
        }
    }
}
