//! The whole loop: pollwire's runtime over the device, asleep between packets.
//! The peer lives in the machine's halts.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pollwire_core::{NetCell, Runtime, Stack, TcpListener, TcpOptions};
use pollwire_rings::memory::{self, MemoryDevice, Wire};
use pollwire_rings::{Caps, Clock, Instant};
use pollwire_uk_testbed::{BedConfig, Bridge, Testbed};

use crate::traffic::Client;
use crate::world::{self, Host, Wiring};

/// The machine's clock. Looking at it takes a while.
struct Ticking(Testbed);

impl Clock for Ticking {
    fn now(&mut self) -> Instant {
        let now = self.0.clock() + Duration::from_micros(1);
        self.0.set_clock(now);
        now
    }
}

/// All that is not the machine.
struct Outside {
    bed: Testbed,
    bridge: Bridge<MemoryDevice>,
    wire: Wire,
    peer: Host<MemoryDevice>,
}

impl Outside {
    /// What happens there now. Returns when the next thing will.
    fn turn(&mut self, app: &mut impl FnMut(&mut Stack, Instant)) -> Option<Instant> {
        let now = self.bed.clock();
        self.wire.advance(now);
        self.bridge.pump();
        self.peer.receive(now);
        app(&mut self.peer.stack, now);
        self.peer.transmit(now);
        self.bridge.pump();
        let next = [self.wire.next_event(), self.peer.stack.deadline()];
        next.into_iter().flatten().min()
    }
}

#[test]
fn a_program_sleeps_between_packets_and_misses_none() {
    const ROUNDS: usize = 50;
    let bed = Testbed::attach(&BedConfig::QEMU);
    let open = |pool: &_| bed.open(pool);
    let memory = world::leak::<512>();
    let (stack, device) =
        Stack::boot(memory, &world::config(1, Wiring::PLAIN), open).expect("boots");
    let caps = Caps::plain([2, 0, 0, 0, 0, 2], 1500);
    let (mut near, far) = memory::pair(caps, caps);
    let slow = memory::Impairments {
        delay: Duration::from_millis(1),
        ..memory::Impairments::NONE
    };
    near.impair(slow.seeded(1));
    let peer = Stack::on_heap::<512, 64, 2048>(&world::config(2, Wiring::PLAIN), caps);
    let mut outside = Outside {
        bed,
        wire: near.wire(),
        bridge: Bridge::new(bed, near),
        peer: Host::new(peer, far),
    };

    // The peer asks for an echo of some bytes, waits for a while, asks again.
    let done = Rc::new(Cell::new(0));
    let (mut flow, mut ask_at) = (None, Instant::from_millis(5));
    let mut app = {
        let done = done.clone();
        move |stack: &mut Stack, now: Instant| {
            let (id, client) = match &mut flow {
                Some(open) => open,
                None if now >= ask_at => {
                    let remote = "10.0.0.1:7".parse().expect("an address");
                    let id = stack.tcp_connect(remote, TcpOptions::DEFAULT);
                    let client = Client::new(1 + done.get() * 997);
                    flow.insert((id.expect("a port"), client))
                }
                None => return,
            };
            if stack.tcp_try_connected(*id).is_ok() && client.run(stack, *id) {
                stack.tcp_close(*id);
                flow = None;
                done.set(done.get() + 1);
                ask_at = now + Duration::from_millis(100);
            }
        }
    };
    bed.on_halt(move || {
        let now = outside.bed.clock();
        let next = outside.turn(&mut app);
        // The application above looks every millisecond.
        let tick = now + Duration::from_millis(1);
        Some(next.map_or(tick, |next| next.min(tick)))
    });

    let cell = NetCell::new(stack);
    let mut runtime = Runtime::new(&cell, device, Ticking(bed));
    runtime.block_on(async |net| {
        let local = "0.0.0.0:7".parse().expect("an address");
        let listener = TcpListener::bind(net, local).expect("free");
        for _ in 0..ROUNDS {
            let flow = listener.accept().await.expect("a connection");
            while let Some(frame) = flow.recv().await.expect("open") {
                flow.send(frame).await.expect("open");
            }
            flow.close().await.expect("in order");
        }
    });
    let stats = runtime.device().stats();
    println!("{stats:?}, {:?}", bed.stats());
    assert!(done.get() >= ROUNDS - 1, "{} rounds", done.get());
    // Five seconds, each round waiting for a hundred milliseconds: asleep nearly
    // all the time, and yet no answer later than the path makes it.
    assert!(bed.clock() < Instant::from_secs(8), "{:?}", bed.clock());
    assert!(bed.stats().woken > ROUNDS as u64);
    assert!(stats.tx_reapers > 0, "the machine is idle between rounds");
    assert!(stats.tx_reapers <= 2 * ROUNDS as u64);
    assert_eq!(bed.stats().complaints, 0);
}
