//! What a client demands and offers.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::key_log::{Lines, Sink};
use super::pin::{Demand, Pinned};
use super::sessions::Sessions;
use super::{
    Fingerprint, Roots, SharedClock, Versions, WallClock, chain_from_pem, key_from_pem, names,
    provider,
};
use crate::TlsError;

/// What a client demands of servers and offers them. Copies are cheap and share
/// the memory of sessions.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) inner: Arc<rustls::ClientConfig>,
    pub(crate) clock: Arc<SharedClock>,
}

impl ClientConfig {
    /// A configuration under construction, whose next word must be whom to
    /// trust. `clock` tells whether a certificate is valid yet and still.
    pub fn builder(clock: WallClock) -> ClientConfigBuilder {
        ClientConfigBuilder {
            clock,
            trust: None,
            identity: None,
            alpn: Vec::new(),
            versions: Versions::Both,
            post_quantum: true,
            sessions: 64,
            key_log: None,
        }
    }

    /// The application protocols that it offers, best first.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.inner.alpn_protocols.iter().map(Vec::as_slice)
    }
}

enum Trust {
    Roots(Roots),
    Pin(Demand),
}

/// Builds a [`ClientConfig`].
///
/// ```
/// use std::time::Duration;
/// use pollwire_core::Instant;
/// use pollwire_tls::{ClientConfig, Fingerprint, WallClock};
///
/// let clock = WallClock::new(Duration::from_secs(1_767_225_600), Instant::ZERO);
/// let pin = Fingerprint::from_hex(&"5a".repeat(32)).expect("64 digits");
/// let config = ClientConfig::builder(clock)
///     .key_pin(pin)
///     .alpn(&[b"dot"])
///     .build();
/// assert!(config.is_ok());
/// ```
#[must_use]
pub struct ClientConfigBuilder {
    clock: WallClock,
    trust: Option<Trust>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
    post_quantum: bool,
    sessions: usize,
    key_log: Option<Sink>,
}

impl ClientConfigBuilder {
    /// Trusts servers with a certificate for their name behind which one of
    /// `roots` stands.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.trust = Some(Trust::Roots(roots));
        self
    }

    /// Trusts the server whose certificate has this public key, whatever else
    /// it says (RFC 7858, 4.2).
    pub fn key_pin(mut self, key: Fingerprint) -> Self {
        self.trust = Some(Trust::Pin(Demand::Key(key)));
        self
    }

    /// Trusts the server that shows this certificate.
    pub fn certificate_pin(mut self, certificate: Fingerprint) -> Self {
        self.trust = Some(Trust::Pin(Demand::Certificate(certificate)));
        self
    }

    /// Trusts anybody: secret from who only listens, from nobody else.
    pub fn dangerous_trust_anybody(mut self) -> Self {
        self.trust = Some(Trust::Pin(Demand::Nothing));
        self
    }

    /// Shows this certificate, and those of the authorities behind it, to
    /// servers that ask for one.
    pub fn identity(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.identity = Some((chain, key));
        self
    }

    /// Shows this certificate to servers that ask for one: PEM files of the
    /// chain, the certificate itself first, and of its key.
    ///
    /// # Errors
    /// [`TlsError::Config`] when they do not parse.
    pub fn identity_pem(self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(self.identity(chain_from_pem(chain)?, key_from_pem(key)?))
    }

    /// Offers these application protocols (RFC 7301), best first.
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = names(protocols);
        self
    }

    /// Which versions to offer; both unless said.
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Remembers sessions of so many servers, to resume them; 64 unless said,
    /// none with 0.
    pub fn sessions(mut self, servers: usize) -> Self {
        self.sessions = servers;
        self
    }

    /// Whether to offer X25519MLKEM768 before all other key exchanges; so unless
    /// said. It adds 1216 bytes to the first message, which then takes two
    /// segments, and the work of ML-KEM.
    pub fn post_quantum(mut self, hybrid: bool) -> Self {
        self.post_quantum = hybrid;
        self
    }

    /// Gives the secrets of all connections to `sink`, a line at a time in the
    /// format that Wireshark reads. Whoever has them reads the connections.
    pub fn key_log(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.key_log = Some(Arc::new(sink));
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`TlsError::Config`]: nobody to trust, or a key that does not fit its
    /// certificate.
    pub fn build(self) -> Result<ClientConfig, TlsError> {
        let provider = provider(self.post_quantum);
        let clock = Arc::new(SharedClock::new(self.clock));
        let builder = rustls::ClientConfig::builder_with_details(provider.clone(), clock.clone())
            .with_protocol_versions(self.versions.list())?;
        let builder = match self.trust {
            None => return Err(TlsError::Config("nobody to trust was named".into())),
            Some(Trust::Roots(Roots(roots))) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| TlsError::Config(error.to_string()))?;
                builder.with_webpki_verifier(verifier)
            }
            Some(Trust::Pin(demand)) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { demand, provider })),
        };
        let mut config = match self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.resumption = match self.sessions {
            0 => Resumption::disabled(),
            servers => Resumption::store(Arc::new(Sessions::new(servers))),
        };
        if let Some(sink) = self.key_log {
            config.key_log = Arc::new(Lines(sink));
        }
        // 0-RTT data can be replayed (RFC 8446, 8): never.
        config.enable_early_data = false;
        // For `Handshake::finish`: the secrets go to our own record layer.
        config.enable_secret_extraction = true;
        Ok(ClientConfig {
            inner: Arc::new(config),
            clock,
        })
    }
}
