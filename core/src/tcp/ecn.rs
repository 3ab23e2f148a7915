//! Explicit congestion notification (RFC 3168): routers mark instead of
//! dropping, receivers echo the mark, senders slow down.
//!
//! New data of a flow that agreed on it leaves as ECN-capable, through the
//! flow's [`Template`](super::template::Template); nothing else does
//! (RFC 3168, 6.1.4 to 6.1.6: neither bare ACKs, nor retransmissions, nor
//! window probes). What has to be echoed or announced takes the full path, so
//! flows without ECN pay nothing.

use pollwire_rings::Instant;

use super::Env;
use super::congestion::CongestionEvent;
use super::segment::Segment;
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::Counter;
use crate::wire::tcp::{ACK, CWR, ECE};

/// The codepoints of RFC 3168, 5, in the last two bits of the type of service
/// or traffic class.
pub(crate) const ECT_0: u8 = 2;
/// A router on the way was congested.
pub(crate) const CE: u8 = 3;

/// Whether a connection uses explicit congestion notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ecn {
    /// Neither asks for it nor accepts it.
    Off,
    /// Accepts it when the peer asks: Linux's `tcp_ecn=2`.
    #[default]
    Accept,
    /// Asks for it as well: Linux's `tcp_ecn=1`.
    Request,
}

impl Tcb<'_> {
    /// Notes what this side is willing to do, before the peer's SYN is known.
    pub(super) fn offer_ecn(&mut self, ecn: Ecn) {
        self.hot.clear(flag::ECN | flag::ECN_ASK);
        match ecn {
            Ecn::Off => {}
            Ecn::Accept => self.hot.set(flag::ECN),
            Ecn::Request => self.hot.set(flag::ECN | flag::ECN_ASK),
        }
    }

    /// What this side offered, and once the connection is open what became of
    /// it.
    pub(super) fn ecn_option(&self) -> Ecn {
        match (self.hot.has(flag::ECN), self.hot.has(flag::ECN_ASK)) {
            (_, true) => Ecn::Request,
            (true, false) => Ecn::Accept,
            (false, false) => Ecn::Off,
        }
    }

    /// Flags of our SYN or SYN-ACK (RFC 3168, 6.1.1). A SYN that went unanswered
    /// goes out again without them, for there are paths that swallow it
    /// (6.1.1.1).
    pub(super) fn ecn_syn_flags(&mut self) -> u8 {
        if self.hot.state == TcpState::SynReceived {
            return if self.hot.has(flag::ECN) { ECE } else { 0 };
        }
        if self.hot.rtt.backoff > 0 {
            self.hot.clear(flag::ECN_ASK);
        }
        if self.hot.has(flag::ECN_ASK) {
            ECE | CWR
        } else {
            0
        }
    }

    /// Takes the peer's SYN or SYN-ACK (RFC 3168, 6.1.1): both ends agree, or
    /// neither uses it.
    pub(super) fn negotiate_ecn(&mut self, syn: &Segment) {
        let agreed = match (syn.flags & ACK, syn.flags & (ECE | CWR)) {
            (0, bits) => bits == ECE | CWR,
            (_, bits) => bits == ECE && self.hot.has(flag::ECN_ASK),
        };
        self.agree_ecn(agreed);
    }

    /// Both ends agree, as far as this one is willing to, or neither uses it.
    pub(super) fn agree_ecn(&mut self, agreed: bool) {
        if !agreed {
            self.hot.clear(flag::ECN);
        }
        self.hot.clear(flag::ECN_ASK);
        self.cold.template.set_ecn(self.ecn_codepoint());
    }

    /// What new data is marked with.
    pub(crate) fn ecn_codepoint(&self) -> u8 {
        if self.hot.has(flag::ECN) { ECT_0 } else { 0 }
    }

    /// Takes what an acceptable data segment says. RFC 3168, 6.1.3: the receiver
    /// "sets the ECN-Echo flag in the TCP header of the subsequent ACK packet"
    /// and goes on until "a packet with the CWR flag" arrives.
    #[cold]
    pub(super) fn on_ecn_data(&mut self, env: &mut Env<'_>, seg: &Segment) {
        if seg.has(CWR) {
            self.hot.clear(flag::ECN_ECHO);
            // The sender's window may be down to one segment: it waits for this.
            self.ack_now();
        }
        if seg.ce {
            env.counters.inc(Counter::TcpEcnMarks);
            self.hot.set(flag::ECN_ECHO);
            self.ack_now();
        }
    }

    /// The peer echoes a mark (RFC 3168, 6.1.2): the window shrinks as for a
    /// loss, "at most once every round-trip time", and does not grow.
    #[cold]
    pub(super) fn on_ecn_echo(&mut self, env: &mut Env<'_>, ack: SeqNum) {
        self.hot.clear(flag::CWND_LIMITED);
        if self.hot.has(flag::RECOVERY) || self.is_reduced_by_ecn(ack) {
            return;
        }
        env.counters.inc(Counter::TcpEcnReductions);
        let least = self.hot.cwnd <= u32::from(self.hot.mss);
        self.on_congestion_event(env.now, CongestionEvent::Ecn);
        if least {
            self.hot.cwnd = 0;
        }
    }

    /// RFC 3168, 6.1.2: "the sending TCP MUST reset the retransmit timer on
    /// receiving the ECN-Echo packet when the congestion window is one. The
    /// sending TCP will then be able to send a new packet only when the
    /// retransmit timer expires." Until then `cwnd` is 0, and the persist timer
    /// runs if there is something to send. Returns whether that is over now.
    pub(super) fn end_ecn_pause(&mut self) -> bool {
        if self.hot.cwnd > 0 {
            return false;
        }
        self.hot.cwnd = u32::from(self.hot.mss);
        self.hot.clear(flag::PERSIST);
        self.hot.rtx_at = Instant::ZERO;
        true
    }

    /// Flags of a segment behind the handshake: the echo, and with the first new
    /// data after a reduction CWR (RFC 3168, 6.1.2).
    pub(super) fn ecn_flags(&mut self, new_data: bool) -> u8 {
        let mut flags = 0;
        if self.hot.has(flag::ECN_ECHO) {
            flags |= ECE;
        }
        if new_data && self.hot.has(flag::ECN_CWR) {
            self.hot.clear(flag::ECN_CWR);
            flags |= CWR;
        }
        flags
    }
}
