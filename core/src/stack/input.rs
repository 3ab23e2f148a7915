//! Frames arrive: Ethernet, IPv4 and on to the protocols.
//!
//! The common shape (no IP options, no fragment) is parsed in one forward pass.
//! Every refusal is a [`DropReason`] returned to [`Stack::input`], the one place
//! that counts it.

use core::net::{IpAddr, Ipv4Addr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxBurst, RxDrain, RxFrame, RxMeta};
use zerocopy::FromBytes;

use super::{IpMeta, Stack};
use crate::tcp::header::{V4_PLAIN, V4_TIMED, V6_PLAIN, V6_TIMED};
use crate::udp::{V4_HEADERS, V6_HEADERS};
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN};
use crate::wire::icmpv4::PROTOCOL_UNREACHABLE;
use crate::wire::ipv4::{self, PROTOCOL_ICMP, PROTOCOL_IGMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::{ETHERNET_HEADER, EthernetHeader, IPV4_HEADER, Ipv4Header, UnicastV4};
use crate::{Counter, DropReason};

/// What a frame seems to carry, if IPv4 without options or IPv6 without
/// extension headers carries it; whether that is so is found out later.
enum Kind {
    Tcp4,
    Udp4,
    Tcp6,
    Udp6,
    Other,
}

impl Kind {
    #[inline(always)]
    fn of(frame: &FrameBuf) -> Self {
        let Some(head) = frame.first_chunk::<24>() else {
            return Self::Other;
        };
        // First byte of the Ethernet type, then where the IP header names its
        // protocol.
        match head[12] {
            0x08 => match head[23] {
                PROTOCOL_TCP => Self::Tcp4,
                PROTOCOL_UDP => Self::Udp4,
                _ => Self::Other,
            },
            0x86 => match head[20] {
                PROTOCOL_TCP => Self::Tcp6,
                PROTOCOL_UDP => Self::Udp6,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl Stack {
    /// Takes received packets through the stack, as far as they go without the
    /// application; the burst is empty afterwards.
    #[inline(never)]
    pub fn input(&mut self, now: Instant, burst: &mut RxBurst) {
        self.set_now(now);
        let mut pieces = burst.drain();
        if !pieces.is_last() {
            return self.input_many(now, &mut pieces);
        }
        let Some(piece) = pieces.next() else { return };
        let odd = match Kind::of(&piece.frame) {
            Kind::Tcp4 => self.input_lone::<V4_TIMED>(now, piece),
            Kind::Udp4 => self.udp_expected::<V4_HEADERS>(piece),
            Kind::Udp6 => self.udp_expected::<V6_HEADERS>(piece),
            Kind::Tcp6 => self.input_lone::<V6_TIMED>(now, piece),
            Kind::Other => Some(piece),
        };
        if let Some(piece) = odd {
            self.input_odd(now, piece, &mut pieces);
        }
    }

    /// Takes the packets of a burst of several.
    #[inline(never)]
    fn input_many(&mut self, now: Instant, pieces: &mut RxDrain<'_>) {
        while let Some(next) = pieces.peek() {
            let odd = match Kind::of(&next.frame) {
                Kind::Tcp4 => self.input_expected::<V4_TIMED, V4_PLAIN>(now, pieces),
                Kind::Udp4 => {
                    (pieces.next()).and_then(|piece| self.udp_expected::<V4_HEADERS>(piece))
                }
                Kind::Udp6 => {
                    (pieces.next()).and_then(|piece| self.udp_expected::<V6_HEADERS>(piece))
                }
                Kind::Tcp6 => self.input_expected::<V6_TIMED, V6_PLAIN>(now, pieces),
                Kind::Other => pieces.next(),
            };
            if let Some(piece) = odd {
                self.input_odd(now, piece, pieces);
            }
        }
    }

    /// Takes a packet that no short way is made for.
    #[inline(never)]
    fn input_odd(&mut self, now: Instant, piece: RxFrame, pieces: &mut RxDrain<'_>) {
        self.counters
            .add(Counter::BytesIn, piece.frame.len() as u64);
        if piece.meta.continues {
            self.on_pieces(now, piece, pieces);
        } else {
            self.on_packet(now, piece, Ok(()));
        }
    }

    /// Takes a packet of several pieces.
    #[inline(never)]
    fn on_pieces(
        &mut self,
        now: Instant,
        first: RxFrame,
        pieces: &mut impl Iterator<Item = RxFrame>,
    ) {
        // Unless one comes that does not continue, the device promised a piece
        // that is not in the burst.
        let mut verdict = Err(DropReason::PieceMissing);
        let mut too_many = false;
        for piece in pieces {
            self.counters
                .add(Counter::BytesIn, piece.frame.len() as u64);
            too_many |= self.rx_rest.try_push(piece.frame).is_err();
            if !piece.meta.continues {
                verdict = if too_many {
                    Err(DropReason::TooManyPieces)
                } else {
                    Ok(())
                };
                break;
            }
        }
        self.on_packet(now, first, verdict);
    }

    /// Takes one packet, unless its pieces were at fault already; the only
    /// place where a received packet's drop is counted.
    #[inline(never)]
    fn on_packet(
        &mut self,
        now: Instant,
        RxFrame { frame, meta }: RxFrame,
        pieces: Result<(), DropReason>,
    ) {
        self.counters.inc(Counter::FramesIn);
        if let Err(reason) = pieces.and_then(|()| self.on_frame(now, frame, meta)) {
            self.counters.drop(reason);
        }
        self.rx_rest.clear();
    }

    #[inline]
    fn on_frame(&mut self, now: Instant, frame: FrameBuf, meta: RxMeta) -> Result<(), DropReason> {
        let Ok((header, _)) = EthernetHeader::ref_from_prefix(&frame) else {
            return Err(DropReason::EthernetTooShort);
        };
        if !header.dst.is_multicast() && header.dst != self.iface.mac() {
            return Err(DropReason::EthernetNotForUs);
        }
        if header.src.is_multicast() {
            return Err(DropReason::EthernetBadSource);
        }
        match header.ethertype.get() {
            ETHERTYPE_VLAN => self.on_tagged(now, frame, meta),
            _ if self.iface.vlan.is_some() => Err(DropReason::VlanMissing),
            _ => self.on_untagged(now, frame, meta),
        }
    }

    /// Takes a frame that is for us and has no tag, or no more.
    #[inline]
    pub(crate) fn on_untagged(
        &mut self,
        now: Instant,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let Ok((header, _)) = EthernetHeader::ref_from_prefix(&frame) else {
            return Err(DropReason::EthernetTooShort);
        };
        let group = header.dst.is_multicast();
        match header.ethertype.get() {
            ETHERTYPE_IPV4 => self.on_ipv4(now, frame, meta, group),
            ETHERTYPE_ARP => {
                self.chores_changed();
                self.arp_input(now, frame)
            }
            ETHERTYPE_IPV6 => {
                self.chores_changed();
                self.on_ipv6(now, frame, meta, group)
            }
            _ => Err(DropReason::EthernetUnknownType),
        }
    }

    #[inline]
    fn on_ipv4(
        &mut self,
        now: Instant,
        mut frame: FrameBuf,
        meta: RxMeta,
        group: bool,
    ) -> Result<(), DropReason> {
        frame.trim_front(ETHERNET_HEADER);
        let (Some(bytes), Ok((header, _))) = (
            frame.first_chunk::<IPV4_HEADER>(),
            Ipv4Header::read_from_prefix(&frame),
        ) else {
            return Err(DropReason::Ipv4TooShort);
        };
        let header_len = if header.version_ihl == Ipv4Header::VERSION_IHL_PLAIN {
            if !Sum::of_array(bytes).is_valid() {
                return Err(DropReason::Ipv4BadChecksum);
            }
            IPV4_HEADER
        } else {
            check_unusual_header(&header, &frame)?
        };
        self.trim_to(&mut frame, usize::from(header.total_len.get()), header_len)?;
        let broadcast = self.check_addresses(header.source(), header.destination(), group)?;
        self.counters.inc(Counter::Ipv4In);
        frame.trim_front(header_len);
        let ip = IpMeta {
            src: IpAddr::V4(header.source()),
            dst: IpAddr::V4(header.destination()),
            ttl: header.ttl,
            // 60 at most, by its four bits.
            header_len: u8::try_from(header_len).unwrap_or(u8::MAX),
            class: header.tos,
            broadcast,
        };
        if header.is_fragment() {
            self.chores_changed();
            return match self.on_ipv4_fragment(now, &header, &ip, frame)? {
                // What a device says of a fragment is not about the datagram.
                Some((ip, frame)) => {
                    self.deliver_v4(now, &ip, header.protocol, frame, RxMeta::default())
                }
                None => Ok(()),
            };
        }
        self.deliver_v4(now, &ip, header.protocol, frame, meta)
    }

    /// Hands a whole datagram to its protocol.
    #[inline]
    pub(super) fn deliver_v4(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        protocol: u8,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        if protocol == PROTOCOL_TCP {
            return self.tcp_input(now, ip, frame, meta);
        }
        self.chores_changed();
        match protocol {
            PROTOCOL_UDP => self.udp_input(now, ip, frame, meta),
            PROTOCOL_ICMP => self.icmp_input(now, ip, frame),
            PROTOCOL_IGMP => self.igmp_input(now, ip, &frame),
            _ => {
                self.icmp_unreachable(now, ip, PROTOCOL_UNREACHABLE, frame);
                Err(DropReason::Ipv4UnknownProtocol)
            }
        }
    }

    /// Cuts the frame, and the pieces behind it, to the length that IP gives:
    /// short frames are padded on the wire.
    #[inline]
    pub(super) fn trim_to(
        &mut self,
        frame: &mut FrameBuf,
        total: usize,
        header_len: usize,
    ) -> Result<(), DropReason> {
        if total < header_len {
            return Err(DropReason::Ipv4BadTotalLength);
        }
        if total <= frame.len() {
            frame.truncate(total);
            self.rx_rest.clear();
            return Ok(());
        }
        let mut left = total - frame.len();
        for piece in &mut self.rx_rest {
            piece.truncate(left);
            left -= piece.len();
        }
        if left == 0 {
            Ok(())
        } else {
            Err(DropReason::Ipv4BadTotalLength)
        }
    }

    /// Refuses addresses that cannot be (RFC 1122, 3.2.1.3). Returns whether
    /// the packet is for many.
    #[inline]
    fn check_addresses(
        &self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        group: bool,
    ) -> Result<bool, DropReason> {
        if UnicastV4::new(src).is_none() || self.iface.is_broadcast(src) {
            return Err(DropReason::Ipv4BadSource);
        }
        // Answering would mean talking to ourselves without end.
        if self.is_looped(IpAddr::V4(src)) {
            return Err(DropReason::Ipv4OwnSource);
        }
        if self.iface.is_local(IpAddr::V4(dst)) {
            // RFC 1122, 3.3.6: "A host SHOULD silently discard a datagram that
            // is received via a link-layer broadcast [...] but does not specify
            // an IP multicast or broadcast destination address."
            return if group {
                Err(DropReason::Ipv4UnicastInBroadcast)
            } else {
                Ok(false)
            };
        }
        if self.iface.is_broadcast(dst) || self.iface.groups.contains(dst) {
            return Ok(true);
        }
        Err(DropReason::Ipv4NotForUs)
    }
}

/// A header with options, or none at all: returns its length. Options are
/// walked and skipped; source routes are refused (RFC 7126, 4.3 and 4.4).
#[cold]
fn check_unusual_header(header: &Ipv4Header, packet: &[u8]) -> Result<usize, DropReason> {
    if header.version() != 4 {
        return Err(DropReason::Ipv4BadVersion);
    }
    let header_len = header.header_len();
    if header_len < IPV4_HEADER {
        return Err(DropReason::Ipv4BadHeaderLength);
    }
    let Some(bytes) = packet.get(..header_len) else {
        return Err(DropReason::Ipv4BadHeaderLength);
    };
    if !Sum::of(bytes).is_valid() {
        return Err(DropReason::Ipv4BadChecksum);
    }
    let options = bytes.get(IPV4_HEADER..).unwrap_or_default();
    match ipv4::walk_options(options) {
        None => Err(DropReason::Ipv4BadOptions),
        Some(found) if found.source_route => Err(DropReason::Ipv4SourceRoute),
        Some(_) => Ok(header_len),
    }
}

#[cfg(test)]
mod tests;
