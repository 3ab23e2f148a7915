//! What a connection sends: once per touched flow and turn (RFC 9293, 3.7,
//! 3.8.6).
//!
//! The retransmit queue is the send queue. A segment's header is written into
//! the headroom of the payload's own frame where nobody else holds it, else
//! into a frame of its own that goes before the payload.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, FrameBuf, FrameRef, Gso, GsoKind, Instant, TxBurst, TxMeta};

use super::Env;
use super::header::{self, HeaderFields, OptionBytes, Payload};
use super::node::{EVER_RETRANSMITTED, NodeId, RETRANSMITTED, SENT};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::Counter;
use crate::wire::tcp::{ACK, FIN, PSH};

/// A flow that found no frame for its header tries again after this long.
const NO_FRAME_RETRY_NANOS: u64 = 1_000_000;
/// Pieces of one packet at the most, whatever the device takes.
const MAX_PIECES: usize = 18;

/// A segment whose neighbour is not resolved yet: it waits in the neighbour's
/// queue. The header holds TCP only.
pub(crate) struct Unresolved {
    pub(crate) header: FrameBuf,
    pub(crate) payload: Option<FrameRef>,
}

/// Where segments go.
pub(crate) struct Sink<'a> {
    pub(crate) tx: &'a mut TxBurst,
    pub(crate) caps: &'a Caps,
    /// Ethernet header towards the peer, once the neighbour is resolved.
    pub(crate) link: Option<[u8; 14]>,
    /// Takes one segment when it is not.
    pub(crate) unresolved: &'a mut Option<Unresolved>,
}

impl Sink<'_> {
    fn has_room(&self, pieces: usize) -> bool {
        match self.link {
            Some(_) => self.tx.has_room(pieces),
            None => self.unresolved.is_none(),
        }
    }
}

/// Why output stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing more to send now.
    Done,
    /// The burst is full: call again in this turn.
    Full,
    /// No frame for a header: a timer will try again.
    NoFrame,
}

/// A run of unsent nodes that goes out as one packet.
struct Batch {
    first: NodeId,
    count: usize,
    len: u32,
}

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
            return Stop::Done;
        }
        if self.hot.lost > 0 || self.hot.has(flag::RESEND_FIN) {
            let stop = self.send_lost(env, sink);
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

    /// Retransmits what is taken for lost, as far as `cwnd` allows; one segment
    /// always when nothing is in the network.
    fn send_lost(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        while let Some(id) = self.next_lost(env) {
            let pipe = self.hot.pipe();
            let Some(node) = env.nodes.get(id) else { break };
            let (seq, len, end) = (node.seq, node.len, node.end());
            let forced = self.hot.has(flag::FORCE_RETRANSMIT);
            if pipe > 0 && pipe + len > self.hot.cwnd && !forced {
                return Stop::Done;
            }
            let fin = self.hot.has(flag::FIN_SENT) && end == self.hot.snd_end;
            let flags = if fin { ACK | PSH | FIN } else { ACK | PSH };
            let batch = Batch {
                first: id,
                count: 1,
                len,
            };
            let stop = self.emit(env, sink, seq, flags, &batch);
            if stop != Stop::Done {
                return stop;
            }
            let done = if fin { flag::RESEND_FIN } else { 0 };
            self.hot.clear(flag::FORCE_RETRANSMIT | done);
            if let Some(node) = env.nodes.get_mut(id) {
                node.marks |= RETRANSMITTED | EVER_RETRANSMITTED;
                node.sent_at = env.now;
            }
            self.hot.retransmitted += len;
            env.counters.inc(Counter::TcpRetransmits);
            self.arm_rtx(env);
        }
        if self.hot.has(flag::RESEND_FIN) && self.hot.flight() > 0 {
            let stop = self.emit_bare(env, sink, self.hot.snd_end, ACK | FIN);
            if stop != Stop::Done {
                return stop;
            }
            self.hot.clear(flag::RESEND_FIN);
            env.counters.inc(Counter::TcpRetransmits);
            self.arm_rtx(env);
        }
        Stop::Done
    }

    /// Sends data never sent before.
    fn send_new(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        while let Some(first) = self.hot.unsent {
            let Some(batch) = self.next_batch(env, sink, first) else {
                return Stop::Done;
            };
            let seq = self.hot.snd_nxt;
            let last = seq + batch.len == self.hot.snd_end;
            let fin = last && self.hot.has(flag::FIN_QUEUED);
            let mut flags = ACK;
            if last {
                flags |= PSH;
            }
            if fin {
                flags |= FIN;
            }
            let stop = self.emit(env, sink, seq, flags, &batch);
            if stop != Stop::Done {
                return stop;
            }
            self.mark_sent(env, &batch);
            if fin {
                self.hot.set(flag::FIN_SENT);
                self.hot.snd_nxt += 1;
            }
            self.arm_rtx(env);
        }
        Stop::Done
    }

    #[inline]
    fn mark_sent(&mut self, env: &mut Env<'_>, batch: &Batch) {
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
            self.hot.set(flag::PERSIST);
            self.hot.rtx_at = env.now.plus_nanos(self.hot.rtt.rto_nanos());
        }
        None
    }

    /// Whether the device cuts this flow's packets.
    #[inline]
    fn can_segment(&self, sink: &Sink<'_>) -> bool {
        let offered = if self.key.is_v4() {
            sink.caps.tso4
        } else {
            sink.caps.tso6
        };
        offered && sink.link.is_some() && !self.hot.has(flag::RECOVERY)
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

    fn send_ack(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let probe = self.hot.has(flag::SEND_PROBE);
        let seq = if probe {
            self.hot.snd_nxt - 1
        } else {
            self.hot.snd_nxt
        };
        let stop = self.emit_bare(env, sink, seq, ACK);
        if stop == Stop::Done {
            self.hot.clear(flag::SEND_PROBE);
        }
        stop
    }

    fn send_syn(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let answers = self.hot.state == TcpState::SynReceived;
        let stop = self.emit_bare(env, sink, self.cold.iss, header::syn_flags(answers));
        if stop == Stop::Done {
            self.hot.clear(flag::SEND_SYN);
            self.hot.snd_nxt = self.cold.iss + 1;
            self.arm_rtx(env);
        }
        stop
    }

    /// Starts the retransmission timer unless it runs (RFC 6298, 5.1).
    #[inline]
    fn arm_rtx(&mut self, env: &Env<'_>) {
        if self.cold.stuck_since == Instant::ZERO {
            self.cold.stuck_since = env.now;
        }
        if self.hot.rtx_at <= env.now || self.hot.has(flag::PERSIST) {
            self.hot.clear(flag::PERSIST);
            self.hot.rtx_at = env.now.plus_nanos(self.hot.rtt.rto_nanos());
        }
    }

    /// The fields of the next segment's header; moves the promised window.
    #[inline]
    fn fields(&mut self, env: &Env<'_>, seq: SeqNum, flags: u8) -> HeaderFields {
        let bytes = self.advance_window(env);
        let shift = if flags & crate::wire::tcp::SYN != 0 {
            0
        } else {
            self.hot.rcv_scale
        };
        // Rounded up: rounding down would take back what was promised.
        let units = (bytes + (1 << shift) - 1) >> shift;
        let window = u16::try_from(units).unwrap_or(u16::MAX);
        let edge = self.hot.rcv_nxt + (u32::from(window) << shift);
        self.hot.rcv_adv = self.hot.rcv_adv.later(edge);
        let timestamps = self
            .hot
            .has(flag::TIMESTAMPS)
            .then(|| (self.timestamp(env.now), self.hot.ts_recent));
        HeaderFields {
            seq,
            ack: self.hot.rcv_nxt,
            flags,
            window,
            timestamps,
        }
    }

    /// The peer has been told all that there is to tell.
    #[inline]
    fn acknowledged(&mut self) {
        self.hot.clear(flag::ACK_NOW);
        self.hot.ack_at = Instant::ZERO;
        self.hot.last_ack_sent = self.hot.rcv_nxt;
    }

    /// Emits a segment with the payload of `batch`.
    #[inline]
    fn emit(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        seq: SeqNum,
        flags: u8,
        batch: &Batch,
    ) -> Stop {
        if !sink.has_room(batch.count + 1) {
            return Stop::Full;
        }
        let Some(link) = sink.link else {
            return self.emit_unresolved(env, sink, seq, flags, Some(batch.first));
        };
        let fields = self.fields(env, seq, flags);
        let options = self.data_options(&fields);
        let header_len = header::header_len(self.key, options.len());
        let len = batch.len as usize;
        let payload = if sink.caps.tx_checksum || batch.len > u32::from(self.hot.mss) {
            Payload::Offloaded(len)
        } else {
            Payload::Summed(len, sum_batch(env, batch))
        };
        let key = self.key;
        let mut meta = TxMeta::default();
        let mut write = |out: &mut [u8]| {
            meta = header::write_all(out, &link, key, &fields, &options, payload);
        };
        let in_place = if batch.count == 1 {
            env.nodes
                .get_mut(batch.first)
                .and_then(|node| node.frame.as_mut())
                .and_then(|frame| frame.with_header(header_len, &mut write))
        } else {
            None
        };
        if let Some(whole) = in_place {
            drop(sink.tx.push(whole, meta));
        } else {
            let Some(mut head) = env.pool.alloc() else {
                return Stop::NoFrame;
            };
            if let Some(out) = head.push_back(header_len) {
                write(out);
            }
            drop(sink.tx.push_piece(head.freeze()));
            push_payload(env, sink.tx, batch);
            if batch.len > u32::from(self.hot.mss) {
                let kind = if key.is_v4() {
                    GsoKind::TcpV4
                } else {
                    GsoKind::TcpV6
                };
                let header_len = u16::try_from(header_len).unwrap_or(0);
                meta.gso = Some(Gso {
                    kind,
                    size: self.hot.mss,
                    header_len,
                });
            }
            sink.tx.seal(meta);
        }
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        Stop::Done
    }

    /// Emits a segment without payload.
    fn emit_bare(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        seq: SeqNum,
        flags: u8,
    ) -> Stop {
        if !sink.has_room(1) {
            return Stop::Full;
        }
        let Some(link) = sink.link else {
            return self.emit_unresolved(env, sink, seq, flags, None);
        };
        let fields = self.fields(env, seq, flags);
        let options = self.bare_options(env, &fields);
        let header_len = header::header_len(self.key, options.len());
        let payload = if sink.caps.tx_checksum {
            Payload::Offloaded(0)
        } else {
            Payload::Summed(0, Sum::ZERO)
        };
        let Some(mut head) = env.pool.alloc() else {
            return Stop::NoFrame;
        };
        let mut meta = TxMeta::default();
        if let Some(out) = head.push_back(header_len) {
            meta = header::write_all(out, &link, self.key, &fields, &options, payload);
        }
        drop(sink.tx.push(head.freeze(), meta));
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        Stop::Done
    }

    /// Hands one segment to the neighbour's queue.
    #[cold]
    fn emit_unresolved(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        seq: SeqNum,
        flags: u8,
        node: Option<NodeId>,
    ) -> Stop {
        let Some(mut header) = env.pool.alloc() else {
            return Stop::NoFrame;
        };
        let fields = self.fields(env, seq, flags);
        let options = self.bare_options(env, &fields);
        let payload = node
            .and_then(|id| env.nodes.get(id))
            .and_then(|node| node.frame.clone());
        let sum = payload
            .as_ref()
            .map_or(Sum::ZERO, |payload| Sum::of(payload));
        let len = payload.as_ref().map_or(0, |payload| payload.len());
        if let Some(out) = header.push_back(20 + options.len()) {
            header::write_tcp(out, self.key, &fields, &options);
            let pseudo = header::pseudo_sum(self.key, out.len() + len);
            let check = pseudo.add_bytes(out).then(sum, 0).finish();
            if let Some(field) = out.get_mut(16..18) {
                field.copy_from_slice(&check.to_be_bytes());
            }
        }
        *sink.unresolved = Some(Unresolved { header, payload });
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        Stop::Done
    }

    #[inline]
    fn data_options(&self, fields: &HeaderFields) -> OptionBytes {
        header::plain_options(fields.timestamps, &[])
    }

    fn bare_options(&self, env: &Env<'_>, fields: &HeaderFields) -> OptionBytes {
        if fields.flags & crate::wire::tcp::SYN != 0 {
            return self.syn_options(env, fields);
        }
        if self.hot.has(flag::OUT_OF_ORDER) && self.hot.has(flag::SACK) {
            let most = if fields.timestamps.is_some() { 3 } else { 4 };
            return header::plain_options(fields.timestamps, &self.sack_blocks(env, most));
        }
        header::plain_options(fields.timestamps, &[])
    }

    fn syn_options(&self, env: &Env<'_>, fields: &HeaderFields) -> OptionBytes {
        let opens = self.hot.state == TcpState::SynSent;
        let timestamps = if opens {
            Some((self.timestamp(env.now), 0))
        } else {
            fields.timestamps
        };
        let sack = opens || self.hot.has(flag::SACK);
        let scale = (opens || self.hot.has(flag::SCALE)).then_some(self.hot.rcv_scale);
        header::syn_options(self.cold.our_mss, sack, timestamps, scale)
    }
}

#[inline]
fn sum_batch(env: &Env<'_>, batch: &Batch) -> Sum {
    let (mut sum, mut len, mut at) = (Sum::ZERO, 0, Some(batch.first));
    for _ in 0..batch.count {
        let Some(node) = at.and_then(|id| env.nodes.get(id)) else {
            break;
        };
        if let Some(frame) = &node.frame {
            let piece = Sum::of(frame);
            sum = if len == 0 {
                piece
            } else {
                sum.then(piece, len)
            };
            len += frame.len();
        }
        at = node.next;
    }
    sum
}

fn push_payload(env: &Env<'_>, tx: &mut TxBurst, batch: &Batch) {
    let mut at = Some(batch.first);
    for _ in 0..batch.count {
        let Some(node) = at.and_then(|id| env.nodes.get(id)) else {
            break;
        };
        if let Some(frame) = &node.frame {
            drop(tx.push_piece(frame.clone()));
        }
        at = node.next;
    }
}
