//! The classic small services, and HTTP:
//!
//! | port | service | |
//! |---|---|---|
//! | TCP 7 | echo | RFC 862 |
//! | UDP 7 | echo | RFC 862 |
//! | TCP 9 | discard | RFC 863 |
//! | TCP 13 | daytime | RFC 867 |
//! | TCP 19 | character generator | RFC 864 |
//! | TCP 80 | HTTP/1.1 | RFC 9112 |
//! | TCP 443 | the same over TLS | RFC 9110, 4.2.2 |
//! | TCP 4433 | echo over TLS | |
//! | UDP 53 | DNS, for names given as arguments | RFC 1035 |
//!
//! `http://ADDRESS/counters` shows what the stack has counted. Each connection
//! is a task. Echo and discard copy nothing: the frame that came in is the frame
//! that goes out.

mod chargen;
mod daytime;
mod http;
pub mod names;
mod stream;
pub mod tls;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt::Display;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use pollwire_args::{Network, Opt, Program};
use pollwire_core::{
    Error, ListenOptions, Net, Shutdown, TcpFlow, TcpListener, TcpOptions, UdpSocket,
};

/// The program's command line in a guest.
pub const PROGRAM: Program = Program {
    name: "services",
    about: "Serves echo (7), discard (9), daytime (13), chargen (19) and HTTP (80); HTTPS (443) and echo \
            over TLS (4433); with --name DNS (53).",
    usage: "[--ipv4=ADDRESS/BITS|dhcp] [--ipv6=ADDRESS/BITS|slaac|eui64]",
    options: &[Network::OPTIONS, OPTIONS],
};

/// The options beside those of the network.
pub const OPTIONS: &[Opt] = &[names::NAME];

/// Connections that may wait to be accepted, per port.
const BACKLOG: usize = 1024;
/// A peer that is silent this long is probed, and given up when it does not
/// answer, so that dead ones do not hold their flows for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Serves until the stack fails, which it does not. `wall_clock` gives the time
/// since the Unix epoch.
///
/// # Errors
/// [`Error::Misuse`] when a port is taken.
pub async fn run<'n>(
    net: Net<'n>,
    wall_clock: impl Fn() -> Duration + Copy + 'n,
) -> Result<Infallible, Error> {
    let datagrams = UdpSocket::bind(net, any(7))?;
    net.spawn(echo_datagrams(datagrams)).detach();
    serve(net, 9, |flow| async move { discard(&flow).await })?;
    serve(net, 13, move |flow| async move {
        daytime::serve(flow, wall_clock()).await
    })?;
    serve(net, 19, |flow| async move { chargen::serve(&flow).await })?;
    serve(net, 80, http::serve)?;
    let listener = listen(net, 7)?;
    accept_all(listener, echo).await
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

fn listen(net: Net<'_>, port: u16) -> Result<TcpListener<'_>, Error> {
    let tcp = TcpOptions {
        keepalive: Some(KEEPALIVE),
        ..TcpOptions::DEFAULT.nodelay()
    };
    TcpListener::bind_with(
        net,
        any(port),
        ListenOptions {
            backlog: BACKLOG,
            syn_queue: BACKLOG,
            tcp,
            ..ListenOptions::DEFAULT
        },
    )
}

/// Serves one port in the background: a task that accepts, and a task for
/// each connection.
fn serve<'n, F, E>(
    net: Net<'n>,
    port: u16,
    handle: impl Fn(TcpFlow<'n>) -> F + 'n,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), E>> + 'n,
    E: Display,
{
    let listener = listen(net, port)?;
    net.spawn(async move {
        let Err(error) = accept_all(listener, handle).await;
        log::error!("port {port}: {error}");
    })
    .detach();
    Ok(())
}

async fn accept_all<'n, F, E>(
    listener: TcpListener<'n>,
    handle: impl Fn(TcpFlow<'n>) -> F + 'n,
) -> Result<Infallible, Error>
where
    F: Future<Output = Result<(), E>> + 'n,
    E: Display,
{
    loop {
        let flow = listener.accept().await?;
        let net = flow.net();
        let served = handle(flow);
        net.spawn(async move {
            // How a peer leaves is its own affair.
            if let Err(error) = served.await {
                log::debug!("connection ended: {error}");
            }
        })
        .detach();
    }
}

/// Sends every frame back that comes in, until the peer closes.
async fn echo(flow: TcpFlow<'_>) -> Result<(), Error> {
    while let Some(frame) = flow.recv().await? {
        flow.send(frame).await?;
    }
    flow.close().await
}

async fn discard(flow: &TcpFlow<'_>) -> Result<(), Error> {
    flow.shutdown(Shutdown::Write)?;
    while flow.recv().await?.is_some() {}
    Ok(())
}

/// Sends every datagram back in its own frames.
async fn echo_datagrams(socket: UdpSocket<'_>) {
    let mut pieces = Vec::new();
    loop {
        pieces.clear();
        let sent = match socket.recv_pieces_from(&mut pieces).await {
            Ok(from) => socket.send_pieces_to(&mut pieces, from).await,
            Err(error) => {
                log::error!("UDP echo: {error}");
                return;
            }
        };
        if let Err(error) = sent {
            log::debug!("UDP echo: {error}");
        }
    }
}
