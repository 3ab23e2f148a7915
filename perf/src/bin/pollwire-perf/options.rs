//! What the user asked for.

use lexopt::prelude::*;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Usage: pollwire-perf COMMAND ADDRESS:PORT [OPTIONS]
       pollwire-perf plot LOG

Commands:
  tcp-echo   requests and replies over open connections to an echo service
  bulk       one stream per connection through an echo service, verified
  udp-echo   one datagram at a time per socket to an echo service
  http       GET requests over kept-alive connections
  plot       draws a connection's event log (TcpFlow::events, an event a line) as
             a time-sequence plot; prints SVG

Options:
  --connections N   at the same time                          [default: 1]
  --duration SECS   how long to run                           [default: 5]
  --count N         operations per connection instead of a duration
  --size BYTES      of a request (tcp-echo up to 16384, udp-echo up to 65507)
                                                              [default: 64]
  --bytes BYTES     per connection (bulk); K, M and G count   [default: 100M]
  --depth N         requests in flight per connection (http)  [default: 1]
  --path PATH       to ask for (http)                         [default: /]
  --timeout SECS    without any progress, then give up        [default: 5]
  --json            print one line of JSON
  --help            print this

Exit status: 0 all well, 1 something failed or came back wrong, 64 bad usage.
Lost datagrams (udp-echo) are reported; they are a failure only if all are lost.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    TcpEcho,
    Bulk,
    UdpEcho,
    Http,
}

impl Command {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Command::TcpEcho => "tcp-echo",
            Command::Bulk => "bulk",
            Command::UdpEcho => "udp-echo",
            Command::Http => "http",
        }
    }

    fn of(name: &str) -> Option<Command> {
        [
            Command::TcpEcho,
            Command::Bulk,
            Command::UdpEcho,
            Command::Http,
        ]
        .into_iter()
        .find(|command| command.name() == name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// Operations per connection; with it, `duration` does not count.
    pub(crate) count: Option<u64>,
    pub(crate) size: usize,
    pub(crate) bytes: u64,
    pub(crate) depth: usize,
    pub(crate) path: String,
    pub(crate) timeout: Duration,
    pub(crate) json: bool,
}

pub(crate) enum Asked {
    Run(Options),
    /// Draw the event log at this path.
    Plot(PathBuf),
    Help,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    let (mut command, mut address) = (None, None);
    let mut connections = 1u64;
    let mut duration = Duration::from_secs(5);
    let mut timeout = duration;
    let (mut count, mut size, mut bytes, mut depth) = (None, 64u64, 100 << 20, 1u64);
    let (mut path, mut json) = (String::from("/"), false);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("connections") => connections = number(&mut parser, 1..=100_000)?,
            Long("duration") => duration = seconds(&mut parser)?,
            Long("timeout") => timeout = seconds(&mut parser)?,
            Long("count") => count = Some(number(&mut parser, 1..=u64::MAX)?),
            Long("size") => size = number(&mut parser, 1..=65507)?,
            Long("bytes") => bytes = number(&mut parser, 1..=u64::MAX)?,
            Long("depth") => depth = number(&mut parser, 1..=1024)?,
            Long("path") => path = parser.value()?.string()?,
            Long("json") => json = true,
            Long("help") | Short('h') => return Ok(Asked::Help),
            Value(text) if command.is_none() => {
                let text = text.string()?;
                if text == "plot" {
                    return Ok(Asked::Plot(parser.value()?.into()));
                }
                let known = Command::of(&text);
                command = Some(known.ok_or(format!("there is no command '{text}'"))?);
            }
            Value(text) if address.is_none() => address = Some(resolve(&text.string()?)?),
            _ => return Err(arg.unexpected()),
        }
    }
    let command = command.ok_or("a command is missing")?;
    if command == Command::TcpEcho && size > 16384 {
        return Err("--size is at most 16384 for tcp-echo; use bulk for more".into());
    }
    // A path with a space or a line break would be another request.
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("--path must start with '/' and be printable ASCII".into());
    }
    Ok(Asked::Run(Options {
        command,
        address: address.ok_or("an address is missing")?,
        connections: connections as usize,
        duration,
        count,
        size: size as usize,
        bytes,
        depth: depth as usize,
        path,
        timeout,
        json,
    }))
}

fn resolve(text: &str) -> Result<SocketAddr, lexopt::Error> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("'{text}' is no ADDRESS:PORT: {error}"))?;
    Ok(found.next().ok_or(format!("'{text}' has no address"))?)
}

/// A number with an optional K, M or G (powers of 1024) behind it.
fn number(
    parser: &mut lexopt::Parser,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (&text[..], 0),
    };
    let value = digits.parse::<u64>().ok();
    let value = value.and_then(|value| value.checked_mul(1 << shift));
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        _ => Err(format!(
            "'{text}' is no number from {} to {}",
            range.start(),
            range.end()
        )
        .into()),
    }
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let text = parser.value()?.string()?;
    let value = text.parse().ok();
    let value = value.and_then(|value| Duration::try_from_secs_f64(value).ok());
    match value {
        Some(value) if !value.is_zero() && value < Duration::from_secs(1 << 30) => Ok(value),
        _ => Err(format!("'{text}' is no number of seconds above 0").into()),
    }
}
