//! Sums in plain Rust, eight bytes at a time. All return a native-order sum
//! modulo 2^64 - 1 of data that starts at an even offset.

use super::add_carry;

/// The last `count` (0 to 7) bytes of `word`, moved to its start in memory,
/// with zeros behind them.
#[cfg(target_endian = "little")]
#[inline(always)]
const fn keep_last(word: u64, count: u32) -> u64 {
    // In two steps, because a shift by 64 is not defined.
    word >> (56 - 8 * count) >> 8
}

/// The last `count` (0 to 7) bytes of `word`, moved to its start in memory,
/// with zeros behind them.
#[cfg(target_endian = "big")]
#[inline(always)]
const fn keep_last(word: u64, count: u32) -> u64 {
    word << (56 - 8 * count) << 8
}

/// Sums at most seven bytes. Further bytes are not looked at.
#[inline(always)]
pub(super) fn sum_tail(mut data: &[u8]) -> u64 {
    // Below 2^32 + 2^16 + 2^16: no carry out of 64 bits.
    let mut sum = 0;
    if let Some((half, rest)) = data.split_first_chunk::<4>() {
        sum += u64::from(u32::from_ne_bytes(*half));
        data = rest;
    }
    if let Some((word, rest)) = data.split_first_chunk::<2>() {
        sum += u64::from(u16::from_ne_bytes(*word));
        data = rest;
    }
    if let Some(byte) = data.first() {
        sum += u64::from(u16::from_ne_bytes([*byte, 0]));
    }
    sum
}

/// For headers and small payloads: no set-up.
#[inline(always)]
pub(super) fn sum_short(data: &[u8]) -> u64 {
    let Some(last) = data.last_chunk::<8>() else {
        return sum_tail(data);
    };
    let odd = data.len() as u32 % 8;
    let mut sum = match odd {
        0 => 0,
        odd => keep_last(u64::from_ne_bytes(*last), odd),
    };
    let (blocks, rest) = data.as_chunks::<32>();
    for block in blocks {
        for word in block.as_chunks::<8>().0 {
            sum = add_carry(sum, u64::from_ne_bytes(*word));
        }
    }
    for word in rest.as_chunks::<8>().0 {
        sum = add_carry(sum, u64::from_ne_bytes(*word));
    }
    sum
}

/// For data of any length.
pub(super) fn sum(data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks::<32>();
    // Two chains, so that a carry need not wait for the one before it.
    let (mut even, mut odd) = (0u64, 0u64);
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        if let [a, b, c, d] = words {
            even = add_carry(even, u64::from_ne_bytes(*a));
            odd = add_carry(odd, u64::from_ne_bytes(*b));
            even = add_carry(even, u64::from_ne_bytes(*c));
            odd = add_carry(odd, u64::from_ne_bytes(*d));
        }
    }
    add_carry(add_carry(even, odd), sum_short(rest))
}

/// Copies and sums data of any length. The slices are equally long; if not,
/// the shorter one decides.
pub(super) fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> u64 {
    let len = dst.len().min(src.len());
    let (dst, src) = (&mut dst[..len], &src[..len]);
    let (dst_words, dst_rest) = dst.as_chunks_mut::<8>();
    let (src_words, src_rest) = src.as_chunks::<8>();
    let mut sum = 0;
    for (to, from) in dst_words.iter_mut().zip(src_words) {
        *to = *from;
        sum = add_carry(sum, u64::from_ne_bytes(*from));
    }
    dst_rest.copy_from_slice(src_rest);
    add_carry(sum, sum_tail(src_rest))
}
