//! Between the script's packets and those on the wire: addresses, checksums, and
//! the numbers that only one side chooses.

use std::net::Ipv4Addr;

use pollwire::offload::checksum::Sum;
use pollwire::wire::tcp::SYN;

use super::event::{Opt, Packet};

/// The stack's address and its peer's.
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(crate) const PEERS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Added to the peer's sequence numbers, so that they soon wrap around.
const PEER_SHIFT: u32 = 0xffff_fe00;
const IPV4: usize = 20;
const TCP: usize = 20;
const PROTOCOL_TCP: u8 = 6;

/// A connection of the script.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) peer_port: u16,
    /// Zero until the stack has chosen it.
    pub(crate) our_port: u16,
    /// Live minus script, of our sequence numbers.
    local_shift: Option<u32>,
    /// Live minus script, of our timestamps.
    timestamp_shift: Option<u32>,
    /// The peer's SYN may have begun another connection.
    syn_came: bool,
}

/// A segment of the stack's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) options: Vec<Opt>,
    pub(crate) len: u32,
    pub(crate) ecn: u8,
}

impl Flow {
    pub(crate) fn new(peer_port: u16, our_port: u16) -> Self {
        Self {
            peer_port,
            our_port,
            ..Self::default()
        }
    }

    /// The next SYN of the stack's brings new numbers.
    pub(crate) fn renew(&mut self) {
        self.local_shift = None;
        self.timestamp_shift = None;
    }

    /// The script's packet as the stack is to get it.
    pub(crate) fn build(&mut self, packet: &Packet) -> Vec<u8> {
        self.syn_came |= packet.flags & SYN != 0;
        let shift = self.local_shift.unwrap_or(0);
        let options = self.build_options(packet.options.as_deref().unwrap_or_default());
        let header = u8::try_from(TCP + options.len()).unwrap_or(60);
        let mut tcp = Vec::new();
        tcp.extend(self.peer_port.to_be_bytes());
        tcp.extend(self.our_port.to_be_bytes());
        tcp.extend(packet.seq.wrapping_add(PEER_SHIFT).to_be_bytes());
        let ack = packet.ack.map_or(0, |ack| ack.wrapping_add(shift));
        tcp.extend(ack.to_be_bytes());
        tcp.extend([(header / 4) << 4, packet.flags]);
        tcp.extend(packet.window.unwrap_or(0).to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(std::iter::repeat_n(0, packet.len as usize));
        let length = u16::try_from(tcp.len()).unwrap_or(u16::MAX);
        let pseudo = Sum::pseudo_v4(PEERS.octets(), OURS.octets(), PROTOCOL_TCP, length);
        let check = pseudo.add_bytes(&tcp).finish();
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        [ip_header(length, packet.ecn.unwrap_or(0)), tcp].concat()
    }

    fn build_options(&self, options: &[Opt]) -> Vec<u8> {
        let mut out = Vec::new();
        let local = self.local_shift.unwrap_or(0);
        for option in options {
            match option {
                Opt::Nop => out.push(1),
                Opt::End => out.push(0),
                Opt::Mss(mss) => {
                    out.extend([2, 4]);
                    out.extend(mss.to_be_bytes());
                }
                Opt::WindowScale(shift) => out.extend([3, 3, *shift]),
                Opt::SackPermitted => out.extend([4, 2]),
                Opt::Sack(blocks) => {
                    out.extend([5, u8::try_from(2 + 8 * blocks.len()).unwrap_or(0)]);
                    for (left, right) in blocks {
                        out.extend(left.wrapping_add(local).to_be_bytes());
                        out.extend(right.wrapping_add(local).to_be_bytes());
                    }
                }
                Opt::Timestamps { value, echo } => {
                    let shift = self.timestamp_shift.unwrap_or(0);
                    out.extend([8, 10]);
                    out.extend(value.to_be_bytes());
                    out.extend(echo.wrapping_add(shift).to_be_bytes());
                }
            }
        }
        while out.len() % 4 != 0 {
            out.push(0);
        }
        out
    }

    /// Turns a live segment's numbers into the script's. The first SYN of
    /// a connection fixes the difference to what the script expects.
    pub(crate) fn translate(&mut self, segment: &mut Segment, expected: &Packet) {
        let fresh = self.local_shift.is_none() || self.syn_came;
        if segment.flags & SYN != 0 && fresh {
            self.syn_came = false;
            self.local_shift = Some(segment.seq.wrapping_sub(expected.seq));
        }
        segment.seq = segment.seq.wrapping_sub(self.local_shift.unwrap_or(0));
        segment.ack = segment.ack.wrapping_sub(PEER_SHIFT);
        for option in &mut segment.options {
            match option {
                Opt::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = left.wrapping_sub(PEER_SHIFT);
                        *right = right.wrapping_sub(PEER_SHIFT);
                    }
                }
                Opt::Timestamps { value, .. } => {
                    let live = *value;
                    let wanted =
                        expected
                            .options
                            .iter()
                            .flatten()
                            .find_map(|option| match option {
                                Opt::Timestamps { value, .. } => Some(*value),
                                _ => None,
                            });
                    let shift = *self
                        .timestamp_shift
                        .get_or_insert(live.wrapping_sub(wanted.unwrap_or(0)));
                    *value = live.wrapping_sub(shift);
                }
                _ => {}
            }
        }
    }
}

fn ip_header(payload: u16, ecn: u8) -> Vec<u8> {
    let mut ip = vec![0x45, ecn];
    ip.extend((payload + 20).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
    ip.extend(PEERS.octets());
    ip.extend(OURS.octets());
    let check = Sum::of(&ip).finish();
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    ip
}

/// Reads a packet of the stack's. What is wrong with it comes back as a
/// sentence.
pub(crate) fn read(packet: &[u8]) -> Result<Segment, String> {
    let bad = |what: &str| Err(format!("the stack sent a packet with {what}"));
    let Some((ip, tcp)) = packet.split_at_checked(IPV4) else {
        return bad("no IP header");
    };
    if ip[0] != 0x45 || !Sum::of(ip).is_valid() {
        return bad("a bad IP header");
    }
    if usize::from(u16::from_be_bytes([ip[2], ip[3]])) != packet.len() {
        return bad("a bad IP length");
    }
    if ip[9] != PROTOCOL_TCP {
        return Err(format!("the stack sent a packet of IP protocol {}", ip[9]));
    }
    let (src, dst) = (
        [ip[12], ip[13], ip[14], ip[15]],
        [ip[16], ip[17], ip[18], ip[19]],
    );
    if src != OURS.octets() || dst != PEERS.octets() {
        return bad("wrong addresses");
    }
    let length = u16::try_from(tcp.len()).unwrap_or(u16::MAX);
    let pseudo = Sum::pseudo_v4(src, dst, PROTOCOL_TCP, length);
    let Some(fixed) = tcp.first_chunk::<TCP>() else {
        return bad("no TCP header");
    };
    if !pseudo.add_bytes(tcp).is_valid() {
        return bad("a bad TCP checksum");
    }
    let header = usize::from(fixed[12] >> 4) * 4;
    let (Some(options), Some(data)) = (tcp.get(TCP..header), tcp.get(header..)) else {
        return bad("a bad TCP header length");
    };
    let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
    Ok(Segment {
        src_port: half(0),
        dst_port: half(2),
        flags: fixed[13],
        seq: word(4),
        ack: word(8),
        window: half(14),
        options: read_options(options)?,
        len: u32::try_from(data.len()).unwrap_or(u32::MAX),
        ecn: ip[1] & 3,
    })
}

fn read_options(mut rest: &[u8]) -> Result<Vec<Opt>, String> {
    let mut options = Vec::new();
    while let Some((&kind, behind)) = rest.split_first() {
        if kind < 2 {
            options.push(if kind == 1 { Opt::Nop } else { Opt::End });
            rest = behind;
            continue;
        }
        let len = usize::from(behind.first().copied().unwrap_or(0));
        let body = rest
            .get(2..len)
            .ok_or("the stack sent a broken TCP option")?;
        rest = rest.get(len..).unwrap_or_default();
        let word = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        options.push(match (kind, body) {
            (2, [a, b]) => Opt::Mss(u16::from_be_bytes([*a, *b])),
            (3, [shift]) => Opt::WindowScale(*shift),
            (4, []) => Opt::SackPermitted,
            (5, blocks) => Opt::Sack(
                (0..blocks.len() / 8)
                    .map(|index| (word(index * 8), word(index * 8 + 4)))
                    .collect(),
            ),
            (8, _) => Opt::Timestamps {
                value: word(0),
                echo: word(4),
            },
            _ => return Err(format!("the stack sent TCP option {kind}")),
        });
    }
    Ok(options)
}
