//! The socket back end over a socket pair and over a listening path.
#![cfg(all(feature = "std", target_os = "linux"))]

use core::time::Duration;
use std::os::fd::OwnedFd;
use std::time::Instant;

use pollwire_rings::seqpacket::SeqPacket;
use pollwire_rings::{FramePool, NetDevice, RxBurst, TxBurst, TxMeta, local_mac};

fn joined() -> (SeqPacket, SeqPacket) {
    let (left, right) = SeqPacket::socket_pair().expect("descriptors");
    let end =
        |fd: OwnedFd, seed| SeqPacket::from_fd(fd, local_mac(seed), 1500).expect("non-blocking");
    (end(left, 1), end(right, 2))
}

fn packet(burst: &mut TxBurst, pool: &FramePool, pieces: &[&[u8]]) {
    for piece in pieces {
        let mut frame = pool.alloc().expect("free");
        assert_eq!(frame.extend_from_slice(piece), piece.len());
        burst.push_piece(frame.freeze()).expect("room");
    }
    burst.seal(TxMeta::default());
}

#[test]
fn frames_cross_whole_and_in_order() {
    let pool = FramePool::on_heap::<64, 2048>();
    let (mut left, mut right) = joined();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    packet(&mut tx, &pool, &[&[1; 14], &[2; 20], &[3; 1480]]);
    packet(&mut tx, &pool, &[&[4; 60]]);
    assert_eq!((left.tx_burst(&mut tx), tx.packets()), (2, 0));
    right.wait(None);
    assert_eq!(right.rx_burst(&pool, &mut rx), 2);
    let got: Vec<_> = rx.drain().map(|received| received.frame.to_vec()).collect();
    assert_eq!(
        got,
        [
            [vec![1; 14], vec![2; 20], vec![3; 1480]].concat(),
            vec![4; 60]
        ]
    );
    assert_eq!(right.rx_burst(&pool, &mut rx), 0);
    assert_eq!(
        (right.stats().rx_packets, right.stats().rx_bytes),
        (2, 1574)
    );
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn long_frames_take_several_pieces_and_too_long_ones_are_counted() {
    let pool = FramePool::on_heap::<64, 512>();
    let (mut left, mut right) = joined();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    packet(&mut tx, &pool, &[&[1; 300], &[2; 300], &[3; 300]]);
    packet(&mut tx, &pool, &[&[9; 350][..]; 6]);
    packet(&mut tx, &pool, &[&[5; 8]]);
    packet(&mut tx, &pool, &[&[6; 14]]);
    assert_eq!(left.tx_burst(&mut tx), 4);
    assert_eq!(right.rx_burst(&pool, &mut rx), 2);
    let sizes: Vec<_> = rx
        .frames()
        .iter()
        .map(|f| (f.frame.len(), f.meta.continues))
        .collect();
    assert_eq!(sizes, [(384, true), (384, true), (132, false), (14, false)]);
    let stats = right.stats();
    assert_eq!((stats.rx_truncated, stats.rx_runt), (1, 1));
    drop(rx);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_full_socket_keeps_packets_in_the_burst() {
    let pool = FramePool::on_heap::<256, 2048>();
    let (mut left, mut right) = joined();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    let mut sent = 0;
    while left.stats().tx_full == 0 {
        while tx.has_room(1) {
            packet(&mut tx, &pool, &[&[7; 1514]]);
        }
        sent += left.tx_burst(&mut tx);
    }
    assert!(!tx.is_empty());
    let mut got = 0;
    loop {
        let count = right.rx_burst(&pool, &mut rx);
        rx.drain().for_each(drop);
        got += count;
        if count == 0 {
            break;
        }
    }
    assert_eq!(got, sent);
    left.wait(Some(Duration::from_secs(5)));
    assert!(left.tx_burst(&mut tx) > 0);
    drop(tx);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn an_empty_pool_leaves_packets_with_the_host() {
    let pool = FramePool::on_heap::<2, 2048>();
    let (mut left, mut right) = joined();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    packet(&mut tx, &pool, &[&[7; 60]]);
    left.tx_burst(&mut tx);
    let held = [pool.alloc(), pool.alloc()];
    assert_eq!(
        (right.rx_burst(&pool, &mut rx), right.stats().rx_no_frame),
        (0, 1)
    );
    // It does not spin until one comes free.
    let before = Instant::now();
    for _ in 0..20 {
        right.wait(None);
        right.rx_burst(&pool, &mut rx);
    }
    assert!(before.elapsed() >= Duration::from_millis(20));
    drop(held);
    assert_eq!(right.rx_burst(&pool, &mut rx), 1);
}

#[test]
fn a_closed_end_is_noticed_and_never_stalls() {
    let pool = FramePool::on_heap::<8, 2048>();
    let (left, mut right) = joined();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    drop(left);
    right.wait(None);
    assert_eq!(right.rx_burst(&pool, &mut rx), 0);
    assert!(right.is_closed());
    packet(&mut tx, &pool, &[&[7; 60]]);
    assert_eq!((right.tx_burst(&mut tx), right.stats().tx_errors), (1, 1));
    let before = Instant::now();
    right.wait(Some(Duration::from_millis(20)));
    assert!(before.elapsed() >= Duration::from_millis(20));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_missing_or_overlong_path_is_an_error() {
    let dir = std::env::temp_dir();
    assert!(SeqPacket::connect(dir.join("pollwire-no-such-socket"), local_mac(1), 1500).is_err());
    let long = dir.join("x".repeat(200));
    let error = SeqPacket::connect(long, local_mac(1), 1500).expect_err("too long");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn made_up_addresses_are_local_and_unicast() {
    let mut all: Vec<_> = (0..1000).map(local_mac).collect();
    assert!(all.iter().all(|mac| mac[0] & 0x03 == 0x02));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1000);
}

/// A listening SOCK_SEQPACKET socket at `path`, as a tender has one.
fn listen(path: &std::path::Path) -> OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: a zeroed sockaddr_un is valid; the path is shorter than its
    // field; all pointers live through the calls; the descriptor is new.
    unsafe {
        let socket = OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0));
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
            *to = from.cast_signed();
        }
        let len = size_of_val(&address) as libc::socklen_t;
        assert_eq!(
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len),
            0
        );
        assert_eq!(libc::listen(socket.as_raw_fd(), 1), 0);
        socket
    }
}

#[test]
fn a_process_joins_a_wire_by_its_path() {
    use std::os::fd::{AsRawFd, FromRawFd};
    let path = std::env::temp_dir().join(format!("pollwire-wire-{}", std::process::id()));
    let listener = listen(&path);
    let mut left = SeqPacket::connect(&path, local_mac(1), 1500).expect("connect");
    // SAFETY: null asks for no address; the descriptor is new.
    let accepted = unsafe {
        let fd = libc::accept(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    std::fs::remove_file(&path).expect("the socket's file");
    let mut right = SeqPacket::from_fd(accepted, local_mac(2), 1500).expect("non-blocking");
    let pool = FramePool::on_heap::<8, 2048>();
    let (mut tx, mut rx) = (TxBurst::new(), RxBurst::new());
    packet(&mut tx, &pool, &[&[3; 60]]);
    assert_eq!(left.tx_burst(&mut tx), 1);
    assert_eq!(right.rx_burst(&pool, &mut rx), 1);
    assert_eq!(rx.frames()[0].frame[..], [3; 60]);
}

/// Data that nobody reads, and among it what frees frames: for that, a sixteenth
/// of the pool is left.
#[test]
fn a_flood_of_data_leaves_frames_to_what_frees_them() {
    let senders = FramePool::on_heap::<64, 2048>();
    let pool = FramePool::on_heap::<256, 2048>();
    let (mut left, mut right) = joined();
    let (mut held, mut small) = (Vec::new(), 0);
    for _ in 0..400 {
        let mut tx = TxBurst::new();
        for _ in 0..3 {
            packet(&mut tx, &senders, &[&[1; 1000]]);
        }
        packet(&mut tx, &senders, &[&[2; 60]]);
        assert_eq!(left.tx_burst(&mut tx), 4);
        for _ in 0..2 {
            let mut rx = RxBurst::new();
            right.rx_burst(&pool, &mut rx);
            for received in rx.drain() {
                match received.frame[0] {
                    1 => held.push(received.frame),
                    _ => small += 1,
                }
            }
        }
    }
    assert_eq!(small, 400);
    assert_eq!(held.len() as u64 + right.stats().rx_scarce, 1200);
    assert!(pool.available() >= 16 && held.len() >= 200);
    drop(held);
    assert_eq!(pool.in_use(), 0);
}
