//! What a socket call answers: a value, or one of Linux's error numbers.

use pollwire::{ConnError, Error, Misuse};

/// An error number of `errno.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a socket call answers.
pub type Answer<T> = Result<T, Errno>;

impl Errno {
    /// The call would wait: `EAGAIN`.
    pub const AGAIN: Self = Self(libc::EAGAIN);

    /// Whether a blocking socket would wait now.
    #[must_use]
    pub fn would_block(self) -> bool {
        self == Self::AGAIN
    }
}

impl From<ConnError> for Errno {
    fn from(error: ConnError) -> Self {
        Self(match error {
            ConnError::Refused => libc::ECONNREFUSED,
            ConnError::Reset => libc::ECONNRESET,
            ConnError::TimedOut | ConnError::KeepaliveTimedOut => libc::ETIMEDOUT,
            ConnError::HostUnreachable => libc::EHOSTUNREACH,
            ConnError::Aborted => libc::ECONNABORTED,
            ConnError::Closed => libc::EPIPE,
            _ => libc::EIO,
        })
    }
}

impl From<Misuse> for Errno {
    fn from(misuse: Misuse) -> Self {
        Self(match misuse {
            Misuse::StaleHandle => libc::EBADF,
            Misuse::AddressInUse => libc::EADDRINUSE,
            Misuse::AddressNotLocal | Misuse::NoPortFree => libc::EADDRNOTAVAIL,
            Misuse::NoSourceAddress => libc::ENETUNREACH,
            Misuse::BadDestination => libc::EINVAL,
            Misuse::NoFlowFree | Misuse::NoFrameFree => libc::ENOBUFS,
            Misuse::TooLong => libc::EMSGSIZE,
            _ => libc::EIO,
        })
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        match error {
            Error::WouldBlock => Self::AGAIN,
            Error::Conn(error) => error.into(),
            Error::Misuse(misuse) => misuse.into(),
        }
    }
}
