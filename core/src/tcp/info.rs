//! What a connection knows of its path and its peer: Linux's `TCP_INFO`, in
//! bytes and durations.

use core::time::Duration;

use super::Env;
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag};
use crate::{ConnError, FlowId, Misuse, Stack};

/// How the sender sees the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossState {
    /// Nothing suspicious.
    Open,
    /// Duplicate or selective acknowledgements came.
    Disorder,
    /// Fast recovery (RFC 6582, RFC 6675).
    Recovery,
    /// Recovery after a retransmission timeout (RFC 5681, 3.1).
    Loss,
}

/// A connection's state at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// State of RFC 9293, 3.3.2.
    pub state: TcpState,
    /// How the sender sees the network.
    pub loss: LossState,
    /// Consecutive retransmission timeouts.
    pub backoff: u8,
    /// Both sides agreed on timestamps.
    pub timestamps: bool,
    /// Both sides agreed on selective acknowledgements.
    pub sack: bool,
    /// Both sides agreed on explicit congestion notification.
    pub ecn: bool,
    /// Shifts of the peer's windows and of ours; `None` when not agreed on.
    pub window_scale: Option<(u8, u8)>,
    /// Present retransmission timeout, back-off included.
    pub rto: Duration,
    /// Smoothed round-trip time; zero before the first sample.
    pub srtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// Payload bytes of a full segment that is sent.
    pub send_mss: u16,
    /// Payload bytes of the longest segment received.
    pub recv_mss: u16,
    /// The longest IP packet that this side sends: what the path is believed to
    /// carry, or less if the peer takes less.
    pub path_mtu: u16,
    /// What a router last said of the path while the peer was silent: the
    /// connection goes on all the same (RFC 5461).
    pub soft_error: Option<ConnError>,
    /// Bytes of the stream that the peer has acknowledged, modulo 2^32.
    pub bytes_acked: u32,
    /// Bytes of the peer's stream that are in order, modulo 2^32.
    pub bytes_received: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// The rate at which segments are paced, or would be, in bytes per second;
    /// `None` before the first round trip.
    pub pacing_rate: Option<u64>,
    /// The segment size that this side announced.
    pub advertised_mss: u16,
    /// Congestion window, bytes.
    pub cwnd: u32,
    /// Slow start threshold, bytes; `None` while there is none.
    pub ssthresh: Option<u32>,
    /// Sequence space sent and not acknowledged, bytes.
    pub in_flight: u32,
    /// Bytes of it that the peer selectively acknowledged.
    pub sacked: u32,
    /// Bytes of it that are taken for lost.
    pub lost: u32,
    /// Bytes of those that were sent again.
    pub retransmitted: u32,
    /// Bytes queued and never sent.
    pub unsent: u32,
    /// The window that the peer offers, bytes.
    pub send_window: u32,
    /// The window that is promised to the peer, bytes.
    pub recv_window: u32,
    /// Bytes that wait to be read.
    pub unread: u32,
}

impl Stack {
    /// What the connection knows of its path and its peer.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_info(&mut self, id: FlowId) -> Result<TcpInfo, Misuse> {
        let (tcb, env) = self.tcb_env(id)?;
        Ok(tcb.info(&env))
    }
}

/// Bytes of a stream up to `at` that began with a SYN at `syn`.
fn stream_bytes(at: SeqNum, syn: SeqNum) -> u32 {
    let bytes = at.raw().wrapping_sub(syn.raw());
    // The SYN itself, unless nothing is acknowledged or received yet.
    bytes.saturating_sub(1)
}

impl Tcb<'_> {
    fn info(&self, env: &Env<'_>) -> TcpInfo {
        let hot = &*self.hot;
        let micros = |us: u32| Duration::from_micros(u64::from(us));
        let fin_received = u32::from(hot.state.peer_closed());
        let sent_end = hot.snd_end.earlier(hot.snd_nxt);
        TcpInfo {
            state: hot.state,
            loss: self.loss_state(),
            backoff: hot.rtt.backoff,
            timestamps: hot.has(flag::TIMESTAMPS),
            sack: hot.has(flag::SACK),
            ecn: hot.has(flag::ECN),
            window_scale: hot
                .has(flag::SCALE)
                .then_some((hot.snd_scale, hot.rcv_scale)),
            rto: Duration::from_nanos(hot.rtt.rto_nanos()),
            srtt: micros(hot.rtt.srtt_us),
            rttvar: micros(hot.rtt.rttvar_us),
            send_mss: hot.mss,
            recv_mss: hot.rcv_mss,
            path_mtu: self.path_size(),
            soft_error: self.soft_error(),
            bytes_acked: stream_bytes(hot.snd_una.earlier(hot.snd_end), self.cold.iss),
            bytes_received: stream_bytes(hot.rcv_nxt, self.cold.irs).saturating_sub(fin_received),
            retransmits: self.cold.retransmits,
            pacing_rate: self.pacing_rate(env.now),
            advertised_mss: self.cold.our_mss,
            cwnd: hot.cwnd.max(u32::from(hot.mss)),
            ssthresh: (self.cold.ssthresh != u32::MAX).then_some(self.cold.ssthresh),
            in_flight: hot.flight(),
            sacked: hot.sacked,
            lost: hot.lost,
            retransmitted: hot.retransmitted,
            unsent: hot.snd_end.bytes_since(sent_end),
            send_window: hot.snd_wnd,
            recv_window: hot.rcv_adv.bytes_since(hot.rcv_nxt),
            unread: self.unread(env),
        }
    }

    fn loss_state(&self) -> LossState {
        if self.hot.has(flag::LOSS_RECOVERY) {
            LossState::Loss
        } else if self.hot.has(flag::FAST_RECOVERY) {
            LossState::Recovery
        } else if self.hot.has(flag::UNORDERED_ACKS) {
            LossState::Disorder
        } else {
            LossState::Open
        }
    }

    /// Bytes in the receive queue, counted one segment after another.
    fn unread(&self, env: &Env<'_>) -> u32 {
        let first = self
            .cold
            .first_unread
            .as_ref()
            .map_or(0, |frame| frame.len());
        let (mut bytes, mut at) = (u32::try_from(first).unwrap_or(0), self.hot.recv.head);
        while let Some(node) = at.and_then(|id| env.nodes.get(id)) {
            bytes += node.len;
            at = node.next;
        }
        bytes
    }
}
