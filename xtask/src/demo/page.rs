//! The last act: a page by name over TLS, from one guest to another, though the
//! name's first address is dead.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::guest::Guest;
use crate::process::root;

/// What the name's AAAA record says: nobody is there.
const DEAD: &str = "[2001:db8::9]:443";
/// What its A record says: the server.
const ALIVE: &str = "10.0.0.2:443";

const SERVER: [&str; 2] = [
    "--ipv4=10.0.0.2/24",
    "--name=unikernel.test=2001:db8::9,10.0.0.2",
];
/// The client asks the server, which is all that there is on the wire. Addresses
/// that are given by hand need not be asked for.
const CLIENT: [&str; 4] = [
    "--ipv4=10.0.0.1/24",
    "--ipv6=2001:db8::1/64",
    "--ipv6-no-dad",
    "--nameserver=10.0.0.2",
];
const URL: &str = "https://unikernel.test/";

/// How long either guest may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the client printed, and how it ended.
pub(super) struct Page {
    lines: Vec<String>,
    status: ExitStatus,
}

/// Boots both guests on a wire of their own, below `directory`, and follows the
/// client to its end.
pub(super) fn fetch(
    tender: &Path,
    directory: &Path,
    services: &Path,
    fetch: &Path,
) -> Result<Page, String> {
    let wire = format!("--net:service=wire:{}", directory.join("page").display());
    // Neither runs before the other is on the wire.
    let _server = Guest::boot("server", tender, &wire, services, &SERVER)?;
    let authority = format!("--cacert={}", authority()?);
    let arguments: Vec<&str> = CLIENT.into_iter().chain([&*authority, URL]).collect();
    let mut client = Guest::boot("client", tender, &wire, fetch, &arguments)?;
    let mut lines = Vec::new();
    while let Some(line) = client.next_line(PATIENCE)? {
        lines.push(line);
    }
    let status = client.wait(PATIENCE)?;
    Ok(Page { lines, status })
}

/// The certificate for development, which every image of `services` shows unless
/// it was built with another, as `--cacert` takes it: the Base64 of its PEM file.
fn authority() -> Result<String, String> {
    let path = root().join("unikernels/services/tls/cert.pem");
    let pem = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(pem.lines().filter(|line| !line.starts_with('-')).collect())
}

impl Page {
    /// What is worth showing: the timeline, what TLS agreed on, and the page.
    pub(super) fn timeline(&self) -> String {
        self.lines
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect()
    }

    /// Why it does not count as a success; empty when it does.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if !self.status.success() {
            troubles.push(format!("fetch ended with {}", self.status));
        }
        troubles.extend(missing(&self.lines));
        troubles
    }
}

/// What a good run says, in this order.
fn missing(lines: &[String]) -> Vec<String> {
    let steps = [
        (
            "the dead address was tried first",
            format!("connecting to {DEAD}"),
        ),
        (
            "the live one was tried next",
            format!("connecting to {ALIVE}"),
        ),
        ("the live one won", format!("connected to {ALIVE}")),
        ("the dead one was given up", format!("{DEAD} given up")),
        ("TLS 1.3 was spoken", "TLS 1.3".into()),
        ("the page came", format!("{URL}: status 200")),
    ];
    let mut rest = lines.iter();
    let missing = steps
        .iter()
        .filter(|(_, part)| !rest.any(|line| line.contains(part)));
    missing
        .map(|(what, _)| format!("fetch does not say that {what}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
     0.412 ms  AAAA: 1 address
     0.413 ms  A: 1 address
     0.414 ms  HTTPS: no records of that type
     0.420 ms  connecting to [2001:db8::9]:443
   250.430 ms  connecting to 10.0.0.2:443
   252.120 ms  connected to 10.0.0.2:443
   252.120 ms  [2001:db8::9]:443 given up
TLS 1.3, TLS13_AES_128_GCM_SHA256
https://unikernel.test/: status 200, 204 bytes, text/html; charset=utf-8
";

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_good_run_misses_nothing() {
        assert_eq!(missing(&lines(GOOD)), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_missing_or_out_of_order_is_told() {
        for part in [
            "[2001:db8::9]:443\n   250",
            "connected",
            "TLS 1.3,",
            "status 200",
        ] {
            let bad = GOOD.replace(part, "-");
            assert!(!missing(&lines(&bad)).is_empty(), "{part}");
        }
        let mut turned = lines(GOOD);
        turned.reverse();
        assert!(!missing(&turned).is_empty());
        assert_eq!(missing(&[]).len(), 6);
    }

    #[test]
    fn the_certificate_is_one_word() {
        let word = authority().expect("a certificate");
        assert!(word.starts_with("MII") && !word.contains(char::is_whitespace));
    }
}
