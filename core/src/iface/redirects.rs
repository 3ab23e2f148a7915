//! Destinations that a router said are better reached through another neighbour:
//! ICMP redirects of both versions (RFC 1122, 3.2.2.2; RFC 4861, 8.3).

use arrayvec::ArrayVec;
use pollwire_rings::Instant;

/// Most destinations that are remembered, of each version.
pub(crate) const MAX_REDIRECTS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Redirect<A> {
    destination: A,
    hop: A,
    until: Instant,
}

/// A bounded table; of too many, the oldest is forgotten: its packets go to the
/// router again, which says so again.
#[derive(Debug)]
pub(crate) struct Redirects<A> {
    /// The oldest first.
    list: ArrayVec<Redirect<A>, MAX_REDIRECTS>,
}

impl<A> Redirects<A> {
    pub(crate) const fn new() -> Self {
        Self {
            list: ArrayVec::new_const(),
        }
    }
}

impl<A: Copy + Eq> Redirects<A> {
    /// The neighbour that a router named for packets to `destination`.
    #[inline]
    pub(crate) fn hop(&self, destination: A) -> Option<A> {
        self.list
            .iter()
            .find(|known| known.destination == destination)
            .map(|known| known.hop)
    }

    /// Packets to `destination` go to `hop` until then; the far future for as
    /// long as it answers.
    pub(crate) fn set(&mut self, destination: A, hop: A, until: Instant) {
        self.list.retain(|known| known.destination != destination);
        if self.list.len() >= MAX_REDIRECTS {
            self.list.remove(0);
        }
        self.list.push(Redirect {
            destination,
            hop,
            until,
        });
    }

    /// Whether some router named `hop`.
    pub(crate) fn lead_to(&self, hop: A) -> bool {
        self.list.iter().any(|known| known.hop == hop)
    }

    /// Forgets what leads to `hop`. Returns whether there was anything.
    pub(crate) fn forget_hop(&mut self, hop: A) -> bool {
        self.forget(|known| known.hop == hop)
    }

    /// Forgets those whose time is up. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.forget(|known| known.until <= now)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    fn forget(&mut self, gone: impl Fn(&Redirect<A>) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|known| !gone(known));
        self.list.len() != before
    }

    /// When [`expire`](Self::expire) next has work. Whoever calls
    /// [`set`](Self::set) sees to it that it is called then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ends = self.list.iter().map(|known| known.until);
        ends.filter(|&until| until != Instant::FAR_FUTURE).min()
    }
}
