//! What the IP header of a received packet says to the protocols above.

use core::net::IpAddr;

/// The IP header of a received packet, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpMeta {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) ttl: u8,
    /// Bytes of the header, options included: they lie in the frame's headroom,
    /// right before its data.
    pub(crate) header_len: u8,
    /// The two bits of RFC 3168, 5.
    pub(crate) ecn: u8,
    /// The destination is broadcast or multicast.
    pub(crate) broadcast: bool,
}
