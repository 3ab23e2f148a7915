//! All memory of a stack, declared by the application.

use pollwire_rings::{Blank, FrameMemory, FramePool, Region, TakeCell};

use crate::flow::Slot;
use crate::tcp::episode;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::node::Node;
use crate::tcp::records::Record;
use crate::tcp::table::{FlowSlot, RecordMemory, heap_region};
use crate::tcp::time_wait::TimeWait;
use crate::timer_wheel::Link;

/// Memory for a stack with `FRAMES` frames of `SIZE` bytes and `FLOWS` TCP
/// connections, meant for a `static`: it is all zero, so it lies in `.bss`.
/// Both counts must be powers of two, checked at compile time.
///
/// ```
/// use pollwire_core::Memory;
/// static MEMORY: Memory<512, 64> = Memory::new();
/// ```
///
/// There are as many records of 64 bytes for connections in TIME-WAIT as flows,
/// and as many again for handshakes of the passive side.
///
/// A frame costs `SIZE` + 144 bytes; a flow [`BYTES_PER_FLOW`], of which a few lie
/// on the heap, and its share of the records [`RECORD_BYTES_PER_FLOW`].
pub struct Memory<const FRAMES: usize, const FLOWS: usize, const SIZE: usize = 2048> {
    frames: FrameMemory<FRAMES, SIZE>,
    flows: TakeCell<FlowMemory<FRAMES, FLOWS>>,
}

struct FlowMemory<const FRAMES: usize, const FLOWS: usize> {
    flows: [FlowSlot; FLOWS],
    slots: [[Slot; 2]; FLOWS],
    timers: [Link; FLOWS],
    nodes: [[Node; 2]; FRAMES],
    time_wait: [Record<TimeWait>; FLOWS],
    time_wait_slots: [[Slot; 2]; FLOWS],
    handshakes: [Record<HalfOpen>; FLOWS],
    handshake_slots: [[Slot; 2]; FLOWS],
}

impl<const FRAMES: usize, const FLOWS: usize> Blank for FlowMemory<FRAMES, FLOWS> {
    const BLANK: Self = Self {
        flows: [const { FlowSlot::EMPTY }; FLOWS],
        slots: [const { [Slot::EMPTY; 2] }; FLOWS],
        timers: [const { Link::EMPTY }; FLOWS],
        nodes: [const { [Node::EMPTY, Node::EMPTY] }; FRAMES],
        time_wait: [const { Record::unused(TimeWait::UNUSED) }; FLOWS],
        time_wait_slots: [const { [Slot::EMPTY; 2] }; FLOWS],
        handshakes: [const { Record::unused(HalfOpen::UNUSED) }; FLOWS],
        handshake_slots: [const { [Slot::EMPTY; 2] }; FLOWS],
    };
}

impl<const FRAMES: usize, const FLOWS: usize, const SIZE: usize> Memory<FRAMES, FLOWS, SIZE> {
    const CHECKED: () = {
        assert!(FLOWS.is_power_of_two(), "FLOWS must be a power of two");
        assert!(FLOWS <= 1 << 24, "at most 2^24 flows");
        assert!(FRAMES >= 16, "at least 16 frames");
    };

    /// Memory that no stack has taken yet.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            frames: FrameMemory::new(),
            flows: TakeCell::new(),
        }
    }

    /// Takes the memory, once: `None` ever after.
    pub(crate) fn take(&'static self) -> Option<Parts> {
        let pool = FramePool::from_static(&self.frames)?;
        let flows = self.flows.take()?;
        Some(Parts {
            pool,
            flows: Region::from_static(&mut flows.flows),
            slots: Region::from_static(flows.slots.as_flattened_mut()),
            timers: Region::from_static(&mut flows.timers),
            nodes: Region::from_static(flows.nodes.as_flattened_mut()),
            time_wait: (
                Region::from_static(&mut flows.time_wait),
                Region::from_static(flows.time_wait_slots.as_flattened_mut()),
            ),
            handshakes: (
                Region::from_static(&mut flows.handshakes),
                Region::from_static(flows.handshake_slots.as_flattened_mut()),
            ),
        })
    }

    /// The same on the heap, for hosts and tests; freed with the stack.
    pub(crate) fn take_heap() -> Parts {
        let () = Self::CHECKED;
        Parts {
            pool: FramePool::on_heap::<FRAMES, SIZE>(),
            flows: heap_region(FLOWS, || FlowSlot::EMPTY),
            slots: heap_region(FLOWS * 2, || Slot::EMPTY),
            timers: heap_region(FLOWS, || Link::EMPTY),
            nodes: heap_region(FRAMES * 2, || Node::EMPTY),
            time_wait: (
                heap_region(FLOWS, || Record::unused(TimeWait::UNUSED)),
                heap_region(FLOWS * 2, || Slot::EMPTY),
            ),
            handshakes: (
                heap_region(FLOWS, || Record::unused(HalfOpen::UNUSED)),
                heap_region(FLOWS * 2, || Slot::EMPTY),
            ),
        }
    }
}

impl<const FRAMES: usize, const FLOWS: usize, const SIZE: usize> Default
    for Memory<FRAMES, FLOWS, SIZE>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Memory with its sizes erased.
pub(crate) struct Parts {
    pub(crate) pool: FramePool,
    pub(crate) flows: Region<FlowSlot>,
    pub(crate) slots: Region<Slot>,
    pub(crate) timers: Region<Link>,
    pub(crate) nodes: Region<Node>,
    pub(crate) time_wait: RecordMemory<TimeWait>,
    pub(crate) handshakes: RecordMemory<HalfOpen>,
}

/// What one more flow adds to a stack's memory, bytes, buffers and records aside:
/// its state and key, two table slots, a timer, and its share of what flows in
/// trouble keep, which lies on the heap.
pub const BYTES_PER_FLOW: usize =
    size_of::<FlowSlot>() + 2 * size_of::<Slot>() + size_of::<Link>() + episode::BYTES_PER_FLOW;

/// Bytes of records for each flow: one for a handshake and one for TIME-WAIT,
/// each with two table slots.
pub const RECORD_BYTES_PER_FLOW: usize =
    size_of::<Record<HalfOpen>>() + size_of::<Record<TimeWait>>() + 4 * size_of::<Slot>();

const _: () = assert!(
    BYTES_PER_FLOW <= 512,
    "an idle connection costs at most 512 bytes"
);
