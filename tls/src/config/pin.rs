//! Trust in one key or one certificate, whoever signed it, and trust in nobody
//! at all.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::TlsError;

/// SHA-256 of a public key or a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate as a whole, in DER.
    #[must_use]
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Self {
        Self::of(certificate)
    }

    /// Of the public key in a certificate (its `SubjectPublicKeyInfo`, in DER):
    /// it stays the same when the certificate is renewed with the same key.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] when the certificate does not parse.
    pub fn of_key(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        Ok(Self::of(&parsed.subject_public_key_info()))
    }

    fn of(bytes: &[u8]) -> Self {
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(fingerprint)
    }

    /// Reads 64 hexadecimal digits, with or without colons between the bytes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut fingerprint = [0_u8; 32];
        let mut digits = text.chars().filter(|&digit| digit != ':');
        for byte in &mut fingerprint {
            let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        digits.next().is_none().then_some(Self(fingerprint))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the server's certificate must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Demand {
    Key(Fingerprint),
    Certificate(Fingerprint),
    Nothing,
}

/// Verifies that the server has the key of its certificate, and that the
/// certificate is what is demanded: neither issuer, nor name, nor validity
/// count beside a pin (RFC 7858, 4.2).
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) demand: Demand,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let met = match self.demand {
            Demand::Nothing => true,
            Demand::Certificate(pin) => Fingerprint::of_certificate(end_entity) == pin,
            Demand::Key(pin) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                Fingerprint::of(&parsed.subject_public_key_info()) == pin
            }
        };
        if met {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn fingerprints_are_read_and_written() {
        let bytes: [u8; 32] = core::array::from_fn(|at| u8::try_from(at * 7).expect("below 256"));
        let pin = Fingerprint(bytes);
        assert_eq!(Fingerprint::from_hex(&pin.to_string()), Some(pin));
        let colons: alloc::vec::Vec<_> = bytes
            .iter()
            .map(|byte| alloc::format!("{byte:02X}"))
            .collect();
        assert_eq!(Fingerprint::from_hex(&colons.join(":")), Some(pin));
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(Fingerprint::from_hex(wrong), None, "{wrong}");
        }
    }
}
