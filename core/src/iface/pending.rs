//! Packets that wait for a neighbour's Ethernet address.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use pollwire_rings::{FrameBuf, FrameRef, TxMeta};

use crate::wire::ipv4::FRAGMENT_OFFSET;
use crate::wire::ipv6;

/// Most datagrams that wait for one neighbour, whole or in fragments.
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

impl Pending {
    /// Whether it is a fragment other than the first.
    fn continues_datagram(&self) -> bool {
        let offset = |at: usize, mask: u16| {
            let field = self.frame.get(at..).and_then(<[u8]>::first_chunk);
            field.is_some_and(|field| u16::from_be_bytes(*field) & mask != 0)
        };
        match self.frame.first().map(|first| first >> 4) {
            Some(4) => offset(6, FRAGMENT_OFFSET),
            // The fragment header comes right behind the fixed one.
            Some(6) => self.frame.get(6) == Some(&ipv6::FRAGMENT) && offset(42, 0xfff8),
            _ => false,
        }
    }
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

    /// Adds a packet for `neighbor`. Where there is no room, the oldest datagram
    /// for that neighbour, or the oldest of all, gives way: RFC 1122, 2.3.2.2,
    /// wants at least the latest packet saved, and the one that has waited
    /// longest is the least likely to be answered. `limit` bounds the whole
    /// queue beside [`TOTAL`]. Returns how many packets gave way.
    #[must_use = "the packets that gave way must be counted"]
    pub(crate) fn push(&mut self, neighbor: IpAddr, packet: Pending, limit: usize) -> usize {
        let mut gone = 0;
        let own = |(waits_for, packet): &(IpAddr, Pending)| {
            *waits_for == neighbor && !packet.continues_datagram()
        };
        let datagrams = self.packets.iter().filter(|waiting| own(waiting)).count();
        if datagrams >= PER_NEIGHBOR
            && !packet.continues_datagram()
            && let Some(oldest) = self.packets.iter().position(own)
        {
            gone += self.evict(oldest);
        }
        if self.packets.len() >= limit.clamp(1, TOTAL) {
            gone += self.evict(0);
        }
        self.packets.push_back((neighbor, packet));
        gone
    }

    /// Drops the packet at `index`, and the other fragments of its datagram.
    fn evict(&mut self, index: usize) -> usize {
        let Some((neighbor, _)) = self.packets.remove(index) else {
            return 0;
        };
        let mut gone = 1;
        loop {
            let next = (index..)
                .zip(self.packets.iter().skip(index))
                .find(|(_, (waits_for, _))| *waits_for == neighbor);
            match next {
                Some((at, (_, packet))) if packet.continues_datagram() => {
                    self.packets.remove(at);
                    gone += 1;
                }
                _ => return gone,
            }
        }
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
