//! Groups that sockets listen to.

use core::net::IpAddr;

use super::UdpId;
use crate::{InterfaceId, Misuse, Stack};

impl Stack {
    /// Has the host listen to a group, of either version of IP: its routers are
    /// told (RFC 3376, RFC 3810), and datagrams to the group and the socket's
    /// port are received, if the socket is bound to any address. The group is
    /// left when the socket closes. That is on
    /// [one interface](Self::with_interface).
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when it is no group, [`Misuse::AddressInUse`]
    /// when the socket has joined it, [`Misuse::TableFull`] beyond 32 groups of
    /// one version, [`Misuse::StaleHandle`].
    pub fn udp_join(&mut self, id: UdpId, group: IpAddr) -> Result<(), Misuse> {
        let joined = (self.at_hand(), group);
        if self.udp.socket(id)?.groups.contains(&joined) {
            return Err(Misuse::AddressInUse);
        }
        match group {
            IpAddr::V4(group) => self.join_v4(group)?,
            IpAddr::V6(group) => self.join_v6(group)?,
        }
        self.udp.socket(id)?.groups.push(joined);
        Ok(())
    }

    /// Undoes [`udp_join`](Self::udp_join).
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when the socket has not joined the group,
    /// [`Misuse::StaleHandle`].
    pub fn udp_leave(&mut self, id: UdpId, group: IpAddr) -> Result<(), Misuse> {
        let joined = (self.at_hand(), group);
        let groups = &mut self.udp.socket(id)?.groups;
        let place = groups.iter().position(|known| *known == joined);
        groups.swap_remove(place.ok_or(Misuse::BadDestination)?);
        self.leave_group(joined);
        Ok(())
    }

    /// One socket less listens to a group on an interface.
    pub(super) fn leave_group(&mut self, (interface, group): (InterfaceId, IpAddr)) {
        self.on(interface, |stack| match group {
            IpAddr::V4(group) => stack.leave_v4(group),
            IpAddr::V6(group) => stack.leave_v6(group),
        });
    }
}
