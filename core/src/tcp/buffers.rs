//! How much a connection may buffer: little at first, more as its path and its
//! application show that they use it (Fisk and Feng 2001, "dynamic right-sizing").
//!
//! A buffer never takes more than a share of what is free in the pool, so many
//! connections get little each, and few get much.

use pollwire_rings::{FramePool, Instant};

use super::options::TcpOptions;
use super::seq::SeqNum;
use super::tcb::Tcb;
use super::{Env, open};

/// Where buffers begin, bytes of payload.
const INITIAL: u32 = 64 * 1024;
/// Shorter round trips than this, microseconds, are taken for as long: hosts
/// have hiccups.
const LEAST_RTT_US: u32 = 1000;
/// The part of the free pool that one buffer may claim, as a divisor. Payload
/// fills about three quarters of its slots, so two such buffers fit.
const SHARE: usize = 4;

/// Bounds of a flow's buffers, and the measurement that moves them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    /// What `rcv_limit` and `snd_limit` may become.
    pub(crate) rcv_most: u32,
    pub(crate) snd_most: u32,
    /// `rcv_limit` before it was made a multiple of segments.
    rcv_target: u32,
    /// The measurement ends when data up to here has arrived.
    measured_to: SeqNum,
    measured_since: Instant,
}

impl Buffers {
    pub(crate) const EMPTY: Self = Self {
        rcv_most: 0,
        snd_most: 0,
        rcv_target: 0,
        measured_to: SeqNum::new(0),
        measured_since: Instant::ZERO,
    };
}

/// The longest buffer that one flow may have now.
fn share_of(pool: &FramePool) -> u32 {
    let free = pool.available().saturating_mul(pool.frame_size()) / SHARE;
    u32::try_from(free).unwrap_or(u32::MAX)
}

impl Tcb<'_> {
    /// Takes over the application's bounds.
    pub(super) fn bound_buffers(&mut self, options: &TcpOptions) {
        let buffers = &mut self.cold.buffers;
        buffers.rcv_most = open::receive_limit(options);
        buffers.snd_most = options.send_buffer.clamp(2048, 1 << 30);
        let within = |now: u32, most: u32| now.max(INITIAL).min(most);
        buffers.rcv_target = within(buffers.rcv_target, buffers.rcv_most);
        self.cold.rcv_limit = buffers.rcv_target;
        self.cold.snd_limit = within(self.cold.snd_limit, buffers.snd_most);
    }

    /// Bounds the receive buffer by what windows can say.
    pub(super) fn bound_window(&mut self, most: u32) {
        let buffers = &mut self.cold.buffers;
        buffers.rcv_most = buffers.rcv_most.min(most);
        buffers.rcv_target = buffers.rcv_target.min(most);
        self.cold.rcv_limit = buffers.rcv_target;
    }

    /// Begins to measure: the handshake is over, or a measurement is.
    pub(super) fn measure_delivery(&mut self, now: Instant) {
        self.align_window();
        // A segment less, so that the measurement ends while the peer may send.
        let half = self.cold.rcv_limit / 2 - u32::from(self.hot.rcv_mss).min(1024);
        self.cold.buffers.measured_to = self.hot.rcv_nxt + half;
        self.cold.buffers.measured_since = now;
    }

    /// Whether half a window has arrived since the measurement began.
    #[inline(always)]
    pub(super) fn is_delivery_measured(&self) -> bool {
        self.hot.rcv_nxt.at_or_after(self.cold.buffers.measured_to)
    }

    /// Half a window has arrived. If that took clearly less than a round trip,
    /// and the application kept up, the window may be what holds the peer back:
    /// it doubles.
    #[inline(never)]
    pub(super) fn grow_window_if_used(&mut self, env: &Env<'_>) {
        let rtt_us = self.hot.rtt.srtt_us.max(LEAST_RTT_US);
        let took = env.now.nanos_since(self.cold.buffers.measured_since);
        let fast = took < u64::from(rtt_us) * 750;
        let read = self.hot.rcv_held / 2 <= self.cold.rcv_limit / 4;
        if fast && read && !env.scarce() {
            let buffers = &mut self.cold.buffers;
            let most = buffers.rcv_most.min(share_of(env.pool));
            let target = buffers.rcv_target;
            buffers.rcv_target = target.saturating_mul(2).min(most).max(target);
        }
        self.measure_delivery(env.now);
    }

    /// Makes the window a multiple of the peer's segments that its scale can
    /// express: else the peer fills its end with a runt, and the stack spends a
    /// slot on it or copies it.
    pub(super) fn align_window(&mut self) {
        let mss = u32::from(self.hot.rcv_mss).max(1);
        let shift = u32::from(self.hot.rcv_scale);
        let unit = mss << shift.saturating_sub(mss.trailing_zeros());
        let target = self.cold.buffers.rcv_target;
        self.cold.rcv_limit = if target < unit.max(8 * mss) {
            target
        } else {
            let down = target - target % unit;
            let up = down.saturating_add(unit);
            if up - target < target - down && up <= self.cold.buffers.rcv_most {
                up
            } else {
                down
            }
        };
    }

    /// The send buffer is to hold two windows: one in flight, one to follow.
    #[inline]
    pub(super) fn grow_send_buffer(&mut self, pool: &FramePool) {
        let wanted = self.hot.cwnd.saturating_mul(2);
        let limit = self.cold.snd_limit;
        if wanted > limit && limit < self.cold.buffers.snd_most {
            let most = self.cold.buffers.snd_most.min(share_of(pool));
            self.cold.snd_limit = wanted.min(most).max(limit);
        }
    }
}
