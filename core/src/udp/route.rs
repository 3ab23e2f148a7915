//! Headers of datagrams to one peer, made once and stamped.
//!
//! Most sockets write to one peer many times in a row. All headers of such a
//! run differ in lengths and checksums only, so the second datagram makes a
//! template, with partial sums of what stays, and the ones after it find no
//! route, no neighbour and no source address any more.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, FrameRef, TxChecksum, TxMeta};

use zerocopy::IntoBytes;

use super::{Outgoing, UdpId, V4_HEADERS, V6_HEADERS, pseudo_sum};
use crate::ip::{header, ipv6_header};
use crate::wire::udp::CHECKSUM_AT;
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER};
use crate::{Counter, Stack};

type LinkHeader = [u8; ETHERNET_HEADER];

/// The way to the peer that a socket wrote to last.
pub(super) struct Route {
    pub(super) remote: SocketAddr,
    /// The interface's generation when the template was made; 0: there is none.
    generation: u32,
    /// As many as `remote`'s version of IP has, lengths and checksums left out.
    headers: [u8; V6_HEADERS],
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
        headers: [0; V6_HEADERS],
        ip: Sum::ZERO,
        pseudo: Sum::ZERO,
        ports: Sum::ZERO,
    };

    /// `network` is the IP header, its length and checksum left out.
    fn new(way: &Outgoing, network: &[u8], (link, generation): (LinkHeader, u32)) -> Self {
        let (source, remote) = (way.source, way.remote);
        let ports = [source.port(), remote.port()].map(u16::to_be_bytes);
        let parts = [&link, network, ports.as_flattened()];
        let mut headers = [0; V6_HEADERS];
        for (to, byte) in headers.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *byte;
        }
        Self {
            remote,
            generation,
            headers,
            ip: Sum::of(network),
            pseudo: pseudo_sum(source.ip(), remote.ip(), 0),
            ports: Sum::of(ports.as_flattened()),
        }
    }

    /// Makes the next datagram find its way anew.
    pub(super) fn forget(&mut self) {
        self.generation = 0;
    }

    /// Writes the headers of a datagram with `len` bytes of payload, `N` bytes
    /// of them. `payload` is its sum, or `None` where the device completes the
    /// checksum.
    #[inline(always)]
    fn stamp<const N: usize>(&self, out: &mut [u8; N], len: u16, payload: Option<Sum>) -> TxMeta {
        let udp_at = N - UDP_HEADER;
        out.copy_from_slice(&self.headers[..N]);
        let udp_len = len + UDP_HEADER as u16;
        if N == V4_HEADERS {
            let total = udp_len + IPV4_HEADER as u16;
            out[16..18].copy_from_slice(&total.to_be_bytes());
            let check = self.ip.add_u16(total).finish();
            out[24..26].copy_from_slice(&check.to_be_bytes());
        } else {
            out[18..20].copy_from_slice(&udp_len.to_be_bytes());
        }
        out[udp_at + 4..udp_at + 6].copy_from_slice(&udp_len.to_be_bytes());
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
                    start: udp_at as u16,
                    offset: CHECKSUM_AT,
                },
            ),
        };
        out[udp_at + 6..].copy_from_slice(&check.to_be_bytes());
        TxMeta {
            checksum,
            gso: None,
        }
    }

    /// Writes the headers into the frame's headroom, if there is enough.
    #[inline(always)]
    fn prepend<const N: usize>(&self, frame: &mut FrameBuf, offloaded: bool) -> Option<TxMeta> {
        let payload = if offloaded {
            None
        } else {
            Some(Sum::of(frame))
        };
        #[expect(clippy::cast_possible_truncation, reason = "not above the MTU")]
        let len = frame.len() as u16;
        let room = frame.push_front(N)?.first_chunk_mut()?;
        Some(self.stamp::<N>(room, len, payload))
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
        let (mtu, offloaded) = (
            self.iface.mtu_for(remote.ip()),
            self.iface.caps().tx_checksum,
        );
        let generation = self.iface.generation();
        let Ok(socket) = self.udp.socket(id) else {
            return Err(frame);
        };
        let route = &socket.route;
        let usual = route.generation == generation
            && route.remote == remote
            && socket.error.is_none()
            && !self.outbox.is_full();
        let v4 = remote.is_ipv4();
        let headers = if v4 { V4_HEADERS } else { V6_HEADERS };
        if !usual || frame.len() + headers > usize::from(mtu) + ETHERNET_HEADER {
            return Err(frame);
        }
        let mut frame = frame.try_into_mut()?;
        let (meta, counter) = if v4 {
            let meta = route.prepend::<V4_HEADERS>(&mut frame, offloaded);
            (meta, Counter::Ipv4Out)
        } else {
            let meta = route.prepend::<V6_HEADERS>(&mut frame, offloaded);
            (meta, Counter::Ipv6Out)
        };
        let Some(meta) = meta else {
            return Err(frame.freeze());
        };
        self.counters.inc(Counter::UdpOut);
        self.counters.inc(counter);
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
        // Headers of datagrams that may have to leave in fragments differ.
        if way.unsummed || self.path_mtu(remote.ip()) < self.iface.mtu_for(remote.ip()) {
            return;
        }
        let now = self.now();
        let Some(link) = self.link_template(now, source.ip(), remote.ip()) else {
            return;
        };
        let route = match (source.ip(), remote.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = header(way.fields, src, dst, 0);
                Route::new(way, header.as_bytes(), link)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let fields = self.with_hop_limit(way.fields, dst);
                let header = ipv6_header(fields, src, dst, 0);
                Route::new(way, &header.to_bytes(), link)
            }
            _ => return,
        };
        if let Ok(socket) = self.udp.socket(id) {
            socket.route = route;
        }
    }
}
