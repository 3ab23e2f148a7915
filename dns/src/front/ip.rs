//! Addresses of both families.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::driver::Pending;
use super::{Resolver, may_try_next, worse};
use crate::answer::Found;
use crate::special::literal;
use crate::{Answer, DnsError, Source};

/// What A and AAAA lookups of one host gave.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The A records.
    pub v4: Result<Answer, DnsError>,
    /// The AAAA records.
    pub v6: Result<Answer, DnsError>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            v4: Err(DnsError::NoRecords),
            v6: Err(DnsError::NoRecords),
        }
    }
}

impl Addresses {
    pub(super) fn put(&mut self, record_type: RecordType, result: Result<Answer, DnsError>) {
        match record_type {
            RecordType::AAAA => self.v6 = result,
            _ => self.v4 = result,
        }
    }

    /// # Errors
    /// The weightier error, when there is no address.
    pub(super) fn or_error(self) -> Result<Self, DnsError> {
        match (&self.v4, &self.v6) {
            (Err(v4), Err(v6)) => Err(worse(*v4, *v6)),
            _ => Ok(self),
        }
    }

    /// All addresses, those of IPv6 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let answers = [&self.v6, &self.v4].into_iter().flatten();
        answers.flat_map(Answer::addresses)
    }
}

type Event = (RecordType, Result<Answer, DnsError>);

/// The addresses of a host, family by family as they arrive.
///
/// For each name of the search list A and AAAA records are asked for at once.
/// The first name that has any of them is the one.
pub struct IpStream<'n> {
    resolver: Resolver<'n>,
    names: VecDeque<Name>,
    /// The lookups under way.
    pending: Vec<(RecordType, Pending<'n>)>,
    /// Told next.
    ready: VecDeque<Event>,
    /// Errors held back: another name may do better.
    held: Vec<Event>,
    /// Some address was found: this name is the one.
    found: bool,
}

impl<'n> IpStream<'n> {
    pub(super) fn new(resolver: Resolver<'n>, host: &str) -> Result<Self, DnsError> {
        let mut stream = Self {
            names: VecDeque::new(),
            pending: Vec::new(),
            ready: VecDeque::new(),
            held: Vec::new(),
            found: false,
            resolver,
        };
        match literal(host) {
            Some(address) => stream.ready = literal_events(host, address).into(),
            None => stream.names = stream.resolver.candidates(host)?.into(),
        }
        stream.begin();
        Ok(stream)
    }

    /// Starts with the next name.
    fn begin(&mut self) {
        if let Some(name) = self.names.pop_front() {
            // AAAA first: RFC 8305, 3.
            self.pending = [RecordType::AAAA, RecordType::A]
                .map(|record_type| (record_type, self.resolver.start(&name, record_type)))
                .into();
        }
    }

    /// What the next family's lookup gave; `None` after both. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<(RecordType, Result<Answer, DnsError>)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for those who poll by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.pending.is_empty() {
                return Poll::Ready(None);
            }
            let mut done = Vec::new();
            self.pending
                .retain_mut(|(record_type, pending)| match Pin::new(pending).poll(cx) {
                    Poll::Ready(result) => {
                        done.push((*record_type, result));
                        false
                    }
                    Poll::Pending => true,
                });
            if done.is_empty() {
                return Poll::Pending;
            }
            for event in done {
                self.sort_in(event);
            }
        }
    }

    fn sort_in(&mut self, event: Event) {
        self.found |= event.1.is_ok();
        if event.1.is_ok() {
            self.ready.push_back(event);
        } else {
            self.held.push(event);
        }
        if self.found {
            self.ready.extend(self.held.drain(..));
        } else if self.pending.is_empty() {
            let hopeless = self
                .held
                .iter()
                .any(|(_, result)| result.as_ref().is_err_and(|error| !may_try_next(*error)));
            if self.names.is_empty() || hopeless {
                self.ready.extend(self.held.drain(..));
            } else {
                self.held.clear();
                self.begin();
            }
        }
    }
}

impl core::fmt::Debug for IpStream<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IpStream")
            .field("names", &self.names)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// A literal has its own address, and none of the other family.
fn literal_events(text: &str, address: IpAddr) -> Vec<Event> {
    let (record_type, other, data) = match address {
        IpAddr::V4(v4) => (RecordType::A, RecordType::AAAA, RData::A(A(v4))),
        IpAddr::V6(v6) => (RecordType::AAAA, RecordType::A, RData::AAAA(AAAA(v6))),
    };
    let name = Name::from_ascii(text).unwrap_or_default();
    let found = Found {
        records: Vec::from([Record::from_rdata(name.clone(), u32::MAX, data)]),
        name,
        record_type,
        aliases: Vec::new(),
        authentic: true,
    };
    let answer = Answer {
        found: Rc::new(found),
        source: Source::Local,
        ttl: Duration::MAX,
    };
    Vec::from([(record_type, Ok(answer)), (other, Err(DnsError::NoRecords))])
}
