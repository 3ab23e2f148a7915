//! `testbed.h`, and the shim's table.

use core::ffi::{c_int, c_long, c_void};

use pollwire_rings::unikraft::Shim;

#[repr(C)]
pub(crate) struct RawBed {
    opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawConfig {
    pub(crate) traps: u32,
    pub(crate) rx_descriptors: u16,
    pub(crate) tx_descriptors: u16,
    pub(crate) mtu: u16,
    pub(crate) mac: [u8; 6],
    pub(crate) checksum: u8,
    pub(crate) tso4: u8,
}

/// The header in front of each packet, as the host sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnet {
    /// 1: needs a checksum; 2: its data is valid.
    pub flags: u8,
    /// 1: TCP over IPv4.
    pub gso_type: u8,
    /// Bytes of headers.
    pub header_len: u16,
    /// Payload bytes per segment.
    pub gso_size: u16,
    /// First byte summed.
    pub csum_start: u16,
    /// Where the checksum lies, from there.
    pub csum_offset: u16,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawStats {
    pub(crate) rx_no_buffer: u64,
    pub(crate) rx_too_long: u64,
    pub(crate) rx_errors: u64,
    pub(crate) complaints: u64,
    pub(crate) rx_notified: u64,
    pub(crate) tx_notified: u64,
    pub(crate) halts: u64,
    pub(crate) woken: u64,
    pub(crate) rx_posted: u32,
    pub(crate) tx_queued: u32,
}

unsafe extern "C" {
    pub(crate) static pollwire_uk_net: Shim;
    pub(crate) fn testbed_attach(config: *const RawConfig) -> *mut RawBed;
    pub(crate) fn testbed_reset();
    pub(crate) fn testbed_inject(
        bed: *mut RawBed,
        frame: *const c_void,
        len: usize,
        vnet: *const Vnet,
    ) -> c_int;
    pub(crate) fn testbed_rx_room(bed: *mut RawBed) -> u32;
    pub(crate) fn testbed_extract(
        bed: *mut RawBed,
        frame: *mut c_void,
        room: usize,
        vnet: *mut Vnet,
    ) -> c_long;
    pub(crate) fn testbed_last_pieces(bed: *const RawBed) -> u32;
    pub(crate) fn testbed_stats_get(bed: *const RawBed, stats: *mut RawStats);
    pub(crate) fn testbed_clock_set(now: u64);
    pub(crate) fn testbed_on_halt(
        hook: Option<extern "C" fn(*mut c_void) -> u64>,
        argument: *mut c_void,
    );
    pub(crate) fn ukplat_monotonic_clock() -> u64;
}
