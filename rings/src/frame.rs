//! Frame handles: [`FrameBuf`] (unique, writable), [`FrameRef`] (shared).
//!
//! A handle is a view: an offset and a length into one slot of the pool. Views
//! can shrink, and a unique one can grow into its slot. Slots start zeroed and
//! are never uninitialised, so growing a view exposes old packet bytes at
//! worst, never undefined ones.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

use crate::pool::{Desc, HEADROOM, release};

/// Where a view lies in its slot. `off + len <= slot size` always holds.
#[derive(Clone, Copy, Debug)]
struct View {
    desc: NonNull<Desc>,
    off: u32,
    len: u32,
}

impl View {
    #[inline]
    fn desc(&self) -> &Desc {
        // SAFETY: a handle keeps its slot, and so the pool's memory, alive.
        unsafe { self.desc.as_ref() }
    }

    #[inline]
    fn slot_size(&self) -> usize {
        // SAFETY: as above: the pool's core lives as long as any handle.
        unsafe { (*self.desc().pool.get()).slot_size.get() }
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: off <= slot size, so the pointer stays within the slot (or
        // one past its end when the view is empty).
        unsafe { self.desc().data.get().add(self.off as usize) }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: off + len <= slot size; the bytes are initialised; they are
        // written only through a unique handle, which excludes this borrow.
        unsafe { slice::from_raw_parts(self.data(), self.len as usize) }
    }

    #[inline]
    fn tailroom(&self) -> usize {
        self.slot_size() - (self.off + self.len) as usize
    }

    #[inline]
    fn trim_front(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.len);
        self.off += count;
        self.len -= count;
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.len = u32::try_from(len).unwrap_or(u32::MAX).min(self.len);
    }

    #[inline]
    fn grow_front(&mut self, count: usize) -> bool {
        match u32::try_from(count) {
            Ok(count) if count <= self.off => {
                self.off -= count;
                self.len += count;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn grow_back(&mut self, count: usize) -> bool {
        let fits = count <= self.tailroom();
        if fits {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most the slot size, 64 KiB"
            )]
            {
                self.len += count as u32;
            }
        }
        fits
    }
}

/// A frame with one owner: writable, growable within its slot, back in the pool
/// on drop.
pub struct FrameBuf {
    view: View,
    not_send: PhantomData<*const ()>,
}

impl FrameBuf {
    #[inline]
    pub(crate) fn from_desc(desc: NonNull<Desc>) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "HEADROOM is 128")]
        let view = View {
            desc,
            off: HEADROOM as u32,
            len: 0,
        };
        Self {
            view,
            not_send: PhantomData,
        }
    }

    /// Sets the data's length and returns where the data begins.
    ///
    /// # Safety
    /// The slot has `len` bytes from the view's start on.
    #[inline]
    pub(crate) unsafe fn set_len_unchecked(&mut self, len: usize) -> *mut u8 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most the slot size, 64 KiB"
        )]
        {
            self.view.len = len as u32;
        }
        self.view.data()
    }

    /// Free bytes before the data.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> usize {
        self.view.off as usize
    }

    /// Free bytes behind the data.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.view.tailroom()
    }

    /// Bytes of the whole slot.
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.view.slot_size()
    }

    /// Empties the frame and puts its data at `headroom` (clamped to the slot).
    pub fn reset(&mut self, headroom: usize) {
        let off = headroom.min(self.slot_size());
        self.view.off = u32::try_from(off).unwrap_or(0);
        self.view.len = 0;
    }

    /// Sets the data's length, shrinking or growing at the end; `false`, and no
    /// change, when the slot is too small. New bytes hold whatever was there.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> bool {
        self.view.truncate(len);
        let missing = len - self.view.len as usize;
        self.view.grow_back(missing)
    }

    /// Drops `count` bytes at the front (at most all); they become headroom.
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        self.view.trim_front(count);
    }

    /// Shortens the data to `len` bytes; no effect when it is shorter.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.view.truncate(len);
    }

    /// Grows by `count` bytes at the front and gives them to write; `None`
    /// without that much headroom.
    #[inline]
    pub fn push_front(&mut self, count: usize) -> Option<&mut [u8]> {
        if !self.view.grow_front(count) {
            return None;
        }
        self.get_mut(..count)
    }

    /// Grows by `count` bytes at the end and gives them to write; `None`
    /// without that much tailroom.
    #[inline]
    pub fn push_back(&mut self, count: usize) -> Option<&mut [u8]> {
        let len = self.len();
        if !self.view.grow_back(count) {
            return None;
        }
        self.get_mut(len..)
    }

    /// Appends as much of `data` as fits; returns how much that was.
    #[inline]
    pub fn extend_from_slice(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.tailroom());
        if let (Some(room), Some(data)) = (self.push_back(count), data.get(..count)) {
            room.copy_from_slice(data);
        }
        count
    }

    /// All free bytes behind the data, for a device to receive into; make them
    /// data with [`set_len`](Self::set_len).
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let room = self.tailroom();
        // SAFETY: the range [off + len, slot size) lies within the slot, is
        // initialised, and this unique handle borrows it mutably.
        unsafe {
            let start = self.view.data().add(self.view.len as usize);
            slice::from_raw_parts_mut(start, room)
        }
    }

    /// Gives up uniqueness.
    #[must_use]
    #[inline]
    pub fn freeze(self) -> FrameRef {
        let view = ManuallyDrop::new(self).view;
        FrameRef {
            view,
            not_send: PhantomData,
        }
    }
}

impl Deref for FrameBuf {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.view.bytes()
    }
}

impl DerefMut for FrameBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: within the slot and initialised (see `View::bytes`); the
        // handle is the slot's only one and is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.view.data(), self.view.len as usize) }
    }
}

impl Drop for FrameBuf {
    #[inline]
    fn drop(&mut self) {
        release(self.view.desc);
    }
}

impl fmt::Debug for FrameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameBuf({}+{})", self.view.off, self.view.len)
    }
}

/// A shared, read-only view of a frame. Clones and slices hold the same slot;
/// it returns to the pool when the last of them drops.
///
/// The count saturates rather than wraps: a slot cloned 2^32 − 1 times is never
/// freed, which is a leak, not a fault.
pub struct FrameRef {
    view: View,
    not_send: PhantomData<*const ()>,
}

impl FrameRef {
    /// Whether no other handle holds the slot.
    #[must_use]
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.view.desc().refs.get() == 1
    }

    /// Bytes of the whole slot: what this frame costs, whatever the view shows.
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.view.slot_size()
    }

    /// The frame to write, when this is its only handle.
    ///
    /// # Errors
    /// The handle itself, when others exist.
    #[inline]
    pub fn try_into_mut(self) -> Result<FrameBuf, Self> {
        if !self.is_unique() {
            return Err(self);
        }
        let view = ManuallyDrop::new(self).view;
        Ok(FrameBuf {
            view,
            not_send: PhantomData,
        })
    }

    /// A second handle on the bytes `start..end` of this view; `None` when they
    /// lie outside.
    #[must_use]
    #[inline]
    pub fn slice(&self, start: usize, end: usize) -> Option<Self> {
        if start > end || end > self.len() {
            return None;
        }
        let mut part = self.clone();
        part.truncate(end);
        part.trim_front(start);
        Some(part)
    }

    /// Splits after `count` bytes: returns the front, keeps the rest. A count
    /// past the end takes all.
    #[must_use]
    pub fn split_to(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        front.truncate(count);
        self.trim_front(count);
        front
    }

    /// Drops the handle, without a call.
    #[inline(always)]
    pub fn release(self) {
        ManuallyDrop::new(self).let_go();
    }

    #[inline(always)]
    fn let_go(&mut self) {
        let refs = &self.view.desc().refs;
        let count = refs.get();
        if count == 1 {
            release(self.view.desc);
        } else if count != u32::MAX {
            refs.set(count - 1);
        }
    }

    /// Hides `count` bytes at the front (at most all).
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        self.view.trim_front(count);
    }

    /// Shortens the view to `len` bytes; no effect when it is shorter.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.view.truncate(len);
    }

    /// Free bytes behind the view, when this is the slot's only handle; else 0.
    #[must_use]
    pub fn unique_tailroom(&self) -> usize {
        if self.is_unique() {
            self.view.tailroom()
        } else {
            0
        }
    }

    /// Appends as much of `data` as fits behind the view, when this is the
    /// slot's only handle; returns how much that was.
    #[inline]
    pub fn extend_if_unique(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.unique_tailroom());
        // SAFETY: the handle is the only one and borrowed mutably, so nobody
        // reads the slot; the range lies behind the view, within the slot.
        unsafe {
            let start = self.view.data().add(self.view.len as usize);
            core::ptr::copy_nonoverlapping(data.as_ptr(), start, count);
        }
        self.view.grow_back(count);
        count
    }

    /// Writes a header of `count` bytes right before the view, in the same
    /// slot, and returns a second handle that shows header and view together.
    /// `None` when other handles exist (the device may still be reading an
    /// earlier header) or the headroom is too small.
    #[must_use]
    #[inline(always)]
    pub fn with_header(&mut self, count: usize, write: impl FnOnce(&mut [u8])) -> Option<Self> {
        let whole = self.with_headroom(count)?;
        // SAFETY: the handle is the only one and borrowed mutably, so nobody
        // reads or writes the slot meanwhile; the range is the `count` bytes
        // that `with_headroom` found before the view.
        write(unsafe { slice::from_raw_parts_mut(whole.data(), count) });
        Some(self.share(whole))
    }

    /// [`with_header`](Self::with_header) for a header of fixed length, in two
    /// steps.
    #[must_use]
    #[inline(always)]
    pub fn header_room<const N: usize>(&mut self) -> Option<HeaderRoom<'_, N>> {
        let whole = self.with_headroom(N)?;
        Some(HeaderRoom { frame: self, whole })
    }

    /// The view grown by `count` bytes at the front, if this handle is the only
    /// one.
    #[inline(always)]
    fn with_headroom(&self, count: usize) -> Option<View> {
        let mut whole = self.view;
        (self.is_unique() && whole.grow_front(count)).then_some(whole)
    }

    /// A second handle; this one was the only one.
    #[inline(always)]
    fn share(&self, view: View) -> Self {
        self.view.desc().refs.set(2);
        Self {
            view,
            not_send: PhantomData,
        }
    }
}

/// Headroom before a [`FrameRef`] that nobody else holds, `N` bytes, to write a
/// header in.
#[derive(Debug)]
pub struct HeaderRoom<'a, const N: usize> {
    frame: &'a mut FrameRef,
    /// The frame's view grown by `N` bytes at the front.
    whole: View,
}

impl<const N: usize> HeaderRoom<'_, N> {
    /// The bytes; they hold whatever was there.
    #[inline(always)]
    pub fn bytes(&mut self) -> &mut [u8; N] {
        // SAFETY: the frame's handle is the only one and borrowed mutably for
        // as long as this lives, so nobody reads or writes the slot meanwhile;
        // `whole` was found to begin with `N` bytes of it before the view. An
        // array of bytes has no alignment to keep.
        unsafe { &mut *self.whole.data().cast::<[u8; N]>() }
    }

    /// A second handle, which shows header and view together.
    #[must_use]
    #[inline(always)]
    pub fn share(self) -> FrameRef {
        self.frame.share(self.whole)
    }
}

impl Clone for FrameRef {
    #[inline]
    fn clone(&self) -> Self {
        let refs = &self.view.desc().refs;
        refs.set(refs.get().saturating_add(1));
        Self {
            view: self.view,
            not_send: PhantomData,
        }
    }
}

impl Drop for FrameRef {
    #[inline]
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Deref for FrameRef {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.view.bytes()
    }
}

impl From<FrameBuf> for FrameRef {
    fn from(frame: FrameBuf) -> Self {
        frame.freeze()
    }
}

impl fmt::Debug for FrameRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refs = self.view.desc().refs.get();
        write!(
            f,
            "FrameRef({}+{}, {refs} handles)",
            self.view.off, self.view.len
        )
    }
}

const _: () = assert!(size_of::<FrameRef>() == 16 && size_of::<Option<FrameRef>>() == 16);
const _: () = assert!(size_of::<FrameBuf>() == 16 && size_of::<Option<FrameBuf>>() == 16);
