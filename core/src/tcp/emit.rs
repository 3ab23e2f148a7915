//! Segments leave: headers written, payload attached, the burst filled.
//!
//! A segment's header is written into the headroom of the payload's own frame
//! where nobody else holds it, else into a frame of its own that goes before
//! the payload.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, FrameBuf, FramePool, FrameRef, Gso, GsoKind, Instant, TxBurst};

use super::Env;
use super::header::{self, HeaderFields, OptionBytes};
use super::node::NodeId;
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use super::template::Template;
use crate::wire::tcp::SYN;
use crate::{Counter, FlowKey};

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
    /// The neighbour is resolved: `Cold::template` holds.
    pub(crate) resolved: bool,
    /// Takes one segment when it is not.
    pub(crate) unresolved: &'a mut Option<Unresolved>,
}

impl Sink<'_> {
    #[inline]
    pub(super) fn has_room(&self, pieces: usize) -> bool {
        if self.resolved {
            self.tx.has_room(pieces)
        } else {
            self.unresolved.is_none()
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
pub(super) struct Batch {
    pub(super) first: NodeId,
    pub(super) count: usize,
    pub(super) len: u32,
}

impl Tcb<'_> {
    /// The fields of the next segment's header; moves the promised window.
    #[inline(always)]
    pub(super) fn fields(
        &mut self,
        now: Instant,
        pool: &FramePool,
        seq: SeqNum,
        flags: u8,
    ) -> HeaderFields {
        let bytes = self.advance_window(pool);
        let shift = if flags & SYN != 0 {
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
            .then(|| (self.timestamp(now), self.hot.ts_recent));
        HeaderFields {
            seq,
            ack: self.hot.rcv_nxt,
            flags,
            window,
            timestamps,
            ecn: 0,
        }
    }

    /// The peer has been told all that there is to tell.
    #[inline]
    pub(super) fn acknowledged(&mut self) {
        self.hot.clear(flag::ACK_NOW);
        self.hot.ack_at = Instant::ZERO;
        self.hot.last_ack_sent = self.hot.rcv_nxt;
    }

    /// Emits a segment with the payload of `batch`.
    #[inline]
    pub(super) fn emit(
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
        let new_data = seq == self.hot.snd_nxt;
        let flags = flags | self.ecn_flags(new_data);
        if !sink.resolved {
            return self.emit_unresolved(env, sink, seq, flags, Some(batch.first));
        }
        let mut fields = self.fields(env.now, env.pool, seq, flags);
        if new_data && self.hot.snd_wnd != 0 {
            fields.ecn = self.ecn_codepoint();
        }
        let header_len = header::header_len(self.key, self.hot.option_bytes());
        let len = batch.len as usize;
        let offload = sink.caps.tx_checksum || batch.len > u32::from(self.hot.mss);
        let sum = if offload {
            None
        } else {
            Some(sum_batch(env, batch))
        };
        let (key, template) = (self.key, &self.cold.template);
        // The template marks new data.
        let fits = fields.ecn != 0 || !self.hot.has(flag::ECN);
        let write = |out: &mut [u8]| {
            if fits {
                write_plain(out, template, key, &fields, (len, sum));
            } else {
                let options = header::plain_options(fields.timestamps, &[]);
                header::write_all(out, template, key, &fields, &options, (len, sum));
            }
        };
        let mut meta = header::meta(header::transport_at(key), offload);
        let in_place = if batch.count == 1 {
            env.nodes
                .get_mut(batch.first)
                .and_then(|node| node.frame.as_mut())
                .and_then(|frame| frame.with_header(header_len, write))
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
                meta.gso = Some(self.segmentation(header_len));
            }
            sink.tx.seal(meta);
        }
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        Stop::Done
    }

    /// What the device is asked to cut.
    fn segmentation(&self, header_len: usize) -> Gso {
        Gso {
            kind: if self.key.is_v4() {
                GsoKind::TcpV4
            } else {
                GsoKind::TcpV6
            },
            size: self.hot.mss,
            header_len: u16::try_from(header_len).unwrap_or(0),
        }
    }

    /// Emits a segment without payload.
    pub(super) fn emit_bare(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        seq: SeqNum,
        flags: u8,
    ) -> Stop {
        if !sink.has_room(1) {
            return Stop::Full;
        }
        if !sink.resolved {
            return self.emit_unresolved(env, sink, seq, flags, None);
        }
        let Some(mut head) = env.pool.alloc() else {
            return Stop::NoFrame;
        };
        let mut fields = self.fields(env.now, env.pool, seq, flags);
        let offload = sink.caps.tx_checksum;
        let sum = if offload { None } else { Some(Sum::ZERO) };
        let key = self.key;
        let plain = flags & SYN == 0 && !self.hot.has(flag::OUT_OF_ORDER | flag::ECN);
        if plain {
            let template = &self.cold.template;
            let header_len = header::header_len(key, self.hot.option_bytes());
            if let Some(out) = head.push_back(header_len) {
                write_plain(out, template, key, &fields, (0, sum));
            }
        } else {
            if flags & SYN == 0 {
                fields.flags |= self.ecn_flags(false);
            }
            let options = self.bare_options(env, &fields);
            let template = &self.cold.template;
            if let Some(out) = head.push_back(header::header_len(key, options.len())) {
                header::write_all(out, template, key, &fields, &options, (0, sum));
            }
        }
        let meta = header::meta(header::transport_at(key), offload);
        drop(sink.tx.push(head.freeze(), meta));
        env.counters.inc(Counter::TcpSegmentsOut);
        if !plain && self.hot.has(flag::OUT_OF_ORDER) {
            self.reported(env);
        }
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
        let fields = self.fields(env.now, env.pool, seq, flags);
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

    fn bare_options(&mut self, env: &Env<'_>, fields: &HeaderFields) -> OptionBytes {
        if fields.flags & SYN != 0 {
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
        let timestamps = if opens && self.hot.has(flag::TIMESTAMPS) {
            Some((self.timestamp(env.now), 0))
        } else {
            fields.timestamps
        };
        let sack = self.hot.has(flag::SACK);
        let scale = self.hot.has(flag::SCALE).then_some(self.hot.rcv_scale);
        header::syn_options(self.cold.our_mss, sack, timestamps, scale)
    }
}

/// Headers of a segment whose only options are timestamps, if any.
#[inline]
pub(crate) fn write_plain(
    out: &mut [u8],
    template: &Template,
    key: &FlowKey,
    fields: &HeaderFields,
    payload: (usize, Option<Sum>),
) {
    if let Ok(out) = <&mut [u8; header::V4_TIMED]>::try_from(&mut *out) {
        header::write_plain(out, template, key, fields, payload);
    } else if let Ok(out) = <&mut [u8; header::V6_TIMED]>::try_from(&mut *out) {
        header::write_plain(out, template, key, fields, payload);
    } else {
        let options = header::plain_options(fields.timestamps, &[]);
        header::write_all(out, template, key, fields, &options, payload);
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
