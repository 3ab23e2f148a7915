//! Fragments of IPv4 (RFC 791, 2.3 and 3.2): what arrives in them, and
//! datagrams that leave in them because the link carries no more at once.

#[cfg(test)]
mod tests;

use core::net::{IpAddr, Ipv4Addr};

use pollwire_rings::{FrameBuf, FrameRef, HEADROOM, Instant, TxMeta};
use zerocopy::big_endian::U16;

use super::output::{header, prepend};
use super::reassembly::{Expired, Fragment, FragmentKey, Head, Whole};
use super::{Icmpv6Error, IpFields, IpMeta};
use crate::iface::Pending;
use crate::random::Random;
use crate::wire::ipv4::{FRAGMENT_OFFSET, MORE_FRAGMENTS};
use crate::wire::{IPV4_HEADER, Ipv4Header};
use crate::{Counter, DropReason, Stack};

/// Bytes of the longest IPv4 packet.
const MAX_PACKET: usize = 65_535;
/// Counters that identifications are drawn from.
const IDENT_COUNTERS: usize = 64;

/// Identifications of datagrams that leave in fragments.
///
/// RFC 6864, 4.3: "Sources emitting non-atomic datagrams MUST NOT repeat IPv4 ID
/// values within one MDL for a given source address/destination
/// address/protocol tuple." Each tuple counts up from a random start, in one of
/// a few counters that a secret chooses, so that nobody can read from the
/// identifications that he gets how many go elsewhere (RFC 7739).
pub(crate) struct Idents {
    counters: [u32; IDENT_COUNTERS],
    secret: u64,
}

impl Idents {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut counters = [0; IDENT_COUNTERS];
        for counter in &mut counters {
            *counter = random.next_u32();
        }
        Self {
            counters,
            secret: random.next_u64(),
        }
    }

    /// The next identification for datagrams from `src` to `dst`; IPv4 takes
    /// its low half.
    pub(crate) fn next(&mut self, src: IpAddr, dst: IpAddr) -> u32 {
        let words = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        // Whoever does not know the secret cannot tell who shares a counter.
        let mut hash = self.secret;
        for word in [words(src), words(dst)] {
            for half in [word as u64, (word >> 64) as u64] {
                hash = (hash ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 32;
            }
        }
        let index = (hash >> 58) as usize % IDENT_COUNTERS;
        let Some(counter) = self.counters.get_mut(index) else {
            return 0;
        };
        *counter = counter.wrapping_add(1);
        *counter
    }
}

impl Stack {
    /// Takes a fragment. `frame` begins with its data, its IP header lies in
    /// the headroom. Returns the datagram that it completes: the first frame,
    /// the rest in `rx_rest`.
    #[cold]
    pub(crate) fn on_ipv4_fragment(
        &mut self,
        now: Instant,
        header: &Ipv4Header,
        ip: &IpMeta,
        frame: FrameBuf,
    ) -> Result<Option<(IpMeta, FrameBuf)>, DropReason> {
        let flags = header.flags_fragment.get();
        let fragment = Fragment {
            key: FragmentKey {
                src: ip.src,
                dst: ip.dst,
                ident: header.ident.get().into(),
                protocol: header.protocol,
            },
            offset: u32::from(flags & FRAGMENT_OFFSET) * 8,
            more: flags & MORE_FRAGMENTS != 0,
            limit: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX) - u32::from(ip.header_len),
            head: Head {
                protocol: header.protocol,
                header_len: ip.header_len,
                ttl: ip.ttl,
                class: ip.class,
                broadcast: ip.broadcast,
            },
        };
        let whole = self.on_fragment(now, &fragment, frame)?;
        Ok(whole.map(|whole| (ip_of(&fragment.key, &whole.head), whole.frame)))
    }

    /// Takes a fragment of either version of IP.
    pub(crate) fn on_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        frame: FrameBuf,
    ) -> Result<Option<Whole>, DropReason> {
        // What was promised to connections is not for the fragments of others.
        if self.pool.available() < self.pool.capacity() / 8 {
            return Err(DropReason::FragmentNoRoom);
        }
        if !self.rx_rest.is_empty() {
            return self.on_fragment_in_pieces(now, fragment, frame);
        }
        let Self {
            reassembly,
            rx_rest,
            counters,
            ..
        } = self;
        reassembly.insert(now, fragment, frame, rx_rest, counters)
    }

    /// Takes a fragment that is longer than a frame: each of its pieces goes in
    /// as a part of its own.
    fn on_fragment_in_pieces(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        first: FrameBuf,
    ) -> Result<Option<Whole>, DropReason> {
        let pieces = core::mem::take(&mut self.rx_rest);
        let mut left = first.len() + pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if left == 0 || (fragment.more && !left.is_multiple_of(8)) {
            return Err(DropReason::FragmentBadLength);
        }
        let Self {
            reassembly,
            rx_rest,
            counters,
            ..
        } = self;
        let mut whole = None;
        let mut part = *fragment;
        let all = core::iter::once(first).chain(pieces);
        for frame in all.filter(|frame| !frame.is_empty()) {
            let len = frame.len();
            left -= len;
            part.more = fragment.more || left > 0;
            whole = reassembly.insert_part(now, &part, frame, rx_rest, counters)?;
            // Within the limit, as was checked.
            part.offset += u32::try_from(len).unwrap_or(0);
        }
        Ok(whole)
    }

    /// Gives up datagrams whose fragments did not all come in time.
    #[inline(never)]
    pub(crate) fn fragments_expire(&mut self, now: Instant) {
        while let Some(expired) = self.reassembly.expire(now, &mut self.counters) {
            let Expired { key, first } = expired;
            let Some((frame, head)) = first else { continue };
            let ip = ip_of(&key, &head);
            if key.src.is_ipv4() {
                self.icmp_reassembly_timeout(now, &ip, frame);
            } else {
                self.icmpv6_error(now, &ip, Icmpv6Error::REASSEMBLY_TIMEOUT, frame);
            }
        }
    }

    /// Sends a datagram that is too long for the link in one packet. `chain`
    /// is the datagram, `len` bytes from the transport header on, its checksum
    /// complete.
    ///
    /// A frame of the chain that is a fragment just so, and has headroom and no
    /// other handle, carries its own headers; one that is longer is sent part
    /// by part behind header frames; shorter ones are copied together.
    pub(crate) fn ipv4_send_fragments(
        &mut self,
        now: Instant,
        (src, dst): (Ipv4Addr, Ipv4Addr),
        fields: IpFields,
        mtu: u16,
        len: usize,
        chain: impl Iterator<Item = FrameRef>,
    ) -> Result<(), DropReason> {
        let room = self.pool.frame_size().saturating_sub(HEADROOM);
        let most = usize::from(mtu).saturating_sub(IPV4_HEADER).min(room) & !7;
        if len > MAX_PACKET - IPV4_HEADER || most == 0 {
            return Err(DropReason::SendTooLong);
        }
        if self.outbox.room() < len.div_ceil(most) {
            return Err(DropReason::OutboxFull);
        }
        let ident = self.idents.next(src.into(), dst.into());
        let mut rest = Rest::new(chain);
        let mut offset = 0;
        while offset < len {
            let count = most.min(len - offset);
            let (frame, payload) = self.next_fragment(&mut rest, count)?;
            let mut packet = Pending {
                frame,
                payload,
                meta: TxMeta::default(),
            };
            let more = if offset + count < len {
                MORE_FRAGMENTS
            } else {
                0
            };
            // All three are bounded by MAX_PACKET.
            let total = u16::try_from(IPV4_HEADER + count).unwrap_or(u16::MAX);
            let units = u16::try_from(offset / 8).unwrap_or(FRAGMENT_OFFSET);
            let header = Ipv4Header {
                ident: U16::new((ident & 0xffff) as u16),
                flags_fragment: U16::new(units | more),
                ..header(fields, src, dst, total)
            };
            prepend(&mut packet, &header.to_bytes())?;
            self.counters.inc(Counter::Ipv4Out);
            self.send_via_next_hop(now, dst, packet)?;
            offset += count;
        }
        if len > most {
            self.counters.inc(Counter::Fragmented);
        }
        Ok(())
    }

    /// The next `count` bytes of a chain: a frame with headroom, and what
    /// follows it.
    pub(crate) fn next_fragment(
        &mut self,
        rest: &mut Rest<impl Iterator<Item = FrameRef>>,
        count: usize,
    ) -> Result<(FrameBuf, Option<FrameRef>), DropReason> {
        let Some(mut piece) = rest.take() else {
            return Err(DropReason::SendTooLong);
        };
        if piece.len() == count {
            piece = match piece.try_into_mut() {
                Ok(frame) if frame.headroom() >= HEADERS => return Ok((frame, None)),
                Ok(frame) => frame.freeze(),
                Err(shared) => shared,
            };
        }
        let mut frame = self.pool.alloc().ok_or(DropReason::SendNoFrame)?;
        if piece.len() >= count {
            let part = piece.split_to(count);
            rest.current = Some(piece);
            return Ok((frame, Some(part)));
        }
        loop {
            let part = piece.split_to(count - frame.len());
            if frame.extend_from_slice(&part) < part.len() {
                return Err(DropReason::SendNoFrame);
            }
            if frame.len() == count {
                rest.current = Some(piece);
                break;
            }
            piece = rest.take().ok_or(DropReason::SendTooLong)?;
        }
        self.counters.add(Counter::CopiedBytes, count as u64);
        Ok((frame, None))
    }
}

/// Headroom for an Ethernet header with a VLAN tag, and an IPv6 header with one
/// for fragments.
const HEADERS: usize = 18 + 40 + 8;

/// What of a chain has not been sent.
pub(crate) struct Rest<I> {
    chain: I,
    current: Option<FrameRef>,
}

impl<I: Iterator<Item = FrameRef>> Rest<I> {
    pub(crate) fn new(chain: I) -> Self {
        Self {
            chain,
            current: None,
        }
    }

    /// The next piece that is not empty.
    fn take(&mut self) -> Option<FrameRef> {
        let current = self.current.take().filter(|piece| !piece.is_empty());
        current.or_else(|| self.chain.find(|piece| !piece.is_empty()))
    }
}

pub(super) fn ip_of(key: &FragmentKey, head: &Head) -> IpMeta {
    IpMeta {
        src: key.src,
        dst: key.dst,
        ttl: head.ttl,
        header_len: head.header_len,
        class: head.class,
        broadcast: head.broadcast,
    }
}
