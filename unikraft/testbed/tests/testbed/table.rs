//! `docs/backends.md` against what devices say and do.

use std::time::Duration;

use pollwire_rings::solo5::manifest::NetAttachment;
use pollwire_rings::solo5::ring::{Ring, RingDevice, RingHost};
use pollwire_rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst, TxMeta, memory};
use pollwire_uk_testbed::{BedConfig, Testbed, Traps, Vnet};

const PAGE: &str = include_str!("../../../../docs/backends.md");

/// The cells behind `name` in the first table.
fn row(name: &str) -> Vec<&'static str> {
    let start = format!("| {name} |");
    let line = PAGE.lines().find(|line| line.starts_with(&start));
    let cells = line
        .unwrap_or_else(|| panic!("a row for {name}"))
        .split('|');
    cells.skip(2).map(str::trim).collect()
}

pub(crate) fn compare(name: &str, caps: Caps) {
    let row = row(name);
    let checksums = if caps.tx_checksum {
        "device"
    } else {
        "software"
    };
    let segmentation = match (caps.tso4, caps.tso6) {
        (false, false) => "none",
        (true, false) => "TCPv4",
        (false, true) => "TCPv6",
        (true, true) => "TCPv4, TCPv6",
    };
    assert_eq!(row[0], checksums, "{name}");
    assert_eq!(row[1], segmentation, "{name}");
    let pieces = row[2].trim_end_matches(", joined");
    assert_eq!(pieces, caps.max_tx_pieces.to_string(), "{name}");
}

struct Nobody;

impl RingHost for Nobody {
    fn kick(&mut self) {}
    fn poll(&mut self, _timeout: Option<Duration>) -> u64 {
        0
    }
    fn write(&mut self, _handle: u32, _frame: &[u8]) -> bool {
        true
    }
}

#[test]
fn the_table_says_what_devices_say() {
    let plain = Caps::plain([2, 0, 0, 0, 0, 1], 1500);
    let mut all = plain;
    (all.tx_checksum, all.tso4, all.tso6) = (true, true, true);
    let (first, second) = memory::pair(all, plain);
    compare("memory wire, all on", first.caps());
    compare("memory wire, plain", second.caps());

    let pool = FramePool::on_heap::<256, 2048>();
    // SAFETY: all fields are atomic integers, for which zero is valid.
    let ring: Box<Ring> = unsafe { Box::new_zeroed().assume_init() };
    let attachment = NetAttachment {
        handle: 0,
        fd: 0,
        mac: plain.mac,
        mtu: 1500,
    };
    let hvt = RingDevice::new(&ring, Nobody, &attachment, &pool, u64::MAX);
    compare("Solo5 hvt", hvt.caps());

    let bed = Testbed::attach(&BedConfig::QEMU);
    let device = bed.open(&pool).expect("opens");
    compare("Unikraft, QEMU's virtio-net", device.caps());
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig {
        checksum: false,
        tso4: false,
        ..BedConfig::QEMU
    });
    let device = bed.open(&pool).expect("opens");
    compare("Unikraft, offloads off", device.caps());
}

/// "Lent frames, by reference": a received frame is one that was lent, and no
/// other is taken for it; "by reference, all pieces": the driver holds the very
/// frames, until it is done with them.
#[test]
fn unikraft_moves_frames_by_reference() {
    let pool = FramePool::on_heap::<256, 2048>();
    let bed = Testbed::attach(&BedConfig {
        traps: Traps::NONE,
        ..BedConfig::QEMU
    });
    let mut device = bed.open(&pool).expect("opens");
    let (free, lent) = (pool.available(), device.stats().rx_lent);
    for _ in 0..10 {
        assert!(bed.inject(&[5; 1000], Vnet::default()));
    }
    let mut burst = RxBurst::new();
    assert_eq!(device.rx_burst(&pool, &mut burst), 10);
    assert_eq!(pool.available(), free);
    assert_eq!(device.stats().rx_lent, lent - 10);

    let mut packet = TxBurst::new();
    for received in burst.drain().take(10) {
        packet.push_piece(received.frame.freeze()).expect("room");
    }
    packet.seal(TxMeta::default());
    // Ten pieces of 1000 bytes are too long for one packet: shorten them.
    let mut short = TxBurst::new();
    packet.pop_front(|mut piece| {
        piece.truncate(100);
        short.push_piece(piece).expect("room");
    });
    short.seal(TxMeta::default());
    assert_eq!(device.tx_burst(&mut short), 1);
    assert!(short.is_empty());
    assert_eq!((pool.available(), device.stats().tx_held), (free, 10));
    let mut frame = [0; 2048];
    let (len, pieces, _) = bed.extract(&mut frame).expect("one packet");
    assert_eq!((len, pieces), (1000, 10));
    device.tx_burst(&mut TxBurst::new());
    assert_eq!(device.stats().tx_held, 0);
    assert_eq!(pool.available(), free + 10);
    // One call of the driver per packet.
    assert_eq!(bed.stats().tx_notified, 1);
}
