extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// RFC 1071 section 4.1, word by word, in the order of the wire.
fn reference(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bytes that look random but are the same in every run (xorshift64*).
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    (0..len)
        .map(|_| {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
        })
        .collect()
}

type SumFn = fn(&[u8]) -> u64;
type CopyFn = fn(&mut [u8], &[u8]) -> u64;

/// Every way of summing that this machine can run, by name.
fn paths() -> Vec<(&'static str, SumFn, CopyFn)> {
    let mut all: Vec<(&'static str, SumFn, CopyFn)> = vec![
        ("portable", portable::sum, portable::copy_and_sum),
        ("dispatched", simd::sum, simd::copy_and_sum),
    ];
    all.extend(simd::paths());
    if all.iter().all(|(name, ..)| *name != "AVX2") {
        std::println!("skipped: the AVX2 path, because this machine cannot run it");
    }
    if all.iter().all(|(name, ..)| *name != "NEON") {
        std::println!("skipped: the NEON path, because this machine cannot run it");
    }
    all
}

#[test]
fn every_length_at_every_alignment() {
    // Slices of a 64-byte aligned buffer, so that `align` is the true alignment.
    let data = noise(2048 + 128, 7);
    let skip = data.as_ptr().align_offset(64);
    let paths = paths();
    for align in 0..64 {
        for len in 0..=2048 {
            let part = &data[skip + align..][..len];
            let want = reference(part);
            assert_eq!(Sum::of(part).fold(), want, "align {align} length {len}");
            for (name, sum, _) in &paths {
                let got = Sum(sum(part)).fold();
                assert_eq!(got, want, "{name} align {align} length {len}");
            }
        }
    }
}

#[test]
fn copies_and_sums() {
    let src = noise(2048 + 64, 3);
    for (name, _, copy) in paths() {
        for len in 0..=2048 {
            let (from, to) = (len % 64, (len / 3) % 64);
            let mut dst = vec![0xa5; 2048 + 128];
            let part = &src[from..from + len];
            let sum = Sum(copy(&mut dst[to..to + len], part));
            assert_eq!(sum.fold(), reference(part), "{name} length {len}");
            assert_eq!(&dst[to..to + len], part, "{name} length {len}");
            let around = dst[..to].iter().chain(&dst[to + len..]);
            assert!(
                around.into_iter().all(|b| *b == 0xa5),
                "{name} length {len}"
            );
        }
    }
}

#[test]
fn extreme_data() {
    for (name, sum, copy) in paths() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            for len in [1, 63, 64, 65, 1460, 65535, 65536, 1 << 20, (1 << 20) + 77] {
                let data = vec![byte; len];
                let want = reference(&data);
                assert_eq!(Sum(sum(&data)).fold(), want, "{name} {len} of {byte:#x}");
                let mut to = vec![1; len];
                let got = Sum(copy(&mut to, &data)).fold();
                assert_eq!(got, want, "{name} copy of {len} of {byte:#x}");
                assert!(to == data, "{name} copy of {len} of {byte:#x}");
            }
        }
    }
}

#[test]
fn unequal_lengths_copy_the_shorter() {
    let src = noise(100, 5);
    let mut dst = [0; 70];
    assert_eq!(copy_and_sum(&mut dst, &src).fold(), reference(&src[..70]));
    assert_eq!(dst, src[..70]);
    let mut dst = [0; 170];
    assert_eq!(copy_and_sum(&mut dst, &src).fold(), reference(&src));
    assert_eq!(dst[..100], src);
    assert_eq!(dst[100..], [0; 70]);
}

#[test]
fn arrays_match_slices() {
    fn check<const N: usize>() {
        let data = noise(N, 9);
        let array: [u8; N] = data.as_slice().try_into().unwrap();
        assert_eq!(Sum::of_array(&array).fold(), reference(&data));
    }
    check::<0>();
    check::<1>();
    check::<7>();
    check::<8>();
    check::<20>();
    check::<40>();
    check::<61>();
}

#[test]
fn pseudo_headers_match_their_bytes() {
    let (src, dst) = ([192, 168, 255, 254], [255, 255, 255, 255]);
    for (proto, len) in [(6, 0), (17, 8), (255, 65535)] {
        let mut bytes = Vec::new();
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend([0, proto]);
        bytes.extend(u16::to_be_bytes(len));
        assert_eq!(
            Sum::pseudo_v4(src, dst, proto, len).fold(),
            reference(&bytes)
        );
    }
    let (src, dst) = ([0xff; 16], [0xfe; 16]);
    for (next, len) in [(6, 0), (58, 0x1_0000), (255, u32::MAX)] {
        let mut bytes = Vec::new();
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend(u32::to_be_bytes(len));
        bytes.extend([0, 0, 0, next]);
        assert_eq!(
            Sum::pseudo_v6(src, dst, next, len).fold(),
            reference(&bytes)
        );
    }
}

#[test]
fn no_zero_checksum_for_udp() {
    let all_ones = Sum::ZERO.add_u16(0xffff);
    assert_eq!(all_ones.finish(), 0);
    assert_eq!(all_ones.finish_nonzero(), 0xffff);
    assert_eq!(Sum::ZERO.finish_nonzero(), 0xffff);
    assert_eq!(Sum::ZERO.add_u16(1).finish_nonzero(), 0xfffe);
}

#[test]
fn rfc_1624_example() {
    // Section 4: the case in which equation 2 gives 0xffff and 3 gives 0x0000.
    assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

proptest! {
    #[test]
    fn odd_splits(data in proptest::collection::vec(any::<u8>(), 0..2048),
                  cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(data.len() + 1)).collect();
        at.sort_unstable();
        at.insert(0, 0);
        at.push(data.len());
        let pieces = at.windows(2).map(|w| &data[w[0]..w[1]]);
        prop_assert_eq!(sum_chain(pieces).fold(), reference(&data));
    }

    #[test]
    fn updates_match_a_new_sum(mut data in proptest::collection::vec(any::<u8>(), 20..64),
                               at in 0usize..8, new in any::<u32>()) {
        let at = at * 2;
        data[18] |= 1; // all-zero data has two checksums
        let check = Sum::of(&data).finish();
        let old = u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        let before = Sum::of(&data);
        data[at..at + 4].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(update_u32(check, old, new), Sum::of(&data).finish());
        let moved = before - Sum::ZERO.add_u32(old) + Sum::ZERO.add_u32(new);
        prop_assert_eq!(moved.finish(), Sum::of(&data).finish());
    }

    #[test]
    fn words_match_bytes(a in any::<u16>(), b in any::<u32>(), rest in any::<[u8; 9]>()) {
        let mut bytes = a.to_be_bytes().to_vec();
        bytes.extend(b.to_be_bytes());
        bytes.extend(rest);
        let sum = Sum::ZERO.add_u16(a).add_u32(b).add_bytes(&rest);
        prop_assert_eq!(sum.fold(), reference(&bytes));
        prop_assert!(sum.finish() == !sum.fold());
        let even = Sum::of(&bytes[..14]);
        prop_assert!(even.add_u16(even.finish()).is_valid());
    }
}
