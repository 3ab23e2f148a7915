//! What Linux's TCP, UDP and ICMP find the services to do.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::host::{OURS, TAP, connect, connect_to, patience};
use super::http::{Counters, counter};

/// Most UDP payload in one packet of 1500 bytes, and most of an ICMP echo.
const DATAGRAM: usize = 1472;
/// The largest in all.
const LONGEST: usize = 65_507;
const MB: f64 = 1e6;

/// A stream that repeats itself after a prime number of bytes, so that no
/// segment that is lost, doubled or swapped goes unseen.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 1_000_003;
    const PIECE: usize = 1 << 18;

    pub(crate) fn new() -> Self {
        // Steele, Lea, Flood: SplitMix64.
        let mut state = 0_u64;
        let mut bytes = Vec::with_capacity(Self::PERIOD + Self::PIECE + 8);
        while bytes.len() < Self::PERIOD {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes.truncate(Self::PERIOD);
        bytes.extend_from_within(..Self::PIECE);
        Self(bytes)
    }

    /// `len` bytes, at most a piece, from offset `at` of the stream on.
    pub(crate) fn at(&self, at: usize, len: usize) -> &[u8] {
        let start = at % Self::PERIOD;
        &self.0[start..start + len]
    }

    fn send(&self, mut flow: &TcpStream, length: usize) {
        let mut at = 0;
        while at < length {
            let piece = self.at(at, Self::PIECE.min(length - at));
            flow.write_all(piece).expect("writable");
            at += piece.len();
        }
        flow.shutdown(Shutdown::Write).expect("open");
    }

    /// Reads to the end of the stream; every byte has to be right.
    fn compare(&self, mut flow: &TcpStream, length: usize) {
        let (mut at, mut buffer) = (0, vec![0; Self::PIECE]);
        loop {
            let count = flow.read(&mut buffer).expect("readable");
            if count == 0 {
                break;
            }
            // Compared as slices: a difference at 100 MB is not to be printed.
            let intact = buffer[..count] == *self.at(at, count);
            assert!(intact, "wrong bytes behind byte {at}");
            at += count;
        }
        assert_eq!(at, length, "bytes that came back");
    }
}

fn rate(length: usize, start: Instant) -> String {
    let took = start.elapsed();
    let rate = length as f64 / MB / took.as_secs_f64();
    format!("{length} bytes in {took:.2?}, {rate:.0} MB/s")
}

/// Sends `length` bytes and takes them back at the same time.
pub(crate) fn echo(flow: TcpStream, length: usize) {
    let (pattern, start) = (Pattern::new(), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| pattern.send(&flow, length));
        pattern.compare(&flow, length);
    });
    if length > 0 {
        println!("echo: {} each way, intact", rate(length, start));
    }
}

pub(crate) fn discard(length: usize) {
    let (pattern, start, flow) = (Pattern::new(), Instant::now(), connect(9));
    pattern.send(&flow, length);
    pattern.compare(&flow, 0);
    all_taken(flow);
    println!("discard: {}", rate(length, start));
}

/// Closes a connection, and waits until all that was sent has been taken: the
/// other end may have closed long before.
fn all_taken(flow: TcpStream) {
    let (start, wait) = (Instant::now(), Some(patience()));
    SockRef::from(&flow).set_linger(wait).expect("settable");
    // Linux comes back when the last byte is acknowledged.
    drop(flow);
    assert!(start.elapsed() < patience(), "not all was taken");
}

/// Echo and discard of `length` bytes in full segments copy none. (Short ones
/// are copied into the frame before, if they fit.)
pub(crate) fn full_segments_are_not_copied(address: IpAddr, length: usize) {
    const PIECES: usize = 10;
    for port in [7, 9] {
        let to = SocketAddr::new(address, port);
        let (mut quiet, mut disturbed) = (0, 0);
        while quiet < PIECES {
            if full_segments_were_not_copied(length / PIECES, to) {
                quiet += 1;
            } else {
                disturbed += 1;
                let most = 10 * PIECES;
                assert!(disturbed < most, "port {port}: sent twice in {most} pieces");
            }
        }
        println!("port {port}: {length} bytes, no copy; {disturbed} pieces sent again");
    }
}

/// False when something was sent twice, by a machine that was busy elsewhere for
/// long: then Linux says so in an option, for which it shortens its segments.
fn full_segments_were_not_copied(length: usize, to: SocketAddr) -> bool {
    let before = Counters::now();
    let port = to.port();
    send_full_segments(connect_to(to), length, port == 7);
    let after = Counters::now();
    let more = |name: &str| after.get(name) - before.get(name);
    if more("tcp-retransmits") + more("tcp-dsacks-in") + more("tcp-dsacks-out") > 0 {
        return false;
    }
    let all = after.since(&before);
    assert_eq!(more("copied-bytes"), 0, "bytes copied, port {port}: {all}");
    true
}

/// Sends `length` bytes, rounded up. What Linux sends is full segments unless
/// they reach the end of the window, so there is never as much in flight.
fn send_full_segments(mut flow: TcpStream, length: usize, echoed: bool) {
    const SEGMENTS: usize = 16;
    let socket = SockRef::from(&flow);
    let mss = usize::try_from(socket.tcp_mss().expect("known")).expect("small");
    socket.set_tcp_cork(true).expect("settable");
    socket
        .set_send_buffer_size(SEGMENTS * mss)
        .expect("settable");
    let (pattern, mut at, mut answer) = (Pattern::new(), 0, vec![0; SEGMENTS * mss]);
    while at < length {
        let round = pattern.at(at, answer.len());
        flow.write_all(round).expect("writable");
        if echoed {
            flow.read_exact(&mut answer).expect("an echo");
            assert!(answer == round, "wrong bytes behind byte {at}");
        }
        at += round.len();
    }
    flow.shutdown(Shutdown::Write).expect("open");
    pattern.compare(&flow, 0);
    all_taken(flow);
}

/// RFC 867; the time is Linux's, too.
pub(crate) fn daytime(behind: u32) {
    let date = |behind: u32| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.expect("after 1970").as_secs() - u64::from(behind);
        // In a form that busybox understands, too.
        let date = Command::new("date")
            .args(["-u", "-d", &format!("@{seconds}")])
            .arg("+%Y-%m-%d %H:%M:%S UTC")
            .output()
            .expect("date runs");
        assert!(date.status.success(), "{date:?}");
        String::from_utf8(date.stdout).expect("text")
    };
    let before = date(behind);
    let mut line = String::new();
    connect(13).read_to_string(&mut line).expect("a line");
    let after = date(0);
    assert!(line.ends_with("UTC\r\n") && line.len() == 25, "{line:?}");
    let now = line.trim_end();
    assert!(
        before.trim_end() <= now && now <= after.trim_end(),
        "{now} is not between {before} and {after}"
    );
}

/// RFC 864: 72 of the 95 printable characters on a line, the first of each
/// line one further on.
pub(crate) fn chargen(length: usize) {
    let start = Instant::now();
    let mut text = vec![0; length];
    connect(19).read_exact(&mut text).expect("endless");
    println!("chargen: {}", rate(length, start));
    for (number, line) in text.chunks_exact(74).enumerate() {
        let right = (0..72).map(|column| b' ' + ((number + column) % 95) as u8);
        assert!(
            line.iter().copied().eq(right.chain(*b"\r\n")),
            "line {number}: {:?}",
            String::from_utf8_lossy(line)
        );
    }
}

/// Every size that goes in one packet, and `fragmented` of those that go in
/// fragments.
fn sizes(fragmented: usize) -> impl Iterator<Item = usize> {
    let step = (LONGEST - DATAGRAM) / fragmented.max(1);
    let longer = (1..=fragmented).map(move |number| LONGEST - (fragmented - number) * step);
    (0..=DATAGRAM).chain(longer)
}

pub(crate) fn udp_echo_of_every_size(fragmented: usize) {
    let pattern = Pattern::new();
    let socket = udp(7);
    let mut answer = [0; LONGEST + 1];
    for size in sizes(fragmented) {
        socket.send(pattern.at(size, size)).expect("sent");
        let count = socket
            .recv(&mut answer)
            .unwrap_or_else(|error| panic!("UDP echo of {size} bytes: {error}"));
        let intact = answer[..count] == *pattern.at(size, size);
        assert!(intact, "UDP echo of {size} bytes: {count} came");
    }
}

fn udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("10.0.0.1:0").expect("a port is free");
    socket.connect((OURS, port)).expect("connected");
    socket.set_read_timeout(Some(patience())).expect("settable");
    socket
}

/// TCP resets, UDP has the ICMP error sent (RFC 1122, 4.1.3.1).
pub(crate) fn refused_ports() {
    let refused = TcpStream::connect_timeout(&SocketAddr::from((OURS, 8)), patience());
    assert_eq!(
        refused.expect_err("nobody listens").kind(),
        ErrorKind::ConnectionRefused
    );
    let socket = udp(8);
    socket.send(b"anybody?").expect("sent");
    assert_eq!(
        socket.recv(&mut [0; 16]).expect_err("nobody is").kind(),
        ErrorKind::ConnectionRefused
    );
}

/// Echo requests of every size that fits in a packet, and `fragmented` longer
/// ones.
pub(crate) fn ping_of_every_size(fragmented: usize) {
    const ECHO_REQUEST: u8 = 8;
    let kind = (Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4));
    let socket = Socket::new(kind.0, kind.1, kind.2).expect("root here");
    socket
        .connect(&SocketAddr::from((OURS, 0)).into())
        .expect("connected");
    socket.set_read_timeout(Some(patience())).expect("settable");
    let pattern = Pattern::new();
    let mut times = Vec::new();
    for size in sizes(fragmented) {
        let number = u16::try_from(size).expect("small").to_be_bytes();
        let head = [ECHO_REQUEST, 0, 0, 0, 0x70, 0x77, number[0], number[1]];
        let mut request = [&head[..], pattern.at(size, size)].concat();
        let check = pollwire::offload::Sum::of(&request).finish().to_be_bytes();
        request[2..4].copy_from_slice(&check);
        let start = Instant::now();
        socket.send(&request).expect("sent");
        while !answers(&socket, &request) {
            assert!(start.elapsed() < patience(), "ping of {size} bytes");
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!(
        "ping: {} sizes from 0 to {LONGEST} bytes, median {:?}",
        times.len(),
        times[times.len() / 2]
    );
}

/// Whether the next ICMP message is the reply to `request`, all of it.
fn answers(socket: &Socket, request: &[u8]) -> bool {
    const IP_HEADER: usize = 20;
    let mut packet = [0; IP_HEADER + 8 + LONGEST];
    let count = (&*socket).read(&mut packet).expect("an ICMP message");
    let reply = &packet[..count][IP_HEADER..];
    // Type 0, and another checksum; identifier, number and payload come back.
    reply.starts_with(&[0, 0]) && reply[4..] == request[4..]
}

/// `count` connections, all open, each of which echoes.
pub(crate) fn connections_at_once(count: u32) {
    let start = Instant::now();
    let flows: Vec<TcpStream> = (0..count).map(|_| connect(7)).collect();
    for (number, mut flow) in (0..count).zip(&flows) {
        flow.write_all(&number.to_be_bytes()).expect("writable");
    }
    for (number, mut flow) in (0..count).zip(&flows) {
        let mut answer = [0; 4];
        flow.read_exact(&mut answer).expect("readable");
        assert_eq!(u32::from_be_bytes(answer), number);
    }
    let open = counter("flows-in-use");
    assert!(open >= u64::from(count), "{open} flows are in use");
    println!("{count} connections, each echoing: {:.2?}", start.elapsed());
}

/// When all have gone, nothing is held but what answers this question, and the
/// frames that were `lent` to the device for reception at the start.
pub(crate) fn nothing_held_for_ever(lent: u64) {
    let start = Instant::now();
    while counter("frames-in-use") > lent + 4 {
        assert!(start.elapsed() < patience(), "frames stay in use");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Packets longer than the MTU come from the program: the device is to segment
/// them.
pub(crate) fn long_packets_come() {
    let mut capture = Command::new("tcpdump")
        .args(["-n", "-i", TAP, "-c", "1", "--immediate-mode"])
        .arg(format!("src host {OURS} and greater 3000"))
        .stderr(Stdio::null())
        .spawn()
        .expect("tcpdump runs");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = capture.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > patience() {
            let _ended = capture.kill();
            break capture.wait().expect("a child");
        }
        // It may not listen yet.
        chargen(1_000_000);
    };
    assert!(status.success(), "no packet was longer than the MTU");
}
