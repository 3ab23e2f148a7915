//! The Ethernet link that packetdrill does not know of: IP packets are wrapped
//! towards the stack, unwrapped from it, and its neighbour's questions are
//! answered here.

use std::net::Ipv4Addr;

use pollwire::offload::checksum::Sum;
use pollwire::rings::TxChecksum;

/// The stack's Ethernet address.
pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The gateway's, behind which all other hosts are.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERNET: usize = 14;

/// What a frame of the stack's turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing<'a> {
    /// An IP packet, for packetdrill.
    Packet(&'a [u8]),
    /// An ARP question, and the frame that answers it.
    Question(Vec<u8>),
    /// An announcement: of no interest.
    Chatter,
}

/// The frame that carries an IP packet to the stack; `None` if it is none.
pub(crate) fn wrap(packet: &[u8]) -> Option<Vec<u8>> {
    let ethertype = match packet.first()? >> 4 {
        4 => TYPE_IPV4,
        6 => TYPE_IPV6,
        _ => return None,
    };
    Some([&OUR_MAC, &GATEWAY_MAC, &ethertype[..], packet].concat())
}

/// Looks at a frame of the stack's.
pub(crate) fn unwrap(frame: &[u8]) -> Outgoing<'_> {
    let Some((header, rest)) = frame.split_at_checked(ETHERNET) else {
        return Outgoing::Chatter;
    };
    match [header[12], header[13]] {
        TYPE_IPV4 | TYPE_IPV6 => Outgoing::Packet(rest),
        TYPE_ARP => match question(rest) {
            Some((asker, wanted)) if asker != wanted && !asker.is_unspecified() => {
                Outgoing::Question(arp(2, wanted, asker))
            }
            _ => Outgoing::Chatter,
        },
        _ => Outgoing::Chatter,
    }
}

/// Does what the stack leaves to a device: the checksum of a packet that is to
/// be cut (RFC 1071).
pub(crate) fn complete(frame: &mut [u8], checksum: TxChecksum) {
    let TxChecksum::Partial { start, offset } = checksum else {
        return;
    };
    let (start, offset) = (usize::from(start), usize::from(offset));
    let Some(covered) = frame.get_mut(start..) else {
        return;
    };
    // The field holds the sum of the pseudo-header.
    let check = Sum::of(covered).finish();
    if let Some(field) = covered.get_mut(offset..offset + 2) {
        field.copy_from_slice(&check.to_be_bytes());
    }
}

/// The gateway asks for the stack's address: so the stack learns the gateway's.
pub(crate) fn introduction(gateway: Ipv4Addr, stack: Ipv4Addr) -> Vec<u8> {
    arp(1, gateway, stack)
}

/// Who asks (RFC 826: sender) and for whom (target), if it is a question.
fn question(arp: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| {
        let bytes = <[u8; 4]>::try_from(arp.get(at..at + 4)?).ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    (arp.get(6..8)? == [0, 1]).then_some((address(14)?, address(24)?))
}

/// An ARP frame from the gateway's station to the stack (RFC 826): 1 asks, 2
/// answers.
fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&OUR_MAC, &GATEWAY_MAC, &TYPE_ARP[..]].concat();
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(GATEWAY_MAC);
    frame.extend(sender.octets());
    frame.extend(if operation == 1 { [0; 6] } else { OUR_MAC });
    frame.extend(target.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_and_announcements_are_not() {
        let (us, gateway) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 254));
        let ask = arp(1, us, gateway);
        assert_eq!(unwrap(&ask), Outgoing::Question(arp(2, gateway, us)));
        assert_eq!(unwrap(&arp(1, us, us)), Outgoing::Chatter);
        assert_eq!(unwrap(&arp(2, us, gateway)), Outgoing::Chatter);
        assert_eq!(unwrap(&[0; 5]), Outgoing::Chatter);
    }

    #[test]
    fn packets_go_through() {
        let packet = [0x45, 0, 0, 20];
        let frame = wrap(&packet).unwrap();
        assert_eq!(unwrap(&frame), Outgoing::Packet(&packet));
        assert_eq!(wrap(&[]), None);
        assert_eq!(wrap(&[0x15]), None);
    }
}
