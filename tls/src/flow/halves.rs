//! The halves of a [`TlsFlow`], for two futures of one task.

use embedded_io_async::ReadExactError;
use pollwire_core::Shutdown;

use super::{Plaintext, TlsFlow};
use crate::TlsError;

/// The reading half of a [`TlsFlow`].
#[derive(Debug)]
pub struct ReadHalf<'a, 'n> {
    pub(super) flow: &'a TlsFlow<'n>,
}

impl ReadHalf<'_, '_> {
    /// See [`TlsFlow::recv`].
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self) -> Result<Option<Plaintext>, TlsError> {
        self.flow.recv().await
    }

    /// See [`TlsFlow::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        self.flow.read(buffer).await
    }

    /// See [`TlsFlow::read_exact`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadExactError<TlsError>> {
        self.flow.read_exact(buffer).await
    }
}

/// The writing half of a [`TlsFlow`].
#[derive(Debug)]
pub struct WriteHalf<'a, 'n> {
    pub(super) flow: &'a TlsFlow<'n>,
}

impl WriteHalf<'_, '_> {
    /// See [`TlsFlow::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, data: impl Into<Plaintext>) -> Result<(), TlsError> {
        self.flow.send(data).await
    }

    /// See [`TlsFlow::write`].
    ///
    /// # Errors
    /// As there.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, TlsError> {
        self.flow.write(data).await
    }

    /// See [`TlsFlow::write_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), TlsError> {
        self.flow.write_all(data).await
    }

    /// See [`TlsFlow::flush`].
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> Result<(), TlsError> {
        self.flow.flush().await
    }

    /// Says `close_notify`, then FIN.
    ///
    /// # Errors
    /// As [`TlsFlow::shutdown`].
    pub async fn shutdown(&mut self) -> Result<(), TlsError> {
        self.flow.shutdown(Shutdown::Write).await
    }
}
