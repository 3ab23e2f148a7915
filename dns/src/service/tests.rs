//! RFC 9460, rule by rule.

use alloc::rc::Rc;
use alloc::string::ToString;
use core::time::Duration;

use hickory_proto::rr::rdata::HTTPS;
use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, Mandatory, Unknown};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Record, RecordType};

use super::*;
use crate::Source;
use crate::answer::Found;

type Param = (SvcParamKey, SvcParamValue);

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn record(priority: u16, target: &str, params: &[Param]) -> RData {
    RData::HTTPS(HTTPS(SVCB::new(priority, name(target), params.to_vec())))
}

fn read(records: &[RData]) -> Result<Binding, DnsError> {
    let owner = name("www.example.");
    let records = records.iter().cloned();
    let records = records.map(|data| Record::from_rdata(owner.clone(), 60, data));
    binding(&Answer {
        found: Rc::new(Found {
            name: owner.clone(),
            record_type: RecordType::HTTPS,
            aliases: Vec::new(),
            records: records.collect(),
            authentic: false,
        }),
        source: Source::Cache,
        ttl: Duration::ZERO,
    })
}

fn services(records: &[RData]) -> Vec<Service> {
    match read(records) {
        Ok(Binding::Services(list)) => list,
        other => panic!("{other:?}"),
    }
}

fn alpn(names: &[&str]) -> Param {
    let names = names.iter().map(ToString::to_string).collect();
    (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(names)))
}

fn mandatory(keys: &[SvcParamKey]) -> Param {
    let keys = Mandatory(keys.to_vec());
    (SvcParamKey::Mandatory, SvcParamValue::Mandatory(keys))
}

fn port(port: u16) -> Param {
    (SvcParamKey::Port, SvcParamValue::Port(port))
}

const NO_DEFAULT: Param = (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn);

fn unknown(key: u16) -> Param {
    let value = SvcParamValue::Unknown(Unknown(b"/dns-query{?dns}".into()));
    (SvcParamKey::from(key), value)
}

#[test]
fn rfc9460_2_4_1_services_are_sorted_by_priority() {
    let list = services(&[
        record(16, "c.example.", &[]),
        record(1, "a.example.", &[port(8443)]),
        record(2, ".", &[]),
    ]);
    let order: Vec<_> = list.iter().map(|service| service.priority).collect();
    assert_eq!(order, [1, 2, 16]);
    assert_eq!((list[0].port, list[1].port), (Some(8443), None));
}

#[test]
fn rfc9460_2_4_1_an_alias_hides_all_services() {
    let read = read(&[
        record(1, "a.example.", &[]),
        record(0, "pool.example.", &[port(1)]),
    ]);
    assert_eq!(read, Ok(Binding::Alias(name("pool.example."))));
}

#[test]
fn rfc9460_2_5_1_an_alias_to_nowhere_means_no_service() {
    assert_eq!(read(&[record(0, ".", &[])]), Err(DnsError::NoRecords));
}

#[test]
fn rfc9460_2_5_2_a_dot_is_the_owner() {
    assert_eq!(
        services(&[record(1, ".", &[])])[0].target,
        name("www.example.")
    );
}

#[test]
fn rfc9460_7_1_1_no_default_alpn_demands_alpn() {
    assert_eq!(
        read(&[record(1, ".", &[NO_DEFAULT])]),
        Err(DnsError::BadAnswer)
    );
    let list = services(&[record(1, ".", &[alpn(&["h2"]), NO_DEFAULT])]);
    assert!(list[0].speaks(b"h2", b"http/1.1"));
    assert!(!list[0].speaks(b"http/1.1", b"http/1.1"));
}

#[test]
fn rfc9460_7_1_2_the_default_protocol_is_spoken_beside_those_listed() {
    let list = services(&[record(1, ".", &[alpn(&["h2", "h3"])])]);
    assert!(list[0].speaks(b"http/1.1", b"http/1.1"));
    assert!(list[0].speaks(b"h3", b"http/1.1"));
    assert!(!list[0].speaks(b"dot", b"http/1.1"));
}

#[test]
fn rfc9460_7_2_a_port_of_zero_is_no_port() {
    assert_eq!(services(&[record(1, ".", &[port(0)])]), []);
}

#[test]
fn rfc9460_7_3_hints_are_taken_and_bounded() {
    let four = (0..20)
        .map(|last| A(Ipv4Addr::new(192, 0, 2, last)))
        .collect();
    let six = Vec::from([AAAA(Ipv6Addr::LOCALHOST)]);
    let list = services(&[record(
        1,
        ".",
        &[
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(four))),
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(six))),
        ],
    )]);
    assert_eq!(list[0].ipv4_hints.len(), HINTS);
    assert_eq!(list[0].ipv6_hints, [Ipv6Addr::LOCALHOST]);
    let none = SvcParamValue::Ipv4Hint(IpHint(Vec::new()));
    let empty = record(1, ".", &[(SvcParamKey::Ipv4Hint, none)]);
    assert_eq!(read(&[empty]), Err(DnsError::BadAnswer));
}

#[test]
fn rfc9460_8_records_that_demand_the_unknown_are_ignored() {
    let ech = (
        SvcParamKey::EchConfigList,
        SvcParamValue::EchConfigList(EchConfigList(Vec::from([0; 8]))),
    );
    let list = services(&[
        record(
            1,
            "a.example.",
            &[mandatory(&[SvcParamKey::from(667)]), unknown(667)],
        ),
        record(
            2,
            "b.example.",
            &[mandatory(&[SvcParamKey::EchConfigList]), ech.clone()],
        ),
        record(
            3,
            "c.example.",
            &[mandatory(&[SvcParamKey::Port]), port(8443), ech],
        ),
    ]);
    let targets: Vec<_> = list
        .iter()
        .map(|service| service.target.to_string())
        .collect();
    assert_eq!(targets, ["c.example."]);
}

#[test]
fn rfc9460_8_what_is_mandatory_must_be_there_once_and_never_mandatory_itself() {
    let fine = record(1, ".", &[]);
    for bad in [
        record(2, ".", &[mandatory(&[SvcParamKey::Port])]),
        record(2, ".", &[mandatory(&[SvcParamKey::Mandatory])]),
        record(2, ".", &[mandatory(&[SvcParamKey::Port; 2]), port(1)]),
        record(
            2,
            ".",
            &[
                mandatory(&[SvcParamKey::Port, SvcParamKey::Alpn]),
                alpn(&["h2"]),
                port(1),
            ],
        ),
    ] {
        // RFC 9460, 2.2: one malformed record spoils the set.
        assert_eq!(read(&[fine.clone(), bad]), Err(DnsError::BadAnswer));
    }
}

#[test]
fn rfc9461_5_dohpath_is_ignored() {
    let list = services(&[record(1, ".", &[port(443), unknown(7), unknown(65_280)])]);
    assert_eq!(list.len(), 1);
}

#[test]
fn services_of_one_answer_are_bounded() {
    let many: Vec<RData> = (1..=100).map(|n| record(n, ".", &[])).collect();
    assert_eq!(services(&many).len(), SERVICES);
}
