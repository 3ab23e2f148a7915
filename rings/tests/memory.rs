//! The memory wire: order, pieces, offloads, impairments; and that every frame
//! comes home.

use core::time::Duration;

use pollwire_offload::Sum;
use pollwire_rings::memory::{self, Direction, Impairments, MemoryDevice};
use pollwire_rings::{
    Caps, FramePool, Gso, GsoKind, Instant, NetDevice, RX_BURST, RxBurst, RxChecksum, RxMeta,
    TxBurst, TxChecksum, TxMeta,
};

const PLAIN: TxMeta = TxMeta {
    checksum: TxChecksum::Done,
    gso: None,
};
const MSS: usize = 1460;
const HEADERS: usize = 54;

fn caps(last: u8) -> Caps {
    Caps::plain([2, 0, 0, 0, 0, last], 1500)
}

fn offloading(last: u8) -> Caps {
    let mut caps = caps(last);
    (caps.tx_checksum, caps.tso4, caps.tso6) = (true, true, true);
    caps
}

fn send(device: &mut MemoryDevice, pool: &FramePool, bytes: &[u8], meta: TxMeta) -> usize {
    let mut burst = TxBurst::new();
    for chunk in bytes.chunks(1500) {
        let mut frame = pool.alloc().expect("free");
        assert_eq!(frame.extend_from_slice(chunk), chunk.len());
        burst.push_piece(frame.freeze()).expect("room");
    }
    burst.seal(meta);
    device.tx_burst(&mut burst)
}

/// Everything that can be received, packets joined.
fn receive(device: &mut MemoryDevice, pool: &FramePool) -> Vec<(Vec<u8>, RxMeta)> {
    let (mut packets, mut burst) = (Vec::new(), RxBurst::new());
    while device.rx_burst(pool, &mut burst) > 0 {
        let mut whole = Vec::new();
        for received in burst.drain() {
            whole.extend_from_slice(&received.frame);
            if !received.meta.continues {
                packets.push((std::mem::take(&mut whole), received.meta));
            }
        }
        assert!(whole.is_empty(), "a packet lacks its last piece");
    }
    packets
}

/// A TCP packet over IPv4 or IPv6 with the pseudo-header's sum in its checksum
/// field, as a stack gives it to a device that segments.
fn large_tcp(kind: GsoKind, payload: usize) -> (Vec<u8>, TxMeta) {
    let ip_len = if kind == GsoKind::TcpV4 { 20 } else { 40 };
    let start = 14 + ip_len;
    let mut packet = vec![0; start + 20 + payload];
    for (index, byte) in packet[start + 20..].iter_mut().enumerate() {
        *byte = (index * 7 + index / 256) as u8;
    }
    let pseudo = if kind == GsoKind::TcpV4 {
        packet[12..14].copy_from_slice(&[0x08, 0x00]);
        packet[14..34].copy_from_slice(&[
            0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        Sum::pseudo_v4([10, 0, 0, 1], [10, 0, 0, 2], 6, 0)
    } else {
        packet[12..14].copy_from_slice(&[0x86, 0xdd]);
        packet[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 6, 64]);
        packet[22] = 0xfd;
        packet[38] = 0xfe;
        Sum::ZERO
    };
    packet[start + 4..start + 8].copy_from_slice(&0xffff_f000u32.to_be_bytes());
    packet[start + 12] = 5 << 4;
    packet[start + 13] = 0x80 | 0x10 | 0x08 | 0x01; // CWR ACK PSH FIN
    packet[start + 16..start + 18].copy_from_slice(&pseudo.fold().to_be_bytes());
    let meta = TxMeta {
        checksum: TxChecksum::Partial {
            start: start as u16,
            offset: 16,
        },
        gso: Some(Gso {
            kind,
            size: MSS as u16,
            header_len: start as u16 + 20,
        }),
    };
    (packet, meta)
}

/// Checks the headers of segments and returns their payload joined.
fn check_segments(kind: GsoKind, segments: &[(Vec<u8>, RxMeta)]) -> Vec<u8> {
    let ip_len = if kind == GsoKind::TcpV4 { 20 } else { 40 };
    let mut payload = Vec::new();
    for (index, (segment, _)) in segments.iter().enumerate() {
        let (ip, tcp) = segment[14..].split_at(ip_len);
        let pseudo = if kind == GsoKind::TcpV4 {
            assert!(Sum::of(ip).is_valid());
            assert_eq!(
                u16::from_be_bytes([ip[2], ip[3]]) as usize,
                segment.len() - 14
            );
            let id = u16::from_be_bytes([ip[4], ip[5]]);
            assert_eq!(id, 0xffff_u16.wrapping_add(index as u16));
            let address = |at: usize| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]];
            Sum::pseudo_v4(address(12), address(16), 6, tcp.len() as u16)
        } else {
            assert_eq!(u16::from_be_bytes([ip[4], ip[5]]) as usize, tcp.len());
            let address = |at: usize| ip[at..at + 16].try_into().expect("16 bytes");
            Sum::pseudo_v6(address(8), address(24), 6, tcp.len() as u32)
        };
        assert!(
            pseudo.add_bytes(tcp).is_valid(),
            "checksum of segment {index}"
        );
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        assert_eq!(seq, 0xffff_f000u32.wrapping_add(payload.len() as u32));
        let last = index + 1 == segments.len();
        let expected = 0x10 | if last { 0x09 } else { 0 } | if index == 0 { 0x80 } else { 0 };
        assert_eq!(tcp[13], expected, "flags of segment {index}");
        payload.extend_from_slice(&tcp[20..]);
    }
    payload
}

#[test]
fn packets_arrive_whole_and_in_order() {
    let (sender, receiver) = (
        FramePool::on_heap::<256, 2048>(),
        FramePool::on_heap::<64, 2048>(),
    );
    let (mut left, mut right) = memory::pair(caps(1), caps(2));
    let sent: Vec<Vec<u8>> = (0..100u8)
        .map(|n| vec![n; 60 + usize::from(n) * 14])
        .collect();
    for packet in &sent {
        assert_eq!(send(&mut left, &sender, packet, PLAIN), 1);
    }
    let mut burst = RxBurst::new();
    assert_eq!(right.rx_burst(&receiver, &mut burst), RX_BURST);
    assert_eq!(right.rx_burst(&receiver, &mut burst), 0);
    let mut got: Vec<Vec<u8>> = burst
        .drain()
        .map(|received| received.frame.to_vec())
        .collect();
    got.extend(
        receive(&mut right, &receiver)
            .into_iter()
            .map(|(bytes, _)| bytes),
    );
    assert_eq!(got, sent);
    assert!(receive(&mut left, &sender).is_empty());
    let stats = left.wire().stats(Direction::FirstToSecond);
    assert_eq!((stats.sent, stats.delivered), (100, 100));
    assert_eq!(
        stats.delivered_bytes,
        sent.iter().map(|p| p.len() as u64).sum()
    );
    assert_eq!((sender.in_use(), receiver.in_use()), (0, 0));
}

#[test]
fn an_empty_receiver_pool_delays_and_loses_nothing() {
    let (sender, receiver) = (
        FramePool::on_heap::<64, 2048>(),
        FramePool::on_heap::<2, 2048>(),
    );
    let (mut left, mut right) = memory::pair(caps(1), caps(2));
    for n in 0..5 {
        send(&mut left, &sender, &[n; 100], PLAIN);
    }
    let mut got = Vec::new();
    let mut burst = RxBurst::new();
    for expected in [2, 2, 1, 0] {
        assert_eq!(right.rx_burst(&receiver, &mut burst), expected);
        got.extend(burst.drain().map(|received| received.frame[0]));
    }
    assert_eq!(got, [0, 1, 2, 3, 4]);
    assert_eq!((sender.in_use(), receiver.in_use()), (0, 0));
}

#[test]
fn a_full_wire_leaves_the_rest_in_the_burst() {
    let pool = FramePool::on_heap::<2048, 512>();
    let (mut left, right) = memory::pair(caps(1), caps(2));
    let (mut burst, mut accepted) = (TxBurst::new(), 0);
    loop {
        while burst.has_room(3) {
            for _ in 0..3 {
                burst
                    .push_piece(pool.alloc().expect("free").freeze())
                    .expect("room");
            }
            burst.seal(PLAIN);
        }
        let before = burst.packets();
        let count = left.tx_burst(&mut burst);
        assert_eq!(burst.packets(), before - count);
        accepted += count;
        if count < before {
            break;
        }
    }
    assert_eq!(accepted, 1024 / 3);
    assert!(burst.iter().all(|packet| packet.pieces.len() == 3));
    drop((left, right, burst));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_long_packet_takes_several_frames() {
    let (sender, receiver) = (
        FramePool::on_heap::<64, 2048>(),
        FramePool::on_heap::<8, 2048>(),
    );
    let (mut left, mut right) = memory::pair(caps(1), caps(2));
    let packet: Vec<u8> = (0..9014u32).map(|n| n as u8).collect();
    send(&mut left, &sender, &packet, PLAIN);
    // Too long for the receiver's whole pool: dropped and counted, no stall.
    send(&mut left, &sender, &vec![0; 8 * 1920 + 1], PLAIN);
    send(&mut left, &sender, &[7; 60], PLAIN);
    let got = receive(&mut right, &receiver);
    assert_eq!((got.len(), &got[0].0), (2, &packet));
    assert_eq!(got[1].0, [7; 60]);
    assert_eq!(left.wire().stats(Direction::FirstToSecond).too_long, 1);
    assert_eq!((sender.in_use(), receiver.in_use()), (0, 0));
}

#[test]
fn a_coalescing_receiver_gets_large_packets_whole() {
    let (sender, receiver) = (
        FramePool::on_heap::<64, 2048>(),
        FramePool::on_heap::<64, 2048>(),
    );
    let (mut left, mut right) = memory::pair(offloading(1), offloading(2));
    for kind in [GsoKind::TcpV4, GsoKind::TcpV6] {
        let (packet, meta) = large_tcp(kind, 60_000);
        send(&mut left, &sender, &packet, meta);
        let got = receive(&mut right, &receiver);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].0, packet);
        assert_eq!(
            (got[0].1.checksum, got[0].1.gso_size),
            (RxChecksum::Partial, MSS as u16)
        );
    }
    // One segment's worth is no coalesced packet.
    let (packet, meta) = large_tcp(GsoKind::TcpV4, MSS);
    send(&mut left, &sender, &packet, meta);
    assert_eq!(receive(&mut right, &receiver)[0].1.gso_size, 0);
    assert_eq!((sender.in_use(), receiver.in_use()), (0, 0));
}

#[test]
fn a_plain_receiver_gets_segments() {
    let (sender, receiver) = (
        FramePool::on_heap::<64, 2048>(),
        FramePool::on_heap::<8, 2048>(),
    );
    for (kind, payload) in [
        (GsoKind::TcpV4, 60_000),
        (GsoKind::TcpV6, 60_000),
        (GsoKind::TcpV4, 3 * MSS),
        (GsoKind::TcpV6, MSS + 1),
        (GsoKind::TcpV4, 1),
        (GsoKind::TcpV6, 0),
    ] {
        let (mut left, mut right) = memory::pair(offloading(1), caps(2));
        let (packet, meta) = large_tcp(kind, payload);
        send(&mut left, &sender, &packet, meta);
        let got = receive(&mut right, &receiver);
        assert_eq!(got.len(), payload.div_ceil(MSS).max(1));
        assert!(
            got.iter()
                .all(|(_, meta)| meta.checksum == RxChecksum::Unknown)
        );
        let headers = HEADERS + if kind == GsoKind::TcpV6 { 20 } else { 0 };
        assert_eq!(check_segments(kind, &got), packet[headers..]);
        assert_eq!((sender.in_use(), receiver.in_use()), (0, 0));
    }
}

#[test]
fn partial_checksums_cross_or_are_completed() {
    let pool = FramePool::on_heap::<64, 2048>();
    let (packet, mut meta) = large_tcp(GsoKind::TcpV4, 100);
    meta.gso = None;
    let (mut left, mut right) = memory::pair(offloading(1), caps(2));
    send(&mut left, &pool, &packet, meta);
    let got = receive(&mut right, &pool);
    assert_eq!(
        (&got[0].0, got[0].1.checksum),
        (&packet, RxChecksum::Partial)
    );
    // On an impaired wire the checksum must protect the packet.
    left.impair(Impairments::NONE.seeded(0));
    send(&mut left, &pool, &packet, meta);
    let got = receive(&mut right, &pool);
    assert_eq!(got[0].1.checksum, RxChecksum::Unknown);
    assert_ne!(got[0].0[50..52], packet[50..52]);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn requests_that_do_not_fit_are_dropped_by_name() {
    let pool = FramePool::on_heap::<64, 2048>();
    let (packet, good) = large_tcp(GsoKind::TcpV4, 5000);
    let with = |change: &dyn Fn(&mut Gso)| {
        let mut meta = good;
        meta.gso.as_mut().map(change);
        meta
    };
    let bad = [
        with(&|gso| gso.size = 0),
        with(&|gso| gso.header_len = 40),
        with(&|gso| gso.header_len = 60_000),
        with(&|gso| gso.kind = GsoKind::TcpV6),
        TxMeta {
            checksum: TxChecksum::Done,
            ..good
        },
        TxMeta {
            checksum: TxChecksum::Partial {
                start: 65_535,
                offset: 65_535,
            },
            ..good
        },
    ];
    for impaired in [false, true] {
        let (mut left, mut right) = memory::pair(offloading(1), caps(2));
        if impaired {
            left.impair(Impairments::NONE.seeded(0));
        }
        for meta in bad {
            send(&mut left, &pool, &packet, meta);
        }
        send(&mut left, &pool, &[1; 60], PLAIN);
        assert_eq!(receive(&mut right, &pool).len(), 1);
        let stats = left.wire().stats(Direction::FirstToSecond);
        assert_eq!((stats.bad_request, stats.delivered), (bad.len() as u64, 1));
        assert_eq!(pool.in_use(), 0);
    }
}

/// Sends 2000 numbered packets one every 10 µs over a bad wire; returns the
/// arrivals (time, bytes) and checks the statistics against them.
fn over_bad_wire(impairments: Impairments, seed: u64) -> Vec<(Instant, Vec<u8>)> {
    let pool = FramePool::on_heap::<64, 2048>();
    let (mut left, mut right) = memory::pair(caps(1), caps(2));
    left.impair(impairments.seeded(seed));
    let wire = left.wire();
    let mut arrivals = Vec::new();
    for number in 0..2000u32 {
        wire.advance(Instant::from_micros(u64::from(number) * 10));
        let mut packet = vec![0x55; 100];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        assert_eq!(send(&mut left, &pool, &packet, PLAIN), 1);
        arrivals.extend(
            receive(&mut right, &pool)
                .into_iter()
                .map(|(p, _)| (wire.now(), p)),
        );
    }
    while let Some(at) = wire.next_event() {
        assert!(
            at > wire.now(),
            "seed {seed}: what was due has been received"
        );
        wire.advance(at);
        arrivals.extend(receive(&mut right, &pool).into_iter().map(|(p, _)| (at, p)));
    }
    let stats = wire.stats(Direction::FirstToSecond);
    assert_eq!(stats.sent, 2000);
    assert_eq!(stats.delivered, arrivals.len() as u64);
    assert_eq!(
        stats.sent + stats.duplicated,
        stats.delivered + stats.lost + stats.overflowed,
        "seed {seed}: {stats:?}"
    );
    assert_eq!(wire.stats(Direction::SecondToFirst).sent, 0);
    assert_eq!(pool.in_use(), 0);
    arrivals
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]])
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let bad = Impairments {
        delay: Duration::from_micros(500),
        jitter: Duration::from_micros(100),
        loss: 0.05,
        duplicate: 0.02,
        reorder: 0.05,
        corrupt: 0.01,
        ..Impairments::NONE
    };
    assert_eq!(over_bad_wire(bad, 7), over_bad_wire(bad, 7));
    assert_ne!(over_bad_wire(bad, 7), over_bad_wire(bad, 8));
}

#[test]
fn delay_and_jitter_keep_the_order() {
    let arrivals = over_bad_wire(
        Impairments {
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(1),
            ..Impairments::NONE
        },
        3,
    );
    assert_eq!(arrivals.len(), 2000);
    for (expected, (at, packet)) in (0u32..).zip(&arrivals) {
        assert_eq!(number(packet), expected);
        let sent = Instant::from_micros(u64::from(expected) * 10);
        let took = at.since(sent);
        assert!((2_000..=3_000).contains(&took.as_micros()), "{took:?}");
    }
}

#[test]
fn each_impairment_has_its_rate() {
    let near = |count: usize, expected: usize| count.abs_diff(expected) < expected / 2;
    let lossy = over_bad_wire(
        Impairments {
            loss: 0.1,
            ..Impairments::NONE
        },
        1,
    );
    assert!(near(2000 - lossy.len(), 200));
    let doubled = over_bad_wire(
        Impairments {
            duplicate: 0.1,
            ..Impairments::NONE
        },
        1,
    );
    assert!(near(doubled.len() - 2000, 200));
    let swapped = over_bad_wire(
        Impairments {
            reorder: 0.1,
            ..Impairments::NONE
        },
        1,
    );
    let late = swapped
        .windows(2)
        .filter(|w| number(&w[0].1) > number(&w[1].1))
        .count();
    assert!(swapped.len() == 2000 && near(late, 180), "{late}");
    let flipped = over_bad_wire(
        Impairments {
            corrupt: 0.1,
            ..Impairments::NONE
        },
        1,
    );
    let changed = (0u32..)
        .zip(&flipped)
        .filter(|(n, (_, packet))| number(packet) != *n || packet[4..] != [0x55; 96])
        .count();
    assert!(near(changed, 200), "{changed}");
}

#[test]
fn a_slow_line_spaces_packets_and_drops_at_its_queue_limit() {
    // 100 bytes at 40 Mbit/s take 20 µs, twice the sending interval.
    let slow = Impairments {
        rate: Some(40_000_000),
        queue_limit: 5_000,
        ..Impairments::NONE
    };
    let arrivals = over_bad_wire(slow, 1);
    assert!(
        arrivals.len() > 1000 && arrivals.len() < 1100,
        "{}",
        arrivals.len()
    );
    let last = arrivals.last().expect("some").0;
    assert!(last <= Instant::from_micros(20_000 + 1_000));
}
