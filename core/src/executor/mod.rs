//! A single-threaded executor that runs inside the loop's turn.
//!
//! Tasks are polled in the same turn as the packet that woke them, and only
//! those that were woken. A turn polls each woken task once per pass, makes at
//! most [`PASSES`] passes and at most [`POLLS_PER_TURN`] polls; what is left
//! goes on in the next turn, where this one stopped, so no task starves
//! another or the wire.
//!
//! Spawning allocates (the future's box and the handle's state). Polling and
//! waking do not; a timer does only when more of them exist than ever before.

mod combine;
mod join;
mod ready;
mod time;
mod timers;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::mem::{self, ManuallyDrop};
use core::pin::Pin;
use core::task::{Context, Waker};

use pollwire_rings::Instant;

pub use combine::{Either, YieldNow, join, join_all, select, yield_now};
pub use join::JoinHandle;
pub use time::{Sleep, TimedOut};

use join::JoinState;
use ready::{ReadySet, WORD_BITS, mask_of, slots_of};
use timers::Timers;

/// Passes over the woken tasks in one turn: how far one packet's chain of
/// wake-ups gets before the wire is served again.
const PASSES: u32 = 4;
/// Most polls in one turn.
const POLLS_PER_TURN: u32 = 512;

/// The slot whose waker wakes the future of `block_on`.
const MAIN: usize = 0;

type TaskFuture<'n> = Pin<Box<dyn Future<Output = ()> + 'n>>;

enum Stage<'n> {
    Free,
    /// Waits to be woken. The waker lies beside the future so that polling
    /// takes both out and clones neither.
    Idle(TaskFuture<'n>, Waker),
    Running,
    /// Aborted while running: dropped when its poll returns.
    Aborted,
}

struct Slot<'n> {
    generation: u32,
    stage: Stage<'n>,
    /// The waker while no task uses it.
    spare: Option<Waker>,
}

/// Names a task; a later task in the same slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

#[derive(Default)]
struct Tasks<'n> {
    slots: Vec<Slot<'n>>,
    free: Vec<u32>,
    ready: ReadySet,
    closed: bool,
}

/// The tasks, their wake-ups and their timers.
pub(crate) struct Executor<'n> {
    /// Not dropped with the executor but by [`Executor::shut_down`]: the
    /// futures borrow the cell that holds this executor, which is allowed only
    /// when dropping the cell does not touch them.
    tasks: ManuallyDrop<RefCell<Tasks<'n>>>,
    timers: RefCell<Timers>,
    /// Tasks that wait for a free frame.
    frame_waiters: RefCell<Vec<Waker>>,
    main: Waker,
    now: Cell<Instant>,
    /// The slot where the next pass begins.
    cursor: Cell<usize>,
}

impl<'n> Executor<'n> {
    pub(crate) fn new() -> Self {
        let mut tasks = Tasks::default();
        let main = Waker::from(tasks.ready.waker(MAIN));
        tasks.slots.push(Slot {
            generation: 0,
            stage: Stage::Free,
            spare: None,
        });
        Self {
            tasks: ManuallyDrop::new(RefCell::new(tasks)),
            timers: RefCell::default(),
            frame_waiters: RefCell::default(),
            main,
            now: Cell::new(Instant::ZERO),
            cursor: Cell::new(0),
        }
    }

    /// The time of this turn.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Adds a task; it is polled first in this turn's next pass.
    pub(crate) fn spawn<F>(&'n self, future: F) -> JoinHandle<'n, F::Output>
    where
        F: Future + 'n,
        F::Output: 'n,
    {
        let state = Rc::new(JoinState::new());
        let result = state.clone();
        let task: TaskFuture<'n> = Box::pin(async move { result.complete(future.await) });
        JoinHandle::new(self, self.add(task), state)
    }

    fn add(&self, task: TaskFuture<'n>) -> Option<TaskId> {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.closed {
            drop(tasks);
            drop(task);
            return None;
        }
        let index = tasks.free.pop().unwrap_or_else(|| {
            let index = tasks.slots.len();
            let waker = tasks.ready.waker(index).into();
            tasks.slots.push(Slot {
                generation: 0,
                stage: Stage::Free,
                spare: Some(waker),
            });
            #[expect(
                clippy::cast_possible_truncation,
                reason = "memory ends before 2^32 tasks"
            )]
            {
                index as u32
            }
        });
        let slot = &mut tasks.slots[index as usize];
        let waker = slot.spare.take().unwrap_or_else(|| self.main.clone());
        waker.wake_by_ref();
        slot.stage = Stage::Idle(task, waker);
        Some(TaskId {
            index,
            generation: slot.generation,
        })
    }

    /// Ends a task: its future is dropped now, or, when it is the one that is
    /// running, as soon as it returns.
    pub(crate) fn abort(&self, id: TaskId) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(slot) = tasks.slots.get_mut(id.index as usize) else {
            return;
        };
        if slot.generation != id.generation {
            return;
        }
        match mem::replace(&mut slot.stage, Stage::Aborted) {
            Stage::Idle(future, waker) => {
                tasks.release(id.index as usize, waker);
                drop(tasks);
                // Outside the borrow: its destructors may spawn or abort.
                drop(future);
            }
            Stage::Running | Stage::Aborted => {}
            Stage::Free => slot.stage = Stage::Free,
        }
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// Sets the time and wakes the tasks whose timers are due.
    pub(crate) fn advance(&self, now: Instant) {
        self.set_now(now);
        loop {
            // The guard must be gone before the waker runs.
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
    }

    /// Polls woken tasks; `main` is called when the main future was woken.
    /// Returns the number of polls.
    pub(crate) fn poll_ready(&self, main: &mut dyn FnMut(&mut Context<'_>)) -> u32 {
        let mut budget = POLLS_PER_TURN;
        for _ in 0..PASSES {
            let before = budget;
            self.pass(&mut budget, main);
            if budget == before || budget == 0 {
                break;
            }
        }
        POLLS_PER_TURN - budget
    }

    /// Polls each woken task once, from the cursor around.
    fn pass(&self, budget: &mut u32, main: &mut dyn FnMut(&mut Context<'_>)) {
        let start = self.cursor.get();
        if self.scan(start, usize::MAX, budget, main) {
            self.scan(0, start, budget, main);
        }
    }

    /// Polls the woken tasks among the slots `from..until`; `false`, with the
    /// cursor behind the last one polled, when the budget ended before them.
    fn scan(
        &self,
        from: usize,
        until: usize,
        budget: &mut u32,
        main: &mut dyn FnMut(&mut Context<'_>),
    ) -> bool {
        let mut next = from / WORD_BITS;
        while let Some(word) = self.next_word(next)
            && word * WORD_BITS < until
        {
            let bits = self.take(word, mask_of(word, from, until));
            for (index, rest) in slots_of(word, bits) {
                self.poll_slot(index, main);
                *budget -= 1;
                if *budget == 0 {
                    self.tasks.borrow().ready.restore(word, rest);
                    self.cursor.set(index + 1);
                    return false;
                }
            }
            next = word + 1;
        }
        true
    }

    fn next_word(&self, from: usize) -> Option<usize> {
        self.tasks.borrow().ready.next_word(from)
    }

    fn take(&self, word: usize, mask: u64) -> u64 {
        self.tasks.borrow().ready.take(word, mask)
    }

    fn poll_slot(&self, index: usize, main: &mut dyn FnMut(&mut Context<'_>)) {
        if index == MAIN {
            return main(&mut Context::from_waker(&self.main));
        }
        let mut tasks = self.tasks.borrow_mut();
        let Some(slot) = tasks.slots.get_mut(index) else {
            return;
        };
        let (mut future, waker) = match mem::replace(&mut slot.stage, Stage::Running) {
            Stage::Idle(future, waker) => (future, waker),
            other => {
                slot.stage = other;
                return;
            }
        };
        drop(tasks);
        let done = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let mut tasks = self.tasks.borrow_mut();
        let Some(slot) = tasks.slots.get_mut(index) else {
            return;
        };
        if done || matches!(slot.stage, Stage::Aborted) {
            tasks.release(index, waker);
            drop(tasks);
            drop(future);
        } else {
            slot.stage = Stage::Idle(future, waker);
        }
    }

    /// Whether a task is woken already.
    pub(crate) fn has_ready(&self) -> bool {
        self.tasks.borrow().ready.next_word(0).is_some()
    }

    /// When the next task's timer is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.borrow().deadline()
    }

    /// The waker of the main future.
    pub(crate) fn main_waker(&self) -> &Waker {
        &self.main
    }

    /// Tasks that have not ended.
    pub(crate) fn task_count(&self) -> usize {
        let tasks = self.tasks.borrow();
        // Slot 0 is the main future's.
        tasks.slots.len().saturating_sub(1 + tasks.free.len())
    }

    /// Wakes `waker` in a later turn, when frames are free again.
    pub(crate) fn wake_on_frame(&self, waker: &Waker) {
        let mut waiters = self.frame_waiters.borrow_mut();
        if !waiters.iter().any(|known| known.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }

    /// Whether a task waits for a free frame.
    pub(crate) fn wants_frame(&self) -> bool {
        !self.frame_waiters.borrow().is_empty()
    }

    /// Wakes all that wait for a free frame.
    pub(crate) fn frames_are_free(&self) {
        loop {
            let next = self.frame_waiters.borrow_mut().pop();
            let Some(waker) = next else { break };
            waker.wake();
        }
    }

    /// Drops all tasks; later ones are dropped as they are spawned.
    pub(crate) fn shut_down(&self) {
        self.tasks.borrow_mut().closed = true;
        let slots = mem::take(&mut self.tasks.borrow_mut().slots);
        drop(slots);
        let rest = mem::take(&mut *self.tasks.borrow_mut());
        drop(rest);
        self.tasks.borrow_mut().closed = true;
    }
}

impl Tasks<'_> {
    /// Frees a slot whose future was taken out.
    fn release(&mut self, index: usize, waker: Waker) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.stage = Stage::Free;
        slot.spare = Some(waker);
        slot.generation = slot.generation.wrapping_add(1);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "memory ends before 2^32 tasks"
        )]
        self.free.push(index as u32);
    }
}
