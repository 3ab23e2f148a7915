//! What the heap serves: handshakes, and records that span frames; none that
//! lies within one.

mod common;

use allocation_counter::measure;
use common::pki::Authority;
use common::*;
use pollwire_core::Instant;
use pollwire_tls::engine::{Engine, Received, record_length};
use pollwire_tls::{ClientConfig, ServerConfig, TlsError, Versions};

const NAME: &str = "server.test";
/// Most bytes of heap that one side of an open connection may hold.
const MOST: i64 = 8 * 1024;

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

fn open(client: &ClientConfig, server: &ServerConfig) -> (Engine, Engine) {
    let mut client = Engine::client(client, name(NAME), Instant::ZERO).expect("fine");
    let mut server = Engine::server(server, Instant::ZERO).expect("fine");
    while pump(&mut client, &mut server).expect("fine")
        | pump(&mut server, &mut client).expect("fine")
    {}
    (client, server)
}

#[test]
fn records_in_place_take_no_heap_and_connections_little() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    for versions in [Versions::Tls13, Versions::Tls12] {
        let client = ClientConfig::builder(clock())
            .roots(authority.roots())
            .versions(versions)
            .sessions(0);
        let client = client.build().expect("fine");
        let server = ServerConfig::builder(clock()).identity(identity.chain(), identity.key());
        let server = server.build().expect("fine");
        let mut pair = None;
        let held = measure(|| pair = Some(open(&client, &server)));
        println!("{versions:?}: {} bytes for both sides", held.bytes_current);
        assert!(held.bytes_current <= 2 * MOST, "{}", held.bytes_current);
        let (mut client, mut server) = pair.expect("open");
        let overhead = client.overhead().expect("open");
        let mut record = vec![0; 1400 + overhead.total()];
        let records = measure(|| {
            for _ in 0..1000 {
                client.seal(&mut record).expect("open");
                let received = server.on_record(&mut record).expect("good");
                assert!(matches!(received, Received::Data(data) if data.len() == 1400));
            }
        });
        assert_eq!(records.count_total, 0, "{versions:?}");
    }
}
