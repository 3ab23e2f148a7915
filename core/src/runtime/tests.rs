//! The loop itself: sleeping, back-pressure, ending.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::pending;
use core::time::Duration;

use pollwire_rings::memory::{MemoryDevice, Wire};
use pollwire_rings::{Caps, Clock, FramePool, Instant, NetDevice, RxBurst, TxBurst};

use super::{RETRY, Runtime};
use crate::socket::testing::{LEFT, RIGHT, World, at, hosts, ms};
use crate::{Config, Ipv4Cidr, NetCell, Stack, UdpSocket};

/// A device to which nothing comes, and whose waits make the time pass.
struct Idle {
    time: Rc<Cell<Instant>>,
    waits: Rc<RefCell<Vec<Option<Duration>>>>,
}

#[derive(Clone)]
struct Time(Rc<Cell<Instant>>);

impl Clock for Time {
    fn now(&mut self) -> Instant {
        // Reading takes time, so that spinning comes to an end.
        self.0.set(self.0.get() + Duration::from_micros(1));
        self.0.get()
    }
}

impl NetDevice for Idle {
    fn caps(&self) -> Caps {
        Caps::plain([2, 0, 0, 0, 0, 1], 1500)
    }

    fn rx_burst(&mut self, _: &FramePool, _: &mut RxBurst) -> usize {
        0
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let count = burst.packets();
        burst.consume(count);
        count
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.waits.borrow_mut().push(timeout);
        let timeout = timeout.expect("somebody must wake the test");
        self.time.set(self.time.get() + timeout);
    }
}

fn cell<'n>() -> NetCell<'n> {
    let cidr = Ipv4Cidr::new(LEFT, 24).expect("24 is fine");
    let caps = Caps::plain([2, 0, 0, 0, 0, 1], 1500);
    NetCell::new(Stack::on_heap::<64, 16, 2048>(
        &Config::new(cidr, [1; 32]),
        caps,
    ))
}

fn idle() -> (Idle, Time) {
    let time = Rc::new(Cell::new(Instant::ZERO));
    let device = Idle {
        time: time.clone(),
        waits: Rc::default(),
    };
    (device, Time(time))
}

#[test]
fn sleeps_in_the_device_until_the_next_timer() {
    let cell = cell();
    let (device, clock) = idle();
    let waits = device.waits.clone();
    let mut runtime = Runtime::new(&cell, device, clock);
    let took = runtime.block_on(|net| async move {
        let start = net.now();
        net.sleep(ms(500)).await;
        net.now() - start
    });
    assert!(took >= ms(500) && took < ms(501), "{took:?}");
    let waits = waits.borrow();
    let slept: Duration = waits.iter().flatten().sum();
    assert!(slept > ms(499), "the loop spun too long: {waits:?}");
    assert!(waits.len() <= 4, "{waits:?}");
}

#[test]
fn block_on_returns_what_is_ready_and_goes_on_with_the_tasks_later() {
    let cell = cell();
    let (device, clock) = idle();
    let mut runtime = Runtime::new(&cell, device, clock).with_spin(Duration::ZERO);
    assert_eq!(runtime.block_on(|_| async { 42 }), 42);
    let net = runtime.net();
    let task = net.spawn(async move {
        net.sleep(ms(5)).await;
        7
    });
    runtime.block_on(|_| async {});
    assert!(!task.is_finished());
    assert_eq!(runtime.block_on(|_| task), 7);
}

#[test]
fn tasks_are_dropped_with_the_runtime() {
    struct Flag<'a>(&'a Cell<bool>);
    impl Drop for Flag<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Cell::new(false);
    let cell = cell();
    let (device, clock) = idle();
    let runtime = Runtime::new(&cell, device, clock);
    let net = runtime.net();
    let (flag, socket) = (Flag(&dropped), UdpSocket::bind(net, at(LEFT, 7)));
    net.spawn(async move {
        let _held = (flag, socket);
        pending::<()>().await;
    })
    .detach();
    drop(runtime);
    assert!(dropped.get());
    assert_eq!(net.task_count(), 0);
    assert!(
        UdpSocket::bind(net, at(LEFT, 7)).is_ok(),
        "the port is free"
    );
}

/// Takes `room` packets until it is given room for more.
struct Narrow {
    inner: MemoryDevice,
    room: Rc<Cell<usize>>,
}

impl NetDevice for Narrow {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        self.inner.rx_burst(pool, out)
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut one = TxBurst::new();
        let mut accepted = 0;
        while self.room.get() > 0
            && let Some(packet) = burst.get(0)
        {
            for piece in packet.pieces {
                one.push_piece(piece.clone()).expect("room");
            }
            one.seal(packet.meta);
            burst.consume(1);
            accepted += self.inner.tx_burst(&mut one);
            self.room.set(self.room.get() - 1);
        }
        accepted
    }

    fn wait(&mut self, _: Option<Duration>) {}
}

#[test]
fn a_full_device_delays_packets_and_loses_none() {
    const COUNT: u8 = 200;
    let (hosts, left, right) = hosts();
    let room = Rc::new(Cell::new(usize::MAX));
    let device = Narrow {
        inner: left,
        room: room.clone(),
    };
    let mut world: World<'_, Narrow> = World::new(&hosts, device, right);
    let (here, there) = world.nets();
    let server = UdpSocket::bind(there, at(RIGHT, 7)).expect("free");
    let got = there.spawn(async move {
        let mut got = Vec::new();
        while got.len() < usize::from(COUNT) {
            let (frame, _) = server.recv_frame_from().await.expect("works");
            got.push(frame[0]);
        }
        got
    });
    let socket = UdpSocket::bind(here, at(LEFT, 0)).expect("free");
    // The neighbour is known from here on.
    socket.try_send_to(&[0], at(RIGHT, 7)).expect("fits");
    world.pass(ms(5));
    room.set(0);
    for count in 1..COUNT {
        socket.try_send_to(&[count], at(RIGHT, 7)).expect("fits");
    }
    world.left.turn();
    assert!(!world.left.turn(), "a full device gives no work");
    let retry = world.left.deadline().expect("it must look again");
    assert_eq!(retry, Wire::now(&world.wire) + RETRY);
    let mut rounds = 0;
    while !got.is_finished() {
        room.set(3);
        world.turn();
        rounds += 1;
        assert!(rounds < 1000, "packets are lost");
    }
    let in_order: Vec<u8> = (0..COUNT).collect();
    assert_eq!(world.finish(got), in_order);
    room.set(usize::MAX);
    drop(socket);
    world.check_empty();
}

#[test]
fn one_loop_serves_several_devices() {
    use crate::{TcpFlow, TcpListener};
    use alloc::boxed::Box;
    use pollwire_rings::memory::pair;

    async fn echo(net: crate::Net<'_>, own: core::net::SocketAddr) {
        let listener = TcpListener::bind(net, own).expect("free");
        let flow = listener.accept().await.expect("a connection");
        while let Ok(Some(frame)) = flow.recv().await {
            flow.send(frame).await.expect("open");
        }
    }

    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let config = |own: &str| Config::new(own.parse().expect("a CIDR"), [9; 32]);
    let stack = |own, caps| Stack::on_heap::<256, 16, 2048>(&config(own), caps);
    let ((first, one), (second, other)) = (pair(caps(1), caps(2)), pair(caps(3), caps(4)));
    let (clock, wires) = (first.wire(), [first.wire(), second.wire()]);
    let mut both = stack("10.1.0.1/24", caps(1));
    let added = both.add_interface(&config("10.2.0.1/24"), second.caps());
    let added = added.expect("room");
    let (both, one_cell) = (
        NetCell::new(both),
        NetCell::new(stack("10.1.0.2/24", caps(2))),
    );
    let other_cell = NetCell::new(stack("10.2.0.2/24", caps(4)));
    // Devices of different kinds.
    let first: Box<dyn NetDevice> = Box::new(first);
    let second = Box::new(Narrow {
        inner: second,
        room: Rc::new(Cell::new(1_000_000)),
    });
    let mut left = Runtime::new(&both, first, clock.clone()).with_device(added, second);
    let mut one = Runtime::new(&one_cell, one, clock.clone());
    let mut other = Runtime::new(&other_cell, other, clock.clone());
    for runtime in [&one, &other] {
        let net = runtime.net();
        let own = net.with_stack(|stack| stack.ipv4_addresses().next());
        let own = own.expect("an address").address();
        net.spawn(echo(net, at(own, 7))).detach();
    }
    let net = left.net();
    let mut task = net.spawn(async move {
        for to in ["10.1.0.2:7", "10.2.0.2:7"] {
            let flow = TcpFlow::connect(net, to.parse().expect("an address")).await;
            let flow = flow.expect("connects");
            for round in 0..20_u8 {
                let mut frame = net.alloc_frame().await;
                frame.extend_from_slice(&[round; 1000]);
                flow.send(frame).await.expect("open");
                let mut echoed = 0;
                while echoed < 1000 {
                    let frame = flow.recv().await.expect("open").expect("not the end");
                    assert!(frame.iter().all(|&byte| byte == round));
                    echoed += frame.len();
                }
            }
        }
        true
    });
    for _ in 0..100_000 {
        let worked = [left.turn(), one.turn(), other.turn()];
        if task.try_take() == Some(true) {
            return;
        }
        if worked == [false; 3] {
            let next = [left.deadline(), one.deadline(), other.deadline()];
            let wires_next = wires.each_ref().map(Wire::next_event);
            let next = next.into_iter().chain(wires_next).flatten().min();
            let next = next.expect("something to wait for");
            wires.iter().for_each(|wire| wire.advance(next));
        }
    }
    panic!("the test does not end");
}
