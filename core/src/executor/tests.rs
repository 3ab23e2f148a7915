//! Wake semantics, cancellation, fairness and timers, in virtual time.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{pending, poll_fn};
use core::task::{Poll, Waker};

use pollwire_rings::Instant;

use super::*;

/// Polls until nothing is woken; returns the polls.
fn settle(executor: &Executor<'_>) -> u32 {
    let mut polls = 0;
    while executor.has_ready() {
        polls += executor.poll_ready(&mut |_| {});
    }
    polls
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Counts its drops.
struct Tally<'a>(&'a Cell<u32>);

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn spawn_runs_and_join_gives_the_output() {
    let executor = Executor::new();
    let inner = executor.spawn(async { 6 * 7 });
    let mut outer = executor.spawn(async move { inner.await + 1 });
    assert_eq!(executor.task_count(), 2);
    settle(&executor);
    assert!(outer.is_finished());
    assert_eq!(outer.try_take(), Some(43));
    assert_eq!(outer.try_take(), None);
    assert_eq!(executor.task_count(), 0);
    executor.shut_down();
}

#[test]
fn only_woken_tasks_are_polled() {
    let (polls, waker) = (Cell::new(0), RefCell::new(None));
    let executor = Executor::new();
    executor
        .spawn(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            *waker.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }))
        .detach();
    for _ in 0..100 {
        executor.spawn(pending::<()>()).detach();
    }
    assert_eq!(settle(&executor), 101, "each new task once");
    assert_eq!(settle(&executor), 0);
    let woken = waker.borrow().clone().expect("polled");
    woken.wake_by_ref();
    woken.wake_by_ref();
    assert_eq!(settle(&executor), 1, "two wakes, one poll");
    assert_eq!(polls.get(), 2);
    let known = waker.borrow().clone().expect("polled");
    assert!(known.will_wake(&woken), "a task's waker stays the same");
    executor.shut_down();
}

#[test]
fn abort_drops_the_future_and_frees_the_slot() {
    let drops = Cell::new(0);
    let executor = Executor::new();
    for round in 1..=3 {
        let tally = Tally(&drops);
        let handle = executor.spawn(async move {
            let _tally = tally;
            pending::<()>().await;
        });
        settle(&executor);
        assert_eq!(executor.task_count(), 1);
        handle.abort();
        assert_eq!(drops.get(), round);
        assert_eq!(executor.task_count(), 0);
    }
    executor.shut_down();
}

#[test]
fn a_task_can_abort_itself_and_others() {
    let drops = Cell::new(0);
    let own = Rc::new(Cell::new(None));
    let executor = Executor::new();
    let tally = Tally(&drops);
    let victim = executor.spawn(async move {
        let _tally = tally;
        pending::<()>().await;
    });
    let (mine, tally) = (own.clone(), Tally(&drops));
    own.set(Some(executor.spawn(async move {
        let _tally = tally;
        victim.abort();
        if let Some(me) = Cell::<Option<JoinHandle<'_, ()>>>::take(&mine) {
            me.abort();
        }
        pending::<()>().await;
    })));
    settle(&executor);
    assert_eq!(drops.get(), 2);
    assert_eq!(executor.task_count(), 0);
    executor.shut_down();
}

#[test]
fn a_stale_handle_does_not_abort_the_next_task_in_its_slot() {
    let executor = Executor::new();
    let first = executor.spawn(async {});
    settle(&executor);
    let second = executor.spawn(pending::<()>());
    first.abort();
    settle(&executor);
    assert_eq!(executor.task_count(), 1);
    second.abort();
    executor.shut_down();
}

#[test]
fn shutting_down_drops_all_tasks_even_those_spawned_by_destructors() {
    struct SpawnsOnDrop<'n>(&'n Executor<'n>, &'n Cell<u32>);
    impl Drop for SpawnsOnDrop<'_> {
        fn drop(&mut self) {
            let tally = Tally(self.1);
            self.0
                .spawn(async move {
                    let _tally = tally;
                    pending::<()>().await;
                })
                .detach();
        }
    }
    let drops = Cell::new(0);
    let executor = Executor::new();
    for _ in 0..5 {
        let (guard, tally) = (SpawnsOnDrop(&executor, &drops), Tally(&drops));
        executor
            .spawn(async move {
                let _held = (guard, tally);
                pending::<()>().await;
            })
            .detach();
    }
    settle(&executor);
    executor.shut_down();
    assert_eq!(drops.get(), 10);
}

#[test]
fn a_busy_task_starves_nobody() {
    let (busy, calm) = (Cell::new(0u32), Cell::new(0u32));
    let executor = Executor::new();
    executor
        .spawn(async {
            loop {
                busy.set(busy.get() + 1);
                yield_now().await;
            }
        })
        .detach();
    for _ in 0..2000 {
        executor
            .spawn(async {
                calm.set(calm.get() + 1);
                yield_now().await;
                calm.set(calm.get() + 1);
            })
            .detach();
    }
    for _ in 0..12 {
        let polls = executor.poll_ready(&mut |_| {});
        assert!(polls <= POLLS_PER_TURN);
    }
    assert_eq!(calm.get(), 4000, "all ran to their end");
    assert!(busy.get() < 50, "once per pass: {}", busy.get());
    executor.shut_down();
}

#[test]
fn busy_tasks_share_the_budget_evenly() {
    const TASKS: usize = 1500;
    let counts = vec![Cell::new(0u32); TASKS];
    let executor = Executor::new();
    for count in &counts {
        executor
            .spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            })
            .detach();
    }
    for _ in 0..300 {
        executor.poll_ready(&mut |_| {});
    }
    let (low, high) = (counts.iter().min(), counts.iter().max());
    let (low, high) = (low.map_or(0, Cell::get), high.map_or(0, Cell::get));
    assert!(low > 80, "everybody runs: {low}");
    assert!(high - low <= 2, "nobody runs more: {low}..{high}");
    executor.shut_down();
}

#[test]
fn main_future_is_polled_when_woken() {
    let executor = Executor::new();
    let mut polls = 0;
    executor.main_waker().wake_by_ref();
    executor.poll_ready(&mut |_| polls += 1);
    executor.poll_ready(&mut |_| polls += 1);
    assert_eq!(polls, 1);
    executor.shut_down();
}

#[test]
fn sleeps_end_in_order_of_their_deadlines() {
    let order = RefCell::new(Vec::new());
    let executor = Executor::new();
    for millis in [30u64, 10, 20, 10] {
        let (order, executor) = (&order, &executor);
        executor
            .spawn(async move {
                executor.sleep_until(ms(millis)).await;
                order.borrow_mut().push((millis, executor.now()));
            })
            .detach();
    }
    settle(&executor);
    while let Some(next) = executor.deadline() {
        executor.advance(next);
        settle(&executor);
    }
    assert_eq!(
        *order.borrow(),
        [(10, ms(10)), (10, ms(10)), (20, ms(20)), (30, ms(30))]
    );
    executor.shut_down();
}

#[test]
fn timeout_cancels_and_leaves_no_timer() {
    let drops = Cell::new(0);
    let executor = Executor::new();
    let tally = Tally(&drops);
    let mut slow = executor.spawn(executor.timeout_at(ms(5), async move {
        let _tally = tally;
        pending::<()>().await;
    }));
    let mut quick = executor.spawn(executor.timeout_at(ms(500), async { 1 }));
    settle(&executor);
    assert_eq!(quick.try_take(), Some(Ok(1)));
    assert_eq!(executor.deadline(), Some(ms(5)), "the quick one's is gone");
    executor.advance(ms(4));
    assert_eq!(settle(&executor), 0);
    executor.advance(ms(5));
    settle(&executor);
    assert_eq!(slow.try_take(), Some(Err(TimedOut)));
    assert_eq!(drops.get(), 1);
    assert_eq!(executor.deadline(), None);
    assert_eq!(executor.timers.borrow().pending(), 0);
    executor.shut_down();
}

#[test]
fn a_sleep_follows_its_task_and_can_be_reset() {
    let executor = Executor::new();
    let mut handle = executor.spawn(async {
        let mut sleep = executor.sleep_until(ms(10));
        let early = select(&mut sleep, yield_now()).await;
        assert_eq!(early, Either::Second(()));
        sleep.reset(ms(40));
        sleep.await;
        executor.now()
    });
    settle(&executor);
    executor.advance(ms(10));
    settle(&executor);
    assert!(!handle.is_finished());
    executor.advance(ms(40));
    settle(&executor);
    assert_eq!(handle.try_take(), Some(ms(40)));
    executor.shut_down();
}

#[test]
fn joins_run_side_by_side() {
    let executor = Executor::new();
    let mut both = executor.spawn(async {
        join(
            async {
                executor.sleep_until(ms(10)).await;
                1
            },
            async {
                executor.sleep_until(ms(20)).await;
                2
            },
        )
        .await
    });
    let mut all = executor.spawn(join_all([30u64, 10, 20].map(|millis| {
        let executor = &executor;
        async move {
            executor.sleep_until(ms(millis)).await;
            millis
        }
    })));
    settle(&executor);
    for millis in [10, 20, 30] {
        executor.advance(ms(millis));
        settle(&executor);
    }
    assert_eq!(both.try_take(), Some((1, 2)));
    assert_eq!(all.try_take(), Some(vec![30, 10, 20]));
    executor.shut_down();
}

#[test]
fn frame_waiters_wait_for_the_next_turn() {
    let executor = Executor::new();
    let woken = executor.main_waker().clone();
    executor.wake_on_frame(&woken);
    executor.wake_on_frame(&woken);
    assert!(executor.wants_frame());
    assert!(!executor.has_ready());
    executor.frames_are_free();
    assert!(executor.has_ready() && !executor.wants_frame());
    executor.shut_down();
}

#[test]
fn a_waker_kept_past_its_task_is_harmless() {
    let kept: RefCell<Option<Waker>> = RefCell::new(None);
    let executor = Executor::new();
    executor
        .spawn(poll_fn(|cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        }))
        .detach();
    settle(&executor);
    let waker = kept.borrow_mut().take().expect("polled");
    waker.wake_by_ref();
    assert!(settle(&executor) <= 1);
    executor.shut_down();
    waker.wake();
}
