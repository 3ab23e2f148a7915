//! The passive side's handshakes: SYNs become records, and a record that its
//! peer has acknowledged becomes a flow.

use pollwire_rings::{FrameBuf, Instant};

use super::Stack;
use super::Stray;
use crate::tcp::SynCookies;
use crate::tcp::coarse::millis;
use crate::tcp::cookie;
use crate::tcp::half_open::{self, HalfOpen, STEPS, Step};
use crate::tcp::header::{self, HeaderFields};
use crate::tcp::listen::Listener;
use crate::tcp::open::{self, Offer};
use crate::tcp::rtt::Rtt;
use crate::tcp::segment::{MIN_HEADER, Segment};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, TcpState, flag};
use crate::wire::tcp::{ACK, ECE, SYN};
use crate::{Counter, DropReason, FlowKey};

/// Retransmissions of a SYN-ACK while handshakes crowd: whoever forges SYNs must
/// not have his victims sent many answers to each, nor fill the queue for long.
const CROWDED_RETRIES: u8 = 1;

impl Stack {
    /// RFC 9293, 3.10.7.2, third: check for a SYN. `least`: the first sequence
    /// number that an older incarnation of the connection leaves.
    pub(super) fn on_syn(
        &mut self,
        now: Instant,
        stray: &Stray,
        listener: u16,
        seg: &Segment,
        frame: &FrameBuf,
        least: Option<SeqNum>,
    ) -> Result<(), DropReason> {
        let key = &stray.key;
        let full = self.tcp.handshakes.is_full();
        let Some(owner) = self.tcp.listeners.get_mut(usize::from(listener)) else {
            return Err(DropReason::TcpNoListener);
        };
        if owner.accept_queue_is_full() {
            owner.stats.accept_overflows += 1;
            return Err(DropReason::TcpAcceptQueueFull);
        }
        let full = full || owner.syn_queue_is_full();
        // A cookie cannot be made to lie behind an older incarnation's numbers.
        let cookie = least.is_none()
            && match owner.options.syn_cookies {
                SynCookies::Off => false,
                SynCookies::WhenFull => full,
                SynCookies::Always => true,
            };
        if full && !cookie {
            owner.stats.syns_dropped += 1;
            return Err(DropReason::TcpSynQueueFull);
        }
        if self.pool.available() < self.pool.capacity() / 8 {
            return Err(DropReason::TcpNoMemory);
        }
        owner.stats.syns += 1;
        let options = owner.options;
        let bytes = frame.get(MIN_HEADER..seg.header_len).unwrap_or_default();
        let offer = Offer::parse(seg, bytes, key.is_v4()).within(&options.tcp.handshake);
        if cookie {
            self.send_cookie(now, key, listener, seg.seq, cookie::keepable(offer));
            return Ok(());
        }
        let offsets = self.tcp.secrets.offsets(key);
        let iss = offsets.isn(now);
        let iss = least.map_or(iss, |least| iss.later(least));
        let record = HalfOpen::new(&offer, seg.seq, iss, &options, now);
        let name = half_open::name_of(key, listener);
        let queued = self.tcp.handshakes.insert(stray.hash, name, record, 0);
        if queued.is_none() {
            return Err(DropReason::TcpSynQueueFull);
        }
        owner.half_open += 1;
        self.note_due(now.plus_nanos(half_open::FIRST_TIMEOUT_NANOS));
        self.send_answer(now, key, listener, &record, offsets.timestamp(now));
        Ok(())
    }

    /// Answers a SYN and keeps nothing.
    fn send_cookie(
        &mut self,
        now: Instant,
        key: &FlowKey,
        listener: u16,
        irs: SeqNum,
        offer: Offer,
    ) {
        let Some(owner) = self.tcp.listeners.get_mut(usize::from(listener)) else {
            return;
        };
        owner.stats.cookies_sent += 1;
        owner.cookie_at = now;
        let iss = self.tcp.cookies.make(key, irs, offer.mss, now);
        let record = HalfOpen::new(&offer, irs, iss, &owner.options, now);
        let offset = self.tcp.secrets.offsets(key).timestamps;
        let clock = millis(now);
        let value = cookie::timestamp(clock, &offer).wrapping_add(offset);
        self.counters.inc(Counter::TcpCookiesSent);
        self.send_answer(now, key, listener, &record, value);
    }

    /// An ACK to a listener that has sent cookies: perhaps it brings one back.
    pub(super) fn on_cookie(
        &mut self,
        now: Instant,
        stray: &Stray,
        listener: u16,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let key = &stray.key;
        let (irs, iss) = (seg.seq - 1, seg.ack - 1);
        let found = self.tcp.cookies.check(key, irs, iss, now);
        let Some(owner) = self.tcp.listeners.get_mut(usize::from(listener)) else {
            return Err(DropReason::TcpNoListener);
        };
        let Some(mss) = found else {
            owner.stats.cookies_failed += 1;
            self.send_reset(now, key, seg.ack, None);
            return Err(DropReason::TcpBadCookie);
        };
        let offset = self.tcp.secrets.offsets(key).timestamps;
        let times = seg
            .timestamps
            .map(|(value, echo)| (value, echo.wrapping_sub(offset)));
        let offer = cookie::offer(mss, times).within(&owner.options.tcp.handshake);
        let record = HalfOpen::new(&offer, irs, iss, &owner.options, now);
        let flow = self.open_passive(now, stray, listener, &record)?;
        if let Some(owner) = self.tcp.listeners.get_mut(usize::from(listener)) {
            owner.stats.cookies_taken += 1;
        }
        self.counters.inc(Counter::TcpCookiesTaken);
        self.finish_handshake(now, flow, seg, frame, |tcb| {
            // Nobody knows when the SYN-ACK went out.
            tcb.hot.rtt = Rtt::NEW;
        })
    }

    /// A segment for a handshake under way.
    pub(super) fn on_handshake_segment(
        &mut self,
        now: Instant,
        stray: &Stray,
        index: u32,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let key = &stray.key;
        let (Some(record), Some(name)) = (
            self.tcp.handshakes.get(index).copied(),
            self.tcp.handshakes.name(index),
        ) else {
            return Err(DropReason::TcpNoFlow);
        };
        let listener = half_open::listener_of(&name);
        let Some(owner) = self.tcp.listeners.get(usize::from(listener)) else {
            return Err(DropReason::TcpNoListener);
        };
        match record.on_segment(seg, open::syn_window(&owner.options.tcp)) {
            Step::Complete => {
                // The last ACK of a handshake: now it takes a flow, if the listener
                // has room for it. Else the record stays, and the peer's next
                // segment, or its answer to another SYN-ACK, tries again.
                let flow = self.open_passive(now, stray, listener, &record)?;
                self.finish_handshake(now, flow, seg, frame, |_| {})?;
                self.forget_handshake(stray.hash, index);
                self.leave_time_wait(stray);
                Ok(())
            }
            Step::Answer => {
                if let Some(record) = self.tcp.handshakes.get_mut(index) {
                    record.refresh(seg);
                    let record = *record;
                    self.send_syn_ack(now, key, listener, &record);
                }
                Ok(())
            }
            Step::Forget => {
                self.forget_handshake(stray.hash, index);
                Ok(())
            }
            Step::Challenge(reason) => {
                self.challenge(now, key, &record);
                Err(reason)
            }
            Step::Reject(seq) => {
                self.send_reset(now, key, seq, None);
                Err(DropReason::TcpBadAck)
            }
            Step::Drop(reason) => Err(reason),
        }
    }

    /// Gives a flow in SYN-RECEIVED the segment that opens it.
    fn finish_handshake(
        &mut self,
        now: Instant,
        flow: u32,
        seg: &Segment,
        frame: FrameBuf,
        opened: impl FnOnce(&mut Tcb<'_>),
    ) -> Result<(), DropReason> {
        let Some((mut tcb, mut env)) = self.flow(now, flow) else {
            return Err(DropReason::TcpNoFlow);
        };
        let verdict = tcb.on_segment(&mut env, seg, frame);
        if tcb.hot.state == TcpState::SynReceived {
            self.end_flow(flow, None);
            return verdict.and(Err(DropReason::TcpNoFlow));
        }
        opened(&mut tcb);
        if tcb.hot.has(flag::ACK_NOW) || tcb.deadline().is_some() {
            self.tcp.touch(flow);
        } else {
            // Nothing to say yet; what the peer says will be recognised.
            self.has_link(now, flow);
        }
        self.apply_outcome(now, flow, verdict?)
    }

    /// A flow in the state that `record` describes.
    fn open_passive(
        &mut self,
        now: Instant,
        stray: &Stray,
        listener: u16,
        record: &HalfOpen,
    ) -> Result<u32, DropReason> {
        let Some(owner) = self.tcp.listeners.get_mut(usize::from(listener)) else {
            return Err(DropReason::TcpNoListener);
        };
        if owner.accept_queue_is_full() {
            owner.stats.accept_overflows += 1;
            return Err(DropReason::TcpAcceptQueueFull);
        }
        let options = owner.options.tcp;
        let offset = self.tcp.secrets.offsets(&stray.key).timestamps;
        let flow = self
            .open_flow(now, *stray, &options, record.iss, offset)
            .ok_or(DropReason::TcpNoFlowFree)?;
        if let Some(mut tcb) = self.tcp.tcb(flow) {
            tcb.resume(record, open::syn_window(&options), now);
            tcb.cold.listener = u32::from(listener) + 1;
        }
        Ok(flow)
    }

    /// Gives a handshake up, or its record: a flow took over. `hash` is that of
    /// its flow's key.
    fn forget_handshake(&mut self, hash: u32, index: u32) {
        let name = self.tcp.handshakes.name(index);
        let owner = name.map(|name| usize::from(half_open::listener_of(&name)));
        let removed = self.tcp.handshakes.remove(hash, index);
        if let (Some(_), Some(owner)) = (removed, owner)
            && let Some(owner) = self.tcp.listeners.get_mut(owner)
        {
            owner.half_open = owner.half_open.saturating_sub(1);
        }
    }

    fn send_syn_ack(&mut self, now: Instant, key: &FlowKey, listener: u16, record: &HalfOpen) {
        let value = self.tcp.secrets.offsets(key).timestamp(now);
        self.send_answer(now, key, listener, record, value);
    }

    /// The SYN-ACK of a handshake, with this timestamp if both use them.
    fn send_answer(
        &mut self,
        now: Instant,
        key: &FlowKey,
        listener: u16,
        record: &HalfOpen,
        value: u32,
    ) {
        let Some(owner) = self.tcp.listeners.get(usize::from(listener)) else {
            return;
        };
        let offer = record.offer();
        let fields = HeaderFields {
            seq: record.iss,
            ack: record.irs + 1,
            flags: if offer.ecn {
                SYN | ACK | ECE
            } else {
                SYN | ACK
            },
            window: open::syn_window(&owner.options.tcp),
            timestamps: offer.timestamp.map(|echo| (value, echo)),
            ecn: 0,
        };
        let mss = open::own_mss(&owner.options.tcp.handshake, self.mss_of(key));
        let options = header::syn_options(mss, offer.sack, fields.timestamps, record.our_scale());
        self.send_control(now, key, &fields, &options);
    }

    /// Tells the peer of a handshake where we stand.
    fn challenge(&mut self, now: Instant, key: &FlowKey, record: &HalfOpen) {
        if !self.tcp.challenges.allow(now, &mut self.random) {
            return;
        }
        self.counters.inc(Counter::TcpChallengeAcks);
        let value = self.tcp.secrets.offsets(key).timestamp(now);
        let fields = HeaderFields {
            seq: record.iss + 1,
            ack: record.irs + 1,
            flags: ACK,
            window: 0,
            timestamps: record.offer().timestamp.map(|echo| (value, echo)),
            ecn: 0,
        };
        let options = header::plain_options(fields.timestamps, &[]);
        self.send_control(now, key, &fields, &options);
    }

    /// Runs what is due for half-open and closed connections.
    #[inline(never)]
    pub(super) fn expire_records(&mut self, now: Instant) {
        self.expire_handshakes(now);
        self.expire_time_wait(now);
        self.tcp.find_due(now);
    }

    /// Sends SYN-ACKs again that were not answered in time (RFC 6298, 5), and
    /// gives up on those that were sent often enough.
    pub(super) fn expire_handshakes(&mut self, now: Instant) {
        for step in 0..STEPS {
            while let Some(index) = self.tcp.handshakes.front(step) {
                let crowded = self.is_crowded(index);
                let Some(record) = self.tcp.handshakes.get_mut(index) else {
                    break;
                };
                if record.nanos_left(now) > 0 {
                    break;
                }
                if !record.back_off(now) || (crowded && record.tries() > CROWDED_RETRIES) {
                    let Some((key, _)) = self.handshake_key(index) else {
                        break;
                    };
                    self.forget_handshake(self.flows.hash(&key), index);
                    continue;
                }
                let record = *record;
                self.tcp.handshakes.requeue(index, record.queue());
                self.counters.inc(Counter::TcpRetransmits);
                self.counters.inc(Counter::TcpTimeouts);
                self.answer_again(now, index, &record);
            }
        }
    }

    /// Whether most of the room for handshakes at its listener is taken, or of
    /// that of all.
    fn is_crowded(&self, index: u32) -> bool {
        let name = self.tcp.handshakes.name(index);
        let owner = name.map(|name| usize::from(half_open::listener_of(&name)));
        let owner = owner.and_then(|owner| self.tcp.listeners.get(owner));
        owner.is_none_or(Listener::is_crowded) || self.tcp.handshakes.is_crowded()
    }

    fn answer_again(&mut self, now: Instant, index: u32, record: &HalfOpen) {
        let Some((key, listener)) = self.handshake_key(index) else {
            return;
        };
        self.send_syn_ack(now, &key, listener, record);
    }

    /// The key of a handshake's flow, and its listener.
    fn handshake_key(&self, index: u32) -> Option<(FlowKey, u16)> {
        let name = self.tcp.handshakes.name(index)?;
        let listener = half_open::listener_of(&name);
        let owner = self.tcp.listeners.get(usize::from(listener))?;
        Some((half_open::key_of(&name, owner.port), listener))
    }

    /// Resets all handshakes of a listener that closes.
    pub(crate) fn reset_handshakes(&mut self, listener: u16) {
        let now = self.now();
        for index in 0..self.tcp.handshakes.used() {
            let Some((key, owner)) = self.handshake_key(index) else {
                continue;
            };
            let (name, hash) = (half_open::name_of(&key, owner), self.flows.hash(&key));
            if owner != listener || self.tcp.handshakes.find(hash, || name) != Some(index) {
                continue;
            }
            if let Some(record) = self.tcp.handshakes.get(index).copied() {
                self.send_reset(now, &key, record.iss + 1, Some(record.irs + 1));
            }
            self.forget_handshake(hash, index);
        }
    }
}
