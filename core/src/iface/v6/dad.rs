//! Duplicate address detection (RFC 4862, 5.4): no address is used before
//! nobody answered for it. The optimistic variant (RFC 4429) is not used.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use pollwire_rings::Instant;

use super::address::{Origin, Own, Phase};
use super::router::Asking;
use crate::iface::NetEvent;
use crate::wire::ipv6::solicited_node;
use crate::{Counter, Ipv6Cidr, Stack};

/// RFC 4861, 10: MAX_RTR_SOLICITATION_DELAY.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// RFC 7217, 7: IDGEN_RETRIES; RFC 8981, 3.8: TEMP_IDGEN_RETRIES.
const RETRIES: u8 = 3;
/// RFC 7217, 7: IDGEN_DELAY.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Stack {
    /// Goes on with every address whose time has come.
    pub(super) fn dad_expire(&mut self, now: Instant) {
        for index in 0..self.iface.v6.addresses.len() {
            let Some(own) = self.iface.v6.addresses.get_mut(index) else {
                return;
            };
            if own.due > now {
                continue;
            }
            match own.phase {
                Phase::New => {
                    // RFC 4862, 5.4.2: the first message of an interface waits
                    // for a random while, lest hosts that boot together speak
                    // together.
                    let millis = u32::try_from(FIRST_DELAY.as_millis()).unwrap_or(0);
                    let delay = self.random.below(millis);
                    own.due = now + Duration::from_millis(delay.into());
                    own.phase = Phase::Tentative {
                        left: self.iface.v6.config.dad_transmits,
                    };
                }
                Phase::Tentative { left: 0 } => self.dad_passed(now, index),
                Phase::Tentative { left } => {
                    let address = own.address();
                    own.phase = Phase::Tentative { left: left - 1 };
                    own.due = now + self.iface.v6.neighbors.timing.retransmit;
                    self.dad_solicit(now, address);
                }
                Phase::Assigned | Phase::Duplicate => own.due = Instant::FAR_FUTURE,
            }
        }
    }

    /// Joins the solicited-node groups of addresses that are to be heard of.
    pub(super) fn join_own_groups(&mut self, now: Instant) {
        let v6 = &mut self.iface.v6;
        for own in &mut v6.addresses {
            let wanted = matches!(own.phase, Phase::Tentative { .. } | Phase::Assigned);
            if own.due <= now && wanted && !own.joined {
                own.joined = v6.groups.join(now, solicited_node(own.address()));
            }
        }
    }

    /// `address` is not ours any more.
    pub(super) fn left_address(&mut self, now: Instant, address: Ipv6Addr) {
        self.iface.v6.groups.leave(now, solicited_node(address));
    }

    /// RFC 4862, 5.4.2: from the unspecified address, to those who may have it.
    fn dad_solicit(&mut self, now: Instant, address: Ipv6Addr) {
        let group = solicited_node(address);
        self.solicit(now, Ipv6Addr::UNSPECIFIED, group, address);
    }

    pub(super) fn dad_passed(&mut self, now: Instant, index: usize) {
        let Some(own) = self.iface.v6.addresses.get_mut(index) else {
            return;
        };
        (own.phase, own.due) = (Phase::Assigned, Instant::FAR_FUTURE);
        let (address, origin) = (own.address(), own.origin);
        if !own.joined {
            own.due = now;
        }
        if origin == Origin::LinkLocal {
            self.iface.v6.asking = Asking::from(now);
        }
        log::info!("{address} is ours");
        // It may have been a peer's.
        self.tcp.forget_last();
        self.iface.invalidate();
        self.events.push(NetEvent::AddressUp(IpAddr::V6(address)));
    }

    /// Another host has or tries `address`, which we try (RFC 4862, 5.4.5).
    pub(super) fn dad_failed(&mut self, now: Instant, address: Ipv6Addr) {
        self.counters.inc(Counter::NdpDuplicates);
        log::warn!("{address} is in use by another host");
        self.events
            .push(NetEvent::AddressDuplicate(IpAddr::V6(address)));
        let Some(index) = self
            .iface
            .v6
            .addresses
            .iter()
            .position(|own| own.address() == address)
        else {
            return;
        };
        let another = self.another_identifier(index);
        if let Some(own) = self.iface.v6.addresses.get_mut(index) {
            let joined = core::mem::take(&mut own.joined);
            let origin = own.origin;
            match another {
                Some(cidr) => {
                    own.cidr = cidr;
                    own.retries += 1;
                    own.phase = Phase::New;
                    own.due = now + RETRY_DELAY;
                }
                None => (own.phase, own.due) = (Phase::Duplicate, Instant::FAR_FUTURE),
            }
            if joined {
                self.left_address(now, address);
            }
            if another.is_none() && origin == Origin::LinkLocal {
                // Routers may be asked from the unspecified address, too.
                self.iface.v6.asking = Asking::from(now);
            }
        }
        self.reschedule_v6();
    }

    /// RFC 7217, 6: the next identifier, when the one in use is ours to choose.
    fn another_identifier(&mut self, index: usize) -> Option<Ipv6Cidr> {
        let v6 = &self.iface.v6;
        let own: &Own = v6.addresses.get(index)?;
        if own.retries >= RETRIES {
            return None;
        }
        let tries = own.retries + 1;
        let next = match own.origin {
            Origin::Static => return None,
            Origin::LinkLocal => v6.identifiers.link_local(v6.mac, tries),
            Origin::Slaac => v6.identifiers.address(own.address(), v6.mac, tries),
            Origin::Temporary => {
                let high = own.address().to_bits() >> 64 << 64;
                Ipv6Addr::from_bits(high | u128::from(self.random.next_u64()))
            }
        };
        // From an Ethernet address there is but one.
        (next != own.address())
            .then(|| Ipv6Cidr::new(next, own.cidr.prefix()))
            .flatten()
    }
}
