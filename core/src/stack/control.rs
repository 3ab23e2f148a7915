//! Segments that no flow's output sends: resets, and the answers of records.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, FrameRef, Instant, TxMeta};

use super::Stack;
use crate::ip::IpFields;
use crate::tcp::header::{self, HeaderFields};
use crate::tcp::segment::{MIN_HEADER, Segment};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::flag;
use crate::wire::tcp::{ACK, RST};
use crate::{Counter, DropReason, FlowKey};

const PROTOCOL_TCP: u8 = 6;

impl Stack {
    /// RST for a segment of a flow that exists (RFC 9293, 3.5.2): its sequence
    /// number is what the segment acknowledged.
    pub(super) fn send_reset_to(&mut self, now: Instant, index: u32, seq: SeqNum) {
        if let Some(key) = self.tcp.key(index).copied() {
            self.send_reset(now, &key, seq, None);
        }
    }

    /// RST of a flow's own accord.
    pub(crate) fn send_reset_of(&mut self, now: Instant, index: u32, seq: SeqNum) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        // RFC 7323, 3.2: once agreed on, "the TSopt [...] SHOULD be sent in an
        // <RST> segment".
        let timed = tcb.hot.has(flag::TIMESTAMPS) && tcb.hot.state.is_synchronized();
        let timestamps = timed.then(|| (tcb.timestamp(now), tcb.hot.ts_recent));
        let fields = HeaderFields {
            timestamps,
            ..reset_fields(seq, Some(tcb.hot.rcv_nxt))
        };
        let key = *tcb.key;
        let options = header::plain_options(timestamps, &[]);
        self.counters.inc(Counter::TcpResetsOut);
        self.send_control(now, &key, &fields, &options);
    }

    /// RFC 9293, 3.10.7.1: what a segment for no connection is answered with.
    pub(super) fn refuse(&mut self, now: Instant, key: &FlowKey, seg: &Segment) {
        if seg.has(ACK) {
            self.send_reset(now, key, seg.ack, None);
        } else {
            self.send_reset(now, key, SeqNum::new(0), Some(seg.end()));
        }
    }

    pub(super) fn send_reset(
        &mut self,
        now: Instant,
        key: &FlowKey,
        seq: SeqNum,
        ack: Option<SeqNum>,
    ) {
        let fields = reset_fields(seq, ack);
        self.counters.inc(Counter::TcpResetsOut);
        self.send_control(now, key, &fields, &[]);
    }

    /// Sends a segment without payload that no flow's output sends.
    pub(super) fn send_control(
        &mut self,
        now: Instant,
        key: &FlowKey,
        fields: &HeaderFields,
        options: &[u8],
    ) {
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.inc(Counter::NoFrame);
            return;
        };
        if let Some(last) = self.last_template(key)
            && let Some(out) = frame.push_back(header::header_len(key, options.len()))
        {
            let labelled;
            let template = if key.is_v4() {
                last
            } else {
                labelled = last.for_flow(key, self.tcp.secrets.flow_label(key));
                &labelled
            };
            let payload = (0, Some(Sum::ZERO));
            header::write_all(out, template, key, fields, options, payload);
            return self.send_ready(frame);
        }
        if let Some(out) = frame.push_back(MIN_HEADER + options.len()) {
            header::write_tcp(out, key, fields, options);
            let check = header::pseudo_sum(key, out.len()).add_bytes(out).finish();
            if let Some(field) = out.get_mut(16..18) {
                field.copy_from_slice(&check.to_be_bytes());
            }
        }
        self.counters.inc(Counter::TcpSegmentsOut);
        self.send_segment(now, key, frame, None);
    }

    /// Sends a segment that has all its headers.
    pub(super) fn send_ready(&mut self, frame: FrameBuf) {
        self.counters.inc(Counter::TcpSegmentsOut);
        let sent = self.outbox.push(frame.freeze(), None, TxMeta::default());
        if sent.is_err() {
            self.counters.drop(DropReason::OutboxFull);
        }
    }

    pub(super) fn send_segment(
        &mut self,
        now: Instant,
        key: &FlowKey,
        frame: FrameBuf,
        payload: Option<FrameRef>,
    ) {
        let (local, remote) = (key.local().ip(), key.remote().ip());
        let fields = IpFields {
            flow_label: self.tcp.secrets.flow_label(key),
            ..IpFields::of(PROTOCOL_TCP)
        };
        let meta = TxMeta::default();
        // What cannot be sent has been counted; TCP's timers see to the rest.
        let _ = self.ip_send(now, local, remote, fields, frame, payload, meta);
    }
}

/// The header of RST.
fn reset_fields(seq: SeqNum, ack: Option<SeqNum>) -> HeaderFields {
    HeaderFields {
        seq,
        ack: ack.unwrap_or_default(),
        flags: if ack.is_some() { RST | ACK } else { RST },
        window: 0,
        timestamps: None,
        ecn: 0,
    }
}
