//! Frames against a model: random operations on handles, compared byte for
//! byte with a plain array that stands for the pool's memory.

use pollwire_rings::{FrameBuf, FrameMemory, FramePool, FrameRef, HEADROOM};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const FRAMES: usize = 8;
const SIZE: usize = 512;

enum Handle {
    Buf(FrameBuf),
    Ref(FrameRef),
}

/// What the model knows of a handle: where its view lies.
#[derive(Clone, Copy, Debug)]
struct Shadow {
    slot: usize,
    off: usize,
    len: usize,
}

struct World {
    pool: FramePool,
    memory: Vec<u8>,
    handles: Vec<(Handle, Shadow)>,
}

impl World {
    fn new() -> Self {
        Self {
            pool: FramePool::on_heap::<FRAMES, SIZE>(),
            memory: vec![0; FRAMES * SIZE],
            handles: Vec::new(),
        }
    }

    fn refs(&self, slot: usize) -> usize {
        self.handles.iter().filter(|(_, s)| s.slot == slot).count()
    }

    fn in_use(&self) -> usize {
        (0..FRAMES).filter(|slot| self.refs(*slot) > 0).count()
    }

    fn expected(&self, at: Shadow) -> &[u8] {
        let start = at.slot * SIZE + at.off;
        &self.memory[start..start + at.len]
    }

    fn write(&mut self, slot: usize, off: usize, bytes: &[u8]) {
        self.memory[slot * SIZE + off..][..bytes.len()].copy_from_slice(bytes);
    }

    fn alloc(&mut self) {
        let full = self.in_use() == FRAMES;
        let frame = self.pool.alloc();
        assert_eq!(frame.is_none(), full);
        let Some(frame) = frame else { return };
        assert_eq!((frame.headroom(), frame.len()), (HEADROOM, 0));
        let slot = (frame.as_ptr() as usize - self.pool.address_range().start) / SIZE;
        assert_eq!(self.refs(slot), 0, "slot {slot} was handed out twice");
        let shadow = Shadow {
            slot,
            off: HEADROOM,
            len: 0,
        };
        self.handles.push((Handle::Buf(frame), shadow));
    }

    fn on_buf(&mut self, mut frame: FrameBuf, mut at: Shadow, op: u8, a: usize, fill: u8) {
        let tail = SIZE - at.off - at.len;
        assert_eq!(frame.tailroom(), tail);
        assert_eq!(frame.headroom(), at.off);
        match op % 9 {
            0 => {
                let count = a % (HEADROOM + 8);
                match frame.push_front(count) {
                    Some(room) => {
                        assert!(count <= at.off);
                        room.fill(fill);
                        at.off -= count;
                        at.len += count;
                        self.write(at.slot, at.off, &vec![fill; count]);
                    }
                    None => assert!(count > at.off),
                }
            }
            1 => {
                let count = a % (SIZE + 8);
                match frame.push_back(count) {
                    Some(room) => {
                        assert!(count <= tail);
                        room.fill(fill);
                        self.write(at.slot, at.off + at.len, &vec![fill; count]);
                        at.len += count;
                    }
                    None => assert!(count > tail),
                }
            }
            2 => {
                let len = a % (SIZE + 8);
                let fits = at.off + len <= SIZE;
                assert_eq!(frame.set_len(len), fits);
                if fits {
                    at.len = len;
                }
            }
            3 => {
                frame.trim_front(a);
                let count = a.min(at.len);
                at.off += count;
                at.len -= count;
            }
            4 => {
                frame.truncate(a % SIZE);
                at.len = at.len.min(a % SIZE);
            }
            5 => {
                frame.reset(a);
                at.off = a.min(SIZE);
                at.len = 0;
            }
            6 => {
                let data = vec![fill; a % 300];
                let count = frame.extend_from_slice(&data);
                assert_eq!(count, data.len().min(tail));
                self.write(at.slot, at.off + at.len, &data[..count]);
                at.len += count;
            }
            7 => {
                let spare = frame.spare_mut();
                assert_eq!(spare.len(), tail);
                spare.fill(fill);
                self.write(at.slot, at.off + at.len, &vec![fill; tail]);
            }
            _ => {
                self.handles.push((Handle::Ref(frame.freeze()), at));
                return;
            }
        }
        self.handles.push((Handle::Buf(frame), at));
    }

    fn on_ref(&mut self, mut frame: FrameRef, mut at: Shadow, op: u8, (a, b): (usize, usize)) {
        // The handle itself is out of the list while it is worked on.
        let unique = self.refs(at.slot) == 0;
        let fill = (a ^ b) as u8;
        assert_eq!(frame.is_unique(), unique);
        match op % 8 {
            0 => self.handles.push((Handle::Ref(frame.clone()), at)),
            1 => {
                let (start, end) = (a % SIZE, b % SIZE);
                let part = frame.slice(start, end);
                assert_eq!(part.is_some(), start <= end && end <= at.len);
                if let Some(part) = part {
                    let shadow = Shadow {
                        slot: at.slot,
                        off: at.off + start,
                        len: end - start,
                    };
                    self.handles.push((Handle::Ref(part), shadow));
                }
            }
            2 => {
                let count = (a % SIZE).min(at.len);
                let front = frame.split_to(a % SIZE);
                self.handles
                    .push((Handle::Ref(front), Shadow { len: count, ..at }));
                at.off += count;
                at.len -= count;
            }
            3 => {
                frame.trim_front(a % SIZE);
                let count = (a % SIZE).min(at.len);
                at.off += count;
                at.len -= count;
            }
            4 => {
                frame.truncate(a % SIZE);
                at.len = at.len.min(a % SIZE);
            }
            5 => {
                match frame.try_into_mut() {
                    Ok(frame) => {
                        assert!(unique);
                        self.handles.push((Handle::Buf(frame), at));
                    }
                    Err(frame) => {
                        assert!(!unique);
                        self.handles.push((Handle::Ref(frame), at));
                    }
                }
                return;
            }
            6 => {
                let data = vec![fill; a % 200];
                let room = if unique { SIZE - at.off - at.len } else { 0 };
                let count = frame.extend_if_unique(&data);
                assert_eq!(count, data.len().min(room));
                self.write(at.slot, at.off + at.len, &data[..count]);
                at.len += count;
            }
            _ => {
                let count = a % (HEADROOM + 8);
                let whole = frame.with_header(count, |header| {
                    assert_eq!(header.len(), count);
                    header.fill(fill);
                });
                assert_eq!(whole.is_some(), unique && count <= at.off);
                if let Some(whole) = whole {
                    let off = at.off - count;
                    self.write(at.slot, off, &vec![fill; count]);
                    let shadow = Shadow {
                        slot: at.slot,
                        off,
                        len: at.len + count,
                    };
                    self.handles.push((Handle::Ref(whole), shadow));
                }
            }
        }
        self.handles.push((Handle::Ref(frame), at));
    }

    fn step(&mut self, op: u8, a: u16, b: u16) {
        let (a, b) = (usize::from(a), usize::from(b));
        if op < 40 || self.handles.is_empty() {
            self.alloc();
        } else {
            let (handle, at) = self.handles.swap_remove(b % self.handles.len());
            match handle {
                _ if op > 220 => drop(handle),
                Handle::Buf(frame) => self.on_buf(frame, at, op, a, b as u8),
                Handle::Ref(frame) => self.on_ref(frame, at, op, (a, b)),
            }
        }
        self.check();
    }

    fn check(&self) {
        for (handle, at) in &self.handles {
            let bytes: &[u8] = match handle {
                Handle::Buf(frame) => frame,
                Handle::Ref(frame) => frame,
            };
            assert_eq!(bytes, self.expected(*at), "{at:?}");
        }
        assert_eq!(self.pool.in_use(), self.in_use());
        assert!(self.pool.low_water() <= self.pool.available());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn handles_behave_like_the_model(ops in prop::collection::vec(any::<(u8, u16, u16)>(), 0..160)) {
        let mut world = World::new();
        for (op, a, b) in ops {
            world.step(op, a, b);
        }
        world.handles.clear();
        prop_assert_eq!(world.pool.available(), FRAMES);
    }
}

#[test]
fn a_pool_gives_each_frame_once_and_takes_it_back() {
    let pool = FramePool::on_heap::<4, 2048>();
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.available(), pool.in_use()), (4, 0, 4));
    let mut starts: Vec<_> = all.iter().map(|frame| frame.as_ptr() as usize).collect();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), 4);
    assert!(starts.iter().all(|at| pool.address_range().contains(at)));
    drop(all);
    assert_eq!((pool.available(), pool.low_water()), (4, 0));
}

#[test]
fn static_memory_makes_one_pool_only() {
    static MEMORY: FrameMemory<2, 512> = FrameMemory::new();
    let pool = FramePool::from_static(&MEMORY).expect("first");
    assert!(FramePool::from_static(&MEMORY).is_none());
    let mut frame = pool.alloc().expect("free");
    frame.extend_from_slice(b"outlives its pool's handle");
    drop(pool);
    assert!(FramePool::from_static(&MEMORY).is_none());
    assert_eq!(&frame[..8], b"outlives");
}

#[test]
fn slots_are_aligned_to_cache_lines() {
    let pool = FramePool::on_heap::<4, 512>();
    assert_eq!(pool.address_range().start % 64, 0);
    let frame = pool.alloc().expect("free");
    assert_eq!(frame.as_ptr() as usize % 64, HEADROOM % 64);
}

#[test]
fn a_header_is_written_only_while_nobody_else_reads() {
    let pool = FramePool::on_heap::<2, 512>();
    let mut buf = pool.alloc().expect("free");
    buf.extend_from_slice(b"payload");
    let mut queued = buf.freeze();
    let sent = queued
        .with_header(4, |h| h.copy_from_slice(b"one "))
        .expect("sole");
    assert_eq!(
        (&sent[..], &queued[..]),
        (&b"one payload"[..], &b"payload"[..])
    );
    assert!(
        queued
            .with_header(4, |_| panic!("the ring still holds it"))
            .is_none()
    );
    drop(sent);
    let again = queued
        .with_header(4, |h| h.copy_from_slice(b"two "))
        .expect("sole again");
    assert_eq!(&again[..], b"two payload");
    assert!(again.try_into_mut().is_err());
    assert!(queued.is_unique());
}

#[test]
fn a_header_writer_that_panics_changes_nothing() {
    let pool = FramePool::on_heap::<2, 512>();
    let mut queued = pool.alloc().expect("free").freeze();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = queued.with_header(4, |_| panic!("writer"));
    }));
    assert!(caught.is_err() && queued.is_unique());
    drop(queued);
    assert_eq!(pool.available(), 2);
}
