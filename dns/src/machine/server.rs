//! What is known of each server.

use core::time::Duration;

use pollwire_core::Instant;

use crate::Nameserver;

/// For how long a server that was found to lack something is not tried with it.
const LACKS_FOR: Duration = Duration::from_secs(15 * 60);
/// The longest rest after failures.
const LONGEST_REST: u32 = 60;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: Nameserver,
    failures: u32,
    rest_until: Instant,
    no_edns_until: Instant,
    no_case_until: Instant,
}

impl Server {
    pub(super) fn new(settings: Nameserver) -> Self {
        Self {
            settings,
            failures: 0,
            rest_until: Instant::ZERO,
            no_edns_until: Instant::ZERO,
            no_case_until: Instant::ZERO,
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.rest_until = Instant::ZERO;
    }

    /// It did not answer, or could not be reached: others come before it for a
    /// while, twice as long each time.
    pub(super) fn silent(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let seconds = 1_u32
            .checked_shl(self.failures.min(10))
            .unwrap_or(LONGEST_REST);
        self.rest_until = now + Duration::from_secs(seconds.min(LONGEST_REST).into());
    }

    /// When it may be preferred again: servers are asked in this order, and
    /// then in that of the configuration.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        (self.rest_until > now).then_some(self.rest_until)
    }

    pub(super) fn takes_edns(&self, now: Instant) -> bool {
        self.no_edns_until <= now
    }

    pub(super) fn lacks_edns(&mut self, now: Instant) {
        self.no_edns_until = now + LACKS_FOR;
    }

    pub(super) fn keeps_case(&self, now: Instant) -> bool {
        self.no_case_until <= now
    }

    pub(super) fn loses_case(&mut self, now: Instant) {
        self.no_case_until = now + LACKS_FOR;
    }
}
