//! Header prediction across the layers for IPv6: as in
//! [`expected`](super::expected), for frames of the last flow without extension
//! headers.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxDrain, RxFrame, RxMeta};

use super::Stack;
use crate::tcp::predict::Expected;
use crate::tcp::seq::SeqNum;
use crate::tcp::stream6::{V6_PLAIN, V6_TIMED};
use crate::tcp::tcb::{Hot, flag};
use crate::wire::tcp::{ACK, PSH};
use crate::wire::{ETHERNET_HEADER, IPV6_HEADER, MacAddr};
use crate::{Counter, FlowKey};

const TCP_AT: usize = ETHERNET_HEADER + IPV6_HEADER;

/// What the headers of the last flow's segments have in common.
struct Flow<'a> {
    mac: MacAddr,
    key: &'a FlowKey,
    /// Of the pseudo-header without the length.
    pseudo: Sum,
}

impl Stack {
    /// Takes packets as long as they are what the last flow, one of IPv6,
    /// expects: gives back `first` if it is not, and leaves others where they
    /// are.
    #[inline]
    pub(super) fn input_expected_v6(
        &mut self,
        now: Instant,
        first: RxFrame,
        pieces: &mut RxDrain<'_>,
    ) -> Option<RxFrame> {
        let tcp = first.frame.get(12..21);
        if tcp.is_some_and(|bytes| bytes[..2] == [0x86, 0xdd] && bytes[8] == 6) {
            self.input_run_v6(now, first, pieces)
        } else {
            Some(first)
        }
    }

    #[inline(never)]
    fn input_run_v6(
        &mut self,
        now: Instant,
        first: RxFrame,
        pieces: &mut RxDrain<'_>,
    ) -> Option<RxFrame> {
        let (index, mac) = (self.tcp.last, self.iface.mac());
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            ..
        } = self;
        let Some((mut tcb, mut env)) = tcp.flow(index, now, pool, counters, rx_rest) else {
            return Some(first);
        };
        if tcb.key.is_v4() {
            return Some(first);
        }
        let (local, remote) = (tcb.key.local_bytes(), tcb.key.remote_bytes());
        let flow = Flow {
            mac,
            key: tcb.key,
            pseudo: Sum::pseudo_v6(remote, local, 6, 0),
        };
        let timed = tcb.hot.has(flag::TIMESTAMPS);
        let (mut frames, mut bytes, mut longest) = (0, 0, 0);
        let mut last = None;
        let mut next = Some(first);
        while let Some(piece) = next.as_ref().or(pieces.peek()) {
            let found = if timed {
                parse::<V6_TIMED>(piece, &flow, tcb.hot)
            } else {
                parse::<V6_PLAIN>(piece, &flow, tcb.hot)
            };
            let Some(expected) = found else { break };
            let Some(RxFrame { mut frame, .. }) = next.take().or_else(|| pieces.next()) else {
                break;
            };
            frames += 1;
            bytes += frame.len() as u64;
            frame.trim_front(if timed { V6_TIMED } else { V6_PLAIN });
            frame.truncate(expected.len as usize);
            if let Err(reason) = tcb.on_expected(&mut env, &expected, frame) {
                env.counters.drop(reason);
            }
            longest = longest.max(expected.len);
            last = Some(expected);
        }
        if let Some(last) = last {
            tcb.end_expected(&mut env, &last, longest);
            counters.add(Counter::FramesIn, frames);
            counters.add(Counter::BytesIn, bytes);
            counters.add(Counter::Ipv6In, frames);
            counters.add(Counter::TcpSegmentsIn, frames);
            tcp.touch(index);
        }
        next
    }
}

/// Reads the headers, `N` bytes of them, if they are those of the segment that
/// the flow expects.
#[inline]
fn parse<const N: usize>(piece: &RxFrame, flow: &Flow<'_>, hot: &Hot) -> Option<Expected> {
    let RxFrame { frame, meta } = piece;
    let head = frame.first_chunk::<N>()?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    // Whatever the class and the flow label, but no mark of congestion (both
    // bits of RFC 3168, 5; ECT(1) is not worth a compare of its own).
    let shape = word(12) & 0xffff_f010 == 0x86dd_6000
        && head[20] == 6
        && !meta.continues
        && head[6] & 1 == 0
        && head[..6] == flow.mac.0
        && usize::from(head[66] >> 4) * 4 == N - TCP_AT
        && head[67] & !PSH == ACK;
    if !shape || (N == V6_TIMED && word(74) != 0x0101_080a) {
        return None;
    }
    let (src, dst) = (head[22..].first_chunk()?, head[38..].first_chunk()?);
    if !flow.key.is_between(dst, src, word(54)) {
        return None;
    }
    let tcp_len = usize::from(half(18));
    let len = tcp_len.checked_sub(N - TCP_AT)?;
    let timestamp = if N == V6_TIMED {
        (word(78), word(82))
    } else {
        (0, 0)
    };
    let expected = Expected {
        seq: SeqNum::new(word(58)),
        ack: SeqNum::new(word(62)),
        window: half(68),
        push: head[67] & PSH != 0,
        len: u32::try_from(len).ok()?,
        timestamp,
    };
    let due = expected.is_due(hot) && is_intact(frame, *meta, flow, half(18));
    due.then_some(expected)
}

/// Whether the segment is whole and its checksum holds.
#[inline]
fn is_intact(frame: &FrameBuf, meta: RxMeta, flow: &Flow<'_>, tcp_len: u16) -> bool {
    frame
        .get(TCP_AT..TCP_AT + usize::from(tcp_len))
        .is_some_and(|tcp| {
            meta.checksum != RxChecksum::Unknown
                || (flow.pseudo.add_u16(tcp_len) + Sum::of(tcp)).is_valid()
        })
}

#[cfg(test)]
mod tests;
