//! The engine without a network: what it refuses, and that nothing it is given
//! makes it panic.

mod common;

use common::pki::Authority;
use common::*;
use pollwire_core::{ConnError, Error, Instant};
use pollwire_tls::engine::{Engine, MAX_RECORD_DATA, Received, record_length};
use pollwire_tls::{Alert, ClientConfig, ServerConfig, TlsError, Versions};

const NAME: &str = "server.test";

struct Pair {
    client: Engine,
    server: Engine,
}

fn configs(versions: Versions) -> (ClientConfig, ServerConfig) {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    let client = ClientConfig::builder(clock())
        .roots(authority.roots())
        .versions(versions);
    let server = ServerConfig::builder(clock()).identity(identity.chain(), identity.key());
    (client.build().expect("fine"), server.build().expect("fine"))
}

/// All that `from` has to send.
fn output(from: &mut Engine) -> Vec<u8> {
    let bytes = from.output().to_vec();
    from.consume_output(bytes.len());
    bytes
}

/// Gives `bytes` to `to`, record by record; collects the data.
fn give(to: &mut Engine, bytes: &mut [u8]) -> Result<(Vec<u8>, bool), TlsError> {
    let (mut rest, mut data, mut closed) = (bytes, Vec::new(), false);
    while let Some(length) = record_length(rest)? {
        if length > rest.len() {
            break;
        }
        let (record, next) = rest.split_at_mut(length);
        match to.on_record(record)? {
            Received::Data(range) => data.extend_from_slice(&record[range]),
            Received::Nothing => {}
            Received::Closed => closed = true,
        }
        rest = next;
    }
    Ok((data, closed))
}

fn start((client, server): &(ClientConfig, ServerConfig)) -> Pair {
    Pair {
        client: Engine::client(client, name(NAME), Instant::ZERO).expect("fine"),
        server: Engine::server(server, Instant::ZERO).expect("fine"),
    }
}

impl Pair {
    /// Exchanges what both have to say until they are silent.
    fn settle(&mut self) -> Result<(), TlsError> {
        loop {
            let mut to_server = output(&mut self.client);
            give(&mut self.server, &mut to_server)?;
            let mut to_client = output(&mut self.server);
            give(&mut self.client, &mut to_client)?;
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(());
            }
        }
    }

    fn open(configs: &(ClientConfig, ServerConfig)) -> Self {
        let mut pair = start(configs);
        pair.settle().expect("a handshake");
        assert!(pair.client.info().is_some() && pair.server.info().is_some());
        pair
    }
}

/// One record with `data`, sealed in place.
fn sealed(by: &mut Engine, data: &[u8]) -> Vec<u8> {
    let overhead = by.overhead().expect("open");
    let mut record = vec![0; overhead.front];
    record.extend_from_slice(data);
    record.resize(record.len() + overhead.back, 0);
    by.seal(&mut record).expect("open");
    record
}

const BOTH: [Versions; 2] = [Versions::Tls13, Versions::Tls12];

#[test]
fn records_of_every_length_are_sealed_and_opened_in_place() {
    for versions in BOTH {
        let mut pair = Pair::open(&configs(versions));
        for length in (0..300).chain([1000, 4096, MAX_RECORD_DATA - 1, MAX_RECORD_DATA]) {
            let data: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            for to_server in [true, false] {
                let (from, to) = if to_server {
                    (&mut pair.client, &mut pair.server)
                } else {
                    (&mut pair.server, &mut pair.client)
                };
                let mut record = sealed(from, &data);
                assert_eq!(record_length(&record), Ok(Some(record.len())));
                let (got, closed) = give(to, &mut record).expect("opens");
                assert!(got == data && !closed, "{length} bytes");
            }
        }
        let mut too_long = vec![0; MAX_RECORD_DATA + 1 + 30];
        assert!(pair.client.seal(&mut too_long).is_err());
    }
}

#[test]
fn rfc8446_5_2_an_altered_record_ends_the_connection() {
    for versions in BOTH {
        let configs = configs(versions);
        let whole = sealed(&mut Pair::open(&configs).client, b"pay 10 to alice").len();
        for at in 0..whole {
            let mut pair = Pair::open(&configs);
            let mut record = sealed(&mut pair.client, b"pay 10 to alice");
            record[at] ^= 0x10;
            let result = give(&mut pair.server, &mut record);
            match at {
                // RFC 8446, 5.1 has the version ignored; RFC 5246 has it sealed.
                1 => assert!(matches!(result, Err(TlsError::Protocol { .. }))),
                2 if versions == Versions::Tls13 => {
                    assert_eq!(result, Ok((b"pay 10 to alice".to_vec(), false)));
                    continue;
                }
                // Another type, or another length than what came.
                0 | 3 | 4 => assert_ne!(
                    result.unwrap_or_default().0,
                    b"pay 10 to alice",
                    "byte {at}"
                ),
                _ => {
                    assert_eq!(result, Err(TlsError::Tampered), "byte {at}");
                    let mut alert = output(&mut pair.server);
                    let told = give(&mut pair.client, &mut alert);
                    assert_eq!(told, Err(TlsError::AlertReceived(Alert::BAD_RECORD_MAC)));
                }
            }
        }
    }
}

#[test]
fn rfc8446_5_3_records_cannot_be_repeated_dropped_or_swapped() {
    for versions in BOTH {
        let configs = configs(versions);
        let mut pair = Pair::open(&configs);
        let record = sealed(&mut pair.client, b"once");
        assert!(give(&mut pair.server, &mut record.clone()).is_ok());
        let again = give(&mut pair.server, &mut record.clone());
        assert_eq!(again, Err(TlsError::Tampered));
        // And it stays so.
        let mut next = sealed(&mut pair.client, b"next");
        assert_eq!(give(&mut pair.server, &mut next), Err(TlsError::Tampered));

        let mut pair = Pair::open(&configs);
        let _lost = sealed(&mut pair.client, b"lost");
        let mut next = sealed(&mut pair.client, b"next");
        assert_eq!(give(&mut pair.server, &mut next), Err(TlsError::Tampered));
    }
}

#[test]
fn rfc8446_4_6_3_keys_change_in_either_direction_at_any_time() {
    let mut pair = Pair::open(&configs(Versions::Tls13));
    for round in 0..100_u8 {
        if round % 3 == 0 {
            pair.client.update_key().expect("open");
        }
        if round % 5 == 0 {
            pair.server.update_key().expect("open");
        }
        let mut there = output(&mut pair.client);
        there.extend(sealed(&mut pair.client, &[round; 50]));
        let got = give(&mut pair.server, &mut there).expect("opens");
        assert_eq!(got.0, [round; 50]);
        let mut back = output(&mut pair.server);
        back.extend(sealed(&mut pair.server, &[round; 70]));
        let got = give(&mut pair.client, &mut back).expect("opens");
        assert_eq!(got.0, [round; 70]);
    }
}

#[test]
fn key_updates_without_end_are_refused() {
    let mut pair = Pair::open(&configs(Versions::Tls13));
    let refused = (0..100).find_map(|_| {
        pair.client.update_key().expect("open");
        let mut update = output(&mut pair.client);
        give(&mut pair.server, &mut update).err()
    });
    assert!(matches!(
        refused,
        Some(TlsError::Protocol {
            alert: Alert::UNEXPECTED_MESSAGE,
            ..
        })
    ));
}

#[test]
fn empty_records_without_end_are_refused() {
    for versions in BOTH {
        let mut pair = Pair::open(&configs(versions));
        let refused = (0..100).find_map(|_| {
            let mut empty = sealed(&mut pair.client, b"");
            give(&mut pair.server, &mut empty).err()
        });
        assert!(matches!(refused, Some(TlsError::Protocol { .. })));
    }
}

#[test]
fn rfc8446_6_1_close_notify_ends_one_direction() {
    for versions in BOTH {
        let mut pair = Pair::open(&configs(versions));
        pair.client.append(b"last words").expect("open");
        pair.client.close().expect("open");
        pair.client.close().expect("twice does nothing");
        let mut bytes = output(&mut pair.client);
        let got = give(&mut pair.server, &mut bytes);
        assert_eq!(got, Ok((b"last words".to_vec(), true)));
        let closed = Err(TlsError::Net(Error::Conn(ConnError::Closed)));
        assert_eq!(pair.client.append(b"more"), closed);
        let mut answer = sealed(&mut pair.server, b"an answer");
        let got = give(&mut pair.client, &mut answer);
        assert_eq!(got, Ok((b"an answer".to_vec(), false)));
    }
}

#[test]
fn rfc8446_5_1_plaintext_after_the_handshake_is_refused() {
    for versions in BOTH {
        for plain in [
            &[20, 3, 3, 0, 1, 1][..],
            &[21, 3, 3, 0, 2, 1, 0],
            &[22, 3, 3, 0, 4, 0, 0, 0, 0],
            &[23, 3, 3, 0, 1, 0],
        ] {
            let mut pair = Pair::open(&configs(versions));
            let result = give(&mut pair.server, &mut plain.to_vec());
            assert!(result.is_err(), "{plain:?} {versions:?}");
            assert!(!output(&mut pair.server).is_empty(), "an alert");
        }
    }
}

#[test]
fn what_is_no_record_is_refused_at_its_first_byte() {
    for first in [b'G', 0, 19, 24, 0x80] {
        assert!(record_length(&[first]).is_err());
    }
    for known in [20, 21, 22, 23] {
        assert_eq!(record_length(&[known, 3, 3, 0]), Ok(None));
        assert_eq!(record_length(&[known, 3, 1, 1, 0]), Ok(Some(261)));
        assert!(record_length(&[known, 2, 0, 1, 0]).is_err());
        assert!(record_length(&[known, 3, 3, 0x49, 0]).is_err(), "too long");
    }
    assert_eq!(record_length(&[]), Ok(None));
}

/// A generator for the tests of bad input; the seed is printed on failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize
    }
}

/// Alters, cuts or doubles something in `bytes`.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.next() % bytes.len();
    match random.next() % 6 {
        0 => bytes.truncate(at),
        1 => bytes[at] = random.next() as u8,
        2 => bytes[at] ^= 1 << (random.next() % 8),
        3 => {
            let copy = bytes[at..].to_vec();
            bytes.extend(copy);
        }
        4 => {
            bytes.remove(at);
        }
        _ => bytes.insert(at, random.next() as u8),
    }
}

#[test]
fn no_mutation_of_a_handshake_makes_a_side_panic() {
    let configs = [configs(Versions::Tls13), configs(Versions::Tls12)];
    for seed in 1..600_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        println!("seed {seed}");
        let Pair {
            mut client,
            mut server,
        } = start(&configs[seed as usize % 2]);
        let victim = random.next() % 6;
        for flight in 0..6 {
            let (from, to) = if flight % 2 == 0 {
                (&mut client, &mut server)
            } else {
                (&mut server, &mut client)
            };
            let mut bytes = output(from);
            if flight >= victim {
                for _ in 0..=random.next() % 3 {
                    mutate(&mut bytes, &mut random);
                }
            }
            // Whatever comes of it.
            let _result = give(to, &mut bytes);
        }
    }
}

#[test]
fn no_mutation_of_open_traffic_makes_a_side_panic() {
    let configs = [configs(Versions::Tls13), configs(Versions::Tls12)];
    for seed in 1..600_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        println!("seed {seed}");
        let mut pair = Pair::open(&configs[seed as usize % 2]);
        let mut bytes = sealed(&mut pair.client, &[7; 60]);
        pair.client.update_key().expect("open");
        bytes.extend(output(&mut pair.client));
        bytes.extend(sealed(&mut pair.client, &[8; 60]));
        mutate(&mut bytes, &mut random);
        let _result = give(&mut pair.server, &mut bytes);
        let mut answer = output(&mut pair.server);
        let _result = give(&mut pair.client, &mut answer);
    }
}
