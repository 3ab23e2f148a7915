//! What worked before.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::IpAddr;
use core::time::Duration;

use pollwire_core::Instant;

use crate::Family;

/// Hosts remembered at most.
const HOSTS: usize = 64;
/// For how long: networks change (RFC 6555, 4.2 says ten minutes).
const KEPT: Duration = Duration::from_secs(600);

/// Which address of each host connected last, and how fast. Bounded; the oldest
/// go first.
#[derive(Clone, Debug, Default)]
pub struct History {
    hosts: BTreeMap<String, Known>,
}

/// What is known of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) address: IpAddr,
    pub(crate) rtt: Duration,
    until: Instant,
}

impl Known {
    pub(crate) fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
        }
    }

    /// `host` was reached at `address`; its handshake took `rtt`.
    pub fn note(&mut self, now: Instant, host: &str, address: IpAddr, rtt: Duration) {
        let known = Known {
            address,
            rtt,
            until: now + KEPT,
        };
        self.hosts.insert(host.to_ascii_lowercase(), known);
        while self.hosts.len() > HOSTS {
            let oldest = self.hosts.iter().min_by_key(|(_, known)| known.until);
            let Some(oldest) = oldest.map(|(host, _)| host.clone()) else {
                return;
            };
            self.hosts.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, now: Instant, host: &str) -> Option<Known> {
        let known = self.hosts.get(&host.to_ascii_lowercase())?;
        (known.until > now).then_some(*known)
    }

    /// Forgets `host`: what worked does so no longer.
    pub fn forget(&mut self, host: &str) {
        self.hosts.remove(&host.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn ten_minutes_and_sixty_four_hosts_are_remembered() {
        let mut history = History::new();
        let address = IpAddr::from([192, 0, 2, 1]);
        let at = Instant::from_secs;
        for number in 0..100 {
            history.note(at(number), &format!("Host{number}"), address, KEPT);
        }
        assert!(history.get(at(100), "host35").is_none());
        assert!(history.get(at(100), "HOST36").is_some());
        assert!(history.get(at(635), "host36").is_some());
        assert!(history.get(at(636), "host36").is_none());
        history.forget("host99");
        assert!(history.get(at(100), "host99").is_none());
    }
}
