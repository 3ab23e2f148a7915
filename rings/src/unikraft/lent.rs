//! Frames that the shim holds.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

/// Frames that somebody else holds, each under a number of its own.
#[derive(Debug)]
pub(super) struct Lent<T> {
    places: Box<[Option<T>]>,
    free: Vec<u32>,
}

impl<T> Lent<T> {
    pub(super) fn new(count: u16) -> Self {
        Self {
            places: (0..count).map(|_| None).collect(),
            free: (0..u32::from(count)).rev().collect(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn lend(&mut self, frame: T) -> Option<u32> {
        let cookie = self.free.pop()?;
        *self.places.get_mut(cookie as usize)? = Some(frame);
        Some(cookie)
    }

    /// The frame under `cookie`, which the other side no longer holds.
    pub(super) fn take(&mut self, cookie: u32) -> Option<T> {
        let frame = self.places.get_mut(cookie as usize)?.take()?;
        self.free.push(cookie);
        Some(frame)
    }

    /// Never uses any of them again.
    pub(super) fn abandon(&mut self) {
        for place in &mut self.places {
            let _abandoned = ManuallyDrop::new(place.take());
        }
    }
}
