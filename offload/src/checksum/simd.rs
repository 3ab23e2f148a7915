//! Sums by vector instructions: the crate's only unsafe code.
//!
//! Each path sums vectors into lanes wide enough that no carry is lost, and
//! leaves a native-order sum modulo 2^64 - 1 like `portable` does. Data shorter
//! than [`MIN`] goes to `portable`, data longer than [`PIECE`] is cut.
//!
//! There is no path with ADCX and ADOX: without AVX2, SSE2 is as fast.

use super::{add_carry, portable};

/// The longest run that the lanes can take: 64 KiB is 2^15 words. Signed words
/// (at most 2^15 in size) add up to at most 2^30, unsigned ones (below 2^16) to
/// less than 2^31, so 32-bit lanes do not overflow, not even all in one.
const PIECE: usize = 1 << 16;

/// The shortest run: one whole vector of the widest kind.
const MIN: usize = 32;

/// One implementation: sums `src`, and if `COPY`, also writes it to `dst`.
///
/// # Safety
/// `src` is `MIN` to `PIECE` bytes long. If `COPY`, `dst` is writable for
/// `src.len()` bytes and does not overlap `src`.
type Kernel = unsafe fn(src: &[u8], dst: *mut u8) -> u64;

/// Sums data of any length by `kernel`, which must not copy.
///
/// # Safety
/// The machine has the instructions of `kernel`, and `kernel` ignores `dst`.
#[inline(always)]
unsafe fn sum_with(kernel: Kernel, mut data: &[u8]) -> u64 {
    let mut sum = 0;
    while let Some((piece, rest)) = data.split_at_checked(PIECE) {
        // SAFETY: the piece is PIECE bytes long; the rest is our caller's word.
        sum = add_carry(sum, unsafe { kernel(piece, core::ptr::null_mut()) });
        data = rest;
    }
    if data.len() < MIN {
        return add_carry(sum, portable::sum(data));
    }
    // SAFETY: between MIN and PIECE bytes; the rest is our caller's word.
    add_carry(sum, unsafe { kernel(data, core::ptr::null_mut()) })
}

/// Copies and sums data of any length by `kernel`; the shorter slice decides.
///
/// # Safety
/// The machine has the instructions of `kernel`.
#[inline(always)]
unsafe fn copy_with(kernel: Kernel, dst: &mut [u8], src: &[u8]) -> u64 {
    let len = dst.len().min(src.len());
    let (mut dst, mut src) = (&mut dst[..len], &src[..len]);
    let mut sum = 0;
    while src.len() > PIECE {
        let (piece, rest) = src.split_at(PIECE);
        let (to, to_rest) = dst.split_at_mut(PIECE);
        // SAFETY: both are PIECE bytes long, and `to` is borrowed uniquely.
        sum = add_carry(sum, unsafe { kernel(piece, to.as_mut_ptr()) });
        (src, dst) = (rest, to_rest);
    }
    if src.len() < MIN {
        return add_carry(sum, portable::copy_and_sum(dst, src));
    }
    // SAFETY: MIN to PIECE bytes, equally long, and `dst` is borrowed uniquely.
    add_carry(sum, unsafe { kernel(src, dst.as_mut_ptr()) })
}

pub(super) use arch::{copy_and_sum, sum};

#[cfg(test)]
pub(super) use arch::paths;

/// A way to sum, its name and its way to copy, for tests.
#[cfg(test)]
type Path = (&'static str, fn(&[u8]) -> u64, fn(&mut [u8], &[u8]) -> u64);

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
mod arch {
    use super::*;
    use core::arch::asm;
    use core::arch::x86_64::*;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// What `vpmaddwd` adds is signed, so each word is flipped into the signed
    /// range first (`w ^ 0x8000` is `w - 0x8000`). This takes the offset of
    /// `len / 2` words back out.
    #[inline(always)]
    fn unbias(signed: i32, len: usize) -> u64 {
        (i64::from(signed) + ((len as i64 / 2) << 15)) as u64
    }

    /// The odd byte at the end, as the first byte of a word.
    #[inline(always)]
    fn odd_byte(src: &[u8]) -> u64 {
        match src.last() {
            Some(byte) if src.len() % 2 == 1 => u64::from(*byte),
            _ => 0,
        }
    }

    /// 32 zero bytes, then 32 of ones: read from offset `n` (up to 32) on, it
    /// masks all but the last `n` bytes of a vector.
    static LAST: [[u8; 32]; 2] = [[0; 32], [0xff; 32]];

    /// Adds `N` vectors from `src` on to the two accumulators.
    ///
    /// # Safety
    /// `src` is readable, and if `COPY`, `dst` writable, for `N` vectors.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step_avx2<const N: usize, const COPY: bool>(
        mut acc: [__m256i; 2],
        src: *const u8,
        dst: *mut u8,
    ) -> [__m256i; 2] {
        let (flip, ones) = (_mm256_set1_epi16(i16::MIN), _mm256_set1_epi16(1));
        for i in 0..N {
            // SAFETY: vector `i` of `N`; our caller vouches for all of them.
            let words = unsafe { _mm256_loadu_si256(src.add(32 * i).cast()) };
            if COPY {
                // SAFETY: as above.
                unsafe { _mm256_storeu_si256(dst.add(32 * i).cast(), words) };
            }
            let pairs = _mm256_madd_epi16(_mm256_xor_si256(words, flip), ones);
            acc[i % 2] = _mm256_add_epi32(acc[i % 2], pairs);
        }
        acc
    }

    /// # Safety
    /// That of `Kernel`, and the machine has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn avx2<const COPY: bool>(src: &[u8], dst: *mut u8) -> u64 {
        let len = src.len() & !1;
        let (mut from, mut to) = (src.as_ptr(), dst);
        let mut acc = [_mm256_setzero_si256(); 2];
        // SAFETY: the steps cover the first `len & !31` bytes of `src` and
        // `dst`. The last vector ends at `len`, which is at least MIN = 32. The
        // mask is read from offset `len % 32` of 64 bytes.
        let words = unsafe {
            // Counting down and moving the pointers takes fewer instructions
            // than comparing offsets.
            for _ in 0..len / 256 {
                acc = step_avx2::<8, COPY>(acc, from, to);
                (from, to) = (from.add(256), to.wrapping_add(256));
            }
            if len & 128 != 0 {
                acc = step_avx2::<4, COPY>(acc, from, to);
                (from, to) = (from.add(128), to.wrapping_add(128));
            }
            if len & 64 != 0 {
                acc = step_avx2::<2, COPY>(acc, from, to);
                (from, to) = (from.add(64), to.wrapping_add(64));
            }
            if len & 32 != 0 {
                acc = step_avx2::<1, COPY>(acc, from, to);
            }
            let last = _mm256_loadu_si256(src.as_ptr().add(len - 32).cast());
            if COPY {
                _mm256_storeu_si256(dst.add(len - 32).cast(), last);
                *dst.add(src.len() - 1) = *src.as_ptr().add(src.len() - 1);
            }
            let mask = _mm256_loadu_si256(LAST.as_ptr().cast::<u8>().add(len % 32).cast());
            let flipped = _mm256_xor_si256(last, _mm256_set1_epi16(i16::MIN));
            _mm256_and_si256(flipped, mask)
        };
        let pairs = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
        let all = _mm256_add_epi32(_mm256_add_epi32(acc[0], acc[1]), pairs);
        let half = _mm_add_epi32(
            _mm256_castsi256_si128(all),
            _mm256_extracti128_si256::<1>(all),
        );
        unbias(total_sse2(half), len) + odd_byte(src)
    }

    /// Adds `N` vectors from `src` on to the two accumulators.
    ///
    /// # Safety
    /// `src` is readable, and if `COPY`, `dst` writable, for `N` vectors.
    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn step_sse2<const N: usize, const COPY: bool>(
        mut acc: [__m128i; 2],
        src: *const u8,
        dst: *mut u8,
    ) -> [__m128i; 2] {
        let (flip, ones) = (_mm_set1_epi16(i16::MIN), _mm_set1_epi16(1));
        for i in 0..N {
            // SAFETY: vector `i` of `N`; our caller vouches for all of them.
            let words = unsafe { _mm_loadu_si128(src.add(16 * i).cast()) };
            if COPY {
                // SAFETY: as above.
                unsafe { _mm_storeu_si128(dst.add(16 * i).cast(), words) };
            }
            let pairs = _mm_madd_epi16(_mm_xor_si128(words, flip), ones);
            acc[i % 2] = _mm_add_epi32(acc[i % 2], pairs);
        }
        acc
    }

    /// # Safety
    /// That of `Kernel`, and the machine has SSE2.
    #[target_feature(enable = "sse2")]
    unsafe fn sse2<const COPY: bool>(src: &[u8], dst: *mut u8) -> u64 {
        let (vectors, tail) = src.split_at(src.len() & !15);
        let (from, mut at) = (src.as_ptr(), 0);
        let mut acc = [_mm_setzero_si128(); 2];
        // SAFETY: every step covers bytes `at` to at most `vectors.len()` of
        // `src` and `dst`; `tail` is what lies behind in both.
        unsafe {
            while at + 128 <= vectors.len() {
                acc = step_sse2::<8, COPY>(acc, from.add(at), dst.wrapping_add(at));
                at += 128;
            }
            while at < vectors.len() {
                acc = step_sse2::<1, COPY>(acc, from.add(at), dst.wrapping_add(at));
                at += 16;
            }
            if COPY {
                core::ptr::copy_nonoverlapping(tail.as_ptr(), dst.add(at), tail.len());
            }
        }
        let total = total_sse2(_mm_add_epi32(acc[0], acc[1]));
        add_carry(unbias(total, at), portable::sum_short(tail))
    }

    /// The sum of the four lanes.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn total_sse2(lanes: __m128i) -> i32 {
        let pair = _mm_add_epi32(lanes, _mm_unpackhi_epi64(lanes, lanes));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<1>(pair)))
    }

    /// What this processor can do: 0 not asked yet, 1 the baseline, 2 AVX2.
    /// Only a memo of what never changes, so races are harmless.
    static LEVEL: AtomicU8 = AtomicU8::new(0);

    #[inline]
    fn has_avx2() -> bool {
        match LEVEL.load(Ordering::Relaxed) {
            0 => detect(),
            level => level == 2,
        }
    }

    #[cold]
    fn detect() -> bool {
        let avx2 = avx2_usable();
        LEVEL.store(1 + u8::from(avx2), Ordering::Relaxed);
        avx2
    }

    /// One leaf (and sub-leaf 0) of CPUID: `[eax, ebx, ecx, edx]`.
    fn cpuid(leaf: u32) -> [u32; 4] {
        let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
        // SAFETY: every x86-64 has CPUID, and rbx, which the compiler keeps
        // for itself, is put back.
        unsafe {
            asm!(
                "mov {saved}, rbx",
                "cpuid",
                "xchg {saved}, rbx",
                saved = out(reg) ebx,
                inlateout("eax") leaf => eax,
                inlateout("ecx") 0 => ecx,
                lateout("edx") edx,
                options(nomem, nostack, preserves_flags),
            );
        }
        [eax, ebx as u32, ecx, edx]
    }

    /// Whether AVX2 exists *and* the kernel or guest has switched on its
    /// registers: a Solo5 hvt guest starts with CR4.OSXSAVE clear, and every
    /// AVX instruction would fault.
    fn avx2_usable() -> bool {
        const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
        const XMM_AND_YMM: u32 = 0b110;
        const AVX2: u32 = 1 << 5;
        if cpuid(0)[0] < 7 || cpuid(1)[2] & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
            return false;
        }
        let xcr0: u32;
        // SAFETY: OSXSAVE is set, so XGETBV is allowed.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _,
                 options(nomem, nostack, preserves_flags));
        }
        xcr0 & XMM_AND_YMM == XMM_AND_YMM && cpuid(7)[1] & AVX2 != 0
    }

    /// Sums data of any length in the best way that this processor has.
    #[inline]
    pub(in super::super) fn sum(data: &[u8]) -> u64 {
        if (MIN..=PIECE).contains(&data.len()) && LEVEL.load(Ordering::Relaxed) == 2 {
            // What nearly every packet comes to.
            // SAFETY: AVX2 is there, and
            // the length is between MIN and PIECE bytes.
            return unsafe { avx2::<false>(data, core::ptr::null_mut()) };
        }
        sum_any(data)
    }

    #[inline(never)]
    fn sum_any(data: &[u8]) -> u64 {
        // SAFETY: AVX2 is there if has_avx2() says so; SSE2 is in every x86-64.
        unsafe {
            if has_avx2() {
                sum_with(avx2::<false>, data)
            } else {
                sum_with(sse2::<false>, data)
            }
        }
    }

    /// Copies and sums data of any length in the best way.
    #[inline]
    pub(in super::super) fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> u64 {
        // SAFETY: as in `sum`.
        unsafe {
            if has_avx2() {
                copy_with(avx2::<true>, dst, src)
            } else {
                copy_with(sse2::<true>, dst, src)
            }
        }
    }

    #[cfg(test)]
    pub(in super::super) fn paths() -> impl Iterator<Item = Path> {
        // SAFETY: SSE2 is in every x86-64; AVX2 is listed only where usable.
        let sse2: Path = (
            "SSE2",
            |data| unsafe { sum_with(sse2::<false>, data) },
            |dst, src| unsafe { copy_with(sse2::<true>, dst, src) },
        );
        // SAFETY: as above.
        let avx2: Path = (
            "AVX2",
            |data| unsafe { sum_with(avx2::<false>, data) },
            |dst, src| unsafe { copy_with(avx2::<true>, dst, src) },
        );
        [sse2].into_iter().chain(avx2_usable().then_some(avx2))
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(miri)))]
mod arch {
    use super::*;
    use core::arch::aarch64::*;

    /// Adds `N` vectors from `src` on to the two accumulators. UADALP adds
    /// pairs of 16-bit lanes into 32-bit ones, unsigned: no bias needed.
    ///
    /// # Safety
    /// `src` is readable, and if `COPY`, `dst` writable, for `N` vectors.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn step<const N: usize, const COPY: bool>(
        mut acc: [uint32x4_t; 2],
        src: *const u8,
        dst: *mut u8,
    ) -> [uint32x4_t; 2] {
        for i in 0..N {
            // SAFETY: vector `i` of `N`; our caller vouches for all of them.
            let words = unsafe { vld1q_u16(src.add(16 * i).cast()) };
            if COPY {
                // SAFETY: as above.
                unsafe { vst1q_u16(dst.add(16 * i).cast(), words) };
            }
            acc[i % 2] = vpadalq_u16(acc[i % 2], words);
        }
        acc
    }

    /// # Safety
    /// That of `Kernel`, and the machine has NEON.
    #[target_feature(enable = "neon")]
    unsafe fn neon<const COPY: bool>(src: &[u8], dst: *mut u8) -> u64 {
        let (vectors, tail) = src.split_at(src.len() & !15);
        let (from, mut at) = (src.as_ptr(), 0);
        let mut acc = [vdupq_n_u32(0); 2];
        // SAFETY: every step covers bytes `at` to at most `vectors.len()` of
        // `src` and `dst`; `tail` is what lies behind in both.
        unsafe {
            while at + 128 <= vectors.len() {
                acc = step::<8, COPY>(acc, from.add(at), dst.wrapping_add(at));
                at += 128;
            }
            while at < vectors.len() {
                acc = step::<1, COPY>(acc, from.add(at), dst.wrapping_add(at));
                at += 16;
            }
            if COPY {
                core::ptr::copy_nonoverlapping(tail.as_ptr(), dst.add(at), tail.len());
            }
        }
        let total = vaddlvq_u32(vaddq_u32(acc[0], acc[1]));
        add_carry(total, portable::sum_short(tail))
    }

    /// Sums data of any length.
    #[inline]
    pub(in super::super) fn sum(data: &[u8]) -> u64 {
        // SAFETY: this module exists only where NEON is part of the target.
        unsafe { sum_with(neon::<false>, data) }
    }

    /// Copies and sums data of any length.
    #[inline]
    pub(in super::super) fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> u64 {
        // SAFETY: as in `sum`.
        unsafe { copy_with(neon::<true>, dst, src) }
    }

    #[cfg(test)]
    pub(in super::super) fn paths() -> impl Iterator<Item = Path> {
        let neon: Path = ("NEON", sum, copy_and_sum);
        [neon].into_iter()
    }
}

/// Other processors, Miri, and targets that keep vectors switched off.
#[cfg(not(any(
    all(target_arch = "x86_64", target_feature = "sse2", not(miri)),
    all(target_arch = "aarch64", target_feature = "neon", not(miri))
)))]
mod arch {
    pub(in super::super) use super::portable::{copy_and_sum, sum};

    #[cfg(test)]
    pub(in super::super) fn paths() -> impl Iterator<Item = super::Path> {
        core::iter::empty()
    }
}
