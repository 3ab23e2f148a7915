//! A tee that records a device's traffic as pcapng, for Wireshark and tcpdump.
//!
//! [`PcapTee`] wraps any device and changes nothing of what it does. Packets
//! are recorded as they cross the device's boundary: a packet left to the
//! device's offloads shows up whole, its checksum still partial (Wireshark then
//! reports it as wrong; that is the offload, not a fault).
//!
//! ```
//! use pollwire_rings::memory;
//! use pollwire_rings::pcap::{PcapOptions, PcapTee};
//! use pollwire_rings::{Caps, FramePool, NetDevice, TxBurst, TxMeta};
//!
//! let pool = FramePool::on_heap::<64, 2048>();
//! let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
//! let (left, _right) = memory::pair(caps(1), caps(2));
//! let clock = left.wire();
//! let mut left = PcapTee::new(left, Vec::new(), clock, PcapOptions::default());
//!
//! let mut frame = pool.alloc().expect("free");
//! frame.extend_from_slice(&[0; 60]);
//! let mut burst = TxBurst::new();
//! burst.push(frame.freeze(), TxMeta::default()).expect("room");
//! left.tx_burst(&mut burst);
//!
//! let (_device, file) = left.into_parts();
//! assert_eq!(file[..4], 0x0a0d_0d0a_u32.to_le_bytes());
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use crate::{Caps, Clock, FramePool, FrameRef, Instant, NetDevice, RxBurst, TxBurst};

/// Where the file's bytes go, in order. A sink deals with its own errors: a
/// recording that fails must not stop the traffic.
pub trait Sink {
    /// Takes the next bytes of the file.
    fn write(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn write(&mut self, bytes: &[u8]) {
        (**self).write(bytes);
    }
}

/// A sink over anything that std can write to. Stops at the first error and
/// keeps it.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct IoSink<W: std::io::Write> {
    writer: W,
    error: Option<std::io::Error>,
}

#[cfg(feature = "std")]
impl IoSink<std::io::BufWriter<std::fs::File>> {
    /// Creates the file at `path`, or empties it. Writes are buffered until the
    /// sink drops or is flushed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: impl AsRef<std::path::Path>) -> std::io::Result<Self> {
        let file = std::fs::File::create(path)?;
        Ok(Self::new(std::io::BufWriter::new(file)))
    }
}

#[cfg(feature = "std")]
impl<W: std::io::Write> IoSink<W> {
    /// A sink over `writer`. Every packet makes several small writes: buffer.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            error: None,
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first error since the sink was made or flushed.
    pub fn flush(&mut self) -> std::io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.writer.flush(),
        }
    }
}

#[cfg(feature = "std")]
impl<W: std::io::Write> Sink for IoSink<W> {
    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.writer.write_all(bytes).err();
        }
    }
}

/// How to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcapOptions {
    /// Most bytes recorded of a packet; 0 records all.
    pub snap_length: u32,
    /// Time from 1970-01-01 00:00 UTC to the clock's origin. Zero shows the
    /// clock's own time.
    pub origin: Duration,
}

/// A device whose traffic is recorded.
#[derive(Debug)]
pub struct PcapTee<D, S, C> {
    device: D,
    writer: Writer<S>,
    clock: C,
    /// What is handed to the device, until it says how much it took.
    offered: TxBurst,
}

impl<D: NetDevice, S: Sink, C: Clock> PcapTee<D, S, C> {
    /// Records the traffic of `device` into `sink`, with time stamps from
    /// `clock`. The file's head is written at once.
    pub fn new(device: D, sink: S, clock: C, options: PcapOptions) -> Self {
        let mut writer = Writer { sink, options };
        writer.head(device.caps().mac);
        Self {
            device,
            writer,
            clock,
            offered: TxBurst::new(),
        }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to change its settings. Traffic moved by this way is not
    /// recorded.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The sink, to flush it for example.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.writer.sink
    }

    /// Ends the recording.
    pub fn into_parts(self) -> (D, S) {
        (self.device, self.writer.sink)
    }
}

impl<D: NetDevice, S: Sink, C: Clock> NetDevice for PcapTee<D, S, C> {
    fn caps(&self) -> Caps {
        self.device.caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.frames().len();
        let count = self.device.rx_burst(pool, out);
        if count == 0 {
            return 0;
        }
        let now = self.clock.now();
        let new = out.frames().get(before..).unwrap_or_default();
        for packet in new.split_inclusive(|received| !received.meta.continues) {
            let pieces = packet.iter().map(|received| &received.frame[..]);
            self.writer.packet(now, DIRECTION_IN, pieces);
        }
        count
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        // The device takes the pieces away and reports afterwards how many
        // packets that were: second handles keep them readable until then.
        for packet in burst.iter() {
            for piece in packet.pieces {
                // A burst of the same size has room for a burst.
                let _ = self.offered.push_piece(FrameRef::clone(piece));
            }
            self.offered.seal(packet.meta);
        }
        let now = self.clock.now();
        let accepted = self.device.tx_burst(burst);
        for packet in self.offered.iter().take(accepted) {
            let pieces = packet.pieces.iter().map(|piece| &piece[..]);
            self.writer.packet(now, DIRECTION_OUT, pieces);
        }
        self.offered.consume(usize::MAX);
        accepted
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.device.wait(timeout);
    }
}

// The format: PCAP Next Generation, draft-ietf-opsawg-pcapng. Everything is in
// the order of the byte-order magic, here little-endian.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;
const IF_MAC_ADDRESS: u16 = 6;
const IF_TIME_RESOLUTION: u16 = 9;
/// Time stamps in units of 10^-9 s.
const NANOSECONDS: u8 = 9;
const EPB_FLAGS: u16 = 2;
const DIRECTION_IN: u32 = 1;
const DIRECTION_OUT: u32 = 2;

#[derive(Debug)]
struct Writer<S> {
    sink: S,
    options: PcapOptions,
}

impl<S: Sink> Writer<S> {
    fn u16s(&mut self, values: &[u16]) {
        for value in values {
            self.sink.write(&value.to_le_bytes());
        }
    }

    fn u32s(&mut self, values: &[u32]) {
        for value in values {
            self.sink.write(&value.to_le_bytes());
        }
    }

    /// The section header and the description of the one interface.
    fn head(&mut self, mac: [u8; 6]) {
        const SECTION_LEN: u32 = 28;
        self.u32s(&[SECTION_HEADER, SECTION_LEN, BYTE_ORDER_MAGIC]);
        self.u16s(&[1, 0]);
        // The section's length is not known.
        self.u32s(&[u32::MAX, u32::MAX, SECTION_LEN]);

        const INTERFACE_LEN: u32 = 20 + 12 + 8 + 4;
        self.u32s(&[INTERFACE_DESCRIPTION, INTERFACE_LEN]);
        self.u16s(&[LINKTYPE_ETHERNET, 0]);
        self.u32s(&[self.options.snap_length]);
        self.u16s(&[IF_MAC_ADDRESS, 6]);
        self.sink.write(&mac);
        self.u16s(&[0]);
        self.u16s(&[IF_TIME_RESOLUTION, 1]);
        self.sink.write(&[NANOSECONDS, 0, 0, 0]);
        self.u16s(&[0, 0]);
        self.u32s(&[INTERFACE_LEN]);
    }

    fn packet<'a>(
        &mut self,
        now: Instant,
        direction: u32,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        // An Ethernet frame, even a segmented one, is far below 4 GiB.
        let original = pieces.clone().map(<[u8]>::len).sum::<usize>();
        let original = u32::try_from(original).unwrap_or(u32::MAX);
        let captured = match self.options.snap_length {
            0 => original,
            snap => original.min(snap),
        };
        let padding = captured.wrapping_neg() % 4;
        let length = 32 + captured + padding + 12;
        let nanos = (now + self.options.origin).as_nanos();
        let (high, low) = ((nanos >> 32) as u32, nanos as u32);
        self.u32s(&[ENHANCED_PACKET, length, 0, high, low, captured, original]);
        let mut left = captured as usize;
        for piece in pieces {
            let part = piece.get(..left).unwrap_or(piece);
            self.sink.write(part);
            left -= part.len();
        }
        self.sink
            .write([0; 3].get(..padding as usize).unwrap_or_default());
        self.u16s(&[EPB_FLAGS, 4]);
        self.u32s(&[direction]);
        self.u16s(&[0, 0]);
        self.u32s(&[length]);
    }
}
