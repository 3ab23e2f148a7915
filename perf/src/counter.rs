use core::fmt;
use core::marker::PhantomData;

/// An enum without fields whose variants name counters.
///
/// `#[repr(usize)]` and `self as usize` make [`Named::index`] free.
pub trait Named: Copy + 'static {
    /// Every variant, in the order of [`Named::index`].
    const ALL: &'static [Self];

    /// The name under which the counter is printed, in kebab-case.
    fn name(self) -> &'static str;

    /// The place of the counter, from 0; below the `N` of its [`CounterSet`].
    fn index(self) -> usize;
}

/// `N` counters, addressed by the variants of a [`Named`] enum. They wrap at
/// 2^64. An index of `N` or more counts nothing and reads as 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSet<const N: usize>([u64; N]);

impl<const N: usize> CounterSet<N> {
    /// All counters at 0.
    #[must_use]
    pub const fn new() -> Self {
        CounterSet([0; N])
    }

    /// Adds 1.
    #[inline]
    pub fn inc<K: Named>(&mut self, key: K) {
        self.add(key, 1);
    }

    /// Adds `amount`.
    #[inline]
    pub fn add<K: Named>(&mut self, key: K, amount: u64) {
        if let Some(count) = self.0.get_mut(key.index()) {
            *count = count.wrapping_add(amount);
        }
    }

    /// The count so far.
    #[inline]
    #[must_use]
    pub fn get<K: Named>(&self, key: K) -> u64 {
        self.0.get(key.index()).copied().unwrap_or(0)
    }

    /// The sum of all counters.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Sets all counters to 0.
    pub fn reset(&mut self) {
        self.0 = [0; N];
    }

    /// Every counter with its count, in the order of [`Named::ALL`].
    pub fn iter<K: Named>(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        K::ALL.iter().map(|key| (*key, self.get(*key)))
    }

    /// Prints what is not 0 as `name=count name=count`, or `none`.
    pub fn display<K: Named>(&self) -> impl fmt::Display + '_ {
        Shown::<K, N>(self, PhantomData)
    }
}

impl<const N: usize> Default for CounterSet<N> {
    fn default() -> Self {
        CounterSet::new()
    }
}

struct Shown<'a, K, const N: usize>(&'a CounterSet<N>, PhantomData<K>);

impl<K: Named, const N: usize> fmt::Display for Shown<'_, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (key, count) in self.0.iter::<K>().filter(|(_, count)| *count != 0) {
            write!(f, "{separator}{}={count}", key.name())?;
            separator = " ";
        }
        if separator.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;
    use std::vec::Vec;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(usize)]
    enum Key {
        Rx,
        Tx,
        Beyond,
    }

    impl Named for Key {
        const ALL: &'static [Key] = &[Key::Rx, Key::Tx, Key::Beyond];
        fn name(self) -> &'static str {
            ["rx", "tx", "beyond"][self as usize]
        }
        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn counts_prints_and_resets() {
        let mut set = CounterSet::<2>::default();
        assert_eq!(set.display::<Key>().to_string(), "none");
        set.inc(Key::Rx);
        set.add(Key::Tx, 5);
        set.add(Key::Beyond, 7);
        assert_eq!(set.total(), 6);
        assert_eq!(set.display::<Key>().to_string(), "rx=1 tx=5");
        let all: Vec<(Key, u64)> = set.iter().collect();
        assert_eq!(all, [(Key::Rx, 1), (Key::Tx, 5), (Key::Beyond, 0)]);
        set.reset();
        assert_eq!(set.total(), 0);
    }

    #[test]
    fn wraps() {
        let mut set = CounterSet::<1>::new();
        set.add(Key::Rx, u64::MAX);
        set.inc(Key::Rx);
        assert_eq!(set.get(Key::Rx), 0);
    }
}
