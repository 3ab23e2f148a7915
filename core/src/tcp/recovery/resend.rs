//! What goes out in disorder: what is lost, and probes.

use super::super::emit::{Batch, Sink, Stop};
use crate::Counter;
use crate::tcp::Env;
use crate::tcp::node::{EVER_RETRANSMITTED, Link, NodeId, RETRANSMITTED};
use crate::tcp::tcb::{Tcb, flag, mark};
use crate::wire::tcp::{ACK, FIN, PSH};

impl Tcb<'_> {
    /// What precedes new data in this turn.
    #[cold]
    pub(crate) fn send_unusual(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        // With nothing in flight it is a keepalive probe, and goes out as an ACK.
        if self.hot.has(flag::SEND_PROBE) && self.hot.flight() > 0 {
            let stop = self.send_loss_probe(env, sink);
            if stop != Stop::Done {
                return stop;
            }
            self.hot.clear(flag::SEND_PROBE);
        }
        // An ACK of data would leave no room for SACK blocks, and would not
        // count as a duplicate (RFC 5681, 2).
        if self.hot.has(flag::OUT_OF_ORDER) && self.hot.has(flag::ACK_NOW) {
            let stop = self.send_ack(env, sink);
            if stop != Stop::Done {
                return stop;
            }
        }
        let stop = self.send_lost(env, sink);
        if stop == Stop::Done && self.hot.has(flag::WATCHED) {
            return self.send_mtu_probe(env, sink);
        }
        stop
    }

    /// Retransmits what is taken for lost, as far as `cwnd` allows; one segment
    /// always when nothing is in the network.
    fn send_lost(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let mut from = self.hot.send.head;
        while let Some(id) = self.next_lost(env, from) {
            if self.holds_retransmissions() {
                break;
            }
            let Some(node) = env.nodes.get(id) else { break };
            let (pipe, len) = (self.hot.pipe(), node.len);
            from = node.next;
            let forced = self.has_mark(mark::FORCED);
            if pipe > 0 && pipe + len > self.hot.cwnd && !forced {
                self.note_cwnd_limited();
                return Stop::Done;
            }
            let stop = self.send_again(env, sink, id);
            if stop != Stop::Done {
                return stop;
            }
            self.cold.marks &= !mark::FORCED;
            if let Some(node) = env.nodes.get_mut(id) {
                node.marks |= RETRANSMITTED;
            }
            self.hot.retransmitted += len;
            self.note_sent_in_recovery(len);
            if self.hot.send.head == Some(id) && !self.hot.has(flag::REORDER_TIMER) {
                self.start_rto(env.now);
            }
            self.arm_rtx(env);
        }
        if self.hot.has(flag::RESEND_FIN) && self.hot.flight() > 0 {
            let stop = self.send_fin_again(env, sink);
            if stop != Stop::Done {
                return stop;
            }
            self.arm_rtx(env);
        }
        Stop::Done
    }

    /// Emits a segment once more; with its FIN if it is the last.
    fn send_again(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>, id: NodeId) -> Stop {
        let Some(node) = env.nodes.get(id) else {
            return Stop::Done;
        };
        let (seq, len) = (node.seq, node.len);
        let last = node.end() == self.hot.snd_end;
        let fin = last && self.hot.has(flag::FIN_SENT);
        let flags = match (last, fin) {
            (false, _) => ACK,
            (true, false) => ACK | PSH,
            (true, true) => ACK | PSH | FIN,
        };
        let batch = Batch {
            first: id,
            count: 1,
            len,
        };
        let stop = self.emit(env, sink, seq, flags, &batch);
        if stop != Stop::Done {
            return stop;
        }
        if fin {
            self.hot.clear(flag::RESEND_FIN);
        }
        if let Some(node) = env.nodes.get_mut(id) {
            node.marks |= EVER_RETRANSMITTED;
            node.sent_at = env.now;
        }
        self.cold.retransmits = self.cold.retransmits.wrapping_add(1);
        self.note_resent(env);
        env.counters.inc(Counter::TcpRetransmits);
        Stop::Done
    }

    fn send_fin_again(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let stop = self.emit_bare(env, sink, self.hot.snd_end, ACK | FIN);
        if stop == Stop::Done {
            self.hot.clear(flag::RESEND_FIN);
            env.counters.inc(Counter::TcpRetransmits);
        }
        stop
    }

    /// RFC 8985, 7.3: "the TLP sender SHOULD transmit a previously unsent data
    /// segment, if one exists and the receive window allows, and increment the
    /// FlightSize accordingly. ... If such an unsent segment is not available,
    /// then the sender SHOULD retransmit the highest-sequence segment sent so
    /// far".
    fn send_loss_probe(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let window = (self.hot.snd_una + self.hot.snd_wnd).bytes_since(self.hot.snd_nxt);
        let unsent = self.hot.unsent;
        let new = unsent
            .and_then(|id| env.nodes.get(id))
            .map(|node| node.len)
            .filter(|&len| len <= window.min(u32::from(self.hot.mss)));
        let stop = match (new, unsent, self.last_sent(env)) {
            (Some(len), Some(first), _) => {
                let batch = Batch {
                    first,
                    count: 1,
                    len,
                };
                self.send_batch(env, sink, &batch)
            }
            (_, _, Some(last)) => self.send_again(env, sink, last),
            (_, _, None) => self.send_fin_again(env, sink),
        };
        if stop == Stop::Done {
            self.note_probe(env, new.is_none());
        }
        stop
    }

    /// The last node sent.
    fn last_sent(&self, env: &Env<'_>) -> Link {
        let (mut last, mut at) = (None, self.hot.send.head);
        while let Some(id) = at.filter(|_| at != self.hot.unsent) {
            last = at;
            at = env.nodes.next(id);
        }
        last
    }
}
