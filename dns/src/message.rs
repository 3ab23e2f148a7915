//! Queries out of questions, and what responses say.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use pollwire_core::Random;

use crate::{Counter, DnsError};

/// Bytes of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// The option of extended errors (RFC 8914, 2).
const EXTENDED_ERROR: u16 = 15;
/// The option of how long idle connections last (RFC 7828, 3.1).
const TCP_KEEPALIVE: u16 = 11;
/// The option of padding (RFC 7830, 3).
const PADDING: u16 = 12;
/// "Bad OPT version" (RFC 6891, 9); TSIG's BADSIG has the same number.
const BADVERS: u16 = 16;
/// Encrypted queries are padded to a multiple of this (RFC 8467, 4.1).
const PADDING_BLOCK: usize = 128;

/// How a query is put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// With EDNS, taking answers of this many bytes.
    pub(crate) edns: Option<u16>,
    /// Padded, for an encrypted channel.
    pub(crate) padded: bool,
    /// Over a connection: asks how long it may be idle. RFC 7828, 3.2.1: "Clients
    /// MUST NOT include the edns-tcp-keepalive option in queries sent over UDP
    /// transport", and 3.1: without a value.
    pub(crate) keepalive: bool,
}

/// A query's bytes; `None` when it cannot be written.
pub(crate) fn query(id: u16, name: &Name, record_type: RecordType, form: Form) -> Option<Rc<[u8]>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // RFC 6840, 5.7: asks whether the answer was verified, without asking for
    // signatures.
    message.metadata.authentic_data = true;
    message.add_query(Query::query(name.clone(), record_type));
    if let Some(payload) = form.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        if form.keepalive {
            edns.options_mut()
                .insert(EdnsOption::Unknown(TCP_KEEPALIVE, Vec::new()));
        }
        if form.padded {
            edns.options_mut()
                .insert(EdnsOption::Unknown(PADDING, Vec::new()));
            message.set_edns(edns.clone());
            let bare = message.to_vec().ok()?.len();
            let padding = bare.next_multiple_of(PADDING_BLOCK) - bare;
            edns.options_mut().remove(PADDING.into());
            edns.options_mut()
                .insert(EdnsOption::Unknown(PADDING, alloc::vec![0; padding]));
        }
        message.set_edns(edns);
    }
    message.to_vec().ok().map(Rc::from)
}

/// `name` with the case of each letter chosen at random
/// (draft-vixie-dnsext-dns0x20).
pub(crate) fn mix_case(name: &Name, random: &mut Random) -> Name {
    let mut mixed = |label: &[u8]| -> Vec<u8> {
        let mut label = label.to_vec();
        for letters in label.chunks_mut(32) {
            let mut bits = random.next_u32();
            for letter in letters {
                if letter.is_ascii_alphabetic() && bits & 1 == 1 {
                    *letter ^= 0x20;
                }
                bits >>= 1;
            }
        }
        label
    };
    let labels: Vec<Vec<u8>> = name.iter().map(&mut mixed).collect();
    let mut copy =
        Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_else(|_| name.clone());
    copy.set_fqdn(true);
    copy
}

/// What was asked, as an answer must repeat it.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: u16,
    pub(crate) name: &'a Name,
    pub(crate) record_type: RecordType,
    /// The letters' case must come back, too.
    pub(crate) exact_case: bool,
}

/// A response to what was asked.
#[derive(Debug)]
pub(crate) struct Response {
    message: Message,
    /// Its length in bytes.
    pub(crate) wire_len: usize,
    /// The question came back letter by letter.
    pub(crate) kept_case: bool,
}

/// The id of a message, if it is long enough for one.
pub(crate) fn id_of(bytes: &[u8]) -> Option<u16> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    Some(u16::from_be_bytes([header[0], header[1]]))
}

/// Checks that `bytes` are a response to what was asked, before anything in it
/// is believed.
///
/// # Errors
/// The name under which the refusal is counted.
pub(crate) fn response(
    bytes: &[u8],
    asked: &Asked<'_>,
    max_records: u16,
) -> Result<Response, Counter> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Counter::TooShort)?;
    let word = |at: usize| {
        let high = header.get(at).copied().unwrap_or(0);
        u16::from_be_bytes([high, header.get(at + 1).copied().unwrap_or(0)])
    };
    if word(0) != asked.id {
        return Err(Counter::WrongId);
    }
    // QR set, and the opcode that of a query.
    if word(2) & 0xf800 != 0x8000 {
        return Err(Counter::NotAResponse);
    }
    let records: u32 = [6, 8, 10].into_iter().map(|at| u32::from(word(at))).sum();
    // One more for EDNS.
    if records > u32::from(max_records) + 1 {
        return Err(Counter::TooManyRecords);
    }
    let message = Message::from_vec(bytes).map_err(|_| Counter::Malformed)?;
    let kept_case = match message.queries.as_slice() {
        [question] => {
            let same = question.name.eq_ignore_root(asked.name)
                && question.query_type == asked.record_type
                && question.query_class == DNSClass::IN;
            if !same {
                return Err(Counter::WrongQuestion);
            }
            question.name.eq_ignore_root_case(asked.name)
        }
        // Servers that cannot read a query have no question to repeat.
        [] if does_not_understand(message.metadata.response_code) => true,
        _ => return Err(Counter::WrongQuestion),
    };
    if asked.exact_case && !kept_case {
        return Err(Counter::WrongCase);
    }
    Ok(Response {
        message,
        wire_len: bytes.len(),
        kept_case,
    })
}

/// The answer of a server that may know no EDNS (RFC 6891, 7).
fn does_not_understand(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// What a response says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The records that were asked for.
    Found {
        aliases: Vec<Name>,
        records: Vec<Record>,
        /// The shortest time to live, in seconds.
        ttl: u32,
    },
    /// Aliases whose end this server did not tell: ask for that.
    Chase { aliases: Vec<Name>, ttl: u32 },
    /// There is nothing, and for how many seconds that may be kept.
    Nothing { error: DnsError, ttl: Option<u32> },
    /// The rest comes over TCP.
    Truncated,
    /// The server may know no EDNS.
    NoEdns,
    /// The server cannot say.
    Failed(DnsError),
    /// The server points to others, which a stub does not ask.
    Lame,
}

impl Response {
    /// Whether the server vouches for it (RFC 4035, 3.2.3).
    pub(crate) fn authentic(&self) -> bool {
        self.message.metadata.authentic_data
    }

    /// How long the server keeps the connection open while it is idle (RFC 7828,
    /// 3.1: in units of 100 milliseconds).
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        let option = self.message.edns.as_ref()?.option(TCP_KEEPALIVE.into())?;
        match option {
            EdnsOption::Unknown(_, data) => {
                let units = u16::from_be_bytes(data.as_slice().try_into().ok()?);
                Some(Duration::from_millis(u64::from(units) * 100))
            }
            _ => None,
        }
    }

    /// Reads the answer to `record_type` at `name`. `had_edns`: the query had.
    pub(crate) fn verdict(
        mut self,
        name: &Name,
        record_type: RecordType,
        had_edns: bool,
        max_aliases: usize,
    ) -> Verdict {
        if self.message.metadata.truncation {
            return Verdict::Truncated;
        }
        let code = self.message.metadata.response_code;
        match code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            // RFC 6891, 6.1.3 and 7: BADVERS, or one that knows no EDNS at all.
            code if had_edns && (does_not_understand(code) || u16::from(code) == BADVERS) => {
                return Verdict::NoEdns;
            }
            code => {
                return Verdict::Failed(DnsError::Failed {
                    code,
                    extended: self.extended_error(),
                });
            }
        }
        self.message.answers.iter_mut().for_each(lower_names);
        match self.follow(name, record_type, max_aliases) {
            Err(error) => Verdict::Failed(error),
            Ok(chain) if !chain.records.is_empty() => Verdict::Found {
                aliases: chain.aliases,
                records: chain.records,
                ttl: chain.ttl,
            },
            Ok(chain) => self.nothing(chain, name, code),
        }
    }

    fn nothing(&self, chain: Chain, name: &Name, code: ResponseCode) -> Verdict {
        let end = chain.aliases.last().unwrap_or(name);
        let ttl = self.negative_ttl(end);
        // RFC 6604, 2: the code is about the last name of a chain.
        if code == ResponseCode::NXDomain {
            return Verdict::Nothing {
                error: DnsError::NoSuchName,
                ttl: ttl.map(|ttl| ttl.min(chain.ttl)),
            };
        }
        if ttl.is_none() && !chain.aliases.is_empty() {
            return Verdict::Chase {
                aliases: chain.aliases,
                ttl: chain.ttl,
            };
        }
        // RFC 2308, 2.2: without SOA, NS records mean a referral, unless the
        // server recurses.
        let refers = self
            .message
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::NS);
        if ttl.is_none() && refers && !self.message.metadata.recursion_available {
            return Verdict::Lame;
        }
        Verdict::Nothing {
            error: DnsError::NoRecords,
            ttl: ttl.map(|ttl| ttl.min(chain.ttl)),
        }
    }

    /// Walks the answer section from `name` along its aliases. Records of other
    /// names are ignored: nobody asked for them.
    fn follow(
        &self,
        name: &Name,
        record_type: RecordType,
        max_aliases: usize,
    ) -> Result<Chain, DnsError> {
        let mut chain = Chain {
            aliases: Vec::new(),
            records: Vec::new(),
            ttl: u32::MAX,
        };
        loop {
            let at = chain.aliases.last().unwrap_or(name);
            let here = |record: &&Record| {
                record.dns_class == DNSClass::IN && record.name.eq_ignore_root(at)
            };
            let wanted = |record: &&Record| {
                here(record)
                    && (record.record_type() == record_type || record_type == RecordType::ANY)
            };
            let records: Vec<Record> = self
                .message
                .answers
                .iter()
                .filter(wanted)
                .cloned()
                .collect();
            if !records.is_empty() {
                let shortest = records.iter().map(|record| lifetime(record.ttl)).min();
                chain.ttl = chain.ttl.min(shortest.unwrap_or(0));
                chain.records = records;
                return Ok(chain);
            }
            let alias =
                self.message
                    .answers
                    .iter()
                    .filter(here)
                    .find_map(|record| match &record.data {
                        RData::CNAME(target) => Some((target.0.clone(), lifetime(record.ttl))),
                        _ => None,
                    });
            let Some((target, ttl)) = alias else {
                return Ok(chain);
            };
            let seen = target.eq_ignore_root(name)
                || chain
                    .aliases
                    .iter()
                    .any(|alias| alias.eq_ignore_root(&target));
            if seen || chain.aliases.len() >= max_aliases {
                return Err(DnsError::AliasLoop);
            }
            chain.ttl = chain.ttl.min(ttl);
            chain.aliases.push(target);
        }
    }

    /// For how many seconds it may be kept that `name` has nothing; `None`
    /// without a SOA record, which means: not at all.
    ///
    /// RFC 2308, 3: "The TTL of this record is set from the minimum of the
    /// MINIMUM field of the SOA record and the TTL of the SOA itself".
    fn negative_ttl(&self, name: &Name) -> Option<u32> {
        self.message
            .authorities
            .iter()
            .find_map(|record| match &record.data {
                RData::SOA(soa) if record.name.zone_of(name) => {
                    Some(lifetime(record.ttl).min(lifetime(soa.minimum)))
                }
                _ => None,
            })
    }

    fn extended_error(&self) -> Option<u16> {
        let option = self.message.edns.as_ref()?.option(EXTENDED_ERROR.into())?;
        match option {
            EdnsOption::Unknown(_, data) => data.first_chunk().copied().map(u16::from_be_bytes),
            _ => None,
        }
    }
}

/// Turns the names in a record to lower case: servers compress them into the
/// question's, whose letters were mixed for the query.
fn lower_names(record: &mut Record) {
    let lower = |name: &mut Name| *name = name.to_lowercase();
    lower(&mut record.name);
    match &mut record.data {
        RData::CNAME(target) => lower(&mut target.0),
        RData::PTR(target) => lower(&mut target.0),
        RData::NS(target) => lower(&mut target.0),
        RData::MX(mx) => lower(&mut mx.exchange),
        RData::SRV(srv) => lower(&mut srv.target),
        RData::SVCB(svcb) => lower(&mut svcb.target_name),
        RData::HTTPS(https) => lower(&mut https.0.target_name),
        RData::SOA(soa) => {
            lower(&mut soa.mname);
            lower(&mut soa.rname);
        }
        _ => {}
    }
}

/// Records at the end of a chain of aliases.
struct Chain {
    aliases: Vec<Name>,
    records: Vec<Record>,
    ttl: u32,
}

/// RFC 2181, 8: "Implementations should treat TTL values received with the most
/// significant bit set as if the entire value received was zero."
fn lifetime(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() {
        0
    } else {
        ttl
    }
}
