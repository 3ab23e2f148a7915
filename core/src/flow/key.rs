//! What names a flow: both ends' addresses and ports.

use core::fmt;
use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use siphasher::sip::SipHasher13;

/// An address as two words, most significant first; IPv4 stands IPv4-mapped
/// (RFC 4291, 2.5.5.2), so keys of both versions have one size and compare with
/// a few wide loads.
type Words = [u64; 2];

/// Above the 32 bits of an IPv4-mapped address in its second word.
const V4_MARK: u64 = 0xffff;

/// Both ends of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    remote: Words,
    local: Words,
    /// Remote port in the high half, local port in the low one.
    ports: u32,
}

const _: () = assert!(size_of::<FlowKey>() == 40);

#[inline]
const fn mapped(address: [u8; 4]) -> Words {
    [0, (V4_MARK << 32) | u32::from_be_bytes(address) as u64]
}

#[inline]
fn words_of(address: IpAddr) -> Words {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            #[expect(clippy::cast_possible_truncation, reason = "the low half")]
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

#[inline]
const fn v4_of(words: Words) -> Option<[u8; 4]> {
    if words[0] == 0 && words[1] >> 32 == V4_MARK {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let address = words[1] as u32;
        Some(address.to_be_bytes())
    } else {
        None
    }
}

fn address_of(words: Words) -> IpAddr {
    match v4_of(words) {
        Some(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        None => IpAddr::V6(Ipv6Addr::from(bytes_of(words))),
    }
}

const fn bytes_of(words: Words) -> [u8; 16] {
    (((words[0] as u128) << 64) | words[1] as u128).to_be_bytes()
}

#[inline]
const fn ports_of(local: u16, remote: u16) -> u32 {
    ((remote as u32) << 16) | local as u32
}

impl FlowKey {
    /// All zero: the key of no flow.
    pub const EMPTY: Self = Self {
        remote: [0; 2],
        local: [0; 2],
        ports: 0,
    };

    /// The key of the flow between `local` and `remote`.
    #[inline]
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            remote: words_of(remote.ip()),
            local: words_of(local.ip()),
            ports: ports_of(local.port(), remote.port()),
        }
    }

    /// The key of an IPv4 flow: addresses and ports of both ends.
    #[inline]
    #[must_use]
    pub const fn v4(local: ([u8; 4], u16), remote: ([u8; 4], u16)) -> Self {
        Self {
            remote: mapped(remote.0),
            local: mapped(local.0),
            ports: ports_of(local.1, remote.1),
        }
    }

    /// Whether it is the IPv6 flow between these addresses; `ports` as they
    /// stand in a segment of the peer's: source, then destination.
    #[inline]
    pub(crate) fn is_between(&self, local: &[u8; 16], remote: &[u8; 16], ports: u32) -> bool {
        self.ports == ports
            && self.remote == words_of(IpAddr::from(*remote))
            && self.local == words_of(IpAddr::from(*local))
    }

    /// Whether both flows are between the same two hosts.
    #[inline]
    pub(crate) fn has_ends_of(&self, other: &Self) -> bool {
        self.remote == other.remote && self.local == other.local
    }

    /// This host's end.
    #[inline]
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(address_of(self.local), self.local_port())
    }

    /// The peer's end.
    #[inline]
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(address_of(self.remote), self.remote_port())
    }

    /// This host's port.
    #[inline]
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let port = self.ports as u16;
        port
    }

    /// The peer's port.
    #[inline]
    #[must_use]
    pub const fn remote_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// This host's address as 16 bytes, IPv4-mapped for IPv4.
    #[inline]
    #[must_use]
    pub const fn local_bytes(&self) -> [u8; 16] {
        bytes_of(self.local)
    }

    /// The peer's address as 16 bytes, IPv4-mapped for IPv4.
    #[inline]
    #[must_use]
    pub const fn remote_bytes(&self) -> [u8; 16] {
        bytes_of(self.remote)
    }

    /// This host's IPv4 address.
    #[inline]
    #[must_use]
    pub fn local_v4(&self) -> Option<[u8; 4]> {
        v4_of(self.local)
    }

    /// The peer's IPv4 address.
    #[inline]
    #[must_use]
    pub fn remote_v4(&self) -> Option<[u8; 4]> {
        v4_of(self.remote)
    }

    /// Whether it is an IPv4 flow.
    #[inline]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.remote[0] == 0 && self.remote[1] >> 32 == V4_MARK
    }

    /// Its bytes, for keyed hashes: remote address, local address, remote port,
    /// local port, all big-endian.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut out = [0; 36];
        let (remote, rest) = out.split_at_mut(16);
        let (local, ports) = rest.split_at_mut(16);
        remote.copy_from_slice(&self.remote_bytes());
        local.copy_from_slice(&self.local_bytes());
        ports.copy_from_slice(&self.ports.to_be_bytes());
        out
    }
}

/// All of a key in words of 32 bits; the last has the ports, this host's in its
/// low half.
pub(crate) type KeyWords = [u32; 9];

impl FlowKey {
    /// Its words.
    #[inline]
    pub(crate) const fn to_words(self) -> KeyWords {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        const fn halves(word: u64) -> (u32, u32) {
            ((word >> 32) as u32, word as u32)
        }
        let (a, b) = halves(self.remote[0]);
        let (c, d) = halves(self.remote[1]);
        let (e, f) = halves(self.local[0]);
        let (g, h) = halves(self.local[1]);
        [a, b, c, d, e, f, g, h, self.ports]
    }

    /// The key whose [words](Self::to_words) these are.
    pub(crate) const fn from_words([a, b, c, d, e, f, g, h, ports]: KeyWords) -> Self {
        const fn whole(high: u32, low: u32) -> u64 {
            ((high as u64) << 32) | low as u64
        }
        Self {
            remote: [whole(a, b), whole(c, d)],
            local: [whole(e, f), whole(g, h)],
            ports,
        }
    }

    /// SipHash-1-3 of the key under a secret.
    #[inline]
    pub(crate) fn hash_under(&self, secret: (u64, u64)) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(secret.0, secret.1);
        if self.is_v4() {
            // The words' low halves are all that differs, and messages of both
            // versions differ in length.
            hasher.write_u64(self.remote[1] << 32 | (self.local[1] & 0xffff_ffff));
        } else {
            for word in [self.remote, self.local].as_flattened() {
                hasher.write_u64(*word);
            }
        }
        hasher.write_u32(self.ports);
        hasher.finish()
    }
}

/// An address as flows and sockets keep it: IPv4-mapped ones as IPv4, without
/// scope and flow label. There is one interface, so a link-local address needs
/// no scope.
#[inline]
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => SocketAddr::new(v6.ip().to_canonical(), v6.port()),
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local(), self.remote())
    }
}
