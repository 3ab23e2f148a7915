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

/// A value in a `static` that can be taken once, mutably and for ever.
pub struct TakeCell<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: the value is reached only through `take`, which lets one caller
// through; `T: Send` because that caller may be another thread than the one
// that made it.
unsafe impl<T: Send> Sync for TakeCell<T> {}

impl<T> TakeCell<T> {
    /// A cell that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
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
