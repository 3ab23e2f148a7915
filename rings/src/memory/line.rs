//! The impaired direction: packets as bytes, ordered by their arrival.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::iter;

use super::segment::{self, BadRequest};
use super::{Fate, Impairment, WireStats};
use crate::{Instant, TxBurst, TxPacket};

/// Most packets on the line at once, so that a wire nobody reads stays bounded.
const IN_FLIGHT: usize = 65_536;

/// A packet on its way. Ordered by arrival, then by sending.
struct InFlight {
    at: Instant,
    number: u64,
    bytes: Vec<u8>,
}

impl InFlight {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

pub(super) struct Line {
    impairment: Box<dyn Impairment>,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    next_number: u64,
    newest_delivered: u64,
}

impl Line {
    pub(super) fn new(impairment: Box<dyn Impairment>) -> Self {
        Self {
            impairment,
            in_flight: BinaryHeap::new(),
            next_number: 0,
            newest_delivered: 0,
        }
    }

    pub(super) fn set_impairment(&mut self, impairment: Box<dyn Impairment>) {
        self.impairment = impairment;
    }

    /// Takes every packet of `burst`.
    #[inline(never)]
    pub(super) fn send(
        &mut self,
        now: Instant,
        burst: &mut TxBurst,
        stats: &mut WireStats,
    ) -> usize {
        let count = burst.packets();
        for packet in burst.iter() {
            if self.send_packet(now, packet, stats).is_err() {
                stats.bad_request += 1;
            }
        }
        burst.consume(count);
        count
    }

    fn send_packet(
        &mut self,
        now: Instant,
        packet: TxPacket<'_>,
        stats: &mut WireStats,
    ) -> Result<(), BadRequest> {
        let mut whole = Vec::with_capacity(packet.len());
        for piece in packet.pieces {
            whole.extend_from_slice(piece);
        }
        if packet.meta.gso.is_none() {
            segment::complete_checksum(&mut whole, packet.meta.checksum)?;
            self.send_frame(now, whole, stats);
            return Ok(());
        }
        let plan = segment::Plan::new(packet.meta, whole.len())?;
        for index in 0..plan.segments() {
            let mut bytes = alloc::vec![0; plan.segment_len(index)];
            plan.write(iter::once(whole.as_slice()), index, &mut bytes)?;
            self.send_frame(now, bytes, stats);
        }
        Ok(())
    }

    fn send_frame(&mut self, now: Instant, mut bytes: Vec<u8>, stats: &mut WireStats) {
        let mut fate = self.impairment.judge(now, &mut bytes);
        if self.in_flight.len() >= IN_FLIGHT {
            fate = Fate {
                overflowed: true,
                ..Fate::LOST
            };
        }
        let number = self.next_number;
        self.next_number += 1;
        stats.corrupted += u64::from(fate.corrupted);
        stats.duplicated += u64::from(fate.arrives.is_some() && fate.again.is_some());
        match (
            fate.arrives.is_some() || fate.again.is_some(),
            fate.overflowed,
        ) {
            (true, _) => {}
            (false, true) => stats.overflowed += 1,
            (false, false) => stats.lost += 1,
        }
        if let Some(at) = fate.again {
            let bytes = bytes.clone();
            self.in_flight.push(Reverse(InFlight { at, number, bytes }));
        }
        if let Some(at) = fate.arrives {
            self.in_flight.push(Reverse(InFlight { at, number, bytes }));
        }
    }

    pub(super) fn next_event(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(first)| first.at)
    }

    /// The next packet that has arrived by `now`.
    pub(super) fn arrived(&self, now: Instant) -> Option<&[u8]> {
        let Reverse(first) = self.in_flight.peek()?;
        (first.at <= now).then_some(first.bytes.as_slice())
    }

    /// Removes the packet that [`arrived`](Self::arrived) showed.
    pub(super) fn remove(&mut self, stats: &mut WireStats) {
        if let Some(Reverse(first)) = self.in_flight.pop() {
            stats.reordered += u64::from(first.number < self.newest_delivered);
            self.newest_delivered = self.newest_delivered.max(first.number);
        }
    }
}
