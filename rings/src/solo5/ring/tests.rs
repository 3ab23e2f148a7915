//! The device against threads that play the tender: an honest one, and hostile
//! ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Condvar, Mutex};
use std::vec::Vec;
use std::{println, slice, thread};

use super::*;
use crate::solo5::manifest::NetAttachment;
use crate::{FramePool, NetDevice, RxBurst, TxBurst, TxMeta};

/// Frames per echo and per frame of its window: a narrow one waits for the
/// other thread with each frame. Fewer under Miri, which is much slower.
const FRAMES: u32 = if cfg!(miri) { 10 } else { 300 };

const ATTACHMENT: NetAttachment = NetAttachment {
    handle: 1,
    mac: [2, 0, 0, 0, 0, 1],
    mtu: 1500,
    fd: 0,
};

fn zeroed_ring() -> Arc<Ring> {
    // SAFETY: all fields are atomic integers, for which zero is valid.
    unsafe { Arc::<Ring>::new_zeroed().assume_init() }
}

/// What the guest's hypercalls reach: the eventfd and the poll set.
#[derive(Default)]
struct Host {
    kicked: Mutex<bool>,
    wake: Condvar,
    /// Frames on the wire back to the guest.
    wire: Mutex<VecDeque<Vec<u8>>>,
    arrived: Condvar,
    stop: AtomicBool,
    kicks: AtomicU32,
    calls: AtomicU32,
}

#[derive(Clone)]
struct Guest(Arc<Host>);

impl RingHost for Guest {
    fn kick(&mut self) {
        self.0.kicks.fetch_add(1, Ordering::Relaxed);
        *self.0.kicked.lock().unwrap() = true;
        self.0.wake.notify_one();
    }

    fn poll(&mut self, timeout: Option<Duration>) -> u64 {
        let wire = self.0.wire.lock().unwrap();
        // A sleep without bound that nothing ends is a failure, told as such.
        let limit = timeout.unwrap_or(Duration::from_secs(30));
        let (wire, result) = self
            .0
            .arrived
            .wait_timeout_while(wire, limit, |wire| wire.is_empty())
            .unwrap();
        assert!(
            timeout.is_some() || !result.timed_out(),
            "slept through an arrival"
        );
        u64::from(!wire.is_empty()) << ATTACHMENT.handle
    }

    fn write(&mut self, _handle: u32, frame: &[u8]) -> bool {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.wire.lock().unwrap().push_back(frame.to_vec());
        self.0.arrived.notify_one();
        true
    }
}

/// An honest tender that sends every frame back, with naps that depend on
/// `seed`.
fn serve(ring: &Ring, host: &Host, seed: u32) {
    let mut server = RingServer::new(ring);
    let mut nap = seed;
    loop {
        while let Some(request) = server.next() {
            answer(&mut server, host, request);
            server.done();
            nap = nap.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if nap >> 27 == 0 {
                thread::yield_now();
            }
        }
        if host.stop.load(Ordering::Acquire) {
            return;
        }
        if nap >> 31 == 0 && server.prepare_to_sleep() {
            let kicked = host.kicked.lock().unwrap();
            let mut kicked = host.wake.wait_while(kicked, |kicked| !*kicked).unwrap();
            *kicked = false;
            drop(kicked);
            server.woken();
        }
    }
}

fn answer(server: &mut RingServer<'_>, host: &Host, request: Request) {
    match request {
        Request::Write { address, len, .. } => {
            let data = core::ptr::with_exposed_provenance::<u8>(address as usize);
            // SAFETY: the device lends the frame until its entry is done.
            let frame = unsafe { slice::from_raw_parts(data, len as usize) };
            host.wire.lock().unwrap().push_back(frame.to_vec());
            host.arrived.notify_one();
        }
        Request::Read {
            address, len, id, ..
        } => {
            let frame = host.wire.lock().unwrap().pop_front();
            let received = frame.map(|frame| {
                assert!(frame.len() <= len as usize);
                let data = core::ptr::with_exposed_provenance_mut::<u8>(address as usize);
                // SAFETY: the device lends `len` bytes until the commit.
                unsafe { core::ptr::copy_nonoverlapping(frame.as_ptr(), data, frame.len()) };
                frame.len() as u32
            });
            server.commit(id, received);
        }
        Request::Unknown => panic!("an entry that says nothing"),
    }
}

fn device<'r>(ring: &'r Ring, host: &Arc<Host>, pool: &FramePool) -> RingDevice<'r, Guest> {
    RingDevice::new(ring, Guest(host.clone()), &ATTACHMENT, pool, u64::MAX)
}

/// Lets the thread end once the device is gone.
fn stop(host: &Host) {
    host.stop.store(true, Ordering::Release);
    *host.kicked.lock().unwrap() = true;
    host.wake.notify_one();
}

fn put(pool: &FramePool, tx: &mut TxBurst, number: u32, len: usize, pieces: bool) -> bool {
    let Some(mut frame) = pool.alloc() else {
        return false;
    };
    let Some(body) = frame.push_back(len) else {
        return false;
    };
    body.fill(number as u8);
    body[..4].copy_from_slice(&number.to_be_bytes());
    if !pieces {
        return tx.push(frame.freeze(), TxMeta::default()).is_ok();
    }
    let whole = frame.freeze();
    let Some(mut head) = pool.alloc() else {
        return false;
    };
    head.extend_from_slice(&whole[..10]);
    let rest = whole.slice(10, len).unwrap();
    tx.push_piece(head.freeze()).unwrap();
    tx.push_piece(rest).unwrap();
    tx.seal(TxMeta::default());
    true
}

/// Sends numbered frames through the loop and checks that they come
/// back in order and intact.
fn echo(window: u32, len: usize, pieces: bool, seed: u32) {
    println!("seed {seed}, window {window}, length {len}, pieces {pieces}");
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<256, 2048>();
    let tender = {
        let (ring, host) = (ring.clone(), host.clone());
        thread::spawn(move || serve(&ring, &host, seed))
    };
    let mut device = device(&ring, &host, &pool);
    let (mut rx, mut tx) = (RxBurst::new(), TxBurst::new());
    let (mut sent, mut received) = (0, 0);
    let frames = FRAMES * window;
    while received < frames {
        while sent < frames && sent - received < window && tx.has_room(2) {
            if !put(&pool, &mut tx, sent, len, pieces) {
                break;
            }
            sent += 1;
        }
        device.tx_burst(&mut tx);
        if device.rx_burst(&pool, &mut rx) == 0 {
            device.wait(None);
        }
        for frame in rx.drain() {
            assert_eq!(frame.frame.len(), len);
            assert_eq!(frame.frame[..4], received.to_be_bytes());
            assert!(frame.frame[4..].iter().all(|&byte| byte == received as u8));
            received += 1;
        }
    }
    let stats = device.stats();
    assert_eq!(stats.host_violations, 0);
    assert_eq!(stats.tx_invalid + stats.rx_errors + stats.rx_truncated, 0);
    let joined = if pieces {
        u64::from(frames) * (len as u64 - 10)
    } else {
        0
    };
    assert_eq!(stats.tx_joined_bytes, joined);
    drop(device);
    assert_eq!(pool.in_use(), 0, "every frame is home");
    stop(&host);
    tender.join().unwrap();
}

#[test]
fn frames_come_back_in_order() {
    for (seed, window) in [(1, 1), (2, 2), (3, 7), (4, 32), (5, 100)] {
        echo(window, 60 + 97 * seed as usize, false, seed);
    }
}

#[test]
fn pieces_are_joined_in_the_first_ones_frame() {
    echo(16, 1514, true, 9);
}

#[test]
fn what_would_end_the_guest_is_never_published() {
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<8, 2048>();
    let mut device = device(&ring, &host, &pool);
    let mut tx = TxBurst::new();
    for len in [4, 13, 1515, 1900] {
        assert!(put(&pool, &mut tx, 0, len, false));
    }
    assert_eq!(device.tx_burst(&mut tx), 4, "they are consumed");
    assert_eq!(device.stats().tx_invalid, 4);
    // One that touches the end of memory.
    device.memory_end = pool.address_range().start as u64;
    assert!(put(&pool, &mut tx, 0, 100, false));
    assert_eq!(device.tx_burst(&mut tx), 1);
    assert_eq!(device.stats().tx_invalid, 5);
    assert_eq!(device.outstanding(), 0);
    assert_eq!(ring.guest.ent_tail.load(Ordering::Relaxed), 0);
    drop(device);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_full_ring_leaves_the_rest_in_the_burst() {
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<2048, 512>();
    let mut device = device(&ring, &host, &pool);
    let mut tx = TxBurst::new();
    let mut accepted = 0;
    for number in 0..1100 {
        assert!(put(&pool, &mut tx, number, 64, false));
        accepted += device.tx_burst(&mut tx);
        if !tx.is_empty() {
            break;
        }
    }
    assert_eq!(accepted, RING_SIZE - 1);
    assert_eq!(tx.packets(), 1);
    // The tender catches up.
    let mut server = RingServer::new(&ring);
    while let Some(request) = server.next() {
        answer(&mut server, &host, request);
        server.done();
    }
    assert_eq!(device.tx_burst(&mut tx), 1);
    while let Some(request) = server.next() {
        answer(&mut server, &host, request);
        server.done();
    }
    drop(device);
    assert_eq!(host.wire.lock().unwrap().len(), RING_SIZE);
    assert_eq!(pool.in_use(), 0);
}

/// Answers no protocol foresees: none may panic, hand out bytes that are not
/// there, or give a lent frame back.
#[test]
fn hostile_words_are_counted_and_survived() {
    let rounds = if cfg!(miri) { 50 } else { 20_000 };
    let mut state = 0x5eed_u64;
    println!("seed {state:#x}");
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<64, 2048>();
    let mut device = device(&ring, &host, &pool);
    let (mut rx, mut tx) = (RxBurst::new(), TxBurst::new());
    let mut violations = 0;
    for _ in 0..rounds {
        put(&pool, &mut tx, random(), 100, false);
        device.tx_burst(&mut tx);
        device.batch.readable = true;
        device.rx_burst(&pool, &mut rx);
        for frame in rx.drain() {
            assert!(frame.frame.len() < frame.frame.slot_size());
        }
        let near = |value: u32, noise: u32| value.wrapping_add(noise % 5).wrapping_sub(2);
        let word = match random() % 4 {
            0 => near(device.head, random()),
            1 => near(device.commits, random()),
            2 => near(device.tail, random()),
            _ => random(),
        };
        match random() % 8 {
            0..3 => ring.host.ent_head.store(word, Ordering::Relaxed),
            3..6 => ring.host.com_tail.store(word, Ordering::Relaxed),
            _ => ring.host.needs_kick.store(word, Ordering::Relaxed),
        }
        for commit in &ring.commits {
            commit
                .id
                .store(device.next_id.wrapping_sub(random() % 3), Ordering::Relaxed);
            commit.ret.store(random() % 4, Ordering::Relaxed);
            let len = if random().is_multiple_of(2) {
                random() % 2500
            } else {
                random()
            };
            commit.len.store(len, Ordering::Relaxed);
        }
        violations = device.stats().host_violations;
    }
    assert!(violations > 0, "the lies were told and noticed");
    // Honest at last: everything lent comes home.
    ring.host.ent_head.store(device.tail, Ordering::Relaxed);
    let honest = device.commits.wrapping_add(device.posted.len() as u32);
    ring.host.com_tail.store(honest, Ordering::Relaxed);
    drop((device, rx, tx));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn the_batch_follows_traffic() {
    let mut batch = super::device::Batch::default();
    let mut turn = |readable: bool, full: u32| {
        batch.readable = readable;
        let posted = batch.next();
        if posted > 0 {
            batch.begin(posted);
            batch.full = full.min(posted);
        }
        posted
    };
    assert_eq!(turn(false, 0), 0, "idle: none");
    assert_eq!(turn(true, 99), 1);
    assert_eq!(
        [turn(false, 99), turn(false, 99), turn(false, 99)],
        [2, 4, 8]
    );
    assert_eq!(
        [turn(false, 99), turn(false, 99), turn(false, 3)],
        [16, 32, 32]
    );
    assert_eq!(turn(false, 0), 3, "as many as came");
    assert_eq!(turn(false, 0), 0, "idle again");
}

#[test]
fn long_frames_go_by_call_behind_the_ring() {
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<16, 4096>();
    let jumbo = NetAttachment {
        mtu: 9000,
        ..ATTACHMENT
    };
    let tender = {
        let (ring, host) = (ring.clone(), host.clone());
        thread::spawn(move || serve(&ring, &host, 1))
    };
    let mut device = RingDevice::new(&ring, Guest(host.clone()), &jumbo, &pool, u64::MAX);
    let mut tx = TxBurst::new();
    assert!(put(&pool, &mut tx, 0, 1000, false));
    assert!(put(&pool, &mut tx, 1, 3000, false));
    assert!(put(&pool, &mut tx, 2, 1000, false));
    while !tx.is_empty() {
        device.tx_burst(&mut tx);
    }
    drop(device);
    stop(&host);
    tender.join().unwrap();
    let lens: Vec<_> = host.wire.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(lens, [1000, 3000, 1000]);
    assert_eq!(host.calls.load(Ordering::Relaxed), 1);
    assert_eq!(pool.in_use(), 0);
}

/// Data that nobody reads, and among it what frees frames.
#[test]
fn a_flood_of_data_leaves_frames_to_what_frees_them() {
    let (ring, host) = (zeroed_ring(), Arc::new(Host::default()));
    let pool = FramePool::on_heap::<256, 2048>();
    let mut device = device(&ring, &host, &pool);
    let mut server = RingServer::new(&ring);
    let (mut held, mut small, mut idle) = (Vec::new(), 0, 0);
    for turn in 0.. {
        if turn < 400 {
            let mut wire = host.wire.lock().unwrap();
            wire.extend([[1; 1000], [1; 1000], [1; 1000]].map(Vec::from));
            wire.push_back(Vec::from([2; 60]));
        }
        device.batch.readable = true;
        let mut rx = RxBurst::new();
        device.rx_burst(&pool, &mut rx);
        for received in rx.drain() {
            match received.frame[0] {
                1 => held.push(received.frame),
                _ => small += 1,
            }
        }
        while let Some(request) = server.next() {
            answer(&mut server, &host, request);
            server.done();
        }
        let empty = host.wire.lock().unwrap().is_empty();
        idle = if empty && turn >= 400 { idle + 1 } else { 0 };
        if idle > 10 {
            break;
        }
    }
    assert_eq!(small, 400);
    let scarce = device.stats().rx_scarce;
    assert_eq!(held.len() as u64 + scarce, 1200);
    assert!(held.len() >= 200, "{}", held.len());
    assert!(pool.available() + device.posted.len() >= 16);
    drop((device, held));
    assert_eq!(pool.in_use(), 0);
}
