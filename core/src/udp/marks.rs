//! What the headers of a socket's datagrams say beside addresses and ports: hop
//! limit, traffic class, whether there is a checksum.

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU8;

use super::{Socket, UdpId};
use crate::ip::IpFields;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::{Misuse, Stack};

/// What the headers of the datagrams that a socket sends say, and which headers
/// it puts up with.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    hop_limit: Option<NonZeroU8>,
    multicast_hop_limit: Option<NonZeroU8>,
    class: u8,
    /// RFC 6437: one for all that the socket sends over IPv6.
    flow_label: u32,
    /// Over IPv6, datagrams go out without a checksum.
    sends_unsummed: bool,
    /// Over IPv6, datagrams without a checksum are taken.
    pub(super) takes_unsummed: bool,
}

impl Marks {
    /// None but a flow label.
    pub(super) const fn new(flow_label: u32) -> Self {
        Self {
            hop_limit: None,
            multicast_hop_limit: None,
            class: 0,
            flow_label,
            sends_unsummed: false,
            takes_unsummed: false,
        }
    }
}

/// What the headers of a datagram said that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpReceived {
    /// The address of this host that it was sent to; `None` when it was sent to
    /// many.
    pub destination: Option<IpAddr>,
    /// The hop limit, or time to live, that was left.
    pub hop_limit: u8,
    /// Traffic class, or type of service: six bits of DSCP (RFC 2474), two of
    /// ECN (RFC 3168).
    pub traffic_class: u8,
}

/// How a datagram goes out.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) source: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) fields: IpFields,
    /// It has no checksum.
    pub(super) unsummed: bool,
}

impl Outgoing {
    /// With headers as is usual.
    pub(super) const fn plain(source: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            source,
            remote,
            fields: IpFields::of(PROTOCOL_UDP),
            unsummed: false,
        }
    }

    /// From `socket`, with the marks that are set there.
    #[inline]
    pub(super) fn of(socket: &Socket, source: SocketAddr, remote: SocketAddr) -> Self {
        let marks = &socket.marks;
        Self {
            source,
            remote,
            fields: IpFields {
                protocol: PROTOCOL_UDP,
                hop_limit: if remote.ip().is_multicast() {
                    marks.multicast_hop_limit
                } else {
                    marks.hop_limit
                },
                class: marks.class,
                flow_label: marks.flow_label,
            },
            unsummed: marks.sends_unsummed && remote.is_ipv6(),
        }
    }
}

impl Stack {
    /// Sets the hop limit, or time to live, of datagrams to single hosts and to
    /// broadcast addresses. `None` is the usual one: 64 for IPv4, for IPv6 what
    /// routers advertise, or 64.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_set_hop_limit(
        &mut self,
        id: UdpId,
        hop_limit: Option<NonZeroU8>,
    ) -> Result<(), Misuse> {
        self.udp_mark(id, |marks| marks.hop_limit = hop_limit)
    }

    /// Sets the hop limit, or time to live, of datagrams to groups. `None` is 1:
    /// they do not leave the link (RFC 1112, 6.1; RFC 3493, 5.2).
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_set_multicast_hop_limit(
        &mut self,
        id: UdpId,
        hop_limit: Option<NonZeroU8>,
    ) -> Result<(), Misuse> {
        self.udp_mark(id, |marks| marks.multicast_hop_limit = hop_limit)
    }

    /// Sets the traffic class, or type of service, of the datagrams that are
    /// sent: six bits of DSCP (RFC 2474), two of ECN (RFC 3168). It is 0 to
    /// begin with.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_set_traffic_class(&mut self, id: UdpId, class: u8) -> Result<(), Misuse> {
        self.udp_mark(id, |marks| marks.class = class)
    }

    /// Whether datagrams over IPv6 are sent and taken without a checksum, for
    /// tunnels whose payload has checks of its own (RFC 6935, RFC 6936); by
    /// default neither. Over IPv4 they are always sent with one and taken
    /// without (RFC 1122, 4.1.3.4).
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_set_zero_checksum(
        &mut self,
        id: UdpId,
        send: bool,
        take: bool,
    ) -> Result<(), Misuse> {
        self.udp_mark(id, |marks| {
            (marks.sends_unsummed, marks.takes_unsummed) = (send, take);
        })
    }

    fn udp_mark(&mut self, id: UdpId, change: impl FnOnce(&mut Marks)) -> Result<(), Misuse> {
        let socket = self.udp.socket(id)?;
        change(&mut socket.marks);
        // Headers that are kept say what was right before.
        socket.route.forget();
        Ok(())
    }

    /// What the headers said of the datagram that was received last; `None`
    /// before the first. Of one that came in fragments the first one counts.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn udp_received(&mut self, id: UdpId) -> Result<Option<UdpReceived>, Misuse> {
        let socket = self.udp.socket(id)?;
        let [hop_limit, traffic_class] = socket.received;
        Ok(socket.answering.map(|origin| UdpReceived {
            destination: origin.to,
            hop_limit,
            traffic_class,
        }))
    }
}
