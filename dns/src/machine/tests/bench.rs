//! A machine, a clock, and servers played by the test.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pollwire_core::{Instant, Random};

use crate::machine::{ExchangeId, Machine, Output, QueryId, StreamId};
use crate::{Answer, Config, Counter, DnsError, Nameserver};

pub(super) const ONE: &str = "192.0.2.1:53";
pub(super) const TWO: &str = "192.0.2.2:53";

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A query as it reached a server.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) server: SocketAddr,
    pub(super) exchange: ExchangeId,
    pub(super) message: Message,
}

impl Asked {
    pub(super) fn name(&self) -> &Name {
        &self.message.queries[0].name
    }
}

/// An answer to `query` with nothing in it.
pub(super) fn reply(query: &Message) -> Message {
    let mut reply = query.clone();
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_available = true;
    reply.metadata.authentic_data = false;
    reply
}

pub(super) fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut reply = reply(query);
    reply.metadata.response_code = code;
    reply
}

pub(super) fn with(query: &Message, answers: impl IntoIterator<Item = Record>) -> Message {
    let mut reply = reply(query);
    reply.add_answers(answers);
    reply
}

/// "There is nothing", with the SOA of `zone`.
pub(super) fn nothing(
    query: &Message,
    code: ResponseCode,
    zone: &str,
    ttl: u32,
    minimum: u32,
) -> Message {
    let mut reply = failure(query, code);
    let soa = SOA::new(name("ns."), name("admin."), 1, 2, 3, 4, minimum);
    reply.add_authority(Record::from_rdata(name(zone), ttl, RData::SOA(soa)));
    reply
}

pub(super) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(198, 51, 100, last)))
}

pub(super) fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(super) fn delegation(owner: &str, server: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::NS(NS(name(server))))
}

pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Instant,
}

impl Bench {
    /// Over `servers`, the rest as by default.
    pub(super) fn new(servers: &[&str]) -> Self {
        Self::with(servers, |_| {})
    }

    pub(super) fn with(servers: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let servers = servers
            .iter()
            .map(|text| text.parse::<Nameserver>().expect("a nameserver"));
        let mut config = Config::new(servers);
        change(&mut config);
        Self {
            machine: Machine::new(config, Random::new([7; 32])),
            now: Instant::from_secs(1000),
        }
    }

    pub(super) fn ask(&mut self, text: &str) -> QueryId {
        self.machine.start(self.now, &name(text), RecordType::A)
    }

    /// Looks up and expects the answer at once.
    pub(super) fn known(&mut self, text: &str) -> Result<Answer, DnsError> {
        let id = self.ask(text);
        self.taken(id)
    }

    pub(super) fn taken(&mut self, id: QueryId) -> Result<Answer, DnsError> {
        self.machine.take(id).expect("it is finished")
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// The datagrams that are sent now; sockets closed meanwhile are passed over.
    pub(super) fn datagrams(&mut self) -> Vec<Asked> {
        let sent = self
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::SendDatagram {
                    exchange,
                    server,
                    message,
                } => Some(Asked {
                    server,
                    exchange,
                    message: Message::from_vec(&message).expect("a message"),
                }),
                Output::CloseExchange(_) => None,
                other => panic!("unexpected: {other:?}"),
            });
        sent.collect()
    }

    /// The one datagram that is sent now.
    pub(super) fn datagram(&mut self) -> Asked {
        let mut sent = self.datagrams();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Nothing is sent now, and no connection made.
    pub(super) fn expect_quiet(&mut self) {
        let outputs = self.outputs();
        let quiet = |output: &Output| matches!(output, Output::CloseExchange(_));
        assert!(outputs.iter().all(quiet), "{outputs:?}");
    }

    /// `reply` comes from the server that was asked.
    pub(super) fn answer(&mut self, asked: &Asked, reply: &Message) {
        self.answer_from(asked, asked.server, reply);
    }

    pub(super) fn answer_from(&mut self, asked: &Asked, from: SocketAddr, reply: &Message) {
        let bytes = reply.to_vec().expect("a message");
        self.machine
            .on_datagram(self.now, asked.exchange, from, &bytes);
    }

    /// Lets time pass, with what falls due on the way.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.machine.expire(self.now);
        }
        self.now = end;
    }

    /// The connection that is begun now.
    pub(super) fn connection(&mut self) -> (StreamId, SocketAddr) {
        let connections = self
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Connect { stream, server } => Some((stream, server.address)),
                Output::CloseExchange(_) => None,
                other => panic!("unexpected: {other:?}"),
            });
        let connections: Vec<_> = connections.collect();
        assert_eq!(connections.len(), 1, "{connections:?}");
        connections[0]
    }

    /// The messages that are sent on `stream` now.
    pub(super) fn messages(&mut self, stream: StreamId) -> Vec<Message> {
        let mut messages = Vec::new();
        for output in self.outputs() {
            match output {
                Output::SendBytes { stream: to, bytes } => {
                    assert_eq!(to, stream);
                    let (len, message) = bytes.split_first_chunk().expect("a length");
                    assert_eq!(usize::from(u16::from_be_bytes(*len)), message.len());
                    messages.push(Message::from_vec(message).expect("a message"));
                }
                Output::CloseExchange(_) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
        messages
    }

    /// `replies` come on `stream`, in pieces of `cut` bytes.
    pub(super) fn stream_data(&mut self, stream: StreamId, replies: &[Message], cut: usize) {
        let mut bytes = Vec::new();
        for reply in replies {
            let message = reply.to_vec().expect("a message");
            let len = u16::try_from(message.len()).expect("short");
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(&message);
        }
        for piece in bytes.chunks(cut) {
            self.machine.on_stream_data(self.now, stream, piece);
        }
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.machine.counters().get(counter)
    }

    /// Nothing is left of any query or connection.
    pub(super) fn check_empty(&mut self) {
        while self.machine.poll_finished().is_some() {}
        self.outputs();
        assert!(
            self.machine.queries.is_empty(),
            "{:?}",
            self.machine.queries
        );
        assert!(self.machine.questions.is_empty());
        assert!(self.machine.exchanges.is_empty());
        assert!(self.machine.streams.is_empty());
        assert_eq!(self.machine.deadline(), None);
    }
}

/// The addresses of an answer, by their last number.
pub(super) fn lasts(answer: &Answer) -> Vec<u8> {
    let last = |address| match address {
        core::net::IpAddr::V4(v4) => v4.octets()[3],
        core::net::IpAddr::V6(v6) => v6.octets()[15],
    };
    answer.addresses().map(last).collect()
}

/// Bytes of a message, for those who write them by hand.
pub(super) fn bytes(message: &Message) -> Rc<[u8]> {
    Rc::from(message.to_vec().expect("a message"))
}
