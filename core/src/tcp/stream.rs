//! A run of plain segments: what bulk data and replies look like when nothing
//! is wrong.
//!
//! All headers of a run differ in sequence number, length, flags and checksums
//! only. So one template is made, with partial sums of what stays, and stamped
//! into the headroom of each payload's own frame.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{TxChecksum, TxMeta};

use super::Env;
use super::emit::{Sink, Stop};
use super::header::{self, CHECKSUM_AT, HeaderFields, Payload, V4_PLAIN, V4_TIMED};
use super::node::{NodeId, SENT};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, FlowKey};

/// Any of these, and the run is not plain.
const UNUSUAL: u32 = flag::SEND_SYN
    | flag::FIN_QUEUED
    | flag::RECOVERY
    | flag::UNORDERED_ACKS
    | flag::PERSIST
    | flag::WINDOW_PROBE
    | flag::SEND_PROBE;

/// Headers of a run, `N` bytes: Ethernet, IPv4, TCP with timestamps or without
/// options.
struct Template<const N: usize> {
    bytes: [u8; N],
    /// Of the IPv4 header, total length left out.
    ip: Sum,
    /// Of pseudo-header and TCP header; length, sequence number and flags left
    /// out.
    tcp: Sum,
}

impl<const N: usize> Template<N> {
    #[inline]
    fn new(link: &[u8; 14], key: &FlowKey, fields: &HeaderFields) -> Self {
        let mut bytes = [0; N];
        let silent = Payload::Offloaded(0);
        header::write_v4(&mut bytes, link, key, fields, silent);
        for at in [16, 17, 24, 25, 47, 50, 51] {
            bytes[at] = 0;
        }
        bytes[38..42].fill(0);
        let ip = bytes[14..]
            .first_chunk::<20>()
            .map_or(Sum::ZERO, Sum::of_array);
        let tcp = match bytes[34..].first_chunk::<32>() {
            Some(timed) => Sum::of_array(timed),
            None => Sum::of(&bytes[34..]),
        };
        let address = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let pseudo = Sum::pseudo_v4(address(26), address(30), 6, 0);
        Self {
            bytes,
            ip,
            tcp: tcp + pseudo,
        }
    }

    /// Writes the headers of one segment. `sum` is its payload's, or `None`
    /// where the device completes the checksum.
    #[inline]
    fn stamp(&self, out: &mut [u8; N], seq: SeqNum, flags: u8, len: u16, sum: Option<Sum>) {
        *out = self.bytes;
        #[expect(clippy::cast_possible_truncation, reason = "54 or 66")]
        let tcp_len = len + (N - 34) as u16;
        let total = tcp_len + 20;
        out[16..18].copy_from_slice(&total.to_be_bytes());
        let check = self.ip.add_u16(total).finish();
        out[24..26].copy_from_slice(&check.to_be_bytes());
        out[38..42].copy_from_slice(&seq.raw().to_be_bytes());
        out[47] = flags;
        let check = match sum {
            Some(payload) => (self.tcp + payload)
                .add_u32(seq.raw())
                .add_u16(tcp_len)
                .add_u16(u16::from(flags))
                .finish(),
            None => {
                let address = |at: usize| [out[at], out[at + 1], out[at + 2], out[at + 3]];
                Sum::pseudo_v4(address(26), address(30), 6, tcp_len).fold()
            }
        };
        out[50..52].copy_from_slice(&check.to_be_bytes());
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
            && !sink.caps.tso4
            && self.key.is_v4();
        if !usual {
            return Stop::Done;
        }
        let Some(first) = self.next_plain(env) else {
            return Stop::Done;
        };
        match (self.hot.has(flag::TIMESTAMPS), first.last) {
            (true, true) => self.send_lone::<V4_TIMED>(env, sink, &first),
            (true, false) => self.send_run::<V4_TIMED>(env, sink, first),
            (false, true) => self.send_lone::<V4_PLAIN>(env, sink, &first),
            (false, false) => self.send_run::<V4_PLAIN>(env, sink, first),
        }
    }

    /// Sends the only unsent segment: a request or a reply, most often.
    #[inline]
    fn send_lone<const N: usize>(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        segment: &Next,
    ) -> Stop {
        if !sink.has_room(1) {
            return Stop::Full;
        }
        let seq = self.hot.snd_nxt;
        let fields = self.fields(env, seq, ACK | PSH);
        let Some(node) = env.nodes.get_mut(segment.id) else {
            return Stop::Done;
        };
        let Some(frame) = node.frame.as_mut() else {
            return Stop::Done;
        };
        let len = segment.len as usize;
        let payload = if sink.caps.tx_checksum {
            Payload::Offloaded(len)
        } else {
            Payload::Summed(len, Sum::of(frame))
        };
        let (key, link) = (self.key, &self.cold.link);
        let mut meta = TxMeta::default();
        let whole = frame.with_header(N, |out| {
            if let Ok(out) = <&mut [u8; N]>::try_from(out) {
                meta = header::write_v4(out, link, key, &fields, payload);
            }
        });
        // Without headroom: a frame for the header, elsewhere.
        let Some(whole) = whole else {
            return Stop::Done;
        };
        node.marks = SENT;
        node.sent_at = env.now;
        self.hot.unsent = None;
        self.hot.snd_nxt = seq + segment.len;
        drop(sink.tx.push(whole, meta));
        env.counters.inc(Counter::TcpSegmentsOut);
        self.acknowledged();
        self.arm_rtx(env);
        Stop::Done
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
        let checksum = if offloaded {
            TxChecksum::Partial {
                start: 34,
                offset: CHECKSUM_AT,
            }
        } else {
            TxChecksum::Done
        };
        let meta = TxMeta {
            checksum,
            gso: None,
        };
        let room = sink.tx.room(1);
        if room == 0 {
            return Stop::Full;
        }
        let fields = self.fields(env, self.hot.snd_nxt, ACK);
        let template = Template::<N>::new(&self.cold.link, self.key, &fields);
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
            let flags = if last { ACK | PSH } else { ACK };
            let seq = self.hot.snd_nxt;
            #[expect(clippy::cast_possible_truncation, reason = "at most the segment size")]
            let short = len as u16;
            let whole = frame.with_header(N, |out| {
                if let Ok(out) = <&mut [u8; N]>::try_from(out) {
                    template.stamp(out, seq, flags, short, sum);
                }
            });
            // Shared or without headroom: a frame for the header, elsewhere.
            let Some(whole) = whole else {
                break Stop::Done;
            };
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
}
