//! What a side of TLS demands and offers: [`ClientConfig`], [`ServerConfig`].

mod client;
mod clock;
mod hybrid;
mod key_log;
mod pin;
mod server;
mod sessions;
mod sni;
mod tickets;

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use client::{ClientConfig, ClientConfigBuilder};
pub(crate) use clock::SharedClock;
pub use clock::WallClock;
pub use pin::Fingerprint;
pub use server::{ClientCertificates, ServerConfig, ServerConfigBuilder};

use crate::TlsError;

/// Which versions may be agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.3, or 1.2 with a peer that speaks no later one.
    #[default]
    Both,
    /// TLS 1.3 only.
    Tls13,
    /// TLS 1.2 only.
    Tls12,
}

static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Both => BOTH,
            Self::Tls13 => ONLY_13,
            Self::Tls12 => ONLY_12,
        }
    }
}

/// Certificates of authorities.
#[derive(Clone, Debug)]
pub struct Roots(RootCertStore);

impl Roots {
    /// No authority yet.
    #[must_use]
    pub fn empty() -> Self {
        Self(RootCertStore::empty())
    }

    /// Mozilla's list, as compiled in.
    #[cfg(feature = "webpki-roots")]
    #[must_use]
    pub fn mozilla() -> Self {
        let anchors = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        Self(anchors.collect())
    }

    /// Adds the authorities of a PEM file, at least one.
    ///
    /// # Errors
    /// [`TlsError::Config`] when a certificate does not parse, or there is none.
    pub fn with_pem(self, pem: &[u8]) -> Result<Self, TlsError> {
        chain_from_pem(pem)?.into_iter().try_fold(self, Self::with)
    }

    /// Adds an authority.
    ///
    /// # Errors
    /// [`TlsError::Config`] when the certificate does not parse.
    pub fn with(mut self, authority: CertificateDer<'_>) -> Result<Self, TlsError> {
        let added = self.0.add(authority.into_owned());
        added.map_err(|error| TlsError::Config(error.to_string()))?;
        Ok(self)
    }
}

/// ring's algorithms, AES with keys of 128 bits first: it is the fastest. Where
/// `post_quantum` says so, the hybrid key exchange comes before all others.
fn provider(post_quantum: bool) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    if post_quantum {
        provider.kx_groups.insert(0, hybrid::X25519_MLKEM768);
    }
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    Arc::new(provider)
}

/// The certificates in a PEM file, in their order, at least one.
fn chain_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| TlsError::Config(format!("certificate: {error}")))?;
    if chain.is_empty() {
        return Err(TlsError::Config("no certificate in the PEM file".into()));
    }
    Ok(chain)
}

/// The first private key in a PEM file.
fn key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| TlsError::Config(format!("private key: {error}")))
}

fn names(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.to_vec()).collect()
}
