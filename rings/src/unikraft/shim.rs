//! The shim's table, as `pollwire_uk.h` lays it out.

use core::ffi::{c_int, c_uint, c_void};

/// The interface's version, `POLLWIRE_UK_NET_VERSION`.
pub const VERSION: u32 = 1;
/// Most pieces of one transmitted packet on any device.
pub const TX_MOST_PIECES: usize = 16;

/// The packet's checksum was verified, or never left the host.
pub const RX_VALID: u32 = 1;
/// The packet's checksum is incomplete: it never left the host.
pub const RX_PARTIAL: u32 = 2;
/// More pieces of the same packet follow.
pub const RX_CONTINUES: u32 = 4;

/// Sum from `csum_start` on, and add the result at `csum_start + csum_offset`.
pub const TX_PARTIAL: u32 = 1;
/// Segment TCP over IPv4.
pub const TX_TSO4: u32 = 2;

/// A device of the shim. Opaque.
#[repr(C)]
#[derive(Debug)]
pub struct ShimDevice {
    opaque: [u8; 0],
}

/// What a device is and can do: `struct pollwire_uk_caps`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RawCaps {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet of one frame, bytes.
    pub mtu: u16,
    /// Whether it completes checksums.
    pub tx_checksum: u8,
    /// Whether it segments TCP over IPv4.
    pub tso4: u8,
    /// Most pieces of one transmitted packet.
    pub tx_pieces: u16,
    /// Bytes that it writes in front of received data.
    pub rx_headroom: u16,
    /// Most buffers that it takes for reception.
    pub rx_slots: u16,
    /// Most pieces that it holds for transmission.
    pub tx_slots: u16,
}

/// A buffer to receive into: `struct pollwire_uk_buffer`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RxBuffer {
    /// Where data is to begin.
    pub data: *mut c_void,
    /// Bytes from there on.
    pub len: u32,
    /// Names the buffer when it comes back.
    pub cookie: u32,
}

/// A received piece: `struct pollwire_uk_received`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RxReceived {
    /// Which buffer it is.
    pub cookie: u32,
    /// Bytes received.
    pub len: u32,
    /// `RX_*`.
    pub flags: u32,
}

/// A piece to transmit: `struct pollwire_uk_piece`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TxPiece {
    /// First byte.
    pub data: *const c_void,
    /// Bytes from there on; not 0.
    pub len: u32,
    /// Names the piece when it is done.
    pub cookie: u32,
}

/// What is asked of the device for a packet: `struct pollwire_uk_request`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxRequest {
    /// `TX_*`.
    pub flags: u32,
    /// First byte summed, from the packet's start.
    pub csum_start: u16,
    /// Where the checksum lies, from `csum_start`.
    pub csum_offset: u16,
    /// Bytes of headers in front of each segment.
    pub header_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
}

/// What happened to a device: `struct pollwire_uk_stats`, which describes each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "described in the C header")]
pub struct RawStats {
    pub rx_posted: u32,
    pub rx_spare: u32,
    pub tx_held: u32,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub rx_starved: u64,
    pub tx_errors: u64,
    pub tx_reapers: u64,
    pub halts: u64,
}

/// The shim's functions: `struct pollwire_uk_net`, which says what each does.
///
/// The shim is C that is linked with the program:
///
/// ```ignore
/// unsafe extern "C" {
///     static pollwire_uk_net: pollwire_rings::unikraft::Shim;
/// }
/// ```
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "described in the C header")]
pub struct Shim {
    pub version: u32,
    pub open:
        unsafe extern "C" fn(index: c_uint, dev: *mut *mut ShimDevice, caps: *mut RawCaps) -> c_int,
    pub start: unsafe extern "C" fn(dev: *mut ShimDevice) -> c_int,
    pub rx_give: unsafe extern "C" fn(
        dev: *mut ShimDevice,
        buffers: *const RxBuffer,
        count: c_uint,
    ) -> c_uint,
    pub rx_take: unsafe extern "C" fn(
        dev: *mut ShimDevice,
        received: *mut RxReceived,
        most: c_uint,
    ) -> c_uint,
    pub tx: unsafe extern "C" fn(
        dev: *mut ShimDevice,
        request: *const TxRequest,
        pieces: *const TxPiece,
        count: c_uint,
    ) -> c_int,
    pub tx_done:
        unsafe extern "C" fn(dev: *mut ShimDevice, cookies: *mut u32, most: c_uint) -> c_uint,
    pub tx_reap: unsafe extern "C" fn(dev: *mut ShimDevice, interval: u64) -> c_int,
    pub wait: unsafe extern "C" fn(dev: *mut ShimDevice, timeout: u64),
    pub stats: unsafe extern "C" fn(dev: *const ShimDevice, stats: *mut RawStats),
}
