//! VLAN tags (IEEE 802.1Q).
//!
//! An interface may be a member of one VLAN: then each of its frames carries the
//! VLAN's tag, and frames without it are not for this interface. Headers that
//! flows and sockets keep are Ethernet's plain ones, so that what has no tag pays
//! nothing for those that have one: on a tagged interface there are none to
//! keep, and packets take the full paths.

use core::fmt;
use core::num::NonZeroU16;

use pollwire_rings::{FrameBuf, Instant, RxMeta};

use crate::ip::prepend;
use crate::wire::ethernet::ETHERTYPE_VLAN;
use crate::wire::{ETHERNET_HEADER, EthernetHeader};
use crate::{DropReason, Stack};

use super::Pending;

/// Bytes of a tag: EtherType and tag control information.
pub(crate) const TAG: usize = 4;
/// Where both Ethernet addresses end, and a tag begins.
const ADDRESSES: usize = 12;
/// The bits of the tag control information that name the VLAN.
const ID: u16 = 0x0fff;

/// The number of a VLAN: 1 to 4094 (IEEE 802.1Q, 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(NonZeroU16);

impl VlanId {
    /// `None` for 0, which names none, and for 4095 and above, which are reserved
    /// or none.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() < ID => Some(Self(id)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Stack {
    /// The VLAN that the interface is a member of, if its frames are tagged.
    #[must_use]
    pub fn vlan(&self) -> Option<VlanId> {
        self.iface.vlan
    }

    /// Takes a frame with a tag. Its priority means nothing to a host with one
    /// queue.
    #[cold]
    pub(crate) fn on_tagged(
        &mut self,
        now: Instant,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let Some((vlan, frame)) = untag(frame) else {
            return Err(DropReason::EthernetTooShort);
        };
        let Some(id) = VlanId::new(vlan) else {
            // IEEE 802.1Q, 9.6: "The null VID. Indicates that the tag header
            // contains only priority information; no VLAN identifier is present
            // in the frame."
            return match self.iface.vlan {
                None if vlan == 0 => self.on_untagged(now, frame, meta),
                Some(_) if vlan == 0 => Err(DropReason::VlanMissing),
                _ => Err(DropReason::VlanNotOurs),
            };
        };
        let member = self.vlan_on(self.iface.device, id);
        let member = member.ok_or(DropReason::VlanNotOurs)?;
        let taken = self.on(member, |stack| stack.on_untagged(now, frame, meta));
        // No short way, which knows no tags, leads to the flow of this packet.
        self.tcp.forget_last();
        taken
    }

    /// Puts the Ethernet header before a packet, with a tag where the interface
    /// has one.
    pub(crate) fn put_link_header(
        &self,
        header: EthernetHeader,
        packet: &mut Pending,
    ) -> Result<(), DropReason> {
        match self.iface.vlan {
            None => prepend(packet, &header.to_bytes()),
            Some(vlan) => prepend(packet, &tagged(header, vlan)),
        }
    }

    /// Bytes of the Ethernet header that packets get.
    #[inline]
    pub(crate) fn link_header_len(&self) -> usize {
        match self.iface.vlan {
            None => ETHERNET_HEADER,
            Some(_) => ETHERNET_HEADER + TAG,
        }
    }
}

/// The header with a tag of the lowest priority, that of best effort.
pub(crate) fn tagged(header: EthernetHeader, vlan: VlanId) -> [u8; ETHERNET_HEADER + TAG] {
    let plain = header.to_bytes();
    let mut bytes = [0; ETHERNET_HEADER + TAG];
    let (addresses, rest) = bytes.split_at_mut(ADDRESSES);
    let (own, kind) = plain.split_at(ADDRESSES);
    addresses.copy_from_slice(own);
    let (tag, ethertype) = rest.split_at_mut(TAG);
    let [a, b] = ETHERTYPE_VLAN.to_be_bytes();
    let [c, d] = vlan.get().to_be_bytes();
    tag.copy_from_slice(&[a, b, c, d]);
    ethertype.copy_from_slice(kind);
    bytes
}

/// Takes the tag out of a frame that has one: the VLAN's identifier, and a frame
/// with a plain header. `None` when the frame ends before the header does.
fn untag(mut frame: FrameBuf) -> Option<(u16, FrameBuf)> {
    let head: &mut [u8; ETHERNET_HEADER + TAG] = frame.first_chunk_mut()?;
    let [.., high, low, _, _] = *head;
    head.copy_within(..ADDRESSES, TAG);
    frame.trim_front(TAG);
    Some((u16::from_be_bytes([high, low]) & ID, frame))
}

#[cfg(test)]
mod tests;
