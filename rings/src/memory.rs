//! An in-memory wire: two devices joined in one process.
//!
//! What one end transmits, the other receives. The wire holds the sender's
//! frames until the receiver's turn, as a device's DMA ring would, and copies
//! them once, into frames of the receiver's pool: that copy stands for the DMA.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::time::Duration;

use crate::{
    Caps, FramePool, FrameRef, NetDevice, RxBurst, RxChecksum, RxMeta, TxBurst, TxChecksum,
};

#[derive(Debug)]
struct Piece {
    frame: FrameRef,
    last: bool,
    checksum: RxChecksum,
}

type Lane = Rc<RefCell<VecDeque<Piece>>>;

/// One end of a wire.
#[derive(Debug)]
pub struct MemoryDevice {
    caps: Caps,
    outgoing: Lane,
    incoming: Lane,
    limit: usize,
}

/// Two joined ends, `first` and `second` being what they can do.
#[must_use]
pub fn pair(first: Caps, second: Caps) -> (MemoryDevice, MemoryDevice) {
    let (there, back) = (Lane::default(), Lane::default());
    let end = |caps, outgoing: &Lane, incoming: &Lane| MemoryDevice {
        caps,
        outgoing: outgoing.clone(),
        incoming: incoming.clone(),
        limit: 1024,
    };
    (end(first, &there, &back), end(second, &back, &there))
}

impl NetDevice for MemoryDevice {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let mut lane = self.incoming.borrow_mut();
        let before = out.packets();
        while !lane.is_empty() && out.has_room(1) {
            let Some(mut frame) = pool.alloc() else { break };
            let mut checksum = RxChecksum::Unknown;
            while let Some(piece) = lane.pop_front() {
                frame.extend_from_slice(&piece.frame);
                checksum = piece.checksum;
                if piece.last {
                    break;
                }
            }
            let meta = RxMeta {
                checksum,
                ..RxMeta::default()
            };
            if out.push(frame, meta).is_err() {
                break;
            }
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut lane = self.outgoing.borrow_mut();
        let mut accepted = 0;
        for packet in burst.iter() {
            if lane.len() + packet.pieces.len() > self.limit {
                break;
            }
            let checksum = match packet.meta.checksum {
                TxChecksum::Done => RxChecksum::Unknown,
                TxChecksum::Partial { .. } => RxChecksum::Partial,
            };
            let count = packet.pieces.len();
            for (index, piece) in packet.pieces.iter().enumerate() {
                lane.push_back(Piece {
                    frame: piece.clone(),
                    last: index + 1 == count,
                    checksum,
                });
            }
            accepted += 1;
        }
        burst.consume(accepted);
        accepted
    }

    fn wait(&mut self, _timeout: Option<Duration>) {}
}
