//! The network devices that a tender can attach.

use core::time::Duration;

use pollwire_rings::solo5::{HvtDevice, Solo5Stats, SptDevice};
use pollwire_rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst};

/// A network device of either tender.
#[derive(Debug)]
pub enum GuestDevice {
    /// Under hvt.
    Hvt(HvtDevice),
    /// Under spt.
    Spt(SptDevice),
}

impl GuestDevice {
    /// How packets get out of the guest, in a word or two.
    #[must_use]
    pub fn way(&self) -> &'static str {
        match self {
            Self::Hvt(device) if device.has_ring() => "ring",
            Self::Hvt(_) => "hypercalls",
            Self::Spt(_) => "system calls",
        }
    }

    /// Frames that the host keeps when the device is dropped: none. (On Unikraft
    /// there are some.)
    #[must_use]
    pub fn kept_frames(&self) -> usize {
        0
    }

    /// What happened on it since boot.
    #[must_use]
    pub fn stats(&self) -> Solo5Stats {
        match self {
            Self::Hvt(device) => device.stats(),
            Self::Spt(device) => device.stats(),
        }
    }
}

impl NetDevice for GuestDevice {
    fn caps(&self) -> Caps {
        match self {
            Self::Hvt(device) => device.caps(),
            Self::Spt(device) => device.caps(),
        }
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        match self {
            Self::Hvt(device) => device.rx_burst(pool, out),
            Self::Spt(device) => device.rx_burst(pool, out),
        }
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        match self {
            Self::Hvt(device) => device.tx_burst(burst),
            Self::Spt(device) => device.tx_burst(burst),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        match self {
            Self::Hvt(device) => device.wait(timeout),
            Self::Spt(device) => device.wait(timeout),
        }
    }
}
