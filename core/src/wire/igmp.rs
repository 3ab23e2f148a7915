//! IGMP, version 2 (RFC 2236) and the host's side of version 3 (RFC 3376).

use core::net::Ipv4Addr;

use arrayvec::ArrayVec;
use pollwire_offload::checksum::Sum;

/// Type of a membership query.
pub const QUERY: u8 = 0x11;
/// Type of a version 1 report (RFC 1112).
pub const REPORT_V1: u8 = 0x12;
/// Type of a version 2 report.
pub const REPORT_V2: u8 = 0x16;
/// Type of a version 2 message that tells of leaving a group.
pub const LEAVE_V2: u8 = 0x17;
/// Type of a version 3 report.
pub const REPORT_V3: u8 = 0x22;

/// Bytes of a query, and of all messages of version 2.
pub const IGMP_MESSAGE: usize = 8;
/// Bytes of a version 3 report with one record without sources.
pub const IGMP_REPORT_V3: usize = 16;

/// What a version 3 report says of a group (RFC 3376, 4.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupRecord {
    /// We listen to it, as asked.
    IsExclude = 2,
    /// We do not listen to it any more.
    ToInclude,
    /// We listen to it from now on.
    ToExclude,
}

/// A membership query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgmpQuery {
    /// The version of IGMP that the querier speaks: 1, 2 or 3.
    pub version: u8,
    /// The group asked about; unspecified for all.
    pub group: Ipv4Addr,
    /// Within how many tenths of a second to answer.
    pub span: u16,
}

impl IgmpQuery {
    /// Parses a query whose checksum has been verified; `None` when it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [QUERY, code, _, _, a, b, c, d] = *bytes.first_chunk::<IGMP_MESSAGE>()? else {
            return None;
        };
        // RFC 3376, 7.1.
        let (version, span) = match (bytes.len(), code) {
            (IGMP_MESSAGE, 0) => (1, 100),
            (IGMP_MESSAGE, code) => (2, code.into()),
            (12.., code) => (3, span_of(code)),
            _ => return None,
        };
        Some(Self {
            version,
            group: Ipv4Addr::from([a, b, c, d]),
            span,
        })
    }
}

/// RFC 3376, 4.1.1: from 128 on the code is a floating-point number.
const fn span_of(code: u8) -> u16 {
    if code < 128 {
        return code as u16;
    }
    let (exponent, mantissa) = (code >> 4 & 7, code & 15);
    (mantissa as u16 | 16) << (exponent + 3)
}

/// A message of version 1 or 2, its checksum filled in.
#[must_use]
pub fn emit_v2(kind: u8, group: Ipv4Addr) -> [u8; IGMP_MESSAGE] {
    let [a, b, c, d] = group.octets();
    let mut bytes = [kind, 0, 0, 0, a, b, c, d];
    let check = Sum::of(&bytes).finish().to_be_bytes();
    [bytes[2], bytes[3]] = check;
    bytes
}

/// A version 3 report about groups from any source, its checksum filled in.
#[must_use]
pub fn emit_v3<const N: usize>(records: &[(GroupRecord, Ipv4Addr)]) -> ArrayVec<u8, N> {
    let mut bytes = ArrayVec::new();
    let fit = records.len().min((N.saturating_sub(8)) / 8);
    let count = u16::try_from(fit).unwrap_or(u16::MAX).to_be_bytes();
    bytes.extend([REPORT_V3, 0, 0, 0, 0, 0, count[0], count[1]]);
    for (record, group) in records.iter().take(fit) {
        bytes.extend([*record as u8, 0, 0, 0]);
        bytes.extend(group.octets());
    }
    let check = Sum::of(&bytes).finish().to_be_bytes();
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&check);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3376_7_1_the_length_and_the_code_tell_the_version() {
        let query = |bytes: &[u8]| IgmpQuery::parse(bytes).map(|query| (query.version, query.span));
        let mut bytes = [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(query(&bytes[..8]), Some((1, 100)));
        assert_eq!(query(&bytes), Some((3, 0)));
        bytes[1] = 100;
        assert_eq!(query(&bytes[..8]), Some((2, 100)));
        assert_eq!(query(&bytes), Some((3, 100)));
        bytes[1] = 0xff;
        assert_eq!(query(&bytes), Some((3, 31 << 10)));
        for len in [0, 7, 9, 11] {
            assert_eq!(query(&bytes[..len]), None);
        }
        bytes[0] = REPORT_V2;
        assert_eq!(query(&bytes), None);
    }

    #[test]
    fn messages_carry_their_checksums() {
        let group = Ipv4Addr::new(239, 1, 2, 3);
        assert!(Sum::of(&emit_v2(LEAVE_V2, group)).is_valid());
        let records = [(GroupRecord::ToExclude, group); 3];
        let report = emit_v3::<64>(&records);
        assert!(report.len() == 32 && Sum::of(&report).is_valid());
        assert_eq!(emit_v3::<IGMP_REPORT_V3>(&records).len(), 16, "what fits");
    }
}
