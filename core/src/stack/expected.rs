//! Header prediction across the layers: the frame that the last flow expects.
//!
//! Bulk data and request-response traffic come in runs of one flow, in order.
//! Such a frame differs from the one before in a few fields at constant
//! offsets, so it is recognised with a few compares: our Ethernet address,
//! IPv4 without options, the flow's addresses and ports, the expected sequence
//! number, an acknowledgement of something in flight. Then its data moves to the
//! reader. Anything else takes the layers one by one, with the same result.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxFrame, RxMeta};

use super::Stack;
use crate::tcp::Env;
use crate::tcp::header::{V4_PLAIN, V4_TIMED};
use crate::tcp::predict::Expected;
use crate::tcp::seq::SeqNum;
use crate::tcp::table::Head;
use crate::tcp::tcb::{Hot, Tcb, flag};
use crate::tcp::template::Template;
use crate::wire::ETHERNET_HEADER;
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, Counters};

/// Ethernet and IPv4 header.
const TCP_AT: usize = 34;

impl Stack {
    /// Takes packets as long as they are what the last flow expects; returns
    /// the first piece of one that is not.
    #[inline(never)]
    pub(super) fn input_expected(
        &mut self,
        now: Instant,
        pieces: &mut impl Iterator<Item = RxFrame>,
    ) -> Option<RxFrame> {
        let index = self.tcp.last;
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            ..
        } = self;
        let Some((mut tcb, mut env)) = tcp.flow(index, now, pool, counters, rx_rest) else {
            return pieces.next();
        };
        let mut taken = (0, 0);
        let odd = if tcb.hot.has(flag::TIMESTAMPS) {
            take_run::<V4_TIMED>(&mut tcb, &mut env, pieces, &mut taken)
        } else {
            take_untimed_run(&mut tcb, &mut env, pieces, &mut taken)
        };
        let (frames, bytes) = taken;
        if frames > 0 {
            count(counters, frames, bytes);
            tcp.touch(index);
        }
        odd
    }
}

impl Stack {
    /// Takes the only packet of a burst if it is what the last flow expects, or
    /// gives it back: an exchange of small messages is not worth the set-up of
    /// a run.
    #[inline(always)]
    pub(super) fn input_lone(&mut self, now: Instant, piece: RxFrame) -> Option<RxFrame> {
        let RxFrame { mut frame, meta } = piece;
        if !begins_with(&frame, &self.tcp.last_head) && !self.learn_head(&frame) {
            return Some(RxFrame { frame, meta });
        }
        let index = self.tcp.last;
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            ..
        } = self;
        let Some((mut tcb, mut env)) = tcp.flow(index, now, pool, counters, rx_rest) else {
            return Some(RxFrame { frame, meta });
        };
        let found = match frame.first_chunk::<V4_TIMED>() {
            Some(head) if tcb.hot.has(flag::TIMESTAMPS) && !meta.continues => {
                parse(head, &frame, meta, tcb.hot)
            }
            _ => None,
        };
        let Some(expected) = found else {
            return Some(RxFrame { frame, meta });
        };
        let bytes = frame.len() as u64;
        frame.trim_front(V4_TIMED);
        frame.truncate(expected.len as usize);
        if let Err(reason) = tcb.on_expected(&mut env, &expected, frame) {
            env.counters.drop(reason);
        }
        tcb.end_expected(&mut env, &expected, expected.len);
        count(counters, 1, bytes);
        tcp.touch(index);
        None
    }

    /// Whether a packet is of the last flow, as far as its first bytes say. If
    /// so, others that begin alike need not be looked at so closely.
    #[inline(never)]
    fn learn_head(&mut self, frame: &FrameBuf) -> bool {
        let (Some(head), Some(cold)) = (frame.first_chunk(), self.tcp.cold(self.tcp.last)) else {
            return false;
        };
        let ahead = is_ahead(head, &cold.template);
        if ahead {
            self.tcp.last_head = *head;
        }
        ahead
    }
}

/// Counts expected packets and their bytes.
#[inline(always)]
fn count(counters: &mut Counters, frames: u64, bytes: u64) {
    counters.add(Counter::FramesIn, frames);
    counters.add(Counter::BytesIn, bytes);
    counters.add(Counter::Ipv4In, frames);
    counters.add(Counter::TcpSegmentsIn, frames);
}

/// [`take_run`] for a flow without timestamps: rare.
#[inline(never)]
fn take_untimed_run(
    tcb: &mut Tcb<'_>,
    env: &mut Env<'_>,
    pieces: &mut impl Iterator<Item = RxFrame>,
    taken: &mut (u64, u64),
) -> Option<RxFrame> {
    take_run::<V4_PLAIN>(tcb, env, pieces, taken)
}

/// Takes expected packets with `N` bytes of headers; counts them, and their
/// bytes, in `taken`.
#[inline(always)]
fn take_run<const N: usize>(
    tcb: &mut Tcb<'_>,
    env: &mut Env<'_>,
    pieces: &mut impl Iterator<Item = RxFrame>,
    taken: &mut (u64, u64),
) -> Option<RxFrame> {
    let (mut last, mut longest) = (None::<Taken<N>>, 0);
    let odd = loop {
        let Some(RxFrame { mut frame, meta }) = pieces.next() else {
            break None;
        };
        let expected = match &mut last {
            Some(last) if last.is_repeated(&frame, meta, tcb.hot) => {
                last.expected.seq = tcb.hot.rcv_nxt;
                &last.expected
            }
            last => match parse_whole::<N>(&frame, meta, tcb) {
                Some(expected) => {
                    let taken = Taken::new(expected, &frame, meta);
                    &last.insert(taken).expected
                }
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
    #[inline(always)]
    fn new(expected: Expected, frame: &FrameBuf, meta: RxMeta) -> Self {
        Self {
            expected,
            // It was parsed: it is as long.
            head: frame.first_chunk().copied().unwrap_or([0; N]),
            frame_len: frame.len(),
            checksum: meta.checksum,
        }
    }

    /// Whether this packet is the one behind, and all its headers say the same.
    #[inline(always)]
    fn is_repeated(&self, frame: &FrameBuf, meta: RxMeta, hot: &Hot) -> bool {
        let Some(head) = frame.first_chunk::<N>() else {
            return false;
        };
        let differs = |at: usize| word_at(head, at) ^ word_at(&self.head, at);
        let mut differ = differs(0) | differs(8) | differs(30) | differs(42);
        if N == V4_TIMED {
            differ |= differs(54) | differs(N - 8);
        }
        let len = self.expected.len;
        let room = hot.rcv_adv.raw().wrapping_sub(hot.rcv_nxt.raw());
        let due = differ == 0
            && half_word_at(head, 38) == hot.rcv_nxt.raw()
            && len <= room
            && len != 0
            && frame.len() == self.frame_len
            && meta.checksum == self.checksum
            && !meta.continues;
        if !due || (differs(16) | differs(24) != 0 && !is_renumbered(head, &self.head)) {
            return false;
        }
        meta.checksum != RxChecksum::Unknown
            || frame
                .get(TCP_AT..N + len as usize)
                .is_some_and(|tcp| is_intact(head, tcp))
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

/// Whether the checksum of this segment holds.
#[inline(always)]
fn is_intact<const N: usize>(head: &[u8; N], tcp: &[u8]) -> bool {
    let address = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    #[expect(clippy::cast_possible_truncation, reason = "of an IPv4 packet")]
    let pseudo = Sum::pseudo_v4(address(26), address(30), 6, tcp.len() as u16);
    (pseudo + Sum::of(tcp)).is_valid()
}

/// [`is_ahead`] and [`parse`].
#[inline(always)]
fn parse_whole<const N: usize>(frame: &FrameBuf, meta: RxMeta, tcb: &Tcb<'_>) -> Option<Expected> {
    let head = frame.first_chunk::<N>()?;
    if !is_ahead(head, &tcb.cold.template) {
        return None;
    }
    parse(head, frame, meta, tcb.hot)
}

/// Whether the packet begins with these very bytes.
#[inline(always)]
fn begins_with(frame: &FrameBuf, head: &Head) -> bool {
    // By words: a comparison of arrays would be a call.
    frame.first_chunk().is_some_and(|first: &Head| {
        let differs = |at: usize| word_at(first, at) ^ word_at(head, at);
        differs(0) | differs(8) | differs(16) | differs(24) | differs(30) == 0
    })
}

/// Whether a packet begins as the flow's do, up to its ports, and its IPv4
/// header is valid.
#[inline(always)]
fn is_ahead<const N: usize>(head: &[u8; N], template: &Template) -> bool {
    let word = |at: usize| half_word_at(head, at);
    // Our address is the source of what we send.
    let ours = |at: usize| half_word_at(&template.bytes, at);
    let for_us = word_at(head, 0) << 16 == word_at(&template.bytes, 6) << 16;
    // IPv4 without options, whatever the class of service, but no mark of
    // congestion (RFC 3168, 5: both bits; ECT(1) is not worth a compare of its
    // own); not a fragment; TCP.
    let shape = word(12) & 0xffff_ff01 == 0x0800_4500
        && word(20) & 0x3fff_00ff == 6
        && for_us
        && head[6] & 1 == 0;
    let flow = word(26) == ours(30)
        && word(30) == ours(26)
        && word(34) == ours(34).rotate_left(16)
        && template.is_v4();
    let ip = head[14..].first_chunk::<20>();
    shape && flow && ip.is_some_and(|ip| Sum::of_array(ip).is_valid())
}

/// Reads the headers, `N` bytes of them, if they are those of the segment that
/// `hot` expects; [`is_ahead`] has looked at what stands before the TCP header.
#[inline(always)]
fn parse<const N: usize>(
    head: &[u8; N],
    frame: &FrameBuf,
    meta: RxMeta,
    hot: &Hot,
) -> Option<Expected> {
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let word = |at: usize| half_word_at(head, at);
    let shape = usize::from(head[46] >> 4) * 4 == N - TCP_AT && head[47] & !PSH == ACK;
    if !shape || (N == V4_TIMED && word(54) != 0x0101_080a) {
        return None;
    }
    let total = usize::from(half(16));
    let len = total.checked_sub(N - ETHERNET_HEADER)?;
    let tcp_len = len + N - TCP_AT;
    let timestamp = if N == V4_TIMED {
        (word(58), word(62))
    } else {
        (0, 0)
    };
    let expected = Expected {
        seq: SeqNum::new(word(38)),
        ack: SeqNum::new(word(42)),
        window: half(48),
        push: head[47] & PSH != 0,
        len: u32::try_from(len).ok()?,
        timestamp,
    };
    if !expected.is_due(hot) {
        return None;
    }
    let tcp = frame.get(TCP_AT..TCP_AT + tcp_len)?;
    let intact = meta.checksum != RxChecksum::Unknown || is_intact(head, tcp);
    intact.then_some(expected)
}
