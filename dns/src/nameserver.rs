//! Nameservers as arguments name them.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use data_encoding::BASE64;

/// A nameserver and how to talk to it.
///
/// Parses from `udp:ADDRESS[:PORT]`, `tcp:ADDRESS[:PORT]`,
/// `tls:ADDRESS[:PORT][!HOST][!AUTHENTICATOR]` or a bare `ADDRESS`, which means
/// UDP. IPv6 addresses with a port stand in brackets. Ports default to 53, or
/// 853 for TLS.
///
/// ```
/// use pollwire_dns::{Nameserver, Transport};
///
/// let server: Nameserver = "tcp:[2001:db8::1]:5353".parse()?;
/// assert_eq!(server.address.port(), 5353);
/// assert_eq!(server.transport, Transport::Tcp);
/// let server: Nameserver = "tls:9.9.9.9!dns.quad9.net".parse()?;
/// assert_eq!(server.to_string(), "tls:9.9.9.9:853!dns.quad9.net");
/// # Ok::<(), pollwire_dns::NameserverError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address and port.
    pub address: SocketAddr,
    /// How queries reach it.
    pub transport: Transport,
}

/// How queries reach a nameserver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// Over UDP, and over TCP where answers do not fit.
    Udp,
    /// Over TCP only (RFC 7766).
    Tcp,
    /// Over TLS only (RFC 7858).
    Tls(Tls),
}

/// Whom to expect at the other end of a TLS connection (RFC 8310).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name that the certificate must have; `None`: its address.
    pub host: Option<String>,
    /// What makes the certificate believable.
    pub authenticator: Authenticator,
}

/// What makes a server's certificate believable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authenticator {
    /// A chain to the roots that the program trusts.
    Roots,
    /// Nothing: opportunistic privacy, safe against listeners only (RFC 8310,
    /// 5). Written `none`.
    Anybody,
    /// The SHA-256 of its public key (SPKI). Written `key-fp:sha256:BASE64`.
    Key([u8; 32]),
    /// The SHA-256 of the whole certificate. Written `cert-fp:sha256:BASE64`.
    Certificate([u8; 32]),
}

/// Why a nameserver argument was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameserverError {
    /// Neither `udp:`, `tcp:` nor `tls:`, nor an address.
    Transport,
    /// Not an address, or not a port behind it.
    Address,
    /// Not a host name.
    Host,
    /// Neither `none`, `key-fp:sha256:` nor `cert-fp:sha256:` with the Base64 of
    /// 32 bytes.
    Authenticator,
}

impl fmt::Display for NameserverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transport => "expected udp:, tcp: or tls: and an address",
            Self::Address => "expected ADDRESS or ADDRESS:PORT, an IPv6 one in brackets",
            Self::Host => "not a host name",
            Self::Authenticator => "expected none, key-fp:sha256:BASE64 or cert-fp:sha256:BASE64",
        })
    }
}

impl core::error::Error for NameserverError {}

/// The port of DNS over UDP and TCP.
const PORT: u16 = 53;
/// The port of DNS over TLS (RFC 7858, 3.1).
const TLS_PORT: u16 = 853;

impl Nameserver {
    /// A server on port 53, over UDP with TCP where answers do not fit.
    #[must_use]
    pub const fn udp(address: IpAddr) -> Self {
        Self {
            address: SocketAddr::new(address, PORT),
            transport: Transport::Udp,
        }
    }

    /// Whether answers from it can be taken to be its own.
    pub(crate) fn is_authenticated(&self) -> bool {
        match &self.transport {
            Transport::Udp | Transport::Tcp => false,
            Transport::Tls(tls) => tls.authenticator != Authenticator::Anybody,
        }
    }
}

fn address(text: &str, port: u16) -> Result<SocketAddr, NameserverError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse().map_err(|_| NameserverError::Address)?;
    Ok(SocketAddr::new(address, port))
}

fn tls(rest: &str) -> Result<Nameserver, NameserverError> {
    let (server, rest) = match rest.split_once('!') {
        Some((server, rest)) => (server, Some(rest)),
        None => (rest, None),
    };
    let (host, authenticator) = match rest.map(|rest| rest.split_once('!').ok_or(rest)) {
        None => (None, None),
        Some(Ok((host, authenticator))) => (Some(host), Some(authenticator)),
        // One part may be either: a host name has no colon, and is not "none".
        Some(Err(one)) if one == "none" || one.contains(':') => (None, Some(one)),
        Some(Err(host)) => (Some(host), None),
    };
    Ok(Nameserver {
        address: address(server, TLS_PORT)?,
        transport: Transport::Tls(Tls {
            host: host.map(host_name).transpose()?,
            authenticator: match authenticator {
                Some(text) => text.parse()?,
                None => Authenticator::Roots,
            },
        }),
    })
}

fn host_name(text: &str) -> Result<String, NameserverError> {
    let fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() <= 253 && text.split('.').all(fine) {
        Ok(text.to_string())
    } else {
        Err(NameserverError::Host)
    }
}

impl FromStr for Nameserver {
    type Err = NameserverError;

    fn from_str(text: &str) -> Result<Self, NameserverError> {
        if let Ok(address) = address(text, PORT) {
            return Ok(Self {
                address,
                transport: Transport::Udp,
            });
        }
        match text.split_once(':') {
            Some(("udp", rest)) => Ok(Self {
                address: address(rest, PORT)?,
                transport: Transport::Udp,
            }),
            Some(("tcp", rest)) => Ok(Self {
                address: address(rest, PORT)?,
                transport: Transport::Tcp,
            }),
            Some(("tls", rest)) => tls(rest),
            _ => Err(NameserverError::Transport),
        }
    }
}

impl FromStr for Authenticator {
    type Err = NameserverError;

    fn from_str(text: &str) -> Result<Self, NameserverError> {
        let fingerprint = |hash: &str| {
            let encoded = hash
                .get(..7)
                .filter(|algorithm| algorithm.eq_ignore_ascii_case("sha256:"))
                .and_then(|_| hash.get(7..))?;
            let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
            <[u8; 32]>::try_from(bytes).ok()
        };
        match text.split_once(':') {
            None if text == "none" => Some(Self::Anybody),
            Some(("key-fp", hash)) => fingerprint(hash).map(Self::Key),
            Some(("cert-fp", hash)) => fingerprint(hash).map(Self::Certificate),
            _ => None,
        }
        .ok_or(NameserverError::Authenticator)
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Udp => write!(f, "udp:{}", self.address),
            Transport::Tcp => write!(f, "tcp:{}", self.address),
            Transport::Tls(tls) => {
                write!(f, "tls:{}", self.address)?;
                if let Some(host) = &tls.host {
                    write!(f, "!{host}")?;
                }
                match tls.authenticator {
                    Authenticator::Roots => Ok(()),
                    other => write!(f, "!{other}"),
                }
            }
        }
    }
}

impl fmt::Display for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots => f.write_str("roots"),
            Self::Anybody => f.write_str("none"),
            Self::Key(hash) => write!(f, "key-fp:sha256:{}", BASE64.encode(hash)),
            Self::Certificate(hash) => write!(f, "cert-fp:sha256:{}", BASE64.encode(hash)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const HASH: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn takes_every_form_and_prints_it_back() {
        for (text, printed) in [
            ("192.0.2.1", "udp:192.0.2.1:53".into()),
            ("2001:db8::1", "udp:[2001:db8::1]:53".into()),
            ("192.0.2.1:5353", "udp:192.0.2.1:5353".into()),
            ("udp:192.0.2.1", "udp:192.0.2.1:53".into()),
            ("udp:2001:db8::1", "udp:[2001:db8::1]:53".into()),
            ("tcp:[2001:db8::1]", "tcp:[2001:db8::1]:53".into()),
            ("tcp:[2001:db8::1]:54", "tcp:[2001:db8::1]:54".into()),
            ("tls:192.0.2.1", "tls:192.0.2.1:853".into()),
            ("tls:192.0.2.1:8853!none", "tls:192.0.2.1:8853!none".into()),
            (
                "tls:192.0.2.1!dns.example",
                "tls:192.0.2.1:853!dns.example".into(),
            ),
            (
                "tls:192.0.2.1!dns.example!none",
                "tls:192.0.2.1:853!dns.example!none".into(),
            ),
            (
                &format!("tls:192.0.2.1!key-fp:SHA256:{HASH}"),
                format!("tls:192.0.2.1:853!key-fp:sha256:{HASH}"),
            ),
            (
                &format!("tls:[::1]!dns.example!cert-fp:sha256:{HASH}"),
                format!("tls:[::1]:853!dns.example!cert-fp:sha256:{HASH}"),
            ),
        ] as [(&str, String); 13]
        {
            let server: Nameserver = text.parse().expect(text);
            assert_eq!(server.to_string(), printed);
            assert_eq!(printed.parse(), Ok(server));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        use NameserverError as E;
        for (text, error) in [
            ("", E::Transport),
            ("dns.example", E::Transport),
            ("quic:192.0.2.1", E::Transport),
            ("udp:", E::Address),
            ("udp:192.0.2", E::Address),
            ("tcp:192.0.2.1:", E::Address),
            ("tcp:192.0.2.1:70000", E::Address),
            ("tls:192.0.2.1!", E::Host),
            ("tls:192.0.2.1!a..b", E::Host),
            ("tls:192.0.2.1!a b", E::Host),
            ("tls:192.0.2.1!a!", E::Authenticator),
            ("tls:192.0.2.1!a!some", E::Authenticator),
            ("tls:192.0.2.1!key-fp:sha256:AAAA", E::Authenticator),
            ("tls:192.0.2.1!key-fp:md5:AAAA", E::Authenticator),
            (
                "tls:192.0.2.1!key-fp:\u{e9}\u{e9}\u{e9}\u{e9}",
                E::Authenticator,
            ),
        ] {
            assert_eq!(text.parse::<Nameserver>(), Err(error), "{text}");
        }
    }
}
