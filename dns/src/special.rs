//! Names that are never asked for: literals, static hosts, and those that RFC
//! 6761 and its followers set apart.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::answer::Found;
use crate::{DnsError, Hosts};

/// Times to live of answers that this resolver gives by itself, in seconds.
const LOCAL_TTL: u32 = 3600;

/// Top-level domains that exist in no DNS.
///
/// RFC 6761, 6.4: "Name resolution APIs and libraries SHOULD recognize
/// 'invalid' names as special and SHOULD always return immediate negative
/// responses." The same holds for `onion` (RFC 7686, 2) and `alt` (RFC 9476,
/// 3); `local` belongs to multicast DNS (RFC 6762, 22.1), which this is not.
const NOWHERE: [&[u8]; 4] = [b"invalid", b"onion", b"alt", b"local"];

/// The answer to a question that needs no server; `None` to ask one.
///
/// `name` is absolute and in lower case.
pub(crate) fn answer(
    name: &Name,
    record_type: RecordType,
    hosts: &Hosts,
) -> Option<Result<Found, DnsError>> {
    let found = |data: Vec<RData>| {
        if data.is_empty() {
            return Err(DnsError::NoRecords);
        }
        let record = |data| Record::from_rdata(name.clone(), LOCAL_TTL, data);
        Ok(Found {
            name: name.clone(),
            record_type,
            aliases: Vec::new(),
            records: data.into_iter().map(record).collect(),
            authentic: true,
        })
    };
    if let Some(addresses) = hosts.addresses_of(name) {
        return Some(found(of_type(addresses, record_type)));
    }
    let top = name.iter().next_back()?;
    // RFC 6761, 6.3: "Name resolution APIs and libraries SHOULD recognize
    // localhost names as special and SHOULD always return the IP loopback
    // address for address queries and negative responses for all other query
    // types."
    if top == b"localhost" {
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        return Some(found(of_type(&loopback, record_type)));
    }
    if NOWHERE.contains(&top) {
        return Some(Err(DnsError::NoSuchName));
    }
    if record_type == RecordType::PTR
        && let Some(address) = reverse_address(name)
    {
        let mut names: Vec<Name> = hosts.names_of(address).cloned().collect();
        if names.is_empty() && address.is_loopback() {
            names.extend(Name::from_ascii("localhost."));
        }
        if !names.is_empty() {
            let pointers = names.into_iter().map(|name| RData::PTR(PTR(name)));
            return Some(found(pointers.collect()));
        }
    }
    None
}

/// Whether `name` is one that is never asked for, so that no search list
/// completes it.
pub(crate) fn is_special(name: &Name) -> bool {
    let top = name.iter().next_back().map(<[u8]>::to_ascii_lowercase);
    top.is_some_and(|top| top == b"localhost" || NOWHERE.contains(&top.as_slice()))
}

fn of_type(addresses: &[IpAddr], record_type: RecordType) -> Vec<RData> {
    let data = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(v4) if record_type == RecordType::A => Some(RData::A(A(*v4))),
        IpAddr::V6(v6) if record_type == RecordType::AAAA => Some(RData::AAAA(AAAA(*v6))),
        _ => None,
    });
    data.collect()
}

/// The whole address that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// An address written as a name: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`.
pub(crate) fn literal(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn ask(
        name: &str,
        record_type: RecordType,
    ) -> Option<Result<Vec<alloc::string::String>, DnsError>> {
        let hosts: Hosts = "192.0.2.7 printer.lan\n".parse().expect("hosts");
        let name = Name::from_ascii(name).expect("a name");
        answer(&name, record_type, &hosts).map(|answer| {
            let found = answer?;
            Ok(found
                .records
                .iter()
                .map(|record| record.data.to_string())
                .collect())
        })
    }

    /// RFC 6761, 6.3, items 3 and 4.
    #[test]
    fn rfc6761_6_3_localhost_is_never_asked_for() {
        for name in ["localhost.", "a.b.localhost."] {
            assert_eq!(
                ask(name, RecordType::A),
                Some(Ok(["127.0.0.1".into()].into()))
            );
            assert_eq!(ask(name, RecordType::AAAA), Some(Ok(["::1".into()].into())));
            assert_eq!(ask(name, RecordType::MX), Some(Err(DnsError::NoRecords)));
        }
        for name in ["1.0.0.127.in-addr.arpa.", "9.8.7.127.in-addr.arpa."] {
            assert_eq!(
                ask(name, RecordType::PTR),
                Some(Ok(["localhost.".into()].into()))
            );
        }
    }

    /// RFC 6761, 6.4; RFC 7686, 2; RFC 9476, 3; RFC 6762, 22.1.
    #[test]
    fn rfc6761_6_4_names_that_exist_nowhere_are_never_asked_for() {
        for name in ["invalid.", "a.invalid.", "a.onion.", "a.alt.", "a.local."] {
            assert_eq!(
                ask(name, RecordType::A),
                Some(Err(DnsError::NoSuchName)),
                "{name}"
            );
        }
    }

    /// RFC 6761, 6.2 and 6.5: "test" and "example" are not special for
    /// resolvers like this one.
    #[test]
    fn rfc6761_6_2_ordinary_names_are_asked_for() {
        for name in [
            "a.test.",
            "a.example.",
            "localhost.example.",
            "invalid.example.",
            ".",
        ] {
            assert_eq!(ask(name, RecordType::A), None, "{name}");
        }
        assert_eq!(ask("1.2.0.192.in-addr.arpa.", RecordType::PTR), None);
    }

    #[test]
    fn static_hosts_answer_both_ways_and_hide_what_the_dns_says() {
        assert_eq!(
            ask("printer.lan.", RecordType::A),
            Some(Ok(["192.0.2.7".into()].into()))
        );
        assert_eq!(
            ask("printer.lan.", RecordType::AAAA),
            Some(Err(DnsError::NoRecords))
        );
        let name = ask("7.2.0.192.in-addr.arpa.", RecordType::PTR);
        assert_eq!(name, Some(Ok(["printer.lan.".into()].into())));
    }

    #[test]
    fn literals_are_addresses() {
        for text in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
            assert!(literal(text).is_some(), "{text}");
        }
        for text in ["192.0.2", "[192.0.2.1]", "[::1", "a", ""] {
            assert!(literal(text).is_none(), "{text}");
        }
    }
}
