//! The short way of a lone segment that its flow does not expect gives what the
//! layers give one by one: the same segments, once behind one of the same flow,
//! once with no flow remembered, and the same counters in the end.

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use proptest::prelude::*;

use super::script::{PEER_ISS, Script, seg};
use crate::wire::tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
use crate::{Counter, DropReason, Shutdown, TcpOptions, TcpState};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug)]
enum Harm {
    None,
    /// Its segment's checksum.
    Checksum,
    /// Its IP header's checksum.
    IpChecksum,
    /// Its data offset, which is this.
    Offset(u8),
    /// Its total length, which is off by so much, the checksum made good.
    Length(i16),
    /// So many bytes of its end did not come.
    Cut(usize),
    /// Nothing: it is padded, as Ethernet pads what is short.
    Padded(usize),
    /// Its port is another.
    Port,
    /// Its Ethernet address is another.
    Mac,
    /// It is a fragment.
    Fragment,
}

#[derive(Clone, Debug)]
enum Step {
    /// A segment of the peer's: how far off the expected numbers, and what it
    /// carries.
    Segment {
        seq_off: i32,
        ack_off: i32,
        flags: u8,
        len: usize,
        timed: bool,
        harm: Harm,
    },
    Write(usize),
    Read,
    Wait(u64),
    Shut,
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        20 => Just(Harm::None),
        1 => Just(Harm::Checksum),
        1 => Just(Harm::IpChecksum),
        1 => (0_u8..16).prop_map(Harm::Offset),
        1 => (-60_i16..60).prop_map(Harm::Length),
        1 => (1_usize..80).prop_map(Harm::Cut),
        3 => (1_usize..20).prop_map(Harm::Padded),
        1 => Just(Harm::Port),
        1 => Just(Harm::Mac),
        1 => Just(Harm::Fragment),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        6 => Just(ACK),
        4 => Just(ACK | PSH),
        3 => Just(ACK | FIN),
        1 => Just(FIN),
        1 => Just(RST),
        1 => Just(RST | ACK),
        1 => Just(SYN),
        1 => Just(SYN | ACK),
        1 => Just(ACK | URG),
        1 => Just(ACK | ECE | CWR),
        1 => Just(0_u8),
        1 => any::<u8>(),
    ];
    let segment = (
        prop_oneof![6 => Just(0), 1 => -3000..3000, 1 => any::<i32>()],
        prop_oneof![6 => Just(0), 1 => -3000..3000, 1 => any::<i32>()],
        flags,
        prop_oneof![3 => Just(0_usize), 2 => 1_usize..1400],
        prop_oneof![8 => Just(true), 1 => Just(false)],
        any_harm(),
    );
    prop_oneof![
        12 => segment.prop_map(|(seq_off, ack_off, flags, len, timed, harm)| Step::Segment {
            seq_off, ack_off, flags, len, timed, harm,
        }),
        3 => (1_usize..5000).prop_map(Step::Write),
        2 => Just(Step::Read),
        2 => (1_u64..2000).prop_map(Step::Wait),
        1 => Just(Step::Shut),
    ]
}

fn seal_ip(bytes: &mut [u8]) {
    bytes[24..26].fill(0);
    let check = Sum::of(&bytes[14..34]).finish();
    bytes[24..26].copy_from_slice(&check.to_be_bytes());
}

impl Harm {
    fn befall(self, bytes: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Checksum => bytes[50] ^= 0x55,
            Self::IpChecksum => bytes[25] ^= 0x55,
            Self::Offset(words) => bytes[46] = (bytes[46] & 0x0f) | words << 4,
            Self::Length(off) => {
                let len = i16::from_be_bytes([bytes[16], bytes[17]]);
                bytes[16..18].copy_from_slice(&len.wrapping_add(off).to_be_bytes());
                seal_ip(bytes);
            }
            Self::Cut(count) => bytes.truncate(bytes.len().saturating_sub(count).max(14)),
            Self::Padded(count) => bytes.extend(vec![0xee; count]),
            Self::Port => bytes[37] ^= 1,
            Self::Mac => bytes[5] ^= 1,
            Self::Fragment => {
                bytes[20] = 0x20;
                seal_ip(bytes);
            }
        }
    }
}

/// Runs the steps, with the flow remembered from segment to segment or not; all
/// that was sent and read, the state and the counters in the end.
fn play(steps: &[Step], timed: bool, remembered: bool) -> Vec<String> {
    let syn = if timed {
        seg().mss(1000).sack_ok().ts(5000, 0)
    } else {
        seg().mss(1000).sack_ok()
    };
    let mut s = Script::accepted(TcpOptions::DEFAULT, syn);
    let flow = s.flow.unwrap();
    let (mut next, mut ours, mut clock) = (1_u32, 1_u32, 5000_u32);
    let mut log = Vec::new();
    for step in steps {
        match *step {
            Step::Segment {
                seq_off,
                ack_off,
                flags,
                len,
                timed: has_timestamp,
                harm,
            } => {
                clock += 1;
                let mut segment = seg()
                    .flags(flags)
                    .seq(next.wrapping_add_signed(seq_off))
                    .data(&vec![seq_off as u8; len]);
                if flags & ACK != 0 {
                    segment = segment.ack(ours.wrapping_add_signed(ack_off));
                }
                if timed && has_timestamp {
                    segment = segment.ts(clock, 1);
                }
                let mut bytes = s.bytes_of(&segment);
                harm.befall(&mut bytes);
                if !remembered {
                    s.stack.tcp.forget_last();
                }
                s.inject_bytes(&bytes);
            }
            Step::Write(len) => {
                let written = s.stack.tcp_try_write(flow, &vec![7; len]);
                log.push(format!("{written:?}"));
                s.run();
            }
            Step::Read => log.push(format!("{:?}", s.read())),
            Step::Wait(millis) => s.advance(millis),
            Step::Shut => {
                let shut = s.stack.tcp_shutdown(flow, Shutdown::Write);
                log.push(format!("{shut:?}"));
                s.run();
            }
        }
        for sent in s.all_sent() {
            if sent.flags & RST == 0 {
                ours = ours.max(sent.seq.wrapping_sub(s.iss) + sent.data.len() as u32);
                next = sent.ack.wrapping_sub(PEER_ISS);
            }
            log.push(format!("{sent:?}"));
        }
    }
    log.push(format!("{:?}", s.stack.tcp_state(flow)));
    log.push(s.stack.counters().to_string());
    s.skip();
    s.finish();
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_changes_nothing(
        steps in prop::collection::vec(any_step(), 1..40),
        timed in any::<bool>(),
    ) {
        let short = play(&steps, timed, true);
        let long = play(&steps, timed, false);
        prop_assert_eq!(short, long);
    }
}

/// An open connection with timestamps.
fn open() -> Script {
    Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok().ts(5000, 0))
}

/// How many segments were taken in, packets counted by IP, frames, and bytes.
fn taken(s: &Script) -> [u64; 4] {
    [
        Counter::TcpSegmentsIn,
        Counter::Ipv4In,
        Counter::FramesIn,
        Counter::BytesIn,
    ]
    .map(|counter| s.stack.counters().get(counter))
}

#[test]
fn rfc9293_3_10_7_4_a_fin_is_taken_the_short_way_and_counted_once() {
    let mut s = open();
    // The front of the flow's packets is known from here on.
    s.inject(seg().seq(1).ack(1).data(b"data").ts(5001, 0));
    s.advance(500);
    s.skip();
    let before = taken(&s);
    let fin = seg().seq(5).ack(1).fin().ts(5002, 0);
    let len = s.bytes_of(&fin).len() as u64;
    s.inject(fin);
    let after = taken(&s);
    assert_eq!(
        [1, 1, 1, len],
        [0, 1, 2, 3].map(|at| after[at] - before[at])
    );
    assert_eq!(s.state(), TcpState::CloseWait);
    s.expect(seg().seq(1).ack(6));
    assert_eq!(s.read(), b"data");
    s.finish();
}

#[test]
fn ethernets_padding_is_not_the_streams() {
    let mut s = open();
    s.inject(seg().seq(1).ack(1).data(b"data").ts(5001, 0));
    for (at, padding) in [1, 6, 46].into_iter().enumerate() {
        // Urgent data is never expected.
        let seq = 5 + 3 * at as u32;
        let mut bytes = s.bytes_of(&seg().seq(seq).ack(1).urgent().data(b"abc").ts(5002, 0));
        bytes.extend(vec![0xee; padding]);
        s.inject_bytes(&bytes);
    }
    assert_eq!(s.read(), b"dataabcabcabc");
    s.skip();
    s.finish();
}

#[test]
fn rfc9293_3_1_a_wrong_checksum_is_refused_there_too() {
    let mut s = open();
    s.inject(seg().seq(1).ack(1).data(b"data").ts(5001, 0));
    s.corrupt_next();
    s.inject(seg().seq(5).ack(1).rst().ts(5002, 0));
    let dropped = s.stack.counters().dropped(DropReason::TcpBadChecksum);
    assert_eq!((dropped, s.state()), (1, TcpState::Established));
    s.skip();
    s.finish();
}

#[test]
fn rfc5961_3_2_a_reset_is_taken_once() {
    let mut s = open();
    s.inject(seg().seq(1).ack(1).data(b"data").ts(5001, 0));
    s.skip();
    let reset = seg().seq(5).ack(1).rst().ts(5002, 0);
    s.inject(reset.clone());
    assert_eq!(s.state(), TcpState::Closed);
    // The flow is over, and the front that is remembered is nobody's.
    s.inject(reset);
    assert_eq!(s.stack.counters().dropped(DropReason::TcpNoFlow), 1);
    s.expect_quiet();
    s.finish();
}
