//! Session tickets of a server: the session, sealed under a key that only the
//! server knows and changes in time (RFC 5077; RFC 8446, 4.6.1).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use spin::Mutex;

use super::SharedClock;

/// Seconds that one key seals tickets; for as long again it opens them.
const LIFETIME: u32 = 6 * 3600;
const KEY_NAME: usize = 16;
const KEY: usize = 32;
const TAG: usize = 16;

struct Key {
    /// Tells a ticket of this key from others', without trying to open it.
    name: [u8; KEY_NAME],
    key: LessSafeKey,
}

struct Keys {
    current: Key,
    previous: Option<Key>,
    /// When the current key began to serve.
    since: u64,
}

/// Seals and opens tickets.
pub(super) struct Tickets {
    keys: Mutex<Keys>,
    clock: Arc<SharedClock>,
    random: &'static dyn SecureRandom,
}

impl Tickets {
    /// `None` without entropy.
    pub(super) fn new(clock: Arc<SharedClock>, random: &'static dyn SecureRandom) -> Option<Self> {
        let keys = Keys {
            current: Key::new(random)?,
            previous: None,
            since: clock.seconds(),
        };
        Some(Self {
            keys: Mutex::new(keys),
            clock,
            random,
        })
    }

    /// The keys, changed if their time has come. Without entropy the old ones
    /// go on.
    fn with_keys<T>(&self, work: impl FnOnce(&Keys) -> T) -> T {
        let mut keys = self.keys.lock();
        let now = self.clock.seconds();
        let age = now.saturating_sub(keys.since);
        if age >= u64::from(LIFETIME)
            && let Some(fresh) = Key::new(self.random)
        {
            let old = core::mem::replace(&mut keys.current, fresh);
            // After a long idle time even the last one is too old.
            keys.previous = (age < 2 * u64::from(LIFETIME)).then_some(old);
            keys.since = now;
        }
        work(&keys)
    }
}

impl Key {
    fn new(random: &dyn SecureRandom) -> Option<Self> {
        let (mut name, mut secret) = ([0; KEY_NAME], [0; KEY]);
        random.fill(&mut name).ok()?;
        random.fill(&mut secret).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).ok()?;
        let key = LessSafeKey::new(key);
        Some(Self { name, key })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// Key name, nonce, sealed session, tag. A random nonce of 96 bits serves
    /// for 2^32 tickets of one key, which six hours do not see.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| {
            let Key { name, key } = &keys.current;
            let mut nonce = [0; NONCE_LEN];
            self.random.fill(&mut nonce).ok()?;
            let mut ticket = Vec::with_capacity(KEY_NAME + NONCE_LEN + plain.len() + TAG);
            ticket.extend_from_slice(name);
            ticket.extend_from_slice(&nonce);
            ticket.extend_from_slice(plain);
            let sealed = ticket.get_mut(KEY_NAME + NONCE_LEN..)?;
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key
                .seal_in_place_separate_tag(nonce, Aad::from(name), sealed)
                .ok()?;
            ticket.extend_from_slice(tag.as_ref());
            Some(ticket)
        })
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| {
            let (name, rest) = cipher.split_first_chunk::<KEY_NAME>()?;
            let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
            let known = [Some(&keys.current), keys.previous.as_ref()];
            let key = known.into_iter().flatten().find(|key| key.name == *name)?;
            let mut plain = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.key.open_in_place(nonce, Aad::from(name), &mut plain);
            let length = opened.ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use pollwire_core::Instant;

    use super::*;
    use crate::WallClock;

    #[test]
    fn rfc8446_4_6_1_tickets_outlive_one_change_of_keys() {
        let wall = WallClock::new(Duration::from_secs(1_767_225_600), Instant::ZERO);
        let clock = Arc::new(SharedClock::new(wall));
        let random = rustls::crypto::ring::default_provider().secure_random;
        let tickets = Tickets::new(clock.clone(), random).expect("entropy");
        let hours = |count: u64| clock.set(Instant::ZERO + Duration::from_secs(3600 * count));
        let ticket = tickets.encrypt(b"a session").expect("sealed");
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        hours(7);
        let later = tickets.encrypt(b"another").expect("sealed");
        assert!(tickets.decrypt(&ticket).is_some(), "the previous key");
        hours(14);
        assert!(tickets.decrypt(&ticket).is_none(), "two keys ago");
        assert!(tickets.decrypt(&later).is_some());
        hours(100);
        assert!(tickets.decrypt(&later).is_none(), "idle for long");
        for at in 0..later.len() {
            let mut altered = later.clone();
            altered[at] ^= 1;
            assert!(tickets.decrypt(&altered).is_none(), "byte {at}");
            assert!(tickets.decrypt(&later[..at]).is_none(), "cut at {at}");
        }
    }
}
