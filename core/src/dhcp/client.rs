//! The client's states (RFC 2131, 4.4), without input or output.
//!
//! RFC 2131, 4.4.1, would have hosts wait 1 to 10 seconds before the first
//! message, lest all start at once after a power failure. This one does not: a
//! unikernel boots by itself, in milliseconds, and is waited for.

use alloc::boxed::Box;
use alloc::string::String;
use core::net::Ipv4Addr;
use core::time::Duration;

use pollwire_rings::Instant;

use super::{DhcpConfig, DhcpLease, Fallback};
use crate::DropReason;
use crate::iface::{Ipv4Cidr, random_between};
use crate::random::Random;
use crate::wire::dhcp::{DhcpKind, DhcpMessage};
use crate::wire::{MacAddr, UnicastV4};

/// RFC 2131, 4.1: the first retransmission comes after 4 seconds "randomized by
/// the value of a uniform random number chosen from the range -1 to +1", each
/// later one after twice as long, "up to a maximum of 64 seconds".
const BACK_OFF: Duration = Duration::from_secs(4);
const MAX_DOUBLINGS: u32 = 4;
/// Requests without an answer after which another offer is sought: 60 seconds.
const REQUEST_TRIES: u32 = 4;
/// The same of the address of an earlier boot.
const REBOOT_TRIES: u32 = 2;
/// RFC 2131, 4.4.5: "down to a minimum of 60 seconds".
const MIN_RENEWAL: Duration = Duration::from_secs(60);
/// RFC 2131, 3.1, 5: "The client SHOULD wait a minimum of ten seconds before
/// restarting the configuration process" after a DHCPDECLINE.
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// Shorter leases are taken for this long: what is due would be due at once,
/// again and again.
const MIN_LEASE: u32 = 10;
/// All ones: for ever (RFC 2131, 3.3).
const FOR_EVER: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A DISCOVER is to be sent.
    Init,
    /// Waiting for an offer.
    Selecting,
    /// Waiting for the server to confirm its offer.
    Requesting {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// Waiting for any server to confirm an address of an earlier boot.
    Rebooting(Ipv4Addr),
    Bound,
    Renewing,
    Rebinding,
    /// The application gave the address back.
    Released,
}

/// What the stack is to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Send this, from our address to that one.
    Send(Box<DhcpMessage>, Ipv4Addr, Ipv4Addr),
    /// Use what the lease says; the one before is over.
    Use,
    /// The lease is over.
    Lost,
    /// Use this until there is a lease.
    FallBack(Fallback),
}

/// A DHCP client.
pub(crate) struct Client {
    config: DhcpConfig,
    mac: MacAddr,
    state: State,
    xid: u32,
    /// When this attempt began.
    since: Instant,
    /// Messages of this kind sent.
    tries: u32,
    /// Refusals in a row.
    refusals: u32,
    due: Instant,
    lease: Option<Box<DhcpLease>>,
    fallback_at: Option<Instant>,
    /// The address had last, to be asked for again.
    last: Option<Ipv4Addr>,
}

impl Client {
    pub(crate) fn new(config: DhcpConfig, mac: MacAddr) -> Self {
        Self {
            state: config.reboot.map_or(State::Init, State::Rebooting),
            last: config.reboot,
            config,
            mac,
            xid: 0,
            since: Instant::ZERO,
            tries: 0,
            refusals: 0,
            due: Instant::ZERO,
            lease: None,
            fallback_at: None,
        }
    }

    pub(super) fn lease(&self) -> Option<&DhcpLease> {
        self.lease.as_deref()
    }

    /// Whether there is no lease, and one is looked for.
    pub(super) fn seeks_lease(&self) -> bool {
        self.lease.is_none() && self.state != State::Released
    }

    pub(super) fn config(&self) -> &DhcpConfig {
        &self.config
    }

    /// When [`expire`](Self::expire) next has work.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = (self.state != State::Released).then_some(self.due);
        let due = due.filter(|&due| due != Instant::FAR_FUTURE);
        crate::stack::earlier(due, self.fallback_at)
    }

    /// Does one thing that is due.
    pub(super) fn expire(&mut self, now: Instant, random: &mut Random) -> Step {
        if self.xid == 0 {
            self.begin(now, random);
            let fallback = self.config.fallback;
            self.fallback_at = fallback.map(|fallback| now + fallback.after);
        }
        if self.fallback_at.is_some_and(|at| at <= now) {
            self.fallback_at = None;
            return self.config.fallback.map_or(Step::Rest, Step::FallBack);
        }
        if self.due > now {
            return Step::Rest;
        }
        match self.state {
            State::Init => {
                self.begin(now, random);
                self.state = State::Selecting;
                self.discover(now, random)
            }
            State::Selecting => self.discover(now, random),
            State::Requesting { .. } if self.tries >= REQUEST_TRIES => self.restart(now),
            State::Rebooting(_) if self.tries >= REBOOT_TRIES => self.restart(now),
            State::Requesting { address, server } => {
                self.request(now, address, Some(server), random)
            }
            State::Rebooting(address) => self.request(now, address, None, random),
            State::Bound | State::Renewing | State::Rebinding => self.renew(now, random),
            State::Released => Step::Rest,
        }
    }

    /// A new exchange of messages.
    fn begin(&mut self, now: Instant, random: &mut Random) {
        // 0 means that none was begun yet.
        self.xid = random.next_u32().max(1);
        self.since = now;
        self.tries = 0;
    }

    fn restart(&mut self, now: Instant) -> Step {
        self.state = State::Init;
        self.due = now;
        Step::Rest
    }

    /// When the next retransmission is due; counts the one that is being sent.
    fn back_off(&mut self, now: Instant, random: &mut Random) {
        let wait = BACK_OFF * (1 << self.tries.min(MAX_DOUBLINGS));
        let second = Duration::from_secs(1);
        self.due = now + random_between(random, wait - second, wait + second);
        self.tries += 1;
    }

    fn message(&self, now: Instant, kind: DhcpKind) -> Box<DhcpMessage> {
        let secs = now.since(self.since).as_secs();
        let host_name = self.config.host_name.bytes();
        Box::new(DhcpMessage {
            secs: u16::try_from(secs).unwrap_or(u16::MAX),
            host_name: host_name.take(crate::wire::dhcp::MAX_NAME).collect(),
            ..DhcpMessage::new(kind, self.xid, self.mac)
        })
    }

    fn discover(&mut self, now: Instant, random: &mut Random) -> Step {
        self.back_off(now, random);
        let mut message = self.message(now, DhcpKind::Discover);
        // No address, so no unicast is taken in.
        message.broadcast = true;
        message.requested = self.last;
        Step::Send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }

    fn request(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        server: Option<Ipv4Addr>,
        random: &mut Random,
    ) -> Step {
        self.back_off(now, random);
        let mut message = self.message(now, DhcpKind::Request);
        message.broadcast = true;
        message.requested = Some(address);
        message.server = server;
        Step::Send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }

    /// RFC 2131, 4.4.5: asks the server from T1 on and any server from T2 on,
    /// each time after half of what remains; then it is over.
    fn renew(&mut self, now: Instant, random: &mut Random) -> Step {
        let Some(lease) = &self.lease else {
            return self.restart(now);
        };
        let (address, server) = (lease.address.address(), lease.server);
        let (rebind_at, expires_at) = (lease.rebind_at, lease.expires_at);
        if expires_at <= now {
            return self.lose(now);
        }
        let (state, until, to) = if rebind_at <= now {
            (State::Rebinding, expires_at, Ipv4Addr::BROADCAST)
        } else {
            (State::Renewing, rebind_at, server)
        };
        if self.state == State::Bound {
            self.begin(now, random);
        }
        self.state = state;
        let wait = (until.since(now) / 2).max(MIN_RENEWAL);
        self.due = until.min(now + wait);
        let mut message = self.message(now, DhcpKind::Request);
        message.client = address;
        Step::Send(message, address, to)
    }

    fn lose(&mut self, now: Instant) -> Step {
        self.lease = None;
        self.state = State::Init;
        self.due = now;
        Step::Lost
    }

    /// Takes a server's message.
    pub(super) fn input(
        &mut self,
        now: Instant,
        message: &DhcpMessage,
        random: &mut Random,
    ) -> Result<Step, DropReason> {
        let ours = message.xid == self.xid && message.mac == self.mac && self.xid != 0;
        if !ours {
            return Err(DropReason::DhcpUnexpected);
        }
        match (message.kind, self.state) {
            (DhcpKind::Offer, State::Selecting) => self.take_offer(now, message, random),
            (DhcpKind::Ack, State::Requesting { address, server }) => {
                let agreed =
                    message.yours == address && message.server.is_none_or(|from| from == server);
                self.take_ack(now, message, Some(server), agreed, random)
            }
            (DhcpKind::Ack, State::Rebooting(address)) => {
                self.take_ack(now, message, None, message.yours == address, random)
            }
            (DhcpKind::Ack, State::Renewing | State::Rebinding) => {
                let lease = self.lease.as_ref();
                let server = lease.map(|lease| lease.server);
                let same = lease.is_some_and(|lease| lease.address.address() == message.yours);
                self.take_ack(now, message, server, same, random)
            }
            (DhcpKind::Nak, State::Requesting { server, .. })
                if message.server.is_some_and(|from| from != server) =>
            {
                Err(DropReason::DhcpUnexpected)
            }
            (DhcpKind::Nak, State::Requesting { .. } | State::Rebooting(_)) => {
                self.last = None;
                let step = self.restart(now);
                self.due = now + self.after_refusal();
                Ok(step)
            }
            (DhcpKind::Nak, State::Renewing | State::Rebinding) => {
                self.last = None;
                Ok(self.lose(now))
            }
            _ => Err(DropReason::DhcpUnexpected),
        }
    }

    /// A server that goes on refusing what it offers is asked ever less often.
    fn after_refusal(&mut self) -> Duration {
        let wait = BACK_OFF * (1 << self.refusals.min(MAX_DOUBLINGS)) / 4;
        self.refusals = self.refusals.saturating_add(1);
        wait
    }

    fn take_offer(
        &mut self,
        now: Instant,
        offer: &DhcpMessage,
        random: &mut Random,
    ) -> Result<Step, DropReason> {
        let server = offer.server.ok_or(DropReason::DhcpMalformed)?;
        if UnicastV4::new(offer.yours).is_none() {
            return Err(DropReason::DhcpMalformed);
        }
        let address = offer.yours;
        self.state = State::Requesting { address, server };
        self.tries = 0;
        Ok(self.request(now, address, Some(server), random))
    }

    fn take_ack(
        &mut self,
        now: Instant,
        ack: &DhcpMessage,
        server: Option<Ipv4Addr>,
        agreed: bool,
        random: &mut Random,
    ) -> Result<Step, DropReason> {
        if !agreed {
            return Err(DropReason::DhcpUnexpected);
        }
        let server = ack.server.or(server);
        let server = server.ok_or(DropReason::DhcpMalformed)?;
        let lease = lease_of(now, ack, server, random).ok_or(DropReason::DhcpMalformed)?;
        self.last = Some(lease.address.address());
        self.due = lease.renew_at;
        self.lease = Some(Box::new(lease));
        self.state = State::Bound;
        self.refusals = 0;
        self.fallback_at = None;
        Ok(Step::Use)
    }

    /// Another host has the address. RFC 2131, 3.1, 5: the client "MUST send a
    /// DHCPDECLINE message to the server and restarts the configuration
    /// process".
    pub(super) fn decline(&mut self, now: Instant) -> Step {
        let Some(lease) = self.lease.take() else {
            return Step::Rest;
        };
        let mut message = self.message(now, DhcpKind::Decline);
        message.secs = 0;
        message.requested = Some(lease.address.address());
        message.server = Some(lease.server);
        self.last = None;
        self.state = State::Init;
        self.due = now + AFTER_DECLINE;
        Step::Send(message, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }

    /// Gives the address back, and stops.
    pub(super) fn release(&mut self, now: Instant, random: &mut Random) -> Step {
        self.state = State::Released;
        self.fallback_at = None;
        let Some(lease) = self.lease.take() else {
            return Step::Rest;
        };
        self.begin(now, random);
        let mut message = self.message(now, DhcpKind::Release);
        message.client = lease.address.address();
        message.server = Some(lease.server);
        Step::Send(message, lease.address.address(), lease.server)
    }
}

/// The lease that an ACK gives; `None` when it gives none.
fn lease_of(
    now: Instant,
    ack: &DhcpMessage,
    server: Ipv4Addr,
    random: &mut Random,
) -> Option<DhcpLease> {
    let address = UnicastV4::new(ack.yours)?.get();
    let prefix = ack.prefix.unwrap_or_else(|| class_prefix(address));
    let seconds = ack.lease?.max(MIN_LEASE);
    let at = |seconds: u32| now + Duration::from_secs(seconds.into());
    // RFC 2131, 4.4.5: T1 defaults to 0.5, T2 to 0.875 of the lease, and T2 must
    // be later than T1 and earlier than the lease's end.
    let rebinding = ack.rebinding.filter(|&t2| t2 > 0 && t2 < seconds);
    let rebinding = rebinding.unwrap_or(seconds - seconds.div_ceil(8));
    let renewal = ack.renewal.filter(|&t1| t1 > 0 && t1 < rebinding);
    let renewal = renewal.unwrap_or((seconds / 2).min(rebinding - 1));
    // "Times T1 and T2 SHOULD be chosen with some random "fuzz" around a fixed
    // value, to avoid synchronization of client reacquisition."
    let fuzz = |random: &mut Random, seconds: u32| seconds - random.below(seconds / 32 + 1);
    let (renew_at, rebind_at, expires_at) = if seconds == FOR_EVER {
        (
            Instant::FAR_FUTURE,
            Instant::FAR_FUTURE,
            Instant::FAR_FUTURE,
        )
    } else {
        let renewal = fuzz(random, renewal);
        let rebinding = fuzz(random, rebinding).max(renewal + 1);
        (at(renewal), at(rebinding), at(seconds))
    };
    Some(DhcpLease {
        address: Ipv4Cidr::new(address, prefix)?,
        server,
        routers: ack.routers.clone(),
        routes: ack.routes.clone(),
        dns_servers: ack.dns.clone(),
        domain: domain_of(&ack.domain),
        mtu: ack.mtu,
        renew_at,
        rebind_at,
        expires_at,
    })
}

/// What the mask was before there were masks; servers must send one since.
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// A domain of letters, digits, hyphens and dots (RFC 1123, 2.1); empty when it
/// has anything else.
fn domain_of(text: &[u8]) -> String {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.iter().all(fine) {
        String::from_utf8_lossy(text).trim_matches('.').into()
    } else {
        String::new()
    }
}
