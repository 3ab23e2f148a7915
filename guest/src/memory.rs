//! The memory functions that compiled code calls and no libc supplies.
//!
//! Short blocks, the common case, take a few overlapping loads and stores;
//! middling ones a loop over 64 bytes; long ones `rep movsb`, which current
//! CPUs run at full width. The loops are assembly, so that the compiler cannot
//! turn them into calls of the functions that they implement.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_storeu_si128,
};

/// From this many bytes on `rep movsb` and `rep stosb` beat the loops.
const REP_FROM: usize = 1024;

/// # Safety
/// C's `memcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(dest: *mut u8, src: *const u8, len: usize) -> *mut u8 {
    // SAFETY: C's contract: both ranges are valid and do not overlap.
    unsafe {
        if len <= 64 {
            copy_short(dest, src, len);
        } else if len < REP_FROM {
            copy_forward(dest, src, len);
        } else {
            copy_rep(dest, src, len);
        }
    }
    dest
}

/// # Safety
/// C's `memmove`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(dest: *mut u8, src: *const u8, len: usize) -> *mut u8 {
    let apart =
        dest.addr().wrapping_sub(src.addr()) >= len && src.addr().wrapping_sub(dest.addr()) >= len;
    // SAFETY: C's contract: both ranges are valid. The short copy loads all
    // before it stores; the others run in the direction that is safe.
    unsafe {
        if len <= 64 {
            copy_short(dest, src, len);
        } else if apart {
            memcpy(dest, src, len);
        } else if dest.addr() < src.addr() {
            copy_forward_overlapping(dest, src, len);
        } else {
            copy_backward(dest, src, len);
        }
    }
    dest
}

/// Copies at most 64 bytes; the ranges may overlap, as every load comes before
/// the first store.
///
/// # Safety
/// Both ranges must be valid.
#[inline(always)]
unsafe fn copy_short(dest: *mut u8, src: *const u8, len: usize) {
    // SAFETY: in each arm the offsets plus widths stay within `len`.
    unsafe {
        match len {
            33.. => {
                let (a, b) = (load(src), load(src.add(16)));
                let (c, d) = (load(src.add(len - 32)), load(src.add(len - 16)));
                store(dest, a);
                store(dest.add(16), b);
                store(dest.add(len - 32), c);
                store(dest.add(len - 16), d);
            }
            17..=32 => {
                let (a, b) = (load(src), load(src.add(len - 16)));
                store(dest, a);
                store(dest.add(len - 16), b);
            }
            8..=16 => copy_ends::<u64>(dest, src, len),
            4..=7 => copy_ends::<u32>(dest, src, len),
            2..=3 => copy_ends::<u16>(dest, src, len),
            1 => dest.write(src.read()),
            0 => {}
        }
    }
}

/// Copies `len` bytes as two `T`s that may overlap.
///
/// # Safety
/// Both ranges must be valid, `len` between one and two sizes of `T`.
#[inline(always)]
unsafe fn copy_ends<T>(dest: *mut u8, src: *const u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: both ends lie within `len`.
    unsafe {
        let (a, b) = (
            src.cast::<T>().read_unaligned(),
            src.add(last).cast::<T>().read_unaligned(),
        );
        dest.cast::<T>().write_unaligned(a);
        dest.add(last).cast::<T>().write_unaligned(b);
    }
}

/// Copies more than 64 bytes, 64 at a time, and the last 64 once more.
///
/// # Safety
/// Both ranges must be valid and apart; `len` more than 64.
#[inline(always)]
unsafe fn copy_forward(dest: *mut u8, src: *const u8, len: usize) {
    let last = len - 64;
    // SAFETY: the loop covers multiples of 64 below `last`, the four pieces
    // behind it the last 64 bytes: all within `len`.
    unsafe {
        asm!(
            "2:",
            "movups {a}, [{src} + {at}]",
            "movups {b}, [{src} + {at} + 16]",
            "movups {c}, [{src} + {at} + 32]",
            "movups {d}, [{src} + {at} + 48]",
            "movups [{dest} + {at}], {a}",
            "movups [{dest} + {at} + 16], {b}",
            "movups [{dest} + {at} + 32], {c}",
            "movups [{dest} + {at} + 48], {d}",
            "add {at}, 64",
            "cmp {at}, {last}",
            "jb 2b",
            "movups {a}, [{src} + {last}]",
            "movups {b}, [{src} + {last} + 16]",
            "movups {c}, [{src} + {last} + 32]",
            "movups {d}, [{src} + {last} + 48]",
            "movups [{dest} + {last}], {a}",
            "movups [{dest} + {last} + 16], {b}",
            "movups [{dest} + {last} + 32], {c}",
            "movups [{dest} + {last} + 48], {d}",
            src = in(reg) src, dest = in(reg) dest, last = in(reg) last,
            at = inout(reg) 0_usize => _,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// Both ranges must be valid and apart.
#[inline(always)]
unsafe fn copy_rep(dest: *mut u8, src: *const u8, len: usize) {
    // SAFETY: copies just `len` bytes; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") dest => _, inout("rsi") src => _,
             options(nostack, preserves_flags));
    }
}

/// # Safety
/// Both ranges must be valid; `dest` below `src`; `len` more than 64.
unsafe fn copy_forward_overlapping(dest: *mut u8, src: *const u8, len: usize) {
    // SAFETY: the last 16 bytes are loaded before the loop can overwrite them;
    // each step loads before it stores, and stores only below what is yet to be
    // loaded. Steps end at or before the last 16 bytes.
    unsafe {
        let tail = load(src.add(len - 16));
        asm!(
            "2:",
            "movups {a}, [{src} + {at}]",
            "movups [{dest} + {at}], {a}",
            "add {at}, 16",
            "cmp {at}, {last}",
            "jb 2b",
            src = in(reg) src, dest = in(reg) dest, last = in(reg) len - 16,
            at = inout(reg) 0_usize => _, a = out(xmm_reg) _,
            options(nostack),
        );
        store(dest.add(len - 16), tail);
    }
}

/// # Safety
/// Both ranges must be valid; `dest` above `src`; `len` more than 64.
unsafe fn copy_backward(dest: *mut u8, src: *const u8, len: usize) {
    // SAFETY: the mirror image of `copy_forward_overlapping`: `at` runs from
    // `len` down to the first step that reaches 16 or less.
    unsafe {
        let head = load(src);
        asm!(
            "2:",
            "movups {a}, [{src} + {at} - 16]",
            "movups [{dest} + {at} - 16], {a}",
            "sub {at}, 16",
            "cmp {at}, 16",
            "ja 2b",
            src = in(reg) src, dest = in(reg) dest,
            at = inout(reg) len => _, a = out(xmm_reg) _,
            options(nostack),
        );
        store(dest, head);
    }
}

/// # Safety
/// C's `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(dest: *mut u8, value: i32, len: usize) -> *mut u8 {
    let byte = value.to_le_bytes()[0];
    // SAFETY: C's contract: the range is valid. In each arm the offsets plus
    // widths stay within `len`.
    unsafe {
        match len {
            33.. => asm!("rep stosb", inout("rcx") len => _, inout("rdi") dest => _, in("al") byte,
                         options(nostack, preserves_flags)),
            16..=32 => {
                let wide = _mm_set1_epi8(byte.cast_signed());
                store(dest, wide);
                store(dest.add(len - 16), wide);
            }
            8..=15 => {
                let wide = u64::from_ne_bytes([byte; 8]);
                dest.cast::<u64>().write_unaligned(wide);
                dest.add(len - 8).cast::<u64>().write_unaligned(wide);
            }
            4..=7 => {
                let wide = u32::from_ne_bytes([byte; 4]);
                dest.cast::<u32>().write_unaligned(wide);
                dest.add(len - 4).cast::<u32>().write_unaligned(wide);
            }
            1..=3 => {
                dest.write(byte);
                dest.add(len / 2).write(byte);
                dest.add(len - 1).write(byte);
            }
            0 => {}
        }
    }
    dest
}

/// # Safety
/// C's `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    let mut at = 0;
    // SAFETY: C's contract: both ranges are valid; all offsets stay below `len`.
    unsafe {
        while len - at >= 16 {
            let equal = _mm_cmpeq_epi8(load(left.add(at)), load(right.add(at)));
            let differing = !_mm_movemask_epi8(equal) & 0xffff;
            if differing != 0 {
                let at = at + differing.trailing_zeros() as usize;
                return i32::from(left.add(at).read()) - i32::from(right.add(at).read());
            }
            at += 16;
        }
        while at < len {
            let difference = i32::from(left.add(at).read()) - i32::from(right.add(at).read());
            if difference != 0 {
                return difference;
            }
            at += 1;
        }
    }
    0
}

/// # Safety
/// C's `bcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, len) }
}

/// # Safety
/// C's `strlen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let left: usize;
    // SAFETY: C's contract: the text is zero-terminated, and the scan ends
    // there; the direction flag is clear by the ABI.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => left, inout("rdi") text => _, in("al") 0_u8,
             options(nostack, readonly));
    }
    !left - 1
}

/// # Safety
/// 16 bytes must be readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m128i {
    // SAFETY: the caller's promise; the load takes any alignment.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// # Safety
/// 16 bytes must be writable.
#[inline(always)]
unsafe fn store(to: *mut u8, value: __m128i) {
    // SAFETY: the caller's promise; the store takes any alignment.
    unsafe { _mm_storeu_si128(to.cast(), value) }
}
