//! DNS over TLS (RFC 7858): whom to trust.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;

use pollwire_core::{Net, TcpFlow};
use pollwire_tls::{ClientConfig, Fingerprint, Roots, ServerName, TlsError, TlsFlow, WallClock};

use super::Resolver;
use super::driver::Owner;
use crate::{Authenticator, Config, Machine, Nameserver, Tls};

/// What a resolver needs for servers that are reached over TLS.
#[derive(Clone, Debug)]
pub struct TlsTrust {
    /// By which certificates are judged.
    pub clock: WallClock,
    /// The authorities of servers without a fingerprint of their own.
    pub roots: Roots,
}

/// The trust, and a configuration with its sessions for each server.
#[derive(Debug)]
pub(super) struct Clients {
    trust: TlsTrust,
    known: RefCell<Vec<(Nameserver, ClientConfig)>>,
}

impl Clients {
    pub(super) fn new(trust: TlsTrust) -> Self {
        Self {
            trust,
            known: RefCell::default(),
        }
    }

    fn config(&self, server: &Nameserver, tls: &Tls) -> Result<ClientConfig, TlsError> {
        let mut known = self.known.borrow_mut();
        if let Some((_, config)) = known.iter().find(|(other, _)| other == server) {
            return Ok(config.clone());
        }
        let builder = ClientConfig::builder(self.trust.clock);
        let builder = match tls.authenticator {
            Authenticator::Roots => builder.roots(self.trust.roots.clone()),
            Authenticator::Anybody => builder.dangerous_trust_anybody(),
            Authenticator::Key(hash) => builder.key_pin(Fingerprint(hash)),
            Authenticator::Certificate(hash) => builder.certificate_pin(Fingerprint(hash)),
        };
        // RFC 7858, 3.2 names no protocol, but "dot" is registered for it.
        let config = builder.alpn(&[b"dot"]).sessions(1).build()?;
        known.push((server.clone(), config.clone()));
        Ok(config)
    }

    /// Does the handshake on an open connection to `server`.
    pub(super) async fn handshake<'n>(
        &self,
        flow: TcpFlow<'n>,
        server: &Nameserver,
        tls: &Tls,
    ) -> Result<TlsFlow<'n>, TlsError> {
        let config = self.config(server, tls)?;
        let host = tls.host.clone();
        let name = host.unwrap_or_else(|| server.address.ip().to_string());
        let name =
            ServerName::try_from(name).map_err(|error| TlsError::Config(error.to_string()))?;
        TlsFlow::connect(flow, &config, name).await
    }
}

impl<'n> Resolver<'n> {
    /// As [`new`](Self::new), for configurations with servers that are reached
    /// over TLS.
    #[must_use]
    pub fn with_tls(net: Net<'n>, config: Config, trust: TlsTrust) -> Self {
        let machine = Machine::new(config, super::random(net));
        Self {
            owner: alloc::rc::Rc::new(Owner::new(net, machine, Some(Clients::new(trust)))),
        }
    }
}
