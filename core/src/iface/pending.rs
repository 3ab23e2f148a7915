//! Packets that wait for a neighbour's Ethernet address.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use pollwire_rings::{FrameBuf, FrameRef, TxMeta};

/// Most packets that wait for one neighbour.
pub(crate) const PER_NEIGHBOR: usize = 4;
/// Most packets that wait for all neighbours together.
pub(crate) const TOTAL: usize = 64;

/// A packet that lacks nothing but its Ethernet header.
pub(crate) struct Pending {
    /// From the IP header on, with headroom for Ethernet.
    pub(crate) frame: FrameBuf,
    pub(crate) payload: Option<FrameRef>,
    /// Offsets count from the IP header.
    pub(crate) meta: TxMeta,
}

/// All waiting packets in the order of their coming. One queue serves all
/// neighbours, so memory is bounded however many of them are silent.
pub(crate) struct PendingQueue {
    packets: VecDeque<(IpAddr, Pending)>,
}

impl PendingQueue {
    pub(crate) fn new() -> Self {
        Self {
            packets: VecDeque::with_capacity(TOTAL),
        }
    }

    /// Adds a packet for `neighbor`. Where there is no room, the oldest packet
    /// for that neighbour, or the oldest of all, gives way and is returned:
    /// RFC 1122, 2.3.2.2, wants at least the latest packet saved, and the one
    /// that has waited longest is the least likely to be answered. `limit`
    /// bounds the whole queue beside [`TOTAL`].
    #[must_use = "the packet that gave way must be counted"]
    pub(crate) fn push(
        &mut self,
        neighbor: IpAddr,
        packet: Pending,
        limit: usize,
    ) -> Option<Pending> {
        let mut own = self
            .packets
            .iter()
            .enumerate()
            .filter(|(_, (waits_for, _))| *waits_for == neighbor)
            .map(|(index, _)| index);
        let oldest_own = own.next();
        let victim = if oldest_own.is_some() && own.count() + 1 >= PER_NEIGHBOR {
            oldest_own
        } else if self.packets.len() >= limit.clamp(1, TOTAL) {
            Some(0)
        } else {
            None
        };
        let evicted = victim.and_then(|index| self.packets.remove(index));
        self.packets.push_back((neighbor, packet));
        evicted.map(|(_, packet)| packet)
    }

    /// Takes the oldest packet for `neighbor`.
    pub(crate) fn pop(&mut self, neighbor: IpAddr) -> Option<Pending> {
        let index = self
            .packets
            .iter()
            .position(|(waits_for, _)| *waits_for == neighbor)?;
        self.packets.remove(index).map(|(_, packet)| packet)
    }
}
