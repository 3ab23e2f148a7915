//! Routes of IPv4: where packets go that are for no subnet of our own.

use core::net::Ipv4Addr;

use arrayvec::ArrayVec;

use super::Ipv4Cidr;

/// Most routes, the default route included.
pub(super) const MAX_ROUTES: usize = 32;

/// Who set an address or a route up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration, or the application.
    Static,
    /// A DHCP server.
    Dhcp,
}

/// The way to a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Cidr,
    /// `None` where the subnet is on the link.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) origin: Origin,
}

/// A bounded table, the longest prefix first.
pub(super) struct Routes {
    list: ArrayVec<Route, MAX_ROUTES>,
}

impl Routes {
    pub(super) const fn new() -> Self {
        Self {
            list: ArrayVec::new_const(),
        }
    }

    /// Adds a route behind those with the same prefix length; of two ways to
    /// one subnet by one origin the new one stays. `false` when there is no room.
    pub(super) fn add(&mut self, route: Route) -> bool {
        self.list
            .retain(|known| !(known.to.is_same_subnet(&route.to) && known.origin == route.origin));
        let behind = |known: &Route| known.to.prefix() >= route.to.prefix();
        let at = self.list.partition_point(behind);
        self.list.try_insert(at, route).is_ok()
    }

    /// Removes the routes for which `gone` is true. Returns whether there were
    /// any.
    pub(super) fn remove(&mut self, mut gone: impl FnMut(&Route) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|known| !gone(known));
        self.list.len() != before
    }

    /// The route to `destination` with the longest prefix.
    pub(super) fn lookup(&self, destination: Ipv4Addr) -> Option<&Route> {
        self.list
            .iter()
            .find(|route| route.to.contains(destination))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(to: &str, gateway: u8) -> Route {
        Route {
            to: to.parse().expect("a CIDR"),
            gateway: Some(Ipv4Addr::new(10, 0, 0, gateway)),
            origin: Origin::Static,
        }
    }

    fn via(routes: &Routes, destination: [u8; 4]) -> Option<u8> {
        let route = routes.lookup(destination.into())?;
        route.gateway.map(|gateway| gateway.octets()[3])
    }

    #[test]
    fn rfc_1812_5_2_4_3_the_longest_prefix_wins() {
        let mut routes = Routes::new();
        for (to, gateway) in [
            ("0.0.0.0/0", 1),
            ("10.1.0.0/16", 2),
            ("10.1.2.0/24", 3),
            ("10.1.2.3/32", 4),
            ("10.0.0.0/8", 5),
        ] {
            assert!(routes.add(route(to, gateway)));
        }
        assert_eq!(via(&routes, [10, 1, 2, 3]), Some(4));
        assert_eq!(via(&routes, [10, 1, 2, 4]), Some(3));
        assert_eq!(via(&routes, [10, 1, 3, 4]), Some(2));
        assert_eq!(via(&routes, [10, 2, 3, 4]), Some(5));
        assert_eq!(via(&routes, [9, 9, 9, 9]), Some(1));
        // The same subnet, however its address is written: the new way counts.
        assert!(routes.add(route("10.1.2.77/24", 6)));
        assert_eq!(via(&routes, [10, 1, 2, 4]), Some(6));
        assert!(routes.remove(|known| known.to.prefix() == 0));
        assert_eq!(via(&routes, [9, 9, 9, 9]), None);
        assert!(!routes.remove(|known| known.to.prefix() == 0));
    }

    #[test]
    fn routes_of_the_configuration_come_before_those_of_dhcp() {
        let mut routes = Routes::new();
        assert!(routes.add(route("0.0.0.0/0", 1)));
        let told = Route {
            origin: Origin::Dhcp,
            ..route("0.0.0.0/0", 2)
        };
        assert!(routes.add(told));
        assert_eq!(via(&routes, [9, 9, 9, 9]), Some(1));
        assert!(routes.remove(|known| known.origin == Origin::Static));
        assert_eq!(via(&routes, [9, 9, 9, 9]), Some(2));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut routes = Routes::new();
        let added = (0..=255)
            .filter(|host| routes.add(route(&std::format!("10.9.9.{host}/32"), 1)))
            .count();
        assert_eq!(added, MAX_ROUTES);
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_all(
            all in proptest::collection::vec((any::<u32>(), 0_u8..=32), 1..20),
            wanted: u32,
            near in 0_usize..20,
        ) {
            let mut routes = Routes::new();
            let mut model: std::vec::Vec<Route> = std::vec::Vec::new();
            for (at, (bits, prefix)) in (0_u8..).zip(&all) {
                let to = Ipv4Cidr::new(Ipv4Addr::from_bits(*bits), *prefix).expect("a prefix");
                let route = Route { to, ..route("0.0.0.0/0", at) };
                routes.add(route);
                model.retain(|known| !known.to.is_same_subnet(&to));
                model.push(route);
            }
            for wanted in [wanted, all[near % all.len()].0 ^ 1] {
                let wanted = Ipv4Addr::from_bits(wanted);
                let best = model
                    .iter()
                    .filter(|route| route.to.contains(wanted))
                    .max_by_key(|route| route.to.prefix());
                prop_assert_eq!(routes.lookup(wanted), best);
            }
        }
    }
}
