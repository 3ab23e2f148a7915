//! Two stacks with an open connection, and a fuzzer for a network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use pollwire::rings::RxMeta;
use pollwire::{FlowId, Instant, ListenOptions, Shutdown, TcpOptions};

use super::frame::repair;
use super::host::Host;

/// One end: its host, its flow, what is on the way to it, and its streams.
struct End {
    host: Host,
    flow: FlowId,
    wire: VecDeque<Vec<u8>>,
    sent: u64,
    received: u64,
}

struct Pair {
    ends: [End; 2],
    now: Instant,
    /// Nothing was changed on the way, so what arrives is what was sent.
    faithful: bool,
}

/// Byte number `at` of either stream.
fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Reads `data` as a script of what the two applications and the network do.
pub fn tcp_pair(data: &[u8]) {
    let mut pair = Pair::open();
    for step in data.chunks_exact(4) {
        pair.step([step[0], step[1], step[2], step[3]]);
    }
    pair.finish();
}

impl Pair {
    fn open() -> Self {
        let (mut a, mut b) = (Host::new(1), Host::new(2));
        let any = SocketAddr::from(([0, 0, 0, 0], 80));
        let listener = b
            .stack
            .tcp_listen(any, ListenOptions::DEFAULT)
            .expect("a fresh stack listens");
        let remote = SocketAddr::from(([10, 0, 0, 2], 80));
        let client = a
            .stack
            .tcp_connect(remote, TcpOptions::DEFAULT)
            .expect("a fresh stack connects");
        let now = Instant::from_secs(1);
        // Addresses, then the handshake.
        for _ in 0..8 {
            exchange(&mut a, &mut b, now);
            exchange(&mut b, &mut a, now);
        }
        let server = b.stack.tcp_try_accept(listener).expect("it opens");
        b.stack.tcp_close_listener(listener);
        let end = |host, flow| End {
            host,
            flow,
            wire: VecDeque::new(),
            sent: 0,
            received: 0,
        };
        Self {
            ends: [end(a, client), end(b, server)],
            now,
            faithful: true,
        }
    }

    /// `[what and which end, how, how much, how much]`
    fn step(&mut self, [what, how, high, low]: [u8; 4]) {
        let amount = usize::from(u16::from_be_bytes([high, low]));
        let which = usize::from(what >> 7);
        let end = &mut self.ends[which];
        match what & 15 {
            0 | 1 => end.write(amount % 5000),
            2 => end.read(self.faithful),
            3 => self.now += Duration::from_micros(amount as u64),
            4 => self.now += Duration::from_millis(amount as u64),
            5 => end.reorder(how),
            6 => {
                end.wire.pop_front();
            }
            7 => end.wire.extend(end.wire.front().cloned()),
            8 => {
                self.faithful = false;
                end.spoil(amount, how);
            }
            9 if how == 0 => end.host.stack.tcp_abort(end.flow),
            9 | 10 => {
                let half = [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(how) % 3];
                // Refused when it is already closed.
                let _refused = end.host.stack.tcp_shutdown(end.flow, half);
            }
            // Most steps let the network work.
            _ => end.take_in(self.now, usize::from(how) % 20),
        }
        for which in 0..2 {
            let end = &mut self.ends[which];
            end.host.stack.expire(self.now);
            let packets = end.host.output(self.now);
            let wire = &mut self.ends[1 - which].wire;
            wire.extend(packets);
            wire.truncate(64);
        }
    }

    fn finish(self) {
        for mut end in self.ends {
            end.host.stack.tcp_abort(end.flow);
            end.host.finish(self.now);
        }
    }
}

impl End {
    fn write(&mut self, len: usize) {
        let data: Vec<u8> = (self.sent..).take(len).map(pattern).collect();
        if let Ok(taken) = self.host.stack.tcp_try_write(self.flow, &data) {
            self.sent += taken as u64;
        }
    }

    fn read(&mut self, faithful: bool) {
        while let Ok(Some(frame)) = self.host.stack.tcp_try_recv(self.flow) {
            for &byte in &frame[..] {
                assert!(
                    !faithful || byte == pattern(self.received),
                    "byte {} differs",
                    self.received
                );
                self.received += 1;
            }
        }
    }

    /// The first frame on the way goes behind `by` others.
    fn reorder(&mut self, by: u8) {
        if let Some(first) = self.wire.pop_front() {
            let at = usize::from(by).min(self.wire.len());
            self.wire.insert(at, first);
        }
    }

    /// Changes a byte of the first frame on the way; its checksums fit again.
    fn spoil(&mut self, at: usize, with: u8) {
        if let Some(frame) = self.wire.front_mut() {
            // Headers, where it tells.
            let at = at % frame.len().clamp(1, 80);
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= with;
            }
            repair(frame);
        }
    }

    fn take_in(&mut self, now: Instant, count: usize) {
        for frame in self.wire.drain(..count.min(self.wire.len())) {
            self.host.offer(&frame, RxMeta::default());
        }
        self.host.input(now);
    }
}

fn exchange(from: &mut Host, to: &mut Host, now: Instant) {
    for packet in from.output(now) {
        to.offer(&packet, RxMeta::default());
    }
    to.input(now);
}
