//! Lookups over TLS (RFC 7858), and whom they believe (RFC 8310).

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::string::ToString;

use data_encoding::BASE64;
use hickory_proto::rr::RecordType;
use pollwire_core::{Net, TcpListener};
use pollwire_tls::{Fingerprint, Roots, ServerConfig, TlsFlow, WallClock};

use super::world::*;
use crate::{Config, Counter, DnsError, Resolver, TlsTrust};

/// 2026-01-01, within the life of the certificate.
fn clock(net: Net<'_>) -> WallClock {
    WallClock::new(Duration::from_secs(1_767_225_600), net.now())
}

struct Identity {
    config: ServerConfig,
    roots: Roots,
    pin: alloc::string::String,
}

fn identity(net: Net<'_>) -> Identity {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["dns.example".to_string()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signed");
    let der = certificate.der().clone();
    let pin = Fingerprint::of_key(&der).expect("it has a key");
    let config = ServerConfig::builder(clock(net))
        .identity_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
        .and_then(|builder| builder.alpn(&[b"dot"]).build());
    Identity {
        config: config.expect("a configuration"),
        roots: Roots::empty().with(der).expect("a certificate"),
        pin: BASE64.encode(&pin.0),
    }
}

/// Serves the zone over TLS; gives how long the messages were.
fn serve_tls(net: Net<'_>, config: ServerConfig, log: Log) {
    let listener = TcpListener::bind(net, (SERVER, 853).into()).expect("free");
    net.spawn(async move {
        while let Ok(flow) = listener.accept().await {
            let (config, log) = (config.clone(), log.clone());
            net.spawn(async move {
                let Ok(flow) = TlsFlow::accept(flow, &config).await else {
                    return;
                };
                let mut len = [0; 2];
                while flow.read_exact(&mut len).await.is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                    if flow.read_exact(&mut query).await.is_err() {
                        return;
                    }
                    assert_eq!(query.len() % 128, 0, "RFC 8467, 4.1");
                    if let Some(reply) = answer(&query, &log, true) {
                        let mut framed = Vec::from((reply.len() as u16).to_be_bytes());
                        framed.extend(reply);
                        let _ = flow.write_all(&framed).await;
                    }
                }
            })
            .detach();
        }
    })
    .detach();
}

#[test]
fn rfc8310_servers_are_believed_by_name_pin_or_wish() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let Identity { config, roots, pin } = identity(far);
    let log = Log::default();
    serve_tls(far, config, log.clone());
    let wrong = BASE64.encode(&[7; 32]);
    let done = net.spawn(async move {
        for (server, fine) in [
            ("tls:10.0.0.2!dns.example".to_string(), true),
            ("tls:10.0.0.2!other.example".to_string(), false),
            ("tls:10.0.0.2".to_string(), false),
            ("tls:10.0.0.2!none".to_string(), true),
            (
                format!("tls:10.0.0.2!other.example!key-fp:sha256:{pin}"),
                true,
            ),
            (
                format!("tls:10.0.0.2!dns.example!key-fp:sha256:{wrong}"),
                false,
            ),
        ] {
            let config = Config::new([server.parse().expect("a nameserver")]);
            let trust = TlsTrust {
                clock: clock(net),
                roots: roots.clone(),
            };
            let resolver = Resolver::with_tls(net, config, trust);
            let first = resolver.lookup("www.example", RecordType::A).await;
            let second = resolver.lookup("big.example", RecordType::A).await;
            assert_eq!(first.is_ok() && second.is_ok(), fine, "{server}: {first:?}");
            if fine {
                assert_eq!(resolver.counters().get(Counter::Connections), 1);
            } else {
                assert_eq!(first.err(), Some(DnsError::Unreachable));
            }
        }
    });
    world.finish(done);
    assert_eq!(log.borrow().len(), 6);
    world.check_empty();
}

#[test]
fn without_trust_a_server_over_tls_is_not_asked() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, _) = world.nets();
    let done = net.spawn(async move {
        let config = Config::new(["tls:10.0.0.2".parse().expect("a nameserver")]);
        let resolver = Resolver::new(net, config);
        resolver.lookup("www.example", RecordType::A).await.err()
    });
    assert_eq!(world.finish(done), Some(DnsError::Unreachable));
    world.check_empty();
}
