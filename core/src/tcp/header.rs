//! Writing the headers of an outgoing segment: Ethernet, IP and TCP in one go.

use arrayvec::ArrayVec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{TxChecksum, TxMeta};

use super::seq::SeqNum;
use super::template::Template;
use crate::FlowKey;
use crate::wire::tcp::{ACK, SYN};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
/// Where the checksum lies in a TCP header.
pub(crate) const CHECKSUM_AT: u16 = 16;
pub(super) const PROTOCOL_TCP: u8 = 6;
/// Time to live of IPv4 segments.
pub(super) const TTL: u8 = 64;

/// Options of a segment, as bytes; always a multiple of four.
pub(crate) type OptionBytes = ArrayVec<u8, 40>;

/// What a segment's header says.
pub(crate) struct HeaderFields {
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
    pub(crate) flags: u8,
    /// As it goes on the wire, scaled down.
    pub(crate) window: u16,
    pub(crate) timestamps: Option<(u32, u32)>,
    /// ECN codepoint of the packet (RFC 3168, 5); where there is a template,
    /// that says it.
    pub(crate) ecn: u8,
}

impl HeaderFields {
    /// A TCP header of `header_len` bytes behind the ports, checksum and urgent
    /// pointer left out; timestamps last, zero if there are none.
    #[inline(always)]
    pub(crate) fn words(&self, header_len: usize) -> [u32; 6] {
        #[expect(clippy::cast_possible_truncation, reason = "at most 60")]
        let offset = (header_len / 4) as u32;
        let control = (offset << 28) | (u32::from(self.flags) << 16) | u32::from(self.window);
        // As long as that is, it has timestamps.
        let kind = if header_len > TCP { 0x0101_080a } else { 0 };
        let (value, echo) = self.timestamps.unwrap_or_default();
        [self.seq.raw(), self.ack.raw(), control, kind, value, echo]
    }
}

/// Bytes of Ethernet, IP and TCP header with `options` bytes of TCP options.
#[inline]
pub(crate) fn header_len(key: &FlowKey, options: usize) -> usize {
    ETHERNET + if key.is_v4() { IPV4 } else { IPV6 } + TCP + options
}

/// Bytes before the TCP header.
#[inline]
pub(crate) fn transport_at(key: &FlowKey) -> usize {
    header_len(key, 0) - TCP
}

/// Options of a SYN, in Linux's order: MSS, SACK permitted, timestamps, NOP,
/// window scale.
pub(crate) fn syn_options(
    mss: u16,
    sack: bool,
    timestamps: Option<(u32, u32)>,
    scale: Option<u8>,
) -> OptionBytes {
    let mut out = OptionBytes::new();
    out.extend([2, 4]);
    out.extend(mss.to_be_bytes());
    match (sack, timestamps.is_some()) {
        (true, true) => out.extend([4, 2]),
        (true, false) => out.extend([1, 1, 4, 2]),
        (false, true) => out.extend([1, 1]),
        (false, false) => {}
    }
    if let Some((value, echo)) = timestamps {
        out.extend([8, 10]);
        out.extend(value.to_be_bytes());
        out.extend(echo.to_be_bytes());
    }
    if let Some(scale) = scale {
        out.extend([1, 3, 3, scale]);
    }
    out
}

/// Options of any other segment: timestamps, then SACK blocks.
pub(crate) fn plain_options(timestamps: Option<(u32, u32)>, blocks: &[(u32, u32)]) -> OptionBytes {
    let mut out = OptionBytes::new();
    if let Some((value, echo)) = timestamps {
        out.extend([1, 1, 8, 10]);
        out.extend(value.to_be_bytes());
        out.extend(echo.to_be_bytes());
    }
    let room = (out.remaining_capacity().saturating_sub(4)) / 8;
    let blocks = blocks.get(..room.min(blocks.len())).unwrap_or_default();
    if !blocks.is_empty() {
        let len = u8::try_from(2 + 8 * blocks.len()).unwrap_or(0);
        out.extend([1, 1, 5, len]);
        for (left, right) in blocks {
            out.extend(left.to_be_bytes());
            out.extend(right.to_be_bytes());
        }
    }
    out
}

/// Writes the TCP header and its options into `out`, checksum field zero.
/// `out` must hold just that; anything else is left alone.
#[inline]
pub(crate) fn write_tcp(out: &mut [u8], key: &FlowKey, fields: &HeaderFields, options: &[u8]) {
    let words = u8::try_from((TCP + options.len()) / 4).unwrap_or(5);
    let Some((fixed, rest)) = out.split_first_chunk_mut::<TCP>() else {
        return;
    };
    fixed[0..2].copy_from_slice(&key.local_port().to_be_bytes());
    fixed[2..4].copy_from_slice(&key.remote_port().to_be_bytes());
    fixed[4..8].copy_from_slice(&fields.seq.raw().to_be_bytes());
    fixed[8..12].copy_from_slice(&fields.ack.raw().to_be_bytes());
    fixed[12] = words << 4;
    fixed[13] = fields.flags;
    fixed[14..16].copy_from_slice(&fields.window.to_be_bytes());
    fixed[16..20].copy_from_slice(&[0; 4]);
    if let (Some(fast), Some((value, echo)), true) = (
        rest.first_chunk_mut::<12>(),
        fields.timestamps,
        options.len() == 12,
    ) {
        fast[0..4].copy_from_slice(&[1, 1, 8, 10]);
        fast[4..8].copy_from_slice(&value.to_be_bytes());
        fast[8..12].copy_from_slice(&echo.to_be_bytes());
    } else if rest.len() == options.len() {
        rest.copy_from_slice(options);
    }
}

/// The sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
#[inline]
pub(crate) fn pseudo_sum(key: &FlowKey, tcp_len: usize) -> Sum {
    match (key.local_v4(), key.remote_v4()) {
        (Some(local), Some(remote)) => Sum::pseudo_v4(
            local,
            remote,
            PROTOCOL_TCP,
            u16::try_from(tcp_len).unwrap_or(0),
        ),
        _ => Sum::pseudo_v6(
            key.local_bytes(),
            key.remote_bytes(),
            PROTOCOL_TCP,
            u32::try_from(tcp_len).unwrap_or(0),
        ),
    }
}

/// Writes Ethernet, IP and TCP header into `out`, which is just as long as they
/// are; the mark of congestion is that of `fields`, whatever the template's. `sum`
/// is that of `payload_len` bytes of payload, or `None` where the
/// device completes the checksum.
#[inline]
pub(crate) fn write_all(
    out: &mut [u8],
    template: &Template,
    key: &FlowKey,
    fields: &HeaderFields,
    options: &[u8],
    (payload_len, sum): (usize, Option<Sum>),
) {
    let Some((front, tcp)) = out.split_at_mut_checked(transport_at(key)) else {
        return;
    };
    write_tcp(tcp, key, fields, options);
    let tcp_len = tcp.len() + payload_len;
    let pseudo = pseudo_sum(key, tcp_len);
    let check = match sum {
        Some(sum) => pseudo.add_bytes(tcp).then(sum, 0).finish(),
        None => pseudo.fold(),
    };
    if let Some(field) = tcp.get_mut(16..18) {
        field.copy_from_slice(&check.to_be_bytes());
    }
    write_link_and_ip(front, template, key, fields.ecn, tcp_len);
}

/// What the device has to do for a segment whose TCP header begins at byte
/// `at`: complete the checksum, or nothing.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 100")]
pub(crate) const fn meta(at: usize, offload: bool) -> TxMeta {
    let checksum = if offload {
        TxChecksum::Partial {
            start: at as u16,
            offset: CHECKSUM_AT,
        }
    } else {
        TxChecksum::Done
    };
    TxMeta {
        checksum,
        gso: None,
    }
}

#[inline]
fn write_link_and_ip(
    front: &mut [u8],
    template: &Template,
    key: &FlowKey,
    ecn: u8,
    tcp_len: usize,
) {
    let Some((ethernet, ip)) = front.split_first_chunk_mut::<ETHERNET>() else {
        return;
    };
    *ethernet = template.link();
    if let (Some(local), Some(remote), Some(ip)) = (
        key.local_v4(),
        key.remote_v4(),
        ip.first_chunk_mut::<IPV4>(),
    ) {
        let total = u16::try_from(IPV4 + tcp_len).unwrap_or(u16::MAX);
        // RFC 6864, 4.1: with DF set and never a fragment, the identification
        // may be anything.
        ip[0..2].copy_from_slice(&[0x45, ecn]);
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[4..12].copy_from_slice(&[0, 0, 0x40, 0, TTL, PROTOCOL_TCP, 0, 0]);
        ip[12..16].copy_from_slice(&local);
        ip[16..20].copy_from_slice(&remote);
        let check = Sum::of_array(ip).finish();
        ip[10..12].copy_from_slice(&check.to_be_bytes());
    } else if let Some(ip) = ip.first_chunk_mut::<IPV6>() {
        let len = u16::try_from(tcp_len).unwrap_or(u16::MAX);
        // Class, flow label, hop limit.
        ip[0..8].copy_from_slice(&template.bytes[14..22]);
        ip[1] = (ip[1] & 0x0f) | ecn << 4;
        ip[4..6].copy_from_slice(&len.to_be_bytes());
        ip[8..24].copy_from_slice(&key.local_bytes());
        ip[24..40].copy_from_slice(&key.remote_bytes());
    }
}

/// Flags of a segment that opens: SYN, and ACK once the peer's SYN is known.
pub(crate) fn syn_flags(acknowledges: bool) -> u8 {
    if acknowledges { SYN | ACK } else { SYN }
}

/// Bytes of all headers of an IPv4 segment without options.
pub(crate) const V4_PLAIN: usize = ETHERNET + IPV4 + TCP;
/// The same with timestamps.
pub(crate) const V4_TIMED: usize = V4_PLAIN + 12;
/// Bytes of all headers of an IPv6 segment without options.
pub(crate) const V6_PLAIN: usize = ETHERNET + IPV6 + TCP;
/// The same with timestamps.
pub(crate) const V6_TIMED: usize = V6_PLAIN + 12;

/// Whether headers of this length, one of the four above, are IPv4's.
#[inline(always)]
pub(crate) const fn is_v4(headers: usize) -> bool {
    headers < V6_PLAIN
}

/// Whether headers of this length have timestamps.
#[inline(always)]
pub(crate) const fn is_timed(headers: usize) -> bool {
    headers - tcp_at(headers) > TCP
}

/// Where TCP begins in headers of this length.
#[inline(always)]
pub(crate) const fn tcp_at(headers: usize) -> usize {
    if is_v4(headers) {
        ETHERNET + IPV4
    } else {
        ETHERNET + IPV6
    }
}

/// [`write_all`] for the shapes that nearly all segments have: with timestamps
/// or without options. Every offset is a constant.
#[inline(always)]
pub(crate) fn write_plain<const N: usize>(
    out: &mut [u8; N],
    template: &Template,
    key: &FlowKey,
    fields: &HeaderFields,
    (payload_len, sum): (usize, Option<Sum>),
) {
    let at = tcp_at(N);
    #[expect(clippy::cast_possible_truncation, reason = "of an IP packet")]
    let tcp_len = (N - at + payload_len) as u16;
    if is_v4(N) {
        let total = tcp_len.wrapping_add(20);
        out[..38].copy_from_slice(&template.bytes);
        out[16..18].copy_from_slice(&total.to_be_bytes());
        out[24..26].copy_from_slice(&template.ip_check(total).to_be_bytes());
    } else {
        out[..22].copy_from_slice(&template.bytes[..22]);
        out[18..20].copy_from_slice(&tcp_len.to_be_bytes());
        out[22..38].copy_from_slice(&key.local_bytes());
        out[38..54].copy_from_slice(&key.remote_bytes());
        out[54..58].copy_from_slice(&template.ports().to_be_bytes());
    }
    let words = fields.words(N - at);
    out[at + 4..at + 8].copy_from_slice(&words[0].to_be_bytes());
    out[at + 8..at + 12].copy_from_slice(&words[1].to_be_bytes());
    out[at + 12..at + 16].copy_from_slice(&words[2].to_be_bytes());
    if is_timed(N) {
        out[at + 20..at + 24].copy_from_slice(&words[3].to_be_bytes());
        out[at + 24..at + 28].copy_from_slice(&words[4].to_be_bytes());
        out[at + 28..at + 32].copy_from_slice(&words[5].to_be_bytes());
    }
    let pseudo = template.pseudo_sum(tcp_len);
    let check = match sum {
        Some(sum) => {
            let header = Sum::of_words(words) + Sum::of_words([template.ports()]);
            (pseudo + header + sum).finish()
        }
        None => pseudo.fold(),
    };
    // The urgent pointer follows: zero.
    out[at + 16..at + 20].copy_from_slice(&(u32::from(check) << 16).to_be_bytes());
}
