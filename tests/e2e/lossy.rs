//! A TAP that loses, reorders and damages packets, both ways.

use std::time::Duration;

use pollwire::rings::tap::Tap;
use pollwire::rings::{Caps, FramePool, FrameRef, NetDevice, RxBurst, RxFrame, TxBurst, TxMeta};

/// What happens to so many packets of a thousand.
const LOST: u64 = 10;
const LATE: u64 = 20;
const DAMAGED: u64 = 5;

enum Fate {
    Passes,
    Lost,
    /// Goes behind those that come after it.
    Late,
    Damaged,
}

/// The device. What it receives is of one piece each: no offload.
pub(crate) struct Lossy {
    inner: Tap,
    random: u64,
    arrived: RxBurst,
    late_in: Vec<RxFrame>,
    leaving: TxBurst,
    late_out: Vec<(Vec<FrameRef>, TxMeta)>,
}

impl Lossy {
    pub(crate) fn new(inner: Tap, seed: u64) -> Self {
        Self {
            inner,
            random: seed | 1,
            arrived: RxBurst::new(),
            late_in: Vec::new(),
            leaving: TxBurst::new(),
            late_out: Vec::new(),
        }
    }

    /// Marsaglia: xorshift64.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A full device loses packets, too.
    fn leave(&mut self, pieces: Vec<FrameRef>, meta: TxMeta) {
        if self.leaving.has_room(pieces.len()) {
            for piece in pieces {
                drop(self.leaving.push_piece(piece));
            }
            self.leaving.seal(meta);
        }
    }

    fn leave_late(&mut self, late: Vec<(Vec<FrameRef>, TxMeta)>) {
        for (pieces, meta) in late {
            self.leave(pieces, meta);
        }
        self.inner.tx_burst(&mut self.leaving);
    }

    fn fate(&mut self) -> Fate {
        match self.next() % 1000 {
            draw if draw < LOST => Fate::Lost,
            draw if draw < LOST + LATE => Fate::Late,
            draw if draw < LOST + LATE + DAMAGED => Fate::Damaged,
            _ => Fate::Passes,
        }
    }
}

impl NetDevice for Lossy {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        self.inner.rx_burst(pool, &mut self.arrived);
        let late = std::mem::take(&mut self.late_in);
        let mut arrived: Vec<RxFrame> = self.arrived.drain().collect();
        arrived.extend(late);
        for mut received in arrived {
            let draw = self.next();
            match self.fate() {
                Fate::Lost => continue,
                Fate::Late => {
                    self.late_in.push(received);
                    continue;
                }
                Fate::Damaged => {
                    let len = received.frame.len().max(1) as u64;
                    let at = usize::try_from(draw % len).expect("a frame's length");
                    if let Some(byte) = received.frame.get_mut(at) {
                        *byte ^= 1 << (draw >> 60 & 7);
                    }
                }
                Fate::Passes => {}
            }
            // The burst may be full of earlier ones: lost, then.
            let _full = out.push(received.frame, received.meta);
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let late = std::mem::take(&mut self.late_out);
        let mut count = 0;
        loop {
            let mut pieces = Vec::new();
            let Some(meta) = burst.pop_front(|piece| pieces.push(piece)) else {
                break;
            };
            count += 1;
            match self.fate() {
                // What leaves in shared frames is not damaged but lost.
                Fate::Lost | Fate::Damaged => {}
                Fate::Late => self.late_out.push((pieces, meta)),
                Fate::Passes => self.leave(pieces, meta),
            }
        }
        self.leave_late(late);
        count
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        let late = std::mem::take(&mut self.late_out);
        self.leave_late(late);
        let short = Duration::from_millis(1);
        let waiting = !self.late_in.is_empty();
        self.inner.wait(if waiting { Some(short) } else { timeout });
    }
}
