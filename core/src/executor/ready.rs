//! Which tasks were woken: a bitmap that any waker may write to.
//!
//! A waker must be `Send + Sync` by its type, so the bits are atomic; on a
//! single-threaded loop nothing contends for them. Bits lie in chunks of 4096
//! tasks. Each chunk has a summary word, so that finding the woken ones costs
//! what was woken, plus one load per chunk.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

const WORDS: usize = 64;
/// Tasks per word.
pub(super) const WORD_BITS: usize = 64;

/// Tasks per chunk.
const CHUNK_TASKS: usize = WORDS * WORD_BITS;

struct Chunk {
    /// Bit `w` is set when word `w` may have a bit set.
    summary: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Chunk {
    fn new() -> Self {
        Self {
            summary: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    /// Sets bits of one word. The word comes before its summary bit, and
    /// [`ReadySet::take`] clears them in the opposite order, so a bit without
    /// a summary bit is never left behind.
    fn set(&self, word: usize, bits: u64) {
        let Some(slot) = self.words.get(word) else {
            return;
        };
        if slot.load(Ordering::Acquire) & bits == bits {
            return;
        }
        if slot.fetch_or(bits, Ordering::AcqRel) == 0 {
            self.summary.fetch_or(1 << word, Ordering::AcqRel);
        }
    }
}

/// Wakes one task slot. A slot keeps its waker over all tasks that pass
/// through it; a waker that outlives its task causes one poll in vain.
pub(super) struct TaskWaker {
    chunk: Arc<Chunk>,
    word: u8,
    bit: u8,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.chunk.set(usize::from(self.word), 1 << self.bit);
    }
}

/// The bits of all tasks. Grows when tasks are spawned, never on the way of a
/// packet.
#[derive(Default)]
pub(super) struct ReadySet {
    chunks: Vec<Arc<Chunk>>,
}

impl ReadySet {
    /// The waker of slot `index`, making room for it.
    pub(super) fn waker(&mut self, index: usize) -> Arc<TaskWaker> {
        let chunk = index / CHUNK_TASKS;
        while self.chunks.len() <= chunk {
            self.chunks.push(Arc::new(Chunk::new()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "both are below 64")]
        Arc::new(TaskWaker {
            chunk: self.chunks[chunk].clone(),
            word: (index / WORD_BITS % WORDS) as u8,
            bit: (index % WORD_BITS) as u8,
        })
    }

    /// The first word at or after `from` that may have a bit set.
    pub(super) fn next_word(&self, from: usize) -> Option<usize> {
        let first = from / WORDS;
        let mut mask = u64::MAX << (from % WORDS);
        for (index, chunk) in self.chunks.iter().enumerate().skip(first) {
            let summary = chunk.summary.load(Ordering::Acquire) & mask;
            if summary != 0 {
                return Some(index * WORDS + summary.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Takes the bits of a word that `mask` selects.
    pub(super) fn take(&self, word: usize, mask: u64) -> u64 {
        let Some(chunk) = self.chunks.get(word / WORDS) else {
            return 0;
        };
        let word = word % WORDS;
        chunk.summary.fetch_and(!(1 << word), Ordering::AcqRel);
        let bits = chunk.words[word].fetch_and(!mask, Ordering::AcqRel);
        if bits & !mask != 0 {
            chunk.summary.fetch_or(1 << word, Ordering::AcqRel);
        }
        bits & mask
    }

    /// Puts bits back that were taken but not served.
    pub(super) fn restore(&self, word: usize, bits: u64) {
        if bits != 0
            && let Some(chunk) = self.chunks.get(word / WORDS)
        {
            chunk.set(word % WORDS, bits);
        }
    }
}

/// The bits of `word` that stand for slots in `from..until`.
pub(super) fn mask_of(word: usize, from: usize, until: usize) -> u64 {
    let low = word * WORD_BITS;
    let below = |slot: usize| match slot.saturating_sub(low) {
        count if count < WORD_BITS => (1u64 << count) - 1,
        _ => u64::MAX,
    };
    below(until) & !below(from)
}

/// The slots of the bits of one word, lowest first.
pub(super) fn slots_of(word: usize, bits: u64) -> impl Iterator<Item = (usize, u64)> {
    let mut left = bits;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let bit = left.trailing_zeros() as usize;
        left &= left - 1;
        Some((word * WORD_BITS + bit, left))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Waker;

    #[test]
    fn finds_what_was_woken_and_nothing_else() {
        let mut set = ReadySet::default();
        let woken = [0, 63, 64, 4095, 4096, 9000];
        let wakers: Vec<Waker> = woken.iter().map(|&i| set.waker(i).into()).collect();
        assert_eq!(set.next_word(0), None);
        for waker in &wakers {
            waker.wake_by_ref();
            waker.wake_by_ref();
        }
        let mut found = Vec::new();
        while let Some(word) = set.next_word(0) {
            let bits = set.take(word, u64::MAX);
            found.extend(slots_of(word, bits).map(|(slot, _)| slot));
        }
        assert_eq!(found, woken);
        assert_eq!(set.next_word(0), None);
    }

    #[test]
    fn restored_bits_are_found_again() {
        let mut set = ReadySet::default();
        Waker::from(set.waker(5)).wake();
        Waker::from(set.waker(7)).wake();
        let bits = set.take(0, u64::MAX);
        assert_eq!(set.next_word(0), None);
        let (slot, rest) = slots_of(0, bits).next().expect("two bits");
        assert_eq!(slot, 5);
        set.restore(0, rest);
        assert_eq!(set.next_word(0), Some(0));
        assert_eq!(set.take(0, u64::MAX), 1 << 7);
    }

    #[test]
    fn a_masked_take_leaves_the_rest_to_be_found() {
        let mut set = ReadySet::default();
        Waker::from(set.waker(3)).wake();
        Waker::from(set.waker(40)).wake();
        assert_eq!(set.take(0, mask_of(0, 10, 64)), 1 << 40);
        assert_eq!(set.next_word(0), Some(0));
        assert_eq!(set.take(0, mask_of(0, 0, 10)), 1 << 3);
        assert_eq!(set.next_word(0), None);
        assert_eq!(mask_of(1, 0, 64), 0);
        assert_eq!(mask_of(1, 64, usize::MAX), u64::MAX);
        assert_eq!(mask_of(1, 65, 66), 2);
    }

    #[test]
    fn search_starts_where_it_is_told() {
        let mut set = ReadySet::default();
        Waker::from(set.waker(10)).wake();
        Waker::from(set.waker(70)).wake();
        assert_eq!(set.next_word(0), Some(0));
        assert_eq!(set.next_word(1), Some(1));
        assert_eq!(set.next_word(2), None);
        assert_eq!(set.next_word(64), None);
        assert_eq!(set.next_word(100_000), None);
    }
}
