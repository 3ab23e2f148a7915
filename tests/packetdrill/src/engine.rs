//! The stack under test, its clock and its link: everything but the sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use pollwire::rings::{Caps, RxBurst, RxMeta, TxBurst};
use pollwire::{Config, Instant, Ipv4Cidr, Stack};

use crate::link::{self, Outgoing};
use crate::settings::Settings;
use crate::socket::Socket;

/// Frames and flows of the stack under test.
const FRAMES: usize = 4096;
const FLOWS: usize = 256;
const FRAME_SIZE: usize = 2048;
/// The address of a connecting socket that nobody bound.
const DEFAULT_LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
/// When time begins: not at zero, where deadlines could look unset.
pub(crate) const EPOCH: Instant = Instant::from_secs(1000);

/// An IP packet that left the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it left.
    pub at: Instant,
    /// The packet, from its IP header on.
    pub bytes: Vec<u8>,
}

/// A stack with sockets as Linux names them, none of which ever waits.
///
/// The caller is its clock: [`advance`](Self::advance) moves it, nothing else.
pub struct Engine {
    settings: Settings,
    now: Instant,
    /// Made when its address is known.
    stack: Option<Stack>,
    pub(crate) sockets: BTreeMap<i32, Socket>,
    sent: VecDeque<Sent>,
    rx: RxBurst,
    tx: TxBurst,
}

impl Engine {
    /// A stack that is yet to boot.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: EPOCH,
            stack: None,
            sockets: BTreeMap::new(),
            sent: VecDeque::new(),
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    /// What the stack was told at the start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Moves time on to `now`, with every timer firing when it is due.
    pub fn advance(&mut self, now: Instant) {
        while let Some(at) = self.deadline().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            let now = self.now;
            if let Some(stack) = &mut self.stack {
                stack.expire(now);
            }
            self.flush();
        }
        self.now = self.now.max(now);
    }

    /// When the stack has work next; `None` while only packets and calls can
    /// change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.stack.as_ref().and_then(Stack::deadline)
    }

    /// Gives an IP packet to the stack. Returns whether it was one: version 4
    /// or 6, and no longer than the link takes.
    pub fn inject(&mut self, packet: &[u8]) -> bool {
        if packet.len() > usize::from(self.settings.mtu).max(FRAME_SIZE * 30) {
            return false;
        }
        let Some(frame) = link::wrap(packet) else {
            return false;
        };
        // A stack that nobody spoke to yet has the address that is spoken to.
        let target = packet
            .get(16..20)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        if let Some(target) = target {
            self.boot(Some(Ipv4Addr::from(target)));
        }
        self.inject_frame(&frame);
        true
    }

    /// The oldest packet that left the stack and was not taken yet.
    pub fn take_sent(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// Whether a packet waits to be taken.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The stack. The first caller decides its address.
    pub(crate) fn boot(&mut self, local: Option<Ipv4Addr>) -> &mut Stack {
        if self.stack.is_none() {
            let local = self.settings.local.or(local).unwrap_or(DEFAULT_LOCAL);
            self.settings.local = Some(local);
            let gateway = gateway_of(local);
            let cidr = Ipv4Cidr::new(local, 16).unwrap_or_else(|| unreachable!("16 is a prefix"));
            let config = Config::new(cidr, [0x5a; 32]).with_gateway(gateway);
            let mut caps = Caps::plain(link::OUR_MAC, self.settings.mtu);
            caps.tso4 = self.settings.segmentation;
            let mut stack = Stack::on_heap::<FRAMES, FLOWS, FRAME_SIZE>(&config, caps);
            stack.set_now(self.now);
            self.stack = Some(stack);
            self.inject_frame(&link::introduction(gateway, local));
        }
        match &mut self.stack {
            Some(stack) => stack,
            None => unreachable!("booted above"),
        }
    }

    /// Whether `address` can be bound to: the stack's own, or any.
    pub(crate) fn is_own(&mut self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) if address.is_unspecified() => true,
            IpAddr::V4(address) => {
                self.boot(Some(address));
                self.settings.local == Some(address)
            }
            IpAddr::V6(_) => false,
        }
    }

    /// Puts a frame into the stack, in pieces where it is long.
    fn inject_frame(&mut self, frame: &[u8]) {
        let now = self.now;
        let Some(stack) = &mut self.stack else {
            return;
        };
        let piece = stack.pool().frame_size() - pollwire::rings::HEADROOM;
        let count = frame.len().div_ceil(piece);
        for (index, part) in frame.chunks(piece).enumerate() {
            let Some(mut slot) = stack.pool().alloc() else {
                return;
            };
            slot.extend_from_slice(part);
            let meta = RxMeta {
                continues: index + 1 < count,
                ..RxMeta::default()
            };
            drop(self.rx.push(slot, meta));
        }
        stack.input(now, &mut self.rx);
        self.flush();
    }

    /// Lets the stack send, and keeps what it sent.
    pub(crate) fn flush(&mut self) {
        let now = self.now;
        let mut answers = Vec::new();
        while let Some(stack) = &mut self.stack {
            let more = stack.output(now, &mut self.tx);
            for packet in self.tx.iter() {
                let mut frame: Vec<u8> = packet.pieces.iter().flat_map(|p| p.to_vec()).collect();
                link::complete(&mut frame, packet.meta.checksum);
                match link::unwrap(&frame) {
                    Outgoing::Packet(bytes) => self.sent.push_back(Sent {
                        at: now,
                        bytes: bytes.to_vec(),
                    }),
                    Outgoing::Question(answer) => answers.push(answer),
                    Outgoing::Chatter => {}
                }
            }
            self.tx.consume(usize::MAX);
            if !more {
                break;
            }
        }
        for answer in answers {
            self.inject_frame(&answer);
        }
    }
}

/// An address beside the stack's own, in the same network.
fn gateway_of(local: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, d] = local.octets();
    Ipv4Addr::new(a, b, c ^ 0x80, if d == 254 { 253 } else { 254 })
}
