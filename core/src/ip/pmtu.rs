//! What paths carry that carry less than the link (RFC 1191, RFC 8201).
//!
//! Only destinations that a validated ICMP error told of have an entry, and only
//! for a while: routes change. Everybody else gets what the link carries.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use pollwire_rings::Instant;

use crate::iface::Interface;
use crate::{Counter, FlowKey, Stack};

/// Paths remembered at once. Of more, the one that would be forgotten next is.
const MAX_PATHS: usize = 64;
/// RFC 1191, 6.3: "we suggest that the timeout value be [...] on the order of
/// ten minutes"; RFC 8201, 4, recommends twice the five that are the least.
const AGE: Duration = Duration::from_secs(600);
/// The least that an IPv4 path is believed to carry. Whoever could make it less
/// could have us send a packet for each few bytes; paths that do carry less may
/// fragment.
pub(crate) const MIN_V4: u16 = 552;
/// RFC 8201, 4: "A node MUST NOT reduce its estimate of the Path MTU below the
/// IPv6 minimum link MTU in response to a Packet Too Big message."
pub(crate) const MIN_V6: u16 = 1280;

struct Path {
    to: IpAddr,
    mtu: u16,
    until: Instant,
}

/// The paths that carry less than the link.
pub(crate) struct PathMtus {
    paths: Vec<Path>,
}

impl PathMtus {
    pub(crate) const fn new() -> Self {
        Self { paths: Vec::new() }
    }

    /// The longest packet for `to`, if it is known to be shorter than the link's.
    #[inline]
    pub(crate) fn get(&self, now: Instant, to: IpAddr) -> Option<u16> {
        self.paths
            .iter()
            .find(|path| path.to == to && path.until > now)
            .map(|path| path.mtu)
    }

    /// The path to `to` carries `mtu` bytes at most.
    fn set(&mut self, now: Instant, to: IpAddr, mtu: u16) {
        let path = Path {
            to,
            mtu,
            until: now + AGE,
        };
        self.paths
            .retain(|known| known.to != to && known.until > now);
        if self.paths.len() >= MAX_PATHS {
            let next = (0..).zip(&self.paths).min_by_key(|(_, path)| path.until);
            if let Some((index, _)) = next {
                self.paths.swap_remove(index);
            }
        }
        self.paths.push(path);
    }
}

impl Stack {
    /// The longest IP packet, in bytes, that the path to `to` is believed to
    /// carry: the MTU of the link ([the first interface's](Self::with_interface)), unless an ICMP error within the last ten minutes
    /// told of less.
    #[must_use]
    pub fn path_mtu(&self, to: IpAddr) -> u16 {
        self.path_mtu_through(&self.iface, to)
    }

    /// The same for packets from `source`.
    pub(crate) fn path_mtu_between(&self, source: IpAddr, to: IpAddr) -> u16 {
        self.path_mtu_through(self.interface_of(source), to)
    }

    #[inline]
    fn path_mtu_through(&self, iface: &Interface, to: IpAddr) -> u16 {
        let link = iface.mtu_for(to);
        self.paths
            .get(self.now(), to)
            .map_or(link, |mtu| mtu.min(link))
    }

    /// The same, for the path of the flow with this key.
    #[inline]
    pub(crate) fn path_mtu_of(&self, key: &FlowKey) -> u16 {
        if key.is_v4() && self.paths.paths.is_empty() && self.has_one() {
            self.iface.caps().mtu
        } else {
            self.path_mtu_between(key.local().ip(), key.remote().ip())
        }
    }

    /// A router could not pass on a packet of ours to `to`, `sent` bytes long,
    /// and says that `mtu` would fit; 0 from routers older than RFC 1191. The
    /// packet has been found to be ours. Returns whether the path's MTU is less
    /// than was known.
    pub(crate) fn lower_path_mtu(&mut self, to: IpAddr, mtu: u16, sent: u16) -> bool {
        let (known, now) = (self.path_mtu(to), self.now());
        let mtu = if mtu == 0 { plateau_below(sent) } else { mtu };
        let mtu = mtu.max(if to.is_ipv4() { MIN_V4 } else { MIN_V6 });
        // One that would have fit met no such link.
        if mtu >= known || mtu >= sent {
            return false;
        }
        self.paths.set(now, to, mtu);
        self.counters.inc(Counter::PathMtuLowered);
        // Headers made for this path are for longer packets.
        self.invalidate_all();
        true
    }
}

/// RFC 1191, 7.1: the MTU of some common kind of link that is below `sent`.
fn plateau_below(sent: u16) -> u16 {
    const PLATEAUS: [u16; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508];
    let below = PLATEAUS.iter().find(|&&plateau| plateau < sent);
    below.copied().unwrap_or(MIN_V4)
}
