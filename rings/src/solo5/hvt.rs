//! The hvt device: the shared ring where the tender offers one, else a
//! hypercall per frame.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::manifest::NetAttachment;
use super::ring::{RingDevice, RingHost};
use super::{ETHERNET, Hvt, HvtBootInfo, NetReadError, Solo5Stats, join, usable_mtu};
use crate::scarce::is_unwelcome;
use crate::{Caps, FramePool, NetDevice, RX_BURST, RxBurst, RxMeta, TxBurst, TxPacket};

impl RingHost for Hvt {
    fn kick(&mut self) {
        Hvt::kick(*self);
    }

    fn poll(&mut self, timeout: Option<Duration>) -> u64 {
        Hvt::poll(*self, timeout)
    }

    fn write(&mut self, handle: u32, frame: &[u8]) -> bool {
        self.net_write(handle, frame).is_ok()
    }
}

/// A network device of an hvt guest.
#[derive(Debug)]
pub struct HvtDevice(Way);

#[derive(Debug)]
enum Way {
    Ring(Box<RingDevice<'static, Hvt>>),
    Calls(CallDevice),
}

impl HvtDevice {
    /// The device of `attachment`, receiving into frames of `pool`.
    ///
    /// # Safety
    /// `boot` must be the tender's own, and the ring that it names must be
    /// served for as long as the guest runs, by this device alone.
    #[must_use]
    pub unsafe fn new(
        hvt: Hvt,
        boot: &HvtBootInfo,
        attachment: &NetAttachment,
        pool: &FramePool,
    ) -> Self {
        let Some(ring) = boot.ring() else {
            return Self(Way::Calls(CallDevice::new(hvt, attachment, pool)));
        };
        // SAFETY: the caller's promise; all fields of a ring are atomic.
        let ring = unsafe { &*ring };
        let device = RingDevice::new(ring, hvt, attachment, pool, boot.mem_size);
        Self(Way::Ring(Box::new(device)))
    }

    /// Whether frames go over the shared ring.
    #[must_use]
    pub fn has_ring(&self) -> bool {
        matches!(self.0, Way::Ring(_))
    }

    /// Counters since boot.
    #[must_use]
    pub fn stats(&self) -> Solo5Stats {
        match &self.0 {
            Way::Ring(device) => device.stats(),
            Way::Calls(device) => device.stats,
        }
    }
}

impl NetDevice for HvtDevice {
    fn caps(&self) -> Caps {
        match &self.0 {
            Way::Ring(device) => device.caps(),
            Way::Calls(device) => device.caps,
        }
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        match &mut self.0 {
            Way::Ring(device) => device.rx_burst(pool, out),
            Way::Calls(device) => device.rx_burst(pool, out),
        }
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        match &mut self.0 {
            Way::Ring(device) => device.tx_burst(burst),
            Way::Calls(device) => device.tx_burst(burst),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        match &mut self.0 {
            Way::Ring(device) => device.wait(timeout),
            Way::Calls(device) => {
                if timeout != Some(Duration::ZERO) {
                    let _ready = device.hvt.poll(timeout);
                }
            }
        }
    }
}

/// One hypercall per frame.
#[derive(Debug)]
struct CallDevice {
    hvt: Hvt,
    handle: u32,
    caps: Caps,
    joined: Box<[u8]>,
    stats: Solo5Stats,
}

impl CallDevice {
    fn new(hvt: Hvt, attachment: &NetAttachment, pool: &FramePool) -> Self {
        let mtu = usable_mtu(attachment.mtu, pool.frame_size());
        Self {
            hvt,
            handle: attachment.handle,
            caps: super::caps(attachment.mac, mtu),
            joined: vec![0; usize::from(mtu) + ETHERNET].into_boxed_slice(),
            stats: Solo5Stats::default(),
        }
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        // What is dropped counts as well: a flood of it is not to hold up the turn.
        for _ in 0..RX_BURST {
            if !out.has_room(1) {
                break;
            }
            let Some(mut frame) = pool.alloc() else { break };
            let room = frame.spare_mut();
            let capacity = room.len();
            match self.hvt.net_read(self.handle, room) {
                Ok(len) if len == capacity => self.stats.rx_truncated += 1,
                Ok(len) if is_unwelcome(pool, 0, len) => self.stats.rx_scarce += 1,
                Ok(len) => {
                    let _fits = frame.set_len(len);
                    if out.push(frame, RxMeta::default()).is_err() {
                        break;
                    }
                }
                Err(NetReadError::Empty) => break,
                Err(NetReadError::Refused(_)) => {
                    self.stats.rx_errors += 1;
                    break;
                }
            }
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let count = burst.packets();
        for packet in burst.iter() {
            self.send(&packet);
        }
        burst.consume(count);
        count
    }

    fn send(&mut self, packet: &TxPacket<'_>) {
        let len = packet.len();
        // The tender ends the guest when the host refuses a frame.
        if len < ETHERNET || len > self.joined.len() {
            self.stats.tx_invalid += 1;
            return;
        }
        let sent = match packet.pieces {
            [whole] => self.hvt.net_write(self.handle, whole),
            pieces => {
                let frame = join(pieces, &mut self.joined);
                self.stats.tx_joined_bytes += frame.len() as u64;
                self.hvt.net_write(self.handle, frame)
            }
        };
        self.stats.tx_errors += u64::from(sent.is_err());
    }
}
