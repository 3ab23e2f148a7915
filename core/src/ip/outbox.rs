//! Packets of the stack's own and of UDP, on their way to the device.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use pollwire_rings::{FrameRef, TxBurst, TxMeta};

/// Most packets that wait for the device.
const CAPACITY: usize = 256;

struct Outgoing {
    /// From the Ethernet header on.
    head: FrameRef,
    payload: Option<FrameRef>,
    meta: TxMeta,
}

impl Outgoing {
    /// Adds the packet to a burst that has room for it.
    #[inline(always)]
    fn move_to(self, tx: &mut TxBurst) {
        // There is room: nothing comes back.
        match self.payload {
            None => drop(tx.push(self.head, self.meta)),
            Some(payload) => {
                drop(tx.push_piece(self.head));
                drop(tx.push_piece(payload));
                tx.seal(self.meta);
            }
        }
    }
}

/// A bounded queue of complete packets, oldest first. TCP's own segments do not
/// pass through it: they go straight into the burst.
pub(crate) struct Outbox {
    packets: Box<ArrayVec<Outgoing, CAPACITY>>,
}

/// The outbox is full; the packet is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxFull;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            packets: Box::default(),
        }
    }

    /// Adds a packet.
    #[inline]
    pub(crate) fn push(
        &mut self,
        head: FrameRef,
        payload: Option<FrameRef>,
        meta: TxMeta,
    ) -> Result<(), OutboxFull> {
        let packet = Outgoing {
            head,
            payload,
            meta,
        };
        self.packets.try_push(packet).map_err(|_| OutboxFull)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether the next packet would be dropped.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.packets.is_full()
    }

    /// Packets that it has room for.
    pub(crate) fn room(&self) -> usize {
        self.packets.remaining_capacity()
    }

    /// Moves packets to `tx` while it has room. Returns whether some are left.
    #[inline]
    pub(crate) fn drain_into(&mut self, tx: &mut TxBurst) -> bool {
        // A lone packet, as in an exchange of datagrams, is not worth a loop.
        if self.packets.len() == 1 && tx.has_room(2) {
            if let Some(packet) = self.packets.pop() {
                packet.move_to(tx);
            }
            return false;
        }
        if self.packets.is_empty() {
            return false;
        }
        self.drain_many(tx)
    }

    #[inline(never)]
    fn drain_many(&mut self, tx: &mut TxBurst) -> bool {
        // A packet has at most two pieces.
        let fit = self.packets.len().min(tx.room(2));
        for packet in self.packets.drain(..fit) {
            packet.move_to(tx);
        }
        !self.packets.is_empty()
    }
}
