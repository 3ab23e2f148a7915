//! `embedded-io-async` for connections and their halves, and what kinds our
//! errors are. `read` and `write` are cancel-safe.

use embedded_io_async::{Error as IoError, ErrorKind, ErrorType, Read, Write};

use super::{ReadHalf, TcpFlow, WriteHalf};
use crate::{ConnError, Error, Misuse};

impl IoError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WouldBlock => ErrorKind::Interrupted,
            Self::Conn(error) => error.kind(),
            Self::Misuse(error) => error.kind(),
        }
    }
}

impl IoError for ConnError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::Reset => ErrorKind::ConnectionReset,
            Self::TimedOut | Self::KeepaliveTimedOut => ErrorKind::TimedOut,
            Self::HostUnreachable => ErrorKind::NotConnected,
            Self::Aborted | Self::AddressGone => ErrorKind::ConnectionAborted,
            Self::Closed => ErrorKind::BrokenPipe,
        }
    }
}

impl IoError for Misuse {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StaleHandle => ErrorKind::NotConnected,
            Self::AddressInUse => ErrorKind::AddrInUse,
            Self::AddressNotLocal | Self::NoSourceAddress | Self::NoPortFree => {
                ErrorKind::AddrNotAvailable
            }
            Self::BadDestination | Self::TooLong | Self::NoSuchInterface => ErrorKind::InvalidInput,
            Self::NoFlowFree | Self::NoFrameFree | Self::TableFull => ErrorKind::OutOfMemory,
        }
    }
}

impl ErrorType for TcpFlow<'_> {
    type Error = Error;
}

impl Read for TcpFlow<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        TcpFlow::read(self, buf).await
    }
}

impl Write for TcpFlow<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        TcpFlow::write(self, buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        TcpFlow::flush(self).await
    }
}

impl ErrorType for &TcpFlow<'_> {
    type Error = Error;
}

impl Read for &TcpFlow<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        TcpFlow::read(self, buf).await
    }
}

impl Write for &TcpFlow<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        TcpFlow::write(self, buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        TcpFlow::flush(self).await
    }
}

impl ErrorType for ReadHalf<'_, '_> {
    type Error = Error;
}

impl Read for ReadHalf<'_, '_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.flow.read(buf).await
    }
}

impl ErrorType for WriteHalf<'_, '_> {
    type Error = Error;
}

impl Write for WriteHalf<'_, '_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        self.flow.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.flow.flush().await
    }
}
