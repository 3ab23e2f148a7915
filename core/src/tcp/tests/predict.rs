//! Header prediction gives what the full path gives: the same segments, once
//! whole and once in two pieces, which prediction does not take.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::script::{Script, seg};
use crate::TcpOptions;

#[derive(Clone, Debug)]
enum Step {
    /// A segment of the peer's: how far off the expected numbers, and what it
    /// carries.
    Segment {
        seq_off: i32,
        ack_back: u32,
        len: usize,
        window: u16,
        push: bool,
        ts_off: i32,
    },
    Write(usize),
    Read,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![8 => Just(0), 1 => -3000..3000];
    let segment = (
        offset,
        prop_oneof![6 => Just(0u32), 1 => 0u32..4000],
        prop_oneof![2 => Just(0usize), 3 => 1usize..1400],
        prop_oneof![6 => Just(60_000u16), 1 => Just(0), 1 => 0u16..3000],
        any::<bool>(),
        prop_oneof![8 => 0i32..3, 1 => -10i32..0],
    );
    prop_oneof![
        6 => segment.prop_map(|(seq_off, ack_back, len, window, push, ts_off)| Step::Segment {
            seq_off, ack_back, len, window, push, ts_off,
        }),
        3 => (1usize..5000).prop_map(Step::Write),
        2 => Just(Step::Read),
        1 => (1u64..300).prop_map(Step::Wait),
    ]
}

/// Runs the steps; returns all that was sent and read, and the end state.
fn play(steps: &[Step], timed: bool, in_pieces: bool) -> Vec<std::string::String> {
    let syn = if timed {
        seg().mss(1000).sack_ok().ts(5000, 0)
    } else {
        seg().mss(1000).sack_ok()
    };
    let mut s = Script::accepted(TcpOptions::DEFAULT, syn);
    s.in_pieces = in_pieces;
    let (mut next, mut ours, mut clock) = (1u32, 1u32, 5000u32);
    let mut log = Vec::new();
    for step in steps {
        match *step {
            Step::Segment {
                seq_off,
                ack_back,
                len,
                window,
                push,
                ts_off,
            } => {
                clock = clock.wrapping_add_signed(ts_off.max(0));
                let mut segment = seg()
                    .seq(next.wrapping_add_signed(seq_off))
                    .ack(ours.saturating_sub(ack_back).max(1))
                    .win(window)
                    .data(&vec![seq_off as u8; len]);
                if push {
                    segment = segment.push();
                }
                if timed {
                    segment = segment.ts(clock.wrapping_add_signed(ts_off.min(0)), 1);
                }
                s.inject(segment);
            }
            Step::Write(len) => {
                let written = s.stack.tcp_try_write(s.flow.unwrap(), &vec![7; len]);
                log.push(std::format!("{written:?}"));
                s.run();
            }
            Step::Read => log.push(std::format!("{:?}", s.read())),
            Step::Wait(millis) => s.advance(millis),
        }
        for sent in s.all_sent() {
            ours = ours.max(sent.seq.wrapping_sub(s.iss) + sent.data.len() as u32);
            next = sent.ack.wrapping_sub(super::script::PEER_ISS);
            log.push(std::format!("{sent:?}"));
        }
    }
    log.push(std::format!("{:?}", s.stack.tcp_state(s.flow.unwrap())));
    s.skip();
    s.finish();
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
