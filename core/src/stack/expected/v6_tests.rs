//! Prediction gives what the full path gives: the same segments, once whole
//! and once in two pieces, which prediction does not take.

use core::net::SocketAddr;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use pollwire_rings::{RxBurst, RxMeta};
use proptest::prelude::*;

use super::{Taken, is_ahead};
use crate::iface::v6_tests::{Host, Packet, ip};
use crate::tcp::header::{V6_PLAIN, V6_TIMED};
use crate::{Counter, FlowId, TcpOptions};

const PEER_PORT: u16 = 8080;
const PEER_ISS: u32 = 1000;

/// Our host, connected to neighbour 9.
struct Connection {
    host: Host,
    flow: FlowId,
    port: u16,
    iss: u32,
    timed: bool,
    in_pieces: bool,
    /// Version, class and flow label of the peer's packets.
    first: u32,
}

impl Connection {
    fn open(timed: bool, in_pieces: bool) -> Self {
        let mut host = Host::new();
        host.meet(9);
        let peer = SocketAddr::from((ip(9), PEER_PORT));
        let flow = host.stack.tcp_connect(peer, TcpOptions::DEFAULT).unwrap();
        let syn = &host.sent()[0];
        let mut connection = Self {
            flow,
            port: u16::from_be_bytes([syn.body[0], syn.body[1]]),
            iss: u32::from_be_bytes(syn.body[4..8].try_into().unwrap()),
            host,
            timed,
            in_pieces,
            first: 0x6000_0000,
        };
        connection.segment(0, 1, 0x12, 60_000, 5000, &[]);
        connection.host.stack.tcp_try_connected(flow).unwrap();
        connection.host.sent();
        connection
    }

    /// The bytes of a segment of the peer's, numbers relative.
    fn bytes(
        &self,
        (seq, ack): (u32, u32),
        flags: u8,
        window: u16,
        ts: u32,
        data: &[u8],
    ) -> Vec<u8> {
        let mut options = Vec::new();
        if flags & 2 != 0 {
            options.extend([2, 4, 0x03, 0xe8]);
        }
        if self.timed {
            options.extend([1, 1, 8, 10]);
            options.extend(ts.to_be_bytes());
            options.extend(0_u32.to_be_bytes());
        }
        let mut body = PEER_PORT.to_be_bytes().to_vec();
        body.extend(self.port.to_be_bytes());
        body.extend(PEER_ISS.wrapping_add(seq).to_be_bytes());
        body.extend(self.iss.wrapping_add(ack).to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        body.extend([words << 4, flags]);
        body.extend(window.to_be_bytes());
        body.extend([0; 4]);
        body.extend(options);
        body.extend(data);
        let mut packet = Packet::new(6, &body);
        packet.first = self.first;
        let check = packet.pseudo(body.len()).add_bytes(&body).finish();
        packet.body[16..18].copy_from_slice(&check.to_be_bytes());
        packet.bytes()
    }

    /// A segment of the peer's arrives.
    fn segment(&mut self, seq: u32, ack: u32, flags: u8, window: u16, ts: u32, data: &[u8]) {
        let bytes = self.bytes((seq, ack), flags, window, ts, data);
        let headers = bytes.len() - data.len();
        let cut = if self.in_pieces && !data.is_empty() {
            headers
        } else {
            bytes.len()
        };
        let mut burst = RxBurst::new();
        let parts = bytes.split_at(cut);
        for part in [parts.0, parts.1] {
            if part.is_empty() {
                continue;
            }
            let mut frame = self.host.stack.pool().alloc().unwrap();
            // The payload lies where it lies in one piece: so as much can be
            // copied behind it.
            frame.reset(frame.headroom() + (part.as_ptr().addr() - bytes.as_ptr().addr()));
            frame.extend_from_slice(part);
            let meta = RxMeta {
                continues: cut < bytes.len()
                    && part.len() == cut
                    && part.as_ptr() == bytes.as_ptr(),
                ..RxMeta::default()
            };
            burst.push(frame, meta).unwrap();
        }
        self.host.stack.input(self.host.now, &mut burst);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Segment {
        seq_off: i32,
        ack_back: u32,
        len: usize,
        window: u16,
        push: bool,
    },
    Write(usize),
    Read,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let segment = (
        prop_oneof![8 => Just(0), 1 => -3000..3000],
        prop_oneof![6 => Just(0_u32), 1 => 0_u32..4000],
        prop_oneof![2 => Just(0_usize), 3 => 1_usize..1400],
        prop_oneof![6 => Just(60_000_u16), 1 => Just(0), 1 => 0_u16..3000],
        any::<bool>(),
    );
    prop_oneof![
        6 => segment.prop_map(|(seq_off, ack_back, len, window, push)| Step::Segment {
            seq_off, ack_back, len, window, push,
        }),
        3 => (1_usize..5000).prop_map(Step::Write),
        2 => Just(Step::Read),
        1 => (1_u64..300).prop_map(Step::Wait),
    ]
}

/// Runs the steps; returns all that was sent and read.
fn play(steps: &[Step], timed: bool, in_pieces: bool) -> Vec<String> {
    let mut connection = Connection::open(timed, in_pieces);
    let (flow, mut next, mut ours, mut clock) = (connection.flow, 1_u32, 1_u32, 5000_u32);
    let mut log = Vec::new();
    for step in steps {
        match *step {
            Step::Segment {
                seq_off,
                ack_back,
                len,
                window,
                push,
            } => {
                clock += 1;
                let seq = next.wrapping_add_signed(seq_off);
                let ack = ours.saturating_sub(ack_back).max(1);
                let flags = if push { 0x18 } else { 0x10 };
                let data = vec![seq_off as u8; len];
                // Labels come and go (RFC 6437).
                connection.first = 0x6000_0000 + clock / 3 % 4 * 0x1_2345;
                connection.segment(seq, ack, flags, window, clock, &data);
            }
            Step::Write(len) => {
                let written = connection.host.stack.tcp_try_write(flow, &vec![7; len]);
                log.push(format!("{written:?}"));
            }
            Step::Read => {
                let mut buffer = [0; 2000];
                let read = connection.host.stack.tcp_try_read(flow, &mut buffer);
                let count = *read.as_ref().unwrap_or(&0);
                log.push(format!("{read:?} {:?}", &buffer[..count]));
            }
            Step::Wait(millis) => connection.host.advance(millis),
        }
        for packet in connection.host.sent() {
            let sum = packet.pseudo(packet.body.len()).add_bytes(&packet.body);
            assert!(packet.next != 6 || sum.is_valid(), "checksum");
            if packet.next != 6 {
                continue;
            }
            let word = |at: usize| u32::from_be_bytes(packet.body[at..at + 4].try_into().unwrap());
            let len = packet.body.len() - usize::from(packet.body[12] >> 4) * 4;
            let end = word(4).wrapping_sub(connection.iss) + u32::try_from(len).unwrap();
            ours = ours.max(end);
            next = word(8).wrapping_sub(PEER_ISS);
            log.push(format!("{:?}", packet.body));
        }
    }
    connection.host.stack.tcp_abort(flow);
    connection.host.advance(4000);
    connection.host.finish();
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prediction_changes_nothing(
        steps in prop::collection::vec(any_step(), 1..60),
        timed in any::<bool>(),
    ) {
        let whole = play(&steps, timed, false);
        let pieces = play(&steps, timed, true);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn the_flows_segments_are_taken_and_others_are_not() {
    for timed in [false, true] {
        let mut connection = Connection::open(timed, false);
        let before = connection.host.count(Counter::Ipv6In);
        let mut seq = 1;
        for round in 0..10_u32 {
            connection.segment(seq, 1, 0x18, 60_000, 5001 + round, &[1; 100]);
            seq += 100;
        }
        assert_eq!(connection.host.count(Counter::Ipv6In), before + 10);
        let mut buffer = [0; 2000];
        let flow = connection.flow;
        let read = connection.host.stack.tcp_try_read(flow, &mut buffer);
        assert_eq!(read, Ok(1000));
        // Congestion is not overlooked, nor another port or a broken sum.
        connection.port ^= 1;
        connection.segment(seq, 1, 0x18, 60_000, 6000, &[1; 100]);
        connection.port ^= 1;
        let read = connection.host.stack.tcp_try_read(flow, &mut buffer);
        assert!(read.is_err(), "{read:?}");
        connection.host.stack.tcp_abort(flow);
        connection.host.advance(4000);
        connection.host.finish();
    }
}

/// Labels do not tell flows apart, and one that changes costs no more than one
/// closer look (RFC 6437, 3).
#[test]
fn rfc6437_3_whatever_their_label_segments_are_expected() {
    for timed in [true, false] {
        let mut connection = Connection::open(timed, false);
        let labels = [0, 0, 1, 1, 0xf_ffff, 0xa_bcde, 0xa_bcde, 0];
        let mut burst = RxBurst::new();
        for (at, label) in (0_u32..).zip(labels) {
            connection.first = 0x6000_0000 | label;
            let bytes = connection.bytes((1 + at * 100, 1), 0x10, 60_000, 5001, &[1; 100]);
            let mut frame = connection.host.stack.pool().alloc().unwrap();
            frame.extend_from_slice(&bytes);
            let tcb = connection
                .host
                .stack
                .tcp
                .tcb(connection.host.stack.tcp.last);
            let tcb = tcb.unwrap();
            let head_is_known = if timed {
                is_ahead(frame.first_chunk::<V6_TIMED>().unwrap(), &tcb)
            } else {
                is_ahead(frame.first_chunk::<V6_PLAIN>().unwrap(), &tcb)
            };
            assert!(head_is_known, "{label:x}");
            // The first of them is due now, so it is expected whole.
            let is_due = if timed {
                Taken::<V6_TIMED>::parse(&frame, RxMeta::default(), &tcb).is_some()
            } else {
                Taken::<V6_PLAIN>::parse(&frame, RxMeta::default(), &tcb).is_some()
            };
            assert_eq!(is_due, at == 0);
            burst.push(frame, RxMeta::default()).unwrap();
        }
        // All in one run: as many as came are there to be read.
        let now = connection.host.now;
        connection.host.stack.input(now, &mut burst);
        let mut buffer = [0; 2000];
        let flow = connection.flow;
        let read = connection.host.stack.tcp_try_read(flow, &mut buffer);
        assert_eq!(read, Ok(800));
        assert_eq!(connection.host.count(Counter::TcpOutOfOrder), 0);
        connection.host.stack.tcp_abort(flow);
        connection.host.advance(4000);
        connection.host.finish();
    }
}
