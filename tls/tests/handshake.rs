//! pollwire with pollwire: what the handshake agrees on, and refuses.

mod common;

use std::sync::{Arc, Mutex};

use common::pki::{Authority, Identity, Wanted};
use common::*;
use pollwire_core::Error;
use pollwire_tls::{
    Alert, CertificateFault, ClientCertificates, ClientConfig, ClientConfigBuilder, ConnectionInfo,
    Fingerprint, ServerConfig, ServerConfigBuilder, TlsError, Version, Versions,
};

const NAME: &str = "server.test";

struct Outcome {
    client: Result<ConnectionInfo, TlsError>,
    server: Result<ConnectionInfo, TlsError>,
}

/// A handshake, a few bytes each way, and a close.
fn meet(client: &ClientConfig, server: &ServerConfig, asked: &'static str) -> Outcome {
    let mut hosts = Hosts::new();
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let listener = listen(there);
    let server = server.clone();
    let serving = there.spawn(async move {
        let flow = accept(&listener, &server).await?;
        let info = flow.info().clone();
        let got = read_all(&flow).await?;
        assert_eq!(got, b"from the client");
        flow.write_all(b"from the server").await?;
        flow.close().await?;
        Ok(info)
    });
    let client = client.clone();
    let asking = here.spawn(async move {
        let flow = connect(here, &client, asked).await?;
        let info = flow.info().clone();
        flow.write_all(b"from the client").await?;
        flow.shutdown(pollwire_core::Shutdown::Write).await?;
        assert_eq!(read_all(&flow).await?, b"from the server");
        flow.close().await?;
        Ok(info)
    });
    let outcome = Outcome {
        client: world.finish(asking),
        server: world.finish(serving),
    };
    world.check_empty();
    outcome
}

fn client(authority: &Authority) -> ClientConfigBuilder {
    ClientConfig::builder(clock()).roots(authority.roots())
}

fn server(identity: &Identity) -> ServerConfigBuilder {
    ServerConfig::builder(clock()).identity(identity.chain(), identity.key())
}

fn refused(fault: CertificateFault) -> Result<ConnectionInfo, TlsError> {
    Err(TlsError::Certificate(fault))
}

fn told(alert: Alert) -> Result<ConnectionInfo, TlsError> {
    Err(TlsError::AlertReceived(alert))
}

#[test]
fn both_versions_carry_data_both_ways() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    for (versions, version) in [
        (Versions::Both, Version::Tls13),
        (Versions::Tls13, Version::Tls13),
        (Versions::Tls12, Version::Tls12),
    ] {
        let client = client(&authority).versions(versions).build().expect("fine");
        let server = server(&identity).build().expect("fine");
        let Outcome { client, server } = meet(&client, &server, NAME);
        let (client, server) = (client.expect("works"), server.expect("works"));
        assert_eq!(client.version, version);
        assert_eq!(server.version, version);
        assert_eq!(client.cipher_suite, server.cipher_suite);
        assert!(client.cipher_suite.name().is_some());
        assert_eq!(client.peer_certificates, identity.chain());
        assert!(server.peer_certificates.is_empty());
        assert!(!client.resumed && !server.resumed);
    }
}

#[test]
fn rfc8446_5_1_a_chain_of_many_records_is_put_together() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    // Certificates that lead nowhere, until the message fills three records.
    let mut chain = identity.chain();
    while chain
        .iter()
        .map(|certificate| certificate.len())
        .sum::<usize>()
        < 40_000
    {
        chain.push(authority.server("other.test").certificate);
    }
    for versions in [Versions::Tls13, Versions::Tls12] {
        let client = client(&authority).versions(versions).build().expect("fine");
        let server = ServerConfig::builder(clock()).identity(chain.clone(), identity.key());
        let outcome = meet(&client, &server.build().expect("fine"), NAME);
        let info = outcome.client.expect("works");
        assert_eq!(info.peer_certificates, chain);
    }
    // Longer than anybody's.
    while chain
        .iter()
        .map(|certificate| certificate.len())
        .sum::<usize>()
        < 80_000
    {
        chain.push(authority.server("other.test").certificate);
    }
    let client = client(&authority).build().expect("fine");
    let server = ServerConfig::builder(clock()).identity(chain, identity.key());
    let outcome = meet(&client, &server.build().expect("fine"), NAME);
    assert!(outcome.client.is_err() && outcome.server.is_err());
}

#[test]
fn the_hybrid_key_exchange_is_used_where_both_want_it() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    for (client_wants, server_wants) in [(true, true), (true, false), (false, true)] {
        let client = client(&authority).post_quantum(client_wants).build();
        let server = server(&identity).post_quantum(server_wants).build();
        let outcome = meet(&client.expect("fine"), &server.expect("fine"), NAME);
        let expected = if client_wants && server_wants {
            "X25519MLKEM768"
        } else {
            "x25519"
        };
        for info in [outcome.client, outcome.server] {
            let group = info.expect("works").key_exchange.expect("TLS 1.3 has one");
            assert_eq!(group.name(), Some(expected));
        }
    }
}

#[test]
fn rfc8446_4_2_1_no_common_version_is_refused() {
    let authority = Authority::new("test");
    let client = client(&authority).versions(Versions::Tls13);
    let server = server(&authority.server(NAME)).versions(Versions::Tls12);
    let outcome = meet(
        &client.build().expect("fine"),
        &server.build().expect("fine"),
        NAME,
    );
    assert_eq!(outcome.client, told(Alert::PROTOCOL_VERSION));
    assert!(matches!(outcome.server, Err(TlsError::Incompatible(_))));
}

#[test]
fn rfc7301_the_servers_preference_decides() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    let client = |offer: &[&[u8]]| client(&authority).alpn(offer).build().expect("fine");
    let server = server(&identity)
        .alpn(&[b"h2", b"http/1.1"])
        .build()
        .expect("fine");
    let both = meet(&client(&[b"http/1.1", b"h2"]), &server, NAME);
    assert_eq!(
        both.client.expect("works").alpn.as_deref(),
        Some(&b"h2"[..])
    );
    let one = meet(&client(&[b"http/1.1"]), &server, NAME);
    assert_eq!(
        one.server.expect("works").alpn.as_deref(),
        Some(&b"http/1.1"[..])
    );
    let silent = meet(&client(&[]), &server, NAME);
    assert_eq!(silent.client.expect("works").alpn, None);
    let neither = meet(&client(&[b"dot"]), &server, NAME);
    assert_eq!(neither.client, Err(TlsError::NoApplicationProtocol));
    assert_eq!(neither.server, Err(TlsError::NoApplicationProtocol));
}

#[test]
fn rfc6066_3_the_name_chooses_the_certificate() {
    let authority = Authority::new("test");
    let identities: Vec<_> = ["default.test", "one.test", "*.many.test"]
        .iter()
        .map(|name| authority.server(name))
        .collect();
    let [default, one, many] = &identities[..] else {
        unreachable!("three")
    };
    let server = server(default)
        .identity_for("one.test", one.chain(), one.key())
        .identity_for("*.many.test", many.chain(), many.key())
        .build()
        .expect("fine");
    let client = client(&authority).build().expect("fine");
    for (asked, shown) in [
        ("default.test", default),
        ("one.test", one),
        ("a.many.test", many),
        ("B.many.test", many),
    ] {
        let info = meet(&client, &server, asked).client.expect(asked);
        assert_eq!(info.peer_certificates, shown.chain(), "{asked}");
    }
    let other = meet(&client, &server, "a.b.many.test");
    assert_eq!(other.client, refused(CertificateFault::WrongName));
    assert_eq!(other.server, told(Alert::BAD_CERTIFICATE));
}

#[test]
fn certificates_that_do_not_serve_are_refused_by_name() {
    let (authority, stranger) = (Authority::new("test"), Authority::new("stranger"));
    let wanted = |until, client| Wanted {
        names: &[NAME],
        until,
        client,
    };
    for (identity, fault, alert) in [
        (
            authority.server("other.test"),
            CertificateFault::WrongName,
            Alert::BAD_CERTIFICATE,
        ),
        (
            authority.issue(&wanted(2026, false)),
            CertificateFault::Expired,
            Alert::CERTIFICATE_EXPIRED,
        ),
        (
            stranger.server(NAME),
            CertificateFault::UnknownIssuer,
            Alert::UNKNOWN_CA,
        ),
        (
            authority.issue(&wanted(2030, true)),
            CertificateFault::WrongPurpose,
            Alert(43),
        ),
    ] {
        for versions in [Versions::Tls13, Versions::Tls12] {
            let client = client(&authority).versions(versions).build().expect("fine");
            let server = server(&identity).build().expect("fine");
            let outcome = meet(&client, &server, NAME);
            assert_eq!(outcome.client, refused(fault), "{versions:?}");
            assert_eq!(outcome.server, told(alert), "{fault:?} {versions:?}");
        }
    }
}

#[test]
fn validity_goes_by_the_wall_clock() {
    let authority = Authority::new("test");
    let server = server(&authority.server(NAME)).build().expect("fine");
    let at = |seconds| {
        let clock = pollwire_tls::WallClock::new(
            std::time::Duration::from_secs(seconds),
            pollwire_core::Instant::ZERO,
        );
        let client = ClientConfig::builder(clock).roots(authority.roots());
        meet(&client.build().expect("fine"), &server, NAME).client
    };
    assert_eq!(at(1_700_000_000), refused(CertificateFault::NotYetValid));
    assert!(at(1_800_000_000).is_ok());
    assert_eq!(at(1_900_000_000), refused(CertificateFault::Expired));
}

#[test]
fn rfc7858_4_2_a_pin_decides_alone() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    // Expired, for another name, of nobody's authority: the key is all.
    let identity = one.issue(&Wanted {
        names: &["elsewhere.test"],
        until: 2026,
        client: false,
    });
    let server = server(&identity).build().expect("fine");
    let key = Fingerprint::of_key(&identity.certificate).expect("parses");
    let whole = Fingerprint::of_certificate(&identity.certificate);
    let stranger = other.server(NAME);
    let wrong = Fingerprint::of_key(&stranger.certificate).expect("parses");
    let pinned = |pin: fn(ClientConfigBuilder, Fingerprint) -> ClientConfigBuilder, to| {
        let client = pin(ClientConfig::builder(clock()), to)
            .build()
            .expect("fine");
        meet(&client, &server, NAME)
    };
    assert!(pinned(ClientConfigBuilder::key_pin, key).client.is_ok());
    assert!(
        pinned(ClientConfigBuilder::certificate_pin, whole)
            .client
            .is_ok()
    );
    for outcome in [
        pinned(ClientConfigBuilder::key_pin, wrong),
        pinned(ClientConfigBuilder::key_pin, whole),
        pinned(ClientConfigBuilder::certificate_pin, key),
    ] {
        assert_eq!(outcome.client, refused(CertificateFault::WrongPin));
        assert!(matches!(outcome.server, Err(TlsError::AlertReceived(_))));
    }
    let anybody = ClientConfig::builder(clock()).dangerous_trust_anybody();
    assert!(
        meet(&anybody.build().expect("fine"), &server, NAME)
            .client
            .is_ok()
    );
    assert!(
        ClientConfig::builder(clock()).build().is_err(),
        "nobody to trust"
    );
}

#[test]
fn clients_show_certificates_where_they_are_demanded() {
    let (authority, stranger) = (Authority::new("test"), Authority::new("stranger"));
    let identity = authority.server(NAME);
    let good = authority.client("someone");
    let bad = stranger.client("someone");
    for versions in [Versions::Tls13, Versions::Tls12] {
        let client = |shown: Option<&Identity>| {
            let builder = client(&authority).versions(versions);
            let builder = match shown {
                Some(identity) => builder.identity(identity.chain(), identity.key()),
                None => builder,
            };
            builder.build().expect("fine")
        };
        let demanding = server(&identity)
            .clients(ClientCertificates::Demanded(authority.roots()))
            .build()
            .expect("fine");
        let wanting = server(&identity)
            .clients(ClientCertificates::Wanted(authority.roots()))
            .build()
            .expect("fine");
        let shown = meet(&client(Some(&good)), &demanding, NAME);
        assert_eq!(shown.server.expect("works").peer_certificates, good.chain());
        let missing = meet(&client(None), &demanding, NAME);
        assert_eq!(missing.server, refused(CertificateFault::Missing));
        assert!(matches!(missing.client, Err(TlsError::AlertReceived(_))));
        let tolerated = meet(&client(None), &wanting, NAME).server.expect("works");
        assert!(tolerated.peer_certificates.is_empty());
        for server in [&demanding, &wanting] {
            let wrong = meet(&client(Some(&bad)), server, NAME);
            assert_eq!(wrong.server, refused(CertificateFault::UnknownIssuer));
            assert_eq!(wrong.client, told(Alert::UNKNOWN_CA));
        }
    }
}

#[test]
fn rfc8446_2_2_sessions_are_resumed() {
    let authority = Authority::new("test");
    let server = server(&authority.server(NAME)).build().expect("fine");
    for versions in [Versions::Tls13, Versions::Tls12] {
        let client_config = client(&authority).versions(versions).build().expect("fine");
        let first = meet(&client_config, &server, NAME).client.expect("works");
        assert!(!first.resumed);
        for _ in 0..3 {
            let next = meet(&client_config, &server, NAME);
            let (client, server) = (next.client.expect("works"), next.server.expect("works"));
            assert!(client.resumed && server.resumed, "{versions:?}");
            assert_eq!(client.peer_certificates, first.peer_certificates);
        }
        let forgetful = client(&authority).versions(versions).sessions(0).build();
        let forgetful = forgetful.expect("fine");
        for _ in 0..2 {
            let client = meet(&forgetful, &server, NAME).client.expect("works");
            assert!(!client.resumed);
        }
    }
}

#[test]
fn a_server_without_tickets_resumes_nothing() {
    let authority = Authority::new("test");
    let server = server(&authority.server(NAME))
        .tickets(false)
        .build()
        .expect("fine");
    for versions in [Versions::Tls13, Versions::Tls12] {
        let client = client(&authority).versions(versions).build().expect("fine");
        for _ in 0..2 {
            assert!(!meet(&client, &server, NAME).client.expect("works").resumed);
        }
    }
}

#[test]
fn secrets_are_logged_on_request() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let authority = Authority::new("test");
    let client = client(&authority)
        .key_log(move |line| sink.lock().expect("unpoisoned").push(line.to_owned()))
        .build()
        .expect("fine");
    let server = server(&authority.server(NAME)).build().expect("fine");
    assert!(meet(&client, &server, NAME).client.is_ok());
    let lines = lines.lock().expect("unpoisoned");
    let secret = lines
        .iter()
        .find(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 "))
        .expect("TLS 1.3 has one");
    let words: Vec<_> = secret.split(' ').collect();
    assert_eq!(words.len(), 3);
    assert_eq!(words[1].len(), 64, "a client random");
}

#[test]
fn who_does_not_speak_tls_is_told_so() {
    let authority = Authority::new("test");
    let server = server(&authority.server(NAME)).build().expect("fine");
    let mut hosts = Hosts::new();
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let listener = listen(there);
    let serving = there.spawn(async move { accept(&listener, &server).await.map(drop) });
    let asking = here.spawn(async move {
        let tcp = pollwire_core::TcpFlow::connect(here, (SERVER, PORT).into()).await?;
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        while tcp.recv().await?.is_some() {}
        Ok::<_, Error>(())
    });
    assert_eq!(world.finish(asking), Ok(()));
    assert!(matches!(
        world.finish(serving),
        Err(TlsError::Protocol { .. })
    ));
    world.check_empty();
}
