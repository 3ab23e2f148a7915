//! The engine for two threads: packetdrill's own, and the one that it makes
//! blocking calls from.
//!
//! In virtual time the clock moves only where packetdrill's own thread waits:
//! asleep, or for a packet. It stands while the other thread has something to do,
//! so that a call's return is timed exactly.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant as HostInstant};

use pollwire::Instant;

use crate::call::Call;
use crate::engine::{EPOCH, Engine, Sent};
use crate::errno::{Answer, Errno};
use crate::settings::{ClockMode, Settings};

/// How long a call that has returned may take until the next, and how often a
/// waiting thread looks whether it missed anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the other thread may take to notice what happened.
const A_MINUTE: Duration = Duration::from_secs(60);
/// How long a packet is waited for in real time.
const LONGEST_WAIT: Duration = Duration::from_secs(130);
/// Looks at the clock in a row that cost nothing. A caller that looks more often
/// waits for time to pass, and each further look takes a microsecond.
const FREE_LOOKS: u32 = 3;

pub(crate) struct Host {
    world: Mutex<World>,
    changed: Condvar,
}

struct World {
    engine: Engine,
    /// The thread that made this: packetdrill's own.
    main: ThreadId,
    /// When the clock began to run, in real time.
    began: Option<HostInstant>,
    /// When the waiting calls give up, for each thread that waits.
    waiting: Vec<(ThreadId, Option<Instant>)>,
    /// Waiting calls that have not looked yet at what happened last.
    unchecked: usize,
    /// A call of this thread waited and is over, but the thread has not looked
    /// at the clock yet.
    returning: Option<ThreadId>,
    /// Looks at the clock in a row, and the thread that looked.
    looks: u32,
    looker: Option<ThreadId>,
}

impl World {
    fn is_virtual(&self) -> bool {
        self.began.is_none()
    }

    /// In real time, brings the engine's clock up to date.
    fn follow_clock(&mut self) {
        let now = match self.began {
            None => self.engine.now(),
            Some(began) => {
                let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                EPOCH.plus_nanos(nanos)
            }
        };
        self.engine.advance(now);
    }

    /// When something happens by itself.
    fn next_event(&self) -> Option<Instant> {
        let calls = self.waiting.iter().filter_map(|(_, until)| *until);
        self.engine.deadline().into_iter().chain(calls).min()
    }
}

impl Host {
    pub(crate) fn new(settings: Settings) -> Self {
        let began = (settings.clock == ClockMode::Real).then(HostInstant::now);
        Self {
            world: Mutex::new(World {
                engine: Engine::new(settings),
                main: thread::current().id(),
                began,
                waiting: Vec::new(),
                unchecked: 0,
                returning: None,
                looks: 0,
                looker: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// The world, its clock up to date, for anything but a look at the clock.
    fn enter(&self) -> MutexGuard<'_, World> {
        let mut world = self.lock();
        world.looks = 0;
        world
    }

    /// The world, its clock up to date. A thread that comes here has returned
    /// from what it waited for.
    fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.returning == Some(thread::current().id()) {
            world.returning = None;
            self.changed.notify_all();
        }
        world.follow_clock();
        world
    }

    /// Tells the waiting calls to look again.
    fn announce(&self, world: &mut World) {
        world.unchecked = world.waiting.len();
        self.changed.notify_all();
    }

    /// Waits for a change, at most until `limit` in real time.
    fn pause<'a>(&self, world: MutexGuard<'a, World>, limit: Duration) -> MutexGuard<'a, World> {
        let waited = self.changed.wait_timeout(world, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until no other thread has anything to do.
    fn settle<'a>(&self, mut world: MutexGuard<'a, World>) -> MutexGuard<'a, World> {
        let began = HostInstant::now();
        // Who waits looks in the end, on however slow a machine; who has returned
        // may be gone.
        while (world.unchecked > 0 && began.elapsed() < A_MINUTE)
            || (world.returning.is_some() && began.elapsed() < PATIENCE)
        {
            world = self.pause(world, PATIENCE);
        }
        world
    }

    /// Does what never waits.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> T {
        let mut world = self.enter();
        let result = work(&mut world.engine);
        self.announce(&mut world);
        result
    }

    /// Does what may wait. The call comes back with its output.
    pub(crate) fn wait(&self, mut call: Call) -> (Call, Answer<usize>) {
        let me = thread::current().id();
        let mut world = self.enter();
        let mut waited = false;
        loop {
            if let Poll::Ready(answer) = call.attempt(&mut world.engine) {
                if waited && world.is_virtual() {
                    world.returning = Some(me);
                }
                self.announce(&mut world);
                return (call, answer);
            }
            if me == world.main && world.is_virtual() {
                // Nobody else moves the clock.
                let next = [world.next_event(), call.deadline()];
                let Some(next) = next.into_iter().flatten().min() else {
                    return (call, Err(Errno(libc::EDEADLK)));
                };
                world.engine.advance(next);
                continue;
            }
            waited = true;
            world.waiting.push((me, call.deadline()));
            self.changed.notify_all();
            let limit = time_to(&world, world.next_event());
            world = self.pause(world, limit);
            world.waiting.retain(|(thread, _)| *thread != me);
            world.unchecked = world.unchecked.saturating_sub(1);
            world.follow_clock();
        }
    }

    /// Takes the next packet that leaves the stack; `None` when none will come,
    /// or none did for long.
    pub(crate) fn receive(&self) -> Option<Sent> {
        let began = HostInstant::now();
        let mut world = self.enter();
        loop {
            if let Some(sent) = world.engine.take_sent() {
                return Some(sent);
            }
            if world.is_virtual() {
                world = self.settle(world);
                if world.engine.has_sent() {
                    continue;
                }
                let next = world.next_event()?;
                world.engine.advance(next);
            } else {
                if began.elapsed() > LONGEST_WAIT {
                    return None;
                }
                let limit = time_to(&world, world.next_event());
                world = self.pause(world, limit);
                world.follow_clock();
            }
            self.announce(&mut world);
        }
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, micros: u64) {
        let mut world = self.enter();
        let until = world.engine.now().plus_nanos(micros.saturating_mul(1000));
        while world.engine.now() < until {
            if world.is_virtual() {
                world = self.settle(world);
                let next = world.next_event().map_or(until, |at| at.min(until));
                world.engine.advance(next);
            } else {
                let next = world.next_event().map_or(until, |at| at.min(until));
                let limit = time_to(&world, Some(next));
                world = self.pause(world, limit);
                world.follow_clock();
            }
            self.announce(&mut world);
        }
        if world.is_virtual() {
            drop(self.settle(world));
        }
    }

    /// The time, in microseconds since some origin.
    pub(crate) fn micros(&self) -> u64 {
        let mut world = self.lock();
        let me = Some(thread::current().id());
        if world.looker != me {
            world.looker = me;
            world.looks = 0;
        }
        world.looks += 1;
        if world.is_virtual() && world.looks > FREE_LOOKS {
            let next = world.engine.now().plus_nanos(1000);
            world.engine.advance(next);
            self.announce(&mut world);
        }
        world.engine.now().as_micros()
    }
}

/// How long a thread may sleep in real time until `event`.
fn time_to(world: &World, event: Option<Instant>) -> Duration {
    if world.is_virtual() {
        return PATIENCE;
    }
    event.map_or(PATIENCE, |at| {
        Duration::from_nanos(at.nanos_since(world.engine.now())).min(PATIENCE)
    })
}
