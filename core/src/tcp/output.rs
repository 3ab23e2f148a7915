//! What a connection sends: once per touched flow and turn (RFC 9293, 3.7,
//! 3.8.6).
//!
//! The retransmit queue is the send queue: a segment stays in it until it is
//! acknowledged.

use pollwire_rings::Instant;

use super::Env;
use super::emit::{Batch, Sink, Stop};
use super::header;
use super::node::{NodeId, SENT};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::Counter;
use crate::wire::tcp::{ACK, FIN, PSH};

/// A flow that found no frame for its header tries again after this long.
const NO_FRAME_RETRY_NANOS: u64 = 1_000_000;
/// Pieces of one packet at the most, whatever the device takes.
const MAX_PIECES: usize = 18;

impl Tcb<'_> {
    /// Sends what may be sent now.
    pub(crate) fn poll_transmit(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let stop = self.transmit(env, sink);
        if stop == Stop::NoFrame {
            env.counters.inc(Counter::NoFrame);
            self.hot.ack_at = env.now.plus_nanos(NO_FRAME_RETRY_NANOS);
        }
        stop
    }

    fn transmit(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        if self.hot.has(flag::SEND_SYN) && self.hot.state != TcpState::Closed {
            return self.send_syn(env, sink);
        }
        if !self.hot.state.is_synchronized() {
            return self.send_ack_before_open(env, sink);
        }
        if self.hot.lost > 0 || self.hot.has(flag::UNUSUAL_OUTPUT) {
            let stop = self.send_unusual(env, sink);
            if stop != Stop::Done {
                return stop;
            }
        }
        if self.hot.unsent.is_some() {
            let stop = self.send_plain(env, sink);
            if stop != Stop::Done {
                return stop;
            }
        }
        if self.hot.unsent.is_some() {
            let stop = self.send_new(env, sink);
            if stop != Stop::Done {
                return stop;
            }
        }
        if self.hot.flags & (flag::FIN_QUEUED | flag::FIN_SENT) == flag::FIN_QUEUED
            && self.hot.unsent.is_none()
        {
            let stop = self.send_fin(env, sink);
            if stop != Stop::Done {
                return stop;
            }
        }
        if self.hot.has(flag::ACK_NOW | flag::SEND_PROBE) {
            return self.send_ack(env, sink);
        }
        Stop::Done
    }

    /// Sends data never sent before.
    fn send_new(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        if !self.hot.has(flag::PACED) {
            return self.send_unsent(env, sink, u32::MAX);
        }
        let (start, budget) = (self.hot.snd_nxt, self.pacing_budget(env.now));
        let stop = self.send_unsent(env, sink, budget);
        let sent = self.hot.snd_nxt.bytes_since(start);
        if sent > 0 {
            self.note_paced(env.now, sent);
        }
        stop
    }

    /// The same, until `budget` bytes are sent.
    fn send_unsent(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>, budget: u32) -> Stop {
        let start = self.hot.snd_nxt;
        while let Some(first) = self.hot.unsent
            && self.hot.snd_nxt.bytes_since(start) < budget
        {
            let Some(batch) = self.next_batch(env, sink, first) else {
                return Stop::Done;
            };
            let stop = self.send_batch(env, sink, &batch);
            if stop != Stop::Done {
                return stop;
            }
            self.note_sent_in_recovery(batch.len);
            self.arm_rtx(env);
            if self.hot.rtt.backoff > 0 {
                self.hot.rtx_at = self.rto_from(env.now);
            }
        }
        Stop::Done
    }

    /// Sends unsent nodes as one packet; with FIN if they are the last.
    #[inline]
    pub(super) fn send_batch(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        batch: &Batch,
    ) -> Stop {
        let seq = self.hot.snd_nxt;
        let last = seq + batch.len == self.hot.snd_end;
        let fin = last && self.hot.has(flag::FIN_QUEUED);
        let mut flags = ACK;
        // A packet that the device cuts is pushed, as Linux does: the peer's
        // receive offload then hands it up without waiting for more.
        if last || batch.len > u32::from(self.hot.mss) {
            flags |= PSH;
        }
        if fin {
            flags |= FIN;
        }
        let stop = self.emit(env, sink, seq, flags, batch);
        if stop != Stop::Done {
            return stop;
        }
        self.mark_sent(env, batch);
        if fin {
            self.hot.set(flag::FIN_SENT);
            self.hot.snd_nxt += 1;
        }
        Stop::Done
    }

    #[inline]
    pub(super) fn mark_sent(&mut self, env: &mut Env<'_>, batch: &Batch) {
        let mut at = Some(batch.first);
        for _ in 0..batch.count {
            let Some(node) = at.and_then(|id| env.nodes.get_mut(id)) else {
                break;
            };
            node.marks = SENT;
            node.sent_at = env.now;
            at = node.next;
        }
        self.hot.unsent = at;
        self.hot.snd_nxt += batch.len;
    }

    /// Chooses what the next packet carries, by the peer's window, `cwnd`,
    /// Nagle's algorithm (RFC 9293, 3.7.4) and silly-window avoidance
    /// (3.8.6.2.1). `None`: nothing may be sent now.
    #[inline]
    fn next_batch(&mut self, env: &mut Env<'_>, sink: &Sink<'_>, first: NodeId) -> Option<Batch> {
        let mss = u32::from(self.hot.mss);
        let window = (self.hot.snd_una + self.hot.snd_wnd).bytes_since(self.hot.snd_nxt);
        let allowed = window.min(self.hot.cwnd.saturating_sub(self.hot.pipe()));
        let head = env.nodes.get(first)?.len;
        if head > allowed || self.hot.has(flag::WINDOW_PROBE) {
            return self.squeezed_batch(env, first, window, head);
        }
        let most = if self.can_segment(sink) {
            allowed
                .min(sink.caps.max_gso_bytes.min(65_535) - 128)
                .max(mss)
        } else {
            mss.min(allowed)
        };
        let pieces = usize::from(sink.caps.max_tx_pieces).min(MAX_PIECES) - 1;
        let (mut len, mut count, mut at) = (0, 0, Some(first));
        while let Some(node) = at.and_then(|id| env.nodes.get(id)) {
            if len + node.len > most || count == pieces {
                break;
            }
            len += node.len;
            count += 1;
            at = node.next;
        }
        if count == 0 {
            // A node longer than a segment: the segment size shrank meanwhile.
            if !env.nodes.split(&mut self.hot.send, first, mss) {
                return None;
            }
            return Some(Batch {
                first,
                count: 1,
                len: mss,
            });
        }
        let tail = at.is_none();
        let hold = tail
            && len < mss
            && self.hot.flight() > 0
            && !self.hot.has(flag::NODELAY | flag::FIN_QUEUED);
        if hold {
            None
        } else {
            Some(Batch { first, count, len })
        }
    }

    /// The first node does not fit the window, or a probe is due.
    fn squeezed_batch(
        &mut self,
        env: &mut Env<'_>,
        first: NodeId,
        window: u32,
        head: u32,
    ) -> Option<Batch> {
        let probe = self.hot.has(flag::WINDOW_PROBE);
        self.hot.clear(flag::WINDOW_PROBE);
        let len = if probe { window.max(1) } else { window };
        let len = len.min(head).min(u32::from(self.hot.mss));
        let room = self.hot.cwnd.saturating_sub(self.hot.pipe());
        if room < len {
            self.note_cwnd_limited();
        }
        let worth = len >= head || (len > 0 && len >= self.cold.max_snd_wnd / 2);
        if probe || (worth && len <= room) {
            if len < head && !env.nodes.split(&mut self.hot.send, first, len) {
                return None;
            }
            return Some(Batch {
                first,
                count: 1,
                len,
            });
        }
        if self.hot.flight() == 0 && !self.hot.has(flag::PERSIST) {
            self.hot.clear(flag::IDLE);
            self.hot.set(flag::PERSIST);
            self.cold.stuck_since = env.now;
            self.hot.rtx_at = self.rto_from(env.now);
        }
        None
    }

    /// Whether the device cuts this flow's packets.
    #[inline]
    pub(super) fn can_segment(&self, sink: &Sink<'_>) -> bool {
        let offered = if self.key.is_v4() {
            sink.caps.tso4
        } else {
            sink.caps.tso6
        };
        offered && sink.resolved && !self.hot.has(flag::RECOVERY | flag::ECN_CWR)
    }

    fn send_fin(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let stop = self.emit_bare(env, sink, self.hot.snd_end, ACK | FIN);
        if stop == Stop::Done {
            self.hot.set(flag::FIN_SENT);
            self.hot.snd_nxt = self.hot.snd_end + 1;
            self.arm_rtx(env);
        }
        stop
    }

    /// In SYN-RECEIVED there may be a challenge to answer (RFC 5961).
    #[cold]
    fn send_ack_before_open(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let due = self.hot.state == TcpState::SynReceived && self.hot.has(flag::ACK_NOW);
        if due {
            self.send_ack(env, sink)
        } else {
            Stop::Done
        }
    }

    pub(super) fn send_ack(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let probe = self.hot.has(flag::SEND_PROBE);
        let edge = self.hot.snd_una + self.hot.snd_wnd;
        let seq = if probe {
            self.hot.snd_nxt - 1
        } else if edge.before(self.hot.snd_nxt) {
            self.seq_within_window()
        } else {
            self.hot.snd_nxt
        };
        let stop = self.emit_bare(env, sink, seq, ACK);
        if stop == Stop::Done {
            self.hot.clear(flag::SEND_PROBE);
        }
        stop
    }

    /// The number of an ACK while what was sent ends beyond the peer's window.
    ///
    /// RFC 9293, 3.8.6: a sender "MUST be robust against window shrinking". A
    /// peer that took back a window refuses what lies beyond (3.10.7.4), and the
    /// acknowledgement in it, so both ends may wait for each other: that ACK has
    /// the last number that the peer takes. Not so when the window's scale has
    /// but rounded it off: then what was sent has arrived, or is about to.
    #[cold]
    fn seq_within_window(&self) -> SeqNum {
        let edge = self.hot.snd_una + self.hot.snd_wnd;
        if self.hot.snd_wnd == 0 {
            edge
        } else if self.hot.snd_nxt.bytes_since(edge) < 1 << self.hot.snd_scale {
            self.hot.snd_nxt
        } else {
            edge - 1
        }
    }

    fn send_syn(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let answers = self.hot.state == TcpState::SynReceived;
        let flags = header::syn_flags(answers) | self.ecn_syn_flags();
        let stop = self.emit_bare(env, sink, self.cold.iss, flags);
        if stop == Stop::Done {
            self.hot.clear(flag::SEND_SYN);
            self.hot.snd_nxt = self.cold.iss + 1;
            self.arm_rtx(env);
        }
        stop
    }

    /// Starts the retransmission timer unless it runs (RFC 6298, 5.1).
    #[inline(always)]
    pub(super) fn arm_rtx(&mut self, env: &Env<'_>) {
        if self.hot.rtx_at <= env.now || self.hot.has(flag::PERSIST | flag::IDLE) {
            if self.hot.rtx_at == Instant::ZERO || self.hot.has(flag::IDLE) {
                self.cold.stuck_since = env.now;
            }
            self.hot.clear(flag::TIMER_MODES);
            self.hot.rtx_at = env.now.plus_nanos(self.rtx_timeout());
        } else if self.hot.has(flag::LONE_TIMER) {
            self.hasten_probe(env.now);
        }
    }
}
