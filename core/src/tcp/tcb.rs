//! The transmission control block (RFC 9293, 3.3.1), hot and cold.
//!
//! What an open connection touches per segment lies in [`Hot`]: two cache
//! lines. The rest lies in [`Cold`], behind it in the same slot. Both are all-zero when
//! unused, so their memory is `.bss`.

use alloc::boxed::Box;
use core::task::Waker;

use pollwire_rings::{FrameRef, Instant};

use super::buffers::Buffers;
use super::coarse::{Millisecond, Second};
use super::congestion::Congestion;
use super::episode::Episode;
use super::node::{Link, Queue};
use super::rtt::Rtt;
use super::seq::SeqNum;
use super::template::Template;
use crate::{ConnError, FlowKey};

/// Connection states (RFC 9293, 3.3.2). LISTEN is a listener's, not a TCB's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// No connection.
    #[default]
    Closed = 0,
    /// SYN sent, awaiting one.
    SynSent,
    /// SYN received and sent, awaiting its ACK.
    SynReceived,
    /// Open.
    Established,
    /// Closed here, FIN not acknowledged yet.
    FinWait1,
    /// Closed here and acknowledged; the peer may still send.
    FinWait2,
    /// The peer closed; this side may still send.
    CloseWait,
    /// Both closed at once; our FIN not acknowledged yet.
    Closing,
    /// The peer closed, then this side; our FIN not acknowledged yet.
    LastAck,
    /// Both closed; waiting for stray segments to die.
    TimeWait,
}

impl TcpState {
    /// Whether the handshake is behind.
    #[must_use]
    pub fn is_synchronized(self) -> bool {
        self >= Self::Established
    }

    /// Whether the peer may still send data that is taken.
    pub(crate) fn can_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether the peer's FIN has arrived.
    pub(crate) fn peer_closed(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }
}

/// Bits of [`Hot::flags`].
pub(crate) mod flag {
    /// An ACK goes out in this turn.
    pub(crate) const ACK_NOW: u32 = 1;
    /// The SYN (or SYN-ACK) goes out in this turn.
    pub(crate) const SEND_SYN: u32 = 1 << 1;
    /// The writer closed: a FIN follows the queued data.
    pub(crate) const FIN_QUEUED: u32 = 1 << 2;
    /// The FIN has been sent (it counts in `snd_nxt`).
    pub(crate) const FIN_SENT: u32 = 1 << 3;
    /// On the list of flows that output looks at.
    pub(crate) const TOUCHED: u32 = 1 << 4;
    /// Nagle's algorithm off.
    pub(crate) const NODELAY: u32 = 1 << 5;
    /// Both sides use timestamps (RFC 7323).
    pub(crate) const TIMESTAMPS: u32 = 1 << 6;
    /// Both sides use selective acknowledgements (RFC 2018).
    pub(crate) const SACK: u32 = 1 << 7;
    /// Fast recovery, until `recover` is acknowledged.
    pub(crate) const FAST_RECOVERY: u32 = 1 << 8;
    /// Recovery after a timeout, until `recover` is acknowledged.
    pub(crate) const LOSS_RECOVERY: u32 = 1 << 9;
    /// `rtx_at` is the persist timer.
    pub(crate) const PERSIST: u32 = 1 << 10;
    /// The FIN (already sent) goes out again.
    pub(crate) const RESEND_FIN: u32 = 1 << 11;
    /// A task waits for data.
    pub(crate) const WAIT_READ: u32 = 1 << 12;
    /// A task waits for room, or for an end.
    pub(crate) const WAIT_WRITE: u32 = 1 << 13;
    /// A handle exists: the application still knows this flow.
    pub(crate) const OWNED: u32 = 1 << 14;
    /// Out-of-order segments are queued, or a duplicate is to be reported: ACKs
    /// carry SACK blocks.
    pub(crate) const OUT_OF_ORDER: u32 = 1 << 15;
    /// The reader shut down: data is acknowledged and thrown away.
    pub(crate) const READ_SHUT: u32 = 1 << 16;
    /// A probe goes out in this turn: a tail loss probe (RFC 8985, 7.3), or a
    /// keepalive probe when nothing is in flight.
    pub(crate) const SEND_PROBE: u32 = 1 << 17;
    /// A zero-window probe of one byte goes out in this turn.
    pub(crate) const WINDOW_PROBE: u32 = 1 << 18;
    /// The handle's owner has not taken this flow from the accept queue yet.
    pub(crate) const EMBRYO: u32 = 1 << 19;
    /// Both sides scale their windows (RFC 7323).
    pub(crate) const SCALE: u32 = 1 << 20;
    /// `rtx_at` allows for a delayed ACK: a segment at most is in flight.
    pub(crate) const LONE_TIMER: u32 = 1 << 21;
    /// Duplicate or selective acknowledgements came, or loss is suspected.
    pub(crate) const UNORDERED_ACKS: u32 = 1 << 22;
    /// `cwnd` held data back; acknowledgements of what is in flight may open it.
    pub(crate) const CWND_LIMITED: u32 = 1 << 23;
    /// Both sides use explicit congestion notification (RFC 3168).
    pub(crate) const ECN: u32 = 1 << 24;
    /// Segments are spread over the round trip.
    pub(crate) const PACED: u32 = 1 << 25;
    /// A mark arrived: every segment echoes it until the peer answers.
    pub(crate) const ECN_ECHO: u32 = 1 << 26;
    /// The window shrank: the next new data tells the peer.
    pub(crate) const ECN_CWR: u32 = 1 << 27;
    /// The same bit before there is a window: our SYN asks for ECN.
    pub(crate) const ECN_ASK: u32 = ECN_CWR;
    /// Each segment takes the full paths: a probe of the path's MTU is wanted
    /// or out, or the event log is on.
    pub(crate) const WATCHED: u32 = 1 << 28;
    /// `rtx_at` is the retransmission timer proper: no loss probe goes first.
    pub(crate) const RTO_TIMER: u32 = 1 << 29;
    /// `rtx_at` is RACK's reordering timer (RFC 8985, 6.2).
    pub(crate) const REORDER_TIMER: u32 = 1 << 30;
    /// `rtx_at` is the time after which an idle flow's `cwnd` is out of date.
    pub(crate) const IDLE: u32 = 1 << 31;
    /// What `rtx_at` stands for.
    pub(crate) const TIMER_MODES: u32 = PERSIST | RTO_TIMER | REORDER_TIMER | LONE_TIMER | IDLE;
    /// What precedes new data may be due.
    pub(crate) const UNUSUAL_OUTPUT: u32 = RESEND_FIN | SEND_PROBE | OUT_OF_ORDER | WATCHED;
    /// Any recovery.
    pub(crate) const RECOVERY: u32 = FAST_RECOVERY | LOSS_RECOVERY;
}

/// Bits of [`Cold::marks`].
pub(crate) mod mark {
    /// Closed, and a record stands for it in TIME-WAIT.
    pub(crate) const TIME_WAIT: u8 = 1;
    /// Its handle was given up before it was over.
    pub(crate) const ORPHAN: u8 = 1 << 1;
    /// A challenge ACK is due, if the host may send another.
    pub(crate) const CHALLENGE: u8 = 1 << 2;
    /// Its event log is on.
    pub(crate) const LOGGED: u8 = 1 << 3;
    /// The peer's FIN came before data that precedes it.
    pub(crate) const EARLY_FIN: u8 = 1 << 4;
    /// The first retransmission after a timeout goes out whatever `cwnd` says.
    pub(crate) const FORCED: u8 = 1 << 5;
}

/// What every segment touches: two cache lines.
#[repr(C, align(64))]
pub(crate) struct Hot {
    pub(crate) snd_una: SeqNum,
    pub(crate) snd_nxt: SeqNum,
    /// Behind the last byte queued; a queued FIN is not counted.
    pub(crate) snd_end: SeqNum,
    /// The peer's window, scaled, bytes from `snd_una`.
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: SeqNum,
    pub(crate) snd_wl2: SeqNum,
    pub(crate) rcv_nxt: SeqNum,
    /// Right edge of the window that was promised to the peer.
    pub(crate) rcv_adv: SeqNum,
    /// The last `rcv_nxt` that the peer was told.
    pub(crate) last_ack_sent: SeqNum,
    /// Slot bytes held by the receive and out-of-order queues.
    pub(crate) rcv_held: u32,
    pub(crate) ts_recent: u32,
    pub(crate) ts_offset: u32,
    /// Largest payload to send in one segment, options taken off.
    pub(crate) mss: u16,
    /// Largest payload received in one segment: the peer's segment size.
    pub(crate) rcv_mss: u16,
    pub(crate) snd_scale: u8,
    pub(crate) rcv_scale: u8,
    pub(crate) state: TcpState,
    pub(crate) dup_acks: u8,
    pub(crate) flags: u32,
    pub(crate) cwnd: u32,
    /// Sent and unsent data, oldest first.
    pub(crate) send: Queue,
    /// The first node never sent.
    pub(crate) unsent: Link,
    /// Data in order, not yet read, behind `Cold::first_unread`.
    pub(crate) recv: Queue,
    /// Bytes in flight that are selectively acknowledged.
    pub(crate) sacked: u32,
    /// Bytes in flight that are taken for lost.
    pub(crate) lost: u32,
    /// Bytes of those retransmitted, not known to have arrived.
    pub(crate) retransmitted: u32,
    /// Retransmission or persist timer; zero when off.
    pub(crate) rtx_at: Instant,
    /// Delayed-ACK timer; zero when off.
    pub(crate) ack_at: Instant,
    pub(crate) rtt: Rtt,
    /// Next on the list of touched flows (index + 1).
    pub(crate) next_touched: u32,
}

const _: () = assert!(
    size_of::<Hot>() == 128,
    "the hot state of a flow is two cache lines"
);

impl Hot {
    pub(crate) const EMPTY: Self = Self {
        snd_una: SeqNum::new(0),
        snd_nxt: SeqNum::new(0),
        snd_end: SeqNum::new(0),
        snd_wnd: 0,
        snd_wl1: SeqNum::new(0),
        snd_wl2: SeqNum::new(0),
        rcv_nxt: SeqNum::new(0),
        rcv_adv: SeqNum::new(0),
        last_ack_sent: SeqNum::new(0),
        rcv_held: 0,
        ts_recent: 0,
        ts_offset: 0,
        mss: 0,
        rcv_mss: 0,
        snd_scale: 0,
        rcv_scale: 0,
        state: TcpState::Closed,
        dup_acks: 0,
        flags: 0,
        cwnd: 0,
        send: Queue::EMPTY,
        unsent: None,
        recv: Queue::EMPTY,
        sacked: 0,
        lost: 0,
        retransmitted: 0,
        rtx_at: Instant::ZERO,
        ack_at: Instant::ZERO,
        rtt: Rtt::NEW,
        next_touched: 0,
    };

    #[inline]
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flags: u32) {
        self.flags |= flags;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flags: u32) {
        self.flags &= !flags;
    }

    /// Differs once more is acknowledged or received than was before.
    pub(crate) fn progress(&self) -> u32 {
        self.snd_una.raw().wrapping_add(self.rcv_nxt.raw())
    }

    /// Sequence space sent and not acknowledged.
    #[inline]
    pub(crate) fn flight(&self) -> u32 {
        self.snd_nxt.raw().wrapping_sub(self.snd_una.raw())
    }

    /// Payload bytes that are believed to be in the network (RFC 6675, "pipe").
    /// A FIN does not count: it would keep the one segment that a timeout
    /// allows from going out.
    #[inline]
    pub(crate) fn pipe(&self) -> u32 {
        let fin = u32::from(self.has(flag::FIN_SENT));
        (self.flight() + self.retransmitted).saturating_sub(self.sacked + self.lost + fin)
    }

    /// Bytes queued: sent and unacknowledged, and unsent.
    #[inline]
    pub(crate) fn queued(&self) -> u32 {
        self.snd_end.bytes_since(self.snd_una)
    }

    /// Whether our FIN is acknowledged: everything sent is, and it was sent.
    #[inline]
    pub(crate) fn fin_acked(&self) -> bool {
        self.has(flag::FIN_SENT) && self.snd_una == self.snd_nxt
    }

    /// Bytes of options in every segment of this flow.
    #[inline]
    pub(crate) fn option_bytes(&self) -> usize {
        if self.has(flag::TIMESTAMPS) { 12 } else { 0 }
    }
}

/// Neighbours in a list (index + 1, 0 for none).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListLinks {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

/// What only some segments touch.
pub(crate) struct Cold {
    /// The oldest unread data, if it came while nothing was unread: the whole of
    /// it, where the reader keeps up. What follows is in `Hot::recv`.
    pub(crate) first_unread: Option<FrameRef>,
    /// What is known of trouble, if there was some.
    pub(crate) episode: Option<Box<Episode>>,
    pub(crate) iss: SeqNum,
    pub(crate) irs: SeqNum,
    /// `snd_nxt` when recovery began (RFC 6582).
    pub(crate) recover: SeqNum,
    pub(crate) ssthresh: u32,
    pub(crate) congestion: Congestion,
    pub(crate) buffers: Buffers,
    /// Payload bytes that the receive queue may hold.
    pub(crate) rcv_limit: u32,
    /// Payload bytes that the send queue may hold.
    pub(crate) snd_limit: u32,
    /// The largest window that the peer ever offered.
    pub(crate) max_snd_wnd: u32,
    /// The peer's maximum segment size, from its SYN.
    pub(crate) peer_mss: u16,
    /// The maximum segment size that our SYN announces.
    pub(crate) our_mss: u16,
    /// What all segments begin with.
    pub(crate) template: Template,
    /// [`Hot::progress`] when `template` was made: what came since, its neighbour
    /// helped with.
    pub(crate) link_progress: u32,
    /// Differs for each handle that this slot ever had.
    pub(crate) generation: u32,
    /// Of the flow's key: the flow table files it under that.
    pub(crate) hash: u32,
    pub(crate) read_waker: Option<Waker>,
    pub(crate) write_waker: Option<Waker>,
    pub(crate) error: Option<ConnError>,
    /// What a router said of the path.
    pub(crate) soft_error: Option<ConnError>,
    /// When it did.
    pub(crate) soft_error_at: Millisecond,
    /// The listener's index + 1 while the flow is its; in a closed slot the next
    /// closed one's.
    pub(crate) listener: u32,
    /// Keepalive interval in milliseconds, 0 when off.
    pub(crate) keepalive_ms: u32,
    /// User timeout in milliseconds, 0 for the default.
    pub(crate) user_timeout_ms: u32,
    pub(crate) keepalive_probes: u8,
    /// When the last segment of the peer arrived.
    pub(crate) heard_at: Millisecond,
    /// When the last data was acknowledged, or the first sent since.
    pub(crate) stuck_since: Instant,
    /// Keepalive and FIN-WAIT-2 timer; zero when off.
    pub(crate) misc_at: Instant,
    /// When `ts_recent` was last set (RFC 7323, 5.5).
    pub(crate) ts_recent_at: Second,
    /// Segments sent again, in all.
    pub(crate) retransmits: u32,
    /// `TIME_WAIT`, `ORPHAN`, ...
    pub(crate) marks: u8,
    /// When the last challenge ACK was due (RFC 5961, 7), or another answer to
    /// a segment that should not have come.
    pub(crate) challenge_at: Millisecond,
    /// Quick ACKs left before acknowledgements are delayed.
    pub(crate) quick_acks: u8,
    /// Initial congestion window in segments, 0 for RFC 6928's.
    pub(crate) initial_window: u8,
}

impl Cold {
    pub(crate) const EMPTY: Self = Self {
        first_unread: None,
        episode: None,
        iss: SeqNum::new(0),
        irs: SeqNum::new(0),
        recover: SeqNum::new(0),
        ssthresh: 0,
        congestion: Congestion::EMPTY,
        buffers: Buffers::EMPTY,
        rcv_limit: 0,
        snd_limit: 0,
        max_snd_wnd: 0,
        peer_mss: 0,
        our_mss: 0,
        template: Template::EMPTY,
        link_progress: 0,
        generation: 0,
        hash: 0,
        read_waker: None,
        write_waker: None,
        error: None,
        soft_error: None,
        soft_error_at: Millisecond::ZERO,
        listener: 0,
        keepalive_ms: 0,
        user_timeout_ms: 0,
        keepalive_probes: 0,
        heard_at: Millisecond::ZERO,
        stuck_since: Instant::ZERO,
        misc_at: Instant::ZERO,
        ts_recent_at: Second::ZERO,
        retransmits: 0,
        marks: 0,
        challenge_at: Millisecond::ZERO,
        quick_acks: 0,
        initial_window: 0,
    };
}

const _: () = assert!(
    size_of::<Hot>() + size_of::<FlowKey>() + size_of::<Cold>() <= 7 * 64,
    "a flow is seven cache lines: hot state, key and cold state"
);

/// One flow's state, borrowed together.
pub(crate) struct Tcb<'a> {
    pub(crate) hot: &'a mut Hot,
    pub(crate) cold: &'a mut Cold,
    pub(crate) key: &'a FlowKey,
}

impl Tcb<'_> {
    /// The same, lent to a function that is not inlined; see [`Env::again`].
    ///
    /// [`Env::again`]: super::Env::again
    #[inline(always)]
    pub(crate) fn again(&mut self) -> Tcb<'_> {
        Tcb {
            hot: self.hot,
            cold: self.cold,
            key: self.key,
        }
    }

    /// Wakes whoever waits to read.
    #[inline]
    pub(crate) fn wake_reader(&mut self) {
        if self.hot.has(flag::WAIT_READ) {
            self.hot.clear(flag::WAIT_READ);
            if let Some(waker) = &self.cold.read_waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Wakes whoever waits to write, or for the connection or its end.
    #[inline]
    pub(crate) fn wake_writer(&mut self) {
        if self.hot.has(flag::WAIT_WRITE) {
            self.hot.clear(flag::WAIT_WRITE);
            if let Some(waker) = &self.cold.write_waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Asks for an ACK in this turn.
    #[inline]
    pub(crate) fn ack_now(&mut self) {
        self.hot.set(flag::ACK_NOW);
    }

    pub(crate) fn has_mark(&self, mark: u8) -> bool {
        self.cold.marks & mark != 0
    }

    /// The earliest of this flow's timers.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // Zero is off; one less than zero is later than all.
        let due = |at: Instant| at.as_nanos().wrapping_sub(1);
        let earliest = due(self.hot.rtx_at)
            .min(due(self.hot.ack_at))
            .min(due(self.cold.misc_at));
        (earliest != u64::MAX).then(|| Instant::from_nanos(earliest + 1))
    }
}
