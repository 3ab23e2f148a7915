//! Packets to this host itself: to its own addresses, and to 127.0.0.0/8 and
//! ::1. They never reach the device.
//!
//! They wait in a queue of bounded length until output is asked for, so that a
//! packet never interrupts the sending of another.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxMeta, TxChecksum};
use zerocopy::FromBytes;

use super::{IpMeta, Stack};
use crate::iface::Pending;
use crate::wire::{IPV4_HEADER, Ipv4Header, Ipv6Header};
use crate::{Counter, DropReason};

/// Most packets that wait.
const CAPACITY: usize = 256;

/// Packets from this host to itself, oldest first, from the IP header on.
pub(crate) struct Looped {
    packets: VecDeque<(FrameBuf, RxMeta)>,
}

impl Looped {
    pub(super) const fn new() -> Self {
        Self {
            packets: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether the next packet would be dropped.
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= CAPACITY
    }
}

impl Stack {
    /// Whether packets to `address` stay in this host.
    pub(crate) fn is_looped(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.iface.is_local(address) || self.elsewhere(address).is_some()
    }

    /// Takes a packet that this host sends to itself; it begins with its IP
    /// header.
    pub(crate) fn loop_back(&mut self, packet: Pending) -> Result<(), DropReason> {
        let Pending {
            mut frame,
            payload,
            meta,
        } = packet;
        if self.looped.is_full() {
            return Err(DropReason::OutboxFull);
        }
        if let Some(payload) = payload {
            // The receiver takes a packet in a frame of its own, and the sender
            // may send these bytes again.
            let copied = frame.extend_from_slice(&payload);
            self.counters.add(Counter::CopiedBytes, copied as u64);
            if copied < payload.len() {
                return Err(DropReason::SendTooLong);
            }
        }
        let checksum = match meta.checksum {
            TxChecksum::Done => RxChecksum::Unknown,
            TxChecksum::Partial { .. } => RxChecksum::Partial,
        };
        let meta = RxMeta {
            checksum,
            ..RxMeta::default()
        };
        self.looped.packets.push_back((frame, meta));
        Ok(())
    }

    /// Receives what this host has sent to itself. Answers wait for the next
    /// time.
    #[cold]
    pub(super) fn receive_looped(&mut self, now: Instant) {
        self.chores_changed();
        for _ in 0..self.looped.packets.len() {
            let Some((frame, meta)) = self.looped.packets.pop_front() else {
                break;
            };
            if let Err(reason) = self.on_looped(now, frame, meta) {
                self.counters.drop(reason);
            }
            self.rx_rest.clear();
        }
        self.tcp.forget_last();
    }

    /// The headers are this host's own work, so they are not checked.
    fn on_looped(
        &mut self,
        now: Instant,
        mut frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        if frame.first().is_some_and(|first| first >> 4 == 6) {
            let (header, _) =
                Ipv6Header::read_from_prefix(&frame).map_err(|_| DropReason::Ipv6TooShort)?;
            return self.on_checked_ipv6(now, &header, false, frame, meta);
        }
        let (header, _) =
            Ipv4Header::read_from_prefix(&frame).map_err(|_| DropReason::Ipv4TooShort)?;
        frame.trim_front(IPV4_HEADER);
        self.counters.inc(Counter::Ipv4In);
        let ip = IpMeta {
            src: IpAddr::V4(header.source()),
            dst: IpAddr::V4(header.destination()),
            ttl: header.ttl,
            header_len: 20,
            class: header.tos,
            broadcast: false,
        };
        if !header.is_fragment() {
            return self.deliver_v4(now, &ip, header.protocol, frame, meta);
        }
        match self.on_ipv4_fragment(now, &header, &ip, frame)? {
            Some((ip, frame)) => {
                self.deliver_v4(now, &ip, header.protocol, frame, RxMeta::default())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
