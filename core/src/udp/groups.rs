//! Groups that sockets listen to.

use core::net::IpAddr;

use super::UdpId;
use crate::{Misuse, Stack};

impl Stack {
    /// Has the host listen to a group, of either version of IP: its routers are
    /// told (RFC 3376, RFC 3810), and datagrams to the group and the socket's
    /// port are received, if the socket is bound to any address. The group is
    /// left when the socket closes.
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when it is no group, [`Misuse::AddressInUse`]
    /// when the socket has joined it, [`Misuse::TableFull`] beyond 32 groups of
    /// one version, [`Misuse::StaleHandle`].
    pub fn udp_join(&mut self, id: UdpId, group: IpAddr) -> Result<(), Misuse> {
        if self.udp.socket(id)?.groups.contains(&group) {
            return Err(Misuse::AddressInUse);
        }
        match group {
            IpAddr::V4(group) => self.join_v4(group)?,
            IpAddr::V6(group) => self.join_v6(group)?,
        }
        self.udp.socket(id)?.groups.push(group);
        Ok(())
    }

    /// Undoes [`udp_join`](Self::udp_join).
    ///
    /// # Errors
    /// [`Misuse::BadDestination`] when the socket has not joined the group,
    /// [`Misuse::StaleHandle`].
    pub fn udp_leave(&mut self, id: UdpId, group: IpAddr) -> Result<(), Misuse> {
        let groups = &mut self.udp.socket(id)?.groups;
        let joined = groups.iter().position(|known| *known == group);
        groups.swap_remove(joined.ok_or(Misuse::BadDestination)?);
        self.leave_group(group);
        Ok(())
    }

    /// One socket less listens to `group`.
    pub(super) fn leave_group(&mut self, group: IpAddr) {
        match group {
            IpAddr::V4(group) => self.leave_v4(group),
            IpAddr::V6(group) => self.leave_v6(group),
        }
    }
}
