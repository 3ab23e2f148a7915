//! A run of plain segments over IPv6: as in [`stream`](super::stream), but with
//! headers made from the flow's key for each run.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{TxChecksum, TxMeta};

use super::Env;
use super::emit::{Sink, Stop};
use super::header::{self, CHECKSUM_AT, HeaderFields, Payload};
use super::node::SENT;
use super::seq::SeqNum;
use super::stream::{Next, UNUSUAL};
use super::tcb::{Tcb, TcpState, flag};
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, FlowKey};

/// Ethernet and IPv6 header.
const TCP_AT: usize = 54;
/// Bytes of all headers of an IPv6 segment without options.
pub(crate) const V6_PLAIN: usize = TCP_AT + 20;
/// The same with timestamps.
pub(crate) const V6_TIMED: usize = V6_PLAIN + 12;

/// Headers of a run, `N` bytes: Ethernet, IPv6, TCP with timestamps or without
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
    #[inline(never)]
    fn new(link: &[u8; 14], key: &FlowKey, fields: &HeaderFields, len: u32) -> Self {
        let mut bytes = [0; N];
        let options = header::plain_options(fields.timestamps, &[]);
        let payload = Payload::Offloaded(len as usize);
        header::write_all(&mut bytes, link, key, fields, &options, payload);
        // The checksum field holds the sum of the pseudo-header, for the device
        // to complete: so this is the sum of both.
        let tcp = Sum::of(&bytes[TCP_AT..]);
        Self { bytes, tcp, len }
    }

    /// Writes the headers of one segment. `sum` is its payload's, or `None`
    /// where the device completes the checksum.
    #[inline(always)]
    fn stamp(&self, out: &mut [u8; N], seq: SeqNum, flags: u8, sum: Option<Sum>) {
        *out = self.bytes;
        out[58..62].copy_from_slice(&seq.raw().to_be_bytes());
        out[67] = flags;
        if let Some(payload) = sum {
            let own = Sum::of_words([seq.raw(), u32::from(flags)]);
            let check = (self.tcp + payload + own).finish();
            out[70..72].copy_from_slice(&check.to_be_bytes());
        }
    }
}

impl Tcb<'_> {
    /// As [`send_plain`](Self::send_plain), for IPv6: sends unsent data as long
    /// as it is plain.
    #[inline(never)]
    pub(super) fn send_plain_v6(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let usual = !self.key.is_v4()
            && !self.hot.has(UNUSUAL)
            && matches!(self.hot.state, TcpState::Established | TcpState::CloseWait)
            && sink.resolved
            && !sink.caps.tso6;
        if !usual {
            return Stop::Done;
        }
        let Some(first) = self.next_plain(env) else {
            return Stop::Done;
        };
        if self.hot.has(flag::TIMESTAMPS) {
            self.send_run_v6::<V6_TIMED>(env, sink, first)
        } else {
            self.send_run_v6::<V6_PLAIN>(env, sink, first)
        }
    }

    fn send_run_v6<const N: usize>(
        &mut self,
        env: &mut Env<'_>,
        sink: &mut Sink<'_>,
        first: Next,
    ) -> Stop {
        let offloaded = sink.caps.tx_checksum;
        let checksum = if offloaded {
            TxChecksum::Partial {
                start: TCP_AT as u16,
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
        let mut fields = self.fields(env.now, env.pool, SeqNum::new(0), 0);
        fields.ecn = self.ecn_codepoint();
        let link = self.cold.template.link();
        let mut run = Run::<N>::new(&link, self.key, &fields, first.len);
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
                run = Run::new(&link, self.key, &fields, len);
            }
            let flags = if last { ACK | PSH } else { ACK };
            let seq = self.hot.snd_nxt;
            // Shared or without headroom: a frame for the header, elsewhere.
            let Some(mut room) = frame.header_room::<N>() else {
                break Stop::Done;
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
}
