//! DHCPv6 messages, as far as stateless configuration needs them (RFC 8415, 6.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use arrayvec::ArrayVec;

use super::MacAddr;
use super::ndp::read_names;

/// The client's port.
pub const CLIENT_PORT: u16 = 546;
/// The servers' port.
pub const SERVER_PORT: u16 = 547;
/// RFC 8415, 7.1: All_DHCP_Relay_Agents_and_Servers.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Most DNS servers, and most search domains, that are kept of a message.
pub const MAX_LIST: usize = 8;
/// Bytes of a DUID that is made of an Ethernet address (RFC 8415, 11.4).
pub const DUID_LL: usize = 10;

/// RFC 8415, 7.3.
const REPLY: u8 = 7;
const INFORMATION_REQUEST: u8 = 11;
/// RFC 8415, 21 and 24.3; RFC 3646.
const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const OPTION_REQUEST: u16 = 6;
const ELAPSED_TIME: u16 = 8;
const STATUS_CODE: u16 = 13;
const DNS_SERVERS: u16 = 23;
const DOMAIN_LIST: u16 = 24;
const INFORMATION_REFRESH_TIME: u16 = 32;
const INF_MAX_RT: u16 = 83;
/// What is asked for.
const WANTED: [u16; 4] = [
    DNS_SERVERS,
    DOMAIN_LIST,
    INFORMATION_REFRESH_TIME,
    INF_MAX_RT,
];
/// RFC 8415, 11.1: a type code of two bytes and at most 128 more.
const MAX_DUID: usize = 130;

/// Who this host is to DHCPv6 servers: its Ethernet address (RFC 8415, 11.4),
/// as there is no memory that outlives it.
#[must_use]
pub fn duid_ll(mac: MacAddr) -> [u8; DUID_LL] {
    let mut duid = [0; DUID_LL];
    // Type 3, link-layer address; hardware type 1, Ethernet.
    duid[..4].copy_from_slice(&[0, 3, 0, 1]);
    duid[4..].copy_from_slice(&mac.0);
    duid
}

/// The bytes of an Information-request (RFC 8415, 18.2.6); `elapsed` in
/// hundredths of a second.
#[must_use]
pub fn emit_information_request(
    transaction: u32,
    duid: &[u8; DUID_LL],
    elapsed: u16,
) -> ArrayVec<u8, 64> {
    let mut out = ArrayVec::new();
    let [_, a, b, c] = transaction.to_be_bytes();
    out.extend([INFORMATION_REQUEST, a, b, c]);
    let mut put = |code: u16, value: &[u8]| {
        // All of it is shorter than the room.
        let len = u16::try_from(value.len()).unwrap_or(0);
        out.extend(code.to_be_bytes());
        out.extend(len.to_be_bytes());
        out.extend(value.iter().copied());
    };
    put(CLIENT_ID, duid);
    put(ELAPSED_TIME, &elapsed.to_be_bytes());
    let mut wanted = [0; 2 * WANTED.len()];
    for (to, code) in wanted.chunks_exact_mut(2).zip(WANTED) {
        to.copy_from_slice(&code.to_be_bytes());
    }
    put(OPTION_REQUEST, &wanted);
    out
}

/// A server's Reply to an Information-request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InformationReply {
    /// 24 bits: which request it answers.
    pub transaction: u32,
    /// Whom it is for.
    pub client: Option<ArrayVec<u8, MAX_DUID>>,
    /// Whether the server names itself.
    pub has_server: bool,
    /// 0: success (RFC 8415, 21.13).
    pub status: u16,
    /// DNS servers, the preferred one first (RFC 3646, 3).
    pub dns_servers: ArrayVec<Ipv6Addr, MAX_LIST>,
    /// Domains to look up short names in (RFC 3646, 4).
    pub search_domains: Vec<String>,
    /// Seconds until all of this is to be asked for again (RFC 8415, 21.23).
    pub refresh: Option<u32>,
    /// Seconds between requests at most (RFC 8415, 21.25).
    pub max_interval: Option<u32>,
}

impl InformationReply {
    /// Reads a message; `None` when it is no Reply, or malformed.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[REPLY, a, b, c], mut rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let mut reply = Self {
            transaction: u32::from_be_bytes([0, a, b, c]),
            ..Self::default()
        };
        while let Some((&[a, b, c, d], behind)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([c, d]));
            let (value, behind) = behind.split_at_checked(len)?;
            reply.take(u16::from_be_bytes([a, b]), value)?;
            rest = behind;
        }
        rest.is_empty().then_some(reply)
    }

    /// Of options that come twice, which must not be, the first counts.
    fn take(&mut self, code: u16, value: &[u8]) -> Option<()> {
        let seconds = || Some(u32::from_be_bytes(value.try_into().ok()?));
        match code {
            CLIENT_ID if self.client.is_none() => {
                self.client = Some(value.try_into().ok()?);
            }
            SERVER_ID => self.has_server |= !value.is_empty(),
            STATUS_CODE if self.status == 0 => {
                self.status = u16::from_be_bytes(*value.first_chunk()?);
            }
            DNS_SERVERS if self.dns_servers.is_empty() => {
                let (servers, []) = value.as_chunks::<16>() else {
                    return None;
                };
                let servers = servers.iter().map(|bytes| Ipv6Addr::from(*bytes));
                let servers = servers.filter(|at| !at.is_multicast() && !at.is_unspecified());
                self.dns_servers = servers.take(MAX_LIST).collect();
            }
            DOMAIN_LIST if self.search_domains.is_empty() => {
                self.search_domains = read_names(value, MAX_LIST);
            }
            INFORMATION_REFRESH_TIME if self.refresh.is_none() => self.refresh = Some(seconds()?),
            INF_MAX_RT if self.max_interval.is_none() => self.max_interval = Some(seconds()?),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    /// Option by option.
    fn message(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![kind, 1, 2, 3];
        for (code, value) in options {
            bytes.extend(code.to_be_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn rfc_8415_18_2_6_what_an_information_request_holds() {
        let duid = duid_ll(MacAddr([2, 0, 0, 0, 0, 1]));
        let bytes = emit_information_request(0x0a_0b0c, &duid, 258);
        assert_eq!(
            bytes.as_slice(),
            [
                11, 0x0a, 0x0b, 0x0c, // Information-request, transaction
                0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, // client identifier
                0, 8, 0, 2, 1, 2, // elapsed time
                0, 6, 0, 8, 0, 23, 0, 24, 0, 32, 0, 83, // option request
            ]
        );
    }

    #[test]
    fn rfc_3646_3_what_a_reply_tells() {
        let servers = [[0x20; 16], [0x21; 16], [0; 16], [0xff; 16]].concat();
        let names = b"\x07Example\x03net\x00\x01a\x00";
        let bytes = message(
            7,
            &[
                (1, &[9; 10]),
                (2, &[1, 2]),
                (99, b"unknown"),
                (23, &servers),
                (24, names),
                (32, &[0, 0, 2, 88]),
                (83, &[0, 0, 0, 60]),
            ],
        );
        let reply = InformationReply::parse(&bytes).unwrap();
        assert_eq!(reply.transaction, 0x01_0203);
        assert_eq!(reply.client.unwrap().as_slice(), [9; 10]);
        assert!(reply.has_server);
        assert_eq!(reply.status, 0);
        let found = [0x20_u8, 0x21].map(|byte| Ipv6Addr::from([byte; 16]));
        assert_eq!(
            reply.dns_servers.as_slice(),
            found,
            "none for many or nobody"
        );
        assert_eq!(reply.search_domains, ["example.net", "a"]);
        assert_eq!((reply.refresh, reply.max_interval), (Some(600), Some(60)));
    }

    #[test]
    fn rfc_8415_16_malformed_messages_are_refused() {
        for bytes in [
            message(7, &[(23, &[1; 15])]),
            message(7, &[(32, &[1; 3])]),
            message(7, &[(83, &[])]),
            message(7, &[(13, &[0])]),
            message(7, &[(1, &[1; 131])]),
            message(2, &[]),
            message(7, &[])[..3].to_vec(),
            [message(7, &[]), vec![0, 23, 0]].concat(),
            [message(7, &[]), vec![0, 23, 0, 16, 1]].concat(),
        ] {
            assert_eq!(InformationReply::parse(&bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            code in 0_u16..90,
        ) {
            let _ = InformationReply::parse(&bytes);
            let bytes = message(7, &[(code, &bytes), (23, &bytes)]);
            if let Some(reply) = InformationReply::parse(&bytes) {
                prop_assert!(reply.dns_servers.len() <= MAX_LIST);
                prop_assert!(reply.search_domains.len() <= MAX_LIST);
            }
        }
    }
}
