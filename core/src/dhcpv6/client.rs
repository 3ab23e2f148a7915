//! The client's states, without input or output.

use alloc::boxed::Box;
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

use super::Dhcpv6Info;
use crate::DropReason;
use crate::iface::random_between;
use crate::random::Random;
use crate::wire::MacAddr;
use crate::wire::dhcpv6::{DUID_LL, InformationReply, duid_ll, emit_information_request};

/// RFC 8415, 7.6: INF_MAX_DELAY.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// RFC 8415, 7.6: INF_TIMEOUT, the first interval between requests.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 8415, 7.6: INF_MAX_RT, the longest.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
/// What a server may set it to, in seconds (RFC 8415, 21.25).
const MAX_INTERVALS: core::ops::RangeInclusive<u32> = 60..=86_400;
/// RFC 8415, 7.6: IRT_DEFAULT and IRT_MINIMUM, seconds.
const REFRESH: u32 = 86_400;
const MIN_REFRESH: u32 = 600;
/// RFC 8415, 7.7: all ones, for ever.
const FOR_EVER: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody wants to know.
    Idle,
    /// The first request is to be sent.
    Starting,
    /// Waiting for a reply.
    Asking,
    /// Nothing is to be done until it is due; then it begins anew.
    Resting,
}

/// A stateless DHCPv6 client.
pub(crate) struct Client {
    duid: [u8; DUID_LL],
    state: State,
    transaction: u32,
    /// When the first request of this exchange was sent.
    since: Instant,
    interval: Duration,
    max_interval: Duration,
    due: Instant,
    info: Option<Box<Dhcpv6Info>>,
}

impl Client {
    /// A client that asks nobody yet.
    pub(crate) fn new(mac: MacAddr) -> Self {
        Self {
            duid: duid_ll(mac),
            state: State::Idle,
            transaction: 0,
            since: Instant::ZERO,
            interval: Duration::ZERO,
            max_interval: MAX_INTERVAL,
            due: Instant::FAR_FUTURE,
            info: None,
        }
    }

    pub(super) fn info(&self) -> Option<&Dhcpv6Info> {
        self.info.as_deref()
    }

    /// When [`expire`](Self::expire) next has work; the far future for never.
    pub(crate) fn deadline(&self) -> Instant {
        self.due
    }

    /// Whether it was begun to ask.
    pub(crate) fn is_active(&self) -> bool {
        self.state != State::Idle
    }

    /// Begins to ask, at `now`.
    pub(crate) fn start(&mut self, now: Instant) {
        self.state = State::Resting;
        self.due = now;
    }

    /// There is no address to ask from: not before `due`.
    pub(super) fn postpone(&mut self, due: Instant) {
        self.due = due;
    }

    /// Does what is due; returns a message to be sent.
    pub(super) fn expire(&mut self, now: Instant, random: &mut Random) -> Option<ArrayVec<u8, 64>> {
        if self.due > now {
            return None;
        }
        match self.state {
            State::Idle => {
                self.due = Instant::FAR_FUTURE;
                return None;
            }
            // RFC 8415, 18.2.6: "The first Information-request message from the
            // client on the interface MUST be delayed by a random amount of time
            // between 0 and INF_MAX_DELAY." And 21.23 has the same for those
            // that refresh.
            State::Resting => {
                self.state = State::Starting;
                self.due = now + random_between(random, Duration::ZERO, MAX_DELAY);
                return None;
            }
            State::Starting => {
                self.state = State::Asking;
                self.transaction = random.next_u32() & 0x00ff_ffff;
                self.since = now;
                self.interval = Duration::ZERO;
            }
            State::Asking => {}
        }
        self.back_off(now, random);
        // RFC 8415, 21.9: in hundredths of a second, 0 in the first message of
        // the exchange, all ones for more than fits.
        let elapsed = now.since(self.since).as_millis() / 10;
        let elapsed = u16::try_from(elapsed).unwrap_or(u16::MAX);
        Some(emit_information_request(
            self.transaction,
            &self.duid,
            elapsed,
        ))
    }

    /// RFC 8415, 15: `RT = IRT + RAND*IRT`, then `RT = 2*RTprev + RAND*RTprev`,
    /// then `RT = MRT + RAND*MRT`, with RAND between -0.1 and +0.1.
    fn back_off(&mut self, now: Instant, random: &mut Random) {
        let about = |base: Duration, random: &mut Random| {
            random_between(random, base - base / 10, base + base / 10)
        };
        let before = self.interval;
        self.interval = if before.is_zero() {
            about(FIRST_INTERVAL, random)
        } else {
            before + about(before, random)
        };
        if self.interval > self.max_interval {
            self.interval = about(self.max_interval, random);
        }
        self.due = now + self.interval;
    }

    /// Takes a server's reply, RFC 8415, 16.10 and 18.2.10.
    pub(super) fn input(
        &mut self,
        now: Instant,
        reply: InformationReply,
    ) -> Result<&Dhcpv6Info, DropReason> {
        let ours = self.state == State::Asking
            && reply.transaction == self.transaction
            && reply.client.as_deref() == Some(&self.duid)
            && reply.has_server;
        if !ours {
            return Err(DropReason::DhcpUnexpected);
        }
        // It counts even in a message of failure (18.2.10), unless it is out of
        // range (21.25).
        if let Some(seconds) = reply.max_interval.filter(|max| MAX_INTERVALS.contains(max)) {
            self.max_interval = Duration::from_secs(seconds.into());
        }
        if reply.status != 0 {
            return Err(DropReason::DhcpUnexpected);
        }
        self.state = State::Resting;
        self.due = match reply.refresh.unwrap_or(REFRESH) {
            FOR_EVER => Instant::FAR_FUTURE,
            // RFC 8415, 21.23: "A client MUST use the refresh time
            // IRT_MINIMUM if it receives the option with a value less than
            // IRT_MINIMUM."
            seconds => now + Duration::from_secs(seconds.max(MIN_REFRESH).into()),
        };
        Ok(self.info.insert(Box::new(Dhcpv6Info {
            dns_servers: reply.dns_servers,
            search_domains: reply.search_domains,
            refresh_at: self.due,
        })))
    }
}
