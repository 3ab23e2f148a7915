//! Frames arrive: Ethernet, IPv4 and on to the protocols.
//!
//! The common shape (no IP options, no fragment) is parsed in one forward pass.
//! Every refusal is a [`DropReason`] returned to [`Stack::input`], the one place
//! that counts it.

use core::net::{IpAddr, Ipv4Addr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, RxBurst, RxFrame, RxMeta};

use super::{IpMeta, Stack};
use crate::{Counter, DropReason};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Stack {
    /// Takes received packets through the stack, as far as they go without the
    /// application; the burst is empty afterwards.
    pub fn input(&mut self, now: Instant, burst: &mut RxBurst) {
        self.set_now(now);
        let mut first: Option<RxFrame> = None;
        for piece in burst.drain() {
            let more = piece.meta.continues;
            self.counters.add(Counter::BytesIn, piece.frame.len() as u64);
            match first {
                None => first = Some(piece),
                // A packet of more pieces than fit is dropped by its length.
                Some(_) => drop(self.rx_rest.try_push(piece.frame)),
            }
            if more {
                continue;
            }
            if let Some(RxFrame { frame, meta }) = first.take() {
                self.counters.inc(Counter::FramesIn);
                if let Err(reason) = self.on_frame(now, frame, meta) {
                    self.counters.drop(reason);
                }
            }
            self.rx_rest.clear();
        }
        self.rx_rest.clear();
    }

    #[inline]
    fn on_frame(&mut self, now: Instant, frame: FrameBuf, meta: RxMeta) -> Result<(), DropReason> {
        let Some(header) = frame.first_chunk::<ETHERNET>() else {
            return Err(DropReason::EthernetTooShort);
        };
        let mine = header.first_chunk::<6>() == Some(&self.iface.caps().mac);
        // The group bit: broadcast and multicast (IEEE 802.3, 3.2.3).
        let group = header[0] & 1 != 0;
        if !mine && !group {
            return Err(DropReason::EthernetNotForUs);
        }
        match [header[12], header[13]] {
            TYPE_IPV4 => self.on_ipv4(now, frame, meta, group),
            TYPE_ARP => self.arp_input(now, frame),
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
        frame.trim_front(ETHERNET);
        let Some(ip) = frame.first_chunk::<IPV4>() else {
            return Err(DropReason::Ipv4TooShort);
        };
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let src = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
        let dst = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
        let (protocol, ttl, ecn) = (ip[9], ip[8], ip[1] & 3);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
        let header_len = if ip[0] == 0x45 {
            if !Sum::of_array(ip).is_valid() {
                return Err(DropReason::Ipv4BadChecksum);
            }
            IPV4
        } else {
            check_long_header(&frame)?
        };
        self.trim_to(&mut frame, total, header_len)?;
        let broadcast = self.check_addresses(src, dst, group)?;
        if fragment {
            return Err(DropReason::FragmentsUnsupported);
        }
        frame.trim_front(header_len);
        // 60 at most, by its four bits.
        let header_len = u8::try_from(header_len).unwrap_or(u8::MAX);
        let (src, dst) = (IpAddr::V4(src), IpAddr::V4(dst));
        let ip = IpMeta { src, dst, ttl, header_len, ecn, broadcast };
        match protocol {
            TCP => self.tcp_input(now, &ip, frame, meta),
            UDP => self.udp_input(now, &ip, frame, meta),
            ICMP => self.icmp_input(now, &ip, frame),
            _ => {
                // RFC 1122, 3.2.2.1: "2 = protocol unreachable".
                self.icmp_unreachable(now, &ip, 2, frame);
                Err(DropReason::Ipv4UnknownProtocol)
            }
        }
    }

    /// Cuts the frame, and the pieces behind it, to the length that IP gives:
    /// short frames are padded on the wire.
    #[inline]
    fn trim_to(
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
        if left == 0 { Ok(()) } else { Err(DropReason::Ipv4BadTotalLength) }
    }

    /// RFC 1122, 3.2.1.3. Returns whether the packet is for many.
    #[inline]
    fn check_addresses(
        &self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        group: bool,
    ) -> Result<bool, DropReason> {
        let high = src.octets()[0];
        if high == 0 || high == 127 || high >= 224 {
            return Err(DropReason::Ipv4BadSource);
        }
        if self.iface.is_local(IpAddr::V4(dst)) {
            // "a host MUST silently discard a datagram" whose link-layer address
            // was for many while its IP address is not (RFC 1122, 3.3.6).
            return if group { Err(DropReason::Ipv4UnicastInBroadcast) } else { Ok(false) };
        }
        if self.iface.is_broadcast(dst) || dst.is_multicast() {
            return Ok(true);
        }
        Err(DropReason::Ipv4NotForUs)
    }
}

/// A header with options, or none at all. Options are checked and skipped;
/// source routes are refused.
#[cold]
fn check_long_header(frame: &FrameBuf) -> Result<usize, DropReason> {
    let first = frame.first().copied().unwrap_or(0);
    let header_len = usize::from(first & 15) * 4;
    if first >> 4 != 4 {
        return Err(DropReason::Ipv4BadVersion);
    }
    if header_len < IPV4 {
        return Err(DropReason::Ipv4BadHeaderLength);
    }
    let header = frame.get(..header_len).ok_or(DropReason::Ipv4TooShort)?;
    if !Sum::of(header).is_valid() {
        return Err(DropReason::Ipv4BadChecksum);
    }
    let mut options = header.get(IPV4..).unwrap_or_default();
    while let [kind, rest @ ..] = options {
        match *kind {
            0 => break,
            1 => options = rest,
            // Loose and strict source routes (RFC 7126: "should be dropped").
            131 | 137 => return Err(DropReason::Ipv4SourceRoute),
            _ => {
                let len = rest.first().map_or(0, |len| usize::from(*len));
                if len < 2 {
                    return Err(DropReason::Ipv4BadOptions);
                }
                options = options.get(len..).ok_or(DropReason::Ipv4BadOptions)?;
            }
        }
    }
    Ok(header_len)
}
