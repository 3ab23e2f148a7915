//! Questions over TCP (RFC 7766).

use alloc::vec::Vec;

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::rdata::opt::EdnsOption;

use super::bench::*;
use crate::machine::{Output, StreamId};
use crate::{Counter, DnsError};

const TCP: &str = "tcp:192.0.2.1";

fn connected(bench: &mut Bench) -> StreamId {
    let (stream, _) = bench.connection();
    bench.machine.on_connected(bench.now, stream);
    stream
}

fn found(query: &Message, last: u8) -> Message {
    let owner = query.queries[0].name.to_ascii();
    with(query, [a(&owner, 60, last)])
}

/// RFC 7766, 6.2.1: one connection, many queries, nobody waits for another's
/// answer; 7: answers come in any order.
#[test]
fn rfc7766_6_2_1_queries_share_a_connection_and_7_answers_come_in_any_order() {
    let mut bench = Bench::new(&[TCP]);
    let early = [bench.ask("a.example."), bench.ask("b.example.")];
    let stream = connected(&mut bench);
    let mut queries = bench.messages(stream);
    assert_eq!(queries.len(), 2, "both were kept for it");
    let third = bench.ask("c.example.");
    queries.extend(bench.messages(stream));
    let mut ids: Vec<_> = queries.iter().map(|query| query.metadata.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let replies = [
        found(&queries[2], 3),
        found(&queries[0], 1),
        found(&queries[1], 2),
    ];
    bench.stream_data(stream, &replies, 7);
    for (id, last) in early.into_iter().chain([third]).zip(1..) {
        assert_eq!(
            bench.taken(id).map(|answer| lasts(&answer)),
            Ok([last].into())
        );
    }
    assert_eq!(bench.count(Counter::Connections), 1);
}

/// RFC 7766, 6.2.3: an idle connection is closed.
#[test]
fn rfc7766_6_2_3_an_idle_connection_is_closed_and_reused_before() {
    let mut bench = Bench::new(&[TCP]);
    let id = bench.ask("a.example.");
    let stream = connected(&mut bench);
    let query = bench.messages(stream).remove(0);
    bench.stream_data(stream, &[found(&query, 1)], 1000);
    assert!(bench.taken(id).is_ok());
    bench.pass(secs(9));
    let id = bench.ask("b.example.");
    let query = bench.messages(stream).remove(0);
    bench.pass(secs(2));
    bench.expect_quiet();
    bench.stream_data(stream, &[found(&query, 2)], 1000);
    assert!(bench.taken(id).is_ok());
    bench.pass(ms(9999));
    bench.expect_quiet();
    bench.pass(ms(1));
    assert_eq!(bench.outputs(), [Output::CloseStream(stream)]);
    bench.check_empty();
}

#[test]
fn a_connection_whose_only_query_was_cancelled_is_closed_too() {
    let mut bench = Bench::new(&[TCP]);
    let id = bench.ask("a.example.");
    let stream = connected(&mut bench);
    bench.messages(stream);
    bench.machine.cancel(bench.now, id);
    bench.pass(secs(10));
    assert_eq!(bench.outputs(), [Output::CloseStream(stream)]);
    bench.check_empty();
}

/// RFC 7766, 6.2.4: "If a client using TCP [...] sees the connection closed
/// before all responses, it retries".
#[test]
fn rfc7766_6_2_4_what_a_closed_connection_left_open_is_asked_on_another() {
    let mut bench = Bench::new(&[TCP]);
    let id = bench.ask("a.example.");
    let stream = connected(&mut bench);
    let query = bench.messages(stream).remove(0);
    bench.stream_data(stream, &[found(&query, 1)], 1000);
    assert!(bench.taken(id).is_ok());
    let id = bench.ask("b.example.");
    bench.messages(stream);
    bench.machine.on_stream_closed(bench.now, stream);
    let again = connected(&mut bench);
    assert_ne!(again, stream);
    let query = bench.messages(again).remove(0);
    bench.stream_data(again, &[found(&query, 2)], 1000);
    assert!(bench.taken(id).is_ok());
    // One that never answered anything is a failure.
    let id = bench.ask("c.example.");
    bench.messages(again);
    bench.machine.on_stream_closed(bench.now, again);
    let third = connected(&mut bench);
    bench.messages(third);
    bench.machine.on_stream_closed(bench.now, third);
    assert_eq!(bench.taken(id).err(), Some(DnsError::Unreachable));
    bench.check_empty();
}

#[test]
fn a_refused_connection_moves_on_to_the_next_server() {
    let mut bench = Bench::new(&[TCP, "tcp:192.0.2.2"]);
    let id = bench.ask("a.example.");
    let (first, _) = bench.connection();
    bench.machine.on_stream_closed(bench.now, first);
    let second = connected(&mut bench);
    let query = bench.messages(second).remove(0);
    bench.stream_data(second, &[found(&query, 1)], 1000);
    assert!(bench.taken(id).is_ok());
}

/// The connections that are begun now, and those that are closed.
fn changes(bench: &mut Bench) -> (Vec<StreamId>, Vec<StreamId>) {
    let (mut begun, mut closed) = (Vec::new(), Vec::new());
    for output in bench.outputs() {
        match output {
            Output::Connect { stream, .. } => begun.push(stream),
            Output::CloseStream(stream) => closed.push(stream),
            other => panic!("unexpected: {other:?}"),
        }
    }
    (begun, closed)
}

#[test]
fn a_dead_connection_is_given_up_and_its_questions_asked_anew() {
    let mut bench = Bench::with(&[TCP], |config| config.timeout = secs(20));
    let id = bench.ask("a.example.");
    let stream = connected(&mut bench);
    bench.messages(stream);
    bench.pass(secs(2));
    let later = bench.ask("b.example.");
    bench.messages(stream);
    bench.pass(secs(2));
    let (begun, closed) = changes(&mut bench);
    assert_eq!((begun.len(), closed), (1, Vec::new()));
    bench.machine.on_connected(bench.now, begun[0]);
    let queries = bench.messages(begun[0]);
    assert_eq!(queries.len(), 2);
    let replies: Vec<_> = queries.iter().map(|query| found(query, 1)).collect();
    bench.stream_data(begun[0], &replies, 1000);
    assert!(bench.taken(id).is_ok() && bench.taken(later).is_ok());
    bench.pass(secs(0));
    assert_eq!(
        changes(&mut bench).1,
        [stream],
        "nobody waits on it any more"
    );
    bench.pass(secs(10));
    bench.check_empty();
}

/// A connection that could not be made in time is given up at once.
#[test]
fn a_connection_that_is_not_made_in_time_is_given_up() {
    let mut bench = Bench::new(&[TCP, "tcp:192.0.2.2"]);
    let id = bench.ask("a.example.");
    let (stream, _) = bench.connection();
    bench.pass(secs(4));
    let (begun, closed) = changes(&mut bench);
    assert_eq!((begun.len(), closed), (1, [stream].into()));
    bench.machine.on_connected(bench.now, begun[0]);
    let query = bench.messages(begun[0]).remove(0);
    bench.stream_data(begun[0], &[found(&query, 1)], 1000);
    assert!(bench.taken(id).is_ok());
}

/// A server that takes longer than one attempt has its answer heard all the
/// same, while others, or itself, are asked again.
#[test]
fn a_late_answer_on_a_connection_counts() {
    for servers in [&[TCP][..], &[TCP, "tcp:192.0.2.2"]] {
        let mut bench = Bench::new(servers);
        let id = bench.ask("a.example.");
        let stream = connected(&mut bench);
        let query = bench.messages(stream).remove(0);
        bench.pass(ms(4500));
        let (begun, closed) = changes(&mut bench);
        assert_eq!((begun.len(), closed), (1, Vec::new()));
        bench.machine.on_connected(bench.now, begun[0]);
        bench.messages(begun[0]);
        bench.stream_data(stream, &[found(&query, 1)], 3);
        assert_eq!(bench.taken(id).map(|answer| lasts(&answer)), Ok([1].into()));
        bench.pass(secs(0));
        assert_eq!(changes(&mut bench).1, [stream]);
        bench.pass(secs(10));
        assert_eq!(changes(&mut bench).1, begun);
        bench.check_empty();
    }
}

/// Its end tells nothing: the server is being asked on another connection.
#[test]
fn a_silent_connection_may_end_later() {
    let mut bench = Bench::new(&[TCP]);
    let id = bench.ask("a.example.");
    let stream = connected(&mut bench);
    bench.messages(stream);
    bench.pass(secs(4));
    let (begun, _) = changes(&mut bench);
    bench.machine.on_stream_closed(bench.now, stream);
    assert_eq!(changes(&mut bench), (Vec::new(), Vec::new()));
    bench.machine.on_connected(bench.now, begun[0]);
    let query = bench.messages(begun[0]).remove(0);
    bench.stream_data(begun[0], &[found(&query, 1)], 1000);
    assert!(bench.taken(id).is_ok());
    bench.pass(secs(10));
    bench.check_empty();
}

/// A late answer to the question before an alias says nothing of the one that
/// the alias led to.
#[test]
fn a_late_answer_to_the_name_before_an_alias_is_passed_over() {
    let mut bench = Bench::with(&[TCP, "tcp:192.0.2.2"], |config| {
        config.timeout = secs(30);
    });
    // Keeps the connection from being silent.
    let other = bench.ask("other.example.");
    let slow = connected(&mut bench);
    let others = bench.messages(slow).remove(0);
    let id = bench.ask("www.example.");
    let first = bench.messages(slow).remove(0);
    bench.pass(secs(3));
    bench.stream_data(slow, &[found(&others, 9)], 1000);
    assert!(bench.taken(other).is_ok());
    bench.pass(secs(1));
    let quick = connected(&mut bench);
    let query = bench.messages(quick).remove(0);
    let only_alias = |query: &Message| {
        let owner = query.queries[0].name.to_ascii();
        with(query, [alias(&owner, 60, "end.example.")])
    };
    bench.stream_data(quick, &[only_alias(&query)], 1000);
    // Now the end is asked for, somewhere.
    let asked = bench.outputs();
    assert_eq!(asked.len(), 1, "{asked:?}");
    bench.stream_data(slow, &[only_alias(&first)], 1000);
    assert!(
        bench.machine.take(id).is_none(),
        "nothing is known of the end"
    );
    assert_eq!(bench.count(Counter::Late), 1);
    let Output::SendBytes { stream, bytes } = &asked[0] else {
        panic!("unexpected: {asked:?}");
    };
    let query = Message::from_vec(&bytes[2..]).expect("a message");
    bench.stream_data(*stream, &[found(&query, 1)], 1000);
    assert_eq!(bench.taken(id).map(|answer| lasts(&answer)), Ok([1].into()));
}

#[test]
fn nonsense_closes_the_connection_and_fails_its_server() {
    let short: &[u8] = &[0, 1, 0];
    let empty: &[u8] = &[0, 0];
    let noise: &[u8] = &[0, 13, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    for (bytes, counter) in [
        (short, Counter::TooShort),
        (empty, Counter::TooShort),
        (noise, Counter::WrongId),
    ] {
        let mut bench = Bench::new(&[TCP]);
        let id = bench.ask("a.example.");
        let stream = connected(&mut bench);
        let query = bench.messages(stream).remove(0);
        bench.machine.on_stream_data(bench.now, stream, bytes);
        assert_eq!(bench.count(counter), 1);
        if counter == Counter::WrongId {
            bench.stream_data(stream, &[found(&query, 1)], 1);
            assert!(
                bench.taken(id).is_ok(),
                "an answer nobody waits for is passed over"
            );
        } else {
            assert_eq!(bench.outputs(), [Output::CloseStream(stream)]);
            assert_eq!(bench.taken(id).err(), Some(DnsError::BadAnswer));
            bench.check_empty();
        }
    }
}

#[test]
fn a_tls_query_is_padded() {
    let mut bench = Bench::new(&["tls:192.0.2.1!dns.example"]);
    for text in ["a.example.", "a-rather-long-name.with-labels.example."] {
        bench.ask(text);
    }
    let (stream, server) = bench.connection();
    assert_eq!(server.port(), 853);
    bench.machine.on_connected(bench.now, stream);
    // RFC 8467, 4.1: "pad the DNS query to the closest multiple of 128 octets".
    for output in bench.outputs() {
        if let Output::SendBytes { bytes, .. } = output {
            assert_eq!((bytes.len() - 2) % 128, 0, "{}", bytes.len());
        }
    }
}

/// `reply` with the keepalive option: units of 100 ms, or what it should not be.
fn keeping(reply: Message, value: &[u8]) -> Message {
    let mut reply = reply;
    let mut edns = Edns::new();
    edns.options_mut()
        .insert(EdnsOption::Unknown(11, value.to_vec()));
    reply.set_edns(edns);
    reply
}

/// RFC 7828, 3.2.1: asked over connections, without a value, and never over UDP.
#[test]
fn rfc7828_3_2_1_connections_ask_how_long_they_may_be_idle() {
    let option = |query: &Message| {
        let edns = query.edns.as_ref().expect("EDNS");
        edns.option(11.into()).cloned()
    };
    let mut bench = Bench::new(&[TCP]);
    bench.ask("a.example.");
    let stream = connected(&mut bench);
    let query = bench.messages(stream).remove(0);
    let empty = EdnsOption::Unknown(11, [].into());
    assert_eq!(option(&query), Some(empty));
    let mut bench = Bench::new(&["192.0.2.1"]);
    bench.ask("a.example.");
    assert_eq!(option(&bench.datagram().message), None);
}

/// RFC 7828, 3.2.2: the server's last word counts, within our own bound.
#[test]
fn rfc7828_3_2_2_idle_connections_are_closed_when_the_server_says() {
    for (value, idle) in [
        (&[0, 5][..], ms(500)),
        (&[1, 44], secs(30)),
        (&[255, 255], secs(120)),
        // RFC 7828, 3.1: any other length is none.
        (&[1], secs(10)),
        (&[], secs(10)),
        (&[0, 0, 5], secs(10)),
    ] {
        let mut bench = Bench::new(&[TCP]);
        let id = bench.ask("a.example.");
        let stream = connected(&mut bench);
        let query = bench.messages(stream).remove(0);
        bench.stream_data(stream, &[keeping(found(&query, 1), value)], 1000);
        assert!(bench.taken(id).is_ok());
        bench.pass(idle - ms(1));
        bench.expect_quiet();
        bench.pass(ms(1));
        assert_eq!(bench.outputs(), [Output::CloseStream(stream)], "{value:?}");
        bench.check_empty();
    }
}

/// RFC 7828, 3.2.2: with a timeout of 0 the connection is closed once nothing is
/// outstanding; what is, is waited for.
#[test]
fn rfc7828_3_2_2_a_timeout_of_zero_closes_after_the_last_answer() {
    let mut bench = Bench::new(&[TCP]);
    let ids = [bench.ask("a.example."), bench.ask("b.example.")];
    let stream = connected(&mut bench);
    let queries = bench.messages(stream);
    bench.stream_data(stream, &[keeping(found(&queries[0], 1), &[0, 0])], 1000);
    bench.pass(ms(500));
    bench.expect_quiet();
    bench.stream_data(stream, &[found(&queries[1], 2)], 1000);
    bench.pass(ms(0));
    assert_eq!(bench.outputs(), [Output::CloseStream(stream)]);
    for id in ids {
        assert!(bench.taken(id).is_ok());
    }
    bench.check_empty();
}
