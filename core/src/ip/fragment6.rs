//! Fragments of IPv6 (RFC 8200, 4.5): what arrives in them, and datagrams that
//! leave in them because the path carries no more at once.

use core::net::Ipv6Addr;

use pollwire_rings::{FrameBuf, FrameRef, HEADROOM, Instant, TxMeta};
use zerocopy::IntoBytes;

use super::fragment::{Rest, ip_of};
use super::icmpv6::Icmpv6Error;
use super::output::prepend;
use super::reassembly::{Fragment, FragmentKey, Head};
use super::{IpFields, IpMeta, output6};
use crate::iface::Pending;
use crate::wire::IPV6_HEADER;
use crate::wire::icmpv6::INCOMPLETE_HEADER_CHAIN;
use crate::wire::ipv6::{
    BadExtension, ERRONEOUS_FIELD, Extensions, FRAGMENT, FoundFragment, FragmentHeader,
    walk_extensions,
};
use crate::{Counter, DropReason, Stack};

/// Bytes that the longest packet has behind its fixed header.
const MAX_PAYLOAD: usize = 65_535;
/// Where the payload length lies in a fixed header.
const PAYLOAD_LEN_AT: usize = 4;

impl Stack {
    /// Takes a fragment. `frame` begins with the IPv6 header. Returns the
    /// datagram that it completes, from its first fragment's IPv6 header on, and
    /// where its extension headers end; the rest is in `rx_rest`.
    #[cold]
    pub(crate) fn on_ipv6_fragment(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        found: &FoundFragment,
        mut frame: FrameBuf,
    ) -> Result<Option<(IpMeta, Extensions, FrameBuf)>, DropReason> {
        let data_at = found.at + FragmentHeader::LEN;
        let rest = self.rx_rest.iter().map(|piece| piece.len()).sum::<usize>();
        let len = frame.len().saturating_sub(data_at) + rest;
        let (offset, more) = (found.header.offset(), found.header.more());
        // "If the length of a fragment [...] is not a multiple of 8 octets and
        // the M flag of that fragment is 1, then that fragment must be
        // discarded and an ICMP Parameter Problem, Code 0, message should be
        // sent", and the same for one that would end beyond the longest packet.
        let wrong = if more && !len.is_multiple_of(8) {
            Some((DropReason::FragmentBadLength, PAYLOAD_LEN_AT))
        } else if offset + len + (found.at - IPV6_HEADER) > MAX_PAYLOAD {
            Some((DropReason::FragmentTooLong, found.at + 2))
        } else {
            None
        };
        if let Some((reason, at)) = wrong {
            frame.trim_front(IPV6_HEADER);
            self.icmpv6_error(now, ip, Icmpv6Error::problem(ERRONEOUS_FIELD, at), frame);
            return Err(reason);
        }
        // RFC 7112: the first fragment holds all headers.
        if offset == 0 {
            let next = found.header.next_header;
            if let Err(refused) = walk_extensions(&frame, next, data_at, found.at) {
                return Err(self.refuse_first_fragment(now, ip, &refused, frame));
            }
        }
        // Both within the limits of extension headers.
        let header_len = u8::try_from(data_at).unwrap_or(u8::MAX);
        let fragment = Fragment {
            key: FragmentKey {
                src: ip.src,
                dst: ip.dst,
                ident: found.header.ident.get(),
                protocol: 0,
            },
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            more,
            limit: u32::try_from(MAX_PAYLOAD + IPV6_HEADER - found.at).unwrap_or(0),
            head: Head {
                protocol: found.header.next_header,
                header_len,
                ttl: ip.ttl,
                class: ip.class,
                broadcast: ip.broadcast,
            },
        };
        frame.trim_front(data_at);
        let Some(whole) = self.on_fragment(now, &fragment, frame)? else {
            return Ok(None);
        };
        let (mut frame, head) = (whole.frame, whole.head);
        let ip = ip_of(&fragment.key, &head);
        let at = usize::from(head.header_len);
        if frame.push_front(at).is_none() {
            return Err(DropReason::Ipv6BadExtension);
        }
        let announced_at = at - FragmentHeader::LEN;
        let rest = walk_extensions(&frame, head.protocol, at, announced_at)
            .map_err(|refused| refused.reason)?;
        // A fragment in a fragment serves no purpose.
        if rest.fragment.is_some() {
            return Err(DropReason::Ipv6BadExtension);
        }
        Ok(Some((ip, rest, frame)))
    }

    /// Tells the sender that its first fragment lacks headers, or what is wrong
    /// with them.
    fn refuse_first_fragment(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        refused: &BadExtension,
        mut frame: FrameBuf,
    ) -> DropReason {
        let incomplete = refused.reason == DropReason::Ipv6BadExtension;
        let error = Icmpv6Error::about(refused)
            .or(incomplete.then(|| Icmpv6Error::problem(INCOMPLETE_HEADER_CHAIN, 0)));
        frame.trim_front(IPV6_HEADER);
        if let Some(error) = error {
            self.icmpv6_error(now, ip, error, frame);
        }
        refused.reason
    }

    /// Sends a datagram that is too long for the path in one packet. `chain`
    /// is the datagram, `len` bytes from the transport header on, its checksum
    /// complete.
    pub(crate) fn ipv6_send_fragments(
        &mut self,
        now: Instant,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        fields: IpFields,
        len: usize,
        chain: impl Iterator<Item = FrameRef>,
    ) -> Result<(), DropReason> {
        self.chores_changed();
        let mtu = usize::from(self.path_mtu(dst.into()));
        let room = self.pool.frame_size().saturating_sub(HEADROOM);
        let headers = IPV6_HEADER + FragmentHeader::LEN;
        let most = mtu.saturating_sub(headers).min(room) & !7;
        if len + FragmentHeader::LEN > MAX_PAYLOAD || most == 0 {
            return Err(DropReason::SendTooLong);
        }
        if self.outbox.room() < len.div_ceil(most) {
            return Err(DropReason::OutboxFull);
        }
        // RFC 8021: an atomic fragment is never sent.
        let alone = len + IPV6_HEADER <= mtu.min(room);
        let ident = self.idents.next(src.into(), dst.into());
        let fields = self.with_hop_limit(fields, dst);
        let mut rest = Rest::new(chain);
        let mut offset = 0;
        while offset < len {
            let count = if alone { len } else { most.min(len - offset) };
            let (frame, payload) = self.next_fragment(&mut rest, count)?;
            let mut packet = Pending {
                frame,
                payload,
                meta: TxMeta::default(),
            };
            let (mut protocol, mut extra) = (fields.protocol, 0);
            if !alone {
                let more = u16::from(offset + count < len);
                // Bounded by the longest packet.
                let units = u16::try_from(offset).unwrap_or(u16::MAX);
                let header = FragmentHeader {
                    next_header: fields.protocol,
                    reserved: 0,
                    offset_more: (units | more).into(),
                    ident: ident.into(),
                };
                let mut bytes = [0; FragmentHeader::LEN];
                bytes.copy_from_slice(header.as_bytes());
                prepend(&mut packet, &bytes)?;
                (protocol, extra) = (FRAGMENT, FragmentHeader::LEN);
            }
            let payload_len = u16::try_from(count + extra).unwrap_or(u16::MAX);
            let header = output6::header(IpFields { protocol, ..fields }, src, dst, payload_len);
            prepend(&mut packet, &header.to_bytes())?;
            self.counters.inc(Counter::Ipv6Out);
            self.send_via_next_hop_v6(now, dst, packet)?;
            offset += count;
        }
        if !alone {
            self.counters.inc(Counter::Fragmented);
        }
        Ok(())
    }
}
