//! What `fetch` prints.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use pollwire_core::{Instant, Net};
use pollwire_he::{Outcome, Report, Via};
use pollwire_tls::{ConnectionInfo, Fingerprint};

use super::{Failure, Progress, Request, hex};
use crate::json::{self, Json};

/// Milliseconds, to the microsecond.
fn millis(span: Duration) -> String {
    format!(
        "{}.{:03} ms",
        span.as_micros() / 1000,
        span.as_micros() % 1000
    )
}

/// The steps that were reached, with their times since the beginning.
fn steps(progress: &Progress) -> impl Iterator<Item = (&'static str, Duration)> {
    let race = progress.race.as_ref();
    let resolved = race.and_then(|race| race.attempts.first().map(|first| first.started));
    let started = progress.started;
    [
        ("resolved", resolved),
        ("connected", progress.tcp_open),
        ("secured", progress.tls_open),
        ("first byte", progress.first_byte),
        ("done", Some(progress.ended)),
    ]
    .into_iter()
    .filter_map(move |(name, at)| Some((name, at?.since(started))))
}

/// The fingerprint of the server's own certificate.
fn fingerprint(info: &ConnectionInfo) -> Option<String> {
    let certificate = info.peer_certificates.first()?;
    Some(hex(&Fingerprint::of_certificate(certificate).0))
}

pub(super) fn text(request: &Request, progress: &Progress, failure: Option<&Failure>) -> String {
    let mut text = String::new();
    if let Some(race) = &progress.race {
        text.push_str(&format!("{race}"));
    }
    if let Some(info) = &progress.tls {
        text.push_str(&format!("{info}\n"));
        if let Some(hash) = fingerprint(info) {
            text.push_str(&format!("certificate sha256 {hash}\n"));
        }
    }
    let times = steps(progress).map(|(name, span)| format!("{name} {}", millis(span)));
    let times = times.collect::<alloc::vec::Vec<_>>().join(", ");
    match (failure, &progress.page) {
        (None, Some(page)) => {
            let kind = page.content_type.as_deref().unwrap_or("unknown type");
            text.push_str(&format!(
                "{}: status {}, {} bytes, {kind}\nsha256 {}\n{times}",
                request.url,
                page.status,
                page.len,
                hex(&page.sha256)
            ));
            if let Some(location) = &page.location {
                text.push_str(&format!("\nlocation {location}"));
            }
            if let Some(content) = &page.kept {
                text.push_str(&format!("\n\n{}", String::from_utf8_lossy(content)));
            }
        }
        (Some(failure), _) => text.push_str(&format!("{}: {failure}\n{times}", request.url)),
        (None, None) => text.push_str(&times),
    }
    text
}

fn micros(from: Instant, at: Instant) -> u128 {
    at.since(from).as_micros()
}

fn number(value: Option<u16>) -> String {
    value.map_or_else(|| "null".into(), |value| format!("{value}"))
}

fn race_json(report: &Report) -> (String, String) {
    let since = |at| micros(report.started, at);
    let lookups = report.lookups.iter().map(|lookup| {
        Json::object()
            .text("name", &lookup.name)
            .text("type", lookup.record)
            .raw("at_us", since(lookup.at))
            .raw("found", lookup.result.unwrap_or(0))
            .raw("addresses", json::list(&lookup.addresses))
            .maybe("error", lookup.result.err())
            .finish()
    });
    let attempts = report.attempts.iter().map(|attempt| {
        let cause = match &attempt.outcome {
            Outcome::Failed(cause) => Some(cause),
            _ => None,
        };
        let (via, priority) = match attempt.via {
            Via::Host => ("host", None),
            Via::Service(priority) => ("service", Some(priority)),
            Via::Alias => ("alias", None),
        };
        Json::object()
            .text("address", attempt.address)
            .text("via", via)
            .raw("priority", number(priority))
            .raw("start_us", since(attempt.started))
            .raw("end_us", since(attempt.ended))
            .text("outcome", attempt.outcome.name())
            .maybe("cause", cause)
            .finish()
    });
    (
        lookups.fold(Json::array(), Json::item).finish(),
        attempts.fold(Json::array(), Json::item).finish(),
    )
}

fn tls_json(info: &ConnectionInfo) -> String {
    let alpn = info.alpn.as_deref().map(String::from_utf8_lossy);
    Json::object()
        .text("version", info.version)
        .text("suite", info.cipher_suite)
        .maybe("key_exchange", info.key_exchange)
        .maybe("alpn", alpn)
        .raw("certificates", info.peer_certificates.len())
        .maybe("certificate_sha256", fingerprint(info))
        .raw("resumed", info.resumed)
        .finish()
}

pub(super) fn json(
    net: Net<'_>,
    request: &Request,
    progress: &Progress,
    failure: Option<&Failure>,
) -> String {
    let times = steps(progress).fold(Json::object(), |times, (name, span)| {
        times.raw(&format!("{}_us", name.replace(' ', "_")), span.as_micros())
    });
    let mut object = Json::object()
        .text("url", &request.url)
        .maybe("error", failure);
    if let Some(page) = &progress.page {
        object = object
            .raw("status", page.status)
            .raw("bytes", page.len)
            .text("sha256", hex(&page.sha256))
            .maybe("content_type", page.content_type.as_deref())
            .maybe("location", page.location.as_deref());
    }
    if let Some(race) = &progress.race {
        let (lookups, attempts) = race_json(race);
        let winner = race.winner().map(|won| won.address);
        object = object
            .raw("lookups", lookups)
            .raw("attempts", attempts)
            .maybe("winner", winner);
    }
    let tls = progress
        .tls
        .as_ref()
        .map_or_else(|| "null".into(), tls_json);
    object
        .raw("tls", tls)
        .raw("lease", json::lease(net))
        .raw("times", times.finish())
        .finish()
}
