//! Segments meet flows: lookup, listeners, timers, and the ends of flows.

use core::net::{IpAddr, SocketAddr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxMeta, TxBurst};

use super::{IpMeta, Stack};
use crate::tcp::ecn;
use crate::tcp::emit::{Sink, Stop, Unresolved};
use crate::tcp::header::{self, V4_TIMED, V6_TIMED, is_v4};
use crate::tcp::input::Outcome;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, TcpState, flag, mark};
use crate::tcp::template::Template;
use crate::tcp::{Env, TcpOptions, half_open, listen};
use crate::wire::tcp::{ACK, RST, SYN};
use crate::{ConnError, Counter, DropReason, FlowKey};

/// What names a flow that does not exist, or not yet, and the hash of that.
#[derive(Clone, Copy)]
pub(crate) struct Stray {
    pub(crate) key: FlowKey,
    pub(crate) hash: u32,
}

impl Stack {
    /// Takes a TCP segment. `frame` begins with its TCP header and ends with
    /// the IP packet; further pieces stand in `rx_rest`.
    #[inline]
    pub(crate) fn tcp_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let rest = if self.rx_rest.is_empty() {
            0
        } else {
            self.rx_rest.iter().map(|piece| piece.len()).sum()
        };
        let mut seg = Segment::parse(&frame, frame.len() + rest)?;
        seg.ce = ip.ecn() == ecn::CE;
        let key = match (ip.dst, ip.src) {
            (IpAddr::V4(dst), IpAddr::V4(src)) => {
                FlowKey::v4((dst.octets(), seg.dst_port), (src.octets(), seg.src_port))
            }
            (dst, src) => FlowKey::new(
                SocketAddr::new(dst, seg.dst_port),
                SocketAddr::new(src, seg.src_port),
            ),
        };
        if meta.checksum == RxChecksum::Unknown {
            self.verify_tcp(&key, &frame, rest)?;
        }
        self.counters.inc(Counter::TcpSegmentsIn);
        match self.find_flow(&key) {
            Ok(index) => self.on_flow_segment(now, index, &seg, frame),
            Err(hash) => self.on_stray_segment(now, ip, Stray { key, hash }, &seg, frame),
        }
    }

    /// RFC 9293, 3.1: the receiver MUST check the checksum.
    #[inline]
    fn verify_tcp(&self, key: &FlowKey, frame: &FrameBuf, rest: usize) -> Result<(), DropReason> {
        let mut sum = header::pseudo_sum(key, frame.len() + rest).add_bytes(frame);
        let mut len = frame.len();
        for piece in &self.rx_rest {
            sum = sum.then(Sum::of(piece), len);
            len += piece.len();
        }
        if sum.is_valid() {
            Ok(())
        } else {
            Err(DropReason::TcpBadChecksum)
        }
    }

    /// The flow with this key: the last one again, most often; if there is none,
    /// the key's hash, which records are looked up by. For segments that come in,
    /// and nobody else: it becomes the last one.
    #[inline]
    pub(crate) fn find_flow(&mut self, key: &FlowKey) -> Result<u32, u32> {
        let last = self.tcp.last;
        if self.tcp.key(last) == Some(key)
            && self
                .tcp
                .hot(last)
                .is_some_and(|hot| hot.state != TcpState::Closed)
        {
            return Ok(last);
        }
        let tcp = &self.tcp;
        let hash = self.flows.hash(key);
        let found = self
            .flows
            .lookup(hash, |index| tcp.key(index) == Some(key))
            .ok_or(hash)?;
        self.tcp.set_last(found);
        Ok(found)
    }

    /// The key again, with its hash, if no connection has it.
    pub(crate) fn unused(&self, key: FlowKey) -> Option<Stray> {
        let hash = self.flows.hash(&key);
        let same = |index| self.tcp.key(index) == Some(&key);
        let taken = self.flows.lookup(hash, same).is_some() || self.in_time_wait(hash, &key);
        (!taken).then_some(Stray { key, hash })
    }

    /// The state of flow `index` and what its code works with.
    #[inline(always)]
    pub(crate) fn flow(&mut self, now: Instant, index: u32) -> Option<(Tcb<'_>, Env<'_>)> {
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            ..
        } = self;
        tcp.flow(index, now, pool, counters, rx_rest)
    }

    #[inline(always)]
    pub(super) fn on_flow_segment(
        &mut self,
        now: Instant,
        index: u32,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let was = self.before(index);
        let Some((mut tcb, mut env)) = self.flow(now, index) else {
            return Err(DropReason::TcpNoFlow);
        };
        let verdict = tcb.on_segment(&mut env, seg, frame);
        if !matches!(verdict, Ok(Outcome::TimeWait | Outcome::Ended(_))) {
            self.tcp.touch(index);
        }
        if self.tcp.nodes.episodes.are_low() {
            self.tcp.reclaim();
        }
        if let Some(was) = was {
            self.log_segment(now, index, seg, was);
        }
        match verdict {
            Ok(Outcome::Keep) => Ok(()),
            Ok(outcome) => self.apply_outcome(now, index, outcome),
            Err(reason) => {
                self.challenge_if_due(now, index);
                Err(reason)
            }
        }
    }

    /// Sends the challenge ACK that a flow asks for, if the host may send one
    /// more.
    #[cold]
    fn challenge_if_due(&mut self, now: Instant, index: u32) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        if !tcb.has_mark(mark::CHALLENGE) {
            return;
        }
        tcb.cold.marks &= !mark::CHALLENGE;
        if self.tcp.challenges.allow(now, &mut self.random) {
            self.counters.inc(Counter::TcpChallengeAcks);
            if let Some(mut tcb) = self.tcp.tcb(index) {
                tcb.ack_now();
            }
        }
    }

    /// Does what an outcome asks for.
    #[inline]
    pub(super) fn apply_outcome(
        &mut self,
        now: Instant,
        index: u32,
        outcome: Outcome,
    ) -> Result<(), DropReason> {
        match outcome {
            Outcome::Keep => {}
            Outcome::Established => return self.on_established(now, index),
            Outcome::TimeWait => self.enter_time_wait(now, index),
            Outcome::Ended(error) => self.end_flow(index, error),
            Outcome::Reject(seq) => self.send_reset_to(now, index, seq),
            Outcome::Refuse(seq, error) => {
                self.send_reset_to(now, index, seq);
                self.end_flow(index, Some(error));
            }
            Outcome::ResetPeer(seq, error) => {
                let hot = self.tcp.hot(index);
                if hot.is_some_and(|hot| hot.state != TcpState::SynSent) {
                    self.send_reset_of(now, index, seq);
                }
                self.end_flow(index, Some(error));
            }
        }
        Ok(())
    }

    /// A handshake is complete: a passive flow goes to its listener's queue.
    fn on_established(&mut self, now: Instant, index: u32) -> Result<(), DropReason> {
        let Some(cold) = self.tcp.cold_mut(index) else {
            return Ok(());
        };
        let Some(owner) = core::mem::take(&mut cold.listener).checked_sub(1) else {
            return Ok(());
        };
        let Some(listener) = self.tcp.listeners.get_mut(owner as usize) else {
            return Ok(());
        };
        if listener.open && listener.push(index) {
            if let Some(cold) = self.tcp.cold_mut(index) {
                cold.listener = owner + 1;
            }
            return Ok(());
        }
        let seq = self
            .tcp
            .hot(index)
            .map(|hot| hot.snd_nxt)
            .unwrap_or_default();
        self.send_reset_of(now, index, seq);
        self.end_flow(index, Some(ConnError::Aborted));
        Err(DropReason::TcpAcceptQueueFull)
    }

    /// A segment for no flow: for a record, a listener's SYN, or to be refused.
    #[inline(never)]
    fn on_stray_segment(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        stray: Stray,
        seg: &Segment,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let Stray { key, hash } = &stray;
        let hash = *hash;
        if ip.broadcast {
            return Err(DropReason::TcpNotUnicast);
        }
        let listener = listen::find(&self.tcp.listeners, key);
        if let Some(listener) = listener
            && let Some(index) = self
                .tcp
                .handshakes
                .find(hash, || half_open::name_of(key, listener))
        {
            return self.on_handshake_segment(now, &stray, index, seg, frame);
        }
        let mut least = None;
        if let Some(index) = self.tcp.time_wait.find(hash, || key.to_words()) {
            least = self.on_time_wait_segment(now, key, index, seg)?;
            if least.is_none() {
                return Ok(());
            }
        }
        if seg.has(RST) {
            return Err(DropReason::TcpNoFlow);
        }
        match listener {
            Some(listener) if seg.is_syn() => {
                self.on_syn(now, &stray, listener, seg, &frame, least)
            }
            Some(listener)
                if seg.has(ACK) && !seg.has(SYN) && self.expects_cookies(now, listener) =>
            {
                self.on_cookie(now, &stray, listener, seg, frame)
            }
            // RFC 9293, 3.10.7.2, LISTEN, with neither RST, ACK nor SYN: "This
            // should not be reached. Drop the segment and return." So goes SYN
            // with FIN, which no peer means.
            Some(_) if !seg.has(ACK) => Err(DropReason::TcpNoAck),
            _ => {
                self.refuse(now, key, seg);
                Err(if listener.is_some() {
                    DropReason::TcpNoFlow
                } else {
                    DropReason::TcpNoListener
                })
            }
        }
    }

    fn expects_cookies(&self, now: Instant, listener: u16) -> bool {
        let owner = self.tcp.listeners.get(usize::from(listener));
        owner.is_some_and(|owner| owner.expects_cookies(now))
    }

    /// A slot, filed under its key, with first values.
    pub(crate) fn open_flow(
        &mut self,
        now: Instant,
        stray: Stray,
        options: &TcpOptions,
        iss: SeqNum,
        ts_offset: u32,
    ) -> Option<u32> {
        let Stray { key, hash } = stray;
        let index = self.tcp.alloc(key, hash)?;
        if !self.flows.insert(hash, index) {
            self.tcp.release(index);
            return None;
        }
        let mss = self.mss_of(&key);
        self.tcp.tcb(index)?.init(options, iss, ts_offset, mss, now);
        Some(index)
    }

    /// The largest segment that this host takes.
    pub(super) fn mss_of(&self, key: &FlowKey) -> u16 {
        let headers = if key.is_v4() { 40 } else { 60 };
        let mss = self.path_mtu_of(key);
        let mss = mss.saturating_sub(headers).max(88);
        let frame = self
            .pool
            .frame_size()
            .saturating_sub(pollwire_rings::HEADROOM);
        mss.min(u16::try_from(frame).unwrap_or(u16::MAX))
    }

    /// Ends a flow: off the table at once; the slot goes when no handle is left.
    pub(crate) fn end_flow(&mut self, index: u32, error: Option<ConnError>) {
        let Some(hash) = self.tcp.cold(index).map(|cold| cold.hash) else {
            return;
        };
        self.flows.remove(hash, index);
        self.timers.cancel(index);
        let Some((mut tcb, nodes)) = self.tcp.tcb_and_nodes(index) else {
            return;
        };
        if let Some(owner) = tcb.cold.listener.checked_sub(1) {
            tcb.cold.listener = 0;
            if let Some(listener) = self.tcp.listeners.get_mut(owner as usize) {
                listener.accepted.retain(|&waiting| waiting != index);
            }
            self.tcp.release(index);
            return;
        }
        if !tcb.hot.has(flag::OWNED) {
            self.tcp.release(index);
            return;
        }
        tcb.cold.error = error;
        nodes.clear(&mut tcb.hot.send);
        tcb.cold.end_episode(nodes);
        tcb.hot.unsent = None;
        if error.is_some() {
            tcb.cold.first_unread = None;
            nodes.clear(&mut tcb.hot.recv);
        }
        tcb.wake_reader();
        tcb.wake_writer();
        tcb.hot.state = TcpState::Closed;
        tcb.hot.rtx_at = Instant::ZERO;
        tcb.hot.ack_at = Instant::ZERO;
        tcb.cold.misc_at = Instant::ZERO;
    }

    /// Sends for every touched flow until the burst is full. Returns whether
    /// more is left for this turn.
    #[inline(always)]
    pub(crate) fn tcp_output(&mut self, now: Instant, tx: &mut TxBurst) -> bool {
        while let Some(index) = self.tcp.pop_touched() {
            if self.output_lone::<V4_TIMED>(now, index, tx) {
                continue;
            }
            if !tx.has_room(4) {
                self.tcp.touch(index);
                return true;
            }
            if self.flow_output(now, index, tx) == Stop::Full {
                self.tcp.touch(index);
                return true;
            }
        }
        false
    }

    /// Sends what the flow has to send if that is one small segment, with `N`
    /// bytes of headers.
    #[inline(always)]
    fn output_lone<const N: usize>(&mut self, now: Instant, index: u32, tx: &mut TxBurst) -> bool {
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            iface,
            timers,
            ..
        } = self;
        let Some((mut tcb, mut env)) = tcp.flow(index, now, pool, counters, rx_rest) else {
            return false;
        };
        if is_v4(N) != tcb.cold.template.is_v4() {
            return is_v4(N) && self.output_lone_v6(now, index, tx);
        }
        let sent = tcb.cold.template.generation == iface.generation()
            && tcb.send_lone::<N>(&mut env, tx, iface.caps().tx_checksum);
        if sent && let Some(deadline) = tcb.deadline() {
            timers.arm(index, deadline);
        }
        sent
    }

    /// Apart, so that IPv4's way stays short.
    #[inline(never)]
    fn output_lone_v6(&mut self, now: Instant, index: u32, tx: &mut TxBurst) -> bool {
        self.output_lone::<V6_TIMED>(now, index, tx)
    }

    #[inline(never)]
    fn flow_output(&mut self, now: Instant, index: u32, tx: &mut TxBurst) -> Stop {
        let resolved = self.has_link(now, index);
        if !resolved && self.park_elsewhere(index) {
            return Stop::Done;
        }
        let (was, first) = (self.before(index), tx.packets());
        let mut unresolved: Option<Unresolved> = None;
        let Self {
            tcp,
            pool,
            counters,
            rx_rest,
            iface,
            ..
        } = self;
        let Some((mut tcb, mut env)) = tcp.flow(index, now, pool, counters, rx_rest) else {
            return Stop::Done;
        };
        let mut sink = Sink {
            tx,
            caps: iface.caps(),
            resolved,
            unresolved: &mut unresolved,
        };
        let stop = tcb.poll_transmit(&mut env, &mut sink);
        if let Some(deadline) = tcb.deadline() {
            self.timers.arm(index, deadline);
        }
        if tcb.hot.has(flag::PACED)
            && let Some(deadline) = tcb.paced_deadline(now)
        {
            self.timers.arm(index, deadline);
        }
        let waiting = unresolved.map(|waiting| (*tcb.key, waiting));
        if let Some(was) = was {
            self.log_output(now, index, tx, first, was);
        }
        if let Some((key, waiting)) = waiting {
            self.send_segment(now, &key, waiting.header, waiting.payload);
            return self.after_full_path(now, index, &key);
        }
        stop
    }

    /// A segment of a flow that keeps no link header was sent: has the flow send
    /// the next, unless it waits for its neighbour's answer.
    #[cold]
    fn after_full_path(&mut self, now: Instant, index: u32, key: &FlowKey) -> Stop {
        let (local, remote) = (key.local().ip(), key.remote().ip());
        if self.is_looped(remote) {
            if !self.looped.is_full() {
                self.tcp.touch(index);
            }
        } else if self.vlan().is_some() && self.link_header(now, local, remote).is_some() {
            if self.outbox.is_full() {
                return Stop::Full;
            }
            self.tcp.touch(index);
        }
        Stop::Done
    }

    /// Whether the flow's cached Ethernet header holds; it is renewed when
    /// neighbours changed.
    #[inline]
    pub(super) fn has_link(&mut self, now: Instant, index: u32) -> bool {
        let generation = self.iface.generation();
        let Some(cold) = self.tcp.cold(index) else {
            return false;
        };
        cold.template.generation == generation || self.renew_link(now, index)
    }

    /// What segments of the flow with this key begin with.
    fn template_of(&mut self, now: Instant, key: &FlowKey) -> Option<Template> {
        let label = self.tcp.secrets.flow_label(key);
        if let Some(last) = self.last_template(key) {
            return Some(last.for_flow(key, label));
        }
        let (link, generation) = self.link_template(now, key.local().ip(), key.remote().ip())?;
        let template = Template::new(link, key, self.iface.v6.hop_limit, generation);
        self.tcp.last_template = (*key, template);
        Some(template.for_flow(key, label))
    }

    /// The template that was worked out last, if it is of a flow between the same
    /// hosts, and holds: connections come in rows.
    #[inline]
    pub(super) fn last_template(&self, key: &FlowKey) -> Option<&Template> {
        let (known, template) = &self.tcp.last_template;
        let holds = template.generation == self.iface.generation() && known.has_ends_of(key);
        holds.then_some(template)
    }

    #[cold]
    fn renew_link(&mut self, now: Instant, index: u32) -> bool {
        let Some(key) = self.tcp.key(index).copied() else {
            return false;
        };
        let template = self.template_of(now, &key);
        match (template, self.tcp.tcb(index)) {
            (Some(template), Some(tcb)) => {
                tcb.cold.template = template;
                let codepoint = tcb.ecn_codepoint();
                if codepoint != 0 {
                    tcb.cold.template.set_ecn(codepoint);
                }
                tcb.cold.link_progress = tcb.hot.progress();
                self.adopt_path_mtu(now, index, &key);
                true
            }
            _ => {
                if self.vlan().is_some() {
                    self.adopt_path_mtu(now, index, &key);
                }
                false
            }
        }
    }

    /// Has the flow know what its path carries.
    fn adopt_path_mtu(&mut self, now: Instant, index: u32, key: &FlowKey) {
        let mtu = self.path_mtu_of(key);
        if let Some((mut tcb, mut env)) = self.flow(now, index) {
            tcb.on_path_mtu(&mut env, mtu);
        }
    }

    /// Runs the timers that are due; output follows for those flows.
    #[inline(never)]
    pub(crate) fn tcp_expire(&mut self, now: Instant) {
        self.chores_changed();
        while let Some(index) = self.timers.pop_due(now) {
            let was = self.before(index);
            let Some((mut tcb, mut env)) = self.flow(now, index) else {
                continue;
            };
            if tcb.hot.state == TcpState::Closed {
                continue;
            }
            let outcome = tcb.on_timer(&mut env);
            self.tcp.touch(index);
            if let Some(was) = was {
                self.log_timer(now, index, was);
            }
            // A timer's outcome drops no packet.
            let _ = self.apply_outcome(now, index, outcome);
        }
    }
}
