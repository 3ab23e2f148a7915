//! What is kept of answers, and for how long (RFC 2308, 8767, 9520).

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::bench::*;
use crate::{Counter, DnsError, Source};

fn answered(
    bench: &mut Bench,
    text: &str,
    reply: impl FnOnce(&Message) -> Message,
) -> Result<crate::Answer, DnsError> {
    let id = bench.ask(text);
    let asked = bench.datagram();
    bench.answer(&asked, &reply(&asked.message));
    bench.taken(id)
}

#[test]
fn an_answer_is_kept_for_its_time_to_live() {
    let mut bench = Bench::new(&[ONE]);
    let reply = |query: &Message| with(query, [a("www.example.", 60, 1), a("www.example.", 90, 2)]);
    answered(&mut bench, "www.example.", reply).expect("found");
    bench.pass(secs(59));
    let answer = bench.known("WWW.example.").expect("kept");
    assert_eq!((answer.source(), answer.ttl()), (Source::Cache, secs(1)));
    assert_eq!(lasts(&answer), [1, 2]);
    bench.pass(secs(1));
    bench.ask("www.example.");
    bench.datagram();
    assert_eq!(bench.count(Counter::CacheHits), 1);
}

/// RFC 2181, 8: a time to live with the highest bit set is zero; RFC 1035,
/// 3.2.1: zero is not kept. Long ones are cut.
#[test]
fn rfc2181_8_times_to_live_are_kept_within_bounds() {
    let mut bench = Bench::new(&[ONE]);
    for ttl in [0, 0x8000_0000, u32::MAX] {
        answered(&mut bench, "www.example.", |query| {
            with(query, [a("www.example.", ttl, 1)])
        })
        .expect("found");
    }
    assert_eq!(bench.machine.cached().0, 0);
    let reply = |query: &Message| with(query, [a("www.example.", i32::MAX as u32, 1)]);
    let answer = answered(&mut bench, "www.example.", reply).expect("found");
    assert_eq!(answer.ttl(), secs(86_400));
    let mut bench = Bench::with(&[ONE], |config| config.cache.min_ttl = secs(5));
    let reply = |query: &Message| with(query, [a("www.example.", 0, 1)]);
    assert_eq!(
        answered(&mut bench, "www.example.", reply).map(|answer| answer.ttl()),
        Ok(secs(5))
    );
    assert!(bench.known("www.example.").is_ok());
}

/// RFC 2308, 5: NXDOMAIN holds for the name whatever the type; 3: for the
/// smaller of the SOA's TTL and its MINIMUM.
#[test]
fn rfc2308_5_no_such_name_holds_for_every_type() {
    for (ttl, minimum) in [(100, 30), (30, 100)] {
        let mut bench = Bench::new(&[ONE]);
        let reply =
            |query: &Message| nothing(query, ResponseCode::NXDomain, "example.", ttl, minimum);
        let error = answered(&mut bench, "www.example.", reply).expect_err("nothing");
        assert_eq!(error, DnsError::NoSuchName);
        bench.pass(secs(29));
        assert_eq!(
            bench.known("www.example.").err(),
            Some(DnsError::NoSuchName)
        );
        let id = bench
            .machine
            .start(bench.now, &name("www.example."), RecordType::MX);
        assert_eq!(bench.taken(id).err(), Some(DnsError::NoSuchName));
        bench.pass(secs(1));
        bench.ask("www.example.");
        bench.datagram();
    }
}

/// RFC 2308, 5: NODATA holds for the name and the type.
#[test]
fn rfc2308_5_no_records_hold_for_one_type() {
    let mut bench = Bench::new(&[ONE]);
    let reply = |query: &Message| nothing(query, ResponseCode::NoError, "example.", 60, 60);
    let error = answered(&mut bench, "www.example.", reply).expect_err("nothing");
    assert_eq!(error, DnsError::NoRecords);
    assert_eq!(bench.known("www.example.").err(), Some(DnsError::NoRecords));
    bench
        .machine
        .start(bench.now, &name("www.example."), RecordType::MX);
    bench.datagram();
}

/// RFC 2308, 5: "Negative responses without SOA records SHOULD NOT be cached";
/// neither are those with the SOA of somebody else's zone.
#[test]
fn rfc2308_5_without_a_soa_record_nothing_is_not_kept() {
    let mut bench = Bench::new(&[ONE]);
    let codes = [ResponseCode::NXDomain, ResponseCode::NoError];
    for code in codes {
        answered(&mut bench, "www.example.", |query| failure(query, code)).expect_err("nothing");
        let foreign = |query: &Message| nothing(query, code, "example.org.", 60, 60);
        answered(&mut bench, "www.example.", foreign).expect_err("nothing");
    }
    assert_eq!(bench.machine.cached().0, 0);
}

/// RFC 2308, 5: negative answers are kept for hours at most.
#[test]
fn rfc2308_5_negative_answers_are_kept_for_an_hour_at_most() {
    let mut bench = Bench::new(&[ONE]);
    let reply = |query: &Message| {
        nothing(
            query,
            ResponseCode::NXDomain,
            "example.",
            1_000_000,
            1_000_000,
        )
    };
    answered(&mut bench, "www.example.", reply).expect_err("nothing");
    bench.pass(secs(3599));
    assert!(bench.known("www.example.").is_err());
    bench.pass(secs(1));
    bench.ask("www.example.");
    bench.datagram();
}

/// RFC 9520, 3.2: a failure is kept for a moment.
#[test]
fn rfc9520_3_2_failures_are_kept_for_seconds() {
    let mut bench = Bench::new(&[ONE]);
    let reply = |query: &Message| failure(query, ResponseCode::ServFail);
    answered(&mut bench, "www.example.", reply).expect_err("failed");
    bench.pass(ms(4999));
    assert!(matches!(
        bench.known("www.example."),
        Err(DnsError::Failed { .. })
    ));
    bench.pass(ms(1));
    bench.ask("www.example.");
    bench.datagram();
}

/// RFC 8767, 5: stale records serve when no server answered within 1.8 seconds.
#[test]
fn rfc8767_5_stale_records_serve_after_1_8_seconds_and_are_refreshed() {
    let mut bench = Bench::with(&[ONE], |config| {
        config.cache.serve_stale = Some(secs(86_400))
    });
    let reply = |query: &Message| with(query, [a("www.example.", 60, 1)]);
    answered(&mut bench, "www.example.", reply).expect("found");
    bench.pass(secs(3600));
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    bench.pass(ms(1799));
    assert!(bench.machine.take(id).is_none());
    bench.pass(ms(1));
    let answer = bench.taken(id).expect("stale");
    assert_eq!((answer.source(), answer.ttl()), (Source::Stale, secs(30)));
    let again = bench.known("www.example.").expect("stale");
    assert_eq!(again.source(), Source::Stale, "at once: the server is down");
    // The first query goes on, and refreshes what is kept.
    bench.answer(&asked, &with(&asked.message, [a("www.example.", 60, 2)]));
    let fresh = bench.known("www.example.").expect("kept");
    assert_eq!((fresh.source(), lasts(&fresh)), (Source::Cache, [2].into()));
    bench.check_empty();
}

#[test]
fn stale_records_serve_at_once_when_all_servers_fail_but_not_for_ever() {
    let mut bench = Bench::with(&[ONE], |config| config.cache.serve_stale = Some(secs(1000)));
    let reply = |query: &Message| with(query, [a("www.example.", 60, 1)]);
    answered(&mut bench, "www.example.", reply).expect("found");
    bench.pass(secs(500));
    let reply = |query: &Message| failure(query, ResponseCode::ServFail);
    let answer = answered(&mut bench, "www.example.", reply).expect("stale");
    assert_eq!(answer.source(), Source::Stale);
    bench.pass(secs(29));
    assert!(bench.known("www.example.").is_ok(), "without asking");
    bench.pass(secs(1));
    let reply = |query: &Message| nothing(query, ResponseCode::NXDomain, "example.", 60, 60);
    answered(&mut bench, "www.example.", reply).expect_err("an answer beats stale records");
    bench.pass(secs(600));
    let reply = |query: &Message| failure(query, ResponseCode::ServFail);
    answered(&mut bench, "www.example.", reply).expect_err("too old");
}

#[test]
fn aliases_are_followed_within_one_answer_and_shorten_its_life() {
    let mut bench = Bench::new(&[ONE]);
    let reply = |query: &Message| {
        let records = [
            a("c.example.org.", 60, 3),
            alias("www.example.", 40, "b.example."),
            a("elsewhere.example.", 60, 66),
            alias("B.Example.", 50, "c.example.org."),
        ];
        with(query, records)
    };
    let answer = answered(&mut bench, "www.example.", reply).expect("found");
    assert_eq!(lasts(&answer), [3], "nobody asked for the other");
    assert_eq!(answer.ttl(), secs(40));
    assert_eq!(
        answer.aliases(),
        [name("b.example."), name("c.example.org.")]
    );
    assert_eq!(answer.canonical_name(), &name("c.example.org."));
    let kept = bench.known("www.example.").expect("kept");
    assert_eq!(lasts(&kept), [3]);
}

#[test]
fn aliases_without_an_end_are_chased() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    bench.answer(
        &asked,
        &with(
            &asked.message,
            [alias("www.example.", 40, "b.example.org.")],
        ),
    );
    let asked = bench.datagram();
    assert_eq!(asked.name(), &name("b.example.org."));
    bench.answer(&asked, &with(&asked.message, [a("b.example.org.", 60, 1)]));
    let answer = bench.taken(id).expect("found");
    assert_eq!(
        (answer.name(), answer.canonical_name()),
        (&name("www.example."), &name("b.example.org."))
    );
    assert_eq!(answer.ttl(), secs(40));
    bench.check_empty();
}

/// RFC 6604, 2: the code is that of the last name; RFC 2308, 2.2: so is the SOA.
#[test]
fn rfc6604_2_an_alias_to_nothing_is_nothing() {
    for (code, error) in [
        (ResponseCode::NXDomain, DnsError::NoSuchName),
        (ResponseCode::NoError, DnsError::NoRecords),
    ] {
        let mut bench = Bench::new(&[ONE]);
        let reply = |query: &Message| {
            let mut reply = nothing(query, code, "example.org.", 60, 60);
            reply.add_answer(alias("www.example.", 40, "b.example.org."));
            reply
        };
        assert_eq!(
            answered(&mut bench, "www.example.", reply).err(),
            Some(error)
        );
        bench.pass(secs(39));
        assert_eq!(bench.known("www.example.").err(), Some(error));
        bench.pass(secs(1));
        bench.ask("www.example.");
        bench.datagram();
    }
}

#[test]
fn an_alias_is_an_answer_to_those_who_ask_for_it() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench
        .machine
        .start(bench.now, &name("www.example."), RecordType::CNAME);
    let asked = bench.datagram();
    bench.answer(
        &asked,
        &with(&asked.message, [alias("www.example.", 40, "b.example.")]),
    );
    let answer = bench.taken(id).expect("found");
    assert_eq!(answer.records().len(), 1);
    assert!(answer.aliases().is_empty());
}
