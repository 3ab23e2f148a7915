//! Queries over UDP: each with a port and an id of its own.

use alloc::rc::Rc;
use core::net::SocketAddr;

use hickory_proto::rr::Name;
use pollwire_core::Instant;

use super::{ExchangeId, Machine, Output, QueryId};
use crate::message::{self, Asked, Form};
use crate::{Counter, DnsError};

/// Refused datagrams at one port after which somebody is taken to be guessing,
/// and the question goes over TCP (RFC 5452, 9.3).
const FORGERIES: u32 = 16;

#[derive(Debug)]
pub(super) struct Exchange {
    query: QueryId,
    server: usize,
    id: u16,
    name: Name,
    exact_case: bool,
    edns: bool,
    refused: u32,
    message: Rc<[u8]>,
}

impl Machine {
    /// Sends the query, or sends it again; `false` when it cannot be written.
    pub(super) fn ask_by_datagram(&mut self, now: Instant, id: QueryId, index: usize) -> bool {
        let (Some(query), Some(server)) = (self.queries.get(&id), self.servers.get(index)) else {
            return false;
        };
        let address = server.settings.address;
        let known = query.exchanges.iter().find_map(|exchange| {
            let state = self.exchanges.get(exchange)?;
            (state.server == index).then(|| (*exchange, state.message.clone()))
        });
        if let Some((exchange, message)) = known {
            self.send_datagram(exchange, address, message);
            return true;
        }
        let exact_case = self.config.mix_case && server.keeps_case(now);
        let edns = server.takes_edns(now);
        let name = if exact_case {
            message::mix_case(&query.name, &mut self.random)
        } else {
            query.name.clone()
        };
        let message_id = random_id(&mut self.random);
        let form = Form {
            edns: edns.then_some(self.config.udp_payload),
            padded: false,
            keepalive: false,
        };
        let Some(message) = message::query(message_id, &name, query.record_type(), form) else {
            return false;
        };
        let exchange = ExchangeId(self.new_id());
        let state = Exchange {
            query: id,
            server: index,
            id: message_id,
            name,
            exact_case,
            edns,
            refused: 0,
            message: message.clone(),
        };
        self.exchanges.insert(exchange, state);
        if let Some(query) = self.queries.get_mut(&id) {
            query.exchanges.push(exchange);
        }
        self.send_datagram(exchange, address, message);
        true
    }

    fn send_datagram(&mut self, exchange: ExchangeId, server: SocketAddr, message: Rc<[u8]>) {
        self.counters.inc(Counter::UdpQueries);
        self.output.push_back(Output::SendDatagram {
            exchange,
            server,
            message,
        });
    }

    /// Ends the exchange of query `id` with `server`.
    pub(super) fn close_exchange_with(&mut self, id: QueryId, server: usize) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let (exchanges, output) = (&mut self.exchanges, &mut self.output);
        query.exchanges.retain(|exchange| {
            let other = exchanges
                .get(exchange)
                .is_some_and(|state| state.server != server);
            if !other {
                exchanges.remove(exchange);
                output.push_back(Output::CloseExchange(*exchange));
            }
            other
        });
    }

    /// Takes a datagram that came to the socket of `exchange`.
    pub fn on_datagram(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let Some(state) = self.exchanges.get_mut(&exchange) else {
            self.counters.inc(Counter::Late);
            return;
        };
        let (id, index) = (state.query, state.server);
        let (Some(query), Some(server)) = (self.queries.get(&id), self.servers.get(index)) else {
            return;
        };
        let asked = Asked {
            id: state.id,
            name: &state.name,
            record_type: query.record_type(),
            exact_case: state.exact_case,
        };
        // RFC 5452, 9.1: an answer must come from where the query went.
        let checked = if from == server.settings.address {
            message::response(bytes, &asked, self.config.max_records)
        } else {
            Err(Counter::WrongServer)
        };
        match checked {
            Ok(response) => {
                let edns = state.edns;
                self.on_response(now, id, index, response, edns, false);
            }
            Err(reason) => {
                self.counters.inc(reason);
                state.refused += 1;
                let forged = state.refused >= FORGERIES;
                self.refused_datagram(now, id, index, reason, forged);
            }
        }
    }

    fn refused_datagram(
        &mut self,
        now: Instant,
        id: QueryId,
        server: usize,
        reason: Counter,
        forged: bool,
    ) {
        match reason {
            // All was right but the letters: a server that does not keep them,
            // or a good guess. TCP tells.
            Counter::WrongCase => {
                if let Some(query) = self.queries.get_mut(&id) {
                    query.checks_case = Some(server);
                }
                self.turn_to_stream(now, id, server);
            }
            // It has the query's id and comes from the server: its answer, and
            // it will send no other.
            Counter::Malformed | Counter::TooManyRecords => {
                self.server_failed(now, id, server, DnsError::BadAnswer);
            }
            _ if forged => self.turn_to_stream(now, id, server),
            _ => {}
        }
    }

    /// The datagram of `exchange` could not be sent, or its server's host sent
    /// an ICMP error.
    pub fn on_datagram_failed(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(state) = self.exchanges.get(&exchange) else {
            return;
        };
        let (id, index) = (state.query, state.server);
        if let Some(server) = self.servers.get_mut(index) {
            server.silent(now);
        }
        self.server_failed(now, id, index, DnsError::Unreachable);
    }
}

pub(super) fn random_id(random: &mut pollwire_core::Random) -> u16 {
    let [high, low, ..] = random.next_u32().to_be_bytes();
    u16::from_be_bytes([high, low])
}
