//! Two hosts and the wire.

use std::time::Duration;

use pollwire::rings::memory::{Impairments, MemoryDevice, Wire, pair};
use pollwire::rings::{Caps, NetDevice};
use pollwire::{Config, Instant, JoinHandle, Net, NetCell, Runtime, Stack};
use pollwire_apps::services;
use pollwire_tls::WallClock;

/// The certificate of `unikernel.test`.
pub(crate) const CERTIFICATE: &[u8] = include_bytes!("../../unikernels/services/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../unikernels/services/tls/key.pem");

/// The host 10.0.0.`last` and 2001:db8::`last`.
pub(crate) fn cell<'n>(last: u8, device: &MemoryDevice) -> NetCell<'n> {
    let four = format!("10.0.0.{last}/24").parse().expect("an address");
    let six = format!("2001:db8::{last}/64").parse().expect("an address");
    let config = Config::new(four, [last; 32]).with_ipv6(six);
    NetCell::new(Stack::on_heap::<2048, 256, 2048>(&config, device.caps()))
}

/// The client's device and the server's.
pub(crate) fn devices(impairments: Impairments, seed: u64) -> (MemoryDevice, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (mut left, mut right) = pair(caps(1), caps(2));
    left.impair(impairments.seeded(seed));
    right.impair(impairments.seeded(!seed));
    (left, right)
}

pub(crate) struct World<'n> {
    pub(crate) client: Runtime<'n, MemoryDevice, Wire>,
    pub(crate) server: Runtime<'n, MemoryDevice, Wire>,
    pub(crate) wire: Wire,
}

impl<'n> World<'n> {
    pub(crate) fn new(
        cells: &'n (NetCell<'n>, NetCell<'n>),
        (client, server): (MemoryDevice, MemoryDevice),
    ) -> Self {
        let wire = client.wire();
        Self {
            client: Runtime::new(&cells.0, client, wire.clone()),
            server: Runtime::new(&cells.1, server, wire.clone()),
            wire,
        }
    }

    /// A turn of both; when there is nothing to do, time passes until there is,
    /// but not beyond `end`.
    fn turn(&mut self, end: Instant) {
        if !(self.server.turn() | self.client.turn()) {
            let (server, client) = (self.server.deadline(), self.client.deadline());
            let ends = [server, client, self.wire.next_event(), Some(end)];
            let next = ends.into_iter().flatten().min().unwrap_or(end);
            self.wire.advance(next);
        }
    }

    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.wire.now() < end {
            self.turn(end);
        }
    }

    /// Runs until the task has ended; gives its output.
    pub(crate) fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        let end = self.wire.now() + Duration::from_secs(3600);
        while self.wire.now() < end {
            self.turn(end);
            if let Some(output) = task.try_take() {
                return output;
            }
        }
        panic!("the test does not end");
    }

    /// Lets connections and TIME-WAIT pass; then nothing may be left.
    pub(crate) fn check_empty(&mut self) {
        let end = self.wire.now() + Duration::from_secs(600);
        self.run_until(end);
        assert_eq!(self.client.net().task_count(), 0, "tasks are left");
        for net in [self.client.net(), self.server.net()] {
            net.with_stack(|stack| {
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
                assert_eq!(stack.pool().in_use(), 0, "frames are left");
            });
        }
    }
}

/// Serves HTTPS, and DNS for `name`; gives the time of day at both hosts.
pub(crate) fn serve(net: Net<'_>, name: &str) -> WallClock {
    let clock = WallClock::new(Duration::from_secs(1_767_225_600), Instant::ZERO);
    let config = services::tls::config(clock, CERTIFICATE, KEY).expect("fine");
    services::tls::start(net, &config).expect("free ports");
    let names = vec![name.parse().expect("a name")];
    services::names::start(net, names).expect("a free port");
    clock
}
