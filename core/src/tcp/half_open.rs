//! SYN-RECEIVED: a record of 64 bytes stands for a handshake until it is
//! complete, so that a flood of SYNs takes no flow from anybody (RFC 4987, 3.4).

use pollwire_rings::Instant;

use super::coarse::micros;
use super::listen::ListenOptions;
use super::open::{self, Offer};
use super::records::{Name, Record};
use super::segment::Segment;
use super::seq::SeqNum;
use crate::wire::tcp::{ACK, RST, SYN};
use crate::{DropReason, FlowKey};

/// Retransmissions of a SYN-ACK before the handshake is given up: about a
/// minute.
const RETRIES: u8 = 5;
/// A queue for each back-off step: the first transmission and the retries.
pub(crate) const STEPS: usize = RETRIES as usize + 1;
/// RFC 6298, 2.1: the timeout before any sample is one second.
pub(crate) const FIRST_TIMEOUT_NANOS: u64 = 1_000_000_000;

/// A handshake under way. All-zero is unused.
#[derive(Clone, Copy)]
pub(crate) struct HalfOpen {
    pub(crate) irs: SeqNum,
    pub(crate) iss: SeqNum,
    /// The value of the peer's timestamp.
    ts_recent: u32,
    /// When the SYN-ACK was last sent, in microseconds of the stack's clock,
    /// modulo 2^32.
    sent_at: u32,
    mss: u16,
    /// The peer's window scale in the low four bits, ours above them.
    scales: u8,
    /// Retransmissions in the low four bits, `TIMESTAMPS`, ... above them.
    marks: u8,
}

const TIMESTAMPS: u8 = 1 << 4;
const SACK: u8 = 1 << 5;
const SCALE: u8 = 1 << 6;
const ECN: u8 = 1 << 7;
const TRIES: u8 = 0xf;

const _: () = assert!(
    size_of::<Record<HalfOpen>>() <= 64,
    "a record is one cache line"
);

/// What becomes of a segment for a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It acknowledges our SYN: the connection is open.
    Complete,
    /// The SYN-ACK goes out again.
    Answer,
    /// The peer gave up.
    Forget,
    /// It is dropped, and answered by an ACK that tells where we stand.
    Challenge(DropReason),
    /// It is answered by RST with this sequence number.
    Reject(SeqNum),
    /// It is dropped.
    Drop(DropReason),
}

impl HalfOpen {
    /// No handshake. All-zero.
    pub(crate) const UNUSED: Self = Self {
        irs: SeqNum::new(0),
        iss: SeqNum::new(0),
        ts_recent: 0,
        sent_at: 0,
        mss: 0,
        scales: 0,
        marks: 0,
    };

    /// The handshake that a SYN with sequence number `irs` begins; `offer` is
    /// the part of its offer that this side agrees to.
    pub(crate) fn new(
        offer: &Offer,
        irs: SeqNum,
        iss: SeqNum,
        options: &ListenOptions,
        now: Instant,
    ) -> Self {
        let ours = open::scale_of(&options.tcp);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            irs,
            iss,
            ts_recent: offer.timestamp.unwrap_or(0),
            sent_at: micros(now),
            mss: offer.mss,
            scales: offer.scale.map_or(0, |theirs| ours << 4 | theirs),
            marks: bit(offer.timestamp.is_some(), TIMESTAMPS)
                | bit(offer.sack, SACK)
                | bit(offer.scale.is_some(), SCALE)
                | bit(offer.ecn, ECN),
        }
    }

    fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// What the peer's SYN offered.
    pub(crate) fn offer(&self) -> Offer {
        Offer {
            mss: self.mss,
            scale: self.has(SCALE).then_some(self.scales & 0xf),
            sack: self.has(SACK),
            timestamp: self.has(TIMESTAMPS).then_some(self.ts_recent),
            ecn: self.has(ECN),
        }
    }

    /// The window scale that our SYN-ACK offers.
    pub(crate) fn our_scale(&self) -> Option<u8> {
        self.has(SCALE).then_some(self.scales >> 4)
    }

    /// How often the SYN-ACK was sent again.
    pub(crate) fn tries(&self) -> u8 {
        self.marks & TRIES
    }

    /// The queue that it stands in.
    pub(crate) fn queue(&self) -> usize {
        usize::from(self.tries())
    }

    /// Counts a retransmission; `false` when there have been enough.
    pub(crate) fn back_off(&mut self, now: Instant) -> bool {
        self.sent_at = micros(now);
        let more = self.tries() < RETRIES;
        self.marks += u8::from(more);
        more
    }

    /// Nanoseconds since the SYN-ACK was last sent.
    pub(crate) fn nanos_since_sent(&self, now: Instant) -> u64 {
        u64::from(micros(now).wrapping_sub(self.sent_at)) * 1000
    }

    /// Nanoseconds until the SYN-ACK is to be sent again (RFC 6298, 5.5); 0
    /// when it is time.
    pub(crate) fn nanos_left(&self, now: Instant) -> u64 {
        (FIRST_TIMEOUT_NANOS << self.tries()).saturating_sub(self.nanos_since_sent(now))
    }

    /// The peer's SYN came again, with this timestamp.
    pub(crate) fn refresh(&mut self, seg: &Segment) {
        if let (Some((value, _)), true) = (seg.timestamps, self.has(TIMESTAMPS)) {
            self.ts_recent = value;
        }
    }

    /// Decides on a segment (RFC 9293, 3.10.7.4, SYN-RECEIVED). `window`: what
    /// the SYN-ACK offered.
    pub(crate) fn on_segment(&self, seg: &Segment, window: u16) -> Step {
        let rcv_nxt = self.irs + 1;
        if seg.is_syn() && seg.seq == self.irs {
            return Step::Answer;
        }
        let edge = rcv_nxt + u32::from(window);
        let begins = seg.seq.at_or_after(rcv_nxt) && seg.seq.before(edge);
        let reaches = seg.end().after(rcv_nxt) && seg.seq.before(rcv_nxt);
        if seg.has(RST) {
            // RFC 9293, 3.10.7.4, second: "If this connection was initiated
            // with a passive OPEN, then return this connection to the LISTEN
            // state"; RFC 5961, 3.2: when the number is exactly the expected.
            return match (seg.seq == rcv_nxt, begins) {
                (true, _) => Step::Forget,
                (false, true) => Step::Challenge(DropReason::TcpRstChallenged),
                (false, false) => Step::Drop(DropReason::TcpRstOutOfWindow),
            };
        }
        if !begins && !reaches {
            return Step::Challenge(DropReason::TcpOutOfWindow);
        }
        if seg.has(SYN) {
            return Step::Challenge(DropReason::TcpUnexpectedSyn);
        }
        if !seg.has(ACK) {
            return Step::Drop(DropReason::TcpNoAck);
        }
        if self.has(TIMESTAMPS) {
            match seg.timestamps {
                None => return Step::Drop(DropReason::TcpNoTimestamp),
                Some((value, _)) if value.wrapping_sub(self.ts_recent).cast_signed() < 0 => {
                    return Step::Challenge(DropReason::TcpPaws);
                }
                Some(_) => {}
            }
        }
        // "If the segment acknowledgment is not acceptable, form a reset
        // segment <SEQ=SEG.ACK><CTL=RST>".
        if seg.ack == self.iss + 1 {
            Step::Complete
        } else {
            Step::Reject(seg.ack)
        }
    }
}

/// The name of a handshake: its flow's key, with the listener where the local
/// port stands, which the listener knows.
pub(crate) fn name_of(key: &FlowKey, listener: u16) -> Name {
    let mut name = key.to_words();
    let [.., ports] = &mut name;
    *ports = *ports & !0xffff | u32::from(listener);
    name
}

/// The listener in a handshake's name.
pub(crate) fn listener_of(name: &Name) -> u16 {
    let [.., ports] = *name;
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let listener = ports as u16;
    listener
}

/// The key of a handshake at a listener on `port`.
pub(crate) fn key_of(name: &Name, port: u16) -> FlowKey {
    let mut words = *name;
    let [.., ports] = &mut words;
    *ports = *ports & !0xffff | u32::from(port);
    FlowKey::from_words(words)
}
