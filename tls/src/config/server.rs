//! What a server offers and demands.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::key_log::{Lines, Sink};
use super::sni::ByName;
use super::tickets::Tickets;
use super::{
    Roots, SharedClock, Versions, WallClock, chain_from_pem, key_from_pem, names, provider,
};
use crate::TlsError;

/// What a server offers to clients and demands of them. Copies are cheap and
/// share the keys of session tickets.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) inner: Arc<rustls::ServerConfig>,
    pub(crate) clock: Arc<SharedClock>,
}

/// What a server wants of its clients' certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// It asks for none.
    #[default]
    Ignored,
    /// It asks, takes clients without one, and refuses bad ones.
    Wanted(Roots),
    /// It refuses clients without a good one.
    Demanded(Roots),
}

impl ServerConfig {
    /// A configuration under construction. `clock` tells whether a client's
    /// certificate is valid, and the age of session tickets.
    pub fn builder(clock: WallClock) -> ServerConfigBuilder {
        ServerConfigBuilder {
            clock,
            identities: Vec::new(),
            clients: ClientCertificates::Ignored,
            alpn: Vec::new(),
            versions: Versions::Both,
            post_quantum: true,
            tickets: true,
            key_log: None,
        }
    }
}

type Identity = (
    Option<String>,
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
);

/// Builds a [`ServerConfig`].
#[must_use]
pub struct ServerConfigBuilder {
    clock: WallClock,
    identities: Vec<Identity>,
    clients: ClientCertificates,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
    post_quantum: bool,
    tickets: bool,
    key_log: Option<Sink>,
}

impl ServerConfigBuilder {
    /// Shows this certificate, with those of the authorities behind it, to
    /// clients that ask for no name or for one that has no certificate of its
    /// own.
    pub fn identity(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.identities.push((None, chain, key));
        self
    }

    /// Shows this certificate as [`identity`](Self::identity) does: PEM files of the
    /// chain, the certificate itself first, and of its key.
    ///
    /// # Errors
    /// [`TlsError::Config`] when they do not parse.
    pub fn identity_pem(self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(self.identity(chain_from_pem(chain)?, key_from_pem(key)?))
    }

    /// Shows this certificate to clients that ask for `name` (RFC 6066, 3).
    /// `*.example.org` means every name with one label before `.example.org`.
    pub fn identity_for(
        mut self,
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.identities.push((Some(name.into()), chain, key));
        self
    }

    /// Whether clients must show certificates; not unless said.
    pub fn clients(mut self, clients: ClientCertificates) -> Self {
        self.clients = clients;
        self
    }

    /// Takes these application protocols (RFC 7301), best first. A client that
    /// offers some, but none of these, is refused.
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = names(protocols);
        self
    }

    /// Which versions to take; both unless said.
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Whether to give clients tickets with which they may resume their
    /// sessions; so unless said. The server remembers nothing of a session.
    pub fn tickets(mut self, tickets: bool) -> Self {
        self.tickets = tickets;
        self
    }

    /// Whether to take X25519MLKEM768 where a client offers it; so unless said.
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
    /// [`TlsError::Config`]: no certificate, a key that does not fit its
    /// certificate, no entropy for the tickets' key.
    pub fn build(self) -> Result<ServerConfig, TlsError> {
        let config_error = |text: &str| TlsError::Config(text.into());
        let provider = provider(self.post_quantum);
        let clock = Arc::new(SharedClock::new(self.clock));
        if self.identities.is_empty() {
            return Err(config_error("a server needs a certificate"));
        }
        let mut by_name = ByName::default();
        for (name, chain, key) in self.identities {
            let key = Arc::new(CertifiedKey::from_der(chain, key, &provider)?);
            match name {
                Some(name) => by_name.named.push((name, key)),
                None => by_name.default = Some(key),
            }
        }
        let builder = rustls::ServerConfig::builder_with_details(provider.clone(), clock.clone())
            .with_protocol_versions(self.versions.list())?;
        let (roots, demanded) = match self.clients {
            ClientCertificates::Ignored => (None, false),
            ClientCertificates::Wanted(Roots(roots)) => (Some(roots), false),
            ClientCertificates::Demanded(Roots(roots)) => (Some(roots), true),
        };
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = if demanded {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| TlsError::Config(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = self.alpn;
        if self.tickets {
            let tickets = Tickets::new(clock.clone(), provider.secure_random)
                .ok_or_else(|| config_error("no entropy for the tickets' key"))?;
            config.ticketer = Arc::new(tickets);
        } else {
            config.send_tls13_tickets = 0;
        }
        if let Some(sink) = self.key_log {
            config.key_log = Arc::new(Lines(sink));
        }
        // 0-RTT data can be replayed (RFC 8446, 8): never.
        config.max_early_data_size = 0;
        // For `Handshake::finish`: the secrets go to our own record layer.
        config.enable_secret_extraction = true;
        Ok(ServerConfig {
            inner: Arc::new(config),
            clock,
        })
    }
}
