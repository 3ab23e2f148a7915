//! Raw Ethernet frames over a device, without a stack: tests tenders and back
//! ends.
//!
//! `mirror` sends every frame back to its sender until one of 14 bytes comes, or
//! one of a type that says goodbye;
//! `mirror send COUNT [LENGTH] [WINDOW]` sends numbered frames to such a mirror
//! and checks that all come back in order and intact.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use pollwire_guest::{Abi, ExitCode, Guest, GuestClock, GuestDevice, println};
use pollwire_rings::{
    Clock, FrameBuf, FrameMemory, FramePool, Instant, NetDevice, RxBurst, TxBurst, TxMeta,
};

pollwire_guest::entry!(main; net "service");

static MEMORY: FrameMemory<1024> = FrameMemory::new();

/// The two EtherTypes for local experiments (IEEE 802).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const GOODBYE: [u8; 2] = [0x88, 0xb6];
const HEADER: usize = 14;
const GIVE_UP: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_millis(200);

fn main(guest: Guest) -> Result<ExitCode, &'static str> {
    let pool = FramePool::from_static(&MEMORY).ok_or("the frames are taken")?;
    let device = guest.net("service", &pool).map_err(|_| "no device")?;
    let caps = device.caps();
    println!(
        "{} guest, {}, MTU {}, {:02x?}",
        guest.abi(),
        device.way(),
        caps.mtu,
        caps.mac
    );
    let words: Vec<&str> = guest.args().collect();
    let number = |index: usize, default: usize| {
        words
            .get(index)
            .map_or(Ok(default), |word| word.parse().map_err(|_| "not a number"))
    };
    let mut port = Port {
        // Unikraft's driver adds ten to what is not IP.
        slack: if guest.abi() == Abi::Unikraft { 20 } else { 0 },
        device,
        pool,
        clock: guest.clock(),
        rx: RxBurst::new(),
        tx: TxBurst::new(),
    };
    let intact = match words.first().copied() {
        Some("send") => {
            let window = number(3, 32)?;
            port.send(
                number(1, 1000)?,
                number(2, 1514)?.max(HEADER + 8),
                window.max(1),
            )
        }
        Some(_) => return Err("usage: mirror [send COUNT [LENGTH] [WINDOW]]"),
        None => port.reflect(),
    };
    println!("{:?}", port.device.stats());
    let Port {
        device,
        pool,
        rx,
        tx,
        ..
    } = port;
    let kept = device.kept_frames();
    drop((device, rx, tx));
    if pool.in_use() != kept {
        return Err("frames were lost");
    }
    Ok(if intact {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Port {
    /// Bytes that may follow a frame that went there and back.
    slack: usize,
    device: GuestDevice,
    pool: FramePool,
    clock: GuestClock,
    rx: RxBurst,
    tx: TxBurst,
}

impl Port {
    fn reflect(&mut self) -> bool {
        let mac = self.device.caps().mac;
        let mut reflected = 0_u64;
        loop {
            self.device.rx_burst(&self.pool, &mut self.rx);
            let idle = self.rx.is_empty() && self.tx.is_empty();
            let mut done = false;
            for received in self.rx.drain() {
                let mut frame = received.frame;
                let ethertype = frame.get(12..14);
                let goodbye = ethertype == Some(&GOODBYE[..]);
                if !goodbye && ethertype != Some(&ETHERTYPE[..]) {
                    continue;
                }
                done |= goodbye || frame.len() == HEADER;
                if let Some((to, rest)) = frame.split_first_chunk_mut::<6>()
                    && let Some((from, _)) = rest.split_first_chunk_mut::<6>()
                {
                    *to = *from;
                    *from = mac;
                }
                reflected += 1;
                // The burst has room for a whole receive burst once it is empty.
                let _full = self.tx.push(frame.freeze(), TxMeta::default());
            }
            while !self.tx.is_empty() && self.device.tx_burst(&mut self.tx) == 0 {
                self.device.wait(None);
            }
            if done {
                println!("reflected {reflected} frames");
                return true;
            }
            if idle {
                self.device.wait(None);
            }
        }
    }

    /// Builds frame `number`: its bytes follow from the number.
    fn frame(&self, number: usize, length: usize) -> Option<FrameBuf> {
        let mut frame = self.pool.alloc()?;
        let bytes = frame.push_back(length)?;
        let (header, body) = bytes.split_at_mut_checked(HEADER)?;
        header.fill(0xff);
        header
            .get_mut(6..12)?
            .copy_from_slice(&self.device.caps().mac);
        header.get_mut(12..14)?.copy_from_slice(&ETHERTYPE);
        let (stamp, fill) = body.split_first_chunk_mut::<8>()?;
        *stamp = (number as u64).to_be_bytes();
        fill.fill(number.to_le_bytes()[0]);
        Some(frame)
    }

    fn is_frame(bytes: &[u8], number: usize, length: usize, slack: usize) -> bool {
        let body = bytes.get(HEADER..length).unwrap_or_default();
        (length..=length + slack).contains(&bytes.len())
            && body.first_chunk::<8>() == Some(&(number as u64).to_be_bytes())
            && body
                .iter()
                .skip(8)
                .all(|&byte| byte == number.to_le_bytes()[0])
    }

    fn send(&mut self, count: usize, length: usize, window: usize) -> bool {
        let slack = self.slack;
        if !self.wait_for_mirror(length) {
            println!("no mirror answers");
            return false;
        }
        let start = self.clock.now();
        let (mut sent, mut received, mut wrong) = (1, 1, 0);
        let mut heard = start;
        while received < count && self.clock.now().since(heard) < GIVE_UP {
            while sent < count && sent - received < window && self.tx.has_room(1) {
                let Some(frame) = self.frame(sent, length) else {
                    break;
                };
                let _full = self.tx.push(frame.freeze(), TxMeta::default());
                sent += 1;
            }
            self.device.tx_burst(&mut self.tx);
            if self.device.rx_burst(&self.pool, &mut self.rx) == 0 {
                self.device.wait(Some(PATIENCE));
                continue;
            }
            heard = self.clock.now();
            for answer in self.rx.drain() {
                let ours = answer.frame.get(12..14) == Some(&ETHERTYPE[..]);
                // Frame 0 may have been sent more than once.
                if !ours || Self::is_frame(&answer.frame, 0, length, slack) {
                    continue;
                }
                wrong += usize::from(!Self::is_frame(&answer.frame, received, length, slack));
                received += 1;
            }
        }
        self.report(start, received, wrong, length);
        self.say_goodbye();
        received == count && wrong == 0
    }

    /// Sends frame 0 until it comes back.
    fn wait_for_mirror(&mut self, length: usize) -> bool {
        let slack = self.slack;
        let start = self.clock.now();
        while self.clock.now().since(start) < GIVE_UP {
            if let Some(frame) = self.frame(0, length) {
                let _full = self.tx.push(frame.freeze(), TxMeta::default());
            }
            self.device.tx_burst(&mut self.tx);
            let until = self.clock.now() + GIVE_UP / 30;
            while self.clock.now() < until {
                self.device.rx_burst(&self.pool, &mut self.rx);
                if self
                    .rx
                    .drain()
                    .any(|answer| Self::is_frame(&answer.frame, 0, length, slack))
                {
                    return true;
                }
                self.device.wait(Some(PATIENCE));
            }
        }
        false
    }

    fn say_goodbye(&mut self) {
        if let Some(mut frame) = self.pool.alloc() {
            if let Some(header) = frame.push_back(HEADER) {
                header.fill(0xff);
                // A bridge drops what comes from a group address.
                header[6..12].copy_from_slice(&self.device.caps().mac);
                header[12..].copy_from_slice(&GOODBYE);
            }
            let _full = self.tx.push(frame.freeze(), TxMeta::default());
        }
        while !self.tx.is_empty() {
            self.device.tx_burst(&mut self.tx);
        }
    }

    fn report(&mut self, start: Instant, received: usize, wrong: usize, length: usize) {
        let nanos = self.clock.now().nanos_since(start).max(1);
        let frames = received as u64 - 1;
        println!(
            "{received} frames of {length} bytes came back, {wrong} of them wrong; {} ns each, \
             {} Mbit/s each way",
            nanos / frames.max(1),
            frames * length as u64 * 8_000 / nanos,
        );
    }
}
