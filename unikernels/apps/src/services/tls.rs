//! HTTP and echo over TLS.

use core::time::Duration;

use pollwire_core::{Error, Net, TcpFlow};
use pollwire_tls::{ServerConfig, TlsError, TlsFlow, WallClock};

use super::{http, serve};

/// A client that takes longer for its handshake is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The services' side of TLS: `chain` and `key` are PEM files of the certificate,
/// those behind it, and its key.
///
/// # Errors
/// [`TlsError::Config`] when they do not parse or do not fit.
pub fn config(clock: WallClock, chain: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    ServerConfig::builder(clock)
        .identity_pem(chain, key)?
        .alpn(&[b"http/1.1"])
        .build()
}

/// Starts serving HTTPS (443) and echo over TLS (4433).
///
/// # Errors
/// [`Error::Misuse`] when a port is taken.
pub fn start(net: Net<'_>, config: &ServerConfig) -> Result<(), Error> {
    let web = config.clone();
    serve(net, 443, move |tcp| {
        let config = web.clone();
        async move { http::serve(accept(tcp, &config).await?).await }
    })?;
    let config = config.clone();
    serve(net, 4433, move |tcp| {
        let config = config.clone();
        async move { echo(accept(tcp, &config).await?).await }
    })
}

async fn accept<'n>(tcp: TcpFlow<'n>, config: &ServerConfig) -> Result<TlsFlow<'n>, TlsError> {
    let net = tcp.net();
    let accepted = net.timeout(HANDSHAKE, TlsFlow::accept(tcp, config)).await;
    let flow = accepted.unwrap_or(Err(pollwire_core::ConnError::TimedOut.into()))?;
    log::debug!("{}", flow.info());
    Ok(flow)
}

/// Sends every record back, in the frame in which it came.
async fn echo(flow: TlsFlow<'_>) -> Result<(), TlsError> {
    while let Some(data) = flow.recv().await? {
        flow.send(data).await?;
    }
    flow.close().await
}
