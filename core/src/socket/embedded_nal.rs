//! `embedded-nal-async` on [`Net`], so that clients written against it (HTTP,
//! MQTT, CoAP, ...) run unchanged.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use embedded_nal_async::{
    ConnectedUdp as NalConnectedUdp, TcpConnect, UdpStack, UnconnectedUdp as NalUnconnectedUdp,
};

use super::{Net, TcpFlow, UdpSocket};
use crate::{Error, Misuse};

impl<'n> TcpConnect for Net<'n> {
    type Error = Error;
    type Connection<'a>
        = TcpFlow<'n>
    where
        Self: 'a;

    async fn connect<'a>(&'a self, remote: SocketAddr) -> Result<TcpFlow<'n>, Error> {
        TcpFlow::connect(*self, remote).await
    }
}

/// A UDP socket with one peer: datagrams from others are dropped.
#[derive(Debug)]
pub struct ConnectedUdp<'n> {
    socket: UdpSocket<'n>,
    remote: SocketAddr,
}

impl NalConnectedUdp for ConnectedUdp<'_> {
    type Error = Error;

    async fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        self.socket.send_to(data, self.remote).await
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let (len, _) = self.socket.recv_from(buffer).await?;
        Ok(len)
    }
}

/// A UDP socket that sends to and receives from anywhere.
#[derive(Debug)]
pub struct BoundUdp<'n> {
    socket: UdpSocket<'n>,
    local: SocketAddr,
}

impl NalUnconnectedUdp for BoundUdp<'_> {
    type Error = Error;

    /// `local` must be the socket's own address, or unspecified in any part.
    async fn send(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) -> Result<(), Error> {
        let port_fits = local.port() == 0 || local.port() == self.local.port();
        let address_fits = local.ip().is_unspecified()
            || self.local.ip().is_unspecified()
            || local.ip() == self.local.ip();
        if !(port_fits && address_fits) {
            return Err(Misuse::AddressNotLocal.into());
        }
        self.socket.send_to(data, remote).await
    }

    async fn receive_into(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr, SocketAddr), Error> {
        let (len, remote) = self.socket.recv_from(buffer).await?;
        Ok((len, self.local, remote))
    }
}

impl<'n> UdpStack for Net<'n> {
    type Error = Error;
    type Connected = ConnectedUdp<'n>;
    type UniquelyBound = BoundUdp<'n>;
    type MultiplyBound = BoundUdp<'n>;

    async fn connect_from(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(SocketAddr, ConnectedUdp<'n>), Error> {
        let local = self.fixed(local, Some(remote))?;
        let socket = UdpSocket::bind(*self, local)?;
        socket.connect(Some(remote))?;
        Ok((socket.local_addr()?, ConnectedUdp { socket, remote }))
    }

    async fn bind_single(&self, local: SocketAddr) -> Result<(SocketAddr, BoundUdp<'n>), Error> {
        let local = self.fixed(local, None)?;
        let bound = self.bind_multiple(local).await?;
        Ok((bound.local, bound))
    }

    async fn bind_multiple(&self, local: SocketAddr) -> Result<BoundUdp<'n>, Error> {
        let socket = UdpSocket::bind(*self, local)?;
        let local = socket.local_addr()?;
        Ok(BoundUdp { socket, local })
    }
}

impl Net<'_> {
    /// `local` with its address chosen, for sockets that must have just one.
    fn fixed(self, local: SocketAddr, remote: Option<SocketAddr>) -> Result<SocketAddr, Error> {
        if !local.ip().is_unspecified() {
            return Ok(local);
        }
        // Without a peer, the first address of the interface.
        let first = IpAddr::V4(Ipv4Addr::BROADCAST);
        let towards = remote.map_or(first, |remote| remote.ip());
        let address = self
            .with_stack(|stack| stack.source_for(towards))
            .ok_or(Misuse::NoSourceAddress)?;
        Ok(SocketAddr::new(address, local.port()))
    }
}
