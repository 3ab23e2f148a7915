//! Echo server and client: the client sends random bytes and compares the hash
//! of what comes back, or measures.

mod measure;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;

use pollwire_args::{Matches, Network, Opt, Program, Stop};
use pollwire_core::{
    Counter, Error, ListenOptions, Net, Shutdown, TcpFlow, TcpListener, TcpOptions, join,
};
use sha2::{Digest, Sha256};

const DEFAULT_PORT: u16 = 9000;
const DEFAULT_LENGTH: u64 = 4096;
const DEFAULT_MEASURE: u64 = 256 << 20;

const PORT: Opt = Opt::value("port", "PORT", "where the server listens (default 9000)");
const LIMIT: Opt = Opt::value("limit", "N", "serve so many clients, then end");

/// The options beside those of the network.
pub const OPTIONS: &[Opt] = &[PORT, LIMIT];

/// The program's command line in a guest.
pub const PROGRAM: Program = Program {
    name: "echo",
    about: "Sends back what it gets (server), or sends random bytes and checks that \
            they come back (client), or times that (measure).",
    usage: "--ipv4=ADDRESS/BITS|dhcp server | client ADDRESS[:PORT] [LENGTH] \
            | measure ADDRESS[:PORT] [LENGTH]",
    options: &[Network::OPTIONS, OPTIONS],
};

/// An address with a port, [`DEFAULT_PORT`] unless it says another.
struct Server(SocketAddr);

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |_| text.parse().map(|ip| SocketAddr::new(ip, DEFAULT_PORT));
        text.parse()
            .or_else(address)
            .map(Self)
            .map_err(|_: core::net::AddrParseError| "not an address, nor address:port")
    }
}

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Serve.
    Server {
        /// Where.
        port: u16,
        /// How many clients; `None` for ever.
        limit: Option<u64>,
    },
    /// Send and compare.
    Client {
        /// Where to.
        server: SocketAddr,
        /// How many bytes.
        length: u64,
    },
    /// Time hashed echo, ping-pong and bulk, one connection each: the server's
    /// limit for one run is 3.
    Measure {
        /// Where to.
        server: SocketAddr,
        /// How many bytes in bulk.
        length: u64,
    },
}

impl Mode {
    /// Reads it from the arguments.
    ///
    /// # Errors
    /// [`Stop::Usage`] when they say nothing that makes sense.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        match matches.word(0) {
            Some("server") => {
                matches.at_most(1)?;
                Ok(Self::Server {
                    port: matches.value(&PORT)?.unwrap_or(DEFAULT_PORT),
                    limit: matches.value(&LIMIT)?,
                })
            }
            Some("client") => {
                let (server, length) = peer(matches)?;
                let length = length.unwrap_or(DEFAULT_LENGTH);
                Ok(Self::Client { server, length })
            }
            Some("measure") => {
                let (server, length) = peer(matches)?;
                let length = length.unwrap_or(DEFAULT_MEASURE);
                Ok(Self::Measure { server, length })
            }
            Some(other) => {
                Err(matches.mistake(format_args!("{other} is not server, client or measure")))
            }
            None => Err(matches.mistake("say server, client or measure")),
        }
    }
}

/// The words after `client` and `measure`.
fn peer(matches: &Matches<'_>) -> Result<(SocketAddr, Option<u64>), Stop> {
    matches.at_most(3)?;
    let word = matches
        .word(1)
        .ok_or_else(|| matches.mistake("the server's ADDRESS[:PORT] is missing"))?;
    let Server(server) = word
        .parse()
        .map_err(|error| matches.mistake(format_args!("{word}: {error}")))?;
    let length = |word: &str| {
        word.parse()
            .map_err(|error| matches.mistake(format_args!("length {word}: {error}")))
    };
    Ok((server, matches.word(2).map(length).transpose()?))
}

/// Reads the command line.
///
/// # Errors
/// [`Stop`] with what to print and the exit code.
pub fn arguments<'a>(
    program: &Program,
    args: impl IntoIterator<Item = &'a str>,
) -> Result<(Network, Mode), Stop> {
    let matches = program.parse(args)?;
    Ok((
        Network::from_matches(&matches)?,
        Mode::from_matches(&matches)?,
    ))
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The network.
    Net(Error),
    /// So many bytes came back instead of those sent.
    Length(u64),
    /// As many came back as were sent, but not the same.
    Content,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Net(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::Length(count) => write!(f, "{count} bytes came back"),
            Self::Content => f.write_str("what came back is not what was sent"),
        }
    }
}

impl core::error::Error for Failure {}

/// Does what `mode` says, and logs what was counted.
///
/// # Errors
/// [`Failure`]: a client's when the bytes did not come back as they were.
pub async fn run(net: Net<'_>, mode: Mode) -> Result<(), Failure> {
    let done = match mode {
        Mode::Server { port, limit } => serve(net, port, limit).await.map_err(Failure::from),
        Mode::Client { server, length } => check(net, server, length).await,
        Mode::Measure { server, length } => measure::run(net, server, length).await,
    };
    log::info!("{}", Counted(net));
    done
}

/// What the stack has counted: payload that peers acknowledged, what of it was
/// copied or sent again, and drops by name.
struct Counted<'n>(Net<'n>);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.with_stack(|stack| {
            let counters = stack.counters();
            write!(
                f,
                "@pollwire what=counters payload_bytes={} copied_bytes={} retransmits={}",
                counters.get(Counter::TcpBytesAcked),
                counters.get(Counter::CopiedBytes),
                counters.get(Counter::TcpRetransmits)
            )?;
            counters
                .drops()
                .filter(|&(_, count)| count > 0)
                .try_for_each(|(reason, count)| write!(f, " drop.{reason}={count}"))
        })
    }
}

async fn check(net: Net<'_>, server: SocketAddr, length: u64) -> Result<(), Failure> {
    let flow = TcpFlow::connect(net, server).await?;
    let took = exchange(flow, length).await?;
    log::info!("{length} bytes came back intact in {took:?}");
    Ok(())
}

/// Serves `limit` clients, and waits until the last one is done.
async fn serve(net: Net<'_>, port: u16, limit: Option<u64>) -> Result<(), Error> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let options = ListenOptions {
        tcp: TcpOptions::DEFAULT.nodelay(),
        ..ListenOptions::DEFAULT
    };
    let listener = TcpListener::bind_with(net, SocketAddr::new(any, port), options)?;
    let mut accepted = 0;
    let before = net.task_count();
    while limit.is_none_or(|limit| accepted < limit) {
        let flow = listener.accept().await?;
        accepted += 1;
        net.spawn(async move {
            if let Err(error) = echo(flow).await {
                log::debug!("connection ended: {error}");
            }
        })
        .detach();
    }
    while net.task_count() > before {
        net.sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn echo(flow: TcpFlow<'_>) -> Result<(), Error> {
    while let Some(frame) = flow.recv().await? {
        flow.send(frame).await?;
    }
    flow.close().await
}

/// Sends `length` random bytes and compares what comes back; returns how long
/// that took.
async fn exchange(flow: TcpFlow<'_>, length: u64) -> Result<Duration, Failure> {
    let net = flow.net();
    let start = net.now();
    let (sent, received) = join(send_random(&flow, length), receive(&flow, length)).await;
    let (sent, (received, count)) = (sent?, received?);
    let took = net.now() - start;
    flow.close().await?;
    if count != length {
        return Err(Failure::Length(count));
    }
    if sent != received {
        return Err(Failure::Content);
    }
    Ok(took)
}

type Hash = [u8; 32];

async fn send_random(flow: &TcpFlow<'_>, length: u64) -> Result<Hash, Error> {
    let (mut hash, mut left, mss) = (Sha256::new(), length, flow.mss()?);
    while left > 0 {
        let mut frame = flow.alloc_frame().await;
        let count = usize::try_from(left).map_or(mss, |left| left.min(mss));
        frame.set_len(count);
        flow.net().random(&mut frame);
        hash.update(&frame[..]);
        flow.send(frame).await?;
        left -= count as u64;
    }
    flow.shutdown(Shutdown::Write)?;
    Ok(hash.finalize().into())
}

/// Hashes what comes until the peer closes, or more came than was sent.
async fn receive(flow: &TcpFlow<'_>, length: u64) -> Result<(Hash, u64), Error> {
    let (mut hash, mut count) = (Sha256::new(), 0);
    while count <= length
        && let Some(frame) = flow.recv().await?
    {
        hash.update(&frame[..]);
        count += frame.len() as u64;
    }
    Ok((hash.finalize().into(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(args: &[&str]) -> Result<Mode, Stop> {
        Mode::from_matches(&PROGRAM.parse(args.iter().copied())?)
    }

    #[test]
    fn modes() {
        assert_eq!(
            mode(&["server"]),
            Ok(Mode::Server {
                port: 9000,
                limit: None
            })
        );
        assert_eq!(
            mode(&["server", "--port=7", "--limit=3"]),
            Ok(Mode::Server {
                port: 7,
                limit: Some(3)
            })
        );
        let client = |server: &str, length| {
            let server = server.parse().expect("an address");
            Ok(Mode::Client { server, length })
        };
        assert_eq!(mode(&["client", "10.0.0.2"]), client("10.0.0.2:9000", 4096));
        assert_eq!(
            mode(&["client", "10.0.0.2:7", "1"]),
            client("10.0.0.2:7", 1)
        );
        assert_eq!(mode(&["client", "fd00::1"]), client("[fd00::1]:9000", 4096));
        assert_eq!(
            mode(&["measure", "10.0.0.2", "1000"]),
            Ok(Mode::Measure {
                server: "10.0.0.2:9000".parse().expect("an address"),
                length: 1000
            })
        );
        for wrong in [
            &[][..],
            &["sever"],
            &["client"],
            &["client", "example"],
            &["client", "10.0.0.2", "many"],
            &["server", "extra"],
            &["server", "--limit=-1"],
        ] {
            assert!(matches!(mode(wrong), Err(Stop::Usage(_))), "{wrong:?}");
        }
    }
}
