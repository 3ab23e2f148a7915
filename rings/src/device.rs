//! The device interface: what a back end can do, and what it says of a frame.

use alloc::boxed::Box;
use core::time::Duration;

use crate::{FramePool, RxBurst, TxBurst};

/// What a device can do. Offloads that are absent are done in software, frame
/// by frame; nothing is decided per build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// The device's own Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet that one frame carries, in bytes (Ethernet header not counted).
    pub mtu: u16,
    /// The device completes TCP and UDP checksums ([`TxChecksum::Partial`]).
    pub tx_checksum: bool,
    /// The device segments TCP over IPv4 ([`GsoKind::TcpV4`]).
    pub tso4: bool,
    /// The device segments TCP over IPv6 ([`GsoKind::TcpV6`]).
    pub tso6: bool,
    /// Largest IP packet that it segments, in bytes; meaningful with `tso4` or `tso6`.
    pub max_gso_bytes: u32,
    /// Most pieces that one transmitted packet may have; at least 2.
    pub max_tx_pieces: u8,
    /// A frame with a VLAN tag carries an IP packet of [`mtu`](Self::mtu) bytes as
    /// well; without this, of four bytes less.
    pub tag_beside_mtu: bool,
    /// The pieces of a transmitted packet may lie anywhere, and are not copied
    /// together first. Without this, packets of several pieces cost a copy.
    pub gathers: bool,
}

impl Caps {
    /// A plain device: `mac`, `mtu`, no offload, packets of up to 18 pieces from
    /// where they lie, no room for a tag beside the MTU.
    #[must_use]
    pub const fn plain(mac: [u8; 6], mtu: u16) -> Self {
        Self {
            mac,
            mtu,
            tx_checksum: false,
            tso4: false,
            tso6: false,
            max_gso_bytes: 65_535,
            max_tx_pieces: 18,
            tag_beside_mtu: false,
            gathers: true,
        }
    }
}

/// What the device knows of a received packet's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Nothing: software verifies it.
    #[default]
    Unknown,
    /// The device verified it.
    Verified,
    /// The packet never crossed a wire and its checksum was left incomplete;
    /// the data is as the sender wrote it.
    Partial,
}

/// What the device says of a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMeta {
    /// State of the transport checksum.
    pub checksum: RxChecksum,
    /// More pieces of the same packet follow in the burst. Headers always lie
    /// in the first piece.
    pub continues: bool,
    /// Segment size when the device coalesced several segments into this
    /// packet; 0 when it did not.
    pub gso_size: u16,
    /// Receive-side-scaling hash, 0 when the device gives none.
    pub hash: u32,
}

/// Who completes the transport checksum of a transmitted packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxChecksum {
    /// It is complete.
    #[default]
    Done,
    /// The device sums from byte `start` of the frame to its end and stores
    /// the result at `start + offset`, where the pseudo-header's sum stands.
    Partial {
        /// First byte summed, from the start of the frame.
        start: u16,
        /// Where the checksum field lies, from `start`.
        offset: u16,
    },
}

/// Which segmentation a device is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

/// A segmentation request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Which kind of packet it is.
    pub kind: GsoKind,
    /// Payload bytes per segment.
    pub size: u16,
    /// Bytes of Ethernet, IP and TCP header together.
    pub header_len: u16,
}

/// What a transmitted packet asks of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxMeta {
    /// Who completes the transport checksum.
    pub checksum: TxChecksum,
    /// Segmentation, for packets above the MTU.
    pub gso: Option<Gso>,
}

/// A poll-mode network device that carries Ethernet frames.
///
/// The unit is the burst. Neither call blocks; [`wait`](Self::wait) is the only
/// place where a loop may sleep.
pub trait NetDevice {
    /// What the device can do. Constant after construction.
    fn caps(&self) -> Caps;

    /// Takes received packets into `out`, in frames of `pool`, until `out` is
    /// full or nothing more has arrived. Returns the number of packets added.
    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize;

    /// Hands packets of `burst` to the device, front first, and removes those
    /// that it accepted. What it cannot take now stays in the burst. Returns
    /// the number of packets accepted. The device holds its own references
    /// until transmission is complete.
    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize;

    /// Sleeps until something may have arrived, transmission space may have
    /// become free, or `timeout` has passed; `None` waits without bound. May
    /// return early.
    fn wait(&mut self, timeout: Option<Duration>);
}

/// Devices of different kinds in one loop.
impl<D: NetDevice + ?Sized> NetDevice for Box<D> {
    fn caps(&self) -> Caps {
        (**self).caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        (**self).rx_burst(pool, out)
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        (**self).tx_burst(burst)
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        (**self).wait(timeout);
    }
}

/// A made-up Ethernet address: locally administered, unicast, derived from
/// `seed` (a random number, or a fixed one where the address must not change).
#[must_use]
pub const fn local_mac(seed: u64) -> [u8; 6] {
    // SplitMix64's finaliser, so that seeds that differ little give addresses
    // that differ much.
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [a, b, c, d, e, f, ..] = (word ^ (word >> 31)).to_le_bytes();
    [(a & !0x01) | 0x02, b, c, d, e, f]
}
