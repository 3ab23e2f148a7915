//! Fetches a page over HTTP or HTTPS, and tells how it came.

mod http;
mod report;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;

use data_encoding::BASE64;
use pollwire_args::{Matches, Network, Opt, Program, Stop};
use pollwire_core::{Instant, Net, TcpFlow, TimedOut};
use pollwire_dns::Authenticator;
use pollwire_he::{Cause, Config, ConnectError, Family, HappyEyeballs, Report};
use pollwire_tls::{
    CertificateDer, ClientConfig, ConnectionInfo, Fingerprint, Roots, ServerName, TlsError,
    TlsFlow, WallClock,
};
use url::{Host, Url};

use crate::Finished;
use crate::resolve::Resolving;

const JSON: Opt = Opt::flag("json", "print one JSON object");
const BODY: Opt = Opt::flag("body", "print the page itself, too, if it is text");
const INSECURE: Opt = Opt::flag("insecure", "take any certificate");
const CACERT: Opt = Opt::value(
    "cacert",
    "BASE64",
    "trust this authority's certificate (DER) only",
);
const CA_PIN: Opt = Opt::value(
    "ca-pin",
    "PIN",
    "key-fp:sha256:BASE64 or cert-fp:sha256:BASE64 of the server's, whatever else it says",
);
const ONLY_V4: Opt = Opt::flag("4", "use IPv4 only");
const ONLY_V6: Opt = Opt::flag("6", "use IPv6 only");
const TIMEOUT: Opt = Opt::value("timeout", "SECONDS", "for all of it (default 60)");

/// The options beside those of the network and the resolver.
pub const OPTIONS: &[Opt] = &[
    JSON, BODY, INSECURE, CACERT, CA_PIN, ONLY_V4, ONLY_V6, TIMEOUT,
];

/// The program's command line in a guest.
pub const PROGRAM: Program = Program {
    name: "fetch",
    about: "Fetches a page over HTTP/1.1, and tells which addresses were tried, what TLS \
            agreed on, the status, the hash and the times. Exits with 0 when a page came, \
            2 when the server says that there is none (400 and up), 1 when nothing came.",
    usage: "--ipv4=ADDRESS/BITS --nameserver=SERVER https://NAME[:PORT]/PATH",
    options: &[Network::OPTIONS, OPTIONS, Resolving::OPTIONS],
};

/// What it speaks over TLS (RFC 7301, 6).
const PROTOCOL: &[u8] = b"http/1.1";
/// The exit code when nothing came.
const FAILED: u8 = 1;
/// The exit code when the server refuses.
const REFUSED: u8 = 2;

/// An authority's certificate in Base64.
struct Authority(CertificateDer<'static>);

impl FromStr for Authority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| "not Base64")?;
        Ok(Self(CertificateDer::from(bytes)))
    }
}

/// Whom to believe to be the server.
#[derive(Clone, Debug)]
enum Trust {
    Mozilla,
    Anybody,
    Authority(CertificateDer<'static>),
    Pin(Authenticator),
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Request {
    url: Url,
    json: bool,
    body: bool,
    trust: Trust,
    family: Option<Family>,
    timeout: Duration,
    resolving: Resolving,
}

impl Request {
    /// Reads it from the arguments.
    ///
    /// # Errors
    /// [`Stop::Usage`] when they say nothing that makes sense.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        matches.at_most(1)?;
        let word = matches.word(0);
        let word = word.ok_or_else(|| matches.mistake("the URL is missing"))?;
        let url = Url::parse(word);
        let url = url.map_err(|error| matches.mistake(format_args!("{word}: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(matches.mistake(format_args!("{word}: neither http: nor https:")));
        }
        let family = match (matches.flag(&ONLY_V4), matches.flag(&ONLY_V6)) {
            (true, true) => return Err(matches.mistake("-4 and -6 exclude each other")),
            (true, false) => Some(Family::V4),
            (false, true) => Some(Family::V6),
            (false, false) => None,
        };
        let seconds = matches.value(&TIMEOUT)?.unwrap_or(60);
        Ok(Self {
            url,
            json: matches.flag(&JSON),
            body: matches.flag(&BODY),
            trust: trust(matches)?,
            family,
            timeout: Duration::from_secs(seconds),
            resolving: Resolving::from_matches(matches)?,
        })
    }

    /// The host as it is looked up, shown to TLS, and connected to.
    fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Domain(name)) => name.to_string(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        }
    }

    fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

fn trust(matches: &Matches<'_>) -> Result<Trust, Stop> {
    let authority = matches.value::<Authority>(&CACERT)?;
    let pin = matches.value::<Authenticator>(&CA_PIN)?;
    match (matches.flag(&INSECURE), authority, pin) {
        (false, None, None) => Ok(Trust::Mozilla),
        (true, None, None) => Ok(Trust::Anybody),
        (false, Some(Authority(certificate)), None) => Ok(Trust::Authority(certificate)),
        (false, None, Some(pin)) => Ok(Trust::Pin(pin)),
        _ => Err(matches.mistake("--insecure, --cacert and --ca-pin exclude each other")),
    }
}

/// Reads the command line.
///
/// # Errors
/// [`Stop`] with what to print and the exit code.
pub fn arguments<'a>(
    program: &Program,
    args: impl IntoIterator<Item = &'a str>,
) -> Result<(Network, Request), Stop> {
    let matches = program.parse(args)?;
    Ok((
        Network::from_matches(&matches)?,
        Request::from_matches(&matches)?,
    ))
}

/// Why no page came.
#[derive(Clone, Debug)]
enum Failure {
    Connect(ConnectError),
    Tls(TlsError),
    Http(http::Fault),
    TimedOut,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Http(fault) => fault.fmt(f),
            Self::TimedOut => f.write_str("not done in time"),
        }
    }
}

/// What is known of a fetch, as far as it came.
#[derive(Debug, Default)]
struct Progress {
    started: Instant,
    /// How it was connected, or was not.
    race: Option<Report>,
    /// When TCP was open, and when TLS was.
    tcp_open: Option<Instant>,
    tls_open: Option<Instant>,
    tls: Option<ConnectionInfo>,
    first_byte: Option<Instant>,
    ended: Instant,
    page: Option<http::Page>,
}

/// A connection of either kind.
enum Flow<'n> {
    Plain(TcpFlow<'n>),
    Tls(Box<TlsFlow<'n>>),
}

impl Flow<'_> {
    async fn read(&self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        match self {
            Self::Plain(flow) => Ok(flow.read(buffer).await?),
            Self::Tls(flow) => flow.read(buffer).await,
        }
    }

    async fn write_all(&self, bytes: &[u8]) -> Result<(), TlsError> {
        match self {
            Self::Plain(flow) => Ok(flow.write_all(bytes).await?),
            Self::Tls(flow) => flow.write_all(bytes).await,
        }
    }
}

/// Fetches what `request` says. Certificates are judged by `clock`.
pub async fn run(net: Net<'_>, request: Request, clock: WallClock) -> Finished {
    crate::wait_for_address(net, request.family == Some(Family::V6)).await;
    if request.url.domain().is_some() {
        request.resolving.wait_for_servers(net).await;
    }
    let mut progress = Progress {
        started: net.now(),
        ..Progress::default()
    };
    let fetching = fetch(net, &request, clock, &mut progress);
    let result = match net.timeout(request.timeout, fetching).await {
        Ok(result) => result,
        Err(TimedOut) => Err(Failure::TimedOut),
    };
    progress.ended = net.now();
    let text = if request.json {
        report::json(net, &request, &progress, result.as_ref().err())
    } else {
        report::text(&request, &progress, result.as_ref().err())
    };
    let exit_code = match (&result, &progress.page) {
        (Ok(()), Some(page)) if page.status < 400 => 0,
        (Ok(()), Some(_)) => REFUSED,
        _ => FAILED,
    };
    Finished { text, exit_code }
}

async fn fetch(
    net: Net<'_>,
    request: &Request,
    clock: WallClock,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let flow = connect(net, request, clock, progress).await?;
    if let Flow::Tls(flow) = &flow {
        progress.tls = Some(flow.info().clone());
    }
    let asked = http::request(&request.url);
    flow.write_all(asked.as_bytes())
        .await
        .map_err(Failure::Tls)?;
    let mut reader = http::Reader::new(request.body);
    let mut buffer = alloc::vec![0; 16 * 1024];
    loop {
        let count = match flow.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) => return Err(Failure::Tls(error)),
        };
        progress.first_byte.get_or_insert(net.now());
        let done = match buffer.get(..count) {
            Some(bytes) if !bytes.is_empty() => reader.feed(bytes).map_err(Failure::Http)?,
            _ => {
                reader.end().map_err(Failure::Http)?;
                true
            }
        };
        if done {
            progress.page = Some(reader.into_page());
            return Ok(());
        }
    }
}

/// Races to an open connection, the TLS handshake included.
async fn connect<'n>(
    net: Net<'n>,
    request: &Request,
    clock: WallClock,
    progress: &mut Progress,
) -> Result<Flow<'n>, Failure> {
    let config = client(&request.trust, clock).map_err(Failure::Tls)?;
    let host = request.host();
    let tcp_opened: RefCell<Vec<(SocketAddr, Instant)>> = RefCell::default();
    let open = |address: SocketAddr| {
        let (config, host, opened) = (&config, &host, &tcp_opened);
        async move {
            let flow = TcpFlow::connect(net, address).await?;
            opened.borrow_mut().push((address, net.now()));
            if !request.is_https() {
                return Ok(Flow::Plain(flow));
            }
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|error| Cause::Above(error.to_string()))?;
            let flow = TlsFlow::connect(flow, config, name).await?;
            Ok(Flow::Tls(Box::new(flow)))
        }
    };
    let eyes = HappyEyeballs::new(request.resolving.resolver(net, clock)).with_config(Config {
        family: request.family,
        ..Config::DEFAULT
    });
    let raced = if request.is_https() {
        eyes.race_https(&host, request.port(), &[PROTOCOL], open)
            .await
    } else {
        eyes.race(&host, &[request.port()], open).await
    };
    match raced {
        Ok(connected) => {
            let won = connected.report.winner().map(|won| won.address);
            let opened = tcp_opened.borrow();
            let tcp = opened.iter().find(|(address, _)| Some(*address) == won);
            progress.tcp_open = tcp.map(|(_, at)| *at);
            progress.tls_open = request.is_https().then_some(connected.report.ended);
            progress.race = Some(connected.report);
            Ok(connected.flow)
        }
        Err(error) => {
            progress.race = Some(error.report.clone());
            Err(Failure::Connect(error))
        }
    }
}

fn client(trust: &Trust, clock: WallClock) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder(clock).alpn(&[PROTOCOL]);
    match trust {
        Trust::Mozilla => builder.roots(Roots::mozilla()),
        Trust::Anybody | Trust::Pin(Authenticator::Anybody) => builder.dangerous_trust_anybody(),
        Trust::Authority(certificate) => builder.roots(Roots::empty().with(certificate.clone())?),
        Trust::Pin(Authenticator::Key(hash)) => builder.key_pin(Fingerprint(*hash)),
        Trust::Pin(Authenticator::Certificate(hash)) => builder.certificate_pin(Fingerprint(*hash)),
        Trust::Pin(_) => builder.roots(Roots::mozilla()),
    }
    .build()
}

/// A hash in hexadecimal digits.
fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
