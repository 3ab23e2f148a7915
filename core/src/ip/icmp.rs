//! ICMP for IPv4: echo, the errors that this host sends, and those that it is
//! sent (RFC 792, RFC 1122 3.2.2).

#[cfg(test)]
mod tests;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use pollwire_offload::checksum::{self, Sum};
use pollwire_rings::{FrameBuf, Instant, TxMeta};
use zerocopy::{FromBytes, IntoBytes};

use super::{IpFields, IpMeta};
use crate::random::Random;
use crate::wire::icmpv4::{
    DEST_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, FRAGMENTATION_NEEDED, PORT_UNREACHABLE,
    PROTOCOL_UNREACHABLE, REASSEMBLY, REDIRECT, TIME_EXCEEDED,
};
use crate::wire::ipv4::{FRAGMENT_OFFSET, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::{ETHERNET_HEADER, ICMPV4_HEADER, IPV4_HEADER, Icmpv4Header, Ipv4Header};
use crate::{ConnError, Counter, DropReason, Stack};

/// RFC 1812, 4.3.2.3: an error quotes "as much of the original datagram as
/// possible without the length of the ICMP datagram exceeding 576 bytes".
const MAX_ERROR: usize = 576;
const MAX_QUOTE: usize = MAX_ERROR - IPV4_HEADER - ICMPV4_HEADER;

/// What ICMP keeps between packets: the rate limit of its errors.
pub(crate) struct Icmp {
    /// Errors that may be sent now, in nanoseconds of waiting.
    credit: u64,
    refilled_at: Instant,
    /// No line about a redirect goes to the log before.
    pub(super) log_redirects_at: Instant,
}

/// Nanoseconds of waiting that one error costs: 100 in a second at most.
const ERROR_COST: u64 = 10_000_000;
/// Errors that may be sent at once.
const ERROR_BURST: u64 = 50;

impl Icmp {
    /// A full bucket.
    pub(crate) const fn new() -> Self {
        Self {
            credit: ERROR_BURST * ERROR_COST,
            refilled_at: Instant::ZERO,
            log_redirects_at: Instant::ZERO,
        }
    }

    /// Whether an error may be sent now (RFC 1812, 4.3.2.8).
    ///
    /// Every other error costs double, at random: with an exact limit, whoever
    /// spoofs the senders of probes could count from afar which of them were
    /// answered, and so find the ports that are open.
    pub(super) fn may_send_error(&mut self, now: Instant, random: &mut Random) -> bool {
        let earned = now.nanos_since(self.refilled_at);
        self.credit = self
            .credit
            .saturating_add(earned)
            .min(ERROR_BURST * ERROR_COST);
        self.refilled_at = self.refilled_at.max(now);
        if self.credit < ERROR_COST {
            return false;
        }
        let cost = ERROR_COST * u64::from(1 + random.below(2));
        self.credit = self.credit.saturating_sub(cost);
        true
    }
}

impl Stack {
    /// Takes an ICMP message. `frame` begins with its header and ends with the
    /// IP packet; the IP header lies in the headroom.
    pub(crate) fn icmp_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let (header, body) =
            Icmpv4Header::ref_from_prefix(&frame).map_err(|_| DropReason::IcmpTooShort)?;
        let mut sum = Sum::of(&frame);
        let mut len = frame.len();
        for piece in &self.rx_rest {
            sum = sum.then(Sum::of(piece), len);
            len += piece.len();
        }
        if !sum.is_valid() {
            return Err(DropReason::IcmpBadChecksum);
        }
        match header.kind {
            ECHO_REQUEST => self.echo(now, ip, frame),
            DEST_UNREACHABLE | TIME_EXCEEDED => {
                let cause = cause_of(header).ok_or(DropReason::IcmpIgnored)?;
                let error = IcmpError::parse_v4(cause, body)?;
                self.on_icmp_error(ip.src, &error)
            }
            REDIRECT => {
                let cause = redirect_of(header).ok_or(DropReason::IcmpIgnored)?;
                let error = IcmpError::parse_v4(cause, body)?;
                self.on_icmp_redirect(now, ip, &error)
            }
            // Source Quench MUST be ignored (RFC 6633, 3); "If
            // an ICMP message of unknown type is received, it MUST be silently
            // discarded" (RFC 1122, 3.2.2).
            _ => Err(DropReason::IcmpIgnored),
        }
    }

    /// Answers in place: RFC 1122, 3.2.2.6: "Data received in an ICMP Echo
    /// Request MUST be entirely included in the resulting Echo Reply", whose
    /// source "MUST be the same as the specific-destination address" asked.
    fn echo(&mut self, now: Instant, ip: &IpMeta, mut frame: FrameBuf) -> Result<(), DropReason> {
        if ip.broadcast || self.is_group(ip.src) {
            return Err(DropReason::IcmpEchoToGroup);
        }
        if let Ok((header, _)) = Icmpv4Header::mut_from_prefix(&mut frame) {
            let (old, new) = ([header.kind, header.code], [ECHO_REPLY, header.code]);
            let check = checksum::update_u16(
                header.checksum.get(),
                u16::from_be_bytes(old),
                u16::from_be_bytes(new),
            );
            header.kind = ECHO_REPLY;
            header.checksum = check.into();
        }
        self.counters.inc(Counter::IcmpEchoReplies);
        if self.rx_rest.is_empty() {
            self.icmp_send(now, ip.dst, ip.src, frame);
            return Ok(());
        }
        let rest = core::mem::take(&mut self.rx_rest);
        let len = frame.len() + rest.iter().map(|piece| piece.len()).sum::<usize>();
        let chain = core::iter::once(frame).chain(rest).map(FrameBuf::freeze);
        // What cannot be sent has been counted.
        let _ = self.ip_send_chain(now, ip.dst, ip.src, IpFields::of(PROTOCOL_ICMP), len, chain);
        Ok(())
    }

    /// Whether an answer to `source` would go to many: IP input does not know a
    /// subnet's broadcast address from a host's when it is a source.
    fn is_group(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => self.iface.is_broadcast(source),
            IpAddr::V6(source) => source.is_multicast(),
        }
    }

    fn icmp_send(&mut self, now: Instant, src: IpAddr, dst: IpAddr, frame: FrameBuf) {
        // What cannot be sent has been counted.
        let fields = IpFields::of(PROTOCOL_ICMP);
        let _ = self.ip_send(now, src, dst, fields, frame, None, TxMeta::default());
    }

    /// Tells the sender of `original` that it is unreachable here: `code` says
    /// in what way. `original` begins with its transport header, its IP header
    /// lies in the headroom; its frame becomes the error's own.
    ///
    /// RFC 1122, 3.2.2: no error is ever sent about an ICMP error, a datagram
    /// for a group, a fragment other than the first, or one whose source names
    /// no single host. IP input has refused the last two.
    pub(crate) fn icmp_unreachable(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        code: u8,
        original: FrameBuf,
    ) {
        self.icmp_error(now, ip, (DEST_UNREACHABLE, code), original);
    }

    /// Tells the sender that not all fragments of its datagram came in time
    /// (RFC 792); `first` is the first one.
    pub(crate) fn icmp_reassembly_timeout(&mut self, now: Instant, ip: &IpMeta, first: FrameBuf) {
        self.icmp_error(now, ip, (TIME_EXCEEDED, REASSEMBLY), first);
    }

    fn icmp_error(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        (kind, code): (u8, u8),
        mut original: FrameBuf,
    ) {
        if ip.broadcast
            || self.is_group(ip.src)
            || original.push_front(ip.header_len.into()).is_none()
            || is_icmp_error(&original)
        {
            return;
        }
        if !self.icmp.may_send_error(now, &mut self.random) {
            self.counters.inc(Counter::IcmpErrorsLimited);
            return;
        }
        original.truncate(MAX_QUOTE);
        let room = ETHERNET_HEADER + IPV4_HEADER + ICMPV4_HEADER;
        let Some(mut frame) = self.with_headroom(original, room) else {
            return;
        };
        let header = Icmpv4Header {
            kind,
            code,
            checksum: 0.into(),
            rest: [0; 4],
        };
        let check = Sum::of(header.as_bytes()).add_bytes(&frame).finish();
        let header = Icmpv4Header {
            checksum: check.into(),
            ..header
        };
        if let Some(room) = frame.push_front(ICMPV4_HEADER) {
            room.copy_from_slice(header.as_bytes());
        }
        self.counters.inc(Counter::IcmpErrorsOut);
        self.icmp_send(now, ip.dst, ip.src, frame);
    }

    /// The frame itself if `room` bytes of headers fit before its data, else a
    /// copy with room for them.
    pub(super) fn with_headroom(&mut self, quote: FrameBuf, room: usize) -> Option<FrameBuf> {
        if quote.headroom() >= room {
            return Some(quote);
        }
        let Some(mut copy) = self.pool.alloc() else {
            self.counters.inc(Counter::NoFrame);
            return None;
        };
        let copied = copy.extend_from_slice(&quote);
        self.counters.add(Counter::CopiedBytes, copied as u64);
        Some(copy)
    }

    /// Passes an error on to whom it concerns: RFC 1122, 3.2.2: "the IP
    /// protocol number MUST be extracted from the original header and used to
    /// select the appropriate transport protocol entity". RFC 4443, 2.4, says
    /// the same for IPv6.
    ///
    /// Anybody can make up an error, so the packet that it quotes must be one
    /// that a socket of ours may have sent: UDP looks for a socket that writes
    /// to that peer, TCP for a segment that is in flight (RFC 5927). What this
    /// host sends to itself no other host can complain about.
    pub(crate) fn on_icmp_error(
        &mut self,
        from: IpAddr,
        error: &IcmpError,
    ) -> Result<(), DropReason> {
        let overheard = self.is_looped(error.remote.ip()) && !self.is_looped(from);
        if overheard || !self.is_local(error.local.ip()) {
            return Err(DropReason::IcmpNoFlow);
        }
        match error.protocol {
            PROTOCOL_UDP => self.udp_icmp_error(error)?,
            PROTOCOL_TCP => self.tcp_icmp_error(error),
            _ => return Err(DropReason::IcmpNoFlow),
        }
        self.counters.inc(Counter::IcmpErrorsIn);
        Ok(())
    }
}

/// What an error means to a connection; `None` when it means nothing to one.
fn cause_of(header: &Icmpv4Header) -> Option<Cause> {
    match (header.kind, header.code) {
        (DEST_UNREACHABLE, PROTOCOL_UNREACHABLE | PORT_UNREACHABLE) => {
            Some(Cause::Failed(ConnError::Refused))
        }
        (DEST_UNREACHABLE, FRAGMENTATION_NEEDED) => Some(Cause::TooBig(header.next_hop_mtu())),
        (DEST_UNREACHABLE, 0..=15) | (TIME_EXCEEDED, 0) => {
            Some(Cause::Failed(ConnError::HostUnreachable))
        }
        _ => None,
    }
}

/// What a redirect says. RFC 1122, 3.2.2.2, and 3.3.1.2 have hosts take redirects
/// for networks, and for types of service, as if they were for the host alone.
fn redirect_of(header: &Icmpv4Header) -> Option<Cause> {
    (header.code <= 3).then_some(Cause::Redirected(Ipv4Addr::from(header.rest)))
}

/// Whether an IPv4 packet is an ICMP error message, or might be.
fn is_icmp_error(packet: &[u8]) -> bool {
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(packet) else {
        return true;
    };
    header.protocol == PROTOCOL_ICMP
        && packet
            .get(header.header_len())
            .is_none_or(|&kind| Icmpv4Header::is_error(kind))
}

/// What an ICMP error says, of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The packet did not arrive, and another would not.
    Failed(ConnError),
    /// The packet was too long for a link on its path, which carries so many
    /// bytes at once; 0 if the router did not say.
    TooBig(u16),
    /// The packet is on its way, but the next one had better go to this
    /// neighbour.
    Redirected(Ipv4Addr),
}

/// An ICMP error, and the packet that it is about: ours, so its source is our
/// side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IcmpError {
    pub(crate) cause: Cause,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) protocol: u8,
    /// TCP's sequence number.
    pub(crate) seq: u32,
    /// Bytes of the whole packet.
    pub(crate) len: u16,
}

impl IcmpError {
    /// RFC 1122, 3.2.2: an error quotes the IP header "and at least the first
    /// 8 data octets".
    fn parse_v4(cause: Cause, quote: &[u8]) -> Result<Self, DropReason> {
        let (header, _) =
            Ipv4Header::ref_from_prefix(quote).map_err(|_| DropReason::IcmpBadQuote)?;
        let transport = quote
            .get(header.header_len()..)
            .and_then(<[u8]>::first_chunk::<8>)
            .filter(|_| header.version() == 4 && header.header_len() >= IPV4_HEADER)
            // Only the first fragment has the ports.
            .filter(|_| header.flags_fragment.get() & FRAGMENT_OFFSET == 0)
            .ok_or(DropReason::IcmpBadQuote)?;
        let [a, b, c, d, seq @ ..] = *transport;
        let endpoint = |address: Ipv4Addr, port: [u8; 2]| {
            SocketAddr::new(IpAddr::V4(address), u16::from_be_bytes(port))
        };
        Ok(Self {
            cause,
            local: endpoint(header.source(), [a, b]),
            remote: endpoint(header.destination(), [c, d]),
            protocol: header.protocol,
            seq: u32::from_be_bytes(seq),
            len: header.total_len.get(),
        })
    }
}
