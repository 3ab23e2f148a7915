//! The race to an open TLS session.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use pollwire_core::TcpFlow;
use pollwire_tls::{ClientConfig, ServerName, TlsError, TlsFlow};

use super::{ConnectError, Connected, HappyEyeballs};
use crate::Cause;

impl From<TlsError> for Cause {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Net(error) => Self::Net(error),
            error => Self::Above(error.to_string()),
        }
    }
}

impl<'n> HappyEyeballs<'n> {
    /// As [`connect`](Self::connect), to a TLS session with `host`: the attempt
    /// whose handshake is done first wins, so an address that answers but cannot
    /// prove to be `host` does not.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_tls(
        &self,
        host: &str,
        ports: &[u16],
        config: &ClientConfig,
    ) -> Result<Connected<TlsFlow<'n>>, ConnectError> {
        self.race(host, ports, |address| self.tls(host, address, config))
            .await
    }

    /// As [`connect_tls`](Self::connect_tls), to the HTTPS service of `host`: its
    /// HTTPS records (RFC 9460) say at which names, ports and addresses it is to be
    /// had, and those that speak nothing of what `config` offers are left out.
    /// Whatever they say, the peer must prove to be `host`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_https(
        &self,
        host: &str,
        port: u16,
        config: &ClientConfig,
    ) -> Result<Connected<TlsFlow<'n>>, ConnectError> {
        let alpn: Vec<&[u8]> = config.alpn().collect();
        self.race_https(host, port, &alpn, |address| self.tls(host, address, config))
            .await
    }

    async fn tls(
        &self,
        host: &str,
        address: SocketAddr,
        config: &ClientConfig,
    ) -> Result<TlsFlow<'n>, Cause> {
        let name = ServerName::try_from(String::from(host.trim_end_matches('.')));
        let name = name.map_err(|error| Cause::Above(error.to_string()))?;
        let flow = TcpFlow::connect_with(self.net, address, self.tcp).await?;
        Ok(TlsFlow::connect(flow, config, name).await?)
    }
}
