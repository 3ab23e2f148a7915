//! The frame pool: fixed memory, an intrusive free list, non-atomic counts.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::FrameBuf;

/// Bytes left free in front of a frame's data when it is allocated: room for
/// Ethernet (14, or 18 with a VLAN tag), IPv6 (40), TCP with all options (60)
/// and a device's own header.
pub const HEADROOM: usize = 128;

#[repr(C, align(64))]
struct Slot<const SIZE: usize>([u8; SIZE]);

/// Bookkeeping of one slot. All-zero before the pool is made, so that static
/// memory lies in `.bss`.
pub(crate) struct Desc {
    /// First byte of the slot.
    pub(crate) data: Cell<*mut u8>,
    /// The pool to return to.
    pub(crate) pool: Cell<*const PoolCore>,
    /// Next free slot, while free.
    next: Cell<*const Desc>,
    /// Handles that hold the slot.
    pub(crate) refs: Cell<u32>,
}

impl Desc {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "a template to copy from"
    )]
    const EMPTY: Self = Self {
        data: Cell::new(ptr::null_mut()),
        pool: Cell::new(ptr::null()),
        next: Cell::new(ptr::null()),
        refs: Cell::new(0),
    };
}

/// The pool's shared state, beside the slots.
pub(crate) struct PoolCore {
    free: Cell<*const Desc>,
    available: Cell<usize>,
    low_water: Cell<usize>,
    capacity: Cell<usize>,
    pub(crate) slot_size: Cell<usize>,
    base: Cell<*mut u8>,
    /// Set when the pool's handle is gone and the memory is the heap's: the
    /// last frame to come home frees everything.
    orphan: Cell<Option<fn(*const PoolCore)>>,
}

impl PoolCore {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "a template to copy from"
    )]
    const EMPTY: Self = Self {
        free: Cell::new(ptr::null()),
        available: Cell::new(0),
        low_water: Cell::new(0),
        capacity: Cell::new(0),
        slot_size: Cell::new(0),
        base: Cell::new(ptr::null_mut()),
        orphan: Cell::new(None),
    };
}

/// Memory for `FRAMES` frames of `SIZE` bytes each, meant for a `static`: it is
/// all zero, so it lies in `.bss` and costs nothing in the image.
///
/// `SIZE` counts everything: headroom, headers and payload. Both must be powers
/// of two, `SIZE` between 512 and 65,536: checked at compile time.
#[repr(C)]
pub struct FrameMemory<const FRAMES: usize, const SIZE: usize = 2048> {
    slots: UnsafeCell<[Slot<SIZE>; FRAMES]>,
    descs: UnsafeCell<[Desc; FRAMES]>,
    core: UnsafeCell<PoolCore>,
    taken: AtomicBool,
}

// SAFETY: the memory is reached only through the one `FramePool` that
// `from_static` makes; `taken` is atomic and lets exactly one caller through.
// The pool and all its handles are `!Send`.
unsafe impl<const FRAMES: usize, const SIZE: usize> Sync for FrameMemory<FRAMES, SIZE> {}

impl<const FRAMES: usize, const SIZE: usize> FrameMemory<FRAMES, SIZE> {
    const CHECKED: () = {
        assert!(FRAMES.is_power_of_two(), "FRAMES must be a power of two");
        assert!(FRAMES <= 1 << 24, "at most 2^24 frames");
        assert!(SIZE.is_power_of_two(), "SIZE must be a power of two");
        assert!(
            SIZE >= 512 && SIZE <= 65_536,
            "SIZE must lie in 512..=65536"
        );
    };

    /// Memory that no pool has taken yet.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            slots: UnsafeCell::new([const { Slot([0; SIZE]) }; FRAMES]),
            descs: UnsafeCell::new([const { Desc::EMPTY }; FRAMES]),
            core: UnsafeCell::new(PoolCore::EMPTY),
            taken: AtomicBool::new(false),
        }
    }
}

impl<const FRAMES: usize, const SIZE: usize> Default for FrameMemory<FRAMES, SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands out frames. Single-threaded by type: the pool and its frames are
/// `!Send`.
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<pollwire_rings::FramePool>();
/// ```
pub struct FramePool {
    core: NonNull<PoolCore>,
    heap: Option<fn(*const PoolCore)>,
    not_send: PhantomData<*const ()>,
}

impl FramePool {
    /// A pool over static memory; `None` when a pool was made of it before.
    #[must_use]
    pub fn from_static<const FRAMES: usize, const SIZE: usize>(
        memory: &'static FrameMemory<FRAMES, SIZE>,
    ) -> Option<Self> {
        if memory.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Self::build(ptr::from_ref(memory).cast_mut(), None))
    }

    /// A pool over heap memory of the same shape, for hosts and tests. It is
    /// freed when the pool and its last frame are gone.
    ///
    /// # Panics
    /// When the heap cannot give the memory.
    #[must_use]
    pub fn on_heap<const FRAMES: usize, const SIZE: usize>() -> Self {
        let () = FrameMemory::<FRAMES, SIZE>::CHECKED;
        let layout = Layout::new::<FrameMemory<FRAMES, SIZE>>();
        // SAFETY: the layout is not empty (FRAMES and SIZE are at least 1).
        let memory = unsafe { alloc_zeroed(layout) }.cast::<FrameMemory<FRAMES, SIZE>>();
        assert!(
            !memory.is_null(),
            "no heap for {} bytes of frames",
            layout.size()
        );
        Self::build(memory, Some(free_heap::<FRAMES, SIZE>))
    }

    fn build<const FRAMES: usize, const SIZE: usize>(
        memory: *mut FrameMemory<FRAMES, SIZE>,
        heap: Option<fn(*const PoolCore)>,
    ) -> Self {
        // SAFETY: `memory` is valid for the pool's whole life (static, or heap
        // freed only by the last handle) and no other reference into its
        // `UnsafeCell`s exists: the caller is the only one that `taken` let
        // through, or the allocation is new. All-zero bytes are valid for every
        // field. The raw pointers are made without references to the slots.
        let (core, slots, descs) = unsafe {
            (
                UnsafeCell::raw_get(&raw const (*memory).core),
                UnsafeCell::raw_get(&raw const (*memory).slots).cast::<u8>(),
                UnsafeCell::raw_get(&raw const (*memory).descs).cast::<Desc>(),
            )
        };
        // SAFETY: as above; `core` is valid and shared access through `Cell`s is
        // single-threaded by `!Send`.
        let state = unsafe { &*core };
        let mut next: *const Desc = ptr::null();
        for index in (0..FRAMES).rev() {
            // SAFETY: index < FRAMES, both arrays have FRAMES elements.
            let (desc, data) = unsafe { (&*descs.add(index), slots.add(index * SIZE)) };
            desc.data.set(data);
            desc.pool.set(core);
            desc.next.set(next);
            next = desc;
        }
        state.free.set(next);
        state.available.set(FRAMES);
        state.low_water.set(FRAMES);
        state.capacity.set(FRAMES);
        state.slot_size.set(SIZE);
        state.base.set(slots);
        // SAFETY: `core` points into `memory`, which is not null.
        let core = unsafe { NonNull::new_unchecked(core) };
        Self {
            core,
            heap,
            not_send: PhantomData,
        }
    }

    #[inline]
    fn core(&self) -> &PoolCore {
        // SAFETY: valid as long as this handle lives (see `build`), and only
        // shared references to it are ever made.
        unsafe { self.core.as_ref() }
    }

    /// An empty frame with [`HEADROOM`] bytes of headroom; `None` when all are
    /// in use.
    #[must_use]
    #[inline]
    pub fn alloc(&self) -> Option<FrameBuf> {
        let core = self.core();
        let desc = NonNull::new(core.free.get().cast_mut())?;
        // SAFETY: descriptors on the free list are valid and owned by the pool.
        let state = unsafe { desc.as_ref() };
        core.free.set(state.next.get());
        let left = core.available.get().wrapping_sub(1);
        core.available.set(left);
        if left < core.low_water.get() {
            core.low_water.set(left);
        }
        state.refs.set(1);
        Some(FrameBuf::from_desc(desc))
    }

    /// Frames free now.
    #[must_use]
    #[inline]
    pub fn available(&self) -> usize {
        self.core().available.get()
    }

    /// Frames in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core().capacity.get()
    }

    /// Frames in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.capacity() - self.available()
    }

    /// Fewest frames that were ever free at once.
    #[must_use]
    pub fn low_water(&self) -> usize {
        self.core().low_water.get()
    }

    /// Bytes of one slot, headroom included.
    #[must_use]
    #[inline]
    pub fn frame_size(&self) -> usize {
        self.core().slot_size.get()
    }

    /// Address range of all slots, for devices that must register memory or
    /// check that a frame lies clear of some address.
    #[must_use]
    pub fn address_range(&self) -> core::ops::Range<usize> {
        let start = self.core().base.get() as usize;
        start..start + self.capacity() * self.frame_size()
    }
}

impl core::fmt::Debug for FramePool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FramePool")
            .field("capacity", &self.capacity())
            .field("available", &self.available())
            .field("frame_size", &self.frame_size())
            .finish_non_exhaustive()
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        let Some(free) = self.heap else { return };
        if self.available() == self.capacity() {
            free(self.core.as_ptr());
        } else {
            self.core().orphan.set(Some(free));
        }
    }
}

/// Returns a slot whose last handle is gone.
#[inline]
pub(crate) fn release(desc: NonNull<Desc>) {
    // SAFETY: the caller held the last handle, so the descriptor and its pool
    // are alive, and nobody else refers to the slot.
    let (state, pool, core) = unsafe {
        let state = desc.as_ref();
        let pool = state.pool.get();
        (state, pool, &*pool)
    };
    state.next.set(core.free.get());
    core.free.set(desc.as_ptr());
    let available = core.available.get().wrapping_add(1);
    core.available.set(available);
    if let Some(free) = core.orphan.get()
        && available == core.capacity.get()
    {
        // The raw pointer, not the reference: a reference's provenance ends
        // with the core, and what is freed is the whole allocation around it.
        free(pool);
    }
}

fn free_heap<const FRAMES: usize, const SIZE: usize>(core: *const PoolCore) {
    let offset = core::mem::offset_of!(FrameMemory<FRAMES, SIZE>, core);
    // SAFETY: `core` is the field of a heap-allocated `FrameMemory` of just this
    // type (`on_heap` pairs them), all frames are home and the pool's handle is
    // gone, so nothing refers to it any more. The pointer came from the whole
    // allocation (`build`), so stepping back stays within its provenance.
    unsafe {
        let memory = core.cast_mut().cast::<u8>().sub(offset);
        dealloc(memory, Layout::new::<FrameMemory<FRAMES, SIZE>>());
    }
}
