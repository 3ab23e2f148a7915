//! The device by itself: sleep, completions, rings that are full, packets that
//! do not suit it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pollwire_rings::unikraft::{OpenError, UnikraftDevice};
use pollwire_rings::{
    FramePool, FrameRef, Gso, GsoKind, Instant, NetDevice, RxBurst, RxChecksum, TxBurst,
    TxChecksum, TxMeta,
};
use pollwire_uk_testbed::{BedConfig, Testbed, Traps, Vnet};

/// A machine without a stack.
struct Bare {
    pool: FramePool,
    bed: Testbed,
    device: UnikraftDevice,
    /// Frames that another device keeps.
    second_lent: usize,
}

impl Bare {
    fn new(config: &BedConfig) -> Self {
        let pool = FramePool::on_heap::<256, 2048>();
        let bed = Testbed::attach(config);
        let device = bed.open(&pool).expect("opens");
        Self {
            pool,
            bed,
            device,
            second_lent: 0,
        }
    }

    /// A frame of `len` bytes, the first of them `first`, behind an Ethernet
    /// header of no known type.
    fn frame(&self, first: u8, len: usize) -> FrameRef {
        let mut frame = self.pool.alloc().expect("free");
        assert!(frame.set_len(len));
        frame.fill(first);
        frame.freeze()
    }

    /// Transmits packets of one piece each.
    fn send(&mut self, frames: impl IntoIterator<Item = FrameRef>) -> TxBurst {
        let mut burst = TxBurst::new();
        for frame in frames {
            burst.push(frame, TxMeta::default()).expect("room");
        }
        self.device.tx_burst(&mut burst);
        burst
    }

    /// First bytes of the frames that the host gets.
    fn sent(&self) -> Vec<u8> {
        let mut frame = vec![0; 65_600];
        let mut firsts = Vec::new();
        while let Some((len, ..)) = self.bed.extract(&mut frame) {
            // Frames of the device to itself begin with its address.
            if frame[..6] != BedConfig::QEMU.mac {
                assert!(frame[..len].iter().all(|&byte| byte == frame[0]));
                firsts.push(frame[0]);
            }
        }
        firsts
    }

    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut burst = RxBurst::new();
        self.device.rx_burst(&self.pool, &mut burst);
        burst.drain().map(|rx| rx.frame.to_vec()).collect()
    }

    fn inject(&self, frame: &[u8]) -> bool {
        self.bed.inject(frame, Vnet::default())
    }

    /// Frames that are neither free nor lent.
    fn out(&self) -> usize {
        self.pool.in_use() - self.device.stats().rx_lent
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.sent();
        for _ in 0..4 {
            self.device.wait(Some(Duration::from_secs(1)));
        }
        assert_eq!(self.device.stats().tx_held, 0, "pieces stay held");
        assert_eq!(self.out(), self.second_lent, "frames lost");
        let posted = self.bed.stats().rx_posted as usize;
        assert_eq!(self.device.stats().rx_posted, posted);
    }
}

#[test]
fn it_sleeps_until_the_deadline() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    bare.device.wait(Some(Duration::from_millis(250)));
    assert_eq!(bare.bed.clock(), Instant::from_millis(250));
    bare.device.wait(Some(Duration::ZERO));
    assert_eq!(bare.device.stats().halts, 1, "nothing to wait for");
    // Without a bound: for ever, as nothing happens here.
    bare.device.wait(None);
    assert_eq!(bare.device.stats().halts, 2);
    assert!(bare.bed.clock() > Instant::from_secs(1 << 32));
}

#[test]
fn a_packet_ends_the_sleep() {
    let config = BedConfig {
        traps: Traps::NONE,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let bed = bare.bed;
    bed.on_halt(move || {
        bed.inject(&[9; 60], Vnet::default());
        None
    });
    bare.device.wait(Some(Duration::from_secs(1)));
    assert_eq!(bare.bed.stats().woken, 1);
    assert_eq!(bare.bed.clock(), Instant::from_millis(0));
    // What waits already does not let it sleep at all.
    bare.device.wait(Some(Duration::from_secs(1)));
    assert_eq!(bare.device.stats().halts, 1);
    assert_eq!(bare.receive(), [[9; 60]]);
}

/// virtio-net looks for completions in the next transmission only.
#[test]
fn frames_come_home_though_nothing_more_is_sent() {
    let config = BedConfig {
        traps: Traps::LATE_COMPLETIONS | Traps::MUTATE,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    bare.device.wait(Some(Duration::from_secs(1)));
    let frames: Vec<_> = (1..=20).map(|first| bare.frame(first, 100)).collect();
    assert!(bare.send(frames).is_empty());
    let first: Vec<u8> = (1..=20).collect();
    assert_eq!(bare.sent(), first);
    assert_eq!(bare.device.stats().tx_held, 20);
    let start = bare.bed.clock();
    while bare.device.stats().tx_held > 0 {
        bare.device.wait(None);
        assert!(bare.bed.clock() <= start + Duration::from_millis(20));
    }
    assert_eq!(bare.device.stats().tx_reapers, 1);
    // And then it sleeps as long as it may.
    bare.device.wait(Some(Duration::from_secs(9)));
    assert!(bare.bed.clock() >= start + Duration::from_secs(9));
    assert_eq!(bare.device.stats().tx_reapers, 1);
    assert!(bare.sent().is_empty(), "not on the wire");
}

/// A loop that polls for ever, or sleeps in another device.
#[test]
fn frames_come_home_to_a_loop_that_never_sleeps() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    let frames: Vec<_> = (1..=20).map(|first| bare.frame(first, 100)).collect();
    bare.send(frames);
    assert_eq!(bare.sent().len(), 20);
    for turn in 0..30 {
        bare.bed.set_clock(Instant::from_millis(turn));
        assert!(bare.receive().is_empty());
    }
    let stats = bare.device.stats();
    assert_eq!((stats.tx_held, stats.tx_reapers), (0, 1));
}

/// A loop with two devices sleeps in the first of them.
#[test]
fn a_second_device_has_rings_of_its_own() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    let second = bare.bed.attach_next(&BedConfig {
        mac: [2, 0, 0, 0, 0, 9],
        tso4: false,
        ..BedConfig::QEMU
    });
    let mut other = second.open(&bare.pool).expect("opens");
    assert_eq!(other.caps().mac, [2, 0, 0, 0, 0, 9]);
    assert!(bare.device.caps().tso4 && !other.caps().tso4);
    assert!(bare.inject(&[1; 100]));
    assert!(second.inject(&[2; 100], Vnet::default()));
    assert_eq!(bare.receive()[0][0], 1);
    let mut burst = RxBurst::new();
    assert_eq!(other.rx_burst(&bare.pool, &mut burst), 1);
    assert_eq!(burst.frames()[0].frame[0], 2);
    drop(burst);

    let mut burst = TxBurst::new();
    burst
        .push(bare.frame(3, 100), TxMeta::default())
        .expect("room");
    other.tx_burst(&mut burst);
    assert!(bare.sent().is_empty());
    let mut frame = [0; 2048];
    assert!(
        second
            .extract(&mut frame)
            .is_some_and(|(len, ..)| len == 100)
    );
    for _ in 0..30 {
        bare.device.wait(Some(Duration::from_millis(1)));
        other.rx_burst(&bare.pool, &mut RxBurst::new());
    }
    assert_eq!(other.stats().tx_held, 0, "held though nobody sleeps in it");
    assert_eq!(bare.out(), other.stats().rx_lent);
    bare.second_lent = other.stats().rx_lent;
}

#[test]
fn a_slow_host_is_asked_now_and_then() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    let frame = bare.frame(1, 100);
    bare.send([frame]);
    for _ in 0..10 {
        bare.device.wait(Some(Duration::from_secs(1)));
    }
    // The host takes nothing out of the ring, questions neither.
    assert_eq!(bare.device.stats().tx_held, 1);
    assert_eq!(bare.device.stats().tx_reapers, 9);
    assert_eq!(bare.sent(), [1]);
    bare.device.wait(None);
    bare.device.wait(None);
    assert_eq!(bare.device.stats().tx_held, 0);
}

/// A segment may be sent again while the first is still in the ring.
#[test]
fn one_frame_can_be_under_way_twice_and_is_not_written_to() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    let mut frame = bare.pool.alloc().expect("free");
    frame.reset(0);
    assert!(frame.set_len(2048));
    frame.fill(7);
    let whole = frame.freeze();
    let part = whole.slice(100, 1100).expect("inside");
    let again = [part.clone(), part.clone(), part];
    assert!(bare.send(again).is_empty());
    assert_eq!(bare.sent(), [7, 7, 7]);
    bare.device.wait(None);
    bare.device.wait(None);
    let whole = whole.try_into_mut().expect("all three are back");
    assert!(whole.iter().all(|&byte| byte == 7), "written to");
}

#[test]
fn a_full_ring_takes_the_rest_later() {
    let config = BedConfig {
        tx_descriptors: 16,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let frames: Vec<_> = (1..=30).map(|first| bare.frame(first, 100)).collect();
    let mut burst = bare.send(frames);
    // Each takes two places.
    assert_eq!(burst.packets(), 22);
    let halts = bare.device.stats().halts;
    bare.device.wait(Some(Duration::from_secs(1)));
    assert_eq!(
        bare.device.stats().halts,
        halts,
        "no sleep while it is full"
    );
    let mut order = Vec::new();
    while !burst.is_empty() {
        order.extend(bare.sent());
        assert!(bare.device.tx_burst(&mut burst) > 0);
    }
    order.extend(bare.sent());
    assert_eq!(order, (1..=30).collect::<Vec<u8>>());
}

/// Pieces that adjoin share a place in the ring: it can then hold more of them
/// than there are numbers for.
#[test]
fn many_pieces_in_few_places_do_not_block() {
    let config = BedConfig {
        tx_descriptors: 16,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let mut burst = TxBurst::new();
    for first in 1..=16 {
        let frame = bare.frame(first, 80);
        for piece in 0..8 {
            let piece = frame.slice(piece * 10, piece * 10 + 10).expect("inside");
            burst.push_piece(piece).expect("room");
        }
        burst.seal(TxMeta::default());
    }
    let mut order = Vec::new();
    for _ in 0..100 {
        bare.device.tx_burst(&mut burst);
        order.extend(bare.sent());
    }
    assert_eq!(order, (1..=16).collect::<Vec<u8>>());
}

#[test]
fn packets_that_do_not_suit_the_device_are_dropped_and_counted() {
    let config = BedConfig {
        tso4: false,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let gso = |kind| TxMeta {
        gso: Some(Gso {
            kind,
            size: 100,
            header_len: 54,
        }),
        ..TxMeta::default()
    };
    let good = bare.frame(1, 1514);
    let mut burst = TxBurst::new();
    let bad = [
        (bare.frame(2, 1515), TxMeta::default()),
        (bare.frame(3, 13), TxMeta::default()),
        (good.clone(), gso(GsoKind::TcpV4)),
        (good.clone(), gso(GsoKind::TcpV6)),
    ];
    for (frame, meta) in bad {
        burst.push(frame, meta).expect("room");
    }
    for _ in 0..17 {
        burst.push_piece(bare.frame(4, 20)).expect("room");
    }
    burst.seal(TxMeta::default());
    burst.push(good, TxMeta::default()).expect("room");
    assert_eq!(bare.device.tx_burst(&mut burst), 6);
    assert_eq!(bare.sent(), [1]);
    let stats = bare.device.stats();
    assert_eq!(
        (stats.tx_invalid, stats.tx_errors, stats.tx_packets),
        (5, 0, 1)
    );
    assert_eq!(bare.bed.stats().complaints, 0);
}

#[test]
fn without_checksums_in_the_device_none_are_left_to_it() {
    let config = BedConfig {
        checksum: false,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let caps = bare.device.caps();
    assert!(!caps.tx_checksum && !caps.tso4, "the one needs the other");
    let mut burst = TxBurst::new();
    let checksum = TxChecksum::Partial {
        start: 34,
        offset: 16,
    };
    let meta = TxMeta {
        checksum,
        ..TxMeta::default()
    };
    burst.push(bare.frame(1, 100), meta).expect("room");
    bare.device.tx_burst(&mut burst);
    assert_eq!(bare.device.stats().tx_invalid, 1);
}

/// Buffers have the length of the longest frame, so that the host drops what is
/// longer; the driver would lose the buffer.
#[test]
fn a_frame_that_is_too_long_stays_outside() {
    let config = BedConfig {
        traps: Traps::LONG_LENGTH,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    assert!(!bare.inject(&[1; 1515]));
    assert!(bare.inject(&[2; 1514]));
    assert_eq!(bare.receive(), [[2; 1514]], "and not 10 bytes more");
    assert_eq!(bare.bed.stats().rx_too_long, 1);
    assert_eq!(bare.device.stats().rx_lost, 0);
}

/// A host that writes what fits of a frame, and tells its whole length.
#[test]
fn an_error_of_the_driver_does_not_end_reception() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    let posted = bare.bed.stats().rx_posted;
    for _ in 0..5 {
        assert!(bare.inject(&[1; 1600]));
    }
    assert!(bare.inject(&[2; 1514]));
    assert_eq!(bare.receive().len(), 1);
    assert_eq!(bare.device.stats().rx_lost, 5);
    for _ in 0..1000 {
        assert!(bare.inject(&[3; 64]));
        assert_eq!(bare.receive().len(), 1);
    }
    // The lost ones are the driver's for ever: they count as lent.
    assert_eq!(bare.bed.stats().rx_posted, posted - 5);
}

#[test]
fn lengths_are_cut_to_what_the_ip_header_says() {
    let config = BedConfig {
        traps: Traps::LONG_LENGTH,
        ..BedConfig::QEMU
    };
    let mut bare = Bare::new(&config);
    let packet = |ethertype: u16, at: usize, value: u16| {
        let mut frame = vec![0; 114];
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        frame
    };
    for (frame, len) in [
        (packet(0x0800, 16, 100), 114),
        (packet(0x0800, 16, 60), 74),
        // It claims more than came, or less than a header: left as it is.
        (packet(0x0800, 16, 1400), 124),
        (packet(0x0800, 16, 19), 124),
        (packet(0x86dd, 18, 60), 114),
        (packet(0x86dd, 18, 0), 124),
        (packet(0x0806, 16, 20), 124),
    ] {
        assert!(bare.inject(&frame));
        assert_eq!(bare.receive()[0].len(), len);
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let bed = Testbed::attach(&BedConfig::QEMU);
    let small = FramePool::on_heap::<64, 1024>();
    assert_eq!(bed.open(&small).err(), Some(OpenError::Pool));
    // It was set up by then, and belongs to nobody else any more.
    let pool = FramePool::on_heap::<64, 2048>();
    assert_eq!(bed.open(&pool).err(), Some(OpenError::Busy));
    assert_eq!(pool.available(), 64);
    let none = FramePool::on_heap::<4, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    assert_eq!(bed.open(&none).err(), Some(OpenError::Pool));
}

/// What the host may still write to never returns to the pool.
#[test]
fn a_dropped_device_keeps_what_it_has_lent() {
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let device = bed.open(&pool).expect("opens");
    let lent = device.stats().rx_lent;
    assert_eq!(lent, 64, "a quarter");
    drop(device);
    assert_eq!(pool.available(), 256 - lent);
}

/// A machine that ends takes with it what its host has not looked at yet.
#[test]
fn a_dropped_device_waits_until_all_is_transmitted() {
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let mut device = bed.open(&pool).expect("opens");
    let lent = device.stats().rx_lent;
    let taken = Rc::new(Cell::new(0));
    // The host wakes up after a while.
    let host = {
        let taken = Rc::clone(&taken);
        move || {
            let due = Instant::from_millis(30);
            let mut frame = vec![0; 65_600];
            while bed.clock() >= due
                && let Some((len, ..)) = bed.extract(&mut frame)
            {
                taken.set(taken.get() + usize::from(len == 100));
            }
            (bed.clock() < due).then_some(due)
        }
    };
    bed.on_halt(host);
    let mut burst = TxBurst::new();
    for _ in 0..3 {
        let mut frame = pool.alloc().expect("free");
        assert!(frame.set_len(100));
        burst.push(frame.freeze(), TxMeta::default()).expect("room");
    }
    assert_eq!(device.tx_burst(&mut burst), 3);
    // What nobody takes any more does not keep it from sleeping.
    assert!(bed.inject(&[1; 100], Vnet::default()));
    drop(device);
    assert_eq!(taken.get(), 3);
    assert_eq!(pool.in_use(), lent, "what was transmitted is home");
}

/// A host that has died is not waited for.
#[test]
fn a_dropped_device_does_not_wait_for_ever() {
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig::QEMU);
    let mut device = bed.open(&pool).expect("opens");
    let mut burst = TxBurst::new();
    let mut frame = pool.alloc().expect("free");
    assert!(frame.set_len(100));
    burst.push(frame.freeze(), TxMeta::default()).expect("room");
    device.tx_burst(&mut burst);
    let held = pool.in_use();
    drop(device);
    assert_eq!(pool.in_use(), held, "the host may still read it");
    assert!(bed.clock() <= Instant::from_secs(1));
}

#[test]
fn what_the_host_says_of_checksums_is_passed_on() {
    let mut bare = Bare::new(&BedConfig::QEMU);
    for (flags, checksum) in [
        (0, RxChecksum::Unknown),
        (1, RxChecksum::Partial),
        (2, RxChecksum::Verified),
        (3, RxChecksum::Partial),
        // The buffer's next packet has none of it.
        (0, RxChecksum::Unknown),
    ] {
        let vnet = Vnet {
            flags,
            ..Vnet::default()
        };
        assert!(bare.bed.inject(&[1; 100], vnet));
        let mut burst = RxBurst::new();
        assert_eq!(bare.device.rx_burst(&bare.pool, &mut burst), 1);
        assert_eq!(burst.frames()[0].meta.checksum, checksum, "{flags}");
    }
}
