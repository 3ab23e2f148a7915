//! UDP sockets.

use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU8;

use pollwire_rings::{FrameBuf, FrameRef};

use super::Net;
use crate::udp::{UdpId, UdpOptions, UdpReceived};
use crate::{Error, Stack};

/// A bound UDP socket. Datagrams wait in a queue of bounded length; what comes
/// while it is full is dropped and counted.
///
/// Every operation is whole or not at all, so dropping its future loses
/// nothing. Dropping the socket frees its port and the datagrams that wait.
pub struct UdpSocket<'n> {
    net: Net<'n>,
    id: UdpId,
}

impl<'n> UdpSocket<'n> {
    /// Binds `local`. Port 0 picks a free one, the unspecified address means
    /// all of this host's.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the address is in use or not this host's.
    pub fn bind(net: Net<'n>, local: SocketAddr) -> Result<Self, Error> {
        Self::bind_with(net, local, UdpOptions::DEFAULT)
    }

    /// As [`bind`](Self::bind), with other bounds of the receive queue.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with(net: Net<'n>, local: SocketAddr, options: UdpOptions) -> Result<Self, Error> {
        let id = net.with_stack(|stack| stack.udp_bind_with(local, options))?;
        Ok(Self { net, id })
    }

    /// Fixes the only peer that datagrams are taken from, and whose ICMP errors
    /// operations return; `None` opens it to everybody again.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a destination that cannot be.
    pub fn connect(&self, remote: Option<SocketAddr>) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_connect(self.id, remote))?)
    }

    /// Listens to a group, of either version of IP, until the socket is dropped.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is no group, has been joined, or there are too
    /// many.
    pub fn join(&self, group: IpAddr) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_join(self.id, group))?)
    }

    /// Listens to the group no more.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it has not been joined.
    pub fn leave(&self, group: IpAddr) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_leave(self.id, group))?)
    }

    /// Sets the hop limit, or time to live, of datagrams to single hosts; `None`
    /// is the usual one.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn set_hop_limit(&self, hop_limit: Option<NonZeroU8>) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_set_hop_limit(self.id, hop_limit))?)
    }

    /// Sets the hop limit, or time to live, of datagrams to groups; `None` is 1,
    /// which does not leave the link.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn set_multicast_hop_limit(&self, hop_limit: Option<NonZeroU8>) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_set_multicast_hop_limit(self.id, hop_limit))?)
    }

    /// Sets the traffic class, or type of service, of the datagrams sent: six
    /// bits of DSCP, two of ECN.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn set_traffic_class(&self, class: u8) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_set_traffic_class(self.id, class))?)
    }

    /// Whether datagrams over IPv6 are sent and taken without a checksum (RFC
    /// 6935, RFC 6936), as tunnels may want; by default neither.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn set_zero_checksum(&self, send: bool, take: bool) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.udp_set_zero_checksum(self.id, send, take))?)
    }

    /// What the headers said of the datagram that was received last; `None`
    /// before the first.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn received(&self) -> Result<Option<UdpReceived>, Error> {
        Ok(self.net.with_stack(|stack| stack.udp_received(self.id))?)
    }

    /// The stack's name for this socket, for the `udp_*` operations of
    /// [`Stack`].
    #[must_use]
    pub fn id(&self) -> UdpId {
        self.id
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.net.with_stack(|stack| stack.udp_local_addr(self.id))?)
    }

    /// The handle that it was made from.
    #[must_use]
    pub fn net(&self) -> Net<'n> {
        self.net
    }

    async fn receive<T>(
        &self,
        mut operation: impl FnMut(&mut Stack) -> Result<T, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| {
            self.net.poll_with(cx, &mut operation, |stack, waker| {
                stack.udp_wake_on_recv(self.id, waker);
            })
        })
        .await
    }

    /// The next datagram's payload, in the frame in which it came, and its
    /// sender. Nothing is copied. Datagrams that came in several frames are
    /// dropped here: [`recv_pieces_from`](Self::recv_pieces_from) takes them.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub async fn recv_frame_from(&self) -> Result<(FrameRef, SocketAddr), Error> {
        self.receive(|stack| stack.udp_try_recv(self.id)).await
    }

    /// As [`recv_frame_from`](Self::recv_frame_from), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when no datagram waits.
    pub fn try_recv_frame_from(&self) -> Result<(FrameRef, SocketAddr), Error> {
        self.net.with_stack(|stack| stack.udp_try_recv(self.id))
    }

    /// Appends the frames of the next datagram to `pieces` and returns its
    /// sender. Most datagrams have one; those that came in IP fragments have
    /// several.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub async fn recv_pieces_from(&self, pieces: &mut Vec<FrameRef>) -> Result<SocketAddr, Error> {
        self.receive(|stack| stack.udp_try_recv_pieces(self.id, |piece| pieces.push(piece)))
            .await
    }

    /// Copies the next datagram's payload into `buffer`; returns the datagram's
    /// full length, of which `buffer` holds the beginning, and its sender.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the socket is gone.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.receive(|stack| stack.udp_try_recv_into(self.id, buffer))
            .await
    }

    /// As [`recv_from`](Self::recv_from), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when no datagram waits.
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.net
            .with_stack(|stack| stack.udp_try_recv_into(self.id, buffer))
    }

    async fn transmit<T>(
        &self,
        mut operation: impl FnMut(&mut Stack) -> Result<T, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| {
            self.net.poll_with(cx, &mut operation, |_, waker| {
                // Room on the way out comes back as frames do.
                self.net.executor().wake_on_frame(waker);
            })
        })
        .await
    }

    /// Sends `data` to `remote`, copying it into a frame. Waits for a frame
    /// while none is free.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is too long or cannot be sent there.
    pub async fn send_to(&self, data: &[u8], remote: SocketAddr) -> Result<(), Error> {
        self.transmit(|stack| stack.udp_try_send(self.id, data, remote))
            .await
    }

    /// As [`send_to`](Self::send_to), without waiting.
    ///
    /// # Errors
    /// Also [`Misuse::NoFrameFree`](crate::Misuse::NoFrameFree).
    pub fn try_send_to(&self, data: &[u8], remote: SocketAddr) -> Result<(), Error> {
        self.net
            .with_stack(|stack| stack.udp_try_send(self.id, data, remote))
    }

    /// Sends a datagram of `len` bytes that `write` fills in place, in the
    /// outgoing frame. The bytes hold old data before: write all of them.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to).
    pub async fn send_with(
        &self,
        len: usize,
        remote: SocketAddr,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), Error> {
        let mut frame = self
            .transmit(|stack| stack.udp_reserve(self.id, len))
            .await?;
        write(&mut frame);
        self.send_frame_to(frame, remote).await
    }

    /// Sends the bytes of `frame` without copying them. Headers are written
    /// into its headroom when it is not shared.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to).
    pub async fn send_frame_to(
        &self,
        frame: impl Into<FrameRef>,
        remote: SocketAddr,
    ) -> Result<(), Error> {
        let mut held = Some(frame.into());
        self.transmit(|stack| {
            let Some(frame) = held.take() else {
                return Ok(());
            };
            stack
                .udp_try_send_frame(self.id, frame, remote)
                .map_err(|(frame, error)| {
                    held = Some(frame);
                    error
                })
        })
        .await
    }

    /// Sends the frames in `pieces`, which is empty afterwards, as one datagram
    /// of up to 65,507 bytes (65,527 for IPv6), in fragments where the link
    /// carries no more at once.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to).
    pub async fn send_pieces_to(
        &self,
        pieces: &mut Vec<FrameRef>,
        remote: SocketAddr,
    ) -> Result<(), Error> {
        self.transmit(|stack| stack.udp_try_send_pieces(self.id, pieces, remote))
            .await
    }

    /// As [`send_frame_to`](Self::send_frame_to), without waiting.
    ///
    /// # Errors
    /// The frame comes back with the reason.
    pub fn try_send_frame_to(
        &self,
        frame: impl Into<FrameRef>,
        remote: SocketAddr,
    ) -> Result<(), (FrameRef, Error)> {
        let frame = frame.into();
        self.net
            .with_stack(|stack| stack.udp_try_send_frame(self.id, frame, remote))
    }

    /// An empty frame to fill and [send](Self::send_frame_to).
    pub async fn alloc_frame(&self) -> FrameBuf {
        self.net.alloc_frame().await
    }
}

impl Drop for UdpSocket<'_> {
    fn drop(&mut self) {
        self.net.with_stack(|stack| stack.udp_close(self.id));
    }
}

impl core::fmt::Debug for UdpSocket<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("UdpSocket").field(&self.id).finish()
    }
}
