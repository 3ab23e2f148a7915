//! Groups that this host listens to, told to routers and switches (MLDv2, RFC
//! 3810; version 1, RFC 2710, while a querier of that version is about).

use core::net::Ipv6Addr;
use core::time::Duration;

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, TxMeta};

use crate::iface::Pending;
use crate::ip::{IpFields, IpMeta};
use crate::wire::icmpv6::{MLD_DONE, MLD_REPORT, MLD_REPORT_V2};
use crate::wire::ipv6::{ALL_MLDV2_ROUTERS, ALL_NODES, ALL_ROUTERS, HOP_BY_HOP, PROTOCOL_ICMPV6};
use crate::{Counter, DropReason, Misuse, Random, Stack};

/// Most groups at once, those of our own addresses included.
pub(crate) const MAX_GROUPS: usize = 32;
/// RFC 3810, 9.1: Robustness Variable.
const ROBUSTNESS: u8 = 2;
/// RFC 3810, 9.11: Unsolicited Report Interval.
const UNSOLICITED: Duration = Duration::from_secs(1);
/// RFC 3810, 9.12: Older Version Querier Present Timeout, with the defaults of
/// query interval and response time.
const OLDER_QUERIER: Duration = Duration::from_secs(2 * 125 + 10);

/// Record types (RFC 3810, 5.2.12).
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;

/// Hop-by-hop options: a router alert for MLD (RFC 2711), and padding.
const ROUTER_ALERT: [u8; 8] = [PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0];

struct Group {
    address: Ipv6Addr,
    /// How many asked for it.
    members: u32,
    /// Reports of a change that are still to be sent; after the last one of a
    /// group that was left it is forgotten.
    changes_left: u8,
    /// When a report is due: of a change, or in answer to a query.
    due: Instant,
}

/// All groups of the interface.
pub(crate) struct Groups {
    groups: Vec<Group>,
    /// Until then a querier of version 1 is about.
    version_1_until: Instant,
}

impl Groups {
    pub(super) const fn new() -> Self {
        Self {
            groups: Vec::new(),
            version_1_until: Instant::ZERO,
        }
    }

    /// Whether this host listens to `group`.
    pub(crate) fn contains(&self, group: Ipv6Addr) -> bool {
        self.groups
            .iter()
            .any(|known| known.address == group && known.members > 0)
    }

    /// One more asks for `group`. `false` when there is no room.
    pub(super) fn join(&mut self, now: Instant, group: Ipv6Addr) -> bool {
        if let Some(known) = self.groups.iter_mut().find(|known| known.address == group) {
            known.members += 1;
            if known.members == 1 {
                (known.changes_left, known.due) = (ROBUSTNESS, now);
            }
            return true;
        }
        if self.groups.len() >= MAX_GROUPS {
            return false;
        }
        self.groups.push(Group {
            address: group,
            members: 1,
            changes_left: ROBUSTNESS,
            due: now,
        });
        true
    }

    /// One less asks for `group`. `false` when nobody did.
    pub(super) fn leave(&mut self, now: Instant, group: Ipv6Addr) -> bool {
        let known = self
            .groups
            .iter_mut()
            .find(|known| known.address == group && known.members > 0);
        let Some(known) = known else {
            return false;
        };
        known.members -= 1;
        if known.members == 0 {
            (known.changes_left, known.due) = (ROBUSTNESS, now);
        }
        true
    }

    /// When a report is next due; the far future for never.
    pub(super) fn deadline(&self) -> Instant {
        self.groups
            .iter()
            .map(|group| group.due)
            .min()
            .unwrap_or(Instant::FAR_FUTURE)
    }

    /// A querier asks about `group`, or about all of them: answers are due
    /// within `span`, each at a random time, unless one is due sooner.
    fn queried(&mut self, now: Instant, group: Ipv6Addr, span: Duration, random: &mut Random) {
        let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        for known in &mut self.groups {
            let asked = group.is_unspecified() || known.address == group;
            if asked && known.members > 0 {
                let delay = Duration::from_millis(random.below(millis.max(1)).into());
                known.due = known.due.min(now + delay);
            }
        }
    }

    /// What is to be told now: record type and group.
    fn take_due(
        &mut self,
        now: Instant,
        random: &mut Random,
    ) -> ArrayVec<(u8, Ipv6Addr), MAX_GROUPS> {
        let mut records = ArrayVec::new();
        for group in self.groups.iter_mut().filter(|group| group.due <= now) {
            let record = match (group.members, group.changes_left) {
                (0, _) => TO_INCLUDE,
                (_, 0) => IS_EXCLUDE,
                _ => TO_EXCLUDE,
            };
            records.push((record, group.address));
            group.changes_left = group.changes_left.saturating_sub(1);
            group.due = if group.changes_left == 0 {
                Instant::FAR_FUTURE
            } else {
                let millis = u32::try_from(UNSOLICITED.as_millis()).unwrap_or(0);
                now + Duration::from_millis(random.below(millis).into())
            };
        }
        self.groups
            .retain(|group| group.members > 0 || group.changes_left > 0);
        records
    }
}

/// What of a query matters here.
struct Query {
    group: Ipv6Addr,
    /// How long answers may take.
    span: Duration,
    version_1: bool,
}

/// RFC 3810, 5.1, and RFC 2710, 3: told apart by their length.
fn parse_query(message: &[u8]) -> Option<Query> {
    let fixed = message.first_chunk::<24>()?;
    let code = u16::from_be_bytes([fixed[4], fixed[5]]);
    let mut group = [0; 16];
    group.copy_from_slice(&fixed[8..]);
    let version_1 = message.len() == 24;
    if !version_1 && message.len() < 28 {
        return None;
    }
    // RFC 3810, 5.1.3: a floating point value.
    let millis = if version_1 || code < 0x8000 {
        u64::from(code)
    } else {
        u64::from(code & 0x0fff | 0x1000) << (((code >> 12) & 7) + 3)
    };
    Some(Query {
        group: group.into(),
        span: Duration::from_millis(millis),
        version_1,
    })
}

/// Whether routers want to know: RFC 3810, 6: never of all nodes, nor of groups
/// that do not leave the interface.
fn is_reported(group: Ipv6Addr) -> bool {
    group != ALL_NODES && group.octets()[1] & 0x0f > 1
}

impl Stack {
    /// Takes a multicast listener query; its checksum is right.
    ///
    /// RFC 3810, 6.2: it is from a link-local address, has a hop limit of 1 and
    /// a router alert, "otherwise it is silently discarded".
    pub(crate) fn mld_query(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        router_alert: bool,
        message: &[u8],
    ) -> Result<(), DropReason> {
        let from_router =
            matches!(ip.src, core::net::IpAddr::V6(src) if src.is_unicast_link_local());
        if !from_router || ip.ttl != 1 || !router_alert {
            return Err(DropReason::MldNotFromRouter);
        }
        let query = parse_query(message).ok_or(DropReason::MldMalformed)?;
        let groups = &mut self.iface.v6.groups;
        if query.version_1 {
            groups.version_1_until = now + OLDER_QUERIER;
        }
        groups.queried(now, query.group, query.span, &mut self.random);
        self.reschedule_v6();
        Ok(())
    }

    /// Listens to an IPv6 group from now on.
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when it is none, [`Misuse::TableFull`]
    /// beyond 32 at once, the groups of our own addresses included.
    pub(crate) fn join_v6(&mut self, group: Ipv6Addr) -> Result<(), Misuse> {
        self.chores_changed();
        if !group.is_multicast() {
            return Err(Misuse::BadDestination);
        }
        let now = self.now();
        if group == ALL_NODES || self.iface.v6.groups.join(now, group) {
            self.reschedule_v6();
            return Ok(());
        }
        Err(Misuse::TableFull)
    }

    /// Undoes one [`join_v6`](Self::join_v6).
    pub(crate) fn leave_v6(&mut self, group: Ipv6Addr) {
        self.chores_changed();
        let now = self.now();
        self.iface.v6.groups.leave(now, group);
        self.reschedule_v6();
    }

    /// Sends the reports that are due.
    pub(super) fn groups_expire(&mut self, now: Instant) {
        if self.iface.v6.groups.deadline() > now {
            return;
        }
        let mut records = self.iface.v6.groups.take_due(now, &mut self.random);
        records.retain(|(_, group)| is_reported(*group));
        if records.is_empty() {
            return;
        }
        if self.iface.v6.groups.version_1_until > now {
            for (record, group) in records {
                self.mld_send_v1(now, record, group);
            }
            return;
        }
        let mut message: ArrayVec<u8, { 8 + 20 * MAX_GROUPS }> = ArrayVec::new();
        message.extend([MLD_REPORT_V2, 0, 0, 0, 0, 0]);
        message.extend(u16::try_from(records.len()).unwrap_or(0).to_be_bytes());
        for (record, group) in records {
            message.extend([record, 0, 0, 0]);
            message.extend(group.octets());
        }
        self.mld_send(now, ALL_MLDV2_ROUTERS, &message);
    }

    /// RFC 2710, 3: one message for each group.
    fn mld_send_v1(&mut self, now: Instant, record: u8, group: Ipv6Addr) {
        let (kind, to) = if record == TO_INCLUDE {
            (MLD_DONE, ALL_ROUTERS)
        } else {
            (MLD_REPORT, group)
        };
        let mut message = [0; 24];
        message[0] = kind;
        message[8..].copy_from_slice(&group.octets());
        self.mld_send(now, to, &message);
    }

    /// Sends a message behind a router alert, from the link-local address, or
    /// from none while that is being tried (RFC 3590).
    fn mld_send(&mut self, now: Instant, to: Ipv6Addr, message: &[u8]) {
        let src = self.iface.v6.link_local().unwrap_or(Ipv6Addr::UNSPECIFIED);
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.drop(DropReason::SendNoFrame);
            return;
        };
        frame.extend_from_slice(&ROUTER_ALERT);
        frame.extend_from_slice(message);
        let len = u32::try_from(message.len()).unwrap_or(0);
        let check = Sum::pseudo_v6(src.octets(), to.octets(), PROTOCOL_ICMPV6, len)
            .add_bytes(message)
            .finish();
        seal(&mut frame, check);
        let packet = Pending {
            frame,
            payload: None,
            meta: TxMeta::default(),
        };
        match self.ipv6_send(now, src, to, IpFields::of(HOP_BY_HOP).hops(1), packet) {
            Ok(()) => self.counters.inc(Counter::MldReportsOut),
            Err(reason) => self.counters.drop(reason),
        }
    }
}

/// Writes the checksum of the message behind the options.
fn seal(frame: &mut FrameBuf, check: u16) {
    let at = ROUTER_ALERT.len() + 2;
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&check.to_be_bytes());
    }
}
