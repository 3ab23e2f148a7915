//! How much a connection may buffer: little at first, more as its path and its
//! application show that they use it (Fisk and Feng 2001, "dynamic right-sizing").
//!
//! A buffer never takes more than a share of what is free in the pool, so many
//! connections get little each, and few get much.

use pollwire_rings::{FramePool, Instant};

use super::coarse::micros;
use super::options::TcpOptions;
use super::seq::SeqNum;
use super::tcb::Tcb;
use super::{Env, open};

/// Where buffers begin, bytes of payload.
const INITIAL: u32 = 64 * 1024;
/// Shorter round trips than this, microseconds, are taken for as long: hosts
/// have hiccups.
const LEAST_RTT_US: u32 = 1000;
/// A window is looked at, and grows, by this part of itself.
const STEPS: u32 = 8;
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
    rcv_plain: u32,
    /// What that is growing to.
    rcv_target: u32,
    /// When data up to here has arrived, something is to be done.
    look_at: SeqNum,
    /// Where the present measurement began, and when, microseconds modulo 2^32.
    measured_from: SeqNum,
    measured_since: u32,
}

impl Buffers {
    pub(crate) const EMPTY: Self = Self {
        rcv_most: 0,
        snd_most: 0,
        rcv_plain: 0,
        rcv_target: 0,
        look_at: SeqNum::new(0),
        measured_from: SeqNum::new(0),
        measured_since: 0,
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
        buffers.rcv_plain = within(buffers.rcv_plain, buffers.rcv_most);
        buffers.rcv_target = buffers.rcv_plain;
        self.cold.rcv_limit = buffers.rcv_plain;
        self.cold.snd_limit = within(self.cold.snd_limit, buffers.snd_most);
    }

    /// Bounds the receive buffer by what windows can say.
    pub(super) fn bound_window(&mut self, most: u32) {
        let buffers = &mut self.cold.buffers;
        buffers.rcv_most = buffers.rcv_most.min(most);
        buffers.rcv_plain = buffers.rcv_plain.min(most);
        buffers.rcv_target = buffers.rcv_plain;
        self.cold.rcv_limit = buffers.rcv_plain;
    }

    /// Begins to measure: the handshake is over, or a measurement is.
    pub(super) fn measure_delivery(&mut self, now: Instant) {
        self.cold.buffers.measured_from = self.hot.rcv_nxt;
        self.cold.buffers.measured_since = micros(now);
        self.align_window();
        self.look_later();
    }

    /// The next look comes when another part of the window has arrived.
    fn look_later(&mut self) {
        self.cold.buffers.look_at = self.hot.rcv_nxt + self.cold.rcv_limit / STEPS;
    }

    /// Whether so much has arrived that the window is to be looked at.
    #[inline(always)]
    pub(super) fn is_window_due(&self) -> bool {
        self.hot.rcv_nxt.at_or_after(self.cold.buffers.look_at)
    }

    /// Grows the window if it may be what holds the peer back: nearly as much
    /// arrives in a round trip, and the application keeps up.
    /// It grows in steps, for the peer may send what a step adds in one burst.
    /// `fresh` bytes came in this turn: the application had no time for them yet.
    #[inline(never)]
    pub(super) fn look_at_window(&mut self, env: &Env<'_>, fresh: u32) {
        let limit = self.cold.rcv_limit;
        let buffers = &mut self.cold.buffers;
        if buffers.rcv_plain < buffers.rcv_target {
            let step = buffers.rcv_plain / STEPS;
            buffers.rcv_plain = (buffers.rcv_plain + step).min(buffers.rcv_target);
        }
        let arrived = self.hot.rcv_nxt.bytes_since(buffers.measured_from);
        if arrived < limit / 2 {
            self.align_window();
            self.look_later();
            return;
        }
        let rtt_us = self.hot.rtt.srtt_us.max(LEAST_RTT_US);
        let took = micros(env.now).wrapping_sub(buffers.measured_since);
        // More than two thirds of a window per round trip.
        let fast =
            u64::from(took) * u64::from(limit) / 3 * 2 < u64::from(rtt_us) * u64::from(arrived);
        let read = (self.hot.rcv_held / 2).saturating_sub(fresh) <= limit / 4;
        if fast && read && !env.scarce() {
            let most = buffers.rcv_most.min(share_of(env.pool));
            let wanted = buffers.rcv_plain.saturating_mul(2).min(most);
            buffers.rcv_target = wanted.max(buffers.rcv_plain);
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
        let target = self.cold.buffers.rcv_plain;
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
