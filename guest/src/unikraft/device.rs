//! The network devices of the machine.

use core::time::Duration;

use pollwire_rings::unikraft::{OpenError, Shim, UnikraftDevice, UnikraftStats};
use pollwire_rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst};

use crate::DeviceError;

unsafe extern "C" {
    /// The network half of the shim: `netdev.c`.
    static pollwire_uk_net: Shim;
}

/// A network device of uknetdev.
#[derive(Debug)]
pub struct GuestDevice(UnikraftDevice);

impl GuestDevice {
    pub(super) fn open(index: u32, pool: &FramePool) -> Result<Self, DeviceError> {
        // SAFETY: the shim's own table, which is constant; a guest has one
        // thread.
        let device = unsafe { UnikraftDevice::open(&pollwire_uk_net, index, pool) };
        device.map(Self).map_err(|error| match error {
            OpenError::NotAttached => DeviceError::NotAttached,
            error => DeviceError::Unikraft(error),
        })
    }

    /// How packets get out of the guest, in a word or two.
    #[must_use]
    pub fn way(&self) -> &'static str {
        "uknetdev"
    }

    /// Frames that the host keeps when the device is dropped: those that are lent
    /// for reception, for its driver cannot be stopped.
    #[must_use]
    pub fn kept_frames(&self) -> usize {
        self.stats().rx_lent
    }

    /// What happened on it since boot.
    #[must_use]
    pub fn stats(&self) -> UnikraftStats {
        self.0.stats()
    }
}

impl NetDevice for GuestDevice {
    fn caps(&self) -> Caps {
        self.0.caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        self.0.rx_burst(pool, out)
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        self.0.tx_burst(burst)
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.0.wait(timeout);
    }
}
