//! Looks a name up and prints what it finds.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;

use pollwire_args::{Matches, Network, Opt, Program, Stop};
use pollwire_core::{Net, join_all};
use pollwire_dns::{
    Answer, Config, DnsError, Name, Nameserver, RData, Record, RecordType, Resolver, Source,
    TlsTrust,
};
use pollwire_tls::{Roots, WallClock};

use crate::Finished;
use crate::json::{self, Json, quoted};

const HOST: Opt = Opt::value("host", "NAME", "what to look up");
const TYPE: Opt = Opt::value(
    "type",
    "TYPE",
    "A, AAAA, MX, TXT, SRV, HTTPS, PTR, ... (default A and AAAA)",
);
const JSON: Opt = Opt::flag("json", "print one JSON object");

const SEARCH: Opt = Opt::value("search", "LIST", "domains to complete short names with");
const DNS_TIMEOUT: Opt = Opt::value("dns-timeout", "SECONDS", "for one lookup (default 10)");

/// The options beside those of the network and the resolver.
pub const OPTIONS: &[Opt] = &[HOST, TYPE, JSON];

/// The program's command line in a guest.
pub const PROGRAM: Program = Program {
    name: "resolve",
    about: "Looks a name up. Exits with 0 when it found something, 2 when there is \
            nothing, 1 when nobody could say.",
    usage: "--ipv4=ADDRESS/BITS --nameserver=SERVER --host=NAME [--type=TYPE]",
    options: &[Network::OPTIONS, OPTIONS, Resolving::OPTIONS],
};

/// The exit code when nobody could say.
const FAILED: u8 = 1;
/// The exit code when there is nothing.
const NOTHING: u8 = 2;

/// A list with commas.
struct List<T>(Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// How names are looked up.
#[derive(Clone, Debug)]
pub struct Resolving {
    servers: Vec<Nameserver>,
    search: Vec<Name>,
    timeout: Option<u64>,
}

impl Resolving {
    /// The options that [`from_matches`](Self::from_matches) reads.
    pub const OPTIONS: &'static [Opt] = &[SEARCH, DNS_TIMEOUT];

    /// Reads it from the arguments.
    ///
    /// # Errors
    /// [`Stop::Usage`] when one of them is wrong.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        let servers = matches.values::<Nameserver>(&Network::NAMESERVER)?;
        let search = matches.value::<List<Name>>(&SEARCH)?;
        Ok(Self {
            servers,
            search: search.map_or_else(Vec::new, |list| list.0),
            timeout: matches.value(&DNS_TIMEOUT)?,
        })
    }

    /// Waits until there is a server to ask.
    pub(crate) async fn wait_for_servers(&self, net: Net<'_>) {
        if self.servers.is_empty() {
            crate::wait_for_servers(net).await;
        }
    }

    /// The resolver. Without `--nameserver` it asks those that the network
    /// announces, now and later. Certificates are judged by `clock`.
    pub(crate) fn resolver<'n>(&self, net: Net<'n>, clock: WallClock) -> Resolver<'n> {
        let mut config = Config::announced(net);
        if !self.servers.is_empty() {
            config.servers.clone_from(&self.servers);
        }
        if !self.search.is_empty() {
            config.search.clone_from(&self.search);
        }
        if let Some(seconds) = self.timeout {
            config.timeout = Duration::from_secs(seconds);
        }
        let trust = TlsTrust {
            clock,
            roots: Roots::mozilla(),
        };
        let resolver = Resolver::with_tls(net, config, trust);
        resolver.follow_network(self.servers.is_empty(), self.search.is_empty());
        resolver
    }
}

/// What to look up.
#[derive(Clone, Debug)]
pub struct Question {
    host: String,
    types: Vec<RecordType>,
    json: bool,
    resolving: Resolving,
}

impl Question {
    /// Reads it from the arguments.
    ///
    /// # Errors
    /// [`Stop::Usage`] when they say nothing that makes sense.
    pub fn from_matches(matches: &Matches<'_>) -> Result<Self, Stop> {
        matches.at_most(0)?;
        let record_type = matches.value::<String>(&TYPE)?;
        let types = match record_type {
            None => [RecordType::A, RecordType::AAAA].into(),
            Some(text) => {
                let parsed = text.to_ascii_uppercase().parse();
                let parsed = parsed.map_err(|_| matches.mistake(format!("--type={text}: unknown")));
                [parsed?].into()
            }
        };
        Ok(Self {
            host: matches.required(&HOST)?,
            types,
            json: matches.flag(&JSON),
            resolving: Resolving::from_matches(matches)?,
        })
    }
}

/// Reads the command line.
///
/// # Errors
/// [`Stop`] with what to print and the exit code.
pub fn arguments<'a>(
    program: &Program,
    args: impl IntoIterator<Item = &'a str>,
) -> Result<(Network, Question), Stop> {
    let matches = program.parse(args)?;
    Ok((
        Network::from_matches(&matches)?,
        Question::from_matches(&matches)?,
    ))
}

/// Looks `question` up. Certificates are judged by `clock`.
pub async fn run(net: Net<'_>, question: Question, clock: WallClock) -> Finished {
    crate::wait_for_address(net, false).await;
    question.resolving.wait_for_servers(net).await;
    let resolver = question.resolving.resolver(net, clock);
    let start = net.now();
    let types = question.types.iter();
    let lookups = types.map(|record_type| ask(&resolver, &question.host, *record_type));
    let answers = join_all(lookups).await;
    let elapsed = net.now().since(start);
    let text = if question.json {
        as_json(net, &question, &answers, elapsed)
    } else {
        as_text(&question, &answers, elapsed)
    };
    Finished {
        text,
        exit_code: exit_code(&answers),
    }
}

/// One lookup; the PTR records of an address are those of its reverse name.
async fn ask(
    resolver: &Resolver<'_>,
    host: &str,
    record_type: RecordType,
) -> Result<Answer, DnsError> {
    match host.parse::<IpAddr>() {
        Ok(address) if record_type == RecordType::PTR => resolver.reverse(address).await,
        Ok(address) => {
            let found = resolver.lookup_ip(host).await?;
            let answer = if address.is_ipv4() {
                found.v4
            } else {
                found.v6
            };
            answer.and_then(|answer| {
                let same = answer.record_type() == record_type;
                same.then_some(answer).ok_or(DnsError::NoRecords)
            })
        }
        Err(_) => resolver.lookup(host, record_type).await,
    }
}

fn exit_code(answers: &[Result<Answer, DnsError>]) -> u8 {
    let failed = |answer: &Result<Answer, DnsError>| answer.as_ref().is_err_and(|e| !e.is_answer());
    if answers.iter().any(Result::is_ok) {
        0
    } else if answers.iter().any(failed) {
        FAILED
    } else {
        NOTHING
    }
}

/// A record's data as zone files have it.
fn data(record: &Record) -> String {
    match &record.data {
        RData::TXT(text) => {
            let strings = text.txt_data.iter();
            let strings = strings.map(|bytes| quoted(&String::from_utf8_lossy(bytes)));
            strings.collect::<Vec<_>>().join(" ")
        }
        data => data.to_string(),
    }
}

/// Where an answer came from, in words.
fn source(source: Source) -> String {
    match source {
        Source::Server(address) => format!("{address}"),
        Source::Cache => "cache".into(),
        Source::Stale => "stale".into(),
        Source::Local => "local".into(),
        _ => "elsewhere".into(),
    }
}

fn as_text(question: &Question, answers: &[Result<Answer, DnsError>], elapsed: Duration) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (record_type, answer) in question.types.iter().zip(answers) {
        match answer {
            Ok(answer) => {
                let ttl = answer.ttl().as_secs();
                let mut from = answer.name();
                for alias in answer.aliases() {
                    line(format!(
                        "{} {ttl} CNAME {}",
                        from.to_ascii(),
                        alias.to_ascii()
                    ));
                    from = alias;
                }
                for record in answer.records() {
                    let (owner, kind) = (record.name.to_ascii(), record.record_type());
                    line(format!("{owner} {ttl} {kind} {}", data(record)));
                }
            }
            Err(error) => line(format!("{} {record_type}: {error}", question.host)),
        }
    }
    let sources = answers
        .iter()
        .flatten()
        .map(|answer| source(answer.source()));
    let mut sources: Vec<String> = sources.collect();
    sources.dedup();
    let _ = write!(text, "; {} us", elapsed.as_micros());
    for source in sources {
        let _ = write!(text, ", from {source}");
    }
    text
}

fn record_json(record: &Record, ttl: u64) -> String {
    Json::object()
        .text("name", record.name.to_ascii())
        .raw("ttl", ttl)
        .text("type", record.record_type())
        .text("data", data(record))
        .finish()
}

fn as_json(
    net: Net<'_>,
    question: &Question,
    answers: &[Result<Answer, DnsError>],
    elapsed: Duration,
) -> String {
    let mut lookups = Json::array();
    for (record_type, answer) in question.types.iter().zip(answers) {
        let lookup = Json::object().text("type", record_type);
        let lookup = match answer {
            Ok(answer) => {
                let ttl = answer.ttl().as_secs();
                let aliases = answer.aliases().iter();
                let aliases = aliases.fold(Json::array(), |list, alias| {
                    list.item(quoted(&alias.to_ascii()))
                });
                let records = answer.records().iter();
                let records = records.fold(Json::array(), |list, record| {
                    list.item(record_json(record, ttl))
                });
                lookup
                    .text("name", answer.name().to_ascii())
                    .raw("aliases", aliases.finish())
                    .raw("records", records.finish())
                    .text("source", source(answer.source()))
                    .raw("authentic", answer.authentic())
                    .maybe("error", None::<u8>)
            }
            Err(error) => lookup.maybe("error", Some(error)),
        };
        lookups = lookups.item(lookup.finish());
    }
    Json::object()
        .text("host", &question.host)
        .raw("elapsed_us", elapsed.as_micros())
        .raw("lookups", lookups.finish())
        .raw("lease", json::lease(net))
        .finish()
}
