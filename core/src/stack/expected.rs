//! Header prediction across the layers: the frame that the last flow expects.
//!
//! Bulk data and request-response traffic come in runs of one flow, in order.
//! Such a frame differs from the one before in a few fields at constant
//! offsets, so it is recognised with a few compares: our Ethernet address, IPv4
//! without options or IPv6 without extension headers, the flow's addresses and
//! ports, the expected sequence number, an acknowledgement of something in
//! flight. Then its data moves to the reader. Anything else takes the layers one
//! by one, with the same result.
//!
//! `N` is the length of all headers, one of the four that
//! [`header`](crate::tcp::header) names; it says which they are.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxDrain, RxFrame, RxMeta};

use super::Stack;
use crate::tcp::Env;
use crate::tcp::header::{is_timed, is_v4, tcp_at};
use crate::tcp::predict::Expected;
use crate::tcp::seq::SeqNum;
use crate::tcp::table::Head;
use crate::tcp::tcb::{Tcb, flag};
use crate::tcp::template::Template;
use crate::wire::ETHERNET_HEADER;
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, Counters};

impl Stack {
    /// Takes packets as long as they are what the last flow expects, with
    /// `TIMED` bytes of headers, or `PLAIN` without timestamps; returns the
    /// first piece of one that is not.
    #[inline(never)]
    pub(super) fn input_expected<const TIMED: usize, const PLAIN: usize>(
        &mut self,
        now: Instant,
        pieces: &mut RxDrain<'_>,
    ) -> Option<RxFrame> {
        let index = self.tcp.last;
        let Some((mut tcb, mut env)) = self.flow(now, index) else {
            return pieces.next();
        };
        let mut taken = (0, 0);
        let odd = if tcb.hot.has(flag::TIMESTAMPS) {
            take_run::<TIMED>(&mut tcb, &mut env, pieces, &mut taken)
        } else {
            take_untimed_run::<PLAIN>(&mut tcb, &mut env, pieces, &mut taken)
        };
        let (frames, bytes) = taken;
        if frames > 0 {
            count::<TIMED>(&mut self.counters, frames, bytes);
            self.tcp.touch(index);
        }
        odd
    }

    /// Takes the only packet of a burst if it is what the last flow expects, or
    /// gives it back: an exchange of small messages is not worth the set-up of
    /// a run.
    #[inline(always)]
    pub(super) fn input_lone<const N: usize>(
        &mut self,
        now: Instant,
        piece: RxFrame,
    ) -> Option<RxFrame> {
        let RxFrame { mut frame, meta } = piece;
        if !begins_with::<N>(&frame, &self.tcp.last_head) && !self.learn_head::<N>(&frame) {
            return Some(RxFrame { frame, meta });
        }
        let index = self.tcp.last;
        let Some((mut tcb, mut env)) = self.flow(now, index) else {
            return Some(RxFrame { frame, meta });
        };
        let found = match frame.first_chunk::<N>() {
            Some(head) if tcb.hot.has(flag::TIMESTAMPS) && !meta.continues => {
                parse(head, &frame, meta, &tcb)
            }
            _ => None,
        };
        let Some(expected) = found else {
            return self.input_unexpected::<N>(now, RxFrame { frame, meta });
        };
        let bytes = frame.len() as u64;
        frame.trim_front(N);
        frame.truncate(expected.len as usize);
        if let Err(reason) = tcb.on_expected(&mut env, &expected, frame) {
            env.counters.drop(reason);
        }
        tcb.end_expected(&mut env, &expected, expected.len);
        count::<N>(&mut self.counters, 1, bytes);
        self.tcp.touch(index);
        None
    }

    /// Whether a packet is of the last flow, as far as its first bytes say. If
    /// so, others that begin alike need not be looked at so closely.
    #[inline(never)]
    fn learn_head<const N: usize>(&mut self, frame: &FrameBuf) -> bool {
        let (Some(head), Some(tcb)) = (frame.first_chunk::<N>(), self.tcp.tcb(self.tcp.last))
        else {
            return false;
        };
        let ahead = is_ahead(head, &tcb);
        if ahead {
            let front = tcp_at(N) + 4;
            self.tcp.last_head[..front].copy_from_slice(&head[..front]);
        }
        ahead
    }
}

/// Counts expected packets and their bytes.
#[inline(always)]
fn count<const N: usize>(counters: &mut Counters, frames: u64, bytes: u64) {
    counters.add(Counter::FramesIn, frames);
    counters.add(Counter::BytesIn, bytes);
    let ip = if is_v4(N) {
        Counter::Ipv4In
    } else {
        Counter::Ipv6In
    };
    counters.add(ip, frames);
    counters.add(Counter::TcpSegmentsIn, frames);
}

/// [`take_run`] for a flow without timestamps: rare.
#[inline(never)]
fn take_untimed_run<const N: usize>(
    tcb: &mut Tcb<'_>,
    env: &mut Env<'_>,
    pieces: &mut RxDrain<'_>,
    taken: &mut (u64, u64),
) -> Option<RxFrame> {
    take_run::<N>(tcb, env, pieces, taken)
}

/// Takes expected packets with `N` bytes of headers; counts them, and their
/// bytes, in `taken`.
#[inline(always)]
fn take_run<const N: usize>(
    tcb: &mut Tcb<'_>,
    env: &mut Env<'_>,
    pieces: &mut RxDrain<'_>,
    taken: &mut (u64, u64),
) -> Option<RxFrame> {
    let (mut last, mut longest) = (None::<Taken<N>>, 0);
    let odd = loop {
        let Some(RxFrame { mut frame, meta }) = pieces.next() else {
            break None;
        };
        let expected = match &mut last {
            Some(last) if last.is_repeated(&frame, meta, tcb) => {
                last.expected.seq = tcb.hot.rcv_nxt;
                &last.expected
            }
            last => match Taken::<N>::parse(&frame, meta, tcb) {
                Some(taken) => &last.insert(taken).expected,
                None => break Some(RxFrame { frame, meta }),
            },
        };
        *taken = (taken.0 + 1, taken.1 + frame.len() as u64);
        frame.trim_front(N);
        frame.truncate(expected.len as usize);
        longest = longest.max(expected.len);
        if let Err(reason) = tcb.on_expected(env, expected, frame) {
            env.counters.drop(reason);
        }
    };
    if let Some(last) = last {
        tcb.end_expected(env, &last.expected, longest);
    }
    odd
}

/// A packet that was expected, and taken: the next one most often differs in
/// its sequence number alone.
struct Taken<const N: usize> {
    expected: Expected,
    head: [u8; N],
    frame_len: usize,
    checksum: RxChecksum,
}

/// Whether two IPv4 headers that are the same up to byte 16 and from byte 30 on
/// differ in identification and checksum only, and the first is valid if the
/// second is: that sum does not change.
#[inline(never)]
fn is_renumbered<const N: usize>(head: &[u8; N], valid: &[u8; N]) -> bool {
    let half = |head: &[u8; N], at: usize| u32::from(u16::from_be_bytes([head[at], head[at + 1]]));
    let sum = |head: &[u8; N]| (half(head, 18) + half(head, 24)) % 0xffff;
    head[16..18] == valid[16..18]
        && head[20..24] == valid[20..24]
        && head[26..30] == valid[26..30]
        && sum(head) == sum(valid)
}

impl<const N: usize> Taken<N> {
    /// [`is_ahead`] and [`parse`].
    #[inline(always)]
    fn parse(frame: &FrameBuf, meta: RxMeta, tcb: &Tcb<'_>) -> Option<Self> {
        let head = frame.first_chunk::<N>()?;
        if meta.continues || !is_ahead(head, tcb) {
            return None;
        }
        Some(Self {
            expected: parse(head, frame, meta, tcb)?,
            head: *head,
            frame_len: frame.len(),
            checksum: meta.checksum,
        })
    }

    /// Whether this packet is the one behind, and all its headers say the same.
    #[inline(always)]
    fn is_repeated(&self, frame: &FrameBuf, meta: RxMeta, tcb: &Tcb<'_>) -> bool {
        let Some(head) = frame.first_chunk::<N>() else {
            return false;
        };
        let (at, hot) = (tcp_at(N), &tcb.hot);
        let differs = |at: usize| word_at(head, at) ^ word_at(&self.head, at);
        // Up to the ports, but for what `is_renumbered` looks at; then from the
        // acknowledgement to the window, and the timestamps.
        let mut differ = differs(0) | differs(8) | differs(30) | differs(at + 8);
        if !is_v4(N) {
            differ |= differs(16) | differs(22) | differs(38) | differs(46) | differs(50);
        }
        if is_timed(N) {
            differ |= differs(at + 20) | differs(N - 8);
        }
        let len = self.expected.len;
        let room = hot.rcv_adv.raw().wrapping_sub(hot.rcv_nxt.raw());
        let due = differ == 0
            && half_word_at(head, at + 4) == hot.rcv_nxt.raw()
            && len <= room
            && len != 0
            && frame.len() == self.frame_len
            && meta.checksum == self.checksum
            && !meta.continues;
        if !due {
            return false;
        }
        if is_v4(N) && (differs(16) | differs(24) != 0 && !is_renumbered(head, &self.head)) {
            return false;
        }
        meta.checksum != RxChecksum::Unknown
            || frame
                .get(at..N + len as usize)
                .is_some_and(|tcp| is_intact(tcp, tcb))
    }
}

#[inline(always)]
fn word_at<const N: usize>(head: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[inline(always)]
fn half_word_at<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// Whether the checksum of this segment of the flow holds.
#[inline(always)]
pub(super) fn is_intact(tcp: &[u8], tcb: &Tcb<'_>) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "of an IP packet")]
    let pseudo = tcb.cold.template.pseudo_sum(tcp.len() as u16);
    (pseudo + Sum::of(tcp)).is_valid()
}

/// Whether the packet begins with these very bytes, up to its ports.
#[inline(always)]
fn begins_with<const N: usize>(frame: &FrameBuf, head: &Head) -> bool {
    // By words: a comparison of arrays would be a call.
    frame.first_chunk::<N>().is_some_and(|first| {
        let differs = |at: usize| word_at(first, at) ^ word_at(head, at);
        let mut differ = differs(0) | differs(8) | differs(16) | differs(24) | differs(30);
        if !is_v4(N) {
            differ |= differs(38) | differs(46) | differs(50);
        }
        differ == 0
    })
}

/// Whether a packet begins as the flow's do, up to its ports, and its IP header
/// is valid.
#[inline(always)]
fn is_ahead<const N: usize>(head: &[u8; N], tcb: &Tcb<'_>) -> bool {
    let template = &tcb.cold.template;
    // Our address is the source of what we send.
    let for_us = word_at(head, 0) << 16 == word_at(&template.bytes, 6) << 16;
    let whole = for_us && head[6] & 1 == 0;
    if is_v4(N) {
        whole && is_ahead_v4(head, template)
    } else {
        whole && is_ahead_v6(head, tcb)
    }
}

#[inline(always)]
fn is_ahead_v4<const N: usize>(head: &[u8; N], template: &Template) -> bool {
    let word = |at: usize| half_word_at(head, at);
    let ours = |at: usize| half_word_at(&template.bytes, at);
    // IPv4 without options, whatever the class of service, but no mark of
    // congestion (RFC 3168, 5: both bits; ECT(1) is not worth a compare of its
    // own); not a fragment; TCP.
    let shape = word(12) & 0xffff_ff01 == 0x0800_4500 && word(20) & 0x3fff_00ff == 6;
    let flow = word(26) == ours(30)
        && word(30) == ours(26)
        && word(34) == ours(34).rotate_left(16)
        && template.is_v4();
    let ip = head[14..].first_chunk::<20>();
    shape && flow && ip.is_some_and(|ip| Sum::of_array(ip).is_valid())
}

#[inline(always)]
fn is_ahead_v6<const N: usize>(head: &[u8; N], tcb: &Tcb<'_>) -> bool {
    // Whatever the class and the flow label, but no mark of congestion; TCP.
    let shape = half_word_at(head, 12) & 0xffff_f010 == 0x86dd_6000 && head[20] == 6;
    let (Some(src), Some(dst)) = (head[22..].first_chunk(), head[38..].first_chunk()) else {
        return false;
    };
    let ports = half_word_at(head, 54);
    shape && tcb.key.is_between(dst, src, ports) && tcb.cold.template.is_v6()
}

/// Reads the headers, `N` bytes of them, if they are those of the segment that
/// the flow expects; [`is_ahead`] has looked at what stands before the TCP
/// header.
#[inline(always)]
fn parse<const N: usize>(
    head: &[u8; N],
    frame: &FrameBuf,
    meta: RxMeta,
    tcb: &Tcb<'_>,
) -> Option<Expected> {
    let at = tcp_at(N);
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let word = |at: usize| half_word_at(head, at);
    let shape = usize::from(head[at + 12] >> 4) * 4 == N - at && head[at + 13] & !PSH == ACK;
    if !shape || (is_timed(N) && word(at + 20) != 0x0101_080a) {
        return None;
    }
    // The total length, or the payload's.
    let len = if is_v4(N) {
        usize::from(half(16)).checked_sub(N - ETHERNET_HEADER)?
    } else {
        usize::from(half(18)).checked_sub(N - at)?
    };
    let timestamp = if is_timed(N) {
        (word(at + 24), word(at + 28))
    } else {
        (0, 0)
    };
    let expected = Expected {
        seq: SeqNum::new(word(at + 4)),
        ack: SeqNum::new(word(at + 8)),
        window: half(at + 14),
        push: head[at + 13] & PSH != 0,
        len: u32::try_from(len).ok()?,
        timestamp,
    };
    if !expected.is_due(tcb.hot) {
        return None;
    }
    let tcp = frame.get(at..N + len)?;
    let intact = meta.checksum != RxChecksum::Unknown || is_intact(tcp, tcb);
    intact.then_some(expected)
}

#[cfg(test)]
mod v6_tests;
