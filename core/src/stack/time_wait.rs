//! Connections in TIME-WAIT: records that stand in for their flows.

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant};

use super::Stack;
use super::Stray;
use crate::tcp::emit;
use crate::tcp::header;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{TcpState, flag, mark};
use crate::tcp::time_wait::{Reply, TIME_WAIT_NANOS, TimeWait};
use crate::{Counter, DropReason, FlowKey};

/// Bytes of timestamps in a segment's options.
const TIMESTAMPS_LEN: usize = 12;

impl Stack {
    /// A flow entered TIME-WAIT: a record takes its place. What the reader has
    /// not read yet stays until the handle is given up.
    pub(super) fn enter_time_wait(&mut self, now: Instant, index: u32) {
        let Some((tcb, nodes)) = self.tcp.tcb_and_nodes(index) else {
            return;
        };
        let (key, hash) = (*tcb.key, tcb.cold.hash);
        let (record, value) = (TimeWait::of(&tcb, now), tcb.timestamp(now));
        let owned = tcb.hot.has(flag::OWNED);
        let pending = tcb.hot.has(flag::ACK_NOW);
        let ecn = tcb.hot.has(flag::ECN);
        if owned {
            nodes.clear(&mut tcb.hot.send);
            tcb.cold.end_episode(nodes);
            tcb.hot.unsent = None;
            tcb.hot.state = TcpState::Closed;
            tcb.hot.clear(flag::ACK_NOW);
            tcb.cold.marks |= mark::TIME_WAIT;
            tcb.hot.rtx_at = Instant::ZERO;
            tcb.hot.ack_at = Instant::ZERO;
            tcb.cold.misc_at = Instant::ZERO;
        }
        self.flows.remove(hash, index);
        self.timers.cancel(index);
        let ready = if pending && !ecn {
            self.ready_last_ack(index, &record, value)
        } else {
            None
        };
        if !owned {
            self.tcp.release(index);
        }
        self.keep_time_wait(now, hash, &key, record);
        match ready {
            Some(frame) => self.send_ready(frame),
            None if pending => self.send_last_ack(now, &key, &record, value),
            None => {}
        }
    }

    fn keep_time_wait(&mut self, now: Instant, hash: u32, key: &FlowKey, record: TimeWait) {
        if self.tcp.time_wait.is_full()
            && let Some(oldest) = self.tcp.time_wait.front(0)
        {
            self.forget_time_wait(oldest);
            self.counters.inc(Counter::TcpTimeWaitRecycled);
        }
        let name = key.to_words();
        if self.tcp.time_wait.insert(hash, name, record, 0).is_some() {
            self.note_due(now.plus_nanos(TIME_WAIT_NANOS));
        }
    }

    /// Whether a connection with this key waits in TIME-WAIT.
    pub(crate) fn in_time_wait(&self, hash: u32, key: &FlowKey) -> bool {
        self.tcp.time_wait.find(hash, || key.to_words()).is_some()
    }

    /// A segment for a connection in TIME-WAIT. `Ok(Some(_))`: it is a SYN that
    /// may open a new one, whose sequence numbers begin no earlier than that.
    pub(super) fn on_time_wait_segment(
        &mut self,
        now: Instant,
        key: &FlowKey,
        index: u32,
        seg: &Segment,
    ) -> Result<Option<SeqNum>, DropReason> {
        let Some(record) = self.tcp.time_wait.get_mut(index) else {
            return Err(DropReason::TcpNoFlow);
        };
        match record.on_segment(seg) {
            Reply::Drop(reason) => Err(reason),
            Reply::Reopen(least) => Ok(Some(least)),
            Reply::Ack => {
                let record = *record;
                let value = self.tcp.secrets.offsets(key).timestamp(now);
                self.send_last_ack(now, key, &record, value);
                Err(DropReason::TcpAfterFin)
            }
            Reply::AckAndRestart => {
                record.restart(now);
                let record = *record;
                self.tcp.time_wait.requeue(index, 0);
                let value = self.tcp.secrets.offsets(key).timestamp(now);
                self.send_last_ack(now, key, &record, value);
                Ok(None)
            }
        }
    }

    /// A new incarnation is open: it takes the place of one that waits.
    pub(super) fn leave_time_wait(&mut self, Stray { key, hash }: &Stray) {
        if let Some(index) = self.tcp.time_wait.find(*hash, || key.to_words()) {
            self.tcp.time_wait.remove(*hash, index);
        }
    }

    /// The last ACK of flow `index`, all headers included, while its link header
    /// holds.
    fn ready_last_ack(&self, index: u32, record: &TimeWait, value: u32) -> Option<FrameBuf> {
        let (cold, key) = (self.tcp.cold(index)?, self.tcp.key(index)?);
        if cold.template.generation != self.iface.generation() || !record.timestamps {
            return None;
        }
        let mut frame = self.pool.alloc()?;
        let out = frame.push_back(header::header_len(key, TIMESTAMPS_LEN))?;
        let fields = record.ack_fields(value);
        emit::write_plain(out, &cold.template, key, &fields, (0, Some(Sum::ZERO)));
        Some(frame)
    }

    /// `value`: of the flow's timestamp clock.
    fn send_last_ack(&mut self, now: Instant, key: &FlowKey, record: &TimeWait, value: u32) {
        let fields = record.ack_fields(value);
        let options = header::plain_options(fields.timestamps, &[]);
        self.send_control(now, key, &fields, &options);
    }

    /// Ends the waits that have lasted twice the maximum segment lifetime.
    pub(super) fn expire_time_wait(&mut self, now: Instant) {
        while let Some(index) = self.tcp.time_wait.front(0) {
            let left = self.tcp.time_wait.get(index).map(|r| r.nanos_left(now));
            if left != Some(0) {
                break;
            }
            self.forget_time_wait(index);
        }
    }

    fn forget_time_wait(&mut self, index: u32) {
        if let Some(name) = self.tcp.time_wait.name(index) {
            let hash = self.flows.hash(&FlowKey::from_words(name));
            self.tcp.time_wait.remove(hash, index);
        }
    }
}
