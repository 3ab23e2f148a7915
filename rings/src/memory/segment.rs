//! What the wire does as a network card: completes checksums and cuts packets
//! into segments.

use pollwire_offload::Sum;

use crate::{GsoKind, TxChecksum, TxMeta};

/// The request does not fit the packet's bytes.
#[derive(Debug)]
pub(super) struct BadRequest;

const ETHERNET: usize = 14;
const VLAN_TAG: [u8; 2] = [0x81, 0x00];
const TCP: u8 = 6;
const TCP_CHECKSUM: usize = 16;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Sums from the place that `request` names to the end and stores the result.
pub(super) fn complete_checksum(packet: &mut [u8], request: TxChecksum) -> Result<(), BadRequest> {
    let TxChecksum::Partial { start, offset } = request else {
        return Ok(());
    };
    let summed = packet.get_mut(usize::from(start)..).ok_or(BadRequest)?;
    // The pseudo-header's sum stands in the field and is summed with the rest.
    let check = Sum::of(summed).finish_nonzero();
    put(summed, usize::from(offset), check.to_be_bytes())
}

/// How a packet is cut.
pub(super) struct Plan {
    kind: GsoKind,
    tcp_start: usize,
    header_len: usize,
    size: usize,
    payload: usize,
}

impl Plan {
    /// The plan for a packet of `len` bytes with this request.
    pub(super) fn new(meta: TxMeta, len: usize) -> Result<Self, BadRequest> {
        let gso = meta.gso.ok_or(BadRequest)?;
        let TxChecksum::Partial { start, .. } = meta.checksum else {
            return Err(BadRequest);
        };
        let header_len = usize::from(gso.header_len);
        let payload = len.checked_sub(header_len).ok_or(BadRequest)?;
        if gso.size == 0 || header_len < usize::from(start) + 20 {
            return Err(BadRequest);
        }
        Ok(Self {
            kind: gso.kind,
            tcp_start: usize::from(start),
            header_len,
            size: usize::from(gso.size),
            payload,
        })
    }

    /// Into how many segments; at least one.
    pub(super) fn segments(&self) -> usize {
        self.payload.div_ceil(self.size).max(1)
    }

    /// Bytes of segment `index`, headers included.
    pub(super) fn segment_len(&self, index: usize) -> usize {
        let left = self.payload.saturating_sub(index.saturating_mul(self.size));
        self.header_len + left.min(self.size)
    }

    /// Writes segment `index` of the packet in `pieces` to `out`, which has its
    /// length, with its headers' lengths, numbers, flags and checksums its own.
    pub(super) fn write<'a>(
        &self,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
        index: usize,
        out: &mut [u8],
    ) -> Result<(), BadRequest> {
        let (header, payload) = out
            .split_at_mut_checked(self.header_len)
            .ok_or(BadRequest)?;
        gather(pieces.clone(), 0, header);
        gather(pieces, self.header_len + index * self.size, payload);
        let last = index + 1 == self.segments();
        self.number(header, index, last)?;
        let tcp_len = out.len().checked_sub(self.tcp_start).ok_or(BadRequest)?;
        let tcp_len = u16::try_from(tcp_len).map_err(|_| BadRequest)?;
        let ip = out.get_mut(ip_start(out)?..).ok_or(BadRequest)?;
        let pseudo = match self.kind {
            GsoKind::TcpV4 => finish_v4(ip, index, tcp_len)?,
            GsoKind::TcpV6 => finish_v6(ip, tcp_len)?,
        };
        let tcp = out.get_mut(self.tcp_start..).ok_or(BadRequest)?;
        put(tcp, TCP_CHECKSUM, [0, 0])?;
        let check = pseudo.add_bytes(tcp).finish();
        put(tcp, TCP_CHECKSUM, check.to_be_bytes())
    }

    /// Sequence number and flags: FIN and PSH belong to the last segment, CWR
    /// to the first (RFC 3168, section 6.1.2).
    fn number(&self, header: &mut [u8], index: usize, last: bool) -> Result<(), BadRequest> {
        let tcp = header.get_mut(self.tcp_start..).ok_or(BadRequest)?;
        let ahead = u32::try_from(index * self.size).map_err(|_| BadRequest)?;
        let seq = u32::from_be_bytes(take(tcp, 4)?).wrapping_add(ahead);
        put(tcp, 4, seq.to_be_bytes())?;
        let [mut flags] = take(tcp, 13)?;
        if !last {
            flags &= !(FIN | PSH);
        }
        if index > 0 {
            flags &= !CWR;
        }
        put(tcp, 13, [flags])
    }
}

/// Gives the IPv4 header its length, identification and checksum; returns the
/// sum of the pseudo-header.
fn finish_v4(ip: &mut [u8], index: usize, tcp_len: u16) -> Result<Sum, BadRequest> {
    let total = u16::try_from(ip.len()).map_err(|_| BadRequest)?;
    let [version] = take(ip, 0)?;
    let [protocol] = take(ip, 9)?;
    let header_len = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header_len < 20 || protocol != TCP {
        return Err(BadRequest);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the field wraps at 2^16")]
    let id = u16::from_be_bytes(take(ip, 4)?).wrapping_add(index as u16);
    put(ip, 2, total.to_be_bytes())?;
    put(ip, 4, id.to_be_bytes())?;
    put(ip, 10, [0, 0])?;
    let check = Sum::of(ip.get(..header_len).ok_or(BadRequest)?).finish();
    put(ip, 10, check.to_be_bytes())?;
    Ok(Sum::pseudo_v4(take(ip, 12)?, take(ip, 16)?, TCP, tcp_len))
}

/// Gives the IPv6 header its length; returns the sum of the pseudo-header.
fn finish_v6(ip: &mut [u8], tcp_len: u16) -> Result<Sum, BadRequest> {
    let [version] = take(ip, 0)?;
    let length = ip.len().checked_sub(40).ok_or(BadRequest)?;
    let length = u16::try_from(length).map_err(|_| BadRequest)?;
    if version >> 4 != 6 {
        return Err(BadRequest);
    }
    put(ip, 4, length.to_be_bytes())?;
    Ok(Sum::pseudo_v6(
        take(ip, 8)?,
        take(ip, 24)?,
        TCP,
        u32::from(tcp_len),
    ))
}

/// Where the IP header begins.
fn ip_start(frame: &[u8]) -> Result<usize, BadRequest> {
    let kind: [u8; 2] = take(frame, ETHERNET - 2)?;
    Ok(if kind == VLAN_TAG {
        ETHERNET + 4
    } else {
        ETHERNET
    })
}

/// Copies the bytes from `skip` on of all pieces together, as far as they go.
fn gather<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut skip: usize, mut out: &mut [u8]) {
    for piece in pieces {
        let Some(piece) = piece.get(skip..) else {
            skip -= piece.len();
            continue;
        };
        skip = 0;
        let count = piece.len().min(out.len());
        let (now, later) = out.split_at_mut(count);
        now.copy_from_slice(&piece[..count]);
        out = later;
        if out.is_empty() {
            return;
        }
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], BadRequest> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.copied().ok_or(BadRequest)
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> Result<(), BadRequest> {
    let place = bytes
        .get_mut(at..)
        .and_then(|bytes| bytes.first_chunk_mut());
    *place.ok_or(BadRequest)? = value;
    Ok(())
}
