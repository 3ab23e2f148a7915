//! A spawned task's handle and how its output reaches it.

use alloc::rc::Rc;
use core::cell::Cell;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::{Executor, TaskId};

/// What a task and its handle share.
pub(super) struct JoinState<T> {
    output: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    done: Cell<bool>,
}

impl<T> JoinState<T> {
    pub(super) fn new() -> Self {
        Self {
            output: Cell::new(None),
            waker: Cell::new(None),
            done: Cell::new(false),
        }
    }

    pub(super) fn complete(&self, output: T) {
        self.output.set(Some(output));
        self.done.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Owns the right to a task's output. Awaiting it gives the output; dropping it
/// lets the task run on by itself.
#[must_use = "dropping the handle detaches the task; use `.detach()` to say so"]
pub struct JoinHandle<'n, T> {
    executor: &'n Executor<'n>,
    /// `None` when the loop had been shut down before the task was spawned.
    task: Option<TaskId>,
    state: Rc<JoinState<T>>,
}

impl<'n, T> JoinHandle<'n, T> {
    pub(super) fn new(
        executor: &'n Executor<'n>,
        task: Option<TaskId>,
        state: Rc<JoinState<T>>,
    ) -> Self {
        Self {
            executor,
            task,
            state,
        }
    }

    /// Ends the task: its future is dropped before this returns, or, when a
    /// task ends itself, at its next await. What it held is released by the
    /// drop of each thing.
    pub fn abort(self) {
        if let Some(task) = self.task {
            self.executor.abort(task);
        }
    }

    /// Lets the task run on by itself; the same as dropping the handle.
    pub fn detach(self) {}

    /// Whether the task has run to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.done.get()
    }

    /// The output, when the task has ended and it was not taken before.
    pub fn try_take(&mut self) -> Option<T> {
        self.state.output.take()
    }
}

impl<T> Future for JoinHandle<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(output) = self.state.output.take() {
            return Poll::Ready(output);
        }
        let waker = match self.state.waker.take() {
            Some(known) if known.will_wake(cx.waker()) => known,
            _ => cx.waker().clone(),
        };
        self.state.waker.set(Some(waker));
        Poll::Pending
    }
}
