//! The event log of a connection through a lossy network: what it tells is what
//! happened, and switching it on changes nothing.

mod common;
#[path = "common/random.rs"]
mod random;

use std::fmt::Write;
use std::time::Duration;

use common::Sim;
use pollwire::rings::memory::Impairments;
use pollwire::{Error, Instant, TcpEvent, TcpEventKind, TcpOptions};
use random::Random;

const BYTES: usize = 600_000;

fn lossy() -> Impairments {
    Impairments {
        delay: Duration::from_millis(20),
        loss: 0.01,
        rate: Some(20_000_000),
        ..Impairments::NONE
    }
}

/// Sends [`BYTES`] from a to b; returns a's log, how many segments a sent again,
/// and when all had arrived.
fn transfer(log: bool) -> (Vec<TcpEvent>, u32, Instant) {
    let mut sim = Sim::new(7, lossy());
    let (from, to) = sim.connect(80, TcpOptions::DEFAULT);
    if log {
        sim.a.stack.tcp_log(from, 100_000).unwrap();
    }
    let mut random = Random::new(3);
    let data: Vec<u8> = (0..BYTES).map(|_| random.next_u64() as u8).collect();
    let (mut written, mut unread) = (0, BYTES);
    let limit = sim.now + Duration::from_secs(100);
    let done = sim.run(
        limit,
        |a, b| {
            while written < BYTES {
                match a.tcp_try_write(from, &data[written..]) {
                    Ok(count) => written += count,
                    Err(_) => break,
                }
            }
            loop {
                match b.tcp_try_recv(to) {
                    Ok(Some(frame)) => {
                        let at = BYTES - unread;
                        assert_eq!(frame[..], data[at..at + frame.len()]);
                        unread -= frame.len();
                    }
                    Ok(None) | Err(Error::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        },
        |a, _| a.tcp_info(from).unwrap().bytes_acked as usize == BYTES,
    );
    assert!(done && unread == 0);
    let info = sim.a.stack.tcp_info(from).unwrap();
    let (events, lost) = sim.a.stack.tcp_events(from);
    assert_eq!(lost, 0);
    let events: Vec<TcpEvent> = events.collect();
    let end = sim.now;
    sim.a.stack.tcp_close(from);
    assert_eq!(
        sim.a.stack.tcp_events(from).0.count(),
        0,
        "it ends with the handle"
    );
    sim.b.stack.tcp_close(to);
    sim.finish();
    (events, info.retransmits, end)
}

#[test]
fn the_log_tells_what_happened_and_changes_nothing() {
    let (events, retransmits, end) = transfer(true);
    let (none, same_retransmits, same_end) = transfer(false);
    assert!(none.is_empty());
    assert_eq!((retransmits, end), (same_retransmits, same_end));
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].micros <= pair[1].micros)
    );

    let of = |kind: TcpEventKind| events.iter().filter(move |event| event.kind == kind);
    let sent: u32 = of(TcpEventKind::Sent)
        .map(|event| u32::from(event.len))
        .sum();
    assert_eq!(
        sent as usize, BYTES,
        "each byte is sent once for the first time"
    );
    let again = of(TcpEventKind::SentAgain).count();
    assert!(retransmits > 0 && again == retransmits as usize);
    let last = of(TcpEventKind::Acknowledged).next_back();
    let last = last.expect("acknowledged");
    assert_eq!(last.seq as usize, BYTES);
    assert!(
        of(TcpEventKind::Acknowledged).any(|event| event.len > 0),
        "SACK"
    );
    assert!(of(TcpEventKind::Window).count() > 0);

    let mut text = String::from("# micros kind flags len seq value\n");
    for event in &events {
        writeln!(text, "{event}").unwrap();
    }
    let path = format!("{}/one per cent lost.log", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, text).unwrap();
    println!(
        "{} events; draw them by: pollwire-perf plot {path}",
        events.len()
    );
}

#[test]
fn it_keeps_the_last_events_and_can_be_switched_off() {
    let mut sim = Sim::new(8, Impairments::NONE);
    let (from, to) = sim.connect(80, TcpOptions::DEFAULT.nodelay());
    sim.a.stack.tcp_log(from, 4).unwrap();
    for _ in 0..10 {
        sim.a.stack.tcp_try_write(from, b"x").unwrap();
        sim.turn(&mut |_, _| {});
        sim.turn(&mut |_, _| {});
    }
    let (events, lost) = sim.a.stack.tcp_events(from);
    assert_eq!((events.count(), lost > 0), (4, true));
    sim.a.stack.tcp_log(from, 0).unwrap();
    sim.a.stack.tcp_try_write(from, b"x").unwrap();
    sim.turn(&mut |_, _| {});
    assert_eq!(sim.a.stack.tcp_events(from).0.count(), 0);
    sim.a.stack.tcp_abort(from);
    sim.b.stack.tcp_abort(to);
    sim.finish();
}
