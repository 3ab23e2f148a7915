//! DHCP messages (RFC 2131, 2; RFC 2132; RFC 3442).
//!
//! What this host has no use for is skipped. Options that were split (RFC 3396)
//! or moved into the header's file and server name fields (RFC 2132, 9.3) are
//! put together.

use core::net::Ipv4Addr;

use arrayvec::ArrayVec;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MacAddr;
use crate::iface::Ipv4Cidr;

/// The port that servers and relays listen on.
pub const SERVER_PORT: u16 = 67;
/// The port that clients listen on.
pub const CLIENT_PORT: u16 = 68;
/// Most addresses of one kind, and most domain names, that are kept.
pub const MAX_LIST: usize = 4;
/// Most classless routes that are kept.
pub const MAX_ROUTES: usize = 16;
/// Bytes of the longest host or domain name, and of the longest text.
pub const MAX_NAME: usize = 255;
/// Bytes of the longest message that [`DhcpMessage::emit`] makes.
pub const MAX_MESSAGE: usize = 1280;

/// RFC 1497: "99.130.83.99".
const MAGIC: u32 = 0x6382_5363;
/// BOOTP's least: shorter messages are dropped by some relays.
const MIN_MESSAGE: usize = 300;
const ETHERNET: u8 = 1;
const BROADCAST: u16 = 0x8000;
/// Most bytes of one option, put together.
const MAX_OPTION: usize = 512;

/// Numbers of options (RFC 2132, RFC 3442).
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTERS: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const WANTED: u8 = 55;
    pub(super) const TEXT: u8 = 56;
    pub(super) const MAX_SIZE: u8 = 57;
    pub(super) const RENEWAL: u8 = 58;
    pub(super) const REBINDING: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const ROUTES: u8 = 121;
    pub(super) const END: u8 = 255;
}

/// What a client asks for. RFC 3442 wants classless routes before routers.
const WANTED: [u8; 9] = [
    option::MASK,
    option::ROUTES,
    option::ROUTERS,
    option::DNS,
    option::DOMAIN,
    option::MTU,
    option::LEASE,
    option::RENEWAL,
    option::REBINDING,
];

/// What a message does (RFC 2132, 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DhcpKind {
    /// Who has an address for me?
    Discover = 1,
    /// I have this one.
    Offer,
    /// I take it; or: I want to keep it.
    Request,
    /// Somebody else has it.
    Decline,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
    /// I do not need it any more.
    Release,
    /// Tell me about the network; I have an address.
    Inform,
}

impl DhcpKind {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }

    /// Whether a server sends it.
    #[must_use]
    pub const fn is_reply(self) -> bool {
        matches!(self, Self::Offer | Self::Ack | Self::Nak)
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    op: u8,
    hardware: u8,
    hardware_len: u8,
    hops: u8,
    xid: U32,
    secs: U16,
    flags: U16,
    client: [u8; 4],
    yours: [u8; 4],
    server: [u8; 4],
    relay: [u8; 4],
    mac: MacAddr,
    padding: [u8; 10],
    server_name: [u8; 64],
    file: [u8; 128],
    magic: U32,
}

const _: () = assert!(size_of::<Header>() == 240);

/// A name or text: bytes, not all of which need be printable.
pub type Text = ArrayVec<u8, MAX_NAME>;

/// A message. Options that are absent are `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpMessage {
    /// What it does; a reply when a server sends that.
    pub kind: DhcpKind,
    /// Chosen by the client, repeated by the server.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client can only receive broadcasts.
    pub broadcast: bool,
    /// The client's address, if it has one that it answers ARP for.
    pub client: Ipv4Addr,
    /// The address that the server gives.
    pub yours: Ipv4Addr,
    /// The client's Ethernet address.
    pub mac: MacAddr,
    /// The address that the client wants, or declines.
    pub requested: Option<Ipv4Addr>,
    /// Who the server is.
    pub server: Option<Ipv4Addr>,
    /// The subnet mask's prefix length.
    pub prefix: Option<u8>,
    /// Routers, the best first.
    pub routers: ArrayVec<Ipv4Addr, MAX_LIST>,
    /// DNS servers, the best first.
    pub dns: ArrayVec<Ipv4Addr, MAX_LIST>,
    /// Classless routes; a router that is unspecified means the link. They take
    /// the place of the routers.
    pub routes: ArrayVec<(Ipv4Cidr, Ipv4Addr), MAX_ROUTES>,
    /// The client's name.
    pub host_name: Text,
    /// The client's domain.
    pub domain: Text,
    /// What a server has to say to people.
    pub text: Text,
    /// The link's MTU.
    pub mtu: Option<u16>,
    /// How long the address is the client's, in seconds; all ones for ever.
    pub lease: Option<u32>,
    /// When to ask the server for more time, in seconds: T1.
    pub renewal: Option<u32>,
    /// When to ask any server: T2.
    pub rebinding: Option<u32>,
}

impl DhcpMessage {
    /// A message without options.
    #[must_use]
    pub const fn new(kind: DhcpKind, xid: u32, mac: MacAddr) -> Self {
        Self {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            client: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::UNSPECIFIED,
            mac,
            requested: None,
            server: None,
            prefix: None,
            routers: ArrayVec::new_const(),
            dns: ArrayVec::new_const(),
            routes: ArrayVec::new_const(),
            host_name: ArrayVec::new_const(),
            domain: ArrayVec::new_const(),
            text: ArrayVec::new_const(),
            mtu: None,
            lease: None,
            renewal: None,
            rebinding: None,
        }
    }

    /// Parses a message of the kind that the header says; `None` when it is
    /// none, or not for Ethernet.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
        let areas = Areas::new(header, rest);
        let kind = DhcpKind::of(*areas.find(option::KIND).first()?)?;
        let sound = header.magic.get() == MAGIC
            && header.op == 1 + u8::from(kind.is_reply())
            && header.hardware == ETHERNET
            && header.hardware_len == 6;
        if !sound {
            return None;
        }
        Some(Self {
            kind,
            xid: header.xid.get(),
            secs: header.secs.get(),
            broadcast: header.flags.get() & BROADCAST != 0,
            client: header.client.into(),
            yours: header.yours.into(),
            mac: header.mac,
            requested: areas.address(option::REQUESTED),
            server: areas.address(option::SERVER),
            prefix: areas.address(option::MASK).and_then(prefix_of),
            routers: areas.addresses(option::ROUTERS),
            dns: areas.addresses(option::DNS),
            routes: routes_of(&areas.find(option::ROUTES)),
            host_name: areas.text(option::HOST_NAME),
            domain: areas.text(option::DOMAIN),
            text: areas.text(option::TEXT),
            mtu: areas
                .find(option::MTU)
                .first_chunk()
                .map(|two| u16::from_be_bytes(*two)),
            lease: areas.seconds(option::LEASE),
            renewal: areas.seconds(option::RENEWAL),
            rebinding: areas.seconds(option::REBINDING),
        })
    }

    /// Its bytes. A client's message also names the client (RFC 2132, 9.14),
    /// the options that it wants, and the longest message that it takes: `mtu`
    /// is the link's.
    #[must_use]
    pub fn emit(&self, mtu: u16) -> ArrayVec<u8, MAX_MESSAGE> {
        let header = Header {
            op: 1 + u8::from(self.kind.is_reply()),
            hardware: ETHERNET,
            hardware_len: 6,
            hops: 0,
            xid: U32::new(self.xid),
            secs: U16::new(self.secs),
            flags: U16::new(if self.broadcast { BROADCAST } else { 0 }),
            client: self.client.octets(),
            yours: self.yours.octets(),
            server: [0; 4],
            relay: [0; 4],
            mac: self.mac,
            padding: [0; 10],
            server_name: [0; 64],
            file: [0; 128],
            magic: U32::new(MAGIC),
        };
        let mut out = Options(ArrayVec::new());
        out.raw(header.as_bytes());
        out.put(option::KIND, &[self.kind as u8]);
        if !self.kind.is_reply() {
            let [a, b, c, d, e, f] = self.mac.0;
            out.put(option::CLIENT, &[ETHERNET, a, b, c, d, e, f]);
        }
        if matches!(
            self.kind,
            DhcpKind::Discover | DhcpKind::Request | DhcpKind::Inform
        ) {
            // RFC 2132, 9.10: "The minimum legal value is 576 octets."
            out.put(option::MAX_SIZE, &mtu.max(576).to_be_bytes());
            out.put(option::WANTED, &WANTED);
        }
        out.address(option::REQUESTED, self.requested);
        out.address(option::SERVER, self.server);
        out.address(option::MASK, self.prefix.map(mask_of));
        out.addresses(option::ROUTERS, &self.routers);
        out.addresses(option::DNS, &self.dns);
        out.routes(&self.routes);
        out.put(option::HOST_NAME, &self.host_name);
        out.put(option::DOMAIN, &self.domain);
        out.put(option::TEXT, &self.text);
        if let Some(mtu) = self.mtu {
            out.put(option::MTU, &mtu.to_be_bytes());
        }
        for (code, seconds) in [
            (option::LEASE, self.lease),
            (option::RENEWAL, self.renewal),
            (option::REBINDING, self.rebinding),
        ] {
            if let Some(seconds) = seconds {
                out.put(code, &seconds.to_be_bytes());
            }
        }
        out.raw(&[option::END]);
        while out.0.len() < MIN_MESSAGE {
            out.raw(&[option::PAD]);
        }
        out.0
    }
}

/// Where options lie, in the order in which they are read (RFC 3396, 5).
struct Areas<'a>([&'a [u8]; 3]);

impl<'a> Areas<'a> {
    fn new(header: &'a Header, options: &'a [u8]) -> Self {
        let overload = Self([options, &[], &[]]).find(option::OVERLOAD);
        let overload = overload.first().copied().unwrap_or(0);
        let file: &[u8] = if overload & 1 != 0 { &header.file } else { &[] };
        let name: &[u8] = if overload & 2 != 0 {
            &header.server_name
        } else {
            &[]
        };
        Self([options, file, name])
    }

    /// All parts of option `wanted` put together; empty when there is none.
    /// Bytes beyond the longest option are left out.
    fn find(&self, wanted: u8) -> ArrayVec<u8, MAX_OPTION> {
        let mut found = ArrayVec::new();
        for mut area in self.0 {
            while let [code, rest @ ..] = area {
                area = rest;
                match *code {
                    option::PAD => continue,
                    option::END => break,
                    _ => {}
                }
                let Some((len, rest)) = area.split_first() else {
                    break;
                };
                let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else {
                    break;
                };
                area = rest;
                if *code == wanted {
                    let room = found.remaining_capacity().min(value.len());
                    found.extend(value.iter().copied().take(room));
                }
            }
        }
        found
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.find(code)
            .first_chunk::<4>()
            .map(|bytes| Ipv4Addr::from(*bytes))
    }

    fn addresses(&self, code: u8) -> ArrayVec<Ipv4Addr, MAX_LIST> {
        let found = self.find(code);
        let all = found.as_chunks::<4>().0.iter();
        all.map(|bytes| Ipv4Addr::from(*bytes))
            .take(MAX_LIST)
            .collect()
    }

    fn seconds(&self, code: u8) -> Option<u32> {
        self.find(code)
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// RFC 2132, 2: some senders end their texts with a zero.
    fn text(&self, code: u8) -> Text {
        let found = self.find(code);
        let text = found.split(|&byte| byte == 0).next().unwrap_or_default();
        text.iter().copied().take(MAX_NAME).collect()
    }
}

/// The prefix length of a mask; `None` for one with holes.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let prefix = bits.leading_ones();
    if bits.count_ones() == prefix {
        u8::try_from(prefix).ok()
    } else {
        None
    }
}

fn mask_of(prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv4Addr::from_bits(!host)
}

/// RFC 3442: each route is a prefix length, as many bytes of the destination as
/// that has, and a router. What follows a length that cannot be is lost.
fn routes_of(mut bytes: &[u8]) -> ArrayVec<(Ipv4Cidr, Ipv4Addr), MAX_ROUTES> {
    let mut routes = ArrayVec::new();
    while let Some((prefix, rest)) = bytes.split_first() {
        let significant = usize::from(prefix.div_ceil(8));
        let Some((destination, rest)) = rest.split_at_checked(significant) else {
            break;
        };
        let Some((router, rest)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let mut octets = [0; 4];
        let Some(octets_given) = octets.get_mut(..significant) else {
            break;
        };
        octets_given.copy_from_slice(destination);
        let Some(to) = Ipv4Cidr::new(octets.into(), *prefix) else {
            break;
        };
        if routes.try_push((to, Ipv4Addr::from(*router))).is_err() {
            break;
        }
        bytes = rest;
    }
    routes
}

/// A message under construction. What does not fit is left out as a whole.
struct Options(ArrayVec<u8, MAX_MESSAGE>);

impl Options {
    fn raw(&mut self, bytes: &[u8]) {
        // The header, and the end mark for which `put` keeps room.
        let _fits = self.0.try_extend_from_slice(bytes);
    }

    fn put(&mut self, code: u8, value: &[u8]) {
        let Ok(len) = u8::try_from(value.len()) else {
            return;
        };
        if len > 0 && self.0.remaining_capacity() > value.len() + 2 {
            self.raw(&[code, len]);
            self.raw(value);
        }
    }

    fn address(&mut self, code: u8, address: Option<Ipv4Addr>) {
        if let Some(address) = address {
            self.put(code, &address.octets());
        }
    }

    fn addresses(&mut self, code: u8, addresses: &[Ipv4Addr]) {
        let bytes: ArrayVec<u8, { 4 * MAX_LIST }> = addresses
            .iter()
            .take(MAX_LIST)
            .flat_map(|address| address.octets())
            .collect();
        self.put(code, &bytes);
    }

    fn routes(&mut self, routes: &[(Ipv4Cidr, Ipv4Addr)]) {
        let mut bytes: ArrayVec<u8, { 9 * MAX_ROUTES }> = ArrayVec::new();
        for (to, router) in routes.iter().take(MAX_ROUTES) {
            let significant = usize::from(to.prefix().div_ceil(8));
            bytes.push(to.prefix());
            bytes.extend(to.address().octets().into_iter().take(significant));
            bytes.extend(router.octets());
        }
        self.put(option::ROUTES, &bytes);
    }
}
