//! Where a service is to be had: SVCB and HTTPS records (RFC 9460).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::{Name, RData};

use crate::{Answer, DnsError};

/// Records taken of one answer at most.
const SERVICES: usize = 16;
/// Hints of one family taken of one record at most.
const HINTS: usize = 8;

/// One way to a service: a record in ServiceMode (RFC 9460, 2.4.3) whose
/// mandatory parameters are all known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The lower, the better; never 0.
    pub priority: u16,
    /// The name that has the addresses: that of the record itself where it says
    /// `.` (RFC 9460, 2.5.2).
    pub target: Name,
    /// The port, where it is not the usual one.
    pub port: Option<u16>,
    /// Protocols spoken there beside the default one.
    pub alpn: Vec<String>,
    /// The default protocol is not spoken there.
    pub no_default_alpn: bool,
    /// Addresses to use until those of the target are known.
    pub ipv4_hints: Vec<Ipv4Addr>,
    /// The same for IPv6.
    pub ipv6_hints: Vec<Ipv6Addr>,
}

impl Service {
    /// Whether the service speaks `protocol`, the one named `default` being
    /// taken for granted unless the record says otherwise (RFC 9460, 7.1.2).
    #[must_use]
    pub fn speaks(&self, protocol: &[u8], default: &[u8]) -> bool {
        let listed = self.alpn.iter().any(|name| name.as_bytes() == protocol);
        listed || (!self.no_default_alpn && protocol == default)
    }
}

/// What the SVCB or HTTPS records of a name say, their aliases followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// The name at which aliases ended: that which was asked for without any.
    pub owner: Name,
    /// There were records in AliasMode on the way to `owner`.
    pub aliased: bool,
    /// Ways to the service, those of lower priority value first; empty where an
    /// alias leads to a name without such records.
    pub list: Vec<Service>,
}

/// What one set of records says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Ask for the same type at another name.
    Alias(Name),
    /// These.
    Services(Vec<Service>),
}

/// Reads the records of `answer`.
///
/// # Errors
/// [`DnsError::NoRecords`] when they say that there is no such service,
/// [`DnsError::BadAnswer`] when one of them contradicts itself. RFC 9460, 2.2:
/// "If any RRs are malformed, the client MUST reject the entire RRSet and fall
/// back to non-SVCB connection establishment."
pub(crate) fn binding(answer: &Answer) -> Result<Binding, DnsError> {
    let records: Vec<&SVCB> = answer
        .data()
        .filter_map(|data| match data {
            RData::SVCB(record) => Some(record),
            RData::HTTPS(record) => Some(&record.0),
            _ => None,
        })
        .collect();
    // RFC 9460, 2.4.1: "If an RRset contains a record in AliasMode, the recipient
    // MUST ignore any ServiceMode records in the set." What parameters an alias
    // has is ignored as well (2.4.2).
    if let Some(alias) = records.iter().find(|record| record.svc_priority == 0) {
        // RFC 9460, 2.5.1: "." means that there is no such service.
        if alias.target_name.is_root() {
            return Err(DnsError::NoRecords);
        }
        return Ok(Binding::Alias(alias.target_name.clone()));
    }
    let owner = answer.canonical_name();
    let mut list = Vec::new();
    for record in records {
        if !is_consistent(record) {
            return Err(DnsError::BadAnswer);
        }
        if let Some(service) = service(record, owner)
            && list.len() < SERVICES
        {
            list.push(service);
        }
    }
    list.sort_by_key(|service| service.priority);
    Ok(Binding::Services(list))
}

/// Whether the record is what RFC 9460 calls self-consistent: the keys that it
/// calls mandatory are there and listed once in ascending order, "mandatory" not
/// among them (8); "no-default-alpn" comes with "alpn" (7.1.1); hints hint (7.3).
fn is_consistent(record: &SVCB) -> bool {
    let has = |key: SvcParamKey| record.svc_params.iter().any(|(other, _)| *other == key);
    record.svc_params.iter().all(|(_, value)| match value {
        SvcParamValue::Mandatory(keys) => {
            let keys = &keys.0;
            keys.is_sorted_by(|one, next| u16::from(*one) < u16::from(*next))
                && !keys.contains(&SvcParamKey::Mandatory)
                && keys.iter().all(|key| has(*key))
        }
        SvcParamValue::NoDefaultAlpn => has(SvcParamKey::Alpn),
        SvcParamValue::Ipv4Hint(hints) => !hints.0.is_empty(),
        SvcParamValue::Ipv6Hint(hints) => !hints.0.is_empty(),
        _ => true,
    })
}

/// The service that a consistent record describes; `None` when it cannot be had
/// from here: it demands something that is not known here (RFC 9460, 8), as
/// Encrypted Client Hello, or its port is none.
fn service(record: &SVCB, owner: &Name) -> Option<Service> {
    let target = if record.target_name.is_root() {
        owner.clone()
    } else {
        record.target_name.clone()
    };
    let mut service = Service {
        priority: record.svc_priority,
        target,
        port: None,
        alpn: Vec::new(),
        no_default_alpn: false,
        ipv4_hints: Vec::new(),
        ipv6_hints: Vec::new(),
    };
    for (_, value) in &record.svc_params {
        match value {
            SvcParamValue::Mandatory(keys) if !keys.0.iter().all(|key| is_known(*key)) => {
                return None;
            }
            SvcParamValue::Alpn(names) => service.alpn.clone_from(&names.0),
            SvcParamValue::NoDefaultAlpn => service.no_default_alpn = true,
            SvcParamValue::Port(0) => return None,
            SvcParamValue::Port(port) => service.port = Some(*port),
            SvcParamValue::Ipv4Hint(hints) => {
                service.ipv4_hints = hints.0.iter().take(HINTS).map(|hint| hint.0).collect();
            }
            SvcParamValue::Ipv6Hint(hints) => {
                service.ipv6_hints = hints.0.iter().take(HINTS).map(|hint| hint.0).collect();
            }
            // What is not known here and not mandatory is ignored: "dohpath"
            // (RFC 9461, 5) and whatever comes after it.
            _ => {}
        }
    }
    Some(service)
}

/// Whether this client acts upon `key`.
fn is_known(key: SvcParamKey) -> bool {
    matches!(
        key,
        SvcParamKey::Alpn
            | SvcParamKey::NoDefaultAlpn
            | SvcParamKey::Port
            | SvcParamKey::Ipv4Hint
            | SvcParamKey::Ipv6Hint
    )
}

#[cfg(test)]
mod tests;
