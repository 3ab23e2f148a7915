//! A resolver whose servers say anything: it must neither panic nor wait for
//! ever, and leave nothing behind.

use std::rc::Rc;
use std::time::Duration;

use pollwire::dns::machine::{ExchangeId, Output, QueryId, StreamId};
use pollwire::dns::{Config, Machine, Name, RecordType};
use pollwire::{Instant, Random};

const NAMES: [&str; 4] = ["www.example.", "a.example.", ".", "example."];
const TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::HTTPS,
    RecordType::ANY,
    RecordType::TXT,
];
/// Bytes of the header, and of the EDNS record at a query's end.
const HEADER: usize = 12;
const EDNS: usize = 11;
/// The server over UDP, then the one over TCP.
const SERVERS: [&str; 2] = ["udp:192.0.2.1", "tcp:192.0.2.2"];

struct Bench<'a> {
    machine: Machine,
    now: Instant,
    rest: &'a [u8],
    queries: Vec<QueryId>,
    datagrams: Vec<(ExchangeId, Rc<[u8]>)>,
    streams: Vec<(StreamId, Vec<u8>)>,
}

impl<'a> Bench<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        bytes
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::SendDatagram {
                    exchange, message, ..
                } => self.datagrams.push((exchange, message)),
                Output::Connect { stream, .. } => self.streams.push((stream, Vec::new())),
                Output::SendBytes { stream, bytes } => {
                    let known = self.streams.iter_mut().find(|(other, _)| *other == stream);
                    if let Some((_, sent)) = known {
                        *sent = bytes.get(2..).unwrap_or_default().to_vec();
                    }
                }
                Output::CloseStream(stream) => self.streams.retain(|(other, _)| *other != stream),
                Output::CloseExchange(_) => {}
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.expire(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// `query`, answered: its id and question stay, all else is the fuzzer's.
    fn reply(&mut self, query: &[u8]) -> Vec<u8> {
        let mut reply = query.to_vec();
        reply.truncate(query.len().saturating_sub(EDNS).max(HEADER));
        for (at, fixed) in [(2, 0x80), (3, 0), (7, 0), (9, 0), (11, 0)] {
            let byte = self.byte();
            if let Some(to) = reply.get_mut(at) {
                *to = (byte & if at == 2 { 7 } else { 0xff }) | fixed;
            }
        }
        reply.extend_from_slice(self.bytes());
        reply
    }

    fn step(&mut self) {
        let server = SERVERS[0].strip_prefix("udp:").unwrap_or_default();
        let from = format!("{server}:53").parse().expect("an address");
        match self.byte() % 10 {
            0 => {
                let choice = usize::from(self.byte());
                let name = Name::from_ascii(NAMES[choice % 4]).expect("a name");
                let id = self.machine.start(self.now, &name, TYPES[choice / 4 % 4]);
                self.queries.push(id);
            }
            1 => {
                if let Some((exchange, query)) = self.datagrams.last().cloned() {
                    let reply = self.reply(&query);
                    self.machine.on_datagram(self.now, exchange, from, &reply);
                }
            }
            2 => {
                let tenths = u64::from(self.byte());
                self.pass(Duration::from_millis(100 * tenths));
            }
            3 => {
                if let Some((stream, _)) = self.streams.last() {
                    self.machine.on_connected(self.now, *stream);
                }
            }
            4 => {
                let bytes = self.bytes();
                if let Some((stream, _)) = self.streams.last() {
                    self.machine.on_stream_data(self.now, *stream, bytes);
                }
            }
            5 => {
                if let Some((stream, query)) = self.streams.last().cloned() {
                    let reply = self.reply(&query);
                    let len = u16::try_from(reply.len()).unwrap_or(u16::MAX);
                    let framed = [&len.to_be_bytes()[..], &reply].concat();
                    self.machine.on_stream_data(self.now, stream, &framed);
                }
            }
            6 => {
                if let Some((stream, _)) = self.streams.pop() {
                    self.machine.on_stream_closed(self.now, stream);
                }
            }
            7 => {
                if let Some((exchange, _)) = self.datagrams.pop() {
                    self.machine.on_datagram_failed(self.now, exchange);
                }
            }
            8 => {
                let bytes = self.bytes();
                if let Some((exchange, _)) = self.datagrams.last() {
                    self.machine.on_datagram(self.now, *exchange, from, bytes);
                }
            }
            _ => {
                if let Some(id) = self.queries.pop() {
                    self.machine.cancel(self.now, id);
                }
            }
        }
        self.drain();
    }
}

/// Plays `data` as a sequence of lookups and of what servers answer.
pub fn dns(data: &[u8]) {
    let servers = SERVERS.map(|text| text.parse().expect("a nameserver"));
    let mut config = Config::new(servers);
    config.cache.bytes = 64 * 1024;
    config.cache.serve_stale = Some(Duration::from_secs(60));
    let mut bench = Bench {
        machine: Machine::new(config, Random::new([7; 32])),
        now: Instant::from_secs(1),
        rest: data,
        queries: Vec::new(),
        datagrams: Vec::new(),
        streams: Vec::new(),
    };
    while !bench.rest.is_empty() {
        bench.step();
        let (_, bytes) = bench.machine.cached();
        assert!(bytes <= 64 * 1024, "the cache grows");
    }
    bench.pass(Duration::from_secs(30));
    for id in std::mem::take(&mut bench.queries) {
        assert!(bench.machine.take(id).is_some(), "a lookup has no end");
    }
    bench.pass(Duration::from_secs(1000));
    assert_eq!(bench.machine.deadline(), None, "something is left");
}
