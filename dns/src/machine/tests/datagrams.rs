//! Questions over UDP: servers, retries, checks of answers.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::bench::*;
use crate::machine::Output;
use crate::{Counter, DnsError, Source};

#[test]
fn a_question_is_asked_and_answered() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    assert!(bench.machine.take(id).is_none());
    let asked = bench.datagram();
    assert_eq!(asked.server.to_string(), ONE);
    assert!(asked.message.metadata.recursion_desired);
    assert!(asked.message.metadata.authentic_data, "RFC 6840, 5.7");
    assert_eq!(
        asked.message.edns.as_ref().map(|edns| edns.max_payload()),
        Some(1232)
    );
    bench.answer(
        &asked,
        &with(
            &asked.message,
            [a("www.example.", 60, 1), a("www.example.", 50, 2)],
        ),
    );
    assert_eq!(bench.machine.poll_finished(), Some(id));
    let answer = bench.taken(id).expect("found");
    assert_eq!(lasts(&answer), [1, 2]);
    assert_eq!(answer.ttl(), secs(50));
    assert_eq!(answer.source(), Source::Server(asked.server));
    assert_eq!(answer.canonical_name(), &name("www.example."));
    let closed = [Output::CloseExchange(asked.exchange)];
    assert_eq!(bench.outputs(), closed, "its port is free again");
    bench.check_empty();
}

/// RFC 5452, 9.2: "unpredictable", over the whole range.
#[test]
fn rfc5452_9_2_ids_exchanges_and_letters_differ() {
    let mut bench = Bench::new(&[ONE]);
    let mut ids = BTreeSet::new();
    let mut exchanges = BTreeSet::new();
    let mut spellings = BTreeSet::new();
    for number in 0..200 {
        bench.ask(&format!("name{number}.example."));
        let asked = bench.datagram();
        ids.insert(asked.message.metadata.id);
        exchanges.insert(asked.exchange);
        spellings.insert(
            asked
                .name()
                .to_ascii()
                .split('.')
                .nth(1)
                .map(ToString::to_string),
        );
    }
    assert!(ids.len() > 195, "{}", ids.len());
    assert_eq!(exchanges.len(), 200, "a port each");
    assert!(spellings.len() > 75, "of 128: {}", spellings.len());
    assert!(ids.iter().any(|id| *id > 0xe000) && ids.iter().any(|id| *id < 0x2000));
}

#[test]
fn the_letters_of_the_query_do_not_show_in_the_answer() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mixed = asked.name().to_ascii();
    assert!(
        !asked.name().eq_case(&name("www.example.")),
        "mixed by this seed"
    );
    let target = format!("cdn.{mixed}");
    let records = [alias(&mixed, 60, &target), a(&target, 60, 1)];
    bench.answer(&asked, &with(&asked.message, records));
    let answer = bench.taken(id).expect("found");
    assert!(answer.aliases()[0].eq_case(&name("cdn.www.example.")));
    assert!(answer.records()[0].name.eq_case(&name("cdn.www.example.")));
}

/// RFC 5452, 9.1: the id, the question and the address must be the query's.
#[test]
fn rfc5452_9_1_answers_to_something_else_are_refused() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let good = with(&asked.message, [a("www.example.", 60, 1)]);
    bench.answer_from(&asked, TWO.parse().expect("an address"), &good);
    bench.answer_from(&asked, "192.0.2.1:54".parse().expect("an address"), &good);
    assert_eq!(bench.count(Counter::WrongServer), 2);
    let mut bad = good.clone();
    bad.metadata.id ^= 1;
    bench.answer(&asked, &bad);
    assert_eq!(bench.count(Counter::WrongId), 1);
    let mut bad = good.clone();
    bad.queries[0].name = name("www.example.org.");
    bench.answer(&asked, &bad);
    let mut bad = good.clone();
    bad.queries[0].query_type = RecordType::AAAA;
    bench.answer(&asked, &bad);
    let mut bad = good.clone();
    bad.queries.clear();
    bench.answer(&asked, &bad);
    assert_eq!(bench.count(Counter::WrongQuestion), 3);
    let query = asked.message.clone();
    bench.answer(&asked, &query);
    assert_eq!(bench.count(Counter::NotAResponse), 1);
    bench
        .machine
        .on_datagram(bench.now, asked.exchange, asked.server, &[1, 2, 3]);
    assert_eq!(bench.count(Counter::TooShort), 1);
    assert!(bench.machine.take(id).is_none(), "none of them counts");
    bench.answer(&asked, &good);
    assert!(bench.taken(id).is_ok());
    bench.answer(&asked, &good);
    assert_eq!(bench.count(Counter::Late), 1);
}

/// RFC 5452, 9.3: many wrong answers are somebody guessing.
#[test]
fn rfc5452_9_3_after_many_forgeries_the_question_goes_over_tcp() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mut bad = with(&asked.message, [a("www.example.", 60, 66)]);
    for guess in 0..15 {
        bad.metadata.id = asked.message.metadata.id ^ (guess + 1);
        bench.answer(&asked, &bad);
    }
    bench.expect_quiet();
    bench.answer(&asked, &bad);
    let (stream, _) = bench.connection();
    bench.machine.on_connected(bench.now, stream);
    let query = bench.messages(stream).remove(0);
    bad.metadata.id = asked.message.metadata.id;
    bench.answer(&asked, &bad);
    assert!(bench.machine.take(id).is_none(), "the port is closed");
    bench.stream_data(stream, &[with(&query, [a("www.example.", 60, 1)])], 1000);
    assert_eq!(bench.taken(id).map(|answer| lasts(&answer)), Ok([1].into()));
}

#[test]
fn a_silent_server_is_asked_again_and_the_next_one_first() {
    let mut bench = Bench::new(&[ONE, TWO]);
    let id = bench.ask("www.example.");
    let first = bench.datagram();
    bench.pass(ms(999));
    bench.expect_quiet();
    bench.pass(ms(1));
    let second = bench.datagram();
    assert_eq!(second.server.to_string(), TWO);
    assert_ne!(first.message.metadata.id, second.message.metadata.id);
    bench.pass(secs(1));
    let again = bench.datagram();
    assert_eq!(again.server, first.server);
    assert_eq!(
        again.exchange, first.exchange,
        "the same question, from the same port"
    );
    assert_eq!(again.message.metadata.id, first.message.metadata.id);
    bench.pass(ms(1999));
    bench.expect_quiet();
    bench.pass(ms(1));
    assert_eq!(bench.datagram().server.to_string(), TWO);
    assert_eq!(bench.count(Counter::TimedOut), 4 - 1);
    // The late answer to the first counts as well.
    bench.answer(&first, &with(&first.message, [a("www.example.", 60, 1)]));
    assert!(bench.taken(id).is_ok());
    bench.check_empty();
}

/// Slow is not dead: whoever answers first while the lookup goes on has answered.
#[test]
fn a_late_answer_counts_while_another_server_is_asked() {
    let mut bench = Bench::with(&[ONE, TWO], |config| config.cache.entries = 0);
    let id = bench.ask("www.example.");
    let first = bench.datagram();
    bench.pass(ms(1500));
    let second = bench.datagram();
    assert_eq!(second.server.to_string(), TWO);
    bench.answer(&first, &with(&first.message, [a("www.example.", 60, 1)]));
    let answer = bench.taken(id).expect("found");
    assert_eq!(lasts(&answer), [1]);
    assert_eq!(answer.source(), Source::Server(first.server));
    // The other's answer comes too late for this one.
    bench.answer(&second, &with(&second.message, [a("www.example.", 60, 2)]));
    assert_eq!(bench.count(Counter::Late), 1);
    bench.outputs();
    // It answers, so it is asked first again.
    bench.ask("other.example.");
    assert_eq!(bench.datagram().server, first.server);
}

/// The only server takes longer than any one wait.
#[test]
fn a_server_slower_than_every_wait_is_heard() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    bench.pass(ms(6900));
    let asked = bench.datagrams();
    assert_eq!(asked.len(), 3);
    bench.answer(
        &asked[0],
        &with(&asked[0].message, [a("www.example.", 60, 1)]),
    );
    assert!(bench.taken(id).is_ok());
    bench.check_empty();
}

/// A late failure does not disturb the server that is asked now.
#[test]
fn a_late_failure_leaves_the_other_server_its_time() {
    let mut bench = Bench::new(&[ONE, TWO]);
    let id = bench.ask("www.example.");
    let first = bench.datagram();
    bench.pass(ms(1500));
    let second = bench.datagram();
    bench.answer(&first, &failure(&first.message, ResponseCode::ServFail));
    bench.expect_quiet();
    bench.pass(ms(499));
    bench.expect_quiet();
    bench.answer(&second, &with(&second.message, [a("www.example.", 60, 2)]));
    assert_eq!(bench.taken(id).map(|answer| lasts(&answer)), Ok([2].into()));
    bench.check_empty();
}

#[test]
fn a_lookup_ends_after_its_rounds_or_its_time() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    bench.pass(ms(6999));
    assert!(bench.machine.take(id).is_none());
    bench.pass(ms(1));
    assert_eq!(bench.taken(id).err(), Some(DnsError::TimedOut));
    assert_eq!(bench.datagrams().len(), 3);
    let mut bench = Bench::with(&[ONE], |config| config.timeout = secs(2));
    let id = bench.ask("www.example.");
    bench.pass(secs(2));
    assert_eq!(bench.taken(id).err(), Some(DnsError::TimedOut));
    bench.check_empty();
}

#[test]
fn a_server_that_was_silent_is_asked_last_until_it_has_rested() {
    let mut bench = Bench::with(&[ONE, TWO], |config| config.cache.entries = 0);
    let id = bench.ask("www.example.");
    assert_eq!(bench.datagram().server.to_string(), ONE);
    bench.pass(secs(1));
    let asked = bench.datagram();
    bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 1)]));
    assert!(bench.taken(id).is_ok());
    bench.ask("www.example.");
    assert_eq!(bench.datagram().server.to_string(), TWO, "the other rests");
    bench.pass(ms(1100));
    assert_eq!(
        bench.datagram().server.to_string(),
        ONE,
        "but is asked in turn"
    );
    bench.pass(secs(60));
    bench.datagrams();
    bench.ask("a.example.");
    assert_eq!(bench.datagram().server.to_string(), ONE, "both rested");
}

#[test]
fn an_icmp_error_moves_on_at_once() {
    let mut bench = Bench::new(&[ONE, TWO]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    bench.machine.on_datagram_failed(bench.now, asked.exchange);
    let asked = bench.datagram();
    assert_eq!(asked.server.to_string(), TWO);
    bench.machine.on_datagram_failed(bench.now, asked.exchange);
    assert_eq!(bench.taken(id).err(), Some(DnsError::Unreachable));
    bench.check_empty();
}

#[test]
fn a_failing_server_is_not_asked_twice_and_the_last_failure_is_told() {
    let mut bench = Bench::new(&[ONE, TWO]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    bench.answer(&asked, &failure(&asked.message, ResponseCode::Refused));
    let asked = bench.datagram();
    assert_eq!(asked.server.to_string(), TWO);
    bench.answer(&asked, &failure(&asked.message, ResponseCode::ServFail));
    let error = bench.taken(id).expect_err("both failed");
    let code = ResponseCode::Refused;
    assert_eq!(
        error,
        DnsError::Failed {
            code,
            extended: None
        }
    );
    assert_eq!(bench.count(Counter::ServerFailures), 2);
    bench.check_empty();
}

/// RFC 6891, 7: servers without EDNS answer FORMERR, some without a question;
/// 6.1.3: others answer BADVERS.
#[test]
fn rfc6891_7_a_server_without_edns_is_asked_without() {
    for code in [
        ResponseCode::FormErr,
        ResponseCode::NotImp,
        ResponseCode::BADVERS,
    ] {
        let mut bench = Bench::new(&[ONE]);
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        let mut refusal = failure(&asked.message, code);
        if code == ResponseCode::FormErr {
            refusal.queries.clear();
        }
        bench.answer(&asked, &refusal);
        let plain = bench.datagram();
        assert!(plain.message.edns.is_none());
        assert_ne!(plain.exchange, asked.exchange);
        bench.answer(&plain, &with(&plain.message, [a("www.example.", 60, 1)]));
        assert!(bench.taken(id).is_ok());
        bench.ask("a.example.");
        assert!(bench.datagram().message.edns.is_none(), "it is remembered");
        bench.pass(secs(1000));
        bench.datagrams();
        bench.ask("b.example.");
        assert!(bench.datagram().message.edns.is_some(), "but not for ever");
        let id = bench.ask("c.example.");
        let asked = bench.datagram();
        bench.answer(&asked, &refusal_of(&asked.message));
        let plain = bench.datagram();
        bench.answer(&plain, &refusal_of(&plain.message));
        let failed = matches!(bench.taken(id), Err(DnsError::Failed { .. }));
        assert!(failed, "without EDNS it means what it says");
    }
}

fn refusal_of(query: &hickory_proto::op::Message) -> hickory_proto::op::Message {
    failure(query, ResponseCode::FormErr)
}

/// Letters in another case: TCP tells whether the server loses them.
#[test]
fn a_server_that_loses_case_is_asked_over_tcp_and_believed() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let lowered = |query: &hickory_proto::op::Message, last| {
        let mut reply = with(query, [a("www.example.", 60, last)]);
        reply.queries[0].name = name("www.example.");
        reply
    };
    assert!(
        !asked.name().eq_case(&name("www.example.")),
        "mixed by this seed"
    );
    bench.answer(&asked, &lowered(&asked.message, 66));
    assert_eq!(bench.count(Counter::WrongCase), 1);
    assert!(bench.machine.take(id).is_none());
    let (stream, server) = bench.connection();
    assert_eq!(server, asked.server);
    bench.machine.on_connected(bench.now, stream);
    let query = bench.messages(stream).remove(0);
    bench.stream_data(stream, &[lowered(&query, 1)], 1000);
    assert_eq!(bench.taken(id).map(|answer| lasts(&answer)), Ok([1].into()));
    bench.ask("b.example.");
    assert!(
        bench.datagram().name().eq_case(&name("b.example.")),
        "it is known now"
    );
}

#[test]
fn a_server_that_loses_case_and_has_no_tcp_is_believed_without() {
    for refused in [true, false] {
        let mut bench = Bench::new(&[ONE]);
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        let mut reply = with(&asked.message, [a("www.example.", 60, 1)]);
        reply.queries[0].name = name("www.example.");
        bench.answer(&asked, &reply);
        let (stream, _) = bench.connection();
        if refused {
            bench.machine.on_stream_closed(bench.now, stream);
        } else {
            bench.pass(secs(4));
            let closed = Output::CloseStream(stream);
            let outputs = bench.outputs();
            assert!(outputs.contains(&closed), "{outputs:?}");
            bench.pass(secs(2));
        }
        let asked = bench.datagrams().pop().or_else(|| {
            bench.pass(secs(1));
            bench.datagrams().pop()
        });
        let Some(asked) = asked else {
            // The outputs above held it: its answer is what counts.
            continue;
        };
        assert!(asked.name().eq_case(&name("www.example.")));
        bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 1)]));
        assert!(bench.taken(id).is_ok());
    }
}

/// RFC 7766, 5: a truncated answer is asked for over TCP.
#[test]
fn rfc7766_5_a_truncated_answer_is_fetched_over_tcp() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mut cut = with(&asked.message, [a("www.example.", 60, 66)]);
    cut.metadata.truncation = true;
    bench.answer(&asked, &cut);
    assert!(
        bench.machine.take(id).is_none(),
        "what is there is not used"
    );
    let (stream, server) = bench.connection();
    assert_eq!(server, asked.server);
    bench.machine.on_connected(bench.now, stream);
    let query = bench.messages(stream).remove(0);
    let answers = (0..100).map(|last| a("www.example.", 60, last));
    bench.stream_data(stream, &[with(&query, answers)], 536);
    assert_eq!(bench.taken(id).expect("found").records().len(), 100);
    assert_eq!(bench.count(Counter::Truncated), 1);
    bench.pass(secs(10));
    assert_eq!(bench.outputs(), [Output::CloseStream(stream)]);
    bench.check_empty();
}

#[test]
fn a_referral_is_lame() {
    let mut bench = Bench::new(&[ONE, TWO]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mut referral = reply(&asked.message);
    referral.metadata.recursion_available = false;
    referral.add_authority(delegation("example.", "ns.example."));
    bench.answer(&asked, &referral);
    assert_eq!(bench.count(Counter::Lame), 1);
    let asked = bench.datagram();
    assert_eq!(asked.server.to_string(), TWO);
    bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 1)]));
    assert!(bench.taken(id).is_ok());
}

#[test]
fn equal_questions_are_asked_once() {
    let mut bench = Bench::new(&[ONE]);
    let first = bench.ask("www.example.");
    let asked = bench.datagram();
    let second = bench.ask("WWW.Example.");
    assert_eq!(first, second);
    bench.expect_quiet();
    assert_eq!(bench.count(Counter::Joined), 1);
    bench.machine.cancel(bench.now, first);
    bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 1)]));
    assert!(bench.taken(second).is_ok(), "the other one still waits");
    bench.check_empty();
}

#[test]
fn a_cancelled_query_leaves_nothing() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    bench.datagram();
    bench.machine.cancel(bench.now, id);
    bench.check_empty();
    assert_eq!(bench.taken(id).err(), Some(DnsError::Stopped));
}

#[test]
fn too_many_queries_are_refused() {
    let mut bench = Bench::with(&[ONE], |config| config.max_queries = 2);
    let ids = [bench.ask("a."), bench.ask("b.")];
    assert_eq!(bench.known("c.").err(), Some(DnsError::Busy));
    for id in ids {
        bench.machine.cancel(bench.now, id);
    }
    bench.check_empty();
}

#[test]
fn without_servers_nothing_is_known_but_names_of_its_own() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.known("www.example.").err(), Some(DnsError::NoServer));
    let answer = bench.known("localhost.").expect("known");
    assert_eq!(
        (lasts(&answer), answer.source()),
        ([1].into(), Source::Local)
    );
    bench.check_empty();
}

#[test]
fn other_servers_take_over_what_is_under_way() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    bench.datagram();
    let servers = [TWO.parse().expect("a nameserver")];
    bench.machine.set_servers(bench.now, servers.into());
    let asked = bench.datagram();
    assert_eq!(asked.server.to_string(), TWO);
    bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 1)]));
    assert!(bench.taken(id).is_ok());
    bench.check_empty();
}

/// RFC 6840, 5.8: the AD bit counts only over a way that is trusted.
#[test]
fn rfc6840_5_8_the_ad_bit_counts_when_trusted() {
    for trust_ad in [false, true] {
        let mut bench = Bench::with(&[ONE], |config| config.trust_ad = trust_ad);
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        let mut reply = with(&asked.message, [a("www.example.", 60, 1)]);
        reply.metadata.authentic_data = true;
        bench.answer(&asked, &reply);
        assert_eq!(
            bench.taken(id).map(|answer| answer.authentic()),
            Ok(trust_ad)
        );
    }
}

/// RFC 8914: why a resolver failed is told.
#[test]
fn rfc8914_extended_errors_are_told() {
    use hickory_proto::rr::rdata::opt::EdnsOption;
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mut reply = failure(&asked.message, ResponseCode::ServFail);
    let mut edns = hickory_proto::op::Edns::new();
    edns.options_mut()
        .insert(EdnsOption::Unknown(15, [0, 6, b'x'].into()));
    reply.set_edns(edns);
    bench.answer(&asked, &reply);
    let error = bench.taken(id).expect_err("failed");
    let code = ResponseCode::ServFail;
    assert_eq!(
        error,
        DnsError::Failed {
            code,
            extended: Some(6)
        }
    );
    assert!(error.to_string().ends_with("(extended error 6)"));
}
