//! Typed memory that a stack owns for its whole life: static or heap.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

/// An owned slice whose memory came from a `static` or from the heap; using it
/// costs the same either way.
pub struct Region<T: 'static> {
    slice: NonNull<[T]>,
    heap: bool,
    owns: PhantomData<T>,
}

impl<T: 'static> Region<T> {
    /// A region over memory that nobody else will ever see again.
    #[must_use]
    pub fn from_static(memory: &'static mut [T]) -> Self {
        Self {
            slice: NonNull::from(memory),
            heap: false,
            owns: PhantomData,
        }
    }

    /// A region over heap memory; freed on drop.
    #[must_use]
    pub fn from_box(memory: Box<[T]>) -> Self {
        Self {
            slice: NonNull::from(Box::leak(memory)),
            heap: true,
            owns: PhantomData,
        }
    }
}

impl<T: 'static> Deref for Region<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the slice is valid for the region's life (static, or a leaked
        // box that only `drop` takes back) and the region is its only owner.
        unsafe { self.slice.as_ref() }
    }
}

impl<T: 'static> DerefMut for Region<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; `&mut self` makes the borrow exclusive.
        unsafe { self.slice.as_mut() }
    }
}

impl<T: 'static> Drop for Region<T> {
    fn drop(&mut self) {
        if self.heap {
            // SAFETY: the pointer came from `Box::leak` and is taken back once.
            drop(unsafe { Box::from_raw(self.slice.as_ptr()) });
        }
    }
}

/// A type with a constant to start from, for [`TakeCell`].
pub trait Blank {
    /// The value that a new [`TakeCell`] holds.
    const BLANK: Self;
}

/// The [blank](Blank) value of a type, in a `static`, to be taken once,
/// mutably and for ever.
///
/// The type need not be `Send`: whichever thread takes the value could as well
/// have made it, from the same constant.
pub struct TakeCell<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: the value is reached only through `take`, which lets one caller
// through, so threads share nothing but the atomic `taken`. What that caller
// gets is `T::BLANK` as `new` put it there, untouched: a constant has no tie to
// the thread that evaluated it, and the caller could have written `T::BLANK`
// itself. So the value crosses no threads, whether or not `T: Send`.
unsafe impl<T: Blank> Sync for TakeCell<T> {}

impl<T: Blank> TakeCell<T> {
    /// A cell that nobody has taken from.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: UnsafeCell::new(T::BLANK),
            taken: AtomicBool::new(false),
        }
    }

    /// The value, the first time; `None` ever after.
    #[expect(clippy::mut_from_ref, reason = "`taken` makes the borrow unique")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: only the first caller gets here, and `'static` means that the
        // value is never moved or dropped.
        Some(unsafe { &mut *self.value.get() })
    }
}

impl<T: Blank> Default for TakeCell<T> {
    fn default() -> Self {
        Self::new()
    }
}
