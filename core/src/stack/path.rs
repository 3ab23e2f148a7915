//! What the way to a peer does to flows: neighbours that do not answer, routers
//! that complain.

use core::net::IpAddr;

use super::Stack;
use crate::ip::{Cause, IcmpError};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::TcpState;
use crate::tcp::{half_open, listen};
use crate::wire::MacAddr;
use crate::{ConnError, FlowKey};

impl Stack {
    /// A neighbour does not answer: connections being opened through it fail
    /// (RFC 1122, 4.2.3.9); others live on, their timers decide.
    pub(crate) fn neighbor_failed(&mut self, address: IpAddr) {
        for index in 0..self.tcp.len() {
            let opening = self
                .tcp
                .hot(index)
                .is_some_and(|hot| hot.state == TcpState::SynSent);
            let Some(key) = self.tcp.key(index) else {
                return;
            };
            let (local, remote) = (key.local().ip(), key.remote().ip());
            if opening
                && self.elsewhere(local).is_none()
                && self.iface.hop_for(remote) == Some(address)
            {
                self.end_flow(index, Some(ConnError::HostUnreachable));
            }
        }
    }

    /// A neighbour that was asked for is found. Each flow through it has one
    /// segment on its way; what else it may send now is not to wait for that one's
    /// acknowledgement.
    pub(crate) fn neighbor_resolved(&mut self, address: IpAddr) {
        for index in 0..self.tcp.len() {
            let waits = self.tcp.hot(index).is_some_and(|hot| hot.unsent.is_some());
            let through = |remote| self.iface.hop_for(remote) == Some(address);
            if waits
                && self
                    .tcp
                    .key(index)
                    .is_some_and(|key| through(key.remote().ip()))
            {
                self.tcp.touch(index);
            }
        }
    }

    /// Whether some IPv6 flow through the neighbour at `mac` made progress since
    /// it last took its link header anew, which is since the neighbour was last
    /// taken for stale.
    ///
    /// RFC 4861, 7.3.1: "A TCP acknowledgment for new data [...] indicates that
    /// data previously sent reached the peer. Likewise, the arrival of new
    /// (non-duplicate) data indicates that earlier acknowledgments are being
    /// delivered to the remote peer."
    pub(crate) fn has_progress(&self, mac: MacAddr) -> bool {
        let generation = self.iface.generation();
        (0..self.tcp.len()).any(|index| {
            let (Some(hot), Some(cold)) = (self.tcp.hot(index), self.tcp.cold(index)) else {
                return false;
            };
            hot.state.is_synchronized()
                && cold.template.generation == generation
                && self.tcp.key(index).is_some_and(|key| !key.is_v4())
                && cold.template.link().first_chunk() == Some(&mac.0)
                && hot.progress() != cold.link_progress
        })
    }

    /// Whether the segment quoted is one that we may have sent of late: of a
    /// connection and within what is in flight, the next acknowledgement
    /// included, or of a record's answer.
    pub(crate) fn tcp_may_have_sent(&self, quote: &IcmpError) -> bool {
        let key = FlowKey::new(quote.local, quote.remote);
        let seq = SeqNum::new(quote.seq);
        let hash = self.flows.hash(&key);
        let tcp = &self.tcp;
        let same = |index| tcp.key(index) == Some(&key);
        if let Some(hot) = self.flows.lookup(hash, same).and_then(|at| tcp.hot(at)) {
            return seq.at_or_after(hot.snd_una) && !seq.after(hot.snd_nxt);
        }
        let waits = tcp.time_wait.find(hash, || key.to_words());
        if let Some(record) = waits.and_then(|at| tcp.time_wait.get(at)) {
            return record.snd_nxt == seq;
        }
        let opens = listen::find(&tcp.listeners, &key).and_then(|listener| {
            tcp.handshakes
                .find(hash, || half_open::name_of(&key, listener))
        });
        opens
            .and_then(|at| tcp.handshakes.get(at))
            .is_some_and(|record| record.iss == seq)
    }

    /// An ICMP error about a segment that we sent (RFC 5927: believed only when
    /// it quotes a sequence number in flight). RFC 1122, 4.2.3.9: hard errors
    /// SHOULD abort; RFC 5461 lets them do so only before the connection is
    /// open.
    pub(crate) fn tcp_icmp_error(&mut self, error: &IcmpError) {
        let key = FlowKey::new(error.local, error.remote);
        let Ok(index) = self.find_flow(&key) else {
            return;
        };
        let Some(hot) = self.tcp.hot(index) else {
            return;
        };
        let seq = SeqNum::new(error.seq);
        let in_flight = seq.at_or_after(hot.snd_una) && seq.before(hot.snd_nxt);
        match error.cause {
            Cause::Failed(cause) if hot.state == TcpState::SynSent && in_flight => {
                self.end_flow(index, Some(cause));
            }
            Cause::Failed(cause) if in_flight => {
                let now = self.now();
                if let Some(mut tcb) = self.tcp.tcb(index) {
                    tcb.on_soft_error(now, cause);
                }
            }
            Cause::TooBig(mtu) if in_flight => {
                // Flows through that path learn of it when they next send: their
                // link headers are void now.
                self.lower_path_mtu(error.remote.ip(), mtu, error.len);
                self.tcp.touch(index);
            }
            _ => {}
        }
    }
}
