//! What names a flow: both ends' addresses and ports.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first twelve bytes of an IPv4-mapped address (RFC 4291, 2.5.5.2).
const V4_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Both ends of a flow. IPv4 addresses are kept IPv4-mapped, so keys of both
/// versions have one size and compare with a few wide loads.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    remote: [u8; 16],
    local: [u8; 16],
    remote_port: u16,
    local_port: u16,
}

const _: () = assert!(size_of::<FlowKey>() == 36);

const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[inline]
fn bytes_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

#[inline]
fn v4_of(bytes: &[u8; 16]) -> Option<[u8; 4]> {
    match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([*a, *b, *c, *d]),
        _ => None,
    }
}

#[inline]
fn address_of(bytes: &[u8; 16]) -> IpAddr {
    match v4_of(bytes) {
        Some(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        None => IpAddr::V6(Ipv6Addr::from(*bytes)),
    }
}

impl FlowKey {
    /// All zero: the key of no flow.
    pub const EMPTY: Self = Self {
        remote: [0; 16],
        local: [0; 16],
        remote_port: 0,
        local_port: 0,
    };

    /// The key of the flow between `local` and `remote`.
    #[inline]
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            remote: bytes_of(remote.ip()),
            local: bytes_of(local.ip()),
            remote_port: remote.port(),
            local_port: local.port(),
        }
    }

    /// The key of an IPv4 flow: addresses and ports of both ends.
    #[inline]
    #[must_use]
    pub const fn v4(local: ([u8; 4], u16), remote: ([u8; 4], u16)) -> Self {
        Self {
            remote: mapped(remote.0),
            local: mapped(local.0),
            remote_port: remote.1,
            local_port: local.1,
        }
    }

    /// This host's end.
    #[inline]
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(address_of(&self.local), self.local_port)
    }

    /// The peer's end.
    #[inline]
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(address_of(&self.remote), self.remote_port)
    }

    /// This host's port.
    #[inline]
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.local_port
    }

    /// The peer's port.
    #[inline]
    #[must_use]
    pub const fn remote_port(&self) -> u16 {
        self.remote_port
    }

    /// This host's address as 16 bytes, IPv4-mapped for IPv4.
    #[inline]
    #[must_use]
    pub const fn local_bytes(&self) -> [u8; 16] {
        self.local
    }

    /// The peer's address as 16 bytes, IPv4-mapped for IPv4.
    #[inline]
    #[must_use]
    pub const fn remote_bytes(&self) -> [u8; 16] {
        self.remote
    }

    /// This host's IPv4 address.
    #[inline]
    #[must_use]
    pub fn local_v4(&self) -> Option<[u8; 4]> {
        v4_of(&self.local)
    }

    /// The peer's IPv4 address.
    #[inline]
    #[must_use]
    pub fn remote_v4(&self) -> Option<[u8; 4]> {
        v4_of(&self.remote)
    }

    /// Whether it is an IPv4 flow.
    #[inline]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.remote.starts_with(&V4_PREFIX)
    }

    /// Its bytes, for keyed hashes: remote address, local address, remote port,
    /// local port, all big-endian.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut out = [0; 36];
        let (remote, rest) = out.split_at_mut(16);
        let (local, ports) = rest.split_at_mut(16);
        remote.copy_from_slice(&self.remote);
        local.copy_from_slice(&self.local);
        let [a, b] = self.remote_port.to_be_bytes();
        let [c, d] = self.local_port.to_be_bytes();
        ports.copy_from_slice(&[a, b, c, d]);
        out
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local(), self.remote())
    }
}
