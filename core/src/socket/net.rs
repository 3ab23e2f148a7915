//! The handle that applications hold: a stack, its tasks and its time.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use pollwire_rings::{FrameBuf, Instant};

use crate::executor::{Executor, JoinHandle, Sleep, TimedOut};
use crate::{Error, Misuse, NetEvent, Stack};

/// Holds a [`Stack`] and the tasks that use it, for [`Net`] handles to borrow.
///
/// Several may exist in one process; each has its own
/// [`Runtime`](crate::Runtime).
pub struct NetCell<'n> {
    stack: RefCell<Stack>,
    executor: Executor<'n>,
}

impl<'n> NetCell<'n> {
    /// Takes the stack in.
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        Self {
            stack: RefCell::new(stack),
            executor: Executor::new(),
        }
    }

    /// A handle on it.
    #[must_use]
    pub fn net(&'n self) -> Net<'n> {
        Net { cell: self }
    }

    pub(crate) fn executor(&self) -> &Executor<'n> {
        &self.executor
    }

    pub(crate) fn with_stack<T>(&self, f: impl FnOnce(&mut Stack) -> T) -> T {
        f(&mut self.stack.borrow_mut())
    }
}

/// A handle on a stack and its tasks; copies are free and mean the same.
///
/// The stack is borrowed only within one call, never across an await, and no
/// call gives the borrow to the application while its own code runs, except
/// [`with_stack`](Self::with_stack).
#[derive(Clone, Copy)]
pub struct Net<'n> {
    cell: &'n NetCell<'n>,
}

impl<'n> Net<'n> {
    /// The time of this turn of the loop.
    #[must_use]
    pub fn now(self) -> Instant {
        self.cell.executor.now()
    }

    /// Starts a task. It first runs in this turn, after those already woken.
    ///
    /// The task lives until it ends, is [aborted](JoinHandle::abort), or the
    /// [`Runtime`](crate::Runtime) is dropped.
    pub fn spawn<F>(self, future: F) -> JoinHandle<'n, F::Output>
    where
        F: Future + 'n,
        F::Output: 'n,
    {
        self.cell.executor.spawn(future)
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn task_count(self) -> usize {
        self.cell.executor.task_count()
    }

    /// Ready after `duration` from this turn's time on.
    pub fn sleep(self, duration: Duration) -> Sleep<'n> {
        self.sleep_until(self.now() + duration)
    }

    /// Ready at `deadline`.
    pub fn sleep_until(self, deadline: Instant) -> Sleep<'n> {
        self.cell.executor.sleep_until(deadline)
    }

    /// Runs `future` for `duration` at most; past that it is dropped, which
    /// cancels what it was doing.
    ///
    /// # Errors
    /// [`TimedOut`] when it was not ready in time.
    pub async fn timeout<F: Future>(
        self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, TimedOut> {
        self.timeout_at(self.now() + duration, future).await
    }

    /// Runs `future` until `deadline` at the latest.
    ///
    /// # Errors
    /// [`TimedOut`] when it was not ready by then.
    pub async fn timeout_at<F: Future>(
        self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, TimedOut> {
        self.cell.executor.timeout_at(deadline, future).await
    }

    /// Borrows the stack for one call: counters, addresses, configuration.
    ///
    /// # Panics
    /// When `f` uses a socket or this handle's other methods: they borrow the
    /// stack themselves.
    pub fn with_stack<T>(self, f: impl FnOnce(&mut Stack) -> T) -> T {
        self.cell.with_stack(f)
    }

    /// The next change of the network's configuration: an address, router or DNS
    /// server that comes or goes. One task at a time may wait for it.
    pub async fn next_event(self) -> NetEvent {
        poll_fn(|cx| {
            self.with_stack(|stack| match stack.next_event() {
                Some(event) => Poll::Ready(event),
                None => {
                    stack.wake_on_event(cx.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Ready when what is known of DNS is not what it was at version `seen`, see
    /// [`Stack::dns_version`]. Any number of tasks may wait for it.
    pub async fn dns_changed(self, seen: u32) {
        poll_fn(|cx| {
            self.with_stack(|stack| {
                if stack.dns_version() != seen {
                    return Poll::Ready(());
                }
                stack.wake_on_dns(seen, cx.waker());
                Poll::Pending
            })
        })
        .await;
    }

    /// An empty frame to fill and send; `None` when all frames are in use.
    #[must_use]
    pub fn try_alloc_frame(self) -> Option<FrameBuf> {
        self.with_stack(|stack| stack.frame_alloc())
    }

    /// An empty frame to fill and send, waiting until one is free.
    pub async fn alloc_frame(self) -> FrameBuf {
        poll_fn(|cx| match self.try_alloc_frame() {
            Some(frame) => Poll::Ready(frame),
            None => {
                self.cell.executor.wake_on_frame(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Fills `bytes` from the stack's generator, seeded at boot.
    pub fn random(self, bytes: &mut [u8]) {
        self.with_stack(|stack| stack.random().fill(bytes));
    }

    pub(crate) fn executor(self) -> &'n Executor<'n> {
        &self.cell.executor
    }

    /// Tries `operation`; when it would block, `wait` says to the stack what
    /// to wake this task on. Both see the stack in one borrow, so nothing can
    /// happen in between.
    pub(super) fn poll_with<T>(
        self,
        cx: &mut Context<'_>,
        operation: impl FnOnce(&mut Stack) -> Result<T, Error>,
        wait: impl FnOnce(&mut Stack, &Waker),
    ) -> Poll<Result<T, Error>> {
        self.with_stack(|stack| match operation(stack) {
            Err(Error::WouldBlock) => {
                wait(stack, cx.waker());
                Poll::Pending
            }
            Err(Error::Misuse(Misuse::NoFrameFree)) => {
                self.cell.executor.wake_on_frame(cx.waker());
                Poll::Pending
            }
            done => Poll::Ready(done),
        })
    }
}
