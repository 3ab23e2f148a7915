//! Why TLS failed: by whose fault, and with which alert.

use alloc::string::String;
use core::fmt;

use pollwire_core::{ConnError, Error, Misuse};

/// An alert's description (RFC 8446, 6; RFC 5246, 7.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alert(pub u8);

impl Alert {
    /// The sender will send no more.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message that was not due.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that does not authenticate.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record that is too long.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// No acceptable parameters.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A corrupt certificate, or a signature that does not verify.
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// An expired certificate, or one not yet valid.
    pub const CERTIFICATE_EXPIRED: Self = Self(45);
    /// A certificate refused for another reason.
    pub const CERTIFICATE_UNKNOWN: Self = Self(46);
    /// A field out of range.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// No known authority issued the certificate.
    pub const UNKNOWN_CA: Self = Self(48);
    /// A message that does not parse.
    pub const DECODE_ERROR: Self = Self(50);
    /// A handshake signature or MAC that does not verify.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// A version that the sender does not speak.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// The sender's own fault.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The user stopped the handshake; a `close_notify` follows.
    pub const USER_CANCELED: Self = Self(90);
    /// No renegotiation (TLS 1.2, a warning).
    pub const NO_RENEGOTIATION: Self = Self(100);
    /// The server has no such name.
    pub const UNRECOGNIZED_NAME: Self = Self(112);
    /// The server wants a certificate of the client.
    pub const CERTIFICATE_REQUIRED: Self = Self(116);
    /// No application protocol in common (RFC 7301).
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// The name in the standards, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => return None,
        })
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with the peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The peer sent none where one is demanded.
    Missing,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// No trusted authority stands behind it.
    UnknownIssuer,
    /// Its key or the certificate itself is not the pinned one.
    WrongPin,
    /// A signature does not verify.
    BadSignature,
    /// A revocation list names it, or its state is unknown.
    Revoked,
    /// It is not meant for this use.
    WrongPurpose,
    /// It does not parse.
    Malformed,
    /// Anything else.
    Other,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the peer sent no certificate",
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::WrongName => "certificate is for another name",
            Self::UnknownIssuer => "certificate of an unknown issuer",
            Self::WrongPin => "certificate is not the pinned one",
            Self::BadSignature => "certificate with a bad signature",
            Self::Revoked => "certificate revoked",
            Self::WrongPurpose => "certificate is not meant for this use",
            Self::Malformed => "certificate malformed",
            Self::Other => "certificate refused",
        })
    }
}

/// Why an operation of TLS failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// TCP's error, [`Error::WouldBlock`] included.
    Net(Error),
    /// The peer sent a fatal alert.
    AlertReceived(Alert),
    /// The peer's certificate was refused.
    Certificate(CertificateFault),
    /// A record did not authenticate: it was altered on its way, or the peer
    /// has other keys.
    Tampered,
    /// TCP ended without `close_notify`: somebody may have cut the data off
    /// (RFC 8446, 6.1).
    Truncated,
    /// The peer broke the protocol; the text says how, the alert went to it.
    Protocol {
        /// What was sent to the peer.
        alert: Alert,
        /// What it did.
        reason: String,
    },
    /// The two sides have nothing in common: version, suite, or algorithm.
    Incompatible(String),
    /// No application protocol in common (RFC 7301).
    NoApplicationProtocol,
    /// All records that one TLS 1.2 key may protect have been sent.
    KeyExhausted,
    /// The configuration cannot work: a key that does not fit its certificate,
    /// a name that is none.
    Config(String),
}

impl TlsError {
    /// Not now: try again after the connection has been woken.
    pub const WOULD_BLOCK: Self = Self::Net(Error::WouldBlock);

    /// Whether it only was not the time.
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        *self == Self::WOULD_BLOCK
    }
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self::Net(error)
    }
}

impl From<ConnError> for TlsError {
    fn from(error: ConnError) -> Self {
        Self::Net(error.into())
    }
}

impl From<Misuse> for TlsError {
    fn from(error: Misuse) -> Self {
        Self::Net(error.into())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::AlertReceived(alert) => write!(f, "peer's alert: {alert}"),
            Self::Certificate(fault) => fault.fmt(f),
            Self::Tampered => f.write_str("a record does not authenticate"),
            Self::Truncated => f.write_str("connection cut off without close_notify"),
            Self::Protocol { alert, reason } => write!(f, "{reason} ({alert})"),
            Self::Incompatible(reason) => f.write_str(reason),
            Self::NoApplicationProtocol => f.write_str("no application protocol in common"),
            Self::KeyExhausted => f.write_str("the traffic key has served its time"),
            Self::Config(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for TlsError {}

impl embedded_io_async::Error for TlsError {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        use embedded_io_async::ErrorKind;
        match self {
            Self::Net(error) => error.kind(),
            Self::Truncated => ErrorKind::ConnectionAborted,
            Self::Config(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::InvalidData,
        }
    }
}
