//! The run-to-completion loop: device, stack and tasks, turn by turn.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use pollwire_perf::Histogram;
use pollwire_rings::{Clock, Instant, NetDevice, RX_BURST, RxBurst, TxBurst};

use crate::{InterfaceId, Net, NetCell};

/// How long an idle loop keeps polling before it lets the device sleep.
const SPIN: Duration = Duration::from_micros(20);
/// How soon the loop looks again when it waits for what no device reports: a
/// free frame, or room in a transmit ring.
const RETRY: Duration = Duration::from_millis(1);
/// Most bursts received in one turn while a backlog lasts.
const BACKLOG_BURSTS: u32 = 2;
/// How often output is offered to a full device before [`Runtime::block_on`]
/// gives up on it, [`RETRY`] apart.
const DRAIN_ROUNDS: u32 = 1000;

/// Drives one stack over one device, or several.
///
/// ```
/// use pollwire_core::{Config, Error, Net, NetCell, Runtime, Stack, UdpSocket};
/// use pollwire_rings::{Caps, NetDevice, local_mac, memory};
///
/// async fn main(net: Net<'_>) -> Result<usize, Error> {
///     let server = UdpSocket::bind(net, "10.0.0.9:7".parse().expect("an address"));
///     assert!(server.is_err(), "not an address of this host");
///     let (sum, product) = (net.spawn(async { 1 + 2 }), net.spawn(async { 3 * 4 }));
///     Ok(sum.await + product.await)
/// }
///
/// let (device, _far_end) = {
///     let caps = |seed| Caps::plain(local_mac(seed), 1500);
///     memory::pair(caps(1), caps(2))
/// };
/// let config = Config::new("10.0.0.1/24".parse().expect("an address"), [7; 32]);
/// let cell = NetCell::new(Stack::on_heap::<64, 16, 2048>(&config, device.caps()));
/// let clock = device.wire();
/// assert_eq!(Runtime::new(&cell, device, clock).block_on(main), Ok(15));
/// ```
///
/// A turn reads the clock once, then: receives a burst, lets the stack take it
/// in, polls the tasks that this woke, sends what they wrote and what TCP owes,
/// and runs the timers that are due. It costs what happened, however many
/// connections and tasks exist. When nothing happened for a while, the loop
/// sleeps in the device until something arrives or the next timer is due.
///
/// One runtime at a time may drive a [`NetCell`]. Dropping it drops the tasks.
pub struct Runtime<'n, D, C> {
    cell: &'n NetCell<'n>,
    device: D,
    /// Those of further interfaces.
    others: Vec<Other<D>>,
    clock: C,
    rx: RxBurst,
    tx: TxBurst,
    spin: Duration,
    /// The last burst was full: more may be waiting.
    backlog: bool,
    idle_since: Option<Instant>,
    /// When the last turn began, if it did any work and no sleep followed.
    last_turn: Option<Instant>,
    turn_times: Box<Histogram>,
    /// Free frames at the end of the last turn.
    free_frames: usize,
}

/// A device beside the first.
struct Other<D> {
    interface: InterfaceId,
    device: D,
    tx: TxBurst,
    /// The last burst was full.
    backlog: bool,
}

impl<'n, D: NetDevice, C: Clock> Runtime<'n, D, C> {
    /// A loop over `device` for the stack in `cell`.
    pub fn new(cell: &'n NetCell<'n>, device: D, clock: C) -> Self {
        let mut runtime = Self {
            cell,
            device,
            others: Vec::new(),
            clock,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
            spin: SPIN,
            backlog: false,
            idle_since: None,
            last_turn: None,
            turn_times: Box::default(),
            free_frames: 0,
        };
        runtime.read_clock();
        runtime
    }

    /// Keeps polling for `spin` after the last event before sleeping: higher is
    /// faster to react and busier. Zero sleeps at once; the default is 20 µs.
    #[must_use]
    pub fn with_spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Serves `device` as well, for [an interface](crate::Stack::add_interface)
    /// that was added to the stack. Devices of different kinds go together as
    /// `Box<dyn NetDevice>`. While idle, the loop sleeps in the first device, and
    /// looks at the others every millisecond.
    ///
    /// Interfaces in VLANs need nothing of the kind: they share a device.
    #[must_use]
    pub fn with_device(mut self, interface: InterfaceId, device: D) -> Self {
        self.others.push(Other {
            interface,
            device,
            tx: TxBurst::new(),
            backlog: false,
        });
        self
    }

    /// The handle that tasks and sockets use.
    #[must_use]
    pub fn net(&self) -> Net<'n> {
        self.cell.net()
    }

    /// The device, to read its statistics.
    #[must_use]
    pub fn device(&self) -> &D {
        &self.device
    }

    /// How long turns that did any work took, in nanoseconds, the tasks' own
    /// work included. Measured from one turn's reading of the clock to the
    /// next one's, so it costs no further reading.
    #[must_use]
    pub fn turn_times(&self) -> &Histogram {
        &self.turn_times
    }

    /// Runs until the future that `main` makes is ready, and gives its output.
    /// Segments and datagrams that were queued by then are still sent; tasks
    /// stay as they are and go on in the next `block_on`.
    pub fn block_on<F: Future>(&mut self, main: impl FnOnce(Net<'n>) -> F) -> F::Output {
        self.read_clock();
        let mut future = pin!(main(self.net()));
        let mut output = None;
        self.cell.executor().main_waker().wake_by_ref();
        loop {
            let worked = self.turn_with(&mut |cx| {
                if output.is_none()
                    && let Poll::Ready(value) = future.as_mut().poll(cx)
                {
                    output = Some(value);
                }
            });
            if let Some(output) = output {
                self.drain();
                return output;
            }
            if !worked {
                self.rest();
            }
        }
    }

    /// One turn, for callers with a loop of their own. Returns whether anything
    /// happened; when nothing did, the caller may sleep until
    /// [`deadline`](Self::deadline).
    pub fn turn(&mut self) -> bool {
        self.turn_with(&mut |_| {})
    }

    /// When the next turn has work even if nothing arrives: `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let executor = self.cell.executor();
        let now = executor.now();
        if executor.has_ready() {
            return Some(now);
        }
        let full = self.has_unsent();
        let retry = (executor.wants_frame() || full).then(|| now + RETRY);
        let stack = match self.cell.with_stack(|stack| stack.deadline()) {
            // Output that waits for room in the device is not due any earlier.
            Some(due) if due <= now && full => None,
            other => other,
        };
        [executor.deadline(), stack, retry]
            .into_iter()
            .flatten()
            .min()
    }

    fn turn_with(&mut self, main: &mut dyn FnMut(&mut Context<'_>)) -> bool {
        let now = self.read_clock();
        if let Some(last) = self.last_turn.take() {
            self.turn_times.record(now.nanos_since(last));
        }
        let received = self.receive(now);
        let executor = self.cell.executor();
        if executor.wants_frame() {
            let free = self.cell.with_stack(|stack| stack.pool().available());
            if free != self.free_frames {
                executor.frames_are_free();
            }
        }
        executor.advance(now);
        let polls = executor.poll_ready(main);
        let mut sent = self.transmit(now);
        let due = self.cell.with_stack(|stack| {
            let due = stack.expire(now);
            self.free_frames = stack.pool().available();
            due
        });
        if due {
            sent |= self.transmit(now);
        }
        let worked = received || polls > 0 || sent;
        if worked {
            self.idle_since = None;
            self.last_turn = Some(now);
        }
        worked
    }

    fn read_clock(&mut self) -> Instant {
        let now = self.clock.now();
        self.cell.executor().set_now(now);
        self.cell.with_stack(|stack| stack.set_now(now));
        now
    }

    /// Takes in one burst, or two while a backlog lasts.
    fn receive(&mut self, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..if self.backlog { BACKLOG_BURSTS } else { 1 } {
            let (device, rx) = (&mut self.device, &mut self.rx);
            let packets = self.cell.with_stack(|stack| {
                let packets = device.rx_burst(stack.pool(), rx);
                if packets > 0 {
                    stack.input(now, rx);
                }
                packets
            });
            any |= packets > 0;
            self.backlog = packets >= RX_BURST;
            if !self.backlog {
                break;
            }
        }
        any | self.receive_others(now)
    }

    /// The same of the other devices.
    fn receive_others(&mut self, now: Instant) -> bool {
        let mut any = false;
        for other in &mut self.others {
            for _ in 0..if other.backlog { BACKLOG_BURSTS } else { 1 } {
                let (device, rx) = (&mut other.device, &mut self.rx);
                let packets = self.cell.with_stack(|stack| {
                    let packets = device.rx_burst(stack.pool(), rx);
                    if packets > 0 {
                        stack.input_on(other.interface, now, rx);
                    }
                    packets
                });
                any |= packets > 0;
                other.backlog = packets >= RX_BURST;
                if !other.backlog {
                    break;
                }
            }
        }
        any
    }

    /// Whether some device has not taken all that there was for it.
    fn has_unsent(&self) -> bool {
        !self.tx.is_empty() || self.others.iter().any(|other| !other.tx.is_empty())
    }

    /// Sends what the stack has until it has no more or the device takes no
    /// more; what it did not take stays for the next turn. Returns whether the
    /// device took anything.
    fn transmit(&mut self, now: Instant) -> bool {
        let (cell, tx) = (self.cell, &mut self.tx);
        let mut any = flush(&mut self.device, tx, |tx| {
            cell.with_stack(|stack| stack.output_on(InterfaceId::FIRST, now, tx))
        });
        for Other {
            interface,
            device,
            tx,
            ..
        } in &mut self.others
        {
            any |= flush(device, tx, |tx| {
                cell.with_stack(|stack| stack.output_on(*interface, now, tx))
            });
        }
        any
    }

    /// Nothing happened: polls on for a while, then sleeps in the device.
    fn rest(&mut self) {
        let now = self.cell.executor().now();
        let idle_since = *self.idle_since.get_or_insert(now);
        if now - idle_since < self.spin {
            core::hint::spin_loop();
            return;
        }
        let mut longest = match self.deadline() {
            Some(deadline) if deadline <= now => return,
            Some(deadline) => Some(deadline - now),
            None => None,
        };
        if !self.others.is_empty() {
            longest = Some(longest.map_or(RETRY, |longest| longest.min(RETRY)));
        }
        self.device.wait(longest);
    }

    fn drain(&mut self) {
        for _ in 0..DRAIN_ROUNDS {
            let now = self.read_clock();
            self.transmit(now);
            if !self.has_unsent() {
                return;
            }
            self.device.wait(Some(RETRY));
        }
    }
}

/// Sends what `output` gives until it gives no more or the device takes no more.
/// Returns whether the device took anything.
fn flush(
    device: &mut impl NetDevice,
    tx: &mut TxBurst,
    mut output: impl FnMut(&mut TxBurst) -> bool,
) -> bool {
    let mut any = false;
    loop {
        let more = output(tx);
        if tx.is_empty() {
            return any;
        }
        any |= device.tx_burst(tx) > 0;
        if !more || !tx.is_empty() {
            return any;
        }
    }
}

impl<D, C> Drop for Runtime<'_, D, C> {
    fn drop(&mut self) {
        self.cell.executor().shut_down();
    }
}

#[cfg(test)]
mod tests;
