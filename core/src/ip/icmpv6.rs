//! ICMP for IPv6: echo, the errors that this host sends, and those that it is
//! sent (RFC 4443).

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use pollwire_offload::checksum::{self, Sum};
use pollwire_rings::{FrameBuf, Instant, TxMeta};
use zerocopy::{FromBytes, IntoBytes};

use super::{Cause, IcmpError, IpFields, IpMeta};
use crate::iface::Pending;
use crate::wire::icmpv6::{
    DEST_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, MLD_QUERY, NEIGHBOR_ADVERTISEMENT,
    NEIGHBOR_SOLICITATION, PACKET_TOO_BIG, PARAMETER_PROBLEM, PORT_UNREACHABLE,
    REASSEMBLY_EXCEEDED, REDIRECT, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, TIME_EXCEEDED,
};
use crate::wire::ipv6::{
    BadExtension, FragmentHeader, MIN_MTU, PROTOCOL_ICMPV6, UNRECOGNIZED_NEXT_HEADER,
    skip_extensions, walk_extensions,
};
use crate::wire::{ETHERNET_HEADER, ICMPV6_HEADER, IPV6_HEADER, Icmpv6Header, Ipv6Header};
use crate::{ConnError, Counter, DropReason, Stack};

/// RFC 4443, 3: an error quotes "as much of invoking packet as possible without
/// the ICMPv6 packet exceeding the minimum IPv6 MTU".
const MAX_QUOTE: usize = MIN_MTU as usize - IPV6_HEADER - ICMPV6_HEADER;

/// An error to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmpv6Error {
    kind: u8,
    code: u8,
    /// The word behind the checksum.
    word: u32,
    /// It is sent even about a packet for a group (RFC 4443, 2.4 (e)).
    even_group: bool,
}

impl Icmpv6Error {
    /// Nobody listens on that port.
    pub(crate) const PORT_UNREACHABLE: Self = Self {
        kind: DEST_UNREACHABLE,
        code: PORT_UNREACHABLE,
        word: 0,
        even_group: false,
    };

    /// Not all fragments of the datagram came in time.
    pub(crate) const REASSEMBLY_TIMEOUT: Self = Self {
        kind: TIME_EXCEEDED,
        code: REASSEMBLY_EXCEEDED,
        word: 0,
        even_group: false,
    };

    /// What the sender of such extension headers is told, if anything.
    pub(crate) fn about(refused: &BadExtension) -> Option<Self> {
        let (code, at) = refused.problem?;
        Some(Self {
            even_group: refused.even_group,
            ..Self::problem(code, at)
        })
    }

    /// A Parameter Problem, at so many bytes of the packet.
    pub(crate) fn problem(code: u8, at: usize) -> Self {
        Self {
            kind: PARAMETER_PROBLEM,
            code,
            word: u32::try_from(at).unwrap_or(u32::MAX),
            even_group: false,
        }
    }
}

impl Stack {
    /// Takes an ICMPv6 message. `frame` begins with its header and ends with
    /// the IP packet; all headers before it lie in the headroom. `router_alert`
    /// says whether one was among them.
    pub(crate) fn icmpv6_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        router_alert: bool,
        frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else {
            return Err(DropReason::IcmpIgnored);
        };
        let (header, body) =
            Icmpv6Header::read_from_prefix(&frame).map_err(|_| DropReason::IcmpTooShort)?;
        let mut sum = Sum::of(&frame);
        let mut len = frame.len();
        for piece in &self.rx_rest {
            sum = sum.then(Sum::of(piece), len);
            len += piece.len();
        }
        let len = u32::try_from(len).unwrap_or(0);
        let pseudo = Sum::pseudo_v6(src.octets(), dst.octets(), PROTOCOL_ICMPV6, len);
        if !(pseudo + sum).is_valid() {
            return Err(DropReason::IcmpBadChecksum);
        }
        if matches!(
            header.kind,
            ROUTER_SOLICITATION
                | ROUTER_ADVERTISEMENT
                | NEIGHBOR_SOLICITATION
                | NEIGHBOR_ADVERTISEMENT
                | REDIRECT
        ) {
            return self.ndp_input(now, ip, &frame);
        }
        // Only neighbour discovery has messages from nowhere.
        if src.is_unspecified() {
            return Err(DropReason::Ipv6BadSource);
        }
        match header.kind {
            MLD_QUERY => self.mld_query(now, ip, router_alert, &frame),
            ECHO_REQUEST => self.echo_v6(now, src, dst, frame),
            DEST_UNREACHABLE | PACKET_TOO_BIG | TIME_EXCEEDED | PARAMETER_PROBLEM => {
                let cause = cause_of(&header).ok_or(DropReason::IcmpIgnored)?;
                self.on_icmp_error(ip.src, &parse_quote(cause, body)?)
            }
            // RFC 4443, 2.4 (b): "If an ICMPv6 informational message of unknown
            // type is received, it MUST be silently discarded."
            _ => Err(DropReason::IcmpIgnored),
        }
    }

    /// Answers in place (RFC 4443, 4.2). To a request for a group the answer
    /// goes out from an address of this interface.
    fn echo_v6(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        mut frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let own = if dst.is_multicast() {
            self.iface.v6.source_for(src)
        } else {
            Some(dst)
        };
        let own = own.ok_or(DropReason::NoRoute)?;
        if let Ok((header, _)) = Icmpv6Header::mut_from_prefix(&mut frame) {
            let mut check = checksum::update_u16(
                header.checksum.get(),
                u16::from_be_bytes([header.kind, header.code]),
                u16::from_be_bytes([ECHO_REPLY, header.code]),
            );
            // Both addresses of the pseudo-header stay, but the group's.
            if own != dst {
                for (old, new) in dst.segments().into_iter().zip(own.segments()) {
                    check = checksum::update_u16(check, old, new);
                }
            }
            header.kind = ECHO_REPLY;
            header.checksum = check.into();
        }
        self.counters.inc(Counter::IcmpEchoReplies);
        if self.rx_rest.is_empty() {
            self.icmpv6_send(now, own, src, frame);
            return Ok(());
        }
        let rest = core::mem::take(&mut self.rx_rest);
        let len = frame.len() + rest.iter().map(|piece| piece.len()).sum::<usize>();
        let chain = core::iter::once(frame).chain(rest).map(FrameBuf::freeze);
        let (own, src) = (IpAddr::V6(own), IpAddr::V6(src));
        // What cannot be sent has been counted.
        let _ = self.ip_send_chain(now, own, src, IpFields::of(PROTOCOL_ICMPV6), len, chain);
        Ok(())
    }

    fn icmpv6_send(&mut self, now: Instant, src: Ipv6Addr, dst: Ipv6Addr, frame: FrameBuf) {
        let packet = Pending {
            frame,
            payload: None,
            meta: TxMeta::default(),
        };
        let fields = IpFields::of(PROTOCOL_ICMPV6);
        if let Err(reason) = self.ipv6_send(now, src, dst, fields, packet) {
            self.counters.drop(reason);
        }
    }

    /// Sends an error about `original`, which begins behind its headers: they
    /// lie in its headroom, `ip.header_len` bytes. Its frame becomes the
    /// error's own.
    ///
    /// RFC 4443, 2.4 (e): none is ever sent about an ICMPv6 error or a
    /// redirect, about a packet for a group but for two exceptions, or about
    /// one whose source names no single host. And (f): their rate MUST be
    /// limited.
    pub(crate) fn icmpv6_error(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        error: Icmpv6Error,
        mut original: FrameBuf,
    ) {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else {
            return;
        };
        if (ip.broadcast && !error.even_group)
            || src.is_unspecified()
            || original.push_front(ip.header_len.into()).is_none()
            || is_icmpv6_error(&original)
        {
            return;
        }
        let own = if ip.broadcast {
            self.iface.v6.source_for(src)
        } else {
            Some(dst)
        };
        let Some(own) = own else { return };
        if !self.icmp.may_send_error(now, &mut self.random) {
            self.counters.inc(Counter::IcmpErrorsLimited);
            return;
        }
        original.truncate(MAX_QUOTE);
        let room = ETHERNET_HEADER + IPV6_HEADER + ICMPV6_HEADER;
        let Some(mut frame) = self.with_headroom(original, room) else {
            return;
        };
        let header = Icmpv6Header {
            kind: error.kind,
            code: error.code,
            checksum: 0.into(),
            rest: error.word.to_be_bytes(),
        };
        let len = u32::try_from(ICMPV6_HEADER + frame.len()).unwrap_or(0);
        let check = Sum::pseudo_v6(own.octets(), src.octets(), PROTOCOL_ICMPV6, len)
            .add_bytes(header.as_bytes())
            .add_bytes(&frame)
            .finish();
        let header = Icmpv6Header {
            checksum: check.into(),
            ..header
        };
        if let Some(room) = frame.push_front(ICMPV6_HEADER) {
            room.copy_from_slice(header.as_bytes());
        }
        self.counters.inc(Counter::IcmpErrorsOut);
        self.icmpv6_send(now, own, src, frame);
    }
}

/// What an error means to a connection; `None` when it means nothing to one.
fn cause_of(header: &Icmpv6Header) -> Option<Cause> {
    match (header.kind, header.code) {
        (DEST_UNREACHABLE, PORT_UNREACHABLE) | (PARAMETER_PROBLEM, UNRECOGNIZED_NEXT_HEADER) => {
            Some(Cause::Failed(ConnError::Refused))
        }
        // RFC 4443, 3.2: its code is to be ignored.
        (PACKET_TOO_BIG, _) => {
            let mtu = u32::from_be_bytes(header.rest);
            // RFC 8021: less than every link carries is not believed; and 0,
            // which for IPv4 is a router that does not say, least of all.
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            (mtu >= MIN_MTU).then_some(Cause::TooBig(mtu))
        }
        (DEST_UNREACHABLE, 0..=7) | (TIME_EXCEEDED, 0) => {
            Some(Cause::Failed(ConnError::HostUnreachable))
        }
        _ => None,
    }
}

/// Whether an IPv6 packet is an ICMPv6 error or a redirect, or might be.
fn is_icmpv6_error(packet: &[u8]) -> bool {
    let Ok((header, _)) = Ipv6Header::ref_from_prefix(packet) else {
        return true;
    };
    let Some((protocol, at)) = skip_extensions(packet, header.next_header) else {
        return false;
    };
    let is_error = |&kind: &u8| Icmpv6Header::is_error(kind) || kind == REDIRECT;
    protocol == PROTOCOL_ICMPV6 && packet.get(at).is_none_or(is_error)
}

/// Reads the packet that an ICMPv6 error is about.
fn parse_quote(cause: Cause, quote: &[u8]) -> Result<IcmpError, DropReason> {
    let bad = DropReason::IcmpBadQuote;
    let (header, _) = Ipv6Header::ref_from_prefix(quote).map_err(|_| bad)?;
    let first = Ipv6Header::NEXT_HEADER_AT;
    let found = walk_extensions(quote, header.next_header, IPV6_HEADER, first).map_err(|_| bad)?;
    let (protocol, at) = match found.fragment {
        None => (found.next_header, found.at),
        // Of what we sent in fragments, the first one is quoted with its ports.
        Some(fragment) if fragment.header.offset() == 0 => (
            fragment.header.next_header,
            fragment.at + FragmentHeader::LEN,
        ),
        Some(_) => return Err(bad),
    };
    let transport = quote
        .get(at..)
        .and_then(<[u8]>::first_chunk::<8>)
        .filter(|_| header.version() == 6)
        .ok_or(bad)?;
    let [a, b, c, d, seq @ ..] = *transport;
    let endpoint = |address: Ipv6Addr, port: [u8; 2]| {
        SocketAddr::new(IpAddr::V6(address), u16::from_be_bytes(port))
    };
    Ok(IcmpError {
        cause,
        local: endpoint(header.source(), [a, b]),
        remote: endpoint(header.destination(), [c, d]),
        protocol,
        seq: u32::from_be_bytes(seq),
        // A packet that long has no room for its fixed header.
        len: header.payload_len.get().saturating_add(IPV6_HEADER as u16),
    })
}
