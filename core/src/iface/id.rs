//! The numbers of interfaces.

use core::fmt;

/// Most interfaces of one stack, those in VLANs included.
pub const MAX_INTERFACES: usize = 4;

/// An interface of a stack. The first is there from the start; others come with
/// [`Stack::add_interface`](crate::Stack::add_interface) and
/// [`Stack::add_vlan`](crate::Stack::add_vlan), and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(u8);

impl InterfaceId {
    /// The interface that the stack was made with.
    pub const FIRST: Self = Self(0);

    pub(crate) const fn new(index: usize) -> Option<Self> {
        if index < MAX_INTERFACES {
            #[expect(clippy::cast_possible_truncation, reason = "below MAX_INTERFACES")]
            let index = index as u8;
            Some(Self(index))
        } else {
            None
        }
    }

    /// 0 for the first, and so on.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The zone index of addresses on its link (RFC 4007, 6): the `scope_id` of a
    /// [`SocketAddrV6`](core::net::SocketAddrV6) whose address is link-local. 0
    /// leaves the choice to the stack.
    #[must_use]
    pub const fn zone(self) -> u32 {
        self.0 as u32 + 1
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
