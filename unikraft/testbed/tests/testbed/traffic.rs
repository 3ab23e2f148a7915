//! Streams and datagrams, with each fault of the driver and each offload.

use std::time::Duration;

use pollwire_core::{Error, FlowId, Shutdown, Stack};
use pollwire_rings::FrameRef;
use pollwire_uk_testbed::{BedConfig, Traps};

use crate::world::{Wiring, World};

/// What byte `at` of a test's stream is.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 11) as u8
}

/// Sends back what it receives, in the frames in which it came.
#[derive(Default)]
pub(crate) struct Echo {
    unsent: Option<FrameRef>,
    pub(crate) echoed: usize,
    over: bool,
}

impl Echo {
    pub(crate) fn run(&mut self, stack: &mut Stack, flow: FlowId) {
        loop {
            let frame = match self.unsent.take() {
                Some(frame) => frame,
                None => match stack.tcp_try_recv(flow) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => {
                        if !self.over {
                            self.over = true;
                            stack.tcp_shutdown(flow, Shutdown::Write).expect("open");
                        }
                        return;
                    }
                    Err(_) => return,
                },
            };
            let len = frame.len();
            match stack.tcp_try_send(flow, frame) {
                Ok(()) => self.echoed += len,
                Err((frame, _)) => {
                    self.unsent = Some(frame);
                    return;
                }
            }
        }
    }
}

/// Sends a stream of `len` bytes and checks what comes back.
pub(crate) struct Client {
    written: usize,
    read: usize,
    len: usize,
}

impl Client {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            written: 0,
            read: 0,
            len,
        }
    }

    /// Returns whether everything came back.
    pub(crate) fn run(&mut self, stack: &mut Stack, flow: FlowId) -> bool {
        while self.written < self.len {
            let part: Vec<u8> = (self.written..self.len.min(self.written + 8192))
                .map(byte)
                .collect();
            match stack.tcp_try_write(flow, &part) {
                Ok(count) => self.written += count,
                Err(_) => break,
            }
            if self.written == self.len {
                stack.tcp_shutdown(flow, Shutdown::Write).expect("open");
            }
        }
        loop {
            match stack.tcp_try_recv(flow) {
                Ok(Some(frame)) => {
                    for &got in &frame[..] {
                        assert_eq!(got, byte(self.read), "at {}", self.read);
                        self.read += 1;
                    }
                }
                Ok(None) => {
                    assert_eq!(self.read, self.len, "the echo ends early");
                    return true;
                }
                Err(Error::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// An echo of `len` bytes over one connection.
fn echo(world: &mut World, len: usize) {
    let (server, client) = world.connect(7);
    let (mut echo, mut check) = (Echo::default(), Client::new(len));
    let mut all = false;
    let done = world.run(
        Duration::from_secs(3_600),
        |machine, peer| {
            echo.run(machine, server);
            all |= !all && check.run(peer, client);
        },
        |machine, peer| {
            machine.tcp_try_closed(server).is_ok() && peer.tcp_try_closed(client).is_ok()
        },
    );
    assert!(done && all, "not done");
    assert_eq!(echo.echoed, len);
    world.machine.stack.tcp_close(server);
    world.peer.stack.tcp_close(client);
}

/// Everything that the host may offer.
const OFFERS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

fn with(traps: Traps, (checksum, tso4): (bool, bool)) -> BedConfig {
    BedConfig {
        traps,
        checksum,
        tso4,
        ..BedConfig::QEMU
    }
}

#[test]
fn an_echo_comes_back_intact_with_each_fault_and_each_offload() {
    let faults = Traps::EACH.into_iter().chain([Traps::NONE, Traps::ALL]);
    for traps in faults {
        for offer in OFFERS {
            for same_host in [false, true] {
                println!("{traps:?}, {offer:?}, same host: {same_host}");
                let wiring = Wiring {
                    same_host,
                    ..Wiring::PLAIN
                };
                let mut world = World::new::<512>(&with(traps, offer), wiring);
                echo(&mut world, 500_000);
                world.finish();
            }
        }
    }
}
