//! Reassembly alone, over a pool of its own.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec;
use std::vec::Vec;

use arrayvec::ArrayVec;
use pollwire_rings::{FrameBuf, FramePool, Instant};
use proptest::prelude::*;

use super::{
    Fragment, FragmentKey, Head, MAX_DATAGRAMS, MAX_PER_SOURCE, Reassembly, TIMEOUT_V4, TIMEOUT_V6,
    merged_ecn,
};
use crate::tcp::MAX_REST;
use crate::{Counter, Counters, DropReason};

const HEAD: Head = Head {
    protocol: 17,
    header_len: 20,
    ttl: 64,
    class: 0,
    broadcast: false,
};
const START: Instant = Instant::from_secs(100);

/// The key of datagram `ident` from host `source`.
fn key(source: u32, ident: u32) -> FragmentKey {
    FragmentKey {
        src: IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + source)),
        dst: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
        ident,
        protocol: 17,
    }
}

/// Reassembly and where its frames come from.
struct Desk<const FRAMES: usize = 1024> {
    reassembly: Reassembly,
    pool: FramePool,
    counters: Counters,
    given: u64,
    now: Instant,
}

impl<const FRAMES: usize> Desk<FRAMES> {
    fn new() -> Self {
        Self {
            reassembly: Reassembly::new(FRAMES),
            pool: FramePool::on_heap::<FRAMES, 2048>(),
            counters: Counters::new(),
            given: 0,
            now: START,
        }
    }

    fn fragment(
        &mut self,
        fragment: &Fragment,
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, DropReason> {
        self.given += 1;
        let mut frame = self.pool.alloc().expect("a frame is free");
        frame.extend_from_slice(data);
        let mut rest: ArrayVec<FrameBuf, MAX_REST> = ArrayVec::new();
        let taken =
            self.reassembly
                .insert(self.now, fragment, frame, &mut rest, &mut self.counters);
        if let Err(reason) = taken {
            self.counters.drop(reason);
        }
        let whole = taken?.map(|whole| {
            let mut bytes = whole.frame.to_vec();
            rest.iter().for_each(|piece| bytes.extend_from_slice(piece));
            bytes
        });
        Ok(whole)
    }

    /// Bytes `start..end` of `whole`, as a fragment of datagram `key`.
    fn give(
        &mut self,
        key: FragmentKey,
        whole: &[u8],
        (start, end): (usize, usize),
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let fragment = Fragment {
            key,
            offset: u32::try_from(start).expect("short"),
            more: end < whole.len(),
            limit: 65_515,
            head: HEAD,
        };
        self.fragment(&fragment, &whole[start..end])
    }

    /// Time is up for everybody: nothing is left, and every fragment given was
    /// either delivered or counted as dropped.
    fn finish(mut self, delivered: u64) {
        self.now += TIMEOUT_V6;
        while self
            .reassembly
            .expire(self.now, &mut self.counters)
            .is_some()
        {}
        assert_eq!(self.reassembly.load(), (0, 0));
        assert_eq!(self.reassembly.deadline(), None);
        assert_eq!(self.pool.available(), FRAMES, "frames leaked");
        let dropped = self.counters.dropped_total();
        assert_eq!(dropped + delivered, self.given, "{}", self.counters);
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn rfc_791_3_2_the_longest_datagram_comes_together() {
    for (size, order) in [(1480, 0), (1480, 1), (552, 0), (552, 1), (1232, 2)] {
        let mut desk = Desk::<1024>::new();
        let whole = pattern(65_515);
        let mut parts: Vec<_> = (0..whole.len())
            .step_by(size)
            .map(|start| (start, (start + size).min(whole.len())))
            .collect();
        match order {
            1 => parts.rotate_left(1),
            2 => parts.reverse(),
            _ => {}
        }
        let last = parts.pop().expect("parts");
        for &part in &parts {
            let taken = desk.give(key(1, 1), &whole, part);
            assert_eq!(taken, Ok(None), "{size} {order} {part:?}");
        }
        let got = desk.give(key(1, 1), &whole, last).expect("taken");
        assert_eq!(got.expect("whole"), whole, "{size} {order}");
        desk.finish(parts.len() as u64 + 1);
    }
}

#[test]
fn fragments_that_fill_frames_are_not_copied() {
    let mut desk = Desk::<256>::new();
    let whole = pattern(20_000);
    for start in (0..whole.len()).step_by(1480) {
        let end = (start + 1480).min(whole.len());
        desk.give(key(1, 1), &whole, (start, end)).expect("taken");
    }
    // Only the last, short one found room behind another.
    let short = (whole.len() % 1480) as u64;
    assert!(desk.counters.get(Counter::CopiedBytes) <= short);
    assert_eq!(desk.counters.get(Counter::Reassembled), 1);
    desk.finish(whole.len().div_ceil(1480) as u64);
}

#[test]
fn rfc_5722_4_overlaps_lose_the_whole_datagram_and_what_comes_late() {
    let whole = pattern(80);
    // Each overlaps 16..32 and 48..64, from some side or as a whole.
    for part in [(8, 24), (24, 40), (8, 40), (40, 80), (16, 40), (0, 80)] {
        let mut desk = Desk::<64>::new();
        assert_eq!(desk.give(key(1, 1), &whole, (16, 32)), Ok(None));
        assert_eq!(desk.give(key(1, 1), &whole, (48, 64)), Ok(None));
        let overlap = desk.give(key(1, 1), &whole, part);
        assert_eq!(overlap, Err(DropReason::FragmentOverlap), "{part:?}");
        assert_eq!(desk.reassembly.load().1, 0, "holds nothing");
        let late = desk.give(key(1, 1), &whole, (64, 80));
        assert_eq!(late, Err(DropReason::FragmentOverlap));
        assert_eq!(desk.counters.dropped(DropReason::FragmentOverlap), 4);
        desk.finish(0);
    }
}

#[test]
fn rfc_8200_4_5_exact_duplicates_are_no_overlaps_changed_ones_are() {
    let mut desk = Desk::<64>::new();
    let whole = pattern(64);
    for _ in 0..3 {
        let first = desk.give(key(1, 1), &whole, (0, 32));
        assert!(matches!(
            first,
            Ok(None) | Err(DropReason::FragmentDuplicate)
        ));
    }
    let got = desk.give(key(1, 1), &whole, (32, 64)).expect("taken");
    assert_eq!(got, Some(whole.clone()));
    let mut changed = whole.clone();
    changed[5] ^= 1;
    desk.give(key(1, 2), &whole, (0, 32)).expect("taken");
    let other = desk.give(key(1, 2), &changed, (0, 32));
    assert_eq!(other, Err(DropReason::FragmentOverlap));
    desk.finish(2);
}

#[test]
fn rfc_791_3_2_ends_that_contradict_each_other_lose_the_datagram() {
    let long = pattern(64);
    // The end is at 48; then something lies behind it, or another end does.
    for late in [(48, 56), (56, 64)] {
        let mut desk = Desk::<64>::new();
        desk.give(key(1, 1), &long[..48], (32, 48)).expect("taken");
        let beyond = desk.give(key(1, 1), &long, late);
        assert_eq!(beyond, Err(DropReason::FragmentOverlap));
        desk.finish(0);
    }
    // The same the other way round.
    let mut desk = Desk::<64>::new();
    desk.give(key(1, 1), &long, (48, 56)).expect("taken");
    let before = desk.give(key(1, 1), &long[..48], (32, 48));
    assert_eq!(before, Err(DropReason::FragmentOverlap));
    desk.finish(0);
}

#[test]
fn rfc_791_3_2_fragments_that_cannot_be_are_refused() {
    let mut desk = Desk::<64>::new();
    let mut refused = |offset, more, len: usize| {
        let fragment = Fragment {
            key: key(1, 1),
            offset,
            more,
            limit: 65_515,
            head: HEAD,
        };
        desk.fragment(&fragment, &vec![0; len])
    };
    assert_eq!(refused(0, true, 0), Err(DropReason::FragmentBadLength));
    assert_eq!(refused(8, false, 0), Err(DropReason::FragmentBadLength));
    assert_eq!(refused(0, true, 12), Err(DropReason::FragmentBadLength));
    // The ping of death.
    assert_eq!(refused(65_512, false, 4), Err(DropReason::FragmentTooLong));
    assert_eq!(
        refused(65_528, true, 1480),
        Err(DropReason::FragmentTooLong)
    );
    assert_eq!(refused(u32::MAX, true, 8), Err(DropReason::FragmentTooLong));
    assert_eq!(desk.reassembly.load(), (0, 0));
    desk.finish(0);
}

#[test]
fn fragments_time_out_by_the_version_of_ip() {
    let mut desk = Desk::<64>::new();
    let whole = pattern(64);
    let v6 = FragmentKey {
        src: IpAddr::V6(Ipv6Addr::LOCALHOST),
        dst: IpAddr::V6(Ipv6Addr::LOCALHOST),
        ident: 7,
        protocol: 0,
    };
    for key in [key(1, 1), v6] {
        desk.give(key, &whole, (0, 16)).expect("taken");
    }
    desk.give(key(1, 2), &whole, (16, 32)).expect("taken");
    assert_eq!(desk.reassembly.deadline(), Some(START + TIMEOUT_V4));
    let early = START + (TIMEOUT_V4 - core::time::Duration::from_nanos(1));
    assert!(desk.reassembly.expire(early, &mut desk.counters).is_none());
    // More of the datagram does not put it off (RFC 8200: of the first).
    desk.now = early;
    desk.give(key(1, 1), &whole, (16, 32)).expect("taken");
    let mut expired = |at: Instant| {
        let expired = desk.reassembly.expire(at, &mut desk.counters)?;
        Some((expired.key, expired.first.map(|(frame, _)| frame.to_vec())))
    };
    let at = START + TIMEOUT_V4;
    // What came behind it was copied into the same frame.
    assert_eq!(expired(at), Some((key(1, 1), Some(whole[..32].to_vec()))));
    assert_eq!(expired(at), Some((key(1, 2), None)), "no first fragment");
    assert_eq!(expired(at), None);
    let at = START + TIMEOUT_V6;
    assert_eq!(expired(at), Some((v6, Some(whole[..16].to_vec()))));
    assert_eq!(desk.counters.dropped(DropReason::FragmentTimedOut), 4);
    desk.finish(0);
}

#[test]
fn rfc_3168_5_3_congestion_marks_survive_reassembly() {
    let codepoints = |all: &[u8]| merged_ecn(all.iter().fold(0, |seen, ecn| seen | 1 << ecn));
    assert_eq!(codepoints(&[0]), Some(0));
    assert_eq!(codepoints(&[1]), Some(1));
    assert_eq!(codepoints(&[2]), Some(2));
    assert_eq!(codepoints(&[3]), Some(3));
    assert_eq!(codepoints(&[2, 3]), Some(3));
    assert_eq!(codepoints(&[1, 2]), Some(2));
    assert_eq!(codepoints(&[0, 2]), Some(0));
    assert_eq!(codepoints(&[0, 3]), None);
    let mut desk = Desk::<64>::new();
    let mut marked = |offset, more, ecn| {
        let fragment = Fragment {
            key: key(1, 1),
            offset,
            more,
            limit: 65_515,
            head: Head { class: ecn, ..HEAD },
        };
        desk.fragment(&fragment, &[0; 8])
    };
    assert_eq!(marked(0, true, 0), Ok(None));
    assert_eq!(marked(8, false, 3), Err(DropReason::FragmentBadEcn));
    assert_eq!(desk.counters.dropped(DropReason::FragmentBadEcn), 2);
    desk.finish(0);
}

#[test]
fn one_source_takes_a_share_at_most() {
    let mut desk = Desk::<1024>::new();
    let whole = pattern(4000);
    desk.give(key(1, 0), &whole, (0, 1480)).expect("taken");
    for ident in 0..1000 {
        desk.give(key(2, ident), &whole, (0, 1480)).expect("taken");
    }
    assert_eq!(desk.reassembly.load().0, 1 + MAX_PER_SOURCE);
    // The other one's datagram is untouched.
    desk.give(key(1, 0), &whole, (1480, 2960)).expect("taken");
    let got = desk.give(key(1, 0), &whole, (2960, 4000));
    assert_eq!(got, Ok(Some(whole)));
    desk.finish(3);
}

#[test]
fn frames_are_bounded_for_a_source_and_in_all() {
    let mut desk = Desk::<256>::new();
    let whole = pattern(65_000);
    let holes = |desk: &mut Desk<256>, source: u32, ident| {
        // Every other fragment: none continues another.
        (0..whole.len() - 1480)
            .step_by(2960)
            .filter(|&start| {
                desk.give(key(source, ident), &whole, (start, start + 1480))
                    .is_ok()
            })
            .count()
    };
    for ident in 0..10 {
        holes(&mut desk, 1, ident);
        assert!(desk.reassembly.load().1 <= 32, "half of a quarter");
    }
    for source in 2..20 {
        holes(&mut desk, source, 0);
        assert!(desk.reassembly.load().1 <= 64, "a quarter of the pool");
    }
    desk.finish(0);
}

#[test]
fn a_hundred_thousand_sources_take_no_more_than_the_bounds() {
    let mut desk = Desk::<256>::new();
    let whole = pattern(3000);
    for source in 0..100_000 {
        desk.give(key(source, source), &whole, (0, 1480))
            .expect("taken");
        let (datagrams, frames) = desk.reassembly.load();
        assert!(datagrams <= MAX_DATAGRAMS && frames <= 64);
    }
    // And service goes on.
    desk.give(key(7, 1 << 20), &whole, (1480, 3000))
        .expect("taken");
    let got = desk.give(key(7, 1 << 20), &whole, (0, 1480));
    assert_eq!(got, Ok(Some(whole)));
    desk.finish(2);
}

#[test]
fn endless_tiny_fragments_are_given_up() {
    let mut desk = Desk::<1024>::new();
    let whole = pattern(65_000);
    // Eight bytes and a hole of eight bytes: no two can share a frame.
    let mut most = 0;
    for start in (0..65_000 - 16).step_by(16) {
        let taken = desk.give(key(1, 1), &whole, (start, start + 8));
        assert!(matches!(taken, Ok(None) | Err(DropReason::FragmentNoRoom)));
        most = most.max(desk.reassembly.load().1);
    }
    assert!(most <= 64, "{most} frames for one datagram");
    assert_eq!(desk.reassembly.load().1, 0);
    desk.finish(0);
}

#[test]
fn a_pool_too_small_for_any_fragment_refuses() {
    let mut desk = Desk::<16>::new();
    desk.reassembly = Reassembly::new(0);
    let taken = desk.give(key(1, 1), &pattern(64), (0, 16));
    assert_eq!(taken, Err(DropReason::FragmentNoRoom));
    desk.finish(0);
}

/// A datagram and its fragments, shuffled, some of them twice.
fn shuffled() -> impl Strategy<Value = (Vec<u8>, Vec<(usize, usize)>)> {
    (
        1_usize..9000,
        proptest::collection::vec(1_usize..190, 1..40),
    )
        .prop_flat_map(|(len, sizes)| {
            let mut parts = Vec::new();
            let mut start = 0;
            for size in sizes.iter().cycle().map(|units| units * 8) {
                let end = (start + size).min(len);
                parts.push((start, end));
                start = end;
                if start == len {
                    break;
                }
            }
            let twice = proptest::sample::subsequence(parts.clone(), 0..=parts.len().min(9));
            (Just(len), Just(parts), twice)
        })
        .prop_flat_map(|(len, mut parts, twice)| {
            parts.extend(twice);
            (Just(pattern(len)), Just(parts).prop_shuffle())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_fragments_in_any_order_give_the_datagram_or_nothing(
        datagrams in proptest::collection::vec(shuffled(), 1..4),
    ) {
        let mut desk = Desk::<1024>::new();
        let mut delivered = 0;
        let most = datagrams.iter().map(|(_, parts)| parts.len()).max().unwrap_or(0);
        // Several datagrams of one source at once, fragment by fragment.
        for at in 0..most {
            for (ident, (whole, parts)) in (0..).zip(&datagrams) {
                let Some(&part) = parts.get(at) else { continue };
                if let Ok(Some(got)) = desk.give(key(1, ident), whole, part) {
                    prop_assert_eq!(&got, whole);
                    delivered += 1;
                }
            }
        }
        // With few enough frames, none is lost: each came together, from its
        // first complete set.
        if datagrams.iter().all(|(_, parts)| parts.len() <= 60) {
            // All of it twice comes together twice, too.
            prop_assert!(delivered >= datagrams.len());
        }
        prop_assert!(desk.counters.get(Counter::Reassembled) == delivered as u64);
        desk.now += TIMEOUT_V6;
        while desk.reassembly.expire(desk.now, &mut desk.counters).is_some() {}
        prop_assert_eq!(desk.reassembly.load(), (0, 0));
        prop_assert_eq!(desk.pool.available(), 1024);
    }

    #[test]
    fn arbitrary_fragments_never_make_bytes_up(
        fragments in proptest::collection::vec((0_u32..24, 1_usize..6, any::<bool>(), 0_u32..3), 1..80),
    ) {
        // The byte at each place is the same in every fragment, so whatever is
        // delivered must be a prefix of the pattern.
        let bytes = pattern(512);
        let mut desk = Desk::<128>::new();
        for (unit, units, more, ident) in fragments {
            let start = unit as usize * 8;
            let data = &bytes[start..start + units * 8];
            let fragment = Fragment {
                key: key(1, ident),
                offset: unit * 8,
                more,
                limit: 65_515,
                head: HEAD,
            };
            if let Ok(Some(got)) = desk.fragment(&fragment, data) {
                prop_assert_eq!(&got[..], &bytes[..got.len()]);
            }
        }
        desk.now += TIMEOUT_V6;
        while desk.reassembly.expire(desk.now, &mut desk.counters).is_some() {}
        prop_assert_eq!(desk.pool.available(), 128);
    }
}
