//! The TAP back end against the kernel, in a network namespace of its own.
//!
//! Runs where the process is root, has /dev/net/tun and may make namespaces;
//! elsewhere it says why it is skipped.
#![cfg(all(feature = "std", target_os = "linux"))]

use core::time::Duration;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::Instant;

use pollwire_offload::Sum;
use pollwire_rings::tap::{Offloads, Tap};
use pollwire_rings::{
    Caps, FramePool, Gso, GsoKind, NetDevice, RxBurst, RxChecksum, RxMeta, TxBurst, TxChecksum,
    TxMeta, local_mac,
};

const OURS: [u8; 4] = [10, 77, 0, 2];
const THEIRS: [u8; 4] = [10, 77, 0, 1];
const MSS: usize = 1460;
/// Nothing here takes longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A TAP with the kernel at 10.77.0.1/24 and us, known to it, at 10.77.0.2.
struct Bench {
    tap: Tap,
    pool: FramePool,
    kernel_mac: [u8; 6],
    inbox: VecDeque<Received>,
}

/// A packet's bytes, what the device says of it, and how many pieces it had.
type Received = (Vec<u8>, RxMeta, usize);

fn ip(arguments: &str) -> Result<(), String> {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("ip {arguments}: {other:?}")),
    }
}

/// Moves this thread into a network namespace of its own. It goes away with the
/// thread.
fn enter_namespace() -> Result<(), String> {
    // SAFETY: plain integers; only this thread changes its namespace.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(format!(
            "no network namespace: {}",
            std::io::Error::last_os_error()
        )),
    }
}

impl Bench {
    fn new(offloads: Offloads) -> Result<Self, String> {
        enter_namespace()?;
        let mac = local_mac(7);
        let tap = Tap::open("pw0", mac, offloads).map_err(|e| format!("no TAP: {e}"))?;
        ip("link set pw0 mtu 1500 address 02:00:00:00:00:99 up")?;
        ip("link set lo up")?;
        ip("address add 10.77.0.1/24 dev pw0")?;
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!(
            "neighbour replace 10.77.0.2 lladdr {mac} dev pw0 nud permanent"
        ))?;
        Ok(Self {
            tap,
            pool: FramePool::on_heap::<256, 2048>(),
            kernel_mac: [2, 0, 0, 0, 0, 0x99],
            inbox: VecDeque::new(),
        })
    }

    fn send(&mut self, packet: &[u8], meta: TxMeta) {
        let mut burst = TxBurst::new();
        for chunk in packet.chunks(1500) {
            let mut frame = self.pool.alloc().expect("free");
            frame.extend_from_slice(chunk);
            burst.push_piece(frame.freeze()).expect("room");
        }
        burst.seal(meta);
        let end = Instant::now() + PATIENCE;
        while self.tap.tx_burst(&mut burst) == 0 {
            assert!(Instant::now() < end, "the TAP stays full");
            self.tap.wait(Some(Duration::from_millis(10)));
        }
    }

    /// The next packet that `wanted` wants, its pieces joined.
    fn receive(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Received {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "nothing came");
            while let Some(packet) = self.inbox.pop_front() {
                if wanted(&packet.0) {
                    return packet;
                }
            }
            self.tap.wait(Some(Duration::from_millis(10)));
            let mut burst = RxBurst::new();
            self.tap.rx_burst(&self.pool, &mut burst);
            let (mut whole, mut pieces) = (Vec::new(), 0);
            for received in burst.drain() {
                whole.extend_from_slice(&received.frame);
                pieces += 1;
                if !received.meta.continues {
                    let packet = (std::mem::take(&mut whole), received.meta, pieces);
                    self.inbox.push_back(packet);
                    pieces = 0;
                }
            }
        }
    }

    /// An Ethernet and IPv4 header to the kernel, for `len` bytes of payload.
    fn headers(&self, protocol: u8, len: usize) -> Vec<u8> {
        let total = u16::try_from(len + 20).unwrap_or(0).to_be_bytes();
        let mut ip = [
            &[
                0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, protocol, 0, 0,
            ][..],
            &OURS,
            &THEIRS,
        ]
        .concat();
        let check = Sum::of(&ip).finish().to_be_bytes();
        ip[10..12].copy_from_slice(&check);
        [&self.kernel_mac[..], &local_mac(7), &[8, 0], &ip].concat()
    }

    fn tcp(&mut self, ports: (u16, u16), seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        let len = 20 + payload.len();
        let mut tcp = [
            &ports.0.to_be_bytes()[..],
            &ports.1.to_be_bytes(),
            &seq.to_be_bytes(),
            &ack.to_be_bytes(),
            &[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0],
            payload,
        ]
        .concat();
        let caps = self.tap.caps();
        let pseudo = Sum::pseudo_v4(OURS, THEIRS, 6, len as u16);
        let mut meta = TxMeta::default();
        let check = if caps.tx_checksum {
            meta.checksum = TxChecksum::Partial {
                start: 34,
                offset: 16,
            };
            pseudo.fold()
        } else {
            pseudo.add_bytes(&tcp).finish()
        };
        if payload.len() > MSS {
            meta.gso = Some(Gso {
                kind: GsoKind::TcpV4,
                size: MSS as u16,
                header_len: 54,
            });
        }
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        let packet = [self.headers(6, len), tcp].concat();
        self.send(&packet, meta);
    }
}

/// Runs `test` on a thread of its own, so that its namespace ends with it.
fn in_namespace(offloads: Offloads, test: impl FnOnce(&mut Bench) + Send + 'static) {
    let run = move || match Bench::new(offloads) {
        Ok(mut bench) => {
            test(&mut bench);
            assert_eq!(bench.pool.in_use(), 0, "every frame is home");
            assert_eq!(bench.tap.stats().rx_truncated, 0);
        }
        Err(why) => println!("skipped: {why}"),
    };
    thread::spawn(run).join().expect("the test's thread");
}

fn is_udp(packet: &[u8]) -> bool {
    packet.get(12..14) == Some(&[8, 0]) && packet.get(23) == Some(&17)
}

fn is_tcp(packet: &[u8]) -> bool {
    packet.get(12..14) == Some(&[8, 0])
        && packet.get(23) == Some(&6)
        && packet.get(30..34) == Some(&OURS)
}

fn udp_both_ways(bench: &mut Bench) {
    let socket = UdpSocket::bind("10.77.0.1:5000").expect("bind");
    let timeout = Some(PATIENCE);
    socket.set_read_timeout(timeout).expect("timeout");
    socket
        .send_to(b"from the kernel", "10.77.0.2:6000")
        .expect("send");
    let (packet, meta, pieces) = bench.receive(is_udp);
    assert_eq!((&packet[42..], pieces), (&b"from the kernel"[..], 1));
    let caps = bench.tap.caps();
    let expected = if caps.tx_checksum {
        RxChecksum::Partial
    } else {
        RxChecksum::Unknown
    };
    assert_eq!(meta.checksum, expected);
    let payload = b"from the user's stack";
    let len = 8 + payload.len();
    let mut udp = [
        &6000u16.to_be_bytes()[..],
        &5000u16.to_be_bytes(),
        &(len as u16).to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    let pseudo = Sum::pseudo_v4(OURS, THEIRS, 17, len as u16);
    let (check, checksum) = if caps.tx_checksum {
        (
            pseudo.fold(),
            TxChecksum::Partial {
                start: 34,
                offset: 6,
            },
        )
    } else {
        (pseudo.add_bytes(&udp).finish_nonzero(), TxChecksum::Done)
    };
    udp[6..8].copy_from_slice(&check.to_be_bytes());
    let packet = [bench.headers(17, len), udp].concat();
    bench.send(
        &packet,
        TxMeta {
            checksum,
            gso: None,
        },
    );
    let mut buffer = [0; 100];
    let (count, _) = socket.recv_from(&mut buffer).expect("the datagram");
    assert_eq!(&buffer[..count], payload);
}

#[test]
fn udp_with_offloads() {
    in_namespace(Offloads::ALL, udp_both_ways);
}

#[test]
fn udp_without_offloads() {
    in_namespace(Offloads::NONE, udp_both_ways);
}

/// Opens a connection to the kernel's listener, sends it `large` bytes in one
/// packet, and takes as many back.
fn tcp_both_ways(bench: &mut Bench, large: usize) {
    const PORTS: (u16, u16) = (40_000, 7);
    let listener = TcpListener::bind("10.77.0.1:7").expect("bind");
    let data: Vec<u8> = (0..large).map(|n| (n * 31 + n / 251) as u8).collect();
    let expected = data.clone();
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut got = vec![0; large];
        stream.read_exact(&mut got).expect("the data");
        assert!(got == expected, "the kernel got other bytes");
        stream.write_all(&got).expect("echo");
    });
    bench.tcp(PORTS, 1000, 0, 0x02, &[]);
    let (synack, ..) = bench.receive(|p| is_tcp(p) && p[47] == 0x12);
    let mut rcv_nxt =
        u32::from_be_bytes([synack[38], synack[39], synack[40], synack[41]]).wrapping_add(1);
    bench.tcp(PORTS, 1001, rcv_nxt, 0x10, &[]);
    let chunk = if bench.tap.caps().tso4 { large } else { MSS };
    for (index, part) in data.chunks(chunk).enumerate() {
        bench.tcp(PORTS, 1001 + (index * chunk) as u32, rcv_nxt, 0x18, part);
    }
    let (mut back, mut most_pieces) = (Vec::new(), 0);
    while back.len() < large {
        let (packet, meta, pieces) = bench.receive(|p| is_tcp(p) && p.len() > 54 + 6);
        let seq = u32::from_be_bytes([packet[38], packet[39], packet[40], packet[41]]);
        let header = 34 + usize::from(packet[46] >> 4) * 4;
        let end = 14 + usize::from(u16::from_be_bytes([packet[16], packet[17]]));
        if seq == rcv_nxt {
            back.extend_from_slice(&packet[header..end]);
            rcv_nxt = rcv_nxt.wrapping_add((end - header) as u32);
            most_pieces = most_pieces.max(pieces);
            assert_eq!(pieces > 1, packet.len() > 1920);
            assert!(packet.len() <= 1514 || meta.gso_size > 0);
        }
        bench.tcp(PORTS, 1001 + large as u32, rcv_nxt, 0x10, &[]);
    }
    assert!(back == data, "other bytes came back");
    let coalesces = bench.tap.caps().tso4;
    assert_eq!(most_pieces > 1, coalesces, "{most_pieces} pieces");
    // The connection ends by a reset, so that nothing is left in flight.
    bench.tcp(PORTS, 1001 + large as u32, rcv_nxt, 0x14, &[]);
    echo.join().expect("echo");
    assert_eq!(bench.tap.stats().tx_errors, 0);
}

#[test]
fn tcp_with_segmentation_offload() {
    in_namespace(Offloads::ALL, |bench| tcp_both_ways(bench, 40_000));
}

#[test]
fn tcp_with_checksum_offload_only() {
    let offloads = Offloads {
        checksum: true,
        segmentation: false,
    };
    in_namespace(offloads, |bench| tcp_both_ways(bench, 20_000));
}

#[test]
fn tcp_without_offloads() {
    in_namespace(Offloads::NONE, |bench| tcp_both_ways(bench, 20_000));
}

#[test]
fn capabilities_follow_the_options_and_the_interface() {
    in_namespace(Offloads::ALL, |bench| {
        let Caps {
            mac,
            mtu,
            tx_checksum,
            tso4,
            tso6,
            ..
        } = bench.tap.caps();
        assert_eq!((mac, mtu), (local_mac(7), 1500));
        assert!(tx_checksum && tso4 && tso6);
    });
    in_namespace(
        Offloads {
            checksum: false,
            segmentation: true,
        },
        |bench| {
            let caps = bench.tap.caps();
            assert!(!caps.tx_checksum && !caps.tso4 && !caps.tso6);
        },
    );
}

#[test]
fn refused_packets_are_counted_and_dropped() {
    in_namespace(Offloads::ALL, |bench| {
        let beyond = TxChecksum::Partial {
            start: 60_000,
            offset: 16,
        };
        bench.send(
            &[0; 60],
            TxMeta {
                checksum: beyond,
                gso: None,
            },
        );
        assert_eq!(bench.tap.stats().tx_errors, 1);
        ip("link set pw0 down").expect("down");
        bench.send(&[0; 60], TxMeta::default());
        assert_eq!(bench.tap.stats().tx_errors, 2);
        let before = Instant::now();
        bench.tap.wait(Some(Duration::from_millis(5)));
        assert!(before.elapsed() < PATIENCE);
        ip("link set pw0 up").expect("up");
        let mut packet = bench.headers(6, 20);
        packet.extend_from_slice(&[0; 20]);
        bench.send(&packet, TxMeta::default());
        assert_eq!(bench.tap.stats().tx_errors, 2);
    });
}

/// Opens the TAP as Solo5's tender does: with no word about offloads.
fn plain_file(name: &str) -> std::fs::File {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open("/dev/net/tun");
    let file = file.expect("openable");
    // SAFETY: an all-zero `ifreq` is valid.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
    // SAFETY: reads the name and flags of `request`, which lives through the call.
    let attached = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
    file
}

/// An interface that outlives its program keeps what that one told it.
#[test]
fn offloads_end_with_the_program() {
    in_namespace(Offloads::ALL, |bench| {
        // That one made its interface, which goes with it.
        ip("tuntap add pw1 mode tap").expect("another");
        drop(Tap::open("pw1", local_mac(8), Offloads::ALL).expect("a TAP"));
        let mut file = plain_file("pw1");
        ip("link set pw1 up").expect("up");
        ip("address add 10.78.0.1/24 dev pw1").expect("an address");
        ip("neighbour replace 10.78.0.2 lladdr 02:00:00:00:00:98 dev pw1 nud permanent")
            .expect("a neighbour");
        let socket = UdpSocket::bind("10.78.0.1:5000").expect("bind");
        socket.send_to(b"whole", "10.78.0.2:6000").expect("sent");
        let mut packet = [0; 2048];
        let start = Instant::now();
        let len = loop {
            assert!(start.elapsed() < Duration::from_secs(60), "no datagram");
            let len = file.read(&mut packet).expect("a packet");
            if is_udp(&packet[..len]) {
                break len;
            }
        };
        let sum = Sum::pseudo_v4([10, 78, 0, 1], [10, 78, 0, 2], 17, (len - 34) as u16);
        let check = sum.add_bytes(&packet[34..len]).finish();
        assert_eq!(check, 0, "the checksum was left to nobody");
        assert_eq!(bench.pool.in_use(), 0);
    });
}

#[test]
fn what_is_no_tap_is_refused() {
    let file = std::fs::File::open("/dev/null").expect("the null device");
    assert!(Tap::from_fd(file.into(), local_mac(1), Offloads::ALL).is_err());
    assert!(Tap::open("a name that is far too long", local_mac(1), Offloads::ALL).is_err());
    assert!(Tap::open("nul\0byte", local_mac(1), Offloads::ALL).is_err());
}
