//! Answers that somebody made to hurt.

use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::bench::*;
use crate::{Counter, DnsError};

#[test]
fn aliases_in_a_circle_end() {
    let mut bench = Bench::new(&[ONE]);
    for circle in [
        [
            alias("www.example.", 60, "www.example."),
            alias("b.", 60, "c."),
        ],
        [
            alias("www.example.", 60, "B.example."),
            alias("b.example.", 60, "WWW.example."),
        ],
        [
            alias("www.example.", 60, "b.example."),
            alias("b.example.", 60, "b.example."),
        ],
    ] {
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        bench.answer(&asked, &with(&asked.message, circle));
        assert_eq!(bench.taken(id).err(), Some(DnsError::AliasLoop));
        bench.check_empty();
        bench.machine.clear_cache();
    }
}

#[test]
fn aliases_in_a_circle_over_several_answers_end() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("a.example.");
    let asked = bench.datagram();
    bench.answer(
        &asked,
        &with(&asked.message, [alias("a.example.", 60, "b.example.")]),
    );
    let asked = bench.datagram();
    bench.answer(
        &asked,
        &with(&asked.message, [alias("b.example.", 60, "A.example.")]),
    );
    assert_eq!(bench.taken(id).err(), Some(DnsError::AliasLoop));
    bench.check_empty();
}

#[test]
fn aliases_without_end_end() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("n0.example.");
    let mut questions = 0;
    for number in 0.. {
        let Some(asked) = bench.datagrams().pop() else {
            break;
        };
        questions += 1;
        let target = format!("n{}.example.", number + 1);
        let here = asked.name().to_ascii();
        bench.answer(&asked, &with(&asked.message, [alias(&here, 60, &target)]));
    }
    assert_eq!(questions, 13);
    assert_eq!(bench.taken(id).err(), Some(DnsError::AliasLoop));
    let id = bench.ask("m0.example.");
    let asked = bench.datagram();
    let chain = (0..100).map(|number| {
        alias(
            &format!("m{number}.example."),
            60,
            &format!("m{}.example.", number + 1),
        )
    });
    bench.answer(&asked, &with(&asked.message, chain));
    assert_eq!(bench.taken(id).err(), Some(DnsError::AliasLoop));
    bench.check_empty();
}

#[test]
fn too_many_records_are_refused_before_they_are_read() {
    let mut bench = Bench::new(&[ONE]);
    let id = bench.ask("www.example.");
    let asked = bench.datagram();
    let mut reply = bytes(&with(&asked.message, [a("www.example.", 60, 1)])).to_vec();
    reply[6..12].fill(0xff);
    bench
        .machine
        .on_datagram(bench.now, asked.exchange, asked.server, &reply);
    assert_eq!(bench.count(Counter::TooManyRecords), 1);
    assert_eq!(bench.taken(id).err(), Some(DnsError::BadAnswer));
    bench.check_empty();
}

/// RFC 1035, 4.1.4: a pointer leads back; those that do not are refused.
#[test]
fn rfc1035_4_1_4_compression_that_leads_nowhere_is_refused() {
    for pointer in [
        [0xc0, 0xff],
        [0xff, 0xff],
        [0xc0, 12],
        [0x80, 0],
        [0x40, 0],
        [63, 0],
    ] {
        let mut bench = Bench::new(&[ONE]);
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        let mut reply = bytes(&reply(&asked.message)).to_vec();
        // The question's own name, replaced.
        let at = 12;
        if pointer == [0xc0, 12] {
            reply[at..at + 2].copy_from_slice(&pointer);
        } else {
            reply.truncate(at);
            reply.extend_from_slice(&pointer);
        }
        bench
            .machine
            .on_datagram(bench.now, asked.exchange, asked.server, &reply);
        assert_eq!(bench.count(Counter::Malformed), 1, "{pointer:?}");
        assert_eq!(bench.taken(id).err(), Some(DnsError::BadAnswer));
        bench.check_empty();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes, nothing panics, and the query ends by its deadline.
    #[test]
    fn any_bytes_after_the_right_id_end_well(tail in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<u16>()) {
        let mut bench = Bench::new(&[ONE]);
        let id = bench.ask("www.example.");
        let asked = bench.datagram();
        let mut bytes: Vec<u8> = asked.message.metadata.id.to_be_bytes().into();
        bytes.extend([0x80 | (flip >> 8) as u8 & 7, flip as u8]);
        bytes.extend(&tail);
        bench.machine.on_datagram(bench.now, asked.exchange, asked.server, &bytes);
        bench.pass(secs(11));
        let outcome = bench.machine.take(id);
        prop_assert!(outcome.is_some());
        bench.pass(secs(11));
        bench.check_empty();
    }

    /// The same for good answers with bytes changed.
    #[test]
    fn any_damage_to_a_good_answer_ends_well(at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), tcp in any::<bool>()) {
        let server = if tcp { "tcp:192.0.2.1" } else { ONE };
        let mut bench = Bench::new(&[server]);
        let id = bench.ask("www.example.");
        let stream = tcp.then(|| {
            let (stream, _) = bench.connection();
            bench.machine.on_connected(bench.now, stream);
            stream
        });
        let (query, asked) = match stream {
            Some(stream) => (bench.messages(stream).remove(0), None),
            None => {
                let asked = bench.datagram();
                (asked.message.clone(), Some(asked))
            }
        };
        let records = [alias("www.example.", 60, "b.example."), a("b.example.", 60, 1), a("b.example.", 60, 2)];
        let mut bytes = bytes(&with(&query, records)).to_vec();
        if tcp {
            let len = (bytes.len() as u16).to_be_bytes();
            bytes.splice(0..0, len);
        }
        for (index, value) in at {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        match (stream, asked) {
            (Some(stream), _) => bench.machine.on_stream_data(bench.now, stream, &bytes),
            (None, Some(asked)) => bench.machine.on_datagram(bench.now, asked.exchange, asked.server, &bytes),
            _ => {}
        }
        bench.pass(secs(11));
        prop_assert!(bench.machine.take(id).is_some());
        bench.pass(secs(11));
        bench.check_empty();
    }
}
