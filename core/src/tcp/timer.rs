//! What happens when a flow's timers fire (RFC 9293, 3.10.8).

use pollwire_rings::Instant;

use super::Env;
use super::input::Outcome;
use super::tcb::{Tcb, TcpState, flag, mark};
use crate::{ConnError, Counter};

/// SYN retransmissions before a connection attempt fails: about a minute.
const SYN_RETRIES: u8 = 5;
/// Retransmissions in vain before a connection is given up (RFC 9293, 3.8.3:
/// R2, at least 100 seconds).
const RETRIES: u8 = 15;
/// The same for a flow that nobody holds any more.
const ORPHAN_RETRIES: u8 = 8;
/// A peer with a closed window that says nothing for this long may be gone.
const SILENT_NANOS: u64 = 180_000_000_000;
/// Keepalive probes in vain before a peer is given up.
const KEEPALIVE_PROBES: u8 = 10;

impl Tcb<'_> {
    /// Runs the timers that are due. Output follows.
    pub(crate) fn on_timer(&mut self, env: &mut Env<'_>) -> Outcome {
        if is_due(self.hot.ack_at, env.now) {
            self.hot.ack_at = Instant::ZERO;
            self.ack_now();
        }
        if self.hot.has(flag::IDLE) || self.hot.rtx_at == Instant::ZERO {
            self.on_idle(env);
        } else if is_due(self.hot.rtx_at, env.now)
            && let Some(error) = self.on_retransmission_timer(env)
        {
            return Outcome::ResetPeer(self.hot.snd_nxt, error);
        }
        if is_due(self.cold.misc_at, env.now) {
            return self.on_misc_timer(env);
        }
        Outcome::Keep
    }

    fn on_misc_timer(&mut self, env: &mut Env<'_>) -> Outcome {
        self.cold.misc_at = Instant::ZERO;
        match self.hot.state {
            TcpState::FinWait2 if !self.hot.has(flag::OWNED) => Outcome::Ended(None),
            _ => {
                let outcome = self.on_keepalive(env);
                self.on_search_timer(env.now);
                outcome
            }
        }
    }

    /// RFC 6298, 5.4 to 5.6, or the persist timer (RFC 9293, 3.8.6.1).
    fn on_retransmission_timer(&mut self, env: &mut Env<'_>) -> Option<ConnError> {
        if self.hot.has(flag::PERSIST) && self.hot.flight() == 0 {
            if self.end_ecn_pause() {
                return None;
            }
            self.hot.set(flag::WINDOW_PROBE);
            env.counters.inc(Counter::TcpWindowProbes);
            self.back_off(env);
            return self.gave_up(env, self.closed_window_retries(env));
        }
        if self.hot.has(flag::REORDER_TIMER) {
            self.on_reorder_timer(env);
            return None;
        }
        if self.may_probe() {
            self.on_probe_timer(env);
            return None;
        }
        env.counters.inc(Counter::TcpTimeouts);
        if self.hot.state < TcpState::Established {
            self.hot.set(flag::SEND_SYN);
            self.back_off(env);
            return self.gave_up(env, SYN_RETRIES);
        }
        if self.hot.flight() == 0 {
            self.hot.rtx_at = Instant::ZERO;
            return None;
        }
        if self.hot.has(flag::RECOVERY) {
            self.end_frto();
        } else {
            self.begin_undo(env, true);
        }
        self.on_congestion_timeout(env.now);
        self.cold.recover = self.hot.snd_nxt;
        self.mark_lost_on_timeout(env);
        self.hot.clear(flag::FAST_RECOVERY);
        self.hot.set(flag::LOSS_RECOVERY);
        self.cold.marks |= mark::FORCED;
        self.forget_probe();
        self.on_timeout_of_long(env);
        if self.hot.has(flag::FIN_SENT) {
            self.hot.set(flag::RESEND_FIN);
        }
        self.back_off(env);
        let retries = if self.hot.has(flag::OWNED) {
            RETRIES
        } else {
            ORPHAN_RETRIES
        };
        let retries = if self.hot.snd_wnd == 0 {
            self.closed_window_retries(env)
        } else {
            retries
        };
        self.gave_up(env, retries)
    }

    /// RFC 9293, 3.8.6.1: "As long as the receiving TCP peer continues to send
    /// acknowledgments in response to the probe segments, the sending TCP peer
    /// MUST allow the connection to stay open."
    ///
    /// For nobody, though: RFC 6429, 3, lets a host end what its application
    /// has given up.
    fn closed_window_retries(&self, env: &Env<'_>) -> u8 {
        if !self.hot.has(flag::OWNED | flag::EMBRYO) {
            return ORPHAN_RETRIES;
        }
        let silent = self.cold.heard_at.nanos_to(env.now) > SILENT_NANOS;
        if silent { RETRIES } else { u8::MAX }
    }

    fn back_off(&mut self, env: &mut Env<'_>) {
        self.hot.rtt.back_off();
        self.hot.clear(flag::REORDER_TIMER);
        self.hot.set(flag::RTO_TIMER);
        self.hot.rtx_at = self.rto_from(env.now);
    }

    /// When the retransmission timer fires that starts now: no later than the
    /// user timeout, which is looked at then.
    pub(super) fn rto_from(&self, now: Instant) -> Instant {
        let next = now.plus_nanos(self.hot.rtt.rto_nanos());
        match self.user_timeout() {
            Some(end) if end > now => next.min(end),
            _ => next,
        }
    }

    /// When data that is stuck now has been so for too long (RFC 9293, 3.8.3).
    fn user_timeout(&self) -> Option<Instant> {
        let limit = u64::from(self.cold.user_timeout_ms) * 1_000_000;
        let running = limit > 0 && self.cold.stuck_since != Instant::ZERO;
        running.then(|| self.cold.stuck_since.plus_nanos(limit))
    }

    fn gave_up(&self, env: &Env<'_>, retries: u8) -> Option<ConnError> {
        let timed_out = self.user_timeout().is_some_and(|end| end <= env.now);
        (timed_out || self.hot.rtt.backoff > retries).then(|| {
            // RFC 5461, 2.2: a soft error is what the application is told of when
            // the connection times out.
            self.soft_error().unwrap_or(ConnError::TimedOut)
        })
    }

    /// RFC 9293, 3.8.4: keepalives "MUST be able to turn the use ... on or off"
    /// and "MUST default to off".
    fn on_keepalive(&mut self, env: &mut Env<'_>) -> Outcome {
        if self.cold.keepalive_ms == 0 || !self.hot.state.is_synchronized() {
            return Outcome::Keep;
        }
        let interval = u64::from(self.cold.keepalive_ms) * 1_000_000;
        let idle = self.cold.heard_at.nanos_to(env.now);
        if idle < interval {
            self.cold.keepalive_probes = 0;
            self.cold.misc_at = env.now.plus_nanos(interval - idle);
            return Outcome::Keep;
        }
        if self.hot.flight() > 0 || self.hot.has(flag::PERSIST) {
            // Retransmissions and window probes ask the same.
            self.cold.misc_at = env.now.plus_nanos(interval);
            return Outcome::Keep;
        }
        self.cold.misc_at = env.now.plus_nanos(interval / 10);
        if self.is_peer_gone(idle) {
            return Outcome::ResetPeer(self.hot.snd_nxt, ConnError::KeepaliveTimedOut);
        }
        self.cold.keepalive_probes += 1;
        self.hot.set(flag::SEND_PROBE);
        env.counters.inc(Counter::TcpKeepaliveProbes);
        Outcome::Keep
    }

    /// Whether a peer that has said nothing for `idle` nanoseconds has left
    /// enough probes unanswered. A user timeout decides instead of their number,
    /// as it does with Linux.
    fn is_peer_gone(&self, idle: u64) -> bool {
        let limit = u64::from(self.cold.user_timeout_ms) * 1_000_000;
        let probes = self.cold.keepalive_probes;
        if limit > 0 {
            probes > 0 && idle >= limit
        } else {
            probes >= KEEPALIVE_PROBES
        }
    }

    /// Starts the keepalive timer, if the option is on.
    pub(crate) fn restart_keepalive(&mut self, env: &Env<'_>) {
        if self.cold.keepalive_ms > 0 {
            let interval = u64::from(self.cold.keepalive_ms) * 1_000_000;
            self.cold.keepalive_probes = 0;
            self.cold.misc_at = env.now.plus_nanos(interval);
        }
    }
}

#[inline]
fn is_due(at: Instant, now: Instant) -> bool {
    at != Instant::ZERO && at <= now
}
