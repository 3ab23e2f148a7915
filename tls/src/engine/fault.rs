//! rustls's errors as ours.

use alloc::format;
use alloc::string::ToString;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, PeerMisbehaved};

use crate::{Alert, CertificateFault, TlsError};

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | Error::NoApplicationProtocol => Self::NoApplicationProtocol,
            Error::AlertReceived(alert) => Self::AlertReceived(Alert(alert.into())),
            Error::InvalidCertificate(fault) => Self::Certificate((&fault).into()),
            Error::NoCertificatesPresented => Self::Certificate(CertificateFault::Missing),
            Error::DecryptError => Self::Tampered,
            Error::EncryptError => Self::KeyExhausted,
            Error::PeerIncompatible(
                PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            )
            | Error::PeerIncompatible(_) => Self::Incompatible(error.to_string()),
            Error::PeerSentOversizedRecord => protocol(Alert::RECORD_OVERFLOW, &error),
            Error::InvalidMessage(_) => protocol(Alert::DECODE_ERROR, &error),
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                protocol(Alert::UNEXPECTED_MESSAGE, &error)
            }
            Error::PeerMisbehaved(
                PeerMisbehaved::MessageInterleavedWithHandshakeMessage
                | PeerMisbehaved::KeyEpochWithPendingFragment
                | PeerMisbehaved::IllegalMiddleboxChangeCipherSpec,
            ) => protocol(Alert::UNEXPECTED_MESSAGE, &error),
            Error::PeerMisbehaved(_) => protocol(Alert::ILLEGAL_PARAMETER, &error),
            other => Self::Config(format!("{other}")),
        }
    }
}

fn protocol(alert: Alert, error: &Error) -> TlsError {
    TlsError::Protocol {
        alert,
        reason: error.to_string(),
    }
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::WrongName,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::ApplicationVerificationFailure => Self::WrongPin,
            E::BadSignature => Self::BadSignature,
            E::Revoked
            | E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => Self::Revoked,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::BadEncoding => Self::Malformed,
            _ => Self::Other,
        }
    }
}
