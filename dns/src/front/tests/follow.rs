//! A resolver that goes with what the network tells.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use hickory_proto::rr::RecordType;
use pollwire_core::Net;

use super::world::*;
use crate::{Config, DnsError, Resolver};

fn tell(net: Net<'_>, servers: &[Ipv4Addr], domains: &[&str]) {
    let servers = servers.iter().copied().map(IpAddr::V4);
    net.with_stack(|stack| stack.configure_dns(servers, domains.iter().copied()));
}

fn servers(resolver: &Resolver<'_>) -> Vec<IpAddr> {
    let servers = resolver.servers();
    servers.iter().map(|server| server.address.ip()).collect()
}

#[test]
fn rfc_8106_5_3_servers_and_domains_come_and_go() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let log = serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, Config::announced(net));
        resolver.follow_network(true, true);
        assert!(resolver.lookup_ip("www.example").await.is_err());
        tell(net, &[SERVER], &["example"]);
        net.sleep(Duration::from_millis(1)).await;
        assert_eq!(servers(&resolver), [IpAddr::V4(SERVER)]);
        // A short name, completed.
        let answer = resolver.lookup("www", RecordType::A).await?;
        assert_eq!(answer.name().to_string(), "www.example.");
        // What is under way at a server that is gone begins anew at another.
        tell(net, &[NOBODY], &[]);
        net.sleep(Duration::from_millis(1)).await;
        assert_eq!(servers(&resolver), [IpAddr::V4(NOBODY)]);
        let start = net.now();
        let changing = net.spawn(async move {
            net.sleep(Duration::from_millis(300)).await;
            tell(net, &[SERVER], &[]);
        });
        resolver.lookup("www.example", RecordType::TXT).await?;
        let took = net.now().since(start);
        assert!(took < Duration::from_millis(400), "{took:?}");
        changing.await;
        // Nobody any more.
        tell(net, &[], &[]);
        net.sleep(Duration::from_millis(1)).await;
        assert!(servers(&resolver).is_empty());
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    assert!(!log.borrow().is_empty());
    // The task that followed is gone with the resolver.
    world.check_empty();
}

#[test]
fn what_is_set_by_hand_stays() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, _) = world.nets();
    let done = net.spawn(async move {
        let config = Config::new(["10.0.0.2".parse().expect("a server")]);
        let resolver = Resolver::new(net, config);
        resolver.follow_network(false, true);
        let copy = resolver.clone();
        tell(net, &[NOBODY], &["example"]);
        net.sleep(Duration::from_millis(1)).await;
        assert_eq!(servers(&resolver), [IpAddr::V4(SERVER)]);
        // Later calls take the place of earlier ones, and copies share.
        drop(resolver);
        copy.follow_network(true, false);
        net.sleep(Duration::from_millis(1)).await;
        assert_eq!(servers(&copy), [IpAddr::V4(NOBODY)]);
    });
    world.finish(done);
    world.check_empty();
}
