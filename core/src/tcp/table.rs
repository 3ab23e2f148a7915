//! All flows of a stack: slots, handles, and the lists that they stand in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use arrayvec::ArrayVec;
use pollwire_rings::{FrameBuf, FramePool, Instant, Region};

use super::challenge::ChallengeLimit;
use super::cookie::Cookies;
use super::episode::{self, Episodes};
use super::half_open::{HalfOpen, STEPS};
use super::isn::Secrets;
use super::listen::Listener;
use super::node::{Node, Nodes};
use super::records::{Record, Records};
use super::tcb::{Cold, Hot, Tcb, flag, mark};
use super::template::Template;
use super::time_wait::TimeWait;
use super::{Env, MAX_REST};
use crate::flow::Slot;
use crate::iface::{InterfaceId, MAX_INTERFACES};
use crate::{Counters, FlowKey, Random};

/// Later than everything.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// Flows that are looked at for episodes that are over, at a time.
const RECLAIM: u32 = 8;

/// Bytes of a packet up to its TCP ports: Ethernet, IPv4 without options.
pub(crate) const HEAD: usize = 58;
/// The beginning of a packet.
pub(crate) type Head = [u8; HEAD];

/// A connection. Stale once its handle was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A listener. Stale once closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A flow's place in memory. The hot state has cache lines of its own; the rest
/// lies behind it, so that one look-up finds all.
#[repr(C)]
pub(crate) struct FlowSlot {
    hot: Hot,
    key: FlowKey,
    cold: Cold,
}

impl FlowSlot {
    /// No flow. All-zero.
    pub(crate) const EMPTY: Self = Self {
        hot: Hot::EMPTY,
        key: FlowKey::EMPTY,
        cold: Cold::EMPTY,
    };

    #[inline]
    fn tcb(&mut self) -> Tcb<'_> {
        Tcb {
            hot: &mut self.hot,
            cold: &mut self.cold,
            key: &self.key,
        }
    }
}

/// A list of flows (index + 1, 0 for none).
#[derive(Clone, Copy, Debug, Default)]
struct FlowList {
    head: u32,
    tail: u32,
}

/// Records and the slots of the hash table that finds them.
pub(crate) type RecordMemory<T> = (Region<Record<T>>, Region<Slot>);

/// The slots of all flows and what links them.
pub(crate) struct Tcp {
    slots: Region<FlowSlot>,
    pub(crate) nodes: Nodes,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) secrets: Secrets,
    /// The flow that the last segment belonged to.
    pub(crate) last: u32,
    /// How that flow's last expected packet began: checked, so a packet that
    /// begins alike is of that flow as well. All zero if there was none.
    pub(crate) last_head: Head,
    /// What was worked out last for a flow without marks, and its key.
    pub(crate) last_template: (FlowKey, Template),
    /// Flows that output must look at, linked through `Hot::next_touched`.
    touched: FlowList,
    /// The same, of interfaces that were not at hand.
    parked: [FlowList; MAX_INTERFACES],
    /// Closed slots, linked through `Cold::listener`.
    free: u32,
    /// Slots from here on were never used.
    fresh: u32,
    in_use: u32,
    /// Where the search for episodes that are over goes on.
    reclaimed: u32,
    /// Flows whose handles were given up before they were over.
    pub(crate) orphans: u32,
    pub(crate) time_wait: Records<TimeWait, 1>,
    pub(crate) handshakes: Records<HalfOpen, STEPS>,
    pub(crate) challenges: ChallengeLimit,
    pub(crate) cookies: Cookies,
    /// No record is due before this.
    records_due: Instant,
}

impl Tcp {
    pub(crate) fn new(
        slots: Region<FlowSlot>,
        nodes: Region<Node>,
        time_wait: RecordMemory<TimeWait>,
        handshakes: RecordMemory<HalfOpen>,
        random: &mut Random,
    ) -> Self {
        let secrets = Secrets::new(|| random.next_u64());
        let episodes = Episodes::new(slots.len());
        Self {
            slots,
            nodes: Nodes::new(nodes, episodes),
            listeners: Vec::new(),
            secrets,
            last: 0,
            last_head: [0; HEAD],
            last_template: (FlowKey::EMPTY, Template::EMPTY),
            touched: FlowList::default(),
            parked: [FlowList::default(); MAX_INTERFACES],
            free: 0,
            fresh: 0,
            in_use: 0,
            reclaimed: 0,
            orphans: 0,
            time_wait: Records::new(time_wait.0, time_wait.1),
            handshakes: Records::new(handshakes.0, handshakes.1),
            challenges: ChallengeLimit::default(),
            cookies: Cookies::new(random),
            records_due: NEVER,
        }
    }

    /// When the first record may be due; `None` while there is none.
    #[inline]
    pub(crate) fn records_due(&self) -> Option<Instant> {
        (self.records_due != NEVER).then_some(self.records_due)
    }

    /// A record is due at `at`.
    pub(crate) fn note_due(&mut self, at: Instant) {
        self.records_due = self.records_due.min(at);
    }

    /// Looks up when the first record is due: each queue's first knows.
    pub(crate) fn find_due(&mut self, now: Instant) {
        let handshakes = (0..STEPS).filter_map(|step| {
            let index = self.handshakes.front(step)?;
            Some(self.handshakes.get(index)?.nanos_left(now))
        });
        let time_wait = self
            .time_wait
            .front(0)
            .and_then(|index| Some(self.time_wait.get(index)?.nanos_left(now)));
        let left = handshakes.chain(time_wait).min();
        self.records_due = left.map_or(NEVER, |left| now.plus_nanos(left));
    }

    /// Makes flow `index` the one that the last segment belonged to.
    #[inline]
    pub(crate) fn set_last(&mut self, index: u32) {
        self.last = index;
        self.last_head = [0; HEAD];
    }

    /// Has the next packet from the wire look its flow up. No short way leads to
    /// a flow whose peer is this host itself: nobody on the wire may speak for
    /// it, however well he knows its ports and sequence numbers.
    pub(crate) fn forget_last(&mut self) {
        self.set_last(u32::MAX);
    }

    /// Flows in use.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use as usize
    }

    /// Most flows that may go on without a handle.
    pub(crate) fn most_orphans(&self) -> u32 {
        u32::try_from(self.slots.len() / 2).unwrap_or(u32::MAX)
    }

    /// Slots that were ever used: every flow's index lies below.
    pub(crate) fn len(&self) -> u32 {
        self.fresh
    }

    /// The hot state of flow `index`.
    #[inline]
    pub(crate) fn hot(&self, index: u32) -> Option<&Hot> {
        self.slots.get(index as usize).map(|slot| &slot.hot)
    }

    #[inline]
    fn hot_mut(&mut self, index: u32) -> Option<&mut Hot> {
        self.slots.get_mut(index as usize).map(|slot| &mut slot.hot)
    }

    /// The cold state of flow `index`.
    #[inline]
    pub(crate) fn cold(&self, index: u32) -> Option<&Cold> {
        self.slots.get(index as usize).map(|slot| &slot.cold)
    }

    /// The same, to change.
    #[inline]
    pub(crate) fn cold_mut(&mut self, index: u32) -> Option<&mut Cold> {
        self.slots
            .get_mut(index as usize)
            .map(|slot| &mut slot.cold)
    }

    /// What names flow `index`.
    #[inline]
    pub(crate) fn key(&self, index: u32) -> Option<&FlowKey> {
        self.slots.get(index as usize).map(|slot| &slot.key)
    }

    /// The state of flow `index`.
    #[inline]
    pub(crate) fn tcb(&mut self, index: u32) -> Option<Tcb<'_>> {
        Some(self.slots.get_mut(index as usize)?.tcb())
    }

    /// The state of flow `index` and what its code works with.
    #[inline(always)]
    pub(crate) fn flow<'a>(
        &'a mut self,
        index: u32,
        now: Instant,
        pool: &'a FramePool,
        counters: &'a mut Counters,
        rest: &'a mut ArrayVec<FrameBuf, MAX_REST>,
    ) -> Option<(Tcb<'a>, Env<'a>)> {
        let tcb = self.slots.get_mut(index as usize)?.tcb();
        let env = Env {
            now,
            pool,
            nodes: &mut self.nodes,
            counters,
            rest,
        };
        Some((tcb, env))
    }

    /// The state of flow `index` and the queue nodes.
    #[inline]
    pub(crate) fn tcb_and_nodes(&mut self, index: u32) -> Option<(Tcb<'_>, &mut Nodes)> {
        let tcb = self.slots.get_mut(index as usize)?.tcb();
        Some((tcb, &mut self.nodes))
    }

    /// A handle on flow `index`.
    pub(crate) fn handle(&self, index: u32) -> Option<FlowId> {
        let cold = self.cold(index)?;
        Some(FlowId {
            index,
            generation: cold.generation,
        })
    }

    /// A closed slot, made ready for a flow with `key`, whose hash is `hash`.
    pub(crate) fn alloc(&mut self, key: FlowKey, hash: u32) -> Option<u32> {
        let index = match self.free.checked_sub(1) {
            Some(index) => {
                self.free = self.cold(index)?.listener;
                index
            }
            None if (self.fresh as usize) < self.slots.len() => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        let cold = self.cold_mut(index)?;
        cold.listener = 0;
        cold.hash = hash;
        cold.generation = cold.generation.wrapping_add(1);
        self.slots.get_mut(index as usize)?.key = key;
        self.in_use += 1;
        Some(index)
    }

    /// Puts a slot back: queues emptied, wakers dropped, handles stale.
    pub(crate) fn release(&mut self, index: u32) {
        self.untouch(index);
        if index == self.last {
            self.last_head = [0; HEAD];
        }
        let Some(FlowSlot { hot, cold, .. }) = self.slots.get_mut(index as usize) else {
            return;
        };
        self.nodes.clear(&mut hot.send);
        self.nodes.clear(&mut hot.recv);
        cold.end_episode(&mut self.nodes);
        self.orphans -= u32::from(cold.marks & mark::ORPHAN != 0);
        let generation = cold.generation.wrapping_add(1);
        *hot = Hot::EMPTY;
        *cold = Cold {
            generation,
            listener: self.free,
            ..Cold::EMPTY
        };
        self.free = index + 1;
        self.in_use -= 1;
    }

    /// Has flows that are in order again give back what they keep of past
    /// trouble, while that is short: looks at a few flows, others each time.
    #[cold]
    pub(crate) fn reclaim(&mut self) {
        for _ in 0..RECLAIM.min(self.fresh) {
            let Some(slot) = self.slots.get_mut(self.reclaimed as usize) else {
                break;
            };
            if episode::is_over(&slot.hot, &slot.cold) {
                slot.cold.end_episode(&mut self.nodes);
            }
            self.reclaimed = (self.reclaimed + 1) % self.fresh;
        }
    }

    /// Puts flow `index` on the list that output works through.
    #[inline(always)]
    pub(crate) fn touch(&mut self, index: u32) {
        let Some(hot) = self.hot_mut(index) else {
            return;
        };
        if hot.has(flag::TOUCHED) {
            return;
        }
        hot.set(flag::TOUCHED);
        hot.next_touched = 0;
        match self.touched.tail.checked_sub(1) {
            None => self.touched.head = index + 1,
            Some(tail) => {
                if let Some(tail) = self.hot_mut(tail) {
                    tail.next_touched = index + 1;
                }
            }
        }
        self.touched.tail = index + 1;
    }

    /// Takes the first flow off that list.
    #[inline]
    pub(crate) fn pop_touched(&mut self) -> Option<u32> {
        let index = self.touched.head.checked_sub(1)?;
        let hot = &mut self.slots.get_mut(index as usize)?.hot;
        self.touched.head = hot.next_touched;
        hot.next_touched = 0;
        hot.clear(flag::TOUCHED);
        if self.touched.head == 0 {
            self.touched.tail = 0;
        }
        Some(index)
    }

    pub(crate) fn any_touched(&self) -> bool {
        self.touched.head != 0
    }

    /// Puts flow `index`, which output has taken off its list, on that of an
    /// interface; until then it counts as touched.
    pub(crate) fn park(&mut self, index: u32, interface: InterfaceId) {
        let mut list = self.parked_on(interface);
        core::mem::swap(&mut list, &mut self.touched);
        self.touch(index);
        core::mem::swap(&mut list, &mut self.touched);
        self.set_parked(interface, list);
    }

    /// Has output look at all flows that are parked with an interface.
    pub(crate) fn unpark(&mut self, interface: InterfaceId) {
        let list = self.parked_on(interface);
        if list.head == 0 {
            return;
        }
        self.set_parked(interface, FlowList::default());
        match self.touched.tail.checked_sub(1) {
            None => self.touched.head = list.head,
            Some(tail) => {
                if let Some(tail) = self.hot_mut(tail) {
                    tail.next_touched = list.head;
                }
            }
        }
        self.touched.tail = list.tail;
    }

    pub(crate) fn any_parked(&self) -> bool {
        self.parked.iter().any(|list| list.head != 0)
    }

    fn parked_on(&self, interface: InterfaceId) -> FlowList {
        let list = self.parked.get(interface.index());
        list.copied().unwrap_or_default()
    }

    fn set_parked(&mut self, interface: InterfaceId, list: FlowList) {
        if let Some(parked) = self.parked.get_mut(interface.index()) {
            *parked = list;
        }
    }

    /// Takes a flow off the lists wherever it stands. Rare: a flow that ends
    /// between being touched and being looked at.
    fn untouch(&mut self, index: u32) {
        if !self.hot(index).is_some_and(|hot| hot.has(flag::TOUCHED)) {
            return;
        }
        self.touched = self.without(self.touched, index);
        for place in 0..MAX_INTERFACES {
            let Some(&list) = self.parked.get(place) else {
                continue;
            };
            let list = self.without(list, index);
            if let Some(parked) = self.parked.get_mut(place) {
                *parked = list;
            }
        }
    }

    /// The list without flow `index`.
    fn without(&mut self, list: FlowList, index: u32) -> FlowList {
        let before = core::mem::take(&mut self.touched);
        let mut at = list.head;
        while let Some(flow) = at.checked_sub(1) {
            let Some(hot) = self.hot_mut(flow) else {
                break;
            };
            at = hot.next_touched;
            hot.clear(flag::TOUCHED);
            hot.next_touched = 0;
            if flow != index {
                self.touch(flow);
            }
        }
        core::mem::replace(&mut self.touched, before)
    }
}

/// Heap memory of `len` equal elements.
pub(crate) fn heap_region<T: 'static>(len: usize, mut make: impl FnMut() -> T) -> Region<T> {
    let memory: Box<[T]> = (0..len).map(|_| make()).collect();
    Region::from_box(memory)
}
