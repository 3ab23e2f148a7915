//! Several interfaces on one stack.
//!
//! One interface is *at hand*: it stands in `Stack::iface`, where all code finds
//! the only interface of a stack that has one. The others stand aside, and
//! whoever has to do with one of them has it change places with the one at hand
//! for as long as that takes. So neither the code of interfaces nor the short
//! ways of segments know how many there are.
//!
//! The stack is a strong end system (RFC 1122, 3.3.4.2): a packet is taken only
//! for an address of the interface that it came in on, and leaves by the
//! interface that has its source address. So a flow's interface follows from its
//! own address, and nothing is kept for it.
//!
//! Generations of link headers differ between interfaces, so a flow of another
//! interface never finds that its header holds; then it is *parked* with its own
//! interface until that is at hand.

use alloc::vec::Vec;
use core::mem;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use pollwire_rings::{Caps, Instant, RxBurst, TxBurst};

use super::{Config, Stack, earlier};
use crate::Misuse;
use crate::dhcp::Client;
use crate::iface::{Interface, InterfaceId, VlanId};
use crate::ip::Outbox;
use crate::wire::MacAddr;

/// What belongs to an interface, while another one is at hand.
pub(super) struct Aside {
    iface: Interface,
    dhcp: Option<Client>,
    outbox: Outbox,
}

/// The interfaces that are not at hand.
pub(super) struct Interfaces {
    /// While the first is at hand, interface `n` stands at `n - 1`; else the first
    /// stands in the place of the one at hand.
    aside: Vec<Aside>,
    at_hand: InterfaceId,
}

impl Interfaces {
    /// None.
    pub(super) const fn new() -> Self {
        Self {
            aside: Vec::new(),
            at_hand: InterfaceId::FIRST,
        }
    }
}

impl Stack {
    /// Adds an interface over another device, whose packets go through
    /// [`input_on`](Self::input_on) and [`output_on`](Self::output_on).
    /// Of `config`, the seed is not looked at.
    ///
    /// # Errors
    /// [`Misuse::TableFull`] beyond [`MAX_INTERFACES`](crate::MAX_INTERFACES),
    /// [`Misuse::AddressInUse`] when another device has the Ethernet address, or
    /// another interface one of the IP addresses.
    pub fn add_interface(&mut self, config: &Config, caps: Caps) -> Result<InterfaceId, Misuse> {
        if self.interfaces().any(|known| known.caps().mac == caps.mac) {
            return Err(Misuse::AddressInUse);
        }
        let id = self.free_interface()?;
        self.put_interface(id, id, config, caps)
    }

    /// Adds an interface in a VLAN over the device of `parent`: packets come and
    /// go with that one's, with the VLAN's tag. `parent` may be without a VLAN,
    /// or in another one. Of `config`, seed and VLAN are not looked at.
    ///
    /// # Errors
    /// [`Misuse::NoSuchInterface`], [`Misuse::AddressInUse`] when the device has
    /// an interface in that VLAN, or another interface one of the addresses, and
    /// [`Misuse::TableFull`] beyond [`MAX_INTERFACES`](crate::MAX_INTERFACES).
    pub fn add_vlan(
        &mut self,
        parent: InterfaceId,
        vlan: VlanId,
        config: &Config,
    ) -> Result<InterfaceId, Misuse> {
        let parent = self.interface(parent).ok_or(Misuse::NoSuchInterface)?;
        let (device, caps) = (parent.device, parent.device_caps());
        if self.vlan_on(device, vlan).is_some() {
            return Err(Misuse::AddressInUse);
        }
        let id = self.free_interface()?;
        let config = config.clone().with_vlan(vlan);
        self.put_interface(id, device, &config, caps)
    }

    fn free_interface(&self) -> Result<InterfaceId, Misuse> {
        InterfaceId::new(self.interfaces.aside.len() + 1).ok_or(Misuse::TableFull)
    }

    fn put_interface(
        &mut self,
        id: InterfaceId,
        device: InterfaceId,
        config: &Config,
        caps: Caps,
    ) -> Result<InterfaceId, Misuse> {
        let taken = |address| self.interfaces().any(|known| known.claims(address));
        let v4 = config.ipv4.iter().map(|own| IpAddr::V4(own.address()));
        let v6 = config.ipv6.iter().flat_map(|v6| &v6.addresses);
        let mut addresses = v4.chain(v6.map(|own| IpAddr::V6(own.address())));
        if addresses.any(taken) {
            return Err(Misuse::AddressInUse);
        }
        let mut iface = Interface::new(caps, config, &mut self.random);
        iface.number(id, device);
        iface.has_siblings = true;
        self.iface.has_siblings = true;
        self.iface.invalidate();
        self.interfaces.aside.push(Aside {
            iface,
            dhcp: config
                .dhcp
                .clone()
                .map(|dhcp| Client::new(dhcp, MacAddr(caps.mac))),
            outbox: Outbox::new(),
        });
        self.events.add_servers(&config.dns_servers);
        self.chores_changed();
        Ok(id)
    }

    /// The interfaces, the first one first.
    pub fn interface_ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        (0..=self.interfaces.aside.len()).filter_map(InterfaceId::new)
    }

    /// The interface that has `address`.
    #[must_use]
    pub fn interface_with(&self, address: IpAddr) -> Option<InterfaceId> {
        self.interfaces()
            .find(|known| known.is_local(address))
            .map(|known| known.id)
    }

    /// Has `f` work on an interface: addresses, routes, groups, DHCP and capabilities
    /// are this one's, and destinations that several interfaces lead to as well
    /// (multicast, broadcast, link-local) are reached through it. Elsewhere, all
    /// that is the first interface's.
    ///
    /// # Errors
    /// [`Misuse::NoSuchInterface`].
    pub fn with_interface<T>(
        &mut self,
        id: InterfaceId,
        f: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, Misuse> {
        match self.interface(id) {
            Some(_) => Ok(self.on(id, f)),
            None => Err(Misuse::NoSuchInterface),
        }
    }

    /// As [`input`](Self::input), for packets that came over the device of
    /// interface `id`. Without effect on an interface that does not exist.
    pub fn input_on(&mut self, id: InterfaceId, now: Instant, burst: &mut RxBurst) {
        if self.interface(id).is_some() {
            self.on(id, |stack| stack.input(now, burst));
        }
    }

    /// As [`output`](Self::output), for the device that interface `id` came with
    /// and all interfaces on it. On a stack with several interfaces,
    /// [`output`](Self::output) is not enough: it knows the first one only.
    pub fn output_on(&mut self, id: InterfaceId, now: Instant, tx: &mut TxBurst) -> bool {
        if self.has_one() {
            return id == InterfaceId::FIRST && self.output(now, tx);
        }
        let mut more = false;
        for member in self.interface_ids() {
            let over = |iface: &Interface| iface.device == id;
            if self.interface(member).is_some_and(over) {
                more |= self.on(member, |stack| {
                    stack.tcp.unpark(member);
                    stack.output(now, tx)
                });
            }
        }
        more
    }

    /// Does `f` with interface `id` at hand.
    pub(crate) fn on<T>(&mut self, id: InterfaceId, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.interfaces.at_hand;
        self.take_to_hand(id);
        let done = f(self);
        self.take_to_hand(before);
        done
    }

    fn take_to_hand(&mut self, id: InterfaceId) {
        let before = self.interfaces.at_hand;
        if before == id {
            return;
        }
        // The first one is at hand in between.
        self.change_places(before);
        self.change_places(id);
        self.interfaces.at_hand = id;
        self.events.interface = id;
        // What is due aside may be another thing now.
        self.chores_changed();
        // What the other interface expects next, this one does not.
        self.tcp.forget_last();
        if id == InterfaceId::FIRST {
            self.tcp.unpark(id);
        }
    }

    /// The first interface and `id` change places.
    fn change_places(&mut self, id: InterfaceId) {
        let place = id.index().checked_sub(1);
        let Some(aside) = place.and_then(|place| self.interfaces.aside.get_mut(place)) else {
            return;
        };
        mem::swap(&mut self.iface, &mut aside.iface);
        mem::swap(&mut self.dhcp, &mut aside.dhcp);
        mem::swap(&mut self.outbox, &mut aside.outbox);
    }

    /// The interface at hand.
    pub(crate) fn at_hand(&self) -> InterfaceId {
        self.interfaces.at_hand
    }

    /// Whether there is no other.
    #[inline]
    pub(crate) fn has_one(&self) -> bool {
        self.interfaces.aside.is_empty()
    }

    /// All interfaces, the one at hand first.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let aside = self.interfaces.aside.iter().map(|aside| &aside.iface);
        core::iter::once(&self.iface).chain(aside)
    }

    fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces().find(|known| known.id == id)
    }

    /// The interface over `device` that is in `vlan`.
    pub(crate) fn vlan_on(&self, device: InterfaceId, vlan: VlanId) -> Option<InterfaceId> {
        self.interfaces()
            .find(|known| known.device == device && known.vlan == Some(vlan))
            .map(|known| known.id)
    }

    /// The interface that has `address`, if it is not the one at hand.
    #[inline]
    pub(crate) fn elsewhere(&self, address: IpAddr) -> Option<InterfaceId> {
        if self.has_one() || self.iface.is_local(address) {
            return None;
        }
        self.interface_with(address)
    }

    /// Whether an interface that is not at hand has asked for `address`.
    pub(crate) fn is_claimed_aside(&self, address: Ipv4Addr) -> bool {
        let mut aside = self.interfaces().skip(1);
        aside.any(|known| known.claims(IpAddr::V4(address)))
    }

    /// The interface that packets from `source` leave by.
    pub(crate) fn interface_of(&self, source: IpAddr) -> &Interface {
        if self.has_one() || self.iface.is_local(source) {
            return &self.iface;
        }
        self.interfaces()
            .find(|known| known.is_local(source))
            .unwrap_or(&self.iface)
    }

    /// The source address for packets to `destination`: of the interface that
    /// knows it best, which is by the longest prefix (RFC 1122, 3.3.4.3: "the
    /// source address [...] is chosen by the routing"). Of equals, the one at hand.
    pub(super) fn source_among(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.has_one() || self.is_looped(destination) {
            return match destination {
                own if self.elsewhere(own).is_some() => Some(own),
                other => self.iface.source_for(other),
            };
        }
        let mut best = None;
        for known in self.interfaces() {
            let Some(reach) = known.reach(destination) else {
                continue;
            };
            if best.is_none_or(|(least, _)| reach > least)
                && let Some(source) = known.source_for(destination)
            {
                best = Some((reach, source));
            }
        }
        best.map(|(_, source)| source)
    }

    /// The interface whose link a link-local address is on, by its zone; `None`
    /// where that does not matter, or is the one at hand.
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when no interface has that zone.
    pub(crate) fn zone_of(&self, remote: SocketAddr) -> Result<Option<InterfaceId>, Misuse> {
        let SocketAddr::V6(remote) = remote else {
            return Ok(None);
        };
        let on_link = remote.ip().is_unicast_link_local() || remote.ip().is_multicast();
        if self.has_one() || remote.scope_id() == 0 || !on_link {
            return Ok(None);
        }
        let mut all = self.interfaces();
        let zone = all.find(|known| known.id.zone() == remote.scope_id());
        let id = zone.ok_or(Misuse::BadDestination)?.id;
        Ok((id != self.at_hand()).then_some(id))
    }

    /// Leaves a flow to its own interface, if that is not at hand: then returns
    /// `true`.
    #[cold]
    pub(super) fn park_elsewhere(&mut self, index: u32) -> bool {
        let own = self.tcp.key(index).map(|key| key.local().ip());
        let Some(id) = own.and_then(|own| self.elsewhere(own)) else {
            return false;
        };
        self.tcp.park(index, id);
        self.chores_changed();
        true
    }

    /// Headers made for paths through any interface are void.
    pub(crate) fn invalidate_all(&mut self) {
        self.iface.invalidate();
        for aside in &mut self.interfaces.aside {
            aside.iface.invalidate();
        }
    }

    /// When an interface that is not at hand next has something to do.
    pub(super) fn due_aside(&self) -> Option<Instant> {
        if self.has_one() {
            return None;
        }
        let waiting = self.tcp.any_parked()
            || self
                .interfaces
                .aside
                .iter()
                .any(|aside| !aside.outbox.is_empty());
        if waiting {
            return Some(self.now);
        }
        let due = |aside: &Aside| {
            let dhcp = aside.dhcp.as_ref().and_then(Client::deadline);
            earlier(aside.iface.deadline(), dhcp)
        };
        let all = self.interfaces.aside.iter().map(due);
        all.fold(None, earlier)
    }

    /// Does what is due on interfaces that are not at hand.
    pub(super) fn chores_aside(&mut self, now: Instant) {
        if self.has_one() {
            return;
        }
        let before = self.at_hand();
        for id in self.interface_ids().filter(|&id| id != before) {
            self.on(id, |stack| stack.interface_chores(now));
        }
    }
}

#[cfg(test)]
mod tests;
