//! Queries over TCP and TLS: many on one connection, answered in any order
//! (RFC 7766).

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use hickory_proto::rr::Name;
use pollwire_core::Instant;

use super::query::Query;
use super::udp::random_id;
use super::{Machine, Output, QueryId, StreamId};
use crate::message::{self, Asked, Form};
use crate::{Counter, DnsError, Transport};

/// Questions waiting on one connection at most.
const MOST_PENDING: usize = 1024;

#[derive(Debug)]
pub(super) struct Stream {
    server: usize,
    open: bool,
    /// Messages that wait for the connection to be open.
    backlog: Vec<Rc<[u8]>>,
    /// RFC 7766, 6.2.1: "clients MUST NOT reuse the DNS Message ID of an
    /// in-flight query on that connection".
    pending: BTreeMap<u16, Pending>,
    /// Bytes of a message that has not wholly arrived.
    partial: Vec<u8>,
    /// It has answered something.
    answered: bool,
    last_heard: Instant,
    /// It was silent for too long: nothing more is asked on it, but what comes
    /// late still counts.
    silent: bool,
    /// How long the server lets it be idle, as far as it said (RFC 7828).
    keepalive: Option<Duration>,
    /// When to close it for want of queries; `None` while there are some.
    pub(super) idle_until: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    query: QueryId,
    name: Name,
    edns: bool,
}

impl Machine {
    /// Sends the query on the server's connection, or on a new one; `false`
    /// when it cannot be written.
    pub(super) fn ask_by_stream(&mut self, now: Instant, id: QueryId, index: usize) -> bool {
        let (Some(query), Some(server)) = (self.queries.get(&id), self.servers.get(index)) else {
            return false;
        };
        let edns = server.takes_edns(now);
        let form = Form {
            edns: edns.then_some(self.config.udp_payload),
            padded: matches!(server.settings.transport, Transport::Tls(_)),
            keepalive: true,
        };
        let name = if self.config.mix_case {
            message::mix_case(&query.name, &mut self.random)
        } else {
            query.name.clone()
        };
        let record_type = query.record_type();
        let stream = self.stream_to(now, index);
        let Some(state) = self.streams.get_mut(&stream) else {
            return false;
        };
        if state.pending.len() >= MOST_PENDING {
            return false;
        }
        let message_id = loop {
            let id = random_id(&mut self.random);
            if !state.pending.contains_key(&id) {
                break id;
            }
        };
        let Some(message) = message::query(message_id, &name, record_type, form) else {
            return false;
        };
        let Some(framed) = framed(&message) else {
            return false;
        };
        let pending = Pending {
            query: id,
            name,
            edns,
        };
        state.pending.insert(message_id, pending);
        state.idle_until = None;
        self.counters.inc(Counter::StreamQueries);
        if state.open {
            self.output.push_back(Output::SendBytes {
                stream,
                bytes: framed,
            });
        } else {
            state.backlog.push(framed);
        }
        true
    }

    /// The connection to a server, begun now if there is none.
    fn stream_to(&mut self, now: Instant, index: usize) -> StreamId {
        let mut known = self.streams.iter();
        if let Some((id, _)) = known.find(|(_, stream)| stream.server == index && !stream.silent) {
            return *id;
        }
        let id = StreamId(self.new_id());
        let stream = Stream {
            server: index,
            open: false,
            backlog: Vec::new(),
            pending: BTreeMap::new(),
            partial: Vec::new(),
            answered: false,
            last_heard: now,
            silent: false,
            keepalive: None,
            idle_until: None,
        };
        self.streams.insert(id, stream);
        self.counters.inc(Counter::Connections);
        if let Some(server) = self.servers.get(index) {
            self.output.push_back(Output::Connect {
                stream: id,
                server: server.settings.clone(),
            });
        }
        id
    }

    /// The connection is open.
    pub fn on_connected(&mut self, now: Instant, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        state.open = true;
        state.last_heard = now;
        for bytes in core::mem::take(&mut state.backlog) {
            self.output.push_back(Output::SendBytes { stream, bytes });
        }
    }

    /// Takes bytes that came on a connection, cut anywhere.
    pub fn on_stream_data(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        state.last_heard = now;
        state.partial.extend_from_slice(bytes);
        loop {
            let Some(state) = self.streams.get_mut(&stream) else {
                return;
            };
            let Some(message) = next_message(&mut state.partial) else {
                break;
            };
            self.on_message(now, stream, &message);
        }
        self.set_idle(now, stream);
    }

    fn on_message(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        let index = state.server;
        let Some(message_id) = message::id_of(bytes) else {
            self.counters.inc(Counter::TooShort);
            return self.stream_misbehaves(now, stream);
        };
        // RFC 7766, 7: "Since pipelined responses can arrive out of order,
        // clients MUST match responses to outstanding queries on the same TCP
        // connection using the Message ID", and the question.
        let Some(pending) = state.pending.get(&message_id) else {
            self.counters.inc(Counter::WrongId);
            return;
        };
        let (id, edns) = (pending.query, pending.edns);
        // An alias may have led elsewhere meanwhile.
        let still_asked =
            |query: &&Query| query.running && query.name.eq_ignore_root(&pending.name);
        let Some(query) = self.queries.get(&id).filter(still_asked) else {
            self.counters.inc(Counter::Late);
            state.pending.remove(&message_id);
            return;
        };
        let asked = Asked {
            id: message_id,
            name: &pending.name,
            record_type: query.record_type(),
            exact_case: false,
        };
        match message::response(bytes, &asked, self.config.max_records) {
            Ok(response) => {
                state.pending.remove(&message_id);
                state.answered = true;
                state.keepalive = response.keepalive().or(state.keepalive);
                if self.config.mix_case
                    && !response.kept_case
                    && let Some(server) = self.servers.get_mut(index)
                {
                    server.loses_case(now);
                }
                if let Some(query) = self.queries.get_mut(&id) {
                    query.checks_case = None;
                }
                self.on_response(now, id, index, response, edns, true);
            }
            Err(reason) => {
                self.counters.inc(reason);
                self.stream_misbehaves(now, stream);
            }
        }
    }

    /// Nothing on this connection can be believed any more.
    fn stream_misbehaves(&mut self, now: Instant, stream: StreamId) {
        self.output.push_back(Output::CloseStream(stream));
        self.lose_stream(now, stream, DnsError::BadAnswer);
    }

    /// The connection could not be made, was closed or broke.
    pub fn on_stream_closed(&mut self, now: Instant, stream: StreamId) {
        self.lose_stream(now, stream, DnsError::Unreachable);
    }

    fn lose_stream(&mut self, now: Instant, stream: StreamId, error: DnsError) {
        let Some(state) = self.streams.remove(&stream) else {
            return;
        };
        if state.silent && error == DnsError::Unreachable {
            // Whoever waited on it has asked elsewhere, or soon will.
            return;
        }
        // RFC 7766, 6.2.4: servers may close connections; what was asked on one
        // that had served is asked again on another.
        let may_reconnect = match error {
            DnsError::Unreachable => state.answered,
            // Another query found it dead; these may still have their answers.
            error => error == DnsError::TimedOut,
        };
        let mut at_fault = false;
        for pending in state.pending.into_values() {
            let id = pending.query;
            let Some(query) = self.queries.get_mut(&id).filter(|query| query.running) else {
                continue;
            };
            if may_reconnect && !query.reconnected {
                query.reconnected = true;
                self.ask(now, id, state.server, 0);
                continue;
            }
            at_fault = true;
            if query.checks_case == Some(state.server) {
                self.lost_case_check(now, id, state.server);
                self.turn_to_datagram(now, id, state.server);
            } else {
                self.server_failed(now, id, state.server, error);
            }
        }
        if at_fault && let Some(server) = self.servers.get_mut(state.server) {
            server.silent(now);
        }
    }

    /// The server has no TCP to tell whether it keeps letters: it is taken to
    /// lose them.
    pub(super) fn lost_case_check(&mut self, now: Instant, id: QueryId, index: usize) {
        if let Some(server) = self.servers.get_mut(index) {
            server.loses_case(now);
        }
        if let Some(query) = self.queries.get_mut(&id) {
            query.checks_case = None;
            if let Some(candidate) = query.candidate(index) {
                candidate.by_stream = false;
            }
        }
    }

    /// Query `id` is over: its connections may be idle now.
    pub(super) fn leave_streams(&mut self, now: Instant, id: QueryId) {
        let asked = |(stream, state): (&StreamId, &Stream)| {
            let asked = state.pending.values().any(|pending| pending.query == id);
            asked.then_some(*stream)
        };
        let streams: Vec<StreamId> = self.streams.iter().filter_map(asked).collect();
        for stream in streams {
            self.set_idle(now, stream);
        }
    }

    /// A query got no answer in time: if its connection was silent for as long,
    /// it may be dead, and the next question goes over another. The server may
    /// only be slow: the connection stays until nobody waits on it.
    pub(super) fn check_silent_stream(&mut self, now: Instant, id: QueryId, index: usize) {
        let wait = self.config.stream_wait;
        let silent = self.streams.iter().find_map(|(stream, state)| {
            let asked = state.pending.values().any(|pending| pending.query == id);
            let silent = !state.silent && state.last_heard + wait <= now;
            (state.server == index && asked && silent).then_some(*stream)
        });
        let Some(stream) = silent else {
            return;
        };
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        if !state.open {
            // The others find out by their own timers; this one is on its way.
            state.pending.retain(|_, pending| pending.query != id);
            self.output.push_back(Output::CloseStream(stream));
            return self.lose_stream(now, stream, DnsError::TimedOut);
        }
        state.silent = true;
        let others = state.pending.values().map(|pending| pending.query);
        let others: Vec<QueryId> = others.filter(|other| *other != id).collect();
        for other in others {
            let query = self.queries.get_mut(&other);
            if let Some(query) = query.filter(|query| query.running && !query.reconnected) {
                query.reconnected = true;
                self.ask(now, other, index, 0);
            }
        }
    }

    /// Starts or stops the clock of a connection without queries.
    fn set_idle(&mut self, now: Instant, stream: StreamId) {
        let queries = &self.queries;
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        let busy = state.pending.values().any(|pending| {
            let query = queries.get(&pending.query);
            query.is_some_and(|query| query.running)
        });
        // RFC 7766, 6.2.3: "DNS clients SHOULD close the TCP connection of an
        // idle session".
        // RFC 7828, 3.2.2: it "MAY keep the existing session open" for as long as
        // the server's last word says; with 0 it "SHOULD" close at once.
        let mut idle = state.keepalive.unwrap_or(self.config.stream_idle);
        if state.silent {
            idle = Duration::ZERO;
        }
        state.idle_until = (!busy).then_some(now + idle.min(self.config.stream_idle_max));
    }

    /// Closes a connection that nobody waits on.
    pub(super) fn drop_stream(&mut self, stream: StreamId) {
        if self.streams.remove(&stream).is_some() {
            self.output.push_back(Output::CloseStream(stream));
        }
    }
}

/// `message` behind its length (RFC 1035, 4.2.2).
///
/// RFC 7766, 8: "DNS clients and servers SHOULD pass the two-octet length field,
/// and the message described by that length field, to the TCP layer at the same
/// time".
fn framed(message: &[u8]) -> Option<Rc<[u8]>> {
    let len = u16::try_from(message.len()).ok()?;
    let mut bytes = Vec::with_capacity(2 + message.len());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(message);
    Some(Rc::from(bytes))
}

/// Takes the first whole message off `partial`.
fn next_message(partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes(*partial.first_chunk()?));
    if partial.len() < 2 + len {
        return None;
    }
    let rest = partial.split_off(2 + len);
    let mut message = core::mem::replace(partial, rest);
    message.drain(..2);
    Some(message)
}
