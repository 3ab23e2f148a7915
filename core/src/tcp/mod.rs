//! TCP (RFC 9293).
//!
//! | file | what it holds |
//! |---|---|
//! | [`tcb`] | a connection's state, hot and cold |
//! | [`segment`], [`seq`] | a received segment; sequence numbers |
//! | [`node`] | queue nodes: send, receive and out-of-order queues |
//! | [`predict`] | the segment that is expected: the fast path |
//! | [`input`] | what any segment does to a connection |
//! | [`ack`], [`recovery`], [`congestion`], [`ecn`], [`rtt`] | acknowledgements, loss, rate, timeouts |
//! | [`buffers`] | how large buffers and windows may become |
//! | [`episode`] | what only a flow in trouble keeps |
//! | [`dsack`] | reports of duplicates that arrived |
//! | [`receive`], [`blocks`] | data in order and out of order, the receive window, SACK blocks |
//! | [`stream`] | runs of plain segments: the fast path out |
//! | [`output`], [`emit`], [`header`], [`template`] | what a connection sends, and how it leaves |
//! | [`path_mtu`] | the segment size that the path carries |
//! | [`timer`] | what happens when its timers fire |
//! | [`listen`] | listeners |
//! | [`table`] | all flows of a stack |
//! | [`records`] | compact records in place of flows |
//! | [`half_open`], [`time_wait`] | what such a record is before and after |
//! | [`cookie`] | handshakes without a record |
//! | [`challenge`] | how many challenge ACKs go out |
//! | [`api`], [`listeners`], [`transfer`], [`info`] | what applications call |

pub(crate) mod ack;
mod api;
pub(crate) mod blocks;
mod buffers;
pub(crate) mod challenge;
pub(crate) mod coarse;
pub(crate) mod congestion;
pub(crate) mod cookie;
mod dsack;
pub(crate) mod ecn;
pub(crate) mod emit;
pub(crate) mod episode;
pub(crate) mod half_open;
pub(crate) mod header;
mod info;
pub(crate) mod input;
pub(crate) mod isn;
pub(crate) mod listen;
mod listeners;
pub(crate) mod node;
pub(crate) mod open;
mod options;
pub(crate) mod output;
pub(crate) mod path_mtu;
pub(crate) mod predict;
pub(crate) mod receive;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod segment;
pub(crate) mod seq;
mod stream;
pub(crate) mod table;
pub(crate) mod tcb;
pub(crate) mod template;
pub(crate) mod time_wait;
pub(crate) mod timer;
mod transfer;

#[cfg(test)]
mod tests;

pub use api::{Interest, Shutdown};
pub use congestion::{CongestionControl, Pacing};
pub use ecn::Ecn;
pub use info::{LossState, TcpInfo};
pub use listen::{ListenOptions, ListenerStats, SynCookies};
pub use options::{Handshake, TcpOptions};
pub use seq::SeqNum;
pub use table::{FlowId, ListenerId};
pub use tcb::TcpState;

use arrayvec::ArrayVec;
use pollwire_rings::{FrameBuf, FramePool, Instant};

use crate::Counters;
use node::Nodes;

/// What the code of one connection works with beside its own state.
pub(crate) struct Env<'a> {
    pub(crate) now: Instant,
    pub(crate) pool: &'a FramePool,
    pub(crate) nodes: &'a mut Nodes,
    pub(crate) counters: &'a mut Counters,
    /// Further pieces of the packet at hand, when the device coalesced it.
    pub(crate) rest: &'a mut ArrayVec<FrameBuf, MAX_REST>,
}

/// Most pieces of a coalesced packet behind the first.
pub(crate) const MAX_REST: usize = 48;

impl Env<'_> {
    /// The same, lent to a function that is not inlined: so what is lent lies
    /// in memory for that call only, not all the time.
    #[inline(always)]
    pub(crate) fn again(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            pool: self.pool,
            nodes: self.nodes,
            counters: self.counters,
            rest: self.rest,
        }
    }

    /// Whether frames are scarce: windows no longer grow and out-of-order data
    /// is refused, so that what was promised can still be kept.
    #[inline]
    pub(crate) fn scarce(&self) -> bool {
        is_scarce(self.pool)
    }
}

/// See [`Env::scarce`].
#[inline]
pub(crate) fn is_scarce(pool: &FramePool) -> bool {
    pool.available() < pool.capacity() / 8
}
