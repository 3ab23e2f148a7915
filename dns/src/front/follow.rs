//! Follows what the network tells of DNS: DHCP, DHCPv6 and routers.

use alloc::rc::Rc;
use alloc::vec::Vec;

use hickory_proto::rr::Name;
use pollwire_core::Net;

use super::Resolver;
use super::driver::Driver;
use crate::Nameserver;

/// The servers and search domains that the network tells of now.
pub(crate) fn announced(net: Net<'_>) -> (Vec<Nameserver>, Vec<Name>) {
    net.with_stack(|stack| {
        let servers = stack.dns_servers().map(Nameserver::udp);
        let domains = stack.search_domains();
        let domains = domains.filter_map(|name| Name::from_ascii(name).ok());
        (servers.collect(), domains.collect())
    })
}

impl Resolver<'_> {
    /// From now on takes over the servers, the search list, or both, whenever
    /// DHCP, DHCPv6 or routers tell of others, until the last copy of this
    /// resolver is dropped. A further call takes the place of this one.
    pub fn follow_network(&self, servers: bool, search: bool) {
        let driver = self.owner.driver();
        let task = follow(driver.clone(), servers, search);
        driver.set_follower(self.net().spawn(task));
    }
}

async fn follow(driver: Rc<Driver<'_>>, servers: bool, search: bool) {
    let net = driver.net();
    loop {
        let version = net.with_stack(|stack| stack.dns_version());
        let told = announced(net);
        let now = net.now();
        driver.with(|machine| {
            // What is under way would begin anew.
            if servers && machine.config().servers != told.0 {
                machine.set_servers(now, told.0);
            }
            if search {
                machine.set_search(told.1);
            }
        });
        driver.pump();
        net.dns_changed(version).await;
    }
}
