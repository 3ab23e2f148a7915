//! The pcapng tee: what it writes, read back by a reader of its own and, where
//! it is installed, by tcpdump.

use core::time::Duration;

use pollwire_rings::memory::{self, MemoryDevice, Wire};
use pollwire_rings::pcap::{PcapOptions, PcapTee};
use pollwire_rings::{Caps, FramePool, Instant, NetDevice, RxBurst, TxBurst, TxMeta};

/// One recorded packet.
#[derive(Debug, PartialEq)]
struct Packet {
    nanos: u64,
    outbound: bool,
    original: usize,
    bytes: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Reads a little-endian pcapng file; panics at anything that is not as the
/// format says.
fn read(mut file: &[u8]) -> (u32, Vec<Packet>) {
    let (mut snap, mut packets, mut blocks) = (0, Vec::new(), 0);
    while !file.is_empty() {
        let len = u32_at(file, 4) as usize;
        assert_eq!(len % 4, 0);
        let (block, rest) = file.split_at(len);
        assert_eq!(
            u32_at(block, len - 4) as usize,
            len,
            "the length stands at both ends"
        );
        match (blocks, u32_at(block, 0)) {
            (0, 0x0a0d_0d0a) => assert_eq!(u32_at(block, 8), 0x1a2b_3c4d),
            (1, 1) => {
                assert_eq!(block[8..10], [1, 0], "Ethernet");
                snap = u32_at(block, 12);
                assert_eq!(block[16..28], [6, 0, 6, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
                assert_eq!(block[28..40], [9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
            }
            (2.., 6) => {
                let captured = u32_at(block, 20) as usize;
                let options = 28 + captured.next_multiple_of(4);
                assert_eq!(block[options..options + 4], [2, 0, 4, 0]);
                assert_eq!(u32_at(block, options + 8), 0, "the options end");
                packets.push(Packet {
                    nanos: u64::from(u32_at(block, 12)) << 32 | u64::from(u32_at(block, 16)),
                    outbound: match u32_at(block, options + 4) {
                        1 => false,
                        2 => true,
                        other => panic!("direction {other}"),
                    },
                    original: u32_at(block, 24) as usize,
                    bytes: block[28..28 + captured].to_vec(),
                });
            }
            other => panic!("block {other:?}"),
        }
        (blocks, file) = (blocks + 1, rest);
    }
    (snap, packets)
}

type Tee = PcapTee<MemoryDevice, Vec<u8>, Wire>;

fn tee(options: PcapOptions) -> (Tee, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 9000);
    let (left, right) = memory::pair(caps(1), caps(2));
    let clock = left.wire();
    (PcapTee::new(left, Vec::new(), clock, options), right)
}

fn push(burst: &mut TxBurst, pool: &FramePool, pieces: &[Vec<u8>]) {
    for piece in pieces {
        let mut frame = pool.alloc().expect("free");
        assert_eq!(frame.extend_from_slice(piece), piece.len());
        burst.push_piece(frame.freeze()).expect("room");
    }
    burst.seal(TxMeta::default());
}

#[test]
fn both_directions_are_recorded_whole() {
    let pool = FramePool::on_heap::<64, 2048>();
    let origin = Duration::from_secs(1_700_000_000);
    let (mut left, mut right) = tee(PcapOptions {
        origin,
        ..PcapOptions::default()
    });
    let wire = right.wire();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    wire.advance(Instant::from_nanos(5));
    push(&mut tx, &pool, &[vec![1; 54], vec![2; 1001]]);
    push(&mut tx, &pool, &[vec![3; 60]]);
    assert_eq!(left.tx_burst(&mut tx), 2);
    wire.advance(Instant::from_secs(7));
    push(
        &mut tx,
        &pool,
        &[vec![4; 1500], vec![5; 1500], vec![6; 1501]],
    );
    push(&mut tx, &pool, &[vec![7; 61]]);
    assert_eq!(right.tx_burst(&mut tx), 2);
    // What a caller left in its burst is not recorded again.
    rx.push(pool.alloc().expect("free"), Default::default())
        .expect("room");
    assert_eq!(left.rx_burst(&pool, &mut rx), 2);
    assert_eq!(left.rx_burst(&pool, &mut rx), 0);
    let (device, file) = left.into_parts();
    let start = 1_700_000_000_000_000_000;
    let expected = [
        (start + 5, true, [vec![1; 54], vec![2; 1001]].concat()),
        (start + 5, true, vec![3; 60]),
        (
            start + 7_000_000_000,
            false,
            [vec![4; 1500], vec![5; 1500], vec![6; 1501]].concat(),
        ),
        (start + 7_000_000_000, false, vec![7; 61]),
    ];
    let expected = expected.map(|(nanos, outbound, bytes)| Packet {
        nanos,
        outbound,
        original: bytes.len(),
        bytes,
    });
    assert_eq!(read(&file), (0, Vec::from(expected)));
    drop((device, right, rx, wire));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn only_accepted_packets_are_recorded() {
    let pool = FramePool::on_heap::<2048, 512>();
    let (mut left, right) = tee(PcapOptions::default());
    let (mut tx, mut accepted) = (TxBurst::new(), 0);
    loop {
        while tx.has_room(1) {
            push(&mut tx, &pool, &[vec![1; 60]]);
        }
        let before = tx.packets();
        let count = left.tx_burst(&mut tx);
        accepted += count;
        if count < before {
            break;
        }
    }
    assert_eq!(read(&left.into_parts().1).1.len(), accepted);
    drop((tx, right));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn the_snap_length_cuts_across_pieces() {
    let pool = FramePool::on_heap::<64, 2048>();
    let (mut left, _right) = tee(PcapOptions {
        snap_length: 70,
        ..PcapOptions::default()
    });
    let mut tx = TxBurst::new();
    push(
        &mut tx,
        &pool,
        &[vec![1; 54], vec![2; 10], vec![3; 500], vec![4; 1]],
    );
    push(&mut tx, &pool, &[vec![5; 69]]);
    left.tx_burst(&mut tx);
    let (snap, packets) = read(&left.into_parts().1);
    assert_eq!(snap, 70);
    assert_eq!((packets[0].original, packets[1].original), (565, 69));
    assert_eq!(
        packets[0].bytes,
        [vec![1; 54], vec![2; 10], vec![3; 6]].concat()
    );
    assert_eq!(packets[1].bytes, [5; 69]);
}

#[cfg(feature = "std")]
#[test]
fn tcpdump_reads_the_file() {
    use pollwire_rings::pcap::IoSink;
    use std::process::Command;
    let pool = FramePool::on_heap::<64, 2048>();
    let (left, _right) = tee(PcapOptions::default());
    let clock = left.device().wire();
    let path = std::env::temp_dir().join(format!("pollwire-{}.pcapng", std::process::id()));
    let sink = IoSink::create(&path).expect("a file");
    let mut left = PcapTee::new(left.into_parts().0, sink, clock, PcapOptions::default());
    let mut tx = TxBurst::new();
    // An ARP request for 10.0.0.1 from 10.0.0.2.
    let ethernet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[8, 6]].concat();
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 2][..],
        &[0; 6],
        &[10, 0, 0, 1],
    ];
    push(&mut tx, &pool, &[ethernet, arp.concat()]);
    left.tx_burst(&mut tx);
    left.sink_mut().flush().expect("written");
    let output = Command::new("tcpdump")
        .args(["-n", "-r"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).expect("the file");
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{output:?}");
            assert!(
                text.contains("ARP, Request who-has 10.0.0.1 tell 10.0.0.2"),
                "{text}"
            );
        }
        Err(why) => println!("skipped: tcpdump does not start: {why}"),
    }
}

#[cfg(feature = "std")]
#[test]
fn a_sink_that_fails_keeps_its_error_and_the_traffic_flows() {
    use pollwire_rings::pcap::IoSink;
    let pool = FramePool::on_heap::<64, 2048>();
    let (left, _right) = tee(PcapOptions::default());
    let clock = left.device().wire();
    let mut room = [0; 100];
    let sink = IoSink::new(&mut room[..]);
    let mut left = PcapTee::new(left.into_parts().0, sink, clock, PcapOptions::default());
    let mut tx = TxBurst::new();
    push(&mut tx, &pool, &[vec![1; 60]]);
    assert_eq!(left.tx_burst(&mut tx), 1);
    assert!(left.sink_mut().flush().is_err());
}
