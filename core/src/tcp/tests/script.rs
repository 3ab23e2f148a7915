//! A segment script: inject, expect, expect quiet, in virtual time.
//!
//! The peer is the test: its sequence numbers are given relative to its own
//! initial one ([`PEER_ISS`]), acknowledgements relative to ours.

use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{Caps, Instant, RxBurst, RxMeta, TxBurst};

use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN, TcpOptions as Options};
use crate::{Config, FlowId, ListenOptions, ListenerId, Stack, SynCookies, TcpOptions, TcpState};

pub(super) const PEER_ISS: u32 = 1000;
const PEER_PORT: u16 = 40_000;
const OUR_PORT: u16 = 80;
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OUR_IP: [u8; 4] = [10, 0, 0, 1];
const PEER_IP: [u8; 4] = [10, 0, 0, 2];

/// A segment, as injected or expected. Unset fields are not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Seg {
    flags: u8,
    seq: u32,
    ack: Option<u32>,
    window: Option<u16>,
    data: Vec<u8>,
    options: Options,
    check_options: bool,
    absolute_ack: bool,
    sacks_ours: bool,
    urgent: bool,
    tos: u8,
}

/// A segment from the peer's point of view: relative numbers.
pub(super) fn seg() -> Seg {
    Seg {
        flags: ACK,
        ..Seg::default()
    }
}

impl Seg {
    pub(super) fn seq(self, seq: u32) -> Self {
        Self { seq, ..self }
    }
    pub(super) fn ack(self, ack: u32) -> Self {
        Self {
            ack: Some(ack),
            flags: self.flags | ACK,
            ..self
        }
    }
    pub(super) fn win(self, window: u16) -> Self {
        Self {
            window: Some(window),
            ..self
        }
    }
    pub(super) fn data(self, data: &[u8]) -> Self {
        Self {
            data: data.to_vec(),
            ..self
        }
    }
    /// These flags and no others.
    pub(super) fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }
    pub(super) fn syn(self) -> Self {
        Self {
            flags: self.flags | SYN,
            ..self
        }
    }
    pub(super) fn fin(self) -> Self {
        Self {
            flags: self.flags | FIN,
            ..self
        }
    }
    pub(super) fn rst(self) -> Self {
        Self {
            flags: self.flags | RST,
            ..self
        }
    }
    pub(super) fn urgent(self) -> Self {
        Self {
            flags: self.flags | crate::wire::tcp::URG,
            urgent: true,
            ..self
        }
    }
    pub(super) fn push(self) -> Self {
        Self {
            flags: self.flags | PSH,
            ..self
        }
    }
    pub(super) fn ece(self) -> Self {
        Self {
            flags: self.flags | crate::wire::tcp::ECE,
            ..self
        }
    }
    pub(super) fn cwr(self) -> Self {
        Self {
            flags: self.flags | crate::wire::tcp::CWR,
            ..self
        }
    }
    /// Type of service of an injected segment's packet.
    pub(super) fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }
    pub(super) fn no_ack(self) -> Self {
        Self {
            flags: self.flags & !ACK,
            ..self
        }
    }
    /// The acknowledgement number is not relative.
    pub(super) fn absolute_ack(self) -> Self {
        Self {
            absolute_ack: true,
            ..self
        }
    }
    pub(super) fn mss(mut self, mss: u16) -> Self {
        self.options.mss = Some(mss);
        self
    }
    pub(super) fn wscale(mut self, shift: u8) -> Self {
        self.options.wscale = Some(shift);
        self
    }
    pub(super) fn sack_ok(mut self) -> Self {
        self.options.sack_permitted = true;
        self
    }
    pub(super) fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.options.sack_blocks = blocks.iter().copied().collect();
        self.check_options = true;
        self
    }
    /// SACK blocks of our data, given relative to our initial sequence number.
    pub(super) fn sacks(mut self, blocks: &[(u32, u32)]) -> Self {
        self.sacks_ours = true;
        self.options.sack_blocks = blocks.iter().copied().collect();
        self
    }
    pub(super) fn ts(mut self, value: u32, echo: u32) -> Self {
        self.options.timestamps = Some((value, echo));
        self
    }
}

/// What the stack sent, absolute numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) flags: u8,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) data: Vec<u8>,
    pub(super) options: Options,
    pub(super) tos: u8,
}

pub(super) struct Script {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    sent: VecDeque<Sent>,
    /// Our initial sequence number, once seen.
    pub(super) iss: u32,
    our_port: u16,
    peer_port: u16,
    corrupt: bool,
    /// Packets come in two pieces, which header prediction leaves alone.
    pub(super) in_pieces: bool,
    pub(super) flow: Option<FlowId>,
    pub(super) listener: Option<ListenerId>,
}

impl Script {
    pub(super) fn new() -> Self {
        let config = Config::new("10.0.0.1/24".parse().unwrap(), [42; 32]);
        let stack = Stack::on_heap::<256, 16, 2048>(&config, Caps::plain(OUR_MAC, 1500));
        let mut script = Self {
            stack,
            now: Instant::from_secs(10),
            sent: VecDeque::new(),
            iss: 0,
            our_port: OUR_PORT,
            peer_port: PEER_PORT,
            corrupt: false,
            in_pieces: false,
            flow: None,
            listener: None,
        };
        script.run();
        script.introduce_peer();
        script
    }

    /// The peer asks for our address, so that we know its own.
    fn introduce_peer(&mut self) {
        let mut arp = Vec::new();
        arp.extend(OUR_MAC);
        arp.extend(PEER_MAC);
        arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.extend(PEER_MAC);
        arp.extend(PEER_IP);
        arp.extend([0; 6]);
        arp.extend(OUR_IP);
        self.inject_bytes(&arp);
    }

    pub(super) fn inject_bytes(&mut self, bytes: &[u8]) {
        let mut burst = RxBurst::new();
        let pieces = if self.in_pieces && bytes[12..14] == [8, 0] {
            let headers = 34 + usize::from(bytes[46] >> 4) * 4;
            std::vec![&bytes[..headers], &bytes[headers..]]
        } else {
            std::vec![bytes]
        };
        for (index, piece) in pieces.iter().enumerate() {
            let mut frame = self.stack.pool().alloc().unwrap();
            // The payload lies where it lies in one piece: so as much can be
            // copied behind it.
            frame.reset(frame.headroom() + (piece.as_ptr().addr() - bytes.as_ptr().addr()));
            assert_eq!(frame.extend_from_slice(piece), piece.len());
            let meta = RxMeta {
                continues: index + 1 < pieces.len(),
                ..RxMeta::default()
            };
            burst.push(frame, meta).unwrap();
        }
        self.stack.input(self.now, &mut burst);
        self.run();
    }

    /// Lets the stack send, and notes what it sent.
    pub(super) fn run(&mut self) {
        let mut tx = TxBurst::new();
        loop {
            let more = self.stack.output(self.now, &mut tx);
            for packet in tx.iter() {
                let bytes: Vec<u8> = packet.pieces.iter().flat_map(|p| p.to_vec()).collect();
                self.note(&bytes);
            }
            tx.consume(usize::MAX);
            if !more {
                return;
            }
        }
    }

    /// Notes a packet that was taken from the stack by hand.
    pub(super) fn sent_in_pieces(&mut self, pieces: &[&[u8]]) {
        self.note(&pieces.concat());
    }

    fn note(&mut self, bytes: &[u8]) {
        if bytes[12..14] == [8, 6] {
            // Questions about the peer are answered; the rest is chatter.
            if bytes[21] == 1 && bytes[38..42] == PEER_IP {
                self.introduce_peer();
            }
            return;
        }
        assert!(Sum::of(&bytes[14..34]).is_valid(), "IP checksum");
        assert_eq!(
            usize::from(u16::from_be_bytes([bytes[16], bytes[17]])),
            bytes.len() - 14
        );
        if bytes[23] != 6 {
            return;
        }
        let tcp = &bytes[34..];
        let pseudo = Sum::pseudo_v4(OUR_IP, PEER_IP, 6, tcp.len() as u16);
        assert!(pseudo.add_bytes(tcp).is_valid(), "TCP checksum");
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        let header = usize::from(tcp[12] >> 4) * 4;
        self.sent.push_back(Sent {
            flags: tcp[13],
            seq: word(4),
            ack: word(8),
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            data: tcp[header..].to_vec(),
            options: Options::parse(&tcp[20..header]).unwrap(),
            tos: bytes[15],
        });
    }

    /// A router's ICMP error about a packet of ours of `len` bytes whose segment
    /// began at `seq`; `mtu` is the next hop's.
    pub(super) fn icmp(&mut self, kind: u8, code: u8, mtu: u16, seq: u32, len: u16) {
        let mut icmp = std::vec![kind, code, 0, 0, 0, 0];
        icmp.extend(mtu.to_be_bytes());
        icmp.extend([0x45, 0]);
        icmp.extend(len.to_be_bytes());
        icmp.extend([0, 0, 0x40, 0, 60, 6, 0, 0]);
        icmp.extend(OUR_IP);
        icmp.extend(PEER_IP);
        icmp.extend(self.our_port.to_be_bytes());
        icmp.extend(self.peer_port.to_be_bytes());
        icmp.extend(self.iss.wrapping_add(seq).to_be_bytes());
        let check = Sum::of(&icmp).finish();
        icmp[2..4].copy_from_slice(&check.to_be_bytes());
        let mut bytes = Vec::new();
        bytes.extend(OUR_MAC);
        bytes.extend(PEER_MAC);
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend(((20 + icmp.len()) as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 1, 0, 0]);
        bytes.extend([10, 0, 0, 254]);
        bytes.extend(OUR_IP);
        let check = Sum::of(&bytes[14..34]).finish();
        bytes[24..26].copy_from_slice(&check.to_be_bytes());
        bytes.extend(icmp);
        self.inject_bytes(&bytes);
    }

    /// The next segment injected carries a wrong checksum.
    pub(super) fn corrupt_next(&mut self) {
        self.corrupt = true;
    }

    pub(super) fn inject(&mut self, seg: Seg) {
        let bytes = self.bytes_of(&seg);
        self.inject_bytes(&bytes);
    }

    /// Frames with consecutive data segments of the peer's, not injected yet.
    pub(super) fn segments(&mut self, count: u32, len: usize) -> Vec<pollwire_rings::FrameBuf> {
        (0..count)
            .map(|index| {
                let seq = 1 + index * u32::try_from(len).unwrap();
                let bytes = self.bytes_of(&self::seg().seq(seq).ack(1).data(&std::vec![5; len]));
                let mut frame = self.stack.pool().alloc().unwrap();
                frame.extend_from_slice(&bytes);
                frame
            })
            .collect()
    }

    pub(super) fn bytes_of(&mut self, seg: &Seg) -> Vec<u8> {
        let base = if seg.absolute_ack { 0 } else { self.iss };
        let ack = seg.ack.map_or(0, |ack| base.wrapping_add(ack));
        let mut options = seg.options.clone();
        if seg.sacks_ours {
            for (left, right) in &mut options.sack_blocks {
                *left = left.wrapping_add(self.iss);
                *right = right.wrapping_add(self.iss);
            }
        }
        let options = options.emit();
        let mut tcp = Vec::new();
        tcp.extend(self.peer_port.to_be_bytes());
        tcp.extend(self.our_port.to_be_bytes());
        tcp.extend(PEER_ISS.wrapping_add(seg.seq).to_be_bytes());
        tcp.extend(ack.to_be_bytes());
        tcp.push((((20 + options.len()) / 4) << 4) as u8);
        tcp.push(seg.flags);
        tcp.extend(seg.window.unwrap_or(65_535).to_be_bytes());
        tcp.extend([0; 2]);
        tcp.extend(if seg.urgent { [0, 1] } else { [0, 0] });
        tcp.extend(&options);
        tcp.extend(&seg.data);
        let pseudo = Sum::pseudo_v4(PEER_IP, OUR_IP, 6, tcp.len() as u16);
        let check = pseudo.add_bytes(&tcp).finish();
        let check = if core::mem::take(&mut self.corrupt) {
            !check
        } else {
            check
        };
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        let mut bytes = Vec::new();
        bytes.extend(OUR_MAC);
        bytes.extend(PEER_MAC);
        bytes.extend([8, 0, 0x45, seg.tos]);
        bytes.extend(((20 + tcp.len()) as u16).to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        bytes.extend(PEER_IP);
        bytes.extend(OUR_IP);
        let check = Sum::of(&bytes[14..34]).finish();
        bytes[24..26].copy_from_slice(&check.to_be_bytes());
        bytes.extend(tcp);
        bytes
    }

    /// The next segment that the stack sent.
    #[track_caller]
    pub(super) fn next(&mut self) -> Sent {
        self.sent.pop_front().expect("the stack sent nothing")
    }

    #[track_caller]
    pub(super) fn expect(&mut self, want: Seg) {
        let got = self.next();
        let text = format!(
            "want {} bytes {:?}\n got {} bytes {:?} (iss {})",
            want.data.len(),
            Seg {
                data: Vec::new(),
                ..want.clone()
            },
            got.data.len(),
            Sent {
                data: Vec::new(),
                ..got.clone()
            },
            self.iss
        );
        assert_eq!(got.flags & !PSH, want.flags & !PSH, "flags: {text}");
        assert_eq!(got.seq.wrapping_sub(self.iss), want.seq, "seq: {text}");
        if let Some(ack) = want.ack {
            assert_eq!(got.ack.wrapping_sub(PEER_ISS), ack, "ack: {text}");
        }
        if let Some(window) = want.window {
            assert_eq!(got.window, window, "window: {text}");
        }
        assert!(got.data == want.data, "data: {text}");
        if want.check_options {
            let blocks: Vec<(u32, u32)> = got
                .options
                .sack_blocks
                .iter()
                .map(|(l, r)| (l.wrapping_sub(PEER_ISS), r.wrapping_sub(PEER_ISS)))
                .collect();
            assert_eq!(blocks[..], want.options.sack_blocks[..], "blocks: {text}");
        }
    }

    #[track_caller]
    pub(super) fn expect_quiet(&mut self) {
        let sent: Vec<_> = self
            .sent
            .iter()
            .map(|s| (s.flags, s.seq, s.ack, s.data.len()))
            .collect();
        assert!(
            sent.is_empty(),
            "the stack sent (flags, seq, ack, bytes) {sent:?}"
        );
    }

    /// Whether the stack sent anything.
    pub(super) fn sent_any(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Everything sent and not looked at, oldest first.
    pub(super) fn all_sent(&mut self) -> Vec<Sent> {
        self.sent.drain(..).collect()
    }

    /// Injects from another port of the peer's from now on.
    pub(super) fn peer_port(&mut self, port: u16) {
        self.peer_port = port;
    }

    /// Forgets what was sent.
    pub(super) fn skip(&mut self) {
        self.sent.clear();
    }

    /// Lets time pass, with every timer firing when it is due.
    pub(super) fn advance(&mut self, millis: u64) {
        let end = self.now.plus_nanos(millis * 1_000_000);
        while let Some(at) = self.stack.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.stack.expire(self.now);
            self.run();
        }
        self.now = end;
        self.stack.expire(end);
        self.run();
    }

    /// Listens on port 80.
    pub(super) fn listen(&mut self, tcp: TcpOptions) {
        self.listen_with(ListenOptions {
            backlog: 4,
            syn_queue: 4,
            syn_cookies: SynCookies::Off,
            tcp,
        });
    }

    /// The same with other options.
    pub(super) fn listen_with(&mut self, options: ListenOptions) {
        let local = "0.0.0.0:80".parse().unwrap();
        self.listener = Some(self.stack.tcp_listen(local, options).unwrap());
    }

    /// An open passive connection; the peer's SYN is `syn`.
    pub(super) fn accepted(tcp: TcpOptions, syn: Seg) -> Self {
        Self::accepted_over(tcp, syn, 0)
    }

    /// The same over a path whose round trip takes `rtt` milliseconds.
    pub(super) fn accepted_over(tcp: TcpOptions, syn: Seg, rtt: u64) -> Self {
        let mut s = Self::new();
        s.listen(tcp);
        let timestamps = syn.options.timestamps;
        s.inject(syn.syn().no_ack());
        let answer = s.next();
        assert_eq!(answer.flags & !crate::wire::tcp::ECE, SYN | ACK);
        s.iss = answer.seq;
        s.advance(rtt);
        let mut last = seg().seq(1).ack(1);
        if let Some((value, _)) = timestamps {
            let echo = answer.options.timestamps.unwrap().0;
            last = last.ts(value, echo);
        }
        s.inject(last);
        s.flow = Some(s.stack.tcp_try_accept(s.listener.unwrap()).unwrap());
        s.expect_quiet();
        s
    }

    /// An open passive connection with a segment size of 1000 and no options.
    pub(super) fn plain() -> Self {
        Self::accepted(TcpOptions::DEFAULT, seg().mss(1000))
    }

    /// Starts an active connection and takes its SYN.
    pub(super) fn connect(&mut self, tcp: TcpOptions) -> Sent {
        let remote = "10.0.0.2:40000".parse().unwrap();
        let flow = self.stack.tcp_connect(remote, tcp).unwrap();
        self.flow = Some(flow);
        self.our_port = self.stack.tcp_local_addr(flow).unwrap().port();
        self.run();
        let syn = self.next();
        assert_eq!(
            syn.flags & !(crate::wire::tcp::ECE | crate::wire::tcp::CWR),
            SYN
        );
        self.iss = syn.seq;
        syn
    }

    pub(super) fn state(&mut self) -> TcpState {
        self.stack.tcp_state(self.flow.unwrap()).unwrap()
    }

    pub(super) fn write(&mut self, data: &[u8]) -> usize {
        let count = self.stack.tcp_try_write(self.flow.unwrap(), data).unwrap();
        self.run();
        count
    }

    /// All that can be read now.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(Some(frame)) = self.stack.tcp_try_recv(self.flow.unwrap()) {
            all.extend_from_slice(&frame);
        }
        self.run();
        all
    }

    pub(super) fn text(&mut self) -> String {
        String::from_utf8(self.read()).unwrap()
    }

    /// Gives the flow up and checks that no frame is lost.
    pub(super) fn finish(mut self) {
        if let Some(flow) = self.flow {
            self.stack.tcp_abort(flow);
        }
        if let Some(listener) = self.listener {
            self.stack.tcp_close_listener(listener);
        }
        self.run();
        // Time for TIME-WAIT, orphans and neighbours to end.
        self.advance(1_000_000);
        assert_eq!(self.stack.flows_in_use(), 0, "no flow is left");
        assert_eq!(self.stack.tcp.nodes.episodes.taken(), 0);
        let pool = self.stack.pool();
        assert_eq!(pool.available(), pool.capacity(), "all frames are home");
    }
}
