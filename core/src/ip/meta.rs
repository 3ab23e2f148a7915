//! What IP and the protocols above say to each other of a packet.

use core::net::IpAddr;
use core::num::NonZeroU8;

/// The IP header of a received packet, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpMeta {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) ttl: u8,
    /// Bytes of the header, options included: they lie in the frame's headroom,
    /// right before its data.
    pub(crate) header_len: u8,
    /// Traffic class, or type of service: six bits of RFC 2474 and two of RFC
    /// 3168.
    pub(crate) class: u8,
    /// The destination is broadcast or multicast.
    pub(crate) broadcast: bool,
}

impl IpMeta {
    /// The two bits of RFC 3168, 5.
    #[inline]
    pub(crate) const fn ecn(&self) -> u8 {
        self.class & 3
    }
}

/// What the IP header of a packet to be sent says beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpFields {
    /// What the packet begins with behind that header.
    pub(crate) protocol: u8,
    /// Hop limit, or time to live; `None` for what is usual.
    pub(crate) hop_limit: Option<NonZeroU8>,
    /// Traffic class, or type of service.
    pub(crate) class: u8,
    /// RFC 6437; 20 bits, of IPv6 only.
    pub(crate) flow_label: u32,
}

impl IpFields {
    /// Everything but the protocol as is usual.
    pub(crate) const fn of(protocol: u8) -> Self {
        Self {
            protocol,
            hop_limit: None,
            class: 0,
            flow_label: 0,
        }
    }

    /// The same with a hop limit; 0 is the usual one.
    pub(crate) const fn hops(self, hop_limit: u8) -> Self {
        Self {
            hop_limit: NonZeroU8::new(hop_limit),
            ..self
        }
    }
}
