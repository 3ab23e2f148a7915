//! Headers of datagrams to one peer, made once and stamped.
//!
//! Most sockets write to one peer many times in a row. All headers of such a
//! run differ in lengths and checksums only, so the second datagram makes a
//! template, with partial sums of what stays, and the ones after it find no
//! route, no neighbour and no source address any more.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameRef, TxChecksum, TxMeta};

use zerocopy::IntoBytes;

use super::{Outgoing, UdpId, pseudo_sum};
use crate::ip::{IpFields, header};
use crate::wire::udp::CHECKSUM_AT;
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER};
use crate::{Counter, Stack};

/// Where the IPv4 header begins, and the UDP header.
const IP_AT: usize = ETHERNET_HEADER;
const UDP_AT: usize = IP_AT + IPV4_HEADER;
/// Bytes of all headers.
const HEADERS: usize = UDP_AT + UDP_HEADER;

/// The way to the peer that a socket wrote to last.
pub(super) struct Route {
    pub(super) remote: SocketAddr,
    /// The interface's generation when the template was made; 0: there is none.
    generation: u32,
    headers: [u8; HEADERS],
    /// Of the IPv4 header, its length left out.
    ip: Sum,
    /// Of the pseudo-header, its length left out.
    pseudo: Sum,
    /// Of the ports.
    ports: Sum,
}

impl Route {
    /// To nowhere yet.
    pub(super) const NONE: Self = Self {
        remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        generation: 0,
        headers: [0; HEADERS],
        ip: Sum::ZERO,
        pseudo: Sum::ZERO,
        ports: Sum::ZERO,
    };

    fn new(
        fields: IpFields,
        remote: SocketAddr,
        source: (Ipv4Addr, u16),
        destination: (Ipv4Addr, u16),
        (link, generation): ([u8; ETHERNET_HEADER], u32),
    ) -> Self {
        let ip = header(fields, source.0, destination.0, 0);
        let mut headers = [0; HEADERS];
        let (ethernet, rest) = headers.split_at_mut(IP_AT);
        let (network, transport) = rest.split_at_mut(IPV4_HEADER);
        ethernet.copy_from_slice(&link);
        network.copy_from_slice(ip.as_bytes());
        transport[..2].copy_from_slice(&source.1.to_be_bytes());
        transport[2..4].copy_from_slice(&destination.1.to_be_bytes());
        Self {
            remote,
            generation,
            ip: Sum::of(network),
            pseudo: pseudo_sum(source.0.into(), destination.0.into(), 0),
            ports: Sum::of(transport),
            headers,
        }
    }

    /// Makes the next datagram find its way anew.
    pub(super) fn forget(&mut self) {
        self.generation = 0;
    }

    /// Writes the headers of a datagram with `len` bytes of payload. `payload`
    /// is its sum, or `None` where the device completes the checksum.
    #[inline(always)]
    fn stamp(&self, out: &mut [u8; HEADERS], len: u16, payload: Option<Sum>) -> TxMeta {
        *out = self.headers;
        let udp_len = len + UDP_HEADER as u16;
        let total = udp_len + IPV4_HEADER as u16;
        out[IP_AT + 2..IP_AT + 4].copy_from_slice(&total.to_be_bytes());
        let check = self.ip.add_u16(total).finish();
        out[IP_AT + 10..IP_AT + 12].copy_from_slice(&check.to_be_bytes());
        out[UDP_AT + 4..UDP_AT + 6].copy_from_slice(&udp_len.to_be_bytes());
        let pseudo = self.pseudo.add_u16(udp_len);
        let (check, checksum) = match payload {
            Some(payload) => {
                let sum = pseudo + self.ports + payload;
                // RFC 768: "If the computed checksum is zero, it is transmitted
                // as all ones".
                (sum.add_u16(udp_len).finish_nonzero(), TxChecksum::Done)
            }
            None => (
                pseudo.fold(),
                TxChecksum::Partial {
                    start: UDP_AT as u16,
                    offset: CHECKSUM_AT,
                },
            ),
        };
        out[UDP_AT + 6..].copy_from_slice(&check.to_be_bytes());
        TxMeta {
            checksum,
            gso: None,
        }
    }
}

impl Stack {
    /// Sends the bytes of `frame` the way that the last datagram took, if that
    /// was to `remote` and is still right, and the frame has room for headers
    /// and no other handle. Else gives it back: nothing happened.
    #[inline]
    pub(super) fn udp_send_routed(
        &mut self,
        id: UdpId,
        frame: FrameRef,
        remote: SocketAddr,
    ) -> Result<(), FrameRef> {
        let caps = self.iface.caps();
        let (mtu, offloaded) = (caps.mtu, caps.tx_checksum);
        let generation = self.iface.generation();
        let Ok(socket) = self.udp.socket(id) else {
            return Err(frame);
        };
        let route = &socket.route;
        let usual = route.generation == generation
            && route.remote == remote
            && socket.error.is_none()
            && frame.len() + UDP_HEADER + IPV4_HEADER <= usize::from(mtu)
            && !self.outbox.is_full();
        if !usual {
            return Err(frame);
        }
        let mut frame = frame.try_into_mut()?;
        let payload = if offloaded {
            None
        } else {
            Some(Sum::of(&frame))
        };
        // Not above the MTU, as was checked.
        #[expect(clippy::cast_possible_truncation, reason = "not above the MTU")]
        let len = frame.len() as u16;
        let room = frame.push_front(HEADERS);
        let Some(room) = room.and_then(|room| room.first_chunk_mut()) else {
            return Err(frame.freeze());
        };
        let meta = route.stamp(room, len, payload);
        self.counters.inc(Counter::UdpOut);
        self.counters.inc(Counter::Ipv4Out);
        // It is not full, as was checked.
        let _ = self.outbox.push(frame.freeze(), None, meta);
        Ok(())
    }

    /// A datagram is about to go that way: after the second in a row, keeps it.
    pub(super) fn udp_learn_route(&mut self, id: UdpId, way: &Outgoing) {
        let (source, remote) = (way.source, way.remote);
        let Ok(socket) = self.udp.socket(id) else {
            return;
        };
        if socket.route.remote != remote {
            (socket.route.remote, socket.route.generation) = (remote, 0);
            return;
        }
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, remote) else {
            return;
        };
        // Headers of datagrams that may have to leave in fragments differ.
        if self.path_mtu(remote.ip()) < self.iface.caps().mtu {
            return;
        }
        let now = self.now();
        let link = self.link_template(now, source.ip(), remote.ip());
        if let (Some(link), Ok(socket)) = (link, self.udp.socket(id)) {
            let (from, to) = ((*from.ip(), from.port()), (*to.ip(), to.port()));
            socket.route = Route::new(way.fields, remote, from, to, link);
        }
    }
}
