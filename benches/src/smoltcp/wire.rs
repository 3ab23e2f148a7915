//! The wire between two smoltcp hosts: queues of frames whose memory is reused.

use std::collections::VecDeque;

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::Offloads;

/// Ethernet header and an IP packet of 1500 bytes.
const FRAME: usize = 1514;
/// The longest frame that asks for segmentation.
const GSO_FRAME: usize = 65_535;
/// Frames that the wire holds in one direction, as pollwire's does.
const LIMIT: usize = 1024;

struct Frame {
    bytes: Box<[u8]>,
    len: usize,
}

/// Frames on their way and frames for reuse. All memory is taken at the start.
struct Lane {
    queued: VecDeque<Frame>,
    spare: Vec<Frame>,
}

impl Lane {
    fn new(size: usize) -> Self {
        let frame = || Frame {
            bytes: vec![0; size].into_boxed_slice(),
            len: 0,
        };
        Self {
            queued: VecDeque::with_capacity(LIMIT),
            spare: std::iter::repeat_with(frame).take(LIMIT).collect(),
        }
    }
}

/// One end of the wire: smoltcp's device.
pub(super) struct WireEnd {
    incoming: Lane,
    outgoing: Lane,
    offloads: Offloads,
}

impl WireEnd {
    pub(super) fn new(offloads: Offloads) -> Self {
        let size = match offloads {
            Offloads::None | Offloads::Checksum => FRAME,
            Offloads::Segmentation => GSO_FRAME,
        };
        Self {
            incoming: Lane::new(size),
            outgoing: Lane::new(size),
            offloads,
        }
    }
}

/// Carries what `from` sent to `to`: one copy per frame.
pub(super) fn carry(from: &mut WireEnd, to: &mut WireEnd) {
    while let Some(sent) = from.outgoing.queued.pop_front() {
        if let Some(mut arrived) = to.incoming.spare.pop() {
            arrived.len = sent.len;
            arrived.bytes[..sent.len].copy_from_slice(&sent.bytes[..sent.len]);
            to.incoming.queued.push_back(arrived);
        }
        from.outgoing.spare.push(sent);
    }
}

pub(super) struct Rx<'a> {
    frame: Frame,
    spare: &'a mut Vec<Frame>,
}

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.frame.bytes[..self.frame.len]);
        self.spare.push(self.frame);
        result
    }
}

pub(super) struct Tx<'a> {
    lane: &'a mut Lane,
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self
            .lane
            .spare
            .pop()
            .expect("a token stands for a spare frame");
        frame.len = len;
        let result = f(&mut frame.bytes[..len]);
        self.lane.queued.push_back(frame);
        result
    }
}

impl Device for WireEnd {
    type RxToken<'a> = Rx<'a>;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        if self.outgoing.spare.is_empty() {
            return None;
        }
        let frame = self.incoming.queued.pop_front()?;
        let rx = Rx {
            frame,
            spare: &mut self.incoming.spare,
        };
        Some((
            rx,
            Tx {
                lane: &mut self.outgoing,
            },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        (!self.outgoing.spare.is_empty()).then_some(Tx {
            lane: &mut self.outgoing,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = FRAME;
        if self.offloads != Offloads::None {
            caps.checksum = ChecksumCapabilities::ignored();
        }
        if self.offloads == Offloads::Segmentation {
            offer_segmentation(&mut caps);
        }
        caps
    }
}

#[cfg(feature = "smoltcp-segmentation")]
fn offer_segmentation(caps: &mut DeviceCapabilities) {
    caps.segmentation.tcpv4 = core::num::NonZeroUsize::new(GSO_FRAME);
}

#[cfg(not(feature = "smoltcp-segmentation"))]
fn offer_segmentation(_: &mut DeviceCapabilities) {
    panic!("smoltcp with segmentation needs the feature smoltcp-segmentation");
}
