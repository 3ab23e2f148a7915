use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

use pollwire_rings::{Instant, Region};
use proptest::prelude::*;

use super::*;

const TICK: u64 = 1 << TICK_BITS;

fn wheel(timers: usize) -> TimerWheel {
    let links: Box<[Link]> = (0..timers).map(|_| Link::EMPTY).collect();
    TimerWheel::new(Region::from_box(links))
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Advances as a loop would: to each deadline in turn, up to `end`.
fn run_until(wheel: &mut TimerWheel, end: u64) -> Vec<(u64, u32)> {
    let mut fired = Vec::new();
    let mut turns = 0;
    while let Some(deadline) = wheel
        .next_deadline()
        .filter(|&deadline| deadline <= at(end))
    {
        while let Some(id) = wheel.pop_due(deadline) {
            fired.push((deadline.as_nanos(), id));
        }
        turns += 1;
        assert!(turns < 100_000, "every turn makes progress");
    }
    assert_eq!(wheel.pop_due(at(end)), None);
    fired
}

#[test]
fn nothing_armed_means_no_deadline() {
    let mut wheel = wheel(4);
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.pop_due(at(1 << 60)), None);
    assert!(!wheel.is_armed(0));
    assert!(!wheel.is_armed(99));
}

#[test]
fn fires_within_a_tick_and_never_early() {
    for delay in [
        1,
        TICK - 1,
        TICK,
        TICK + 1,
        200_000_000,
        3_600_000_000_000,
        1 << 59,
    ] {
        let mut wheel = wheel(1);
        wheel.arm(0, at(delay));
        let fired = run_until(&mut wheel, delay.saturating_add(TICK));
        let &[(when, 0)] = fired.as_slice() else {
            panic!("{delay}: {fired:?}")
        };
        assert!(when >= delay && when - delay < TICK, "{delay} {when}");
        assert!(!wheel.is_armed(0));
    }
}

#[test]
fn armed_in_the_past_fires_at_once() {
    let mut wheel = wheel(1);
    assert_eq!(wheel.pop_due(at(10_000_000_000)), None);
    wheel.arm(0, at(5));
    assert_eq!(wheel.pop_due(at(10_000_000_000)), Some(0));
}

#[test]
fn arming_later_leaves_it_and_arming_earlier_moves_it() {
    let mut wheel = wheel(1);
    wheel.arm(0, at(TICK * 100));
    wheel.arm(0, at(TICK * 500));
    assert_eq!(wheel.pop_due(at(TICK * 99)), None);
    assert_eq!(wheel.pop_due(at(TICK * 100)), Some(0));
    wheel.arm(0, at(TICK * 500));
    wheel.arm(0, at(TICK * 200));
    assert_eq!(wheel.pop_due(at(TICK * 200)), Some(0));
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn the_end_of_time_is_held_and_stays_pending() {
    let mut wheel = wheel(2);
    wheel.arm(0, Instant::FAR_FUTURE);
    wheel.arm(1, at(TICK));
    assert_eq!(wheel.pop_due(at(1 << 62)), Some(1));
    assert_eq!(wheel.pop_due(at(1 << 62)), None);
    assert!(wheel.is_armed(0));
    wheel.cancel(0);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_jump_of_hours_fires_everything_between() {
    const HOUR: u64 = 3_600_000_000_000;
    let mut wheel = wheel(1000);
    for id in 0..1000 {
        wheel.arm(id, at(u64::from(id) * 7_000_000_000));
    }
    let mut fired: Vec<_> = core::iter::from_fn(|| wheel.pop_due(at(HOUR))).collect();
    fired.sort_unstable();
    assert_eq!(fired, (0..=514).collect::<Vec<_>>());
    assert_eq!(
        core::iter::from_fn(|| wheel.pop_due(at(50 * HOUR))).count(),
        1000 - 515
    );
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u32, u64),
    Cancel(u32),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let span = (0_u32..50).prop_flat_map(|bits| 0..(1_u64 << bits));
    prop_oneof![
        4 => (0_u32..16, span.clone()).prop_map(|(id, after)| Step::Arm(id, after)),
        1 => (0_u32..16).prop_map(Step::Cancel),
        3 => span.prop_map(Step::Advance),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_list(steps in proptest::collection::vec(step(), 0..200)) {
        let mut wheel = wheel(16);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now = 0_u64;
        for step in steps {
            match step {
                Step::Arm(id, after) => {
                    let when = now + after;
                    wheel.arm(id, at(when));
                    let tick = when.div_ceil(TICK).max(now / TICK);
                    model.entry(id).and_modify(|old| *old = tick.min(*old)).or_insert(tick);
                }
                Step::Cancel(id) => {
                    wheel.cancel(id);
                    model.remove(&id);
                }
                Step::Advance(by) => {
                    now += by;
                    let mut fired: Vec<_> =
                        core::iter::from_fn(|| wheel.pop_due(at(now))).collect();
                    fired.sort_unstable();
                    let due: Vec<_> = model
                        .iter()
                        .filter(|&(_, &tick)| tick <= now / TICK)
                        .map(|(&id, _)| id)
                        .collect();
                    prop_assert_eq!(&fired, &due);
                    for id in due {
                        model.remove(&id);
                    }
                }
            }
            for id in 0..16 {
                prop_assert_eq!(wheel.is_armed(id), model.contains_key(&id));
            }
            let first = model.values().min().map(|tick| tick * TICK);
            match (wheel.next_deadline(), first) {
                (None, None) => {}
                (Some(deadline), Some(first)) => prop_assert!(deadline.as_nanos() <= first),
                (deadline, first) => prop_assert!(false, "{deadline:?} {first:?}"),
            }
        }
        let armed = model.len();
        prop_assert_eq!(run_until(&mut wheel, 1 << 62).len(), armed);
    }
}
