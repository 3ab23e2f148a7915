//! A run of plain segments: what bulk data and replies look like when nothing
//! is wrong.
//!
//! All headers of a run differ in sequence number, flags and checksum only. So
//! they are made once, with partial sums of what stays, and stamped into the
//! headroom of each payload's own frame.

use pollwire_offload::checksum::Sum;
use pollwire_rings::TxBurst;

use super::Env;
use super::emit::{Sink, Stop};
use super::header::{self, HeaderFields, V4_PLAIN, V4_TIMED, V6_PLAIN, V6_TIMED, tcp_at};
use super::node::{NodeId, SENT};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use super::template::Template;
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, FlowKey};

/// Any of these, and the run is not plain.
const UNUSUAL: u32 = flag::SEND_SYN
    | flag::FIN_QUEUED
    | flag::RECOVERY
    | flag::UNORDERED_ACKS
    | flag::PERSIST
    | flag::WINDOW_PROBE
    | flag::SEND_PROBE
    | flag::ECN_ECHO
    | flag::ECN_CWR
    | flag::PACED
    | flag::WATCHED;

/// Headers of a run, `N` bytes: Ethernet, IP, TCP with timestamps or without
/// options.
struct Run<const N: usize> {
    /// Sequence number and flags left out; the checksum is right where the
    /// device completes it.
    bytes: [u8; N],
    /// Of pseudo-header and TCP header; sequence number and flags left out.
    tcp: Sum,
    /// Payload bytes of each segment.
    len: u32,
}

impl<const N: usize> Run<N> {
    /// Headers of segments with `len` bytes of payload that say what `fields`
    /// says, where sequence number and flags are zero.
    ///
    /// Never inlined: the bytes are to lie in memory as one block, so that they
    /// are copied as one.
    #[inline(never)]
    fn new(template: &Template, key: &FlowKey, fields: &HeaderFields, len: u32) -> Self {
        let mut bytes = [0; N];
        header::write_plain(&mut bytes, template, key, fields, (len as usize, None));
        // The checksum field holds the sum of the pseudo-header, for the device
        // to complete: so this is the sum of both.
        let tcp = Sum::of(&bytes[tcp_at(N)..]);
        Self { bytes, tcp, len }
    }

    /// Writes the headers of one segment. `sum` is its payload's, or `None`
    /// where the device completes the checksum.
    #[inline(always)]
    fn stamp(&self, out: &mut [u8; N], seq: SeqNum, flags: u8, sum: Option<Sum>) {
        let at = tcp_at(N);
        *out = self.bytes;
        out[at + 4..at + 8].copy_from_slice(&seq.raw().to_be_bytes());
        out[at + 13] = flags;
        if let Some(payload) = sum {
            let own = Sum::of_words([seq.raw(), u32::from(flags)]);
            let check = (self.tcp + payload + own).finish();
            out[at + 16..at + 18].copy_from_slice(&check.to_be_bytes());
        }
    }
}

/// A segment that may go out now.
struct Next {
    id: NodeId,
    len: u32,
    last: bool,
}

impl Tcb<'_> {
    /// Sends unsent data as long as it is plain; what is not is left to
    /// `send_new`.
    #[inline]
    pub(super) fn send_plain(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let usual = !self.hot.has(UNUSUAL)
            && matches!(self.hot.state, TcpState::Established | TcpState::CloseWait)
            && sink.resolved
            && !self.can_segment(sink);
        if !usual {
            return Stop::Done;
        }
        let Some(first) = self.next_plain(env) else {
            return Stop::Done;
        };
        match (self.key.is_v4(), self.hot.has(flag::TIMESTAMPS)) {
            (true, true) => self.send_run::<V4_TIMED>(env, sink, first),
            (true, false) => self.send_run::<V4_PLAIN>(env, sink, first),
            (false, true) => self.send_run::<V6_TIMED>(env, sink, first),
            (false, false) => self.send_run::<V6_PLAIN>(env, sink, first),
        }
    }

    /// Sends what is to be sent if that is one small segment, with `N` bytes of
    /// headers: a request or a reply. `false`, and nothing done, if it is not,
    /// or not the usual kind.
    #[inline(always)]
    pub(crate) fn send_lone<const N: usize>(
        &mut self,
        env: &mut Env<'_>,
        tx: &mut TxBurst,
        offload: bool,
    ) -> bool {
        let Some(id) = self.hot.unsent else {
            return false;
        };
        let usual = self.hot.flags & (UNUSUAL | flag::TIMESTAMPS) == flag::TIMESTAMPS
            && self.hot.state == TcpState::Established
            && self.hot.send.tail == Some(id);
        if !usual {
            return false;
        }
        let (Some(node), Some(place)) = (env.nodes.get_mut(id), tx.place()) else {
            return false;
        };
        let (len, flight) = (node.len, self.hot.flight());
        let fits = len <= u32::from(self.hot.mss)
            && flight + len <= self.hot.snd_wnd.min(self.hot.cwnd)
            && (flight == 0 || self.hot.has(flag::NODELAY));
        let Some(frame) = node.frame.as_mut().filter(|_| fits) else {
            return false;
        };
        let sum = if offload { None } else { Some(Sum::of(frame)) };
        let seq = self.hot.snd_nxt;
        let fields = self.fields(env.now, env.pool, seq, ACK | PSH);
        // Shared or without headroom: a frame for the header, elsewhere.
        let Some(mut room) = frame.header_room::<N>() else {
            return false;
        };
        let (out, template) = (room.bytes(), &self.cold.template);
        header::write_plain(out, template, self.key, &fields, (len as usize, sum));
        let whole = room.share();
        node.marks = SENT;
        node.sent_at = env.now;
        self.hot.unsent = None;
        self.hot.snd_nxt = seq + len;
        place.put(whole, header::meta(tcp_at(N), offload));
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        self.arm_rtx(env);
        true
    }

    #[inline]
    fn next_plain(&self, env: &Env<'_>) -> Option<Next> {
        let id = self.hot.unsent?;
        let node = env.nodes.get(id)?;
        let (len, mss) = (node.len, u32::from(self.hot.mss));
        let flight = self.hot.flight();
        let last = node.next.is_none();
        // Small segments: Nagle's algorithm, and gathering with what follows,
        // are decided elsewhere.
        let whole = len == mss || (last && (flight == 0 || self.hot.has(flag::NODELAY)));
        let allowed = self.hot.snd_wnd.min(self.hot.cwnd);
        let fits = len <= mss && flight + len <= allowed;
        (whole && fits).then_some(Next { id, len, last })
    }

    #[inline]
    fn send_run<const N: usize>(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        first: Next,
    ) -> Stop {
        let offloaded = sink.caps.tx_checksum;
        let meta = header::meta(tcp_at(N), offloaded);
        let room = sink.tx.room(1);
        if room == 0 {
            return Stop::Full;
        }
        let fields = self.fields(env.now, env.pool, SeqNum::new(0), 0);
        let mut run = Run::<N>::new(&self.cold.template, self.key, &fields, first.len);
        let mut next = Some(first);
        let mut sent = 0;
        let stop = loop {
            let Some(Next { id, len, last }) = next else {
                break Stop::Done;
            };
            if sent == room {
                break Stop::Full;
            }
            let Some(node) = env.nodes.get_mut(id) else {
                break Stop::Done;
            };
            let Some(frame) = node.frame.as_mut() else {
                break Stop::Done;
            };
            let sum = if offloaded {
                None
            } else {
                Some(Sum::of(frame))
            };
            if len != run.len {
                run = Run::new(&self.cold.template, self.key, &fields, len);
            }
            let flags = if last { ACK | PSH } else { ACK };
            let seq = self.hot.snd_nxt;
            // Shared or without headroom: a frame for the header, elsewhere.
            let Some(mut room) = frame.header_room::<N>() else {
                let (stop, more) = self.send_slices(env, sink, &run, Next { id, len, last });
                sent += more;
                break stop;
            };
            run.stamp(room.bytes(), seq, flags, sum);
            let whole = room.share();
            node.marks = SENT;
            node.sent_at = env.now;
            self.hot.unsent = node.next;
            self.hot.snd_nxt = seq + len;
            drop(sink.tx.push(whole, meta));
            sent += 1;
            next = self.next_plain(env);
        };
        if sent > 0 {
            env.counters.add(Counter::TcpSegmentsOut, sent as u64);
            self.acknowledged();
            self.arm_rtx(env);
        }
        stop
    }

    /// Goes on with a run whose payload lies in frames that others hold as well, as
    /// slices of a large one do: a frame for each header, elsewhere. The rest is
    /// left to `send_new`.
    #[inline(never)]
    fn send_slices<const N: usize>(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        run: &Run<N>,
        first: Next,
    ) -> (Stop, usize) {
        let offloaded = sink.caps.tx_checksum;
        let meta = header::meta(tcp_at(N), offloaded);
        let (mut next, mut sent) = (Some(first), 0);
        while let Some(Next { id, len, last }) = next.filter(|next| next.len == run.len) {
            if !sink.tx.has_room(2) {
                return (Stop::Full, sent);
            }
            let Some(node) = env.nodes.get_mut(id) else {
                break;
            };
            let Some(frame) = node.frame.as_ref().filter(|frame| !frame.is_unique()) else {
                break;
            };
            let Some(mut head) = env.pool.alloc() else {
                return (Stop::NoFrame, sent);
            };
            let Some(out) = head.push_back(N).and_then(<[u8]>::first_chunk_mut) else {
                break;
            };
            let sum = if offloaded {
                None
            } else {
                Some(Sum::of(frame))
            };
            let flags = if last { ACK | PSH } else { ACK };
            let seq = self.hot.snd_nxt;
            run.stamp(out, seq, flags, sum);
            drop(sink.tx.push_piece(head.freeze()));
            drop(sink.tx.push_piece(frame.clone()));
            sink.tx.seal(meta);
            node.marks = SENT;
            node.sent_at = env.now;
            self.hot.unsent = node.next;
            self.hot.snd_nxt = seq + len;
            sent += 1;
            next = self.next_plain(env);
        }
        (Stop::Done, sent)
    }
}
