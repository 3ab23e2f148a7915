//! What HTTP needs of a connection: TCP's, or TLS's on it.

use core::ops::Deref;

use pollwire_core::{Error, Net, TcpFlow};
use pollwire_rings::{FrameBuf, FrameRef};
use pollwire_tls::{Plaintext, TlsError, TlsFlow};

/// A connection.
pub(super) trait Stream<'n> {
    /// Received bytes.
    type Data: Deref<Target = [u8]>;
    /// Why it failed.
    type Error;

    fn net(&self) -> Net<'n>;
    async fn recv(&self) -> Result<Option<Self::Data>, Self::Error>;
    async fn send(&self, frame: FrameBuf) -> Result<(), Self::Error>;
    async fn close(self) -> Result<(), Self::Error>;

    async fn alloc_frame(&self) -> FrameBuf {
        self.net().alloc_frame().await
    }

    /// Bytes that a frame to be sent should hold at most.
    fn frame_room(&self) -> usize {
        usize::MAX
    }
}

impl<'n> Stream<'n> for TcpFlow<'n> {
    type Data = FrameRef;
    type Error = Error;

    fn net(&self) -> Net<'n> {
        TcpFlow::net(self)
    }

    async fn recv(&self) -> Result<Option<FrameRef>, Error> {
        TcpFlow::recv(self).await
    }

    async fn send(&self, frame: FrameBuf) -> Result<(), Error> {
        TcpFlow::send(self, frame).await
    }

    async fn close(self) -> Result<(), Error> {
        TcpFlow::close(self).await
    }
}

impl<'n> Stream<'n> for TlsFlow<'n> {
    type Data = Plaintext;
    type Error = TlsError;

    fn net(&self) -> Net<'n> {
        TlsFlow::net(self)
    }

    async fn recv(&self) -> Result<Option<Plaintext>, TlsError> {
        TlsFlow::recv(self).await
    }

    async fn send(&self, frame: FrameBuf) -> Result<(), TlsError> {
        TlsFlow::send(self, frame).await
    }

    async fn close(self) -> Result<(), TlsError> {
        TlsFlow::close(self).await
    }

    /// One record, one segment.
    fn frame_room(&self) -> usize {
        self.mss().unwrap_or(1)
    }
}
