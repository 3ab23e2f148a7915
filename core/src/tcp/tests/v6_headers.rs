//! What IPv6's header says of TCP's segments: the flow label (RFC 6437), and the
//! hop limit that routers advertise (RFC 4861, 6.3.4).

use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use crate::iface::v6_tests::{FAR, GATEWAY, Host, OUR_IP, Packet, config, ip, mac, router};
use crate::tcp::isn::Secrets;
use crate::tcp::template::Template;
use crate::wire::ipv6::ALL_NODES;
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN};
use crate::{Config, Counter, FlowId, FlowKey, ListenOptions, Random, TcpOptions, TcpState};

const PEER_PORT: u16 = 8080;
const PEER_ISS: u32 = 1000;

/// A host that hears routers, and neighbour 9.
struct Link {
    host: Host,
    /// Our port and initial sequence number, once seen.
    port: u16,
    iss: u32,
    timed: bool,
}

impl Link {
    fn new() -> Self {
        Self::with(&config())
    }

    fn with(config: &Config) -> Self {
        let mut config = config.clone();
        config.ipv6.as_mut().unwrap().slaac = true;
        let mut host = Host::at_boot(&config);
        host.advance(6000);
        host.sent();
        Self {
            host,
            port: 80,
            iss: 0,
            timed: true,
        }
    }

    /// A segment of the peer's to `port`, numbers relative.
    fn segment_to(&mut self, port: u16, seq: u32, ack: u32, flags: u8, data: &[u8]) {
        let mut options = Vec::new();
        if flags & SYN != 0 {
            options.extend([2, 4, 0x05, 0xa0]);
        }
        if self.timed {
            options.extend([1, 1, 8, 10]);
            options.extend((5000 + seq).to_be_bytes());
            options.extend(0_u32.to_be_bytes());
        }
        let mut body = PEER_PORT.to_be_bytes().to_vec();
        body.extend(port.to_be_bytes());
        body.extend(PEER_ISS.wrapping_add(seq).to_be_bytes());
        body.extend(self.iss.wrapping_add(ack).to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        body.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(options);
        body.extend(data);
        let mut packet = Packet::new(6, &body);
        let check = packet.pseudo(body.len()).add_bytes(&body).finish();
        packet.body[16..18].copy_from_slice(&check.to_be_bytes());
        self.host.give(packet);
    }

    fn segment(&mut self, seq: u32, ack: u32, flags: u8, data: &[u8]) {
        self.segment_to(self.port, seq, ack, flags, data);
    }

    /// The segments that the host sent.
    fn sent(&mut self) -> Vec<Packet> {
        let mut sent = self.host.sent();
        sent.retain(|packet| packet.next == 6);
        for packet in &sent {
            let sum = packet.pseudo(packet.body.len()).add_bytes(&packet.body);
            assert!(sum.is_valid(), "checksum");
        }
        sent
    }

    /// The only one.
    #[track_caller]
    fn sent_one(&mut self) -> Packet {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    /// A connection to the peer, from our side.
    fn connect(&mut self) -> (FlowId, Vec<Packet>) {
        self.host.meet(9);
        let peer = SocketAddr::from((ip(9), PEER_PORT));
        let options = TcpOptions::DEFAULT.nodelay();
        let flow = self.host.stack.tcp_connect(peer, options).unwrap();
        let syn = self.sent_one();
        self.port = u16::from_be_bytes([syn.body[0], syn.body[1]]);
        self.iss = u32::from_be_bytes(syn.body[4..8].try_into().unwrap());
        self.segment(0, 1, SYN | ACK, &[]);
        let mut sent = vec![syn];
        sent.extend(self.sent());
        (flow, sent)
    }

    fn write(&mut self, flow: FlowId, data: &[u8]) -> Vec<Packet> {
        self.host.stack.tcp_try_write(flow, data).unwrap();
        self.sent()
    }

    /// Router 20 advertises this hop limit and, unless it is 0, this MTU.
    fn advertise(&mut self, hop_limit: u8, mtu: u32) {
        let mut bytes = vec![134, 0, 0, 0, hop_limit, 0];
        bytes.extend(1800_u16.to_be_bytes());
        bytes.extend([0; 8]);
        if mtu > 0 {
            bytes.extend([5, 1, 0, 0]);
            bytes.extend(mtu.to_be_bytes());
        }
        self.host
            .give(Packet::icmp(&bytes).src(router(20)).dst(ALL_NODES));
    }

    fn finish(mut self, flow: FlowId) {
        self.host.stack.tcp_abort(flow);
        self.host.advance(70_000);
        self.host.finish();
    }
}

fn label(packet: &Packet) -> u32 {
    packet.first & 0xf_ffff
}

fn flags(packet: &Packet) -> u8 {
    packet.body[13]
}

/// The labels of all packets, which are to be one and not zero.
#[track_caller]
fn one_label(packets: &[Packet]) -> u32 {
    let labels: BTreeSet<u32> = packets.iter().map(label).collect();
    assert!(labels.len() == 1 && !labels.contains(&0), "{labels:x?}");
    assert!(packets.iter().all(|packet| packet.first >> 20 == 0x600));
    label(&packets[0])
}

#[test]
fn rfc6437_3_all_segments_of_a_flow_have_one_label_that_is_not_zero() {
    for timed in [true, false] {
        let mut link = Link::new();
        link.timed = timed;
        let (flow, mut all) = link.connect();
        assert_eq!(flags(&all[0]), SYN);
        // Data in runs and alone, acknowledgements with data and bare.
        all.extend(link.write(flow, &[1; 9000]));
        link.segment(1, 9001, ACK, &[]);
        all.extend(link.sent());
        link.segment(1, 9001, ACK | PSH, b"data");
        all.extend(link.write(flow, b"answer"));
        link.segment(5, 9007, ACK | PSH, b"data");
        link.host.advance(1000);
        all.extend(link.sent());
        // Out of order, so with SACK's blocks where there are any.
        link.segment(100, 9007, ACK | PSH, b"data");
        all.extend(link.sent());
        // A retransmission, and another, after neighbours changed.
        all.extend(link.write(flow, b"lost"));
        link.host.advance(500);
        link.host.stack.iface.invalidate();
        link.host.advance(1000);
        assert!(link.host.count(Counter::TcpRetransmits) > 0);
        all.extend(link.sent());
        // The end, and what TIME-WAIT answers.
        link.segment(9, 9011, ACK | PSH, &[2; 95]);
        let mut buffer = [0; 200];
        let read = link.host.stack.tcp_try_read(flow, &mut buffer);
        assert_eq!(read, Ok(103));
        link.host.stack.tcp_close(flow);
        all.extend(link.sent());
        link.segment(104, 9012, ACK | FIN, &[]);
        all.extend(link.sent());
        assert_eq!(link.host.stack.time_waits(), 1);
        link.segment(104, 9012, ACK | FIN, &[]);
        let last = link.sent_one();
        assert_eq!(flags(&last), ACK);
        all.push(last);
        assert!(all.len() > 15, "{}", all.len());
        one_label(&all);
        link.host.advance(70_000);
        link.host.finish();
    }
}

#[test]
fn rfc6437_3_of_a_handshake_from_the_other_side_too() {
    let mut link = Link::new();
    link.host.meet(9);
    let local = SocketAddr::from((OUR_IP, 80));
    let options = ListenOptions::DEFAULT;
    let listener = link.host.stack.tcp_listen(local, options).unwrap();
    link.segment(0, 0, SYN, &[]);
    let mut all = link.sent();
    assert_eq!(flags(&all[0]), SYN | ACK);
    // The record's answer again, now by the long way: the neighbour is forgotten.
    link.host.stack.iface.invalidate();
    link.host.advance(1100);
    all.extend(link.sent());
    assert_eq!(all.len(), 2);
    link.iss = u32::from_be_bytes(all[0].body[4..8].try_into().unwrap());
    link.segment(1, 1, ACK, &[]);
    let flow = link.host.stack.tcp_try_accept(listener).unwrap();
    all.extend(link.write(flow, &[1; 100]));
    link.host.stack.tcp_abort(flow);
    all.extend(link.sent());
    assert_eq!(flags(all.last().unwrap()) & RST, RST);
    one_label(&all);
    link.host.stack.tcp_close_listener(listener);
    link.host.finish();
}

#[test]
fn rfc6437_3_a_segment_that_waited_for_its_neighbour_has_the_label_too() {
    let mut link = Link::new();
    let peer = SocketAddr::from((ip(9), PEER_PORT));
    let flow = (link.host.stack.tcp_connect(peer, TcpOptions::DEFAULT)).unwrap();
    assert!(link.sent().is_empty());
    link.host.answer(9);
    let mut all = link.sent();
    link.host.advance(1100);
    all.extend(link.sent());
    assert_eq!(all.len(), 2, "the SYN, and again");
    one_label(&all);
    link.finish(flow);
}

#[test]
fn rfc6437_3_flows_have_labels_of_their_own() {
    let mut link = Link::new();
    let mut labels = BTreeSet::new();
    // Among them such as take the template of the flow before.
    for _ in 0..8 {
        let (flow, sent) = link.connect();
        labels.insert(one_label(&sent));
        link.host.stack.tcp_abort(flow);
        let reset = link.sent();
        assert!(labels.contains(&one_label(&reset)));
    }
    // Resets for flows that do not exist, too.
    for port in 1..=8 {
        link.segment_to(port, 1, 1, ACK, &[]);
        labels.insert(one_label(&[link.sent_one()]));
    }
    assert_eq!(labels.len(), 16);
    link.host.finish();
}

#[test]
fn rfc6437_3_labels_are_spread_evenly_and_depend_on_a_secret_of_their_own() {
    let mut random = Random::new([3; 32]);
    let secrets = Secrets::new(|| random.next_u64());
    let others = Secrets::new(|| random.next_u64());
    let key = |port: u16| {
        FlowKey::new(
            SocketAddr::from((OUR_IP, 80)),
            SocketAddr::from((ip(9), port)),
        )
    };
    let (mut buckets, mut same) = ([0; 16], 0);
    for port in 0..16_000 {
        let label = secrets.flow_label(&key(port));
        assert!((1..=0xf_ffff).contains(&label));
        assert_eq!(label, secrets.flow_label(&key(port)));
        buckets[label as usize >> 16] += 1;
        same += u32::from(label == others.flow_label(&key(port)));
    }
    assert!(
        buckets.iter().all(|&count| (850..1150).contains(&count)),
        "{buckets:?}"
    );
    assert!(same < 5);
    let v4 = |host| SocketAddr::from(([10, 0, 0, host], 80));
    assert_eq!(secrets.flow_label(&FlowKey::new(v4(1), v4(2))), 0);
}

#[test]
fn rfc3168_5_marks_and_labels_share_a_byte() {
    let key = FlowKey::new(
        SocketAddr::from((OUR_IP, 80)),
        SocketAddr::from((ip(9), PEER_PORT)),
    );
    let plain = Template::new([0; 14], &key, 64, 1);
    let word = |template: &Template| template.bytes[14..18].to_vec();
    assert_eq!(word(&plain), [0x60, 0, 0, 0]);
    for label in [1, 0x1_0000, 0xf_ffff, 0xa_bcde] {
        let mut template = plain.for_flow(&key, label);
        let [_, high, middle, low] = label.to_be_bytes();
        assert_eq!(word(&template), [0x60, high, middle, low]);
        for codepoint in [2, 1, 3, 0] {
            template.set_ecn(codepoint);
            let marked = [0x60, codepoint << 4 | high, middle, low];
            assert_eq!(word(&template), marked);
            assert!(template.is_v6());
            // Another flow's takes the place of this one's.
            let other = word(&template.for_flow(&key, 0xc_cccc));
            assert_eq!(other, [0x60, codepoint << 4 | 0xc, 0xcc, 0xcc]);
        }
    }
}

#[test]
fn rfc4861_6_3_4_the_advertised_hop_limit_is_that_of_segments() {
    let mut link = Link::new();
    let hops = |sent: &[Packet]| -> Vec<u8> { sent.iter().map(|packet| packet.hops).collect() };
    let (flow, sent) = link.connect();
    assert!(hops(&sent).iter().all(|&hops| hops == 64));
    let before = one_label(&sent);
    link.advertise(77, 0);
    // Flows that are open, whose headers are made.
    let sent = link.write(flow, b"data");
    assert_eq!(hops(&sent), [77]);
    assert_eq!(one_label(&sent), before, "the label stays");
    // Answers to echo requests.
    link.host.give(Packet::icmp(&[128, 0, 0, 0, 0, 1, 0, 2]));
    assert_eq!(hops(&link.host.sent_icmp(129)), [77]);
    // Resets, and the records of handshakes.
    link.segment_to(99, 1, 1, ACK, &[]);
    assert_eq!(hops(&link.sent()), [77]);
    let local = SocketAddr::from((OUR_IP, 80));
    let options = ListenOptions::DEFAULT;
    let listener = link.host.stack.tcp_listen(local, options).unwrap();
    link.segment_to(80, 0, 0, SYN, &[]);
    assert_eq!(hops(&link.sent()), [77]);
    link.host.stack.tcp_close_listener(listener);
    link.sent();
    // "Cur Hop Limit [...] A value of zero means unspecified (by this router)";
    // and one so low that it cuts this host off is not believed.
    for ignored in [0, 1, 31] {
        link.advertise(ignored, 0);
        assert_eq!(hops(&link.write(flow, b"data")), [77]);
    }
    link.advertise(255, 0);
    assert_eq!(hops(&link.write(flow, b"data")), [255]);
    // The same again voids no headers.
    let generation = link.host.stack.iface.generation();
    link.advertise(255, 0);
    assert_eq!(link.host.stack.iface.generation(), generation);
    link.finish(flow);
}

#[test]
fn rfc4861_6_3_4_datagrams_whose_headers_are_kept_follow_too() {
    let mut link = Link::new();
    link.host.meet(9);
    let id = link.host.stack.udp_bind((OUR_IP, 7).into()).unwrap();
    let send = |link: &mut Link| {
        let to = SocketAddr::from((ip(9), 9));
        let frame = link.host.packet(1).freeze();
        link.host.stack.udp_try_send_frame(id, frame, to).unwrap();
        let sent = link.host.sent();
        assert_eq!(sent.len(), 1);
        sent[0].hops
    };
    for _ in 0..4 {
        assert_eq!(send(&mut link), 64);
    }
    link.advertise(99, 0);
    for _ in 0..4 {
        assert_eq!(send(&mut link), 99);
    }
    link.host.finish();
}

#[test]
fn rfc4861_6_3_4_the_advertised_mtu_is_that_of_segments() {
    let mut link = Link::new();
    let (flow, _) = link.connect();
    let longest = |sent: &[Packet]| sent.iter().map(|packet| packet.body.len() + 40).max();
    let sent = link.write(flow, &[1; 5000]);
    assert_eq!(longest(&sent), Some(1500));
    link.segment(1, 5001, ACK, &[]);
    link.sent();
    link.advertise(0, 1400);
    let sent = link.write(flow, &[1; 5000]);
    assert_eq!(longest(&sent), Some(1400));
    assert_eq!(link.host.stack.tcp_state(flow), Ok(TcpState::Established));
    link.finish(flow);
}

/// RFC 6437, 3, on who receives: a label says nothing of whether a segment is of
/// the flow, nor has it to stay what it was.
#[test]
fn rfc6437_3_the_peers_label_may_change() {
    let mut link = Link::new();
    let (flow, _) = link.connect();
    let mut seq = 1;
    for first in [
        0x6000_0000,
        0x6000_0001,
        0x600f_ffff,
        0x6001_2345,
        0x6000_0000,
    ] {
        // The first one with that label has its front remembered, and the others
        // are known by it.
        for round in 0..3_u32 {
            let mut body = PEER_PORT.to_be_bytes().to_vec();
            body.extend(link.port.to_be_bytes());
            body.extend(PEER_ISS.wrapping_add(seq).to_be_bytes());
            body.extend(link.iss.wrapping_add(1).to_be_bytes());
            body.extend([0x80, ACK | PSH, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10]);
            body.extend((6000 + seq).to_be_bytes());
            body.extend(0_u32.to_be_bytes());
            body.extend([round as u8; 10]);
            // One that is not the flow's is not taken for it, whatever its label.
            for source in [ip(10), ip(9)] {
                let mut packet = Packet::new(6, &body).src(source);
                packet.first = first;
                let check = packet.pseudo(body.len()).add_bytes(&body).finish();
                packet.body[16..18].copy_from_slice(&check.to_be_bytes());
                link.host.give(packet);
            }
            let head = link.host.stack.tcp.last_head;
            assert_eq!(head[14..18], first.to_be_bytes());
            let mut buffer = [0; 100];
            let read = link.host.stack.tcp_try_read(flow, &mut buffer);
            assert_eq!((read, buffer[0]), (Ok(10), round as u8));
            seq += 10;
        }
    }
    link.finish(flow);
}

/// Behind a router, all is the same.
#[test]
fn rfc6437_3_off_the_link() {
    let mut link = Link::new();
    let far = SocketAddr::from((FAR, PEER_PORT));
    let flow = (link.host.stack.tcp_connect(far, TcpOptions::DEFAULT)).unwrap();
    assert!(link.sent().is_empty());
    let flags = [0xe0, 0, 0, 0];
    let mut answer = vec![136, 0, 0, 0];
    answer.extend(flags);
    answer.extend(GATEWAY.octets());
    answer.extend([2, 1]);
    answer.extend(mac(0xfe).0);
    link.host.give(Packet::icmp(&answer).src(GATEWAY));
    let mut all = link.sent();
    link.host.advance(1100);
    all.extend(link.sent());
    assert_eq!(all.len(), 2);
    one_label(&all);
    link.finish(flow);
}
