//! The guest's end of the ring.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::fence;
use core::time::Duration;

use super::super::manifest::NetAttachment;
use super::super::{ETHERNET, Solo5Stats, caps, join, usable_mtu};
use super::{
    LONGEST_FRAME, OPERATION_READ, OPERATION_WRITE, RET_AGAIN, RET_OK, RING_SIZE, Ring, RingHost,
    slot,
};
use crate::scarce::is_unwelcome;
use crate::{
    Caps, FrameBuf, FramePool, FrameRef, NetDevice, RX_BURST, RxBurst, RxMeta, TxBurst, TxPacket,
};

/// The tender does not check for overflow: one entry always stays free.
const MOST_OUTSTANDING: u32 = RING_SIZE as u32 - 1;
/// Rounds of waiting for the I/O thread before giving the CPU away; a few tens
/// of microseconds.
const SPINS: u32 = 4096;
/// Longest sleep while the I/O thread owes an answer: it does not end a sleep.
const OWED: Duration = Duration::from_micros(100);
/// Rounds of waiting for outstanding reads when the device goes.
const DROP_SPINS: u32 = 50_000_000;
/// An idle device whose loop never sleeps looks for frames every so many turns.
const PROBE_EVERY: u32 = 16;

/// A network device over a shared ring.
#[derive(Debug)]
pub struct RingDevice<'r, H: RingHost> {
    ring: &'r Ring,
    host: H,
    handle: u32,
    caps: Caps,
    /// No address range may reach this one.
    pub(super) memory_end: u64,
    /// Entries published and released; the shared words are only written.
    pub(super) tail: u32,
    published: u32,
    pub(super) head: u32,
    pub(super) commits: u32,
    /// Frames of the writes in flight, each at its entry's place.
    sent: Box<[Option<FrameRef>]>,
    /// Frames of the reads in flight, oldest first.
    pub(super) posted: VecDeque<FrameBuf>,
    pub(super) next_id: u32,
    pub(super) batch: Batch,
    /// The tender's own index of work done, at the last kick.
    kicked_at: Option<u32>,
    tx_blocked: bool,
    joined: Box<[u8]>,
    stats: Solo5Stats,
}

/// How many reads to post.
#[derive(Debug, Default)]
pub(super) struct Batch {
    posted: u32,
    pub(super) full: u32,
    /// The tender said that there is something to read.
    pub(super) readable: bool,
    idle_turns: u32,
}

impl Batch {
    pub(super) fn next(&mut self) -> u32 {
        let most = u32::try_from(RX_BURST).unwrap_or(u32::MAX);
        if self.posted > 0 && self.full == self.posted {
            return (self.posted * 2).min(most);
        }
        if self.full > 0 {
            return self.full;
        }
        self.idle_turns += 1;
        u32::from(self.readable || self.idle_turns >= PROBE_EVERY)
    }

    pub(super) fn begin(&mut self, posted: u32) {
        *self = Self {
            posted,
            ..Self::default()
        };
    }
}

impl<'r, H: RingHost> RingDevice<'r, H> {
    /// The device of `attachment` over `ring`, receiving into frames of `pool`.
    /// No frame may reach the address `memory_end`, one below the end of guest
    /// memory: the tender would end the guest.
    ///
    /// The ring must be fresh: one device per ring.
    #[must_use]
    pub fn new(
        ring: &'r Ring,
        host: H,
        attachment: &NetAttachment,
        pool: &FramePool,
        memory_end: u64,
    ) -> Self {
        let mtu = usable_mtu(attachment.mtu, pool.frame_size());
        let mut sent = Vec::with_capacity(RING_SIZE);
        sent.resize_with(RING_SIZE, || None);
        Self {
            ring,
            host,
            handle: attachment.handle,
            caps: caps(attachment.mac, mtu),
            memory_end,
            tail: 0,
            published: 0,
            head: 0,
            commits: 0,
            sent: sent.into_boxed_slice(),
            posted: VecDeque::with_capacity(RX_BURST),
            next_id: 0,
            batch: Batch::default(),
            kicked_at: None,
            tx_blocked: false,
            joined: vec![0; usize::from(mtu) + ETHERNET].into_boxed_slice(),
            stats: Solo5Stats::default(),
        }
    }

    /// Counters since boot.
    #[must_use]
    pub fn stats(&self) -> Solo5Stats {
        self.stats
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// Writes an entry; [`publish`](Self::publish) shows it to the tender.
    fn put(&mut self, operation: u32, address: u64, len: u32) {
        if let Some(entry) = self.ring.entries.get(slot(self.tail)) {
            entry.operation.store(operation, Relaxed);
            entry.handle.store(self.handle, Relaxed);
            entry.data.store(address, Relaxed);
            entry.len.store(len, Relaxed);
            entry.id.store(self.next_id, Relaxed);
        }
        if operation == OPERATION_READ {
            self.next_id = self.next_id.wrapping_add(1);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        if self.tail == self.published {
            return;
        }
        self.published = self.tail;
        self.ring.guest.ent_tail.store(self.tail, Release);
        // The tender stores `needs_kick`, then loads `ent_tail`; we the other
        // way round. Without the fence both could miss the other's store.
        fence(SeqCst);
        let asleep = self.ring.host.needs_kick.load(Acquire) != 0;
        // There was work at the last kick, so as long as the tender has done
        // none since, that kick is still on its way and will do for this work
        // too. Its index is read anew: what `reap` last saw may be older than
        // its falling asleep.
        let done = self.ring.host.ent_head.load(Relaxed);
        if asleep && self.kicked_at != Some(done) {
            self.kicked_at = Some(done);
            self.stats.kicks += 1;
            self.host.kick();
        }
    }

    /// Lets go of what the tender has sent.
    fn reap(&mut self) {
        let done = self
            .ring
            .host
            .ent_head
            .load(Acquire)
            .wrapping_sub(self.head);
        if done > self.outstanding() {
            self.stats.host_violations += 1;
            return;
        }
        for _ in 0..done {
            if let Some(sent) = self.sent.get_mut(slot(self.head)) {
                *sent = None;
            }
            self.head = self.head.wrapping_add(1);
        }
    }

    /// Reads that the tender has answered, as far as it can be believed.
    fn answered(&mut self) -> usize {
        let claimed = self
            .ring
            .host
            .com_tail
            .load(Acquire)
            .wrapping_sub(self.commits) as usize;
        if claimed > self.posted.len() {
            self.stats.host_violations += 1;
        }
        claimed.min(self.posted.len())
    }

    fn harvest(&mut self, pool: &FramePool, out: &mut RxBurst) {
        let mut answered = self.answered();
        while answered > 0 && out.has_room(1) {
            let (Some(commit), Some(frame)) = (
                self.ring.commits.get(slot(self.commits)),
                self.posted.pop_front(),
            ) else {
                return;
            };
            let (ret, len) = (commit.ret.load(Relaxed), commit.len.load(Relaxed));
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most RX_BURST are posted"
            )]
            let expected = self.next_id.wrapping_sub(self.posted.len() as u32 + 1);
            if commit.id.load(Relaxed) == expected {
                self.accept(pool, frame, (ret, len), out);
            } else {
                self.stats.host_violations += 1;
            }
            self.commits = self.commits.wrapping_add(1);
            answered -= 1;
        }
        self.ring.guest.com_head.store(self.commits, Release);
    }

    fn accept(
        &mut self,
        pool: &FramePool,
        mut frame: FrameBuf,
        (ret, len): (u32, u32),
        out: &mut RxBurst,
    ) {
        let (len, room) = (len as usize, frame.tailroom());
        match ret {
            RET_AGAIN => {}
            RET_OK => {
                self.batch.full += 1;
                if len > room {
                    self.stats.host_violations += 1;
                } else if len == room {
                    self.stats.rx_truncated += 1;
                } else if is_unwelcome(pool, self.posted.len(), len) {
                    self.stats.rx_scarce += 1;
                } else {
                    let _fits = frame.set_len(len);
                    // `harvest` asked for room.
                    let _full = out.push(frame, RxMeta::default());
                }
            }
            _ => self.stats.rx_errors += 1,
        }
    }

    /// Posts the next batch of reads, once the last one is harvested.
    fn post_reads(&mut self, pool: &FramePool) {
        if !self.posted.is_empty() {
            return;
        }
        let wanted = self.batch.next();
        let mut posted = 0;
        while posted < wanted && self.outstanding() < MOST_OUTSTANDING {
            let Some(mut frame) = pool.alloc() else { break };
            let room = frame.spare_mut();
            let Some((address, len)) = reachable(room.as_mut_ptr(), room.len(), self.memory_end)
            else {
                break;
            };
            self.put(OPERATION_READ, address, len);
            self.posted.push_back(frame);
            posted += 1;
        }
        if posted > 0 {
            self.batch.begin(posted);
            self.publish();
        }
    }

    fn route(&self, packet: &TxPacket<'_>) -> Route {
        let len = packet.len();
        if len < ETHERNET || len > usize::from(self.caps.mtu) + ETHERNET {
            return Route::Invalid;
        }
        if len > LONGEST_FRAME {
            return Route::Call;
        }
        match packet.pieces {
            [_] => Route::Ring,
            [first, ..] if first.unique_tailroom() >= len - first.len() => Route::Join,
            _ => Route::Call,
        }
    }

    /// Puts a frame on the ring, and keeps it until the tender has sent it.
    fn send(&mut self, frame: FrameRef) {
        let Some((address, len)) = reachable(frame.as_ptr(), frame.len(), self.memory_end) else {
            self.stats.tx_invalid += 1;
            return;
        };
        if let Some(place) = self.sent.get_mut(slot(self.tail)) {
            *place = Some(frame);
        }
        self.put(OPERATION_WRITE, address, len);
    }

    /// Sends a packet without the ring, behind all that is on it. `false` when
    /// the ring did not drain in time.
    fn send_by_call(&mut self, packet: &TxPacket<'_>) -> bool {
        self.publish();
        if !self.spin_until(|device| {
            device.reap();
            device.outstanding() == 0
        }) {
            return false;
        }
        let sent = match packet.pieces {
            [whole] => self.host.write(self.handle, whole),
            pieces => {
                let frame = join(pieces, &mut self.joined);
                self.stats.tx_joined_bytes += frame.len() as u64;
                self.host.write(self.handle, frame)
            }
        };
        self.stats.tx_errors += u64::from(!sent);
        true
    }

    fn spin_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..SPINS {
            if done(self) {
                return true;
            }
            spin_loop();
        }
        false
    }
}

/// How a packet goes out.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// Of one piece, by the ring.
    Ring,
    /// By the ring, once its pieces are joined in the first one's frame.
    Join,
    /// By a hypercall.
    Call,
    /// Not at all: the tender would end the guest.
    Invalid,
}

/// Address and length for an entry, when the host may reach them.
fn reachable(data: *const u8, len: usize, memory_end: u64) -> Option<(u64, u32)> {
    let address = data.expose_provenance() as u64;
    let end = address.checked_add(len as u64)?;
    (end < memory_end).then_some((address, u32::try_from(len).ok()?))
}

/// Takes the oldest packet out, its pieces joined in the first one's frame.
fn pop_joined(burst: &mut TxBurst) -> (Option<FrameRef>, usize) {
    let mut whole: Option<FrameRef> = None;
    let mut copied = 0;
    burst.pop_front(|piece| match &mut whole {
        None => whole = Some(piece),
        Some(whole) => copied += whole.extend_if_unique(&piece),
    });
    (whole, copied)
}

impl<H: RingHost> NetDevice for RingDevice<'_, H> {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        self.reap();
        self.harvest(pool, out);
        self.post_reads(pool);
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        self.reap();
        self.tx_blocked = false;
        let (first, mut accepted, mut taken) = (self.tail, 0, 0);
        while let Some(packet) = burst.get(taken) {
            if self.outstanding() >= MOST_OUTSTANDING {
                self.tx_blocked = true;
                break;
            }
            match (self.route(&packet), packet.pieces) {
                (Route::Ring, [frame]) => self.send(frame.clone()),
                (Route::Join, _) => {
                    burst.consume(taken);
                    accepted += taken + 1;
                    taken = 0;
                    let (whole, copied) = pop_joined(burst);
                    self.stats.tx_joined_bytes += copied as u64;
                    whole.into_iter().for_each(|frame| self.send(frame));
                    continue;
                }
                (Route::Invalid, _) => self.stats.tx_invalid += 1,
                (Route::Call | Route::Ring, _) => {
                    if !self.send_by_call(&packet) {
                        self.tx_blocked = true;
                        break;
                    }
                }
            }
            taken += 1;
        }
        burst.consume(taken);
        if self.tail != first {
            self.publish();
        }
        accepted + taken
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        // A posted read can take the very frame that should end the sleep, and
        // frames in flight may be all that the pool lacks: no long sleep before
        // the tender owes nothing.
        let settled = self.spin_until(|device| {
            device.reap();
            device.answered() > 0 || device.outstanding() == 0
        });
        if self.answered() > 0 || self.tx_blocked && settled {
            return;
        }
        let owed = !self.posted.is_empty() || self.outstanding() > 0;
        let timeout = match timeout {
            timeout if !owed => timeout,
            Some(timeout) => Some(timeout.min(OWED)),
            None => Some(OWED),
        };
        if timeout == Some(Duration::ZERO) {
            return;
        }
        let ready = self.host.poll(timeout);
        self.batch.readable |= ready >> self.handle & 1 == 1;
    }
}

impl<H: RingHost> Drop for RingDevice<'_, H> {
    /// Waits for the tender to let go of all frames. Those that it does not let
    /// go of are lost to the pool: it may still write to them.
    fn drop(&mut self) {
        for _ in 0..DROP_SPINS {
            self.reap();
            if self.outstanding() == 0 && self.answered() == self.posted.len() {
                return;
            }
            spin_loop();
        }
        for sent in self.sent.iter_mut().filter_map(Option::take) {
            let _lost = ManuallyDrop::new(sent);
        }
        for posted in self.posted.drain(..) {
            let _lost = ManuallyDrop::new(posted);
        }
    }
}
