//! Addresses made under advertised prefixes (RFC 4862, 5.5), and temporary ones
//! beside them (RFC 8981).

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use pollwire_rings::Instant;

use super::address::{Origin, Own, Phase, is_reserved};
use super::router::until;
use crate::iface::NetEvent;
use crate::wire::ndp::PrefixInformation;
use crate::{Ipv6Cidr, Stack};

/// RFC 4862, 5.5.3 (e): what a lifetime is not shortened below, lest a forged
/// advertisement take a host's addresses away.
const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);
/// RFC 8981, 3.8: TEMP_VALID_LIFETIME, TEMP_PREFERRED_LIFETIME,
/// MAX_DESYNC_FACTOR (0.4 of the latter) and REGEN_ADVANCE.
const TEMPORARY_VALID: Duration = Duration::from_secs(2 * 86_400);
const TEMPORARY_PREFERRED: Duration = Duration::from_secs(86_400);
const MAX_DESYNC_MILLIS: u32 = 34_560_000;
const REGENERATE_BEFORE: Duration = Duration::from_secs(5);

impl Own {
    /// When its successor is made, if it gets one.
    fn regenerates_at(&self) -> Instant {
        if self.origin != Origin::Temporary || self.succeeded {
            return Instant::FAR_FUTURE;
        }
        let before = self.preferred_until.nanos_since(Instant::ZERO);
        let early = u64::try_from(REGENERATE_BEFORE.as_nanos()).unwrap_or(0);
        Instant::from_nanos(before.saturating_sub(early))
    }

    /// When its life goes on to another stage.
    pub(super) fn next_stage(&self) -> Instant {
        let deprecated = if self.deprecated {
            Instant::FAR_FUTURE
        } else {
            self.preferred_until
        };
        self.valid_until.min(deprecated).min(self.regenerates_at())
    }
}

impl Stack {
    /// An advertised prefix under which addresses may be made.
    pub(super) fn on_autonomous(
        &mut self,
        now: Instant,
        prefix: Ipv6Cidr,
        said: &PrefixInformation,
    ) {
        // RFC 4862, 5.5.3 (c), and (d): "If the sum of the prefix length and
        // interface identifier length does not equal 128 bits, the Prefix
        // Information option MUST be ignored."
        if said.preferred > said.valid || said.len != 64 {
            return;
        }
        let (valid, preferred) = (until(now, said.valid), until(now, said.preferred));
        let under = |own: &Own| own.cidr.prefix() == 64 && prefix.contains(own.address());
        let mut known = false;
        for own in &mut self.iface.v6.addresses {
            match own.origin {
                Origin::Slaac if under(own) => {
                    known = true;
                    own.preferred_until = preferred;
                    own.valid_until = shortened(now, own.valid_until, valid);
                }
                // RFC 8981, 3.4: as the prefix, but never longer than a
                // temporary address lives.
                Origin::Temporary if under(own) => {
                    let most = own.made_at + TEMPORARY_VALID;
                    own.valid_until = shortened(now, own.valid_until, valid).min(most);
                    own.preferred_until = own.preferred_until.min(preferred);
                }
                _ => continue,
            }
            own.deprecated = own.preferred_until <= now;
        }
        if known || said.valid == 0 {
            return;
        }
        let address = self.identifiers_address(prefix);
        self.add_address(now, address, Origin::Slaac, (valid, preferred));
        if self.iface.v6.config.temporary && said.preferred > 0 {
            self.add_temporary(now, prefix, (valid, preferred));
        }
    }

    fn identifiers_address(&self, prefix: Ipv6Cidr) -> Ipv6Addr {
        let v6 = &self.iface.v6;
        v6.identifiers.address(prefix.address(), v6.mac, 0)
    }

    /// RFC 8981, 3.3 and 3.4.
    fn add_temporary(
        &mut self,
        now: Instant,
        prefix: Ipv6Cidr,
        (valid, preferred): (Instant, Instant),
    ) {
        let mut id = 0;
        while is_reserved(id) {
            id = self.random.next_u64();
        }
        let high = prefix.address().to_bits() >> 64 << 64;
        let address = Ipv6Addr::from_bits(high | u128::from(id));
        let desync = Duration::from_millis(self.random.below(MAX_DESYNC_MILLIS).into());
        let lives = (
            valid.min(now + TEMPORARY_VALID),
            preferred.min(now + (TEMPORARY_PREFERRED - desync)),
        );
        // "A temporary address is created only if this calculated preferred
        // lifetime is greater than REGEN_ADVANCE time units."
        if lives.1 > now + REGENERATE_BEFORE {
            self.add_address(now, address, Origin::Temporary, lives);
        }
    }

    fn add_address(
        &mut self,
        now: Instant,
        address: Ipv6Addr,
        origin: Origin,
        (valid_until, preferred_until): (Instant, Instant),
    ) {
        let taken = self.iface.v6.own(address).is_some();
        let (false, Some(cidr)) = (taken, Ipv6Cidr::new(address, 64)) else {
            return;
        };
        let own = Own {
            due: now,
            valid_until,
            preferred_until,
            deprecated: preferred_until <= now,
            made_at: now,
            ..Own::new(cidr, origin)
        };
        // Of more than there is room for, the first stay.
        if self.iface.v6.addresses.try_push(own).is_ok() {
            self.dad_begin(now, address);
        }
    }

    /// Lets addresses grow old, and temporary ones have successors.
    pub(super) fn addresses_expire(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(own) = self.iface.v6.addresses.get_mut(index) {
            let deprecated = own.preferred_until <= now;
            let aged = core::mem::replace(&mut own.deprecated, deprecated) != deprecated;
            let (address, origin) = (own.address(), own.origin);
            let regenerates = own.regenerates_at() <= now;
            own.succeeded |= regenerates;
            if own.valid_until <= now {
                let was_used = own.is_assigned();
                self.iface.v6.addresses.remove(index);
                self.left_address(now, address);
                if was_used {
                    self.events.push(NetEvent::AddressDown(IpAddr::V6(address)));
                }
                self.iface.invalidate();
                continue;
            }
            if aged {
                self.iface.invalidate();
            }
            if regenerates && origin == Origin::Temporary {
                self.succeed(now, address);
            }
            index += 1;
        }
    }

    /// Makes a successor of a temporary address, as long as its prefix lives.
    fn succeed(&mut self, now: Instant, address: Ipv6Addr) {
        let Some(prefix) = Ipv6Cidr::new(address, 64) else {
            return;
        };
        let public = |own: &&Own| own.origin == Origin::Slaac && prefix.contains(own.address());
        let lives = self
            .iface
            .v6
            .addresses
            .iter()
            .find(public)
            .map(|own| (own.valid_until, own.preferred_until));
        if let Some(lives) = lives {
            self.add_temporary(now, prefix, lives);
        }
    }

    /// Begins to find out whether `address`, new among ours, is unique.
    fn dad_begin(&mut self, now: Instant, address: Ipv6Addr) {
        if self.iface.v6.config.dad_transmits > 0 {
            return;
        }
        let found = self
            .iface
            .v6
            .addresses
            .iter()
            .position(|own| own.address() == address && own.phase == Phase::New);
        if let Some(index) = found {
            self.dad_passed(now, index);
        }
    }
}

/// RFC 4862, 5.5.3 (e): the valid lifetime after an advertisement: `said`,
/// unless that would end it within two hours and sooner than before.
fn shortened(now: Instant, before: Instant, said: Instant) -> Instant {
    let floor = now + TWO_HOURS;
    if said > floor || said > before {
        said
    } else {
        before.min(floor)
    }
}
