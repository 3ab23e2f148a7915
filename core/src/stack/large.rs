//! Frames for what must lie in one piece, and is longer than a frame: a TLS record
//! of 16 KiB is sealed whole, and cut into segments where it lies.

use alloc::vec::Vec;

use pollwire_rings::{FrameBuf, FramePool};

use super::Stack;

/// Bytes of a large frame: a TLS record of 16 KiB, overhead included.
pub const LARGE_FRAME: usize = 16 * 1024;
/// Large frames that are taken from the heap at once.
const CHUNK: usize = 4;
/// Most chunks: a MiB.
const MOST_CHUNKS: usize = 16;

/// Large frames: on the heap, which gives them when they are first needed.
#[derive(Debug)]
pub(super) struct LargeFrames {
    pools: Vec<FramePool>,
}

impl LargeFrames {
    pub(super) const fn new() -> Self {
        Self { pools: Vec::new() }
    }

    fn alloc(&mut self) -> Option<FrameBuf> {
        let known = self.pools.iter().find_map(FramePool::alloc);
        known.or_else(|| {
            if self.pools.len() >= MOST_CHUNKS {
                return None;
            }
            let pool = FramePool::on_heap::<CHUNK, LARGE_FRAME>();
            let frame = pool.alloc();
            self.pools.push(pool);
            frame
        })
    }
}

impl Stack {
    /// An empty frame of [`LARGE_FRAME`] bytes, headroom included, to
    /// [send](Self::tcp_try_send) data that must lie in one piece: its segments
    /// go out from where it lies, each behind a header in a frame of its own.
    ///
    /// `None` where all of them are in use, or a device would have to copy such
    /// packets together ([`Caps::gathers`](pollwire_rings::Caps::gathers)).
    ///
    /// They are taken from the heap, four at a time, when none is free, and stay:
    /// at most 64 of them, a MiB.
    #[must_use]
    pub fn alloc_large(&mut self) -> Option<FrameBuf> {
        if self.interfaces().all(|known| known.caps().gathers) {
            self.large.alloc()
        } else {
            None
        }
    }

    /// Large frames in use now.
    #[must_use]
    pub fn large_in_use(&self) -> usize {
        self.large.pools.iter().map(FramePool::in_use).sum()
    }
}

#[cfg(test)]
mod tests {
    use pollwire_rings::Caps;

    use super::*;
    use crate::{Config, Ipv4Cidr};

    fn stack(gathers: bool) -> Stack {
        let mut caps = Caps::plain([2, 0, 0, 0, 0, 1], 1500);
        caps.gathers = gathers;
        let address = "10.0.0.1/24".parse::<Ipv4Cidr>().expect("an address");
        Stack::on_heap::<16, 16, 2048>(&Config::new(address, [1; 32]), caps)
    }

    #[test]
    fn large_frames_are_bounded_and_come_back() {
        let mut stack = stack(true);
        for _ in 0..2 {
            let frames: Vec<_> = core::iter::from_fn(|| stack.alloc_large()).collect();
            assert_eq!(frames.len(), CHUNK * MOST_CHUNKS);
            assert_eq!(stack.large_in_use(), frames.len());
            for mut frame in frames {
                frame.reset(0);
                assert_eq!(frame.tailroom(), LARGE_FRAME);
            }
            assert_eq!(stack.large_in_use(), 0);
        }
        assert_eq!(stack.pool().in_use(), 0, "no frame of the pool's own");
    }

    #[test]
    fn there_are_none_where_a_device_would_join_the_pieces() {
        let mut stack = stack(false);
        assert!(stack.alloc_large().is_none());
        // Nor where another interface's device would.
        let mut stack = self::stack(true);
        let mut caps = Caps::plain([2, 0, 0, 0, 0, 2], 1500);
        caps.gathers = false;
        let address = "10.0.1.1/24".parse::<Ipv4Cidr>().expect("an address");
        let config = Config::new(address, [1; 32]);
        stack.add_interface(&config, caps).expect("a second one");
        assert!(stack.alloc_large().is_none());
    }
}
