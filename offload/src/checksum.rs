//! The Internet checksum (RFC 1071), whole, in pieces, incremental
//! (RFC 1624), and while copying.
//!
//! A [`Sum`] is a partial one's complement sum. It is a plain 64-bit value:
//! copying it, adding to it and joining two of them cost a few instructions.
//! Only [`Sum::fold`] and [`Sum::finish`] reduce it to 16 bits.
//!
//! ```
//! use pollwire_offload::checksum::{Sum, sum_chain};
//!
//! // A UDP datagram whose payload lies in two pieces, the first of odd length.
//! let header = [0x13, 0x88, 0x00, 0x35, 0x00, 0x0d, 0x00, 0x00];
//! let payload: [&[u8]; 2] = [b"hel", b"lo"];
//!
//! let sum = Sum::pseudo_v4([10, 0, 0, 2], [10, 0, 0, 1], 17, 13)
//!     + Sum::of_array(&header)
//!     + sum_chain(payload);
//! let check = sum.finish_nonzero();
//!
//! // The receiver adds the checksum field too and finds all ones.
//! assert!(sum.add_u16(check).is_valid());
//! ```

use core::ops::{Add, Sub};

mod portable;
#[expect(unsafe_code, reason = "vector loads and stores take raw pointers")]
mod simd;

/// Inputs shorter than this are summed word by word: vectors would spend more
/// on their set-up and on joining their lanes than they save.
const SHORT: usize = 128;

/// A partial one's complement sum of 16-bit big-endian words.
///
/// The inside is a 64-bit sum of the data as it lies in memory (native byte
/// order), reduced modulo 2^64 - 1 as one goes: RFC 1071 section 2 (B) shows
/// that the sum may be taken in either byte order, and 65535 divides 2^64 - 1.
/// Conversion to the order of the wire happens once, in [`Sum::fold`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

/// Adds with end-around carry. The carry cannot overflow a second time.
#[inline(always)]
const fn add_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

impl Sum {
    /// The sum of no data.
    pub const ZERO: Sum = Sum(0);

    /// The sum of `data`, which starts at an even offset of what is summed.
    ///
    /// Data of odd length counts as if a zero byte followed (RFC 1071). To go
    /// on behind odd-length data use [`Sum::then`].
    #[inline]
    #[must_use]
    pub fn of(data: &[u8]) -> Sum {
        if data.len() < SHORT {
            Sum(portable::sum_short(data))
        } else {
            Sum(simd::sum(data))
        }
    }

    /// The sum of a header of fixed size: fully unrolled, without a branch.
    #[inline(always)]
    #[must_use]
    pub fn of_array<const N: usize>(data: &[u8; N]) -> Sum {
        let (words, rest) = data.as_chunks::<8>();
        let mut sum = 0;
        for word in words {
            sum = add_carry(sum, u64::from_ne_bytes(*word));
        }
        Sum(add_carry(sum, portable::sum_tail(rest)))
    }

    /// The sum of a few words in host order. So short a sum needs no carry, so
    /// this is the cheapest way to add a header's fields.
    #[inline(always)]
    #[must_use]
    pub const fn of_words<const N: usize>(words: [u32; N]) -> Sum {
        const { assert!(N < 1 << 16) };
        let mut sum = 0;
        let mut at = 0;
        while at < N {
            sum += words[at].to_be() as u64;
            at += 1;
        }
        Sum(sum)
    }

    /// The 16-bit sum as it is, to be kept in little space: [`Sum::kept`] gives
    /// back a sum that is equal.
    #[inline]
    #[must_use]
    pub const fn keep(self) -> u16 {
        self.fold().to_be()
    }

    /// A sum from what [`Sum::keep`] gave.
    #[inline(always)]
    #[must_use]
    pub const fn kept(word: u16) -> Sum {
        Sum(word as u64)
    }

    /// Adds one 16-bit word given in host order.
    #[inline]
    #[must_use]
    pub const fn add_u16(self, word: u16) -> Sum {
        Sum(add_carry(self.0, word.to_be() as u64))
    }

    /// Adds two 16-bit words given as one 32-bit value in host order.
    #[inline]
    #[must_use]
    pub const fn add_u32(self, words: u32) -> Sum {
        Sum(add_carry(self.0, words.to_be() as u64))
    }

    /// Adds `data`, which starts at an even offset.
    #[inline]
    #[must_use]
    pub fn add_bytes(self, data: &[u8]) -> Sum {
        self + Sum::of(data)
    }

    /// The sum of this data, `self_len` bytes long, followed by the data of
    /// `other`. When `self_len` is odd, the bytes of `other` change places
    /// within their words, which is what RFC 1071 section 2 (B) is about.
    #[inline]
    #[must_use]
    pub const fn then(self, other: Sum, self_len: usize) -> Sum {
        // Rotating by one byte multiplies by 256 modulo 2^64 - 1, hence modulo
        // 65535: the byte swap of the folded sum.
        let shift = (self_len as u32 & 1) << 3;
        Sum(add_carry(self.0, other.0.rotate_left(shift)))
    }

    /// The 16-bit sum, not complemented, in host order. It is 0 only if all
    /// the data was 0; any other multiple of 65535 gives 0xffff.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        // Adding the halves crosswise leaves their end-around sum on top.
        let halves = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        let folded = (halves.wrapping_add(halves.rotate_left(16)) >> 16) as u16;
        u16::from_be(folded)
    }

    /// The checksum field, in host order: store it with `to_be_bytes`. The
    /// field must have counted as zero in this sum.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    /// Like [`Sum::finish`], but gives 0xffff instead of 0, which in a UDP
    /// header would mean that there is no checksum (RFC 768).
    #[inline]
    #[must_use]
    pub const fn finish_nonzero(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            check => check,
        }
    }

    /// Whether data that includes its checksum field is intact: the sum must
    /// be all ones.
    #[inline]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    /// The pseudo header of TCP and UDP over IPv4 (RFC 9293 section 3.1).
    /// `len` is the length in bytes of the transport header and its payload.
    #[inline]
    #[must_use]
    pub const fn pseudo_v4(src: [u8; 4], dst: [u8; 4], proto: u8, len: u16) -> Sum {
        // Four values below 2^32: the 64-bit sum needs no carry.
        Sum(u32::from_ne_bytes(src) as u64
            + u32::from_ne_bytes(dst) as u64
            + (proto as u16).to_be() as u64
            + len.to_be() as u64)
    }

    /// The pseudo header of upper-layer protocols over IPv6 (RFC 8200 section
    /// 8.1). `len` is the length in bytes of the upper-layer header and its
    /// payload.
    #[inline]
    #[must_use]
    pub fn pseudo_v6(src: [u8; 16], dst: [u8; 16], next_header: u8, len: u32) -> Sum {
        let fixed = Sum(len.to_be() as u64 + (next_header as u16).to_be() as u64);
        Sum::of_array(&src) + Sum::of_array(&dst) + fixed
    }
}

/// Joins two sums that both start at an even offset; order does not matter.
impl Add for Sum {
    type Output = Sum;

    #[inline]
    fn add(self, other: Sum) -> Sum {
        Sum(add_carry(self.0, other.0))
    }
}

/// Takes data out of a sum: `whole - part` is the sum of what is left. A
/// result of zero shows as 0xffff, never as 0.
impl Sub for Sum {
    type Output = Sum;

    #[inline]
    fn sub(self, other: Sum) -> Sum {
        Sum(add_carry(self.0, !other.0))
    }
}

/// Two sums are equal when they fold to the same 16 bits.
impl PartialEq for Sum {
    #[inline]
    fn eq(&self, other: &Sum) -> bool {
        self.fold() == other.fold()
    }
}

impl Eq for Sum {}

/// The checksum field after one 16-bit word that it covers changed from `old`
/// to `new` (RFC 1624 equation 3: `HC' = ~(~HC + ~m + m')`). All in host order.
#[inline]
#[must_use]
pub const fn update_u16(check: u16, old: u16, new: u16) -> u16 {
    let sum = !check as u32 + !old as u32 + new as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum + (sum >> 16)) as u16)
}

/// The checksum field after two 16-bit words that it covers, for example an
/// IPv4 address, changed from `old` to `new`. All in host order.
#[inline]
#[must_use]
pub const fn update_u32(check: u16, old: u32, new: u32) -> u16 {
    let high = update_u16(check, (old >> 16) as u16, (new >> 16) as u16);
    update_u16(high, old as u16, new as u16)
}

/// Copies `src` to `dst` and sums it on the way, reading it only once.
///
/// The two should be equally long. If they are not, only as much as the
/// shorter one holds is copied and summed.
#[inline]
#[must_use = "to copy without a sum, use copy_from_slice"]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Sum {
    let len = dst.len().min(src.len());
    let (dst, src) = (&mut dst[..len], &src[..len]);
    if len < SHORT {
        dst.copy_from_slice(src);
        Sum(portable::sum_short(src))
    } else {
        Sum(simd::copy_and_sum(dst, src))
    }
}

/// The sum of pieces that follow each other without a gap; any of them may be
/// of odd length or empty.
#[inline]
#[must_use]
pub fn sum_chain<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Sum {
    let mut sum = Sum::ZERO;
    let mut len = 0usize;
    for piece in pieces {
        sum = sum.then(Sum::of(piece), len);
        // Only whether the length is odd matters, so wrapping is harmless.
        len = len.wrapping_add(piece.len());
    }
    sum
}

#[cfg(test)]
mod tests;
