//! Answers kept, good ones and bad ones.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::time::Duration;

use hickory_proto::rr::{Name, Record, RecordType};
use pollwire_core::Instant;

use crate::answer::Found;
use crate::{CacheLimits, DnsError};

/// The type under which "no such name" is kept: it holds for all of them.
const EVERY_TYPE: RecordType = RecordType::ZERO;
/// What an entry costs beside its records, about: keys, tree nodes.
const OVERHEAD: usize = 512;

type Outcome = Result<Rc<Found>, DnsError>;
type Key = (Name, RecordType);

/// What the cache found.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) outcome: Outcome,
    /// What is left of its time to live; zero once stale.
    pub(crate) ttl: Duration,
    /// It may serve only if no server answers.
    pub(crate) stale: bool,
    /// A stale one: no server answered a moment ago, so serve it at once.
    pub(crate) at_once: bool,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    expires: Instant,
    /// Gone for good.
    gone: Instant,
    /// While stale: not to be refreshed before.
    quiet_until: Instant,
    bytes: usize,
    used: u64,
}

/// A bounded table of answers; the least recently used goes first.
#[derive(Debug)]
pub(crate) struct Cache {
    limits: CacheLimits,
    entries: BTreeMap<Key, Entry>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    clock: u64,
}

impl Cache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            clock: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// What is known of `record_type` at `name` (absolute, lower case).
    pub(crate) fn get(
        &mut self,
        now: Instant,
        name: &Name,
        record_type: RecordType,
    ) -> Option<Hit> {
        self.look_up(now, &(name.clone(), EVERY_TYPE))
            .or_else(|| self.look_up(now, &(name.clone(), record_type)))
    }

    fn look_up(&mut self, now: Instant, key: &Key) -> Option<Hit> {
        let entry = self.entries.get_mut(key)?;
        if entry.gone <= now {
            self.remove(key);
            return None;
        }
        self.clock += 1;
        self.order.remove(&entry.used);
        entry.used = self.clock;
        self.order.insert(self.clock, key.clone());
        let stale = entry.expires <= now;
        Some(Hit {
            outcome: entry.outcome.clone(),
            ttl: entry.expires.since(now),
            stale,
            at_once: stale && now < entry.quiet_until,
        })
    }

    /// Keeps that `found` holds for `ttl` seconds; returns for how long it
    /// really will. `wire_len` is the length of the message that said so.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        found: Rc<Found>,
        ttl: u32,
        wire_len: usize,
    ) -> Duration {
        let ttl = Duration::from_secs(ttl.into()).clamp(
            self.limits.min_ttl.min(self.limits.max_ttl),
            self.limits.max_ttl,
        );
        let bytes = found.records.len() * size_of::<Record>() + 2 * wire_len;
        let key = (found.name.clone(), found.record_type);
        // The name exists after all.
        self.remove(&(found.name.clone(), EVERY_TYPE));
        let stale = self.limits.serve_stale.unwrap_or_default();
        self.insert(now, key, Ok(found), ttl, stale, bytes);
        ttl
    }

    /// Keeps that there is nothing, or that no server could say.
    pub(crate) fn keep_error(
        &mut self,
        now: Instant,
        name: &Name,
        record_type: RecordType,
        error: DnsError,
        ttl: u32,
    ) {
        let ttl = Duration::from_secs(ttl.into()).min(self.limits.max_negative_ttl);
        let record_type = match error {
            // RFC 2308, 5: NXDOMAIN is kept by name, NODATA by name and type.
            DnsError::NoSuchName => EVERY_TYPE,
            _ => record_type,
        };
        self.insert(
            now,
            (name.clone(), record_type),
            Err(error),
            ttl,
            Duration::ZERO,
            0,
        );
    }

    /// Keeps that the servers failed, unless something better, if old, is known.
    pub(crate) fn keep_failure(
        &mut self,
        now: Instant,
        name: &Name,
        record_type: RecordType,
        error: DnsError,
    ) {
        let key = (name.clone(), record_type);
        if !self.entries.contains_key(&key) {
            self.insert(
                now,
                key,
                Err(error),
                self.limits.failure_ttl,
                Duration::ZERO,
                0,
            );
        }
    }

    /// Serves the stale answer at once for a while: no server answered.
    ///
    /// RFC 8767, 5 recommends not to ask failing servers more often than every 30
    /// seconds.
    pub(crate) fn quiet(&mut self, name: &Name, record_type: RecordType, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&(name.clone(), record_type)) {
            entry.quiet_until = until;
        }
    }

    fn insert(
        &mut self,
        now: Instant,
        key: Key,
        outcome: Outcome,
        ttl: Duration,
        stale: Duration,
        bytes: usize,
    ) {
        self.remove(&key);
        let bytes = bytes + OVERHEAD + 2 * key.0.len();
        // RFC 1035, 3.2.1: a time to live of zero is not kept.
        let nothing = ttl.is_zero() && stale.is_zero();
        if nothing || self.limits.entries == 0 || bytes > self.limits.bytes {
            return;
        }
        self.clock += 1;
        let expires = now + ttl;
        let entry = Entry {
            outcome,
            expires,
            gone: expires + stale,
            quiet_until: Instant::ZERO,
            bytes,
            used: self.clock,
        };
        self.bytes += bytes;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Throws entries out until the limits hold again; returns how many.
    pub(crate) fn trim(&mut self) -> u64 {
        let mut evicted = 0;
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some((_, key)) = self.order.pop_first() else {
                break;
            };
            self.remove(&key);
            evicted += 1;
        }
        evicted
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
