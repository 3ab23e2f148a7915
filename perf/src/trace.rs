/// One event, 24 bytes. What the fields mean is up to who records them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When, in nanoseconds of the stack's clock.
    pub time: u64,
    /// Whom it happened to, for example a flow.
    pub id: u32,
    /// What happened.
    pub kind: u16,
    /// First detail.
    pub a: u16,
    /// Second detail.
    pub b: u32,
    /// Third detail.
    pub c: u32,
}

/// The last `N` events. Switched off, as it is at first, recording costs one
/// branch; switched on, a 24-byte store. The oldest events are overwritten.
///
/// ```
/// use pollwire_perf::{Event, EventTrace};
///
/// let mut trace = EventTrace::<2>::new();
/// trace.switch(true);
/// for time in 1..=3 {
///     trace.record(Event { time, ..Event::default() });
/// }
/// assert!(trace.iter().map(|event| event.time).eq([2, 3]));
/// assert_eq!(trace.lost(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct EventTrace<const N: usize> {
    ring: [Event; N],
    /// How many were recorded in all; the next one goes to `recorded % N`.
    recorded: u64,
    on: bool,
}

impl<const N: usize> EventTrace<N> {
    const VALID: () = assert!(N.is_power_of_two(), "N must be a power of two");

    /// Empty and switched off: all zeros. `N` must be a power of two, which is
    /// checked at compile time.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::VALID;
        const NONE: Event = Event {
            time: 0,
            id: 0,
            kind: 0,
            a: 0,
            b: 0,
            c: 0,
        };
        EventTrace {
            ring: [NONE; N],
            recorded: 0,
            on: false,
        }
    }

    /// Switches recording on or off. What was recorded stays.
    pub const fn switch(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether events are recorded: ask before computing costly details.
    #[inline]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Records one event, if switched on.
    #[inline]
    pub fn record(&mut self, event: Event) {
        if self.on {
            let at = self.recorded as usize % N;
            self.ring[at] = event;
            self.recorded += 1;
        }
    }

    /// The events that are still there, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        let start = self.recorded as usize % N;
        let (newer, older) = self.ring.split_at(start);
        let older = if self.is_full() { older } else { &[] };
        older.iter().chain(newer)
    }

    /// How many events were overwritten.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.recorded.saturating_sub(N as u64)
    }

    /// Forgets all events; stays on or off.
    pub const fn clear(&mut self) {
        self.recorded = 0;
    }

    const fn is_full(&self) -> bool {
        self.recorded >= N as u64
    }
}

impl<const N: usize> Default for EventTrace<N> {
    fn default() -> Self {
        EventTrace::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: u64) -> Event {
        Event {
            time,
            ..Event::default()
        }
    }

    #[test]
    fn keeps_the_newest_in_order() {
        assert_eq!(size_of::<Event>(), 24);
        for count in 0..20u64 {
            let mut trace = EventTrace::<8>::new();
            trace.switch(true);
            (0..count).for_each(|time| trace.record(at(time)));
            let first = count.saturating_sub(8);
            assert!(trace.iter().map(|event| event.time).eq(first..count));
            assert_eq!(trace.lost(), first);
        }
    }

    #[test]
    fn records_only_when_on() {
        let mut trace = EventTrace::<4>::default();
        trace.record(at(1));
        assert!(!trace.is_on() && trace.iter().next().is_none());
        trace.switch(true);
        trace.record(at(2));
        trace.switch(false);
        trace.record(at(3));
        assert!(trace.iter().eq([&at(2)]));
        trace.clear();
        assert!(trace.iter().next().is_none());
    }
}
