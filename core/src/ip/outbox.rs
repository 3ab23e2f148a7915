//! Packets of the stack's own and of UDP, on their way to the device.

use alloc::collections::VecDeque;

use pollwire_rings::{FrameRef, TxBurst, TxMeta};

/// Most packets that wait for the device.
const CAPACITY: usize = 256;

struct Outgoing {
    /// From the Ethernet header on.
    head: FrameRef,
    payload: Option<FrameRef>,
    meta: TxMeta,
}

/// A bounded queue of complete packets, oldest first. TCP's own segments do not
/// pass through it: they go straight into the burst.
pub(crate) struct Outbox {
    packets: VecDeque<Outgoing>,
}

/// The outbox is full; the packet is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxFull;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            packets: VecDeque::with_capacity(CAPACITY),
        }
    }

    /// Adds a packet.
    pub(crate) fn push(
        &mut self,
        head: FrameRef,
        payload: Option<FrameRef>,
        meta: TxMeta,
    ) -> Result<(), OutboxFull> {
        if self.packets.len() == CAPACITY {
            return Err(OutboxFull);
        }
        self.packets.push_back(Outgoing {
            head,
            payload,
            meta,
        });
        Ok(())
    }

    /// Adds a packet of one piece; the caller asked whether there is
    /// [room](Self::is_full).
    #[inline]
    pub(crate) fn push_whole(&mut self, frame: FrameRef, meta: TxMeta) {
        self.packets.push_back(Outgoing {
            head: frame,
            payload: None,
            meta,
        });
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether the next packet would be dropped.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.packets.len() >= CAPACITY
    }

    /// Moves packets to `tx` while it has room. Returns whether some are left.
    #[inline]
    pub(crate) fn drain_into(&mut self, tx: &mut TxBurst) -> bool {
        // A packet has at most two pieces.
        while !self.packets.is_empty() && tx.has_room(2) {
            let Some(packet) = self.packets.pop_front() else {
                break;
            };
            // There is room: nothing comes back.
            match packet.payload {
                None => drop(tx.push(packet.head, packet.meta)),
                Some(payload) => {
                    drop(tx.push_piece(packet.head));
                    drop(tx.push_piece(payload));
                    tx.seal(packet.meta);
                }
            }
        }
        !self.packets.is_empty()
    }
}
