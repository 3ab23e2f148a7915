//! Bursts against a model: packets of several pieces keep their order and
//! bounds whatever is pushed, refused and consumed.

use std::collections::VecDeque;

use pollwire_rings::{
    FramePool, FrameRef, RX_BURST, RX_PIECES, RxBurst, RxMeta, TX_PACKETS, TX_PIECES, TxBurst,
    TxChecksum, TxMeta,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn tagged(pool: &FramePool, tag: u16) -> FrameRef {
    let mut frame = pool.alloc().expect("the pool is larger than any burst");
    frame.extend_from_slice(&tag.to_be_bytes());
    frame.freeze()
}

fn meta(tag: u16) -> TxMeta {
    TxMeta {
        checksum: TxChecksum::Partial {
            start: tag,
            offset: 0,
        },
        gso: None,
    }
}

fn tags(pieces: &[FrameRef]) -> Vec<u16> {
    pieces
        .iter()
        .map(|piece| u16::from_be_bytes([piece[0], piece[1]]))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn transmit_bursts_keep_order_and_bounds(ops in prop::collection::vec(any::<(u8, u8)>(), 0..200)) {
        let pool = FramePool::on_heap::<256, 512>();
        let mut burst = TxBurst::new();
        let mut model: VecDeque<(u16, Vec<u16>)> = VecDeque::new();
        for (step, (op, arg)) in (0u16..).zip(ops) {
            let held: usize = model.iter().map(|(_, pieces)| pieces.len()).sum();
            match op % 4 {
                0 | 1 => {
                    let count = usize::from(arg % 20) + 1;
                    let fits = model.len() < TX_PACKETS && held + count <= TX_PIECES;
                    prop_assert_eq!(burst.has_room(count), fits);
                    if fits {
                        for _ in 0..count {
                            burst.push_piece(tagged(&pool, step)).expect("has_room said so");
                        }
                        burst.seal(meta(step));
                        model.push_back((step, vec![step; count]));
                    }
                }
                2 => {
                    burst.consume(usize::from(arg % 8));
                    model.drain(..usize::from(arg % 8).min(model.len()));
                }
                _ => {
                    let mut pieces = Vec::new();
                    let popped = burst.pop_front(|piece| pieces.push(piece));
                    let expected = model.pop_front();
                    prop_assert_eq!(popped, expected.as_ref().map(|(tag, _)| meta(*tag)));
                    prop_assert_eq!(tags(&pieces), expected.map(|(_, tags)| tags).unwrap_or_default());
                }
            }
            let seen: Vec<_> = burst.iter().map(|p| (p.meta, tags(p.pieces))).collect();
            let expected: Vec<_> = model.iter().map(|(tag, tags)| (meta(*tag), tags.clone())).collect();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!((burst.packets(), burst.is_empty()), (model.len(), model.is_empty()));
        }
        drop(burst);
        prop_assert_eq!(pool.available(), pool.capacity());
    }
}

#[test]
fn a_full_transmit_burst_gives_frames_back() {
    let pool = FramePool::on_heap::<256, 512>();
    let mut burst = TxBurst::new();
    for tag in 0..TX_PACKETS as u16 {
        burst.push(tagged(&pool, tag), meta(tag)).expect("room");
    }
    let refused = burst.push(tagged(&pool, 9), meta(9)).expect_err("full");
    assert_eq!(refused[..], 9u16.to_be_bytes());
    // A packet begun without asking for room: its pieces go, no other's do.
    burst.push_piece(refused).expect("room for pieces");
    burst.seal(meta(9));
    assert_eq!(burst.packets(), TX_PACKETS);
    assert_eq!(pool.in_use(), TX_PACKETS);
    burst.seal(meta(9));
    assert_eq!(burst.packets(), TX_PACKETS);
    burst.consume(usize::MAX);
    assert!(burst.is_empty() && burst.get(0).is_none());
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_receive_burst_counts_packets_not_pieces() {
    let pool = FramePool::on_heap::<256, 512>();
    let mut burst = RxBurst::new();
    let (more, last) = (
        RxMeta {
            continues: true,
            ..RxMeta::default()
        },
        RxMeta::default(),
    );
    for meta in [more, more, last, last] {
        burst.push(pool.alloc().expect("free"), meta).expect("room");
    }
    assert_eq!((burst.packets(), burst.frames().len()), (2, 4));
    while burst.has_room(1) {
        burst.push(pool.alloc().expect("free"), last).expect("room");
    }
    assert_eq!(burst.packets(), RX_BURST);
    assert!(!burst.has_room(RX_PIECES));
    assert_eq!(burst.drain().count(), RX_BURST + 2);
    assert_eq!((burst.packets(), pool.in_use()), (0, 0));
    for _ in 0..RX_PIECES {
        burst.push(pool.alloc().expect("free"), more).expect("room");
    }
    assert!(burst.push(pool.alloc().expect("free"), more).is_err());
    drop(burst);
    assert_eq!(pool.available(), pool.capacity());
}
