//! Heap pools free their memory exactly once, when the pool and its last frame
//! are gone, in whichever order; and a plain wire allocates nothing once it
//! exists.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pollwire_rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst, TxMeta, memory};

/// Counts all allocations, and those alive that have a cache line's alignment
/// or more: only pools ask for that. Per thread, so that tests may run side by side.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(layout: Layout, change: isize) {
    ALLOCATIONS.with(|all| all.set(all.get() + usize::from(change > 0)));
    if layout.align() >= 64 {
        LIVE.with(|live| live.set(live.get() + change));
    }
}

// SAFETY: passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(layout, -1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> isize {
    LIVE.with(Cell::get)
}

#[test]
fn freed_with_the_pool_when_every_frame_is_home() {
    let pool = FramePool::on_heap::<4, 512>();
    assert_eq!(live(), 1);
    drop(pool.alloc());
    drop(pool);
    assert_eq!(live(), 0);
}

#[test]
fn freed_with_the_last_handle_when_the_pool_went_first() {
    let pool = FramePool::on_heap::<4, 512>();
    let buf = pool.alloc().expect("free");
    let mut shared = pool.alloc().expect("free").freeze();
    shared.extend_if_unique(b"still here");
    let clone = shared.clone();
    drop(pool);
    drop(buf);
    drop(shared);
    assert_eq!(live(), 1);
    assert_eq!(&clone[..], b"still here");
    drop(clone);
    assert_eq!(live(), 0);
}

#[test]
fn two_pools_do_not_mix() {
    let (small, large) = (
        FramePool::on_heap::<2, 512>(),
        FramePool::on_heap::<2, 4096>(),
    );
    let (a, b) = (small.alloc().expect("free"), large.alloc().expect("free"));
    assert_eq!((a.slot_size(), b.slot_size()), (512, 4096));
    drop(small);
    drop(b);
    assert_eq!((large.available(), live()), (2, 2));
    drop(a);
    assert_eq!(live(), 1);
}

#[test]
fn a_plain_wire_allocates_nothing() {
    let pool = FramePool::on_heap::<256, 2048>();
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (mut left, mut right) = memory::pair(caps(1), caps(2));
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        while tx.has_room(2) {
            for len in [54, 1460] {
                let mut frame = pool.alloc().expect("free");
                frame.set_len(len);
                tx.push_piece(frame.freeze()).expect("room");
            }
            tx.seal(TxMeta::default());
        }
        while left.tx_burst(&mut tx) > 0 || right.rx_burst(&pool, &mut rx) > 0 {
            rx.drain().for_each(drop);
        }
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    assert_eq!(pool.in_use(), 0);
}
