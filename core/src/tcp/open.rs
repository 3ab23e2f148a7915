//! Opening: a TCB's first values, SYN-SENT, and what SYNs negotiate.

use pollwire_rings::{FrameBuf, Instant};

use super::Env;
use super::input::Outcome;
use super::options::{Handshake, TcpOptions};
use super::segment::{MIN_HEADER, Segment};
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::wire::tcp::{self as wire, ACK, RST, SYN};
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
const QUICK_ACKS: u8 = 8;

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
        self.cold.heard_at = now;
        self.cold.quick_acks = QUICK_ACKS;
        self.apply(options);
        self.choose_scale(options.handshake.window_scale);
        self.init_congestion();
        self.hot.set(flag::SEND_SYN);
    }

    /// Notes what our SYN may offer: until the peer's SYN is here, the flags say
    /// what this side is willing to do.
    fn offer(&mut self, handshake: &Handshake) {
        let most = handshake.max_segment.unwrap_or(u16::MAX);
        self.cold.our_mss = self.cold.our_mss.min(most.max(LEAST_OWN_MSS));
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

    fn choose_scale(&mut self, wanted: Option<u8>) {
        self.hot.rcv_scale = match wanted {
            Some(shift) => shift.min(14),
            None => scale_for(self.cold.rcv_limit),
        };
        // No more than a window can express.
        let most = u32::from(u16::MAX) << self.hot.rcv_scale;
        self.cold.rcv_limit = self.cold.rcv_limit.min(most);
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
        self.cold.rcv_limit = options.recv_buffer.clamp(2048, 1 << 30);
        self.cold.snd_limit = options.send_buffer.clamp(2048, 1 << 30);
        self.set_congestion_control(options.congestion);
        self.hot.clear(flag::NODELAY);
        if options.nodelay {
            self.hot.set(flag::NODELAY);
        }
    }

    /// Takes the options of the peer's SYN.
    pub(crate) fn negotiate(&mut self, seg: &Segment, options: &[u8], now: Instant) {
        let our_mss = self.cold.our_mss;
        let parsed = wire::TcpOptions::parse(options).unwrap_or_default();
        let default = DEFAULT_MSS[usize::from(!self.key.is_v4())];
        self.cold.peer_mss = parsed.mss.unwrap_or(default).max(MIN_MSS);
        match parsed.timestamps {
            Some((value, _)) if self.hot.has(flag::TIMESTAMPS) => {
                self.hot.ts_recent = value;
                self.cold.ts_recent_at = now;
            }
            _ => self.hot.clear(flag::TIMESTAMPS),
        }
        self.negotiate_ecn(seg);
        if !parsed.sack_permitted {
            self.hot.clear(flag::SACK);
        }
        match parsed.wscale {
            // RFC 7323, 2.3: a shift over 14 is taken as 14.
            Some(shift) => {
                self.hot.snd_scale = shift.min(14);
            }
            None => {
                self.hot.clear(flag::SCALE);
                self.hot.snd_scale = 0;
                self.hot.rcv_scale = 0;
                self.cold.rcv_limit = self.cold.rcv_limit.min(u32::from(u16::MAX));
            }
        }
        self.cold.irs = seg.seq;
        self.hot.rcv_nxt = seg.seq + 1;
        self.hot.rcv_adv = self.hot.rcv_nxt;
        self.hot.last_ack_sent = self.hot.rcv_nxt;
        let taken = u16::try_from(self.hot.option_bytes()).unwrap_or(0);
        self.hot.mss = self.cold.peer_mss.min(our_mss).max(MIN_MSS) - taken;
        self.hot.rcv_mss = our_mss.min(1460) - taken;
        self.init_congestion();
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
            self.advance_window(env.scarce());
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

/// The smallest window scale that can express `limit` (RFC 7323, 2.2).
fn scale_for(limit: u32) -> u8 {
    (0..14)
        .find(|shift| limit >> shift <= u32::from(u16::MAX))
        .unwrap_or(14)
}
