//! A machine's network device, and the host behind it.

use core::ffi::c_void;
use core::ops::BitOr;
use core::ptr::{self, NonNull};
use std::cell::RefCell;

use pollwire_rings::unikraft::{OpenError, UnikraftDevice};
use pollwire_rings::{FramePool, Instant};

use crate::ffi::{self, RawBed, RawConfig, RawStats, Vnet};

/// Ways of virtio-net 0.17 that a caller has to cope with; `testbed.h` describes
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traps(u32);

impl Traps {
    /// A driver without faults.
    pub const NONE: Self = Self(0);
    /// Lengths of received packets are 10 too high.
    pub const LONG_LENGTH: Self = Self(1);
    /// The receive ring is refilled only when a packet was taken from it.
    pub const STUCK_REFILL: Self = Self(2);
    /// Frames that are too long cost an error and a buffer.
    pub const OVERLONG_ERROR: Self = Self(4);
    /// Completions are looked for in the next transmission only.
    pub const LATE_COMPLETIONS: Self = Self(8);
    /// Descriptors come back spoiled.
    pub const MUTATE: Self = Self(16);
    /// Buffers are used, and transmissions completed, out of order.
    pub const DISORDER: Self = Self(32);
    /// A host that ran out of buffers learns of a new one only if it comes alone.
    pub const EVENT_INDEX: Self = Self(64);
    /// All of them.
    pub const ALL: Self = Self(127);
    /// Each of them.
    pub const EACH: [Self; 7] = [
        Self::LONG_LENGTH,
        Self::STUCK_REFILL,
        Self::OVERLONG_ERROR,
        Self::LATE_COMPLETIONS,
        Self::MUTATE,
        Self::DISORDER,
        Self::EVENT_INDEX,
    ];
}

impl BitOr for Traps {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is attached to the machine.
#[derive(Clone, Copy, Debug)]
pub struct BedConfig {
    /// The driver's faults.
    pub traps: Traps,
    /// Size of the receive ring, a power of two up to 256; each packet takes
    /// two.
    pub rx_descriptors: u16,
    /// Size of the transmit ring, likewise.
    pub tx_descriptors: u16,
    /// MTU that the driver tells.
    pub mtu: u16,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// The host takes incomplete checksums.
    pub checksum: bool,
    /// The host segments TCP over IPv4.
    pub tso4: bool,
}

impl BedConfig {
    /// As QEMU attaches one: rings of 256, all offloads; and all traps.
    pub const QEMU: Self = Self {
        traps: Traps::ALL,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        mac: [2, 0, 0, 0, 0, 1],
        checksum: true,
        tso4: true,
    };
}

/// What the host and the driver counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BedStats {
    /// Frames that came while the receive ring was empty.
    pub rx_no_buffer: u64,
    /// Frames that the host dropped because no buffer is that long.
    pub rx_too_long: u64,
    /// Errors that the driver returned on reception.
    pub rx_errors: u64,
    /// Messages that the driver would have printed as errors.
    pub complaints: u64,
    /// Times that the host, out of buffers, was told of new ones.
    pub rx_notified: u64,
    /// Notifications of the host after transmissions.
    pub tx_notified: u64,
    /// Halts.
    pub halts: u64,
    /// Halts that a packet ended.
    pub woken: u64,
    /// Buffers in the receive ring, full ones included.
    pub rx_posted: u32,
    /// Packets in the transmit ring, completed ones included.
    pub tx_queued: u32,
}

type Hook = Box<dyn FnMut() -> Option<Instant>>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

extern "C" fn run_hook(_argument: *mut c_void) -> u64 {
    HOOK.with_borrow_mut(|hook| {
        let next = hook.as_mut().and_then(|hook| hook());
        next.map_or(u64::MAX, Instant::as_nanos)
    })
}

/// A network device of this thread's machine.
#[derive(Clone, Copy, Debug)]
pub struct Testbed {
    bed: NonNull<RawBed>,
    index: u32,
}

impl Testbed {
    /// A new machine with one device; the last one of this thread is gone, and
    /// the clock stands at 0.
    ///
    /// # Panics
    /// When a ring is larger than 256.
    #[must_use]
    pub fn attach(config: &BedConfig) -> Self {
        HOOK.set(None);
        // SAFETY: this thread's state only; beds are never freed.
        unsafe { ffi::testbed_reset() };
        Self::attach_as(0, config)
    }

    /// Another device of the same machine; there may be four.
    #[must_use]
    pub fn attach_next(&self, config: &BedConfig) -> Self {
        Self::attach_as(self.index + 1, config)
    }

    fn attach_as(index: u32, config: &BedConfig) -> Self {
        let raw = RawConfig {
            traps: config.traps.0,
            rx_descriptors: config.rx_descriptors,
            tx_descriptors: config.tx_descriptors,
            mtu: config.mtu,
            mac: config.mac,
            checksum: config.checksum.into(),
            tso4: config.tso4.into(),
        };
        // SAFETY: this thread's state only; the configuration is copied.
        let bed = unsafe { ffi::testbed_attach(&raw const raw) };
        Self {
            bed: NonNull::new(bed).expect("the heap has room"),
            index,
        }
    }

    /// The device, by way of the shim.
    ///
    /// # Errors
    /// The device's.
    pub fn open(&self, pool: &FramePool) -> Result<UnikraftDevice, OpenError> {
        // SAFETY: this is the shim's table, compiled by the build script.
        unsafe { UnikraftDevice::open(&ffi::pollwire_uk_net, self.index, pool) }
    }

    /// The host receives a frame for the machine; `false` when it drops it.
    pub fn inject(&self, frame: &[u8], vnet: Vnet) -> bool {
        // SAFETY: beds are never freed; the frame is copied.
        let code = unsafe {
            ffi::testbed_inject(
                self.bed.as_ptr(),
                frame.as_ptr().cast(),
                frame.len(),
                &raw const vnet,
            )
        };
        code != 0
    }

    /// Buffers that wait for frames, as far as the host knows.
    #[must_use]
    pub fn rx_room(&self) -> u32 {
        // SAFETY: beds are never freed.
        unsafe { ffi::testbed_rx_room(self.bed.as_ptr()) }
    }

    /// The next frame that the machine transmits, copied to `frame`; its length,
    /// and in how many pieces it came.
    pub fn extract(&self, frame: &mut [u8]) -> Option<(usize, u32, Vnet)> {
        let mut vnet = Vnet::default();
        // SAFETY: beds are never freed; both places are ours to write to.
        let len = unsafe {
            ffi::testbed_extract(
                self.bed.as_ptr(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                &raw mut vnet,
            )
        };
        // SAFETY: as above.
        let pieces = unsafe { ffi::testbed_last_pieces(self.bed.as_ptr()) };
        Some((usize::try_from(len).ok()?, pieces, vnet))
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> BedStats {
        let mut raw = RawStats::default();
        // SAFETY: beds are never freed; the place is ours to write to.
        unsafe { ffi::testbed_stats_get(self.bed.as_ptr(), &raw mut raw) };
        BedStats {
            rx_no_buffer: raw.rx_no_buffer,
            rx_too_long: raw.rx_too_long,
            rx_errors: raw.rx_errors,
            complaints: raw.complaints,
            rx_notified: raw.rx_notified,
            tx_notified: raw.tx_notified,
            halts: raw.halts,
            woken: raw.woken,
            rx_posted: raw.rx_posted,
            tx_queued: raw.tx_queued,
        }
    }

    /// Sets the machine's clock.
    pub fn set_clock(&self, now: Instant) {
        // SAFETY: this thread's state only.
        unsafe { ffi::testbed_clock_set(now.as_nanos()) };
    }

    /// The machine's clock; halts move it.
    #[must_use]
    pub fn clock(&self) -> Instant {
        // SAFETY: this thread's state only.
        Instant::from_nanos(unsafe { ffi::ukplat_monotonic_clock() })
    }

    /// Runs `hook` in each halt, for something to happen meanwhile; it returns
    /// when to run it again, should the halt last until then.
    pub fn on_halt(&self, hook: impl FnMut() -> Option<Instant> + 'static) {
        HOOK.set(Some(Box::new(hook)));
        // SAFETY: the function takes no argument and outlives everything.
        unsafe { ffi::testbed_on_halt(Some(run_hook), ptr::null_mut()) };
    }
}
