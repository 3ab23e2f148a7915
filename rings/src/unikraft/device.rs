//! The device: frames lent to the shim, and taken back.

use core::ffi::c_uint;
use core::fmt;
use core::ptr::{self, NonNull};
use core::time::Duration;

use arrayvec::ArrayVec;

use super::lent::Lent;
use super::report::{OpenError, UnikraftStats};
use super::shim::{
    RX_CONTINUES, RX_PARTIAL, RX_VALID, RawCaps, RawStats, RxBuffer, RxReceived, Shim, ShimDevice,
    TX_MOST_PIECES, TX_PARTIAL, TX_TSO4, TxPiece, TxRequest, VERSION,
};
use crate::scarce::{is_short, is_unwelcome};
use crate::{
    Caps, FrameBuf, FramePool, FrameRef, GsoKind, HEADROOM, NetDevice, RX_BURST, RxBurst,
    RxChecksum, RxMeta, TxBurst, TxChecksum, TxPacket,
};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// How often an empty pool makes the driver look for what is transmitted.
const SCARCE: Duration = Duration::from_millis(1);

/// A network device of a Unikraft machine.
///
/// The driver cannot be made to give its buffers back, so a device lasts as long
/// as the machine: when one is dropped, the frames that it has lent are never
/// used again.
pub struct UnikraftDevice {
    shim: &'static Shim,
    dev: NonNull<ShimDevice>,
    caps: Caps,
    /// Bytes offered for a received frame.
    rx_len: u32,
    /// Frames to lend for reception, at most.
    rx_most: usize,
    rx_lent: Lent<FrameBuf>,
    tx_held: Lent<FrameRef>,
    /// The last packet found no room.
    full: bool,
    /// Without what the shim counts.
    stats: UnikraftStats,
}

impl UnikraftDevice {
    /// Opens and starts device `index`, counted from 0, to receive into frames
    /// of `pool`; [`rx_burst`](NetDevice::rx_burst) is to be given the same one.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Safety
    /// `shim` is the table of `unikraft/lib-pollwire/shim/netdev.c`, and all
    /// devices over it stay with one thread.
    pub unsafe fn open(
        shim: &'static Shim,
        index: u32,
        pool: &FramePool,
    ) -> Result<Self, OpenError> {
        if shim.version != VERSION {
            return Err(OpenError::Version(shim.version));
        }
        let (mut dev, mut raw) = (ptr::null_mut(), RawCaps::default());
        // SAFETY: the table is the shim's; both places are ours to write to.
        let code = unsafe { (shim.open)(index, &raw mut dev, &raw mut raw) };
        let dev = match NonNull::new(dev) {
            Some(dev) if code >= 0 => dev,
            _ => return Err(OpenError::of(code)),
        };
        // Not a byte more than a frame of the MTU: a longer one then does not
        // fit, and the host drops it. If it did fit, the driver would fail and
        // lose the buffer.
        let rx_len = usize::from(raw.mtu) + ETHERNET;
        let rx_most = usize::from(raw.rx_slots).min(pool.capacity() / 4);
        if rx_len > pool.frame_size().saturating_sub(HEADROOM)
            || usize::from(raw.rx_headroom) > HEADROOM
            || rx_most < 2
            || usize::from(raw.tx_pieces) > TX_MOST_PIECES
        {
            return Err(OpenError::Pool);
        }
        let mut device = Self {
            shim,
            dev,
            caps: caps_of(&raw),
            rx_len: u32::from(raw.mtu) + ETHERNET as u32,
            rx_most,
            rx_lent: Lent::new(raw.rx_slots),
            tx_held: Lent::new(raw.tx_slots),
            full: false,
            stats: UnikraftStats::default(),
        };
        device.refill(pool);
        // SAFETY: the device is open.
        match unsafe { (shim.start)(dev.as_ptr()) } {
            0.. => Ok(device),
            code => Err(OpenError::of(code)),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> UnikraftStats {
        let mut raw = RawStats::default();
        // SAFETY: the device is open; the place is ours to write to.
        unsafe { (self.shim.stats)(self.dev.as_ptr(), &raw mut raw) };
        UnikraftStats {
            rx_invalid: self.stats.rx_invalid + raw.rx_dropped,
            rx_lost: raw.rx_errors,
            rx_starved: raw.rx_starved,
            rx_lent: self.rx_lent.count(),
            rx_posted: raw.rx_posted as usize,
            tx_held: self.tx_held.count(),
            tx_errors: raw.tx_errors,
            tx_reapers: raw.tx_reapers,
            halts: raw.halts,
            ..self.stats
        }
    }

    /// Lends frames for reception until the driver has enough, or the pool is
    /// short.
    fn refill(&mut self, pool: &FramePool) {
        let mut buffers = ArrayVec::<RxBuffer, RX_BURST>::new();
        let fewest = |pool: &_| if is_short(pool, 0) { 2 } else { usize::MAX };
        while self.rx_lent.count() < self.rx_most.min(fewest(pool))
            && let Some(buffer) = pool.alloc().and_then(|frame| self.lend(frame))
        {
            buffers.push(buffer);
            if buffers.is_full() {
                self.give(&buffers);
                buffers.clear();
            }
        }
        self.give(&buffers);
        if pool.available() == 0 {
            self.reap(SCARCE);
        }
    }

    fn lend(&mut self, mut frame: FrameBuf) -> Option<RxBuffer> {
        frame.reset(HEADROOM);
        let data = frame.spare_mut().as_mut_ptr().cast();
        let cookie = self.rx_lent.lend(frame)?;
        Some(RxBuffer {
            data,
            len: self.rx_len,
            cookie,
        })
    }

    fn give(&mut self, buffers: &[RxBuffer]) {
        #[expect(clippy::cast_possible_truncation, reason = "at most RX_BURST")]
        let count = buffers.len() as c_uint;
        // SAFETY: the device is open. Each buffer lies in a frame that
        // `rx_lent` keeps, and which nobody else can reach, until the shim
        // names its cookie; `open` saw that `rx_len` bytes and the driver's
        // headroom fit.
        let taken = unsafe { (self.shim.rx_give)(self.dev.as_ptr(), buffers.as_ptr(), count) };
        for refused in buffers.iter().skip(taken as usize) {
            drop(self.rx_lent.take(refused.cookie));
        }
    }

    /// While the pool is short, data is dropped rather than kept once the shim's
    /// spare buffers go: they are for what frees frames, acknowledgements, and
    /// data is sent again.
    fn is_unwelcome(&self, len: usize, pool: &FramePool) -> bool {
        let few = self.rx_most - (self.rx_most / 4).min(16);
        is_unwelcome(pool, 0, len) && self.rx_lent.count() < few
    }

    fn deliver(&mut self, received: RxReceived, pool: &FramePool, out: &mut RxBurst) {
        let Some(mut frame) = self.rx_lent.take(received.cookie) else {
            return;
        };
        let len = received.len.min(self.rx_len) as usize;
        if self.is_unwelcome(len, pool) {
            self.stats.rx_scarce += 1;
            if let Some(buffer) = self.lend(frame) {
                self.give(&[buffer]);
            }
            return;
        }
        frame.set_len(len);
        let meta = RxMeta {
            checksum: checksum_of(received.flags),
            continues: received.flags & RX_CONTINUES != 0,
            ..RxMeta::default()
        };
        if !meta.continues {
            trim(&mut frame);
        }
        if len < ETHERNET || out.push(frame, meta).is_err() {
            self.stats.rx_invalid += 1;
            return;
        }
        self.stats.rx_packets += u64::from(!meta.continues);
        self.stats.rx_partial += u64::from(meta.checksum == RxChecksum::Partial);
    }

    /// Lets go of what is transmitted.
    fn collect(&mut self) {
        let mut cookies = [0; 64];
        loop {
            // SAFETY: the device is open; there is room for as many cookies.
            let count = unsafe {
                (self.shim.tx_done)(
                    self.dev.as_ptr(),
                    cookies.as_mut_ptr(),
                    cookies.len() as c_uint,
                )
            } as usize;
            for &cookie in cookies.iter().take(count) {
                drop(self.tx_held.take(cookie));
            }
            if count < cookies.len() {
                return;
            }
        }
    }

    /// Has the driver look for what is transmitted, at most once per
    /// `interval`.
    fn reap(&mut self, interval: Duration) {
        // SAFETY: the device is open.
        unsafe { (self.shim.tx_reap)(self.dev.as_ptr(), nanos(interval)) };
        self.collect();
    }

    /// Waits until everything is transmitted, a tenth of a second at most: what a
    /// host has not yet looked at ends with the virtual machine, a connection's
    /// last acknowledgement for one.
    fn flush(&mut self) {
        const STEP: u64 = 1_000_000;
        let mut steps = 0;
        // Not each of them takes a step's time.
        for _ in 0..10_000 {
            if self.tx_held.count() == 0 || steps == 100 {
                return;
            }
            self.discard();
            // SAFETY: the device is open.
            steps += unsafe { (self.shim.tx_reap)(self.dev.as_ptr(), STEP) };
            // SAFETY: the device is open.
            unsafe { (self.shim.wait)(self.dev.as_ptr(), STEP) };
            self.collect();
        }
    }

    /// Takes what is received, which would keep from sleeping, for nobody.
    fn discard(&mut self) {
        let mut received = [RxReceived::default(); RX_BURST];
        #[expect(clippy::cast_possible_truncation, reason = "at most RX_BURST")]
        let most = received.len() as c_uint;
        // SAFETY: the device is open; there is room for as many.
        let count = unsafe { (self.shim.rx_take)(self.dev.as_ptr(), received.as_mut_ptr(), most) };
        for piece in received.iter().take(count as usize) {
            let frame = self.rx_lent.take(piece.cookie);
            if let Some(buffer) = frame.and_then(|frame| self.lend(frame)) {
                self.give(&[buffer]);
            }
        }
    }

    /// Hands one packet over; `false` when there is no room now. A packet that
    /// the device cannot carry is dropped.
    fn send(&mut self, packet: &TxPacket<'_>) -> bool {
        let Some(request) = self.request(packet) else {
            self.stats.tx_invalid += 1;
            return true;
        };
        let mut pieces = ArrayVec::<TxPiece, TX_MOST_PIECES>::new();
        for piece in packet.pieces.iter().filter(|piece| !piece.is_empty()) {
            let Some(cookie) = self.tx_held.lend(piece.clone()) else {
                self.take_back(&pieces);
                // Pieces that adjoin share a place in the ring, so it can hold
                // more than there are numbers for.
                self.reap(Duration::ZERO);
                return false;
            };
            #[expect(clippy::cast_possible_truncation, reason = "at most the slot size")]
            pieces.push(TxPiece {
                data: piece.as_ptr().cast(),
                len: piece.len() as u32,
                cookie,
            });
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let count = pieces.len() as c_uint;
        // SAFETY: the device is open. Each piece lies in a frame that `tx_held`
        // keeps until the shim names its cookie; while it is shared nobody
        // writes to it, and a handle that finds itself the only one again finds
        // that the shim has let go.
        let code = unsafe {
            (self.shim.tx)(
                self.dev.as_ptr(),
                &raw const request,
                pieces.as_ptr(),
                count,
            )
        };
        if code > 0 {
            self.stats.tx_packets += 1;
            self.stats.tx_partial += u64::from(request.flags & TX_PARTIAL != 0);
            self.stats.tx_segmented += u64::from(request.flags & TX_TSO4 != 0);
            return true;
        }
        self.take_back(&pieces);
        code < 0
    }

    fn take_back(&mut self, pieces: &[TxPiece]) {
        for piece in pieces {
            drop(self.tx_held.take(piece.cookie));
        }
    }

    /// What is asked for `packet`; `None` when the device cannot carry it.
    fn request(&self, packet: &TxPacket<'_>) -> Option<TxRequest> {
        let mut request = TxRequest::default();
        if let TxChecksum::Partial { start, offset } = packet.meta.checksum {
            if !self.caps.tx_checksum {
                return None;
            }
            request.flags |= TX_PARTIAL;
            (request.csum_start, request.csum_offset) = (start, offset);
        }
        let len = packet.len();
        let pieces = packet.pieces.iter().filter(|piece| !piece.is_empty());
        if len < ETHERNET || pieces.count() > usize::from(self.caps.max_tx_pieces) {
            return None;
        }
        if let Some(gso) = packet.meta.gso
            && len > usize::from(gso.header_len) + usize::from(gso.size)
        {
            if gso.kind != GsoKind::TcpV4 || !self.caps.tso4 || len > 65_535 + ETHERNET {
                return None;
            }
            request.flags |= TX_TSO4;
            (request.header_len, request.gso_size) = (gso.header_len, gso.size);
            return Some(request);
        }
        // The driver would refuse it too, and say so on the console.
        (len <= self.rx_len as usize).then_some(request)
    }
}

impl NetDevice for UnikraftDevice {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        self.collect();
        self.refill(pool);
        let mut received = [RxReceived::default(); RX_BURST];
        let most = received.len().min(RX_BURST - before.min(RX_BURST));
        if most == 0 || !out.has_room(most) {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most RX_BURST")]
        // SAFETY: the device is open; there is room for as many.
        let count = unsafe {
            (self.shim.rx_take)(self.dev.as_ptr(), received.as_mut_ptr(), most as c_uint)
        } as usize;
        for &piece in received.iter().take(count) {
            self.deliver(piece, pool, out);
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut accepted = 0;
        self.full = false;
        for packet in burst.iter() {
            if !self.send(&packet) {
                self.full = true;
                break;
            }
            accepted += 1;
        }
        burst.consume(accepted);
        self.collect();
        accepted
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        if self.full {
            // The host is about to make room, and no interrupt will tell.
            return;
        }
        // SAFETY: the device is open.
        unsafe { (self.shim.wait)(self.dev.as_ptr(), timeout.map_or(u64::MAX, nanos)) };
        self.collect();
    }
}

impl Drop for UnikraftDevice {
    fn drop(&mut self) {
        self.flush();
        // The host may still write to the one and read the other.
        self.rx_lent.abandon();
        self.tx_held.abandon();
    }
}

impl fmt::Debug for UnikraftDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnikraftDevice")
            .field("caps", &self.caps)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn caps_of(raw: &RawCaps) -> Caps {
    let mut caps = Caps::plain(raw.mac, raw.mtu);
    caps.tx_checksum = raw.tx_checksum != 0;
    caps.tso4 = raw.tso4 != 0;
    // The driver tells the host physical addresses: a piece may not cross pages
    // that lie apart, as the pool's frames do not.
    caps.gathers = false;
    caps.max_tx_pieces = u8::try_from(raw.tx_pieces).unwrap_or(u8::MAX);
    caps
}

fn checksum_of(flags: u32) -> RxChecksum {
    if flags & RX_PARTIAL != 0 {
        RxChecksum::Partial
    } else if flags & RX_VALID != 0 {
        RxChecksum::Verified
    } else {
        RxChecksum::Unknown
    }
}

/// Cuts `frame` to what its IP header says: virtio-net of Unikraft 0.17 takes
/// its own header for part of the packet's length, and what is behind the packet
/// then is what the frame held before.
fn trim(frame: &mut FrameBuf) {
    let half = |at: usize| {
        let bytes = frame.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    let len = match half(12) {
        Some(0x0800) => half(16).filter(|&len| len >= 20),
        // A payload length of 0 is a jumbogram's, or no payload.
        Some(0x86dd) => half(18).filter(|&len| len > 0).map(|len| len + 40),
        _ => None,
    };
    if let Some(len) = len {
        frame.truncate(ETHERNET + len);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
