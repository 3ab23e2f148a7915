//! From the rings' host side to another device.

use std::collections::VecDeque;

use pollwire_rings::{
    FramePool, Gso, GsoKind, NetDevice, RxBurst, RxChecksum, TxBurst, TxChecksum, TxMeta,
};

use crate::{Testbed, Vnet};

/// Longest packet that a machine hands over.
const LONGEST: usize = 65_535 + 14;
const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;

/// What crossed a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// Frames from the machine to the other device.
    pub from_machine: u64,
    /// Frames from the other device to the machine.
    pub to_machine: u64,
    /// Longest frame from the machine, bytes.
    pub longest: usize,
    /// Longest frame that the host makes of those, bytes.
    pub longest_segment: usize,
    /// Most pieces of one frame from the machine.
    pub most_pieces: u32,
    /// Frames from the machine that were to be segmented.
    pub segmented: u64,
    /// Frames from the machine with an incomplete checksum.
    pub partial: u64,
    /// Frames from the machine to itself, which no bridge forwards.
    pub to_itself: u64,
}

/// What a host does: carries frames between the machine's rings and a device.
#[derive(Debug)]
pub struct Bridge<D> {
    bed: Testbed,
    device: D,
    pool: FramePool,
    rx: RxBurst,
    tx: TxBurst,
    /// Frames that wait for a buffer of the machine.
    waiting: VecDeque<(Vec<u8>, Vnet)>,
    frame: Vec<u8>,
    stats: BridgeStats,
}

impl<D: NetDevice> Bridge<D> {
    /// A bridge between `bed` and `device`.
    #[must_use]
    pub fn new(bed: Testbed, device: D) -> Self {
        Self {
            bed,
            device,
            pool: FramePool::on_heap::<2048, 2048>(),
            rx: RxBurst::new(),
            tx: TxBurst::new(),
            waiting: VecDeque::new(),
            frame: vec![0; LONGEST],
            stats: BridgeStats::default(),
        }
    }

    /// The other device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// What crossed so far.
    #[must_use]
    pub fn stats(&self) -> BridgeStats {
        self.stats
    }

    /// Whether frames wait for a buffer of the machine.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Carries what there is, both ways. Returns whether there was anything.
    pub fn pump(&mut self) -> bool {
        let before = self.stats;
        self.pump_from_machine();
        self.pump_to_machine();
        before != self.stats
    }

    fn pump_from_machine(&mut self) {
        loop {
            while self.tx.has_room(48)
                && let Some((len, pieces, vnet)) = self.bed.extract(&mut self.frame)
            {
                self.forward(len, pieces, vnet);
            }
            if self.device.tx_burst(&mut self.tx) == 0 {
                return;
            }
        }
    }

    fn forward(&mut self, len: usize, pieces: u32, vnet: Vnet) {
        let frame = &self.frame[..len];
        self.stats.most_pieces = self.stats.most_pieces.max(pieces);
        if frame[..6] == frame[6..12] {
            self.stats.to_itself += 1;
            return;
        }
        self.stats.from_machine += 1;
        self.stats.longest = self.stats.longest.max(len);
        let segment = match vnet.gso_type {
            GSO_TCPV4 => usize::from(vnet.header_len) + usize::from(vnet.gso_size),
            _ => len,
        };
        self.stats.longest_segment = self.stats.longest_segment.max(segment);
        let mut meta = TxMeta::default();
        if vnet.flags & NEEDS_CHECKSUM != 0 {
            self.stats.partial += 1;
            meta.checksum = TxChecksum::Partial {
                start: vnet.csum_start,
                offset: vnet.csum_offset,
            };
        }
        if vnet.gso_type == GSO_TCPV4 {
            self.stats.segmented += 1;
            meta.gso = Some(Gso {
                kind: GsoKind::TcpV4,
                size: vnet.gso_size,
                header_len: vnet.header_len,
            });
        }
        for part in frame.chunks(1600) {
            let mut piece = self.pool.alloc().expect("the bridge has frames");
            piece.extend_from_slice(part);
            self.tx.push_piece(piece.freeze()).expect("room");
        }
        self.tx.seal(meta);
    }

    fn pump_to_machine(&mut self) {
        loop {
            while self.bed.rx_room() > 0
                && let Some((frame, vnet)) = self.waiting.pop_front()
            {
                self.stats.to_machine += 1;
                self.bed.inject(&frame, vnet);
            }
            if !self.waiting.is_empty() || self.device.rx_burst(&self.pool, &mut self.rx) == 0 {
                return;
            }
            let mut frame = Vec::new();
            for piece in self.rx.drain() {
                frame.extend_from_slice(&piece.frame);
                if !piece.meta.continues {
                    let vnet = Vnet {
                        flags: match piece.meta.checksum {
                            RxChecksum::Partial => NEEDS_CHECKSUM,
                            RxChecksum::Verified => DATA_VALID,
                            RxChecksum::Unknown => 0,
                        },
                        ..Vnet::default()
                    };
                    self.waiting.push_back((std::mem::take(&mut frame), vnet));
                }
            }
        }
    }
}
