//! Opening: a TCB's first values, SYN-SENT, and what SYNs negotiate.

use pollwire_rings::{FrameBuf, Instant};

use super::Env;
use super::coarse::{Millisecond, Second};
use super::ecn::Ecn;
use super::half_open::HalfOpen;
use super::input::Outcome;
use super::options::{Handshake, TcpOptions};
use super::segment::{MIN_HEADER, Segment};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::wire::tcp::{self as wire, ACK, CWR, ECE, RST, SYN};
use crate::{ConnError, DropReason};

/// RFC 9293, 3.7.1: "If an MSS Option is not received at connection setup, TCP
/// implementations MUST assume a default send MSS of 536 (576 - 40)" for IPv4,
/// 1220 for IPv6.
const DEFAULT_MSS: [u16; 2] = [536, 1220];
/// The smallest segment size that we let our own application impose: that of
/// IPv4's smallest MTU, and room for timestamps.
const LEAST_OWN_MSS: u16 = 88;
/// The smallest segment size that we let a peer impose.
const MIN_MSS: u16 = 48;
/// ACKs at the start of a connection that are not held back.
pub(super) const QUICK_ACKS: u8 = 8;

impl Tcb<'_> {
    /// Gives a new flow its first values. `mss` is what this side can receive.
    pub(crate) fn init(
        &mut self,
        options: &TcpOptions,
        iss: SeqNum,
        ts_offset: u32,
        mss: u16,
        now: Instant,
    ) {
        self.hot.snd_una = iss;
        self.hot.snd_nxt = iss;
        self.hot.snd_end = iss + 1;
        self.hot.ts_offset = ts_offset;
        self.hot.mss = mss.min(DEFAULT_MSS[usize::from(!self.key.is_v4())]);
        self.hot.rcv_mss = self.hot.mss;
        self.cold.iss = iss;
        self.cold.our_mss = mss;
        self.offer(&options.handshake);
        self.cold.recover = iss;
        self.cold.heard_at = Millisecond::of(now);
        self.cold.quick_acks = QUICK_ACKS;
        self.apply(options);
        self.choose_scale(options);
        self.init_congestion();
        self.hot.set(flag::SEND_SYN);
    }

    /// Notes what our SYN may offer: until the peer's SYN is here, the flags say
    /// what this side is willing to do.
    fn offer(&mut self, handshake: &Handshake) {
        self.cold.our_mss = own_mss(handshake, self.cold.our_mss);
        self.hot.mss = self.hot.mss.min(self.cold.our_mss);
        self.cold.initial_window = handshake.initial_window.map_or(0, |count| count.max(1));
        self.offer_ecn(handshake.ecn);
        self.hot.set(flag::SCALE);
        if handshake.sack {
            self.hot.set(flag::SACK);
        }
        if handshake.timestamps {
            self.hot.set(flag::TIMESTAMPS);
        }
    }

    fn choose_scale(&mut self, options: &TcpOptions) {
        self.hot.rcv_scale = scale_of(options);
        self.bound_buffer();
    }

    /// No larger a buffer than the window can express.
    pub(super) fn bound_buffer(&mut self) {
        let most = u32::from(u16::MAX) << self.hot.rcv_scale;
        self.bound_window(most);
    }

    /// Takes over options that can change at any time.
    pub(crate) fn apply(&mut self, options: &TcpOptions) {
        let millis = |time: Option<core::time::Duration>, least: u32| {
            time.map_or(0, |time| {
                u32::try_from(time.as_millis())
                    .unwrap_or(u32::MAX)
                    .max(least)
            })
        };
        self.cold.keepalive_ms = millis(options.keepalive, 1000);
        self.cold.user_timeout_ms = millis(options.user_timeout, 1);
        self.bound_buffers(options);
        self.set_congestion_control(options.congestion);
        self.set_pacing(options.pacing);
        self.hot.clear(flag::NODELAY);
        if options.nodelay {
            self.hot.set(flag::NODELAY);
        }
    }

    /// Takes what the peer's SYN, `seg`, and ours agree on.
    pub(crate) fn negotiate(&mut self, seg: &Segment, options: &[u8], now: Instant) {
        let offer = Offer::parse(seg, options, self.key.is_v4());
        self.accept(&offer, seg.seq, now);
        self.measure_delivery(now);
        self.negotiate_ecn(seg);
    }

    /// The same, of a SYN with sequence number `irs` that was parsed before.
    pub(crate) fn accept(&mut self, offer: &Offer, irs: SeqNum, now: Instant) {
        let our_mss = self.cold.our_mss;
        self.cold.peer_mss = offer.mss;
        match offer.timestamp {
            Some(value) if self.hot.has(flag::TIMESTAMPS) => {
                self.hot.ts_recent = value;
                self.cold.ts_recent_at = Second::of(now);
            }
            _ => self.hot.clear(flag::TIMESTAMPS),
        }
        if !offer.sack {
            self.hot.clear(flag::SACK);
        }
        match offer.scale {
            Some(shift) => self.hot.snd_scale = shift,
            None => {
                self.hot.clear(flag::SCALE);
                self.hot.snd_scale = 0;
                self.hot.rcv_scale = 0;
                self.bound_window(u32::from(u16::MAX));
            }
        }
        self.cold.irs = irs;
        self.hot.rcv_nxt = irs + 1;
        self.hot.rcv_adv = self.hot.rcv_nxt;
        self.hot.last_ack_sent = self.hot.rcv_nxt;
        let taken = u16::try_from(self.hot.option_bytes()).unwrap_or(0);
        self.hot.mss = self.cold.peer_mss.min(our_mss).max(MIN_MSS) - taken;
        // Until longer segments come: what a peer behind a small MTU sends is
        // full as well.
        self.hot.rcv_mss = our_mss.min(DEFAULT_MSS[0]) - taken;
        self.init_congestion();
    }

    /// Takes over from the record of a handshake whose SYN-ACK offered
    /// `window`.
    pub(crate) fn resume(&mut self, record: &HalfOpen, window: u16, now: Instant) {
        let offer = record.offer();
        self.accept(&offer, record.irs, now);
        self.agree_ecn(offer.ecn);
        self.hot.rcv_scale = record.our_scale().unwrap_or(0);
        self.measure_delivery(now);
        self.hot.rcv_adv = self.hot.rcv_nxt + u32::from(window);
        self.hot.snd_nxt = record.iss + 1;
        self.hot.state = TcpState::SynReceived;
        self.hot.clear(flag::SEND_SYN);
        self.hot.set(flag::EMBRYO);
        self.hot.rtt.backoff = record.tries();
        let waited = record.nanos_since_sent(now);
        self.cold.stuck_since = Instant::from_nanos(now.as_nanos().saturating_sub(waited));
    }

    /// RFC 9293, 3.10.7.3: SYN-SENT.
    pub(crate) fn on_segment_in_syn_sent(
        &mut self,
        env: &mut Env<'_>,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Result<Outcome, DropReason> {
        let acks_syn = seg.has(ACK);
        if acks_syn && (seg.ack.at_or_before(self.cold.iss) || seg.ack.after(self.hot.snd_nxt)) {
            if seg.has(RST) {
                return Err(DropReason::TcpBadAck);
            }
            return Ok(Outcome::Reject(seg.ack));
        }
        if seg.has(RST) {
            // "If the ACK was acceptable, then signal to the user "error:
            // connection reset", drop the segment, enter CLOSED state".
            return if acks_syn {
                Ok(Outcome::Ended(Some(ConnError::Refused)))
            } else {
                Err(DropReason::TcpRstOutOfWindow)
            };
        }
        if !seg.has(SYN) {
            return Err(DropReason::TcpNoSyn);
        }
        let options = frame.get(MIN_HEADER..seg.header_len).unwrap_or_default();
        self.negotiate(seg, options, env.now);
        if acks_syn {
            self.enter_established(env, seg);
            self.advance_window(env.pool);
            self.ack_now();
            return Ok(Outcome::Established);
        }
        // Simultaneous open (RFC 9293, 3.5, figure 7).
        self.hot.state = TcpState::SynReceived;
        self.hot.snd_wnd = u32::from(seg.window);
        self.hot.snd_wl1 = seg.seq;
        self.hot.snd_wl2 = seg.ack;
        self.hot.set(flag::SEND_SYN);
        Ok(Outcome::Keep)
    }
}

/// What a SYN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The largest segment that its sender takes.
    pub(crate) mss: u16,
    /// Its window scale, 14 at the most.
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    /// The value of its timestamp.
    pub(crate) timestamp: Option<u32>,
    /// It asks for explicit congestion notification (RFC 3168, 6.1.1).
    pub(crate) ecn: bool,
}

impl Offer {
    /// The offer of a SYN with these options; options that lead nowhere offer
    /// nothing.
    pub(crate) fn parse(syn: &Segment, options: &[u8], is_v4: bool) -> Self {
        let parsed = wire::TcpOptions::parse(options).unwrap_or_default();
        let default = DEFAULT_MSS[usize::from(!is_v4)];
        Self {
            mss: parsed.mss.unwrap_or(default).max(MIN_MSS),
            // RFC 7323, 2.3: a shift over 14 is taken as 14.
            scale: parsed.wscale.map(|shift| shift.min(14)),
            sack: parsed.sack_permitted,
            timestamp: parsed.timestamps.map(|(value, _)| value),
            ecn: syn.flags & (ECE | CWR) == ECE | CWR,
        }
    }

    /// The part of it that this side is willing to do.
    pub(crate) fn within(self, ours: &Handshake) -> Self {
        Self {
            sack: self.sack && ours.sack,
            timestamp: self.timestamp.filter(|_| ours.timestamps),
            ecn: self.ecn && ours.ecn != Ecn::Off,
            ..self
        }
    }
}

/// The segment size that is announced on a link that carries `mss`.
pub(crate) fn own_mss(handshake: &Handshake, mss: u16) -> u16 {
    let most = handshake.max_segment.unwrap_or(u16::MAX);
    mss.min(most.max(LEAST_OWN_MSS))
}

/// The window scale that is offered with `options`.
pub(crate) fn scale_of(options: &TcpOptions) -> u8 {
    match options.handshake.window_scale {
        Some(shift) => shift.min(14),
        None => scale_for(receive_limit(options)),
    }
}

/// The window of a SYN that answers: unscaled (RFC 7323, 2.2).
pub(crate) fn syn_window(options: &TcpOptions) -> u16 {
    u16::try_from(receive_limit(options)).unwrap_or(u16::MAX)
}

/// Payload bytes that may wait to be read.
pub(super) fn receive_limit(options: &TcpOptions) -> u32 {
    options.recv_buffer.clamp(2048, 1 << 30)
}

/// The smallest window scale that can express `limit` (RFC 7323, 2.2).
fn scale_for(limit: u32) -> u8 {
    (0..14)
        .find(|shift| limit >> shift <= u32::from(u16::MAX))
        .unwrap_or(14)
}
