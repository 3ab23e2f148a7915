//! Sleeping and giving up in time.

use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use pollwire_rings::Instant;

use super::Executor;
use super::timers::TimerId;

/// The time allowed for an operation passed before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for TimedOut {}

/// Ready once its deadline has come. Dropping it takes its timer out.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep<'n> {
    executor: &'n Executor<'n>,
    deadline: Instant,
    timer: Option<TimerId>,
}

impl Sleep<'_> {
    /// When it becomes ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline; what was already ready may become pending again.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = deadline;
    }

    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            let waker = self.executor.timers.borrow_mut().remove(timer);
            drop(waker);
        }
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.deadline {
            self.cancel();
            return Poll::Ready(());
        }
        let mut timers = self.executor.timers.borrow_mut();
        let armed = self
            .timer
            .is_some_and(|timer| timers.set_waker(timer, cx.waker()));
        if !armed {
            let stale = self.timer.and_then(|timer| timers.remove(timer));
            let timer = timers.insert(self.deadline, cx.waker());
            drop(timers);
            drop(stale);
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<'n> Executor<'n> {
    pub(crate) fn sleep_until(&'n self, deadline: Instant) -> Sleep<'n> {
        Sleep {
            executor: self,
            deadline,
            timer: None,
        }
    }

    /// Runs `future` until `deadline` at the latest. It is polled first, so an
    /// operation that can be done at once is done even with the deadline past.
    pub(crate) async fn timeout_at<F: Future>(
        &'n self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, TimedOut> {
        let mut future = pin!(future);
        let mut sleep = self.sleep_until(deadline);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            Pin::new(&mut sleep).poll(cx).map(|()| Err(TimedOut))
        })
        .await
    }
}
