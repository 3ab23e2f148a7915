//! `embedded-io-async` for [`TlsFlow`] and its halves. `read` and `write` are
//! cancel-safe.

use embedded_io_async::{ErrorType, Read, Write};

use super::{ReadHalf, TlsFlow, WriteHalf};
use crate::TlsError;

impl ErrorType for TlsFlow<'_> {
    type Error = TlsError;
}

impl Read for TlsFlow<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, TlsError> {
        TlsFlow::read(self, buf).await
    }
}

impl Write for TlsFlow<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, TlsError> {
        TlsFlow::write(self, buf).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        TlsFlow::flush(self).await
    }
}

impl ErrorType for &TlsFlow<'_> {
    type Error = TlsError;
}

impl Read for &TlsFlow<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, TlsError> {
        TlsFlow::read(self, buf).await
    }
}

impl Write for &TlsFlow<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, TlsError> {
        TlsFlow::write(self, buf).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        TlsFlow::flush(self).await
    }
}

impl ErrorType for ReadHalf<'_, '_> {
    type Error = TlsError;
}

impl Read for ReadHalf<'_, '_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, TlsError> {
        self.flow.read(buf).await
    }
}

impl ErrorType for WriteHalf<'_, '_> {
    type Error = TlsError;
}

impl Write for WriteHalf<'_, '_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, TlsError> {
        self.flow.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        self.flow.flush().await
    }
}
