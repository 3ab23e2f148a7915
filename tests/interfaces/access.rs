//! A switch's access port between a device and the stack: what leaves by it
//! loses its tag, what comes in gets one.

use std::time::Duration;

use pollwire::rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst, TxMeta};

/// A device at an access port of a VLAN; the stack is at a trunk.
pub(crate) struct AccessPort<D> {
    device: D,
    tag: [u8; 4],
    /// For frames without their tags.
    pool: FramePool,
    landed: RxBurst,
    waiting: TxBurst,
}

impl<D: NetDevice> AccessPort<D> {
    pub(crate) fn new(device: D, vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        Self {
            device,
            tag: [0x81, 0, high, low],
            pool: FramePool::on_heap::<256, 2048>(),
            landed: RxBurst::new(),
            waiting: TxBurst::new(),
        }
    }
}

impl<D: NetDevice> NetDevice for AccessPort<D> {
    fn caps(&self) -> Caps {
        let caps = self.device.caps();
        assert!(!caps.tx_checksum, "checksums would be off by the tag");
        caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        self.device.rx_burst(pool, &mut self.landed);
        for piece in self.landed.drain() {
            let mut frame = piece.frame;
            let addresses = *frame.first_chunk::<12>().expect("a header");
            let room = frame.push_front(4).expect("headroom");
            room.copy_from_slice(&[0; 4]);
            frame[..12].copy_from_slice(&addresses);
            frame[12..16].copy_from_slice(&self.tag);
            out.push(frame, piece.meta).expect("as much room");
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut taken = 0;
        for packet in burst.iter() {
            let bytes: Vec<u8> = packet
                .pieces
                .iter()
                .flat_map(|piece| piece.to_vec())
                .collect();
            assert_eq!(bytes[12..16], self.tag, "a frame without its tag");
            let Some(mut frame) = self.pool.alloc().filter(|_| self.waiting.has_room(1)) else {
                break;
            };
            frame.extend_from_slice(&bytes[..12]);
            frame.extend_from_slice(&bytes[16..]);
            let pushed = self.waiting.push(frame.freeze(), TxMeta::default());
            pushed.expect("room");
            taken += 1;
        }
        burst.consume(taken);
        self.device.tx_burst(&mut self.waiting);
        taken
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.device.wait(timeout);
    }
}
