//! Groups that this host listens to over IPv4, and what it tells routers of
//! them: IGMPv3 (RFC 3376), any source, and version 2 or 1 where a router speaks
//! that.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use arrayvec::ArrayVec;
use pollwire_offload::checksum::Sum;
use pollwire_rings::{FrameBuf, Instant, TxMeta};
use zerocopy::big_endian::U16;

use super::Pending;
use super::claim::random_between;
use crate::ip::{IpFields, IpMeta, header};
use crate::random::Random;
use crate::wire::igmp::{GroupRecord, IgmpQuery, LEAVE_V2, REPORT_V1, REPORT_V2, emit_v2, emit_v3};
use crate::wire::ipv4::PROTOCOL_IGMP;
use crate::wire::{IPV4_HEADER, Ipv4Header};
use crate::{Counter, DropReason, Misuse, Stack};

/// The group that every host belongs to; nobody is told of it.
pub(crate) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Where version 2 tells of leaving a group.
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Where version 3 reports go.
const V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Groups that are listened to, and those that have just been left.
const MAX_GROUPS: usize = 32;
/// RFC 3376, 8.1: how often a change is told, for messages may get lost.
const ROBUSTNESS: u8 = 2;
/// RFC 3376, 8.11.
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 3376, 8.12, with the defaults of 8.1 to 8.3: how long a querier of an
/// older version sets the tone.
const OLDER_QUERIER: Duration = Duration::from_secs(260);
/// Bytes of the longest report: all groups in one.
const MAX_REPORT: usize = 8 + 8 * MAX_GROUPS;
/// RFC 2113: "Router shall examine packet."
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];

struct Group {
    address: Ipv4Addr,
    /// How many sockets asked for it; 0 once it is left.
    members: u32,
    /// How often the last change is yet to be told.
    changes_left: u8,
    due: Instant,
}

/// The groups of an interface.
pub(crate) struct Groups {
    groups: Vec<Group>,
    /// Which version is spoken instead of 3, and until when.
    older: (u8, Instant),
}

impl Groups {
    pub(super) const fn new() -> Self {
        Self {
            groups: Vec::new(),
            older: (3, Instant::ZERO),
        }
    }

    /// Whether this host listens to `group`.
    pub(crate) fn contains(&self, group: Ipv4Addr) -> bool {
        group == ALL_HOSTS || self.find(group).is_some_and(|known| known.members > 0)
    }

    fn find(&self, group: Ipv4Addr) -> Option<&Group> {
        self.groups.iter().find(|known| known.address == group)
    }

    fn join(&mut self, now: Instant, group: Ipv4Addr) -> bool {
        if let Some(known) = self.groups.iter_mut().find(|known| known.address == group) {
            known.members = known.members.saturating_add(1);
            if known.members == 1 {
                (known.changes_left, known.due) = (ROBUSTNESS, now);
            }
            return true;
        }
        let room = self.groups.len() < MAX_GROUPS;
        if room {
            self.groups.push(Group {
                address: group,
                members: 1,
                changes_left: ROBUSTNESS,
                due: now,
            });
        }
        room
    }

    fn leave(&mut self, now: Instant, group: Ipv4Addr) {
        let known = self.groups.iter_mut().find(|known| known.address == group);
        let Some(known) = known.filter(|known| known.members > 0) else {
            return;
        };
        known.members -= 1;
        if known.members == 0 {
            (known.changes_left, known.due) = (ROBUSTNESS, now);
        }
    }

    /// When a report is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.groups.iter().map(|group| group.due).min();
        due.filter(|&due| due != Instant::FAR_FUTURE)
    }

    fn version(&self, now: Instant) -> u8 {
        let (version, until) = self.older;
        if until > now { version } else { 3 }
    }

    /// A router asks: answers are due within the query's time, each at random,
    /// unless one is due sooner.
    fn queried(&mut self, now: Instant, query: &IgmpQuery, random: &mut Random) {
        if query.version < 3 {
            self.older = (query.version, now + OLDER_QUERIER);
        }
        let span = Duration::from_millis(u64::from(query.span) * 100);
        for known in &mut self.groups {
            let asked = query.group.is_unspecified() || known.address == query.group;
            if asked && known.members > 0 {
                let at = now + random_between(random, Duration::ZERO, span);
                known.due = known.due.min(at);
            }
        }
    }

    /// Takes what is to be told now. Groups that were left, and of which that
    /// has been told, are gone.
    fn take_due(
        &mut self,
        now: Instant,
        random: &mut Random,
    ) -> ArrayVec<(GroupRecord, Ipv4Addr), MAX_GROUPS> {
        let mut records = ArrayVec::new();
        for known in self.groups.iter_mut().filter(|known| known.due <= now) {
            let changed = known.changes_left > 0;
            known.changes_left = known.changes_left.saturating_sub(1);
            let record = match (known.members, changed) {
                (0, _) => GroupRecord::ToInclude,
                (_, true) => GroupRecord::ToExclude,
                (_, false) => GroupRecord::IsExclude,
            };
            // As many places as groups.
            let _fits = records.try_push((record, known.address));
            known.due = if known.changes_left > 0 {
                now + random_between(random, Duration::ZERO, UNSOLICITED_INTERVAL)
            } else {
                Instant::FAR_FUTURE
            };
        }
        self.groups
            .retain(|known| known.members > 0 || known.changes_left > 0);
        records
    }
}

impl Stack {
    /// Listens to an IPv4 group from now on.
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when it is none, [`Misuse::TableFull`] beyond
    /// 32 at once.
    pub(crate) fn join_v4(&mut self, group: Ipv4Addr) -> Result<(), Misuse> {
        self.chores_changed();
        if !group.is_multicast() {
            return Err(Misuse::BadDestination);
        }
        let now = self.now();
        if group == ALL_HOSTS || self.iface.groups.join(now, group) {
            Ok(())
        } else {
            Err(Misuse::TableFull)
        }
    }

    /// Undoes one [`join_v4`](Self::join_v4).
    pub(crate) fn leave_v4(&mut self, group: Ipv4Addr) {
        self.chores_changed();
        let now = self.now();
        self.iface.groups.leave(now, group);
    }

    /// Takes an IGMP message. `frame` begins with it.
    #[cold]
    pub(crate) fn igmp_input(
        &mut self,
        now: Instant,
        ip: &IpMeta,
        frame: &FrameBuf,
    ) -> Result<(), DropReason> {
        // RFC 3376, 4: "IP Time-to-Live of 1": from this link.
        if ip.ttl != 1 || !Sum::of(frame).is_valid() {
            return Err(DropReason::IgmpMalformed);
        }
        let Some(query) = IgmpQuery::parse(frame) else {
            // Reports of others: with version 3 nobody holds his tongue.
            return Err(DropReason::IgmpIgnored);
        };
        self.counters.inc(Counter::IgmpQueriesIn);
        let Self { iface, random, .. } = self;
        iface.groups.queried(now, &query, random);
        Ok(())
    }

    /// Sends the reports that are due.
    pub(super) fn igmp_expire(&mut self, now: Instant) {
        if self.iface.groups.deadline().is_none_or(|due| due > now) {
            return;
        }
        let Self { iface, random, .. } = self;
        let records = iface.groups.take_due(now, random);
        let version = iface.groups.version(now);
        if version == 3 {
            let report: ArrayVec<u8, MAX_REPORT> = emit_v3(&records);
            self.igmp_send(V3_ROUTERS, &report);
            return;
        }
        for (record, group) in records {
            match (record, version) {
                (GroupRecord::ToInclude, 1) => {}
                (GroupRecord::ToInclude, _) => {
                    self.igmp_send(ALL_ROUTERS, &emit_v2(LEAVE_V2, group));
                }
                (_, 1) => self.igmp_send(group, &emit_v2(REPORT_V1, group)),
                _ => self.igmp_send(group, &emit_v2(REPORT_V2, group)),
            }
        }
    }

    fn igmp_send(&mut self, to: Ipv4Addr, message: &[u8]) {
        // RFC 3376, 4.2.13: a report may be sent without an address.
        let own = match self.iface.source_for(IpAddr::V4(to)) {
            Some(IpAddr::V4(own)) => own,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.inc(Counter::NoFrame);
            return;
        };
        let len = IPV4_HEADER + ROUTER_ALERT.len() + message.len();
        let plain = header(
            IpFields::of(PROTOCOL_IGMP),
            own,
            to,
            u16::try_from(len).unwrap_or(0),
        );
        let header = Ipv4Header {
            // Six words.
            version_ihl: 0x46,
            // Precedence: internetwork control.
            tos: 0xc0,
            ..plain
        };
        frame.extend_from_slice(zerocopy::IntoBytes::as_bytes(&header));
        frame.extend_from_slice(&ROUTER_ALERT);
        let check = U16::new(Sum::of(&frame).finish());
        if let Some(field) = frame.get_mut(10..12) {
            field.copy_from_slice(&check.to_bytes());
        }
        frame.extend_from_slice(message);
        let packet = Pending {
            frame,
            payload: None,
            meta: TxMeta::default(),
        };
        match self.link_send_group(to, packet) {
            Ok(()) => self.counters.inc(Counter::IgmpReportsOut),
            Err(reason) => self.counters.drop(reason),
        }
    }
}
