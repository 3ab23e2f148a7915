//! The segment size that a path carries: smaller when a router says so
//! (RFC 1191, RFC 8201) or swallows long segments without a word; larger again
//! by probes (packetisation-layer path MTU discovery, RFC 4821).
//!
//! Sizes here are those of the MSS option: payload and TCP options (RFC 6691).

use pollwire_rings::Instant;

use super::Env;
use super::coarse::Millisecond;
use super::emit::{Batch, Sink, Stop};
use super::node::{LOST, NodeId};
use super::recovery::DISORDER;
use super::seq::SeqNum;
use super::tcb::{Tcb, TcpState, flag, mark};
use crate::wire::tcp::ACK;
use crate::{ConnError, Counter};

/// Timeouts in a row of a long segment before the path is taken for a black
/// hole; as many again before the size falls further.
const BLACK_HOLE_TIMEOUTS: u8 = 2;
/// The first fall, IPv4: packets of 1200 bytes (RFC 8899, 5.1.2: BASE_PLPMTU).
const BASE_V4: u16 = 1200 - 40;
/// The last fall, IPv4: see [`MIN_V4`](crate::ip::pmtu::MIN_V4).
const FLOOR_V4: u16 = 552 - 40;
/// Both, IPv6: what every path carries (RFC 8200, 5).
const BASE_V6: u16 = 1280 - 60;
/// When larger sizes are tried after a router told of a smaller one (RFC 1191,
/// 6.3; RFC 8899, 5.1.1: PMTU_RAISE_TIMER).
const RAISE_NANOS: u64 = 600_000_000_000;
/// The same after a suspicion: the path may just have been down.
const RECOVER_NANOS: u64 = 60_000_000_000;
/// A search ends when less than this is to be gained, bytes.
const STEP: u16 = 32;
/// Full segments that must follow a probe, so that its loss shows.
const FOLLOWERS: u32 = 3;

/// What a flow knows of its path. All-zero: that it carries what was agreed on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathMtu {
    /// When larger sizes are tried, in seconds; zero: not at all.
    search_at_secs: u32,
    /// The largest size not known to fail; 0: what was agreed on.
    high: u16,
    /// Size of the probe that is out; 0: none is.
    probe: u16,
    /// Where it begins.
    probe_from: SeqNum,
    /// Larger sizes are wanted now.
    searching: bool,
    /// A router named `high`.
    told: bool,
}

impl PathMtu {
    pub(crate) const EMPTY: Self = Self {
        search_at_secs: 0,
        high: 0,
        probe: 0,
        probe_from: SeqNum::new(0),
        searching: false,
        told: false,
    };
}

impl Tcb<'_> {
    fn path(&self) -> &PathMtu {
        &self.cold.episode().path
    }

    fn path_mut(&mut self) -> Option<&mut PathMtu> {
        self.cold.episode_mut().map(|episode| &mut episode.path)
    }

    /// The size in force.
    pub(crate) fn segment_size(&self) -> u16 {
        self.hot.mss + self.option_size()
    }

    /// The longest IP packet that is sent.
    pub(crate) fn path_size(&self) -> u16 {
        self.segment_size().saturating_add(self.ip_and_tcp())
    }

    /// A router said something of the path that is no reason to give up.
    pub(crate) fn on_soft_error(&mut self, now: Instant, error: ConnError) {
        self.cold.soft_error = Some(error);
        self.cold.soft_error_at = Millisecond::of(now);
    }

    /// What a router said since the peer was last heard.
    pub(crate) fn soft_error(&self) -> Option<ConnError> {
        let later = self.cold.soft_error_at.is_after(self.cold.heard_at);
        self.cold.soft_error.filter(|_| later)
    }

    fn option_size(&self) -> u16 {
        u16::try_from(self.hot.option_bytes()).unwrap_or(0)
    }

    /// The size that both ends agreed on.
    fn agreed_size(&self) -> u16 {
        self.cold.peer_mss.min(self.cold.our_mss)
    }

    fn ip_and_tcp(&self) -> u16 {
        if self.key.is_v4() { 40 } else { 60 }
    }

    /// The IP layer believes that the path carries packets of `mtu` bytes: what
    /// is longer is cut, and what of it is in flight goes out again. That is no
    /// sign of congestion.
    pub(crate) fn on_path_mtu(&mut self, env: &mut Env<'_>, mtu: u16) {
        let size = mtu.saturating_sub(self.ip_and_tcp());
        if !self.hot.state.is_synchronized() || size >= self.agreed_size() {
            return;
        }
        if let Some(path) = self.path_mut()
            && path.probe > size
        {
            (path.high, path.told) = (size, true);
            self.on_mtu_probe_lost(env);
        }
        if size < self.segment_size() {
            self.shrink(env, size, RAISE_NANOS);
            self.resend_without_reduction(env);
        }
    }

    fn shrink(&mut self, env: &mut Env<'_>, size: u16, search_nanos: u64) {
        env.counters.inc(Counter::TcpSegmentSizeLowered);
        self.hot.mss = size - self.option_size();
        self.cut_to(env, u32::from(self.hot.mss));
        if let Some(episode) = self.begin_episode(env) {
            episode.path.high = 0;
        }
        self.stop_search(env.now, search_nanos);
    }

    /// Sends what is marked lost again, as far as `cwnd` goes, which stays.
    fn resend_without_reduction(&mut self, env: &mut Env<'_>) {
        if self.hot.lost > 0 && !self.hot.has(flag::RECOVERY) {
            self.begin_disorder(env);
            self.cold.recover = self.hot.snd_nxt;
            self.hot.set(flag::LOSS_RECOVERY | flag::UNORDERED_ACKS);
            self.cold.marks |= mark::FORCED;
        }
    }

    /// A retransmission timeout. RFC 4821, 7.7: "full-stop timeout" of long
    /// segments means that the path swallows them.
    pub(crate) fn on_timeout_of_long(&mut self, env: &mut Env<'_>) {
        if self.path().probe != 0 {
            self.fail_probe();
        }
        let head = self.hot.send.head.and_then(|id| env.nodes.get(id));
        let (base, floor) = if self.key.is_v4() {
            (BASE_V4, FLOOR_V4)
        } else {
            (BASE_V6, BASE_V6)
        };
        let size = match self.hot.rtt.backoff {
            backoff if backoff >= 2 * BLACK_HOLE_TIMEOUTS => floor,
            backoff if backoff >= BLACK_HOLE_TIMEOUTS => base,
            _ => return,
        };
        let most = u32::from(size - self.option_size());
        if head.is_some_and(|node| node.len > most) && size < self.segment_size() {
            env.counters.inc(Counter::TcpBlackHoles);
            self.shrink(env, size, RECOVER_NANOS);
        }
    }

    /// Whether it is time to look for a larger size; keeps the timer.
    pub(crate) fn on_search_timer(&mut self, now: Instant) {
        let Some(path) = self.path_mut().filter(|path| path.search_at_secs != 0) else {
            return;
        };
        let at = Instant::from_secs(u64::from(path.search_at_secs));
        if at <= now {
            path.search_at_secs = 0;
            (path.high, path.told) = (0, false);
            path.searching = true;
            self.hot.set(flag::WATCHED);
        } else {
            self.cold.misc_at = match self.cold.misc_at {
                Instant::ZERO => at,
                other => other.min(at),
            };
        }
    }

    fn stop_search(&mut self, now: Instant, again_nanos: u64) {
        let smaller = self.segment_size() < self.agreed_size();
        let at = now.plus_nanos(again_nanos).as_nanos() / 1_000_000_000 + 1;
        if let Some(path) = self.path_mut() {
            path.searching = false;
            path.probe = 0;
            if smaller {
                path.search_at_secs = u32::try_from(at).unwrap_or(u32::MAX);
            }
        }
        self.unwatch();
        if smaller {
            self.on_search_timer(now);
        }
    }

    /// Switches the event log on or off, as far as the flow knows of it.
    pub(crate) fn watch_log(&mut self, on: bool) {
        self.cold.marks = (self.cold.marks & !mark::LOGGED) | if on { mark::LOGGED } else { 0 };
        self.hot.set(flag::WATCHED);
        self.unwatch();
    }

    /// Takes the short paths again, if nobody wants to see every segment.
    fn unwatch(&mut self) {
        if !self.path().searching && !self.has_mark(mark::LOGGED) {
            self.hot.clear(flag::WATCHED);
        }
    }

    /// The size to try next; `None` ends the search.
    fn candidate(&self) -> Option<u16> {
        let (size, agreed) = (self.segment_size(), self.agreed_size());
        let high = match self.path().high {
            0 => return (size < agreed).then_some(agreed),
            high => high.min(agreed),
        };
        let gain = high.saturating_sub(size);
        if self.path().told {
            return (gain > 0).then_some(high);
        }
        (gain >= STEP).then(|| size + gain.div_ceil(2))
    }

    /// Sends a probe if one is wanted and can be: new data, as one segment of
    /// the size to be tried, with enough behind it that its loss would show.
    pub(crate) fn send_mtu_probe(&mut self, env: &mut Env<'_>, sink: &mut Sink<'_>) -> Stop {
        let quiet = self.path().probe == 0 && !self.hot.has(DISORDER);
        let open = matches!(self.hot.state, TcpState::Established | TcpState::CloseWait);
        if !self.path().searching || !quiet || !open || !sink.resolved {
            return Stop::Done;
        }
        let Some(size) = self.candidate() else {
            self.stop_search(env.now, RAISE_NANOS);
            return Stop::Done;
        };
        let len = u32::from(size - self.option_size());
        let behind = FOLLOWERS * u32::from(self.hot.mss);
        let unsent = self.hot.snd_end.bytes_since(self.hot.snd_nxt);
        let window = (self.hot.snd_una + self.hot.snd_wnd).bytes_since(self.hot.snd_nxt);
        let room = window.min(self.hot.cwnd.saturating_sub(self.hot.pipe()));
        if unsent < len + behind || room < len + behind {
            return Stop::Done;
        }
        let Some(first) = self.hot.unsent else {
            return Stop::Done;
        };
        let Some(batch) = self.gather(env, first, len, usize::from(sink.caps.max_tx_pieces)) else {
            return Stop::Done;
        };
        let (from, mss) = (self.hot.snd_nxt, self.hot.mss);
        // One segment, not something that the device should cut.
        self.hot.mss = size - self.option_size();
        let stop = self.emit(env, sink, from, ACK, &batch);
        self.hot.mss = mss;
        if stop != Stop::Done {
            return stop;
        }
        self.mark_sent(env, &batch);
        self.arm_rtx(env);
        if let Some(path) = self.path_mut() {
            (path.probe, path.probe_from) = (size, from);
        }
        env.counters.inc(Counter::TcpMtuProbes);
        Stop::Done
    }

    /// The unsent nodes that hold exactly the next `len` bytes.
    fn gather(
        &mut self,
        env: &mut Env<'_>,
        first: NodeId,
        len: u32,
        most_pieces: usize,
    ) -> Option<Batch> {
        let (mut count, mut left, mut at) = (0, len, Some(first));
        while let Some(id) = at.filter(|_| left > 0) {
            let node_len = env.nodes.get(id)?.len;
            if node_len > left && !env.nodes.split(&mut self.hot.send, id, left) {
                return None;
            }
            left -= node_len.min(left);
            count += 1;
            at = env.nodes.next(id);
        }
        (left == 0 && count < most_pieces).then_some(Batch { first, count, len })
    }

    /// An acknowledgement while a probe is out: has it arrived?
    pub(crate) fn on_mtu_probe_ack(&mut self, env: &mut Env<'_>) {
        let path = *self.path();
        if path.probe == 0 || self.hot.snd_una.before(self.probe_end()) {
            return;
        }
        self.abandon_mtu_probe();
        self.hot.mss = path.probe - self.option_size();
        env.counters.inc(Counter::TcpSegmentSizeRaised);
        if self.candidate().is_none() {
            self.stop_search(env.now, RAISE_NANOS);
        }
    }

    /// Whether the first loss in the queue is the probe that is out. RFC 4821,
    /// 7.6.1: "the probe packet was the only packet lost"; that is no sign of
    /// congestion.
    pub(crate) fn is_mtu_probe_lost(&self, env: &Env<'_>) -> bool {
        let path = self.path();
        if path.probe == 0 || self.hot.lost > u32::from(path.probe) {
            return false;
        }
        let mut at = self.hot.send.head;
        while let Some(node) = at.and_then(|id| env.nodes.get(id)) {
            if node.has(LOST) {
                return node.seq == path.probe_from;
            }
            at = node.next.filter(|_| node.next != self.hot.unsent);
        }
        false
    }

    /// The probe was lost: its bytes go out again in segments of the old size.
    pub(crate) fn on_mtu_probe_lost(&mut self, env: &mut Env<'_>) {
        let (from, end) = (self.path().probe_from, self.probe_end());
        self.fail_probe();
        self.mark_lost_between(env, from, end);
        self.resend_without_reduction(env);
    }

    /// Where the probe ends that is out.
    fn probe_end(&self) -> SeqNum {
        let len = self.path().probe.saturating_sub(self.option_size());
        self.path().probe_from + u32::from(len)
    }

    /// Other segments were lost with the probe: that says nothing of its size.
    pub(crate) fn abandon_mtu_probe(&mut self) {
        if let Some(path) = self.path_mut() {
            path.probe = 0;
        }
    }

    fn fail_probe(&mut self) {
        let Some(path) = self.path_mut() else {
            return;
        };
        let failed = path.probe - 1;
        path.told &= path.high <= failed;
        path.high = match path.high {
            0 => failed,
            high => high.min(failed),
        };
        path.probe = 0;
    }
}
