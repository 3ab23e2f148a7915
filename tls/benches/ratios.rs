//! What TLS costs beside what the cryptography alone costs, in one run:
//!
//! ```sh
//! cargo bench -p pollwire-tls
//! ```
//!
//! Two hosts of pollwire on a wire in memory, in one process, one thread; MTU
//! 1500, checksums in software where nothing else is said. Ratios mean something
//! on any machine, the rest on this one only. Each figure is the best of many
//! short runs.
//!
//! For counts of instructions: `... ratios --count tcp|tls OFFLOADS ROUNDS`, with
//! `pieces`, `none`, `checksum` or `segmentation`, moves 4 MiB that many times over one
//! connection; what two runs differ by is the transfer's alone.
#![forbid(unsafe_code)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::pki::Authority;
use common::{Hosts, PORT, SERVER, World, accept, clock, connect, listen, name};
use pollwire_core::TcpFlow;
use pollwire_tls::engine::{Engine, MAX_RECORD_DATA, Received, record_length};
use pollwire_tls::{ClientConfig, ServerConfig, TlsError, Versions};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::{agreement, signature};

const NAME: &str = "server.test";
/// How long each thing is tried, and how often at least.
const BUDGET: Duration = Duration::from_secs(2);
const RUNS: usize = 9;
const BULK: usize = 4 << 20;
const HANDSHAKES: usize = 4;

/// The shortest of many short runs: one of them is not interrupted.
fn best(mut run: impl FnMut() -> Duration) -> Duration {
    let start = Instant::now();
    let mut shortest = Duration::MAX;
    let mut runs = 0;
    while runs < RUNS || start.elapsed() < BUDGET {
        shortest = shortest.min(run());
        runs += 1;
    }
    shortest
}

/// Times `work` done `count` times; gives the time of one.
fn each(count: u32, mut work: impl FnMut()) -> Duration {
    best(|| {
        let start = Instant::now();
        for _ in 0..count {
            work();
        }
        start.elapsed() / count
    })
}

fn gigabytes(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

fn main() {
    // `cargo test` runs benches, too, to see that they build.
    let asked = |argument: String| argument == "--bench" || argument == "--count";
    if !std::env::args().any(asked) {
        println!("skipped: a measurement; run by cargo bench");
        return;
    }
    let words: Vec<String> = std::env::args().collect();
    let (client, server) = configs(false);
    if let Some(at) = words.iter().position(|word| word == "--count") {
        let [what, offloads, rounds] = &words[at + 1..at + 4] else {
            unreachable!("a slice of three");
        };
        let offloads = Offloads::named(offloads).expect("pieces, none, checksum or segmentation");
        let rounds = rounds.parse().expect("a number");
        let tls = (what == "tls").then_some((&client, &server));
        transfer(tls, offloads, rounds);
        return;
    }
    for size in [1400, MAX_RECORD_DATA] {
        records(&client, &server, size);
    }
    for offloads in Offloads::ALL {
        bulk(&client, &server, offloads);
    }
    handshakes(&client, &server);
    let (client, server) = configs(true);
    let hybrid = each(1, || {
        black_box(shake(&client, &server));
    });
    println!(
        "  with X25519MLKEM768: {:.0}/s without network",
        1.0 / hybrid.as_secs_f64()
    );
}

fn configs(post_quantum: bool) -> (ClientConfig, ServerConfig) {
    let authority = Authority::new("bench");
    let identity = authority.server(NAME);
    let client = ClientConfig::builder(clock())
        .roots(authority.roots())
        .versions(Versions::Tls13)
        .post_quantum(post_quantum)
        .sessions(0);
    let server = ServerConfig::builder(clock())
        .identity(identity.chain(), identity.key())
        .tickets(false);
    (client.build().expect("fine"), server.build().expect("fine"))
}

/// ring's own seal and open of `size` bytes.
fn raw(size: usize) -> Duration {
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key");
    let key = LessSafeKey::new(key);
    let mut record = vec![0; size + 16];
    each(60, || {
        let nonce = || Nonce::assume_unique_for_key([1; 12]);
        let (data, space) = record.split_at_mut(size);
        let tag = key.seal_in_place_separate_tag(nonce(), Aad::from([0; 5]), data);
        space.copy_from_slice(tag.expect("sealed").as_ref());
        let opened = key.open_in_place(nonce(), Aad::from([0; 5]), &mut record);
        black_box(opened.expect("opened"));
    })
}

fn pump(from: &mut Engine, to: &mut Engine) -> Result<bool, TlsError> {
    let mut bytes = from.output().to_vec();
    from.consume_output(bytes.len());
    let mut rest = &mut bytes[..];
    let moved = !rest.is_empty();
    while let Some(length) = record_length(rest)? {
        let (record, next) = rest.split_at_mut(length);
        to.on_record(record)?;
        rest = next;
    }
    Ok(moved)
}

/// A handshake without network.
fn shake(client: &ClientConfig, server: &ServerConfig) -> (Engine, Engine) {
    let now = pollwire_core::Instant::ZERO;
    let mut client = Engine::client(client, name(NAME), now).expect("fine");
    let mut server = Engine::server(server, now).expect("fine");
    while pump(&mut client, &mut server).expect("fine")
        | pump(&mut server, &mut client).expect("fine")
    {}
    (client, server)
}

/// The record layer against ring's own AEAD.
fn records(client: &ClientConfig, server: &ServerConfig, size: usize) {
    let raw = raw(size);
    let (mut client, mut server) = shake(client, server);
    let overhead = client.overhead().expect("open");
    let mut record = vec![0; size + overhead.total()];
    let ours = each(60, || {
        client.seal(&mut record).expect("open");
        let Ok(Received::Data(data)) = server.on_record(&mut record) else {
            panic!("no data")
        };
        assert_eq!(black_box(data).len(), size);
    });
    println!(
        "records of {size:5} bytes, seal and open: ring {:.2} GB/s, engine {:.2} GB/s: {:.0} %",
        gigabytes(size, raw),
        gigabytes(size, ours),
        100.0 * raw.as_secs_f64() / ours.as_secs_f64()
    );
}

/// What is left to the devices.
#[derive(Clone, Copy, Debug)]
enum Offloads {
    /// Nothing, and packets must lie in one piece, as for Solo5's tenders.
    Pieces,
    None,
    Checksum,
    Segmentation,
}

impl Offloads {
    const ALL: [Self; 4] = [Self::Pieces, Self::None, Self::Checksum, Self::Segmentation];

    fn named(name: &str) -> Option<Self> {
        let named = |known: &Self| format!("{known:?}").eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named)
    }

    fn says(self) -> &'static str {
        match self {
            Self::Pieces => "checksums in software, packets in one piece",
            Self::None => "checksums in software",
            Self::Checksum => "checksums left to the device",
            Self::Segmentation => "checksums and segmentation left to the device",
        }
    }
}

/// Time to move [`BULK`] bytes `rounds` times over an open connection, by
/// `write_all` and `recv`.
fn transfer(
    tls: Option<(&ClientConfig, &ServerConfig)>,
    offloads: Offloads,
    rounds: usize,
) -> Duration {
    let mut hosts = Hosts::with(|caps| {
        caps.gathers = !matches!(offloads, Offloads::Pieces);
        caps.tx_checksum = matches!(offloads, Offloads::Checksum | Offloads::Segmentation);
        caps.tso4 = matches!(offloads, Offloads::Segmentation);
    });
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let listener = listen(there);
    let data = vec![0x5a; BULK];
    let configs = tls.map(|(client, server)| (client.clone(), server.clone()));
    let receiving = {
        let configs = configs.clone();
        there.spawn(async move {
            let mut count = 0;
            let start;
            if let Some((_, server)) = configs {
                let flow = accept(&listener, &server).await.expect("fine");
                start = Instant::now();
                while let Some(data) = flow.recv().await.expect("fine") {
                    count += black_box(&data[..]).len();
                }
            } else {
                let flow = listener.accept().await.expect("fine");
                start = Instant::now();
                while let Some(data) = flow.recv().await.expect("fine") {
                    count += black_box(&data[..]).len();
                }
            }
            assert_eq!(count, rounds * BULK);
            start.elapsed()
        })
    };
    here.spawn(async move {
        if let Some((client, _)) = configs {
            let flow = connect(here, &client, NAME).await.expect("fine");
            for _ in 0..rounds {
                flow.write_all(&data).await.expect("fine");
            }
        } else {
            let tcp = TcpFlow::connect(here, (SERVER, PORT).into()).await;
            let tcp = tcp.expect("fine");
            for _ in 0..rounds {
                tcp.write_all(&data).await.expect("fine");
            }
        }
    })
    .detach();
    world.finish(receiving)
}

fn bulk(client: &ClientConfig, server: &ServerConfig, offloads: Offloads) {
    let records = BULK.div_ceil(MAX_RECORD_DATA) as u32;
    let raw = raw(MAX_RECORD_DATA) * records;
    let tls = best(|| transfer(Some((client, server)), offloads, 1));
    let tcp = best(|| transfer(None, offloads, 1));
    println!(
        "bulk over the stack, both ends, {}: TCP {:.2} GB/s, TLS {:.2} GB/s; ring alone {:.2} GB/s",
        offloads.says(),
        gigabytes(BULK, tcp),
        gigabytes(BULK, tls),
        gigabytes(BULK, raw)
    );
    let (raw, tls, tcp) = (raw.as_secs_f64(), tls.as_secs_f64(), tcp.as_secs_f64());
    println!(
        "  TLS reaches {:.0} % of ring alone, {:.0} % of ring and TCP one after the other",
        100.0 * raw / tls,
        100.0 * (raw + tcp) / tls
    );
}

/// What a full handshake takes of ring: two key exchanges, a signature, and the
/// verification of it and of the certificate.
fn primitives() -> Duration {
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("entropy");
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random);
    let pair = pair.expect("a key");
    let sign = each(4, || {
        black_box(pair.sign(&random, b"message").expect("signed"));
    });
    let signed = pair.sign(&random, b"message").expect("signed");
    let public = signature::KeyPair::public_key(&pair).as_ref().to_vec();
    let verifier = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, public);
    let verify = each(4, || {
        verifier.verify(b"message", signed.as_ref()).expect("valid");
    });
    let exchange = each(4, || {
        let ours = agreement::EphemeralPrivateKey::generate(&agreement::X25519, &random);
        let ours = ours.expect("entropy");
        let public = ours.compute_public_key().expect("a key");
        let theirs = agreement::UnparsedPublicKey::new(&agreement::X25519, public);
        agreement::agree_ephemeral(ours, &theirs, |secret| {
            black_box(secret.len());
        })
        .expect("agreed");
    });
    sign + 2 * verify + 2 * exchange
}

fn handshakes(client: &ClientConfig, server: &ServerConfig) {
    let limit = primitives();
    let engines = each(1, || {
        black_box(shake(client, server));
    });
    let over_tcp = best(|| {
        let mut hosts = Hosts::new();
        let devices = hosts.take_devices();
        let mut world = World::new(&hosts, devices);
        let (there, here) = world.nets();
        let listener = listen(there);
        let (client, server) = (client.clone(), server.clone());
        there
            .spawn(async move {
                loop {
                    let flow = accept(&listener, &server).await.expect("fine");
                    flow.close().await.expect("fine");
                }
            })
            .detach();
        let asking = here.spawn(async move {
            let start = Instant::now();
            for _ in 0..HANDSHAKES {
                let flow = connect(here, &client, NAME).await.expect("fine");
                flow.close().await.expect("fine");
            }
            start.elapsed() / HANDSHAKES as u32
        });
        world.finish(asking)
    });
    let rate = |time: Duration| 1.0 / time.as_secs_f64();
    println!(
        "full handshakes of TLS 1.3 (X25519, ECDSA P-256), both ends: {:.0}/s without network, \
         {:.0}/s with connect and close",
        rate(engines),
        rate(over_tcp)
    );
    println!(
        "  {:.0} % and {:.0} % of what ring's key exchanges, signature and verifications allow \
         ({:.0}/s)",
        100.0 * limit.as_secs_f64() / engines.as_secs_f64(),
        100.0 * limit.as_secs_f64() / over_tcp.as_secs_f64(),
        rate(limit)
    );
}
