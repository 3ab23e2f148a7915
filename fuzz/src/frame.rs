//! Making the checksums of a spoilt frame good again, so that what was spoilt
//! gets past them.

use pollwire::offload::checksum::Sum;
use pollwire::wire::ipv6::skip_extensions;

const ETHERNET: usize = 14;

/// Corrects the checksums of an IP frame whose lengths make sense; leaves any
/// other frame alone.
pub(crate) fn repair(frame: &mut [u8]) {
    let _left_alone = repair_ipv4(frame).or_else(|| repair_ipv6(frame));
}

fn repair_ipv4(frame: &mut [u8]) -> Option<()> {
    if *frame.get(12..14)? != [8, 0] {
        return None;
    }
    let packet = frame.get_mut(ETHERNET..)?;
    let header_len = usize::from(packet.first()? & 15) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let packet = packet.get_mut(..total)?;
    let (header, body) = packet.split_at_mut_checked(header_len)?;
    let fields = header.first_chunk_mut::<20>()?;
    let protocol = fields[9];
    let source = [fields[12], fields[13], fields[14], fields[15]];
    let destination = [fields[16], fields[17], fields[18], fields[19]];
    fields[10..12].fill(0);
    let check = Sum::of(header).finish().to_be_bytes();
    header.get_mut(10..12)?.copy_from_slice(&check);

    let len = u16::try_from(body.len()).ok()?;
    let (at, base) = match protocol {
        1 => (2, Sum::ZERO),
        6 => (16, Sum::pseudo_v4(source, destination, protocol, len)),
        17 => (6, Sum::pseudo_v4(source, destination, protocol, len)),
        _ => return None,
    };
    body.get_mut(at..at + 2)?.fill(0);
    let check = base.add_bytes(body).finish().to_be_bytes();
    body.get_mut(at..at + 2)?.copy_from_slice(&check);
    Some(())
}

fn repair_ipv6(frame: &mut [u8]) -> Option<()> {
    if *frame.get(12..14)? != [0x86, 0xdd] {
        return None;
    }
    let packet = frame.get_mut(ETHERNET..)?;
    let len = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
    let packet = packet.get_mut(..40 + len)?;
    let (protocol, at) = skip_extensions(packet, *packet.get(6)?)?;
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let body = packet.get_mut(at..)?;
    let field = match protocol {
        58 => 2,
        6 => 16,
        17 => 6,
        _ => return None,
    };
    body.get_mut(field..field + 2)?.fill(0);
    let len = u32::try_from(body.len()).ok()?;
    let check = Sum::pseudo_v6(source, destination, protocol, len)
        .add_bytes(body)
        .finish_nonzero()
        .to_be_bytes();
    body.get_mut(field..field + 2)?.copy_from_slice(&check);
    Some(())
}
