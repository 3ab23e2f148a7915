//! Lookups through the stack.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use embedded_nal_async::{AddrType, Dns};
use hickory_proto::rr::RecordType;
use pollwire_core::{TcpListener, join_all};

use super::world::*;
use crate::{Config, Counter, DnsError, Nameserver, Resolver, Source};

fn config(servers: &[&str]) -> Config {
    Config::new(
        servers
            .iter()
            .map(|text| text.parse::<Nameserver>().expect("a nameserver")),
    )
}

#[test]
fn addresses_of_both_families_arrive_and_are_kept() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let log = serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["10.0.0.2"]));
        let found = resolver.lookup_ip("www.example").await?;
        let text: Vec<_> = found.iter().map(|address| address.to_string()).collect();
        assert_eq!(text, ["2001:db8::1", "198.51.100.1"]);
        assert_eq!(
            found.v4.map(|answer| answer.source()),
            Ok(Source::Server(server()))
        );
        let found = resolver.lookup_ip("www.example.").await?;
        assert_eq!(found.v4.map(|answer| answer.source()), Ok(Source::Cache));
        let text = resolver.lookup("www.example", RecordType::TXT).await?;
        assert_eq!(text.records()[0].data.to_string(), "hello");
        let nothing = resolver.lookup("www.example", RecordType::MX).await;
        assert_eq!(nothing.err(), Some(DnsError::NoRecords));
        let nothing = resolver.lookup_ip("nobody.example").await;
        assert_eq!(nothing.err(), Some(DnsError::NoSuchName));
        let failed = resolver.lookup_ip("fail.example").await;
        assert!(matches!(failed, Err(DnsError::Failed { .. })));
        let alias = resolver.lookup("alias.example", RecordType::A).await?;
        assert_eq!(alias.canonical_name(), &name("www.example."));
        let names = resolver.reverse([10, 0, 0, 7].into()).await?;
        assert_eq!(
            names.data().next().map(ToString::to_string).as_deref(),
            Some("www.example.")
        );
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    let asked = log
        .borrow()
        .iter()
        .filter(|(asked, ..)| asked == "www.example.")
        .count();
    // A and AAAA, TXT, MX, and A once more for the alias.
    assert_eq!(asked, 5);
    world.check_empty();
}

#[test]
fn a_big_answer_comes_over_tcp_whole() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let log = serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["10.0.0.2"]));
        let answer = resolver.lookup("big.example", RecordType::A).await?;
        assert_eq!(answer.records().len(), 200);
        assert_eq!(resolver.counters().get(Counter::Truncated), 1);
        // The connection is closed while the resolver lives.
        net.sleep(Duration::from_secs(11)).await;
        assert_eq!(net.task_count(), 1);
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    let transports: Vec<_> = log.borrow().iter().map(|(.., tcp)| *tcp).collect();
    assert_eq!(transports, [false, true]);
    world.check_empty();
}

/// RFC 7766, 7: a late answer holds up no other.
#[test]
fn rfc7766_7_many_queries_share_one_connection_in_any_order() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let log = serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["tcp:10.0.0.2"]));
        let start = net.now();
        let names = [
            "late.example",
            "www.example",
            "big.example",
            "alias.example",
        ];
        let times = join_all(names.map(|name| {
            let resolver = resolver.clone();
            async move {
                resolver.lookup(name, RecordType::A).await?;
                Ok::<_, DnsError>(net.now().since(start))
            }
        }))
        .await;
        let times: Vec<Duration> = times.into_iter().collect::<Result<_, _>>()?;
        assert!(times[0] >= Duration::from_millis(300));
        assert!(
            times[1..]
                .iter()
                .all(|time| *time < Duration::from_millis(10)),
            "{times:?}"
        );
        assert_eq!(resolver.counters().get(Counter::Connections), 1);
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    assert!(log.borrow().iter().all(|(.., tcp)| *tcp));
    world.check_empty();
}

#[test]
fn a_dead_server_costs_one_wait_and_a_closed_port_nothing() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    serve(far);
    let nobody = alloc::format!("udp:{NOBODY}");
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&[&nobody, "10.0.0.2"]));
        let start = net.now();
        resolver.lookup("www.example", RecordType::A).await?;
        assert_eq!(net.now().since(start).as_secs(), 1);
        let resolver = Resolver::new(net, config(&["udp:10.0.0.2:54", "10.0.0.2"]));
        let start = net.now();
        resolver.lookup("www.example", RecordType::A).await?;
        assert!(
            net.now().since(start) < Duration::from_millis(10),
            "ICMP told"
        );
        let resolver = Resolver::new(net, config(&["tcp:10.0.0.2:54", "tcp:10.0.0.2"]));
        resolver.lookup("www.example", RecordType::A).await?;
        assert!(
            net.now().since(start) < Duration::from_millis(10),
            "RST told"
        );
        let resolver = Resolver::new(net, config(&["10.0.0.2"]));
        let silent = resolver.lookup("silent.example", RecordType::A).await;
        assert_eq!(silent.err(), Some(DnsError::TimedOut));
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    world.check_empty();
}

#[test]
fn search_lists_and_literals() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let log = serve(far);
    let done = net.spawn(async move {
        let mut config = config(&["10.0.0.2"]);
        config.search = [name("lan."), name("example.")].into();
        config.hosts = "192.0.2.5 printer".parse().expect("hosts");
        let resolver = Resolver::new(net, config);
        resolver.lookup("www", RecordType::A).await?;
        let addresses = resolver.lookup_ip("nobody").await;
        assert_eq!(addresses.err(), Some(DnsError::NoSuchName));
        for (text, count) in [
            ("192.0.2.1", 1),
            ("[2001:db8::7]", 1),
            ("localhost", 2),
            ("printer", 1),
        ] {
            let found = resolver.lookup_ip(text).await?;
            assert_eq!(found.iter().count(), count, "{text}");
        }
        let bad = resolver.lookup_ip("a..b").await;
        assert_eq!(bad.err(), Some(DnsError::BadName));
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    let asked: Vec<_> = log
        .borrow()
        .iter()
        .map(|(asked, ..)| asked.clone())
        .collect();
    let nobody = [
        "nobody.lan.",
        "nobody.lan.",
        "nobody.example.",
        "nobody.example.",
        "nobody.",
        "nobody.",
    ];
    assert_eq!(asked[0], "www.lan.");
    assert_eq!(asked[1..], nobody);
    world.check_empty();
}

#[test]
fn embedded_nal_async_resolves_both_ways() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["10.0.0.2"]));
        let address = resolver
            .get_host_by_name("www.example", AddrType::IPv4)
            .await?;
        assert_eq!(address, IpAddr::from([198, 51, 100, 1]));
        let address = resolver
            .get_host_by_name("www.example", AddrType::Either)
            .await?;
        assert!(address.is_ipv6());
        let mut buffer = [0; 255];
        let len = resolver
            .get_host_by_address([10, 0, 0, 7].into(), &mut buffer)
            .await?;
        assert_eq!(&buffer[..len], b"www.example");
        let small = resolver
            .get_host_by_address([10, 0, 0, 7].into(), &mut [0; 5])
            .await;
        assert_eq!(small, Err(DnsError::BadName));
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    world.check_empty();
}

#[test]
fn dropped_lookups_and_resolvers_leave_nothing() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["10.0.0.2", "tcp:10.0.0.2"]));
        let wait = Duration::from_millis(500);
        let given_up = net
            .timeout(wait, resolver.lookup_ip("silent.example"))
            .await;
        assert!(given_up.is_err());
        assert_eq!(net.task_count(), 1, "only this one");
        let stream = resolver.stream_ip("silent.example");
        drop(resolver);
        net.sleep(wait).await;
        assert!(net.task_count() > 1, "the stream keeps it alive");
        drop(stream);
        assert_eq!(net.task_count(), 1);
    });
    world.finish(done);
    world.check_empty();
}

#[test]
fn a_listener_that_never_answers_is_given_up() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    let listener = misuse(TcpListener::bind(far, (SERVER, 53).into()));
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["tcp:10.0.0.2"]));
        let start = net.now();
        let error = resolver.lookup("www.example", RecordType::A).await.err();
        (error, net.now().since(start).as_secs())
    });
    assert_eq!(world.finish(done), (Some(DnsError::TimedOut), 10));
    drop(listener);
    world.check_empty();
}

#[test]
fn rfc9460_3_aliases_of_services_are_followed_to_an_end() {
    let (here, there, left, right) = cells();
    let mut world = World::new(&here, &there, left, right);
    let (net, far) = world.nets();
    serve(far);
    let done = net.spawn(async move {
        let resolver = Resolver::new(net, config(&["10.0.0.2"]));
        let ask = async |host: &str| resolver.services(&name(host), RecordType::HTTPS).await;
        let direct = ask("svc.example.").await?;
        assert_eq!((direct.aliased, direct.list.len()), (false, 9));
        let aliased = ask("apex.example.").await?;
        assert_eq!((aliased.aliased, &aliased.owner), (true, &direct.owner));
        // RFC 9460, 2.4.1: those of equal priority are shuffled, no others.
        let order = |services: &crate::Services| -> alloc::string::String {
            let targets = services
                .list
                .iter()
                .map(|service| service.target.to_ascii());
            targets.map(|target| target[..1].to_owned()).collect()
        };
        assert_eq!(order(&direct).find('s'), Some(8));
        let mut orders = alloc::collections::BTreeSet::new();
        for _ in 0..8 {
            orders.insert(order(&ask("svc.example.").await?));
        }
        assert!(orders.len() > 4, "{orders:?}");
        // An alias to a name with addresses only.
        let plain = ask("plain.example.").await?;
        assert_eq!((plain.aliased, plain.list.len()), (true, 0));
        assert_eq!(plain.owner, name("www.example."));
        let none = ask("www.example.").await;
        assert_eq!(none, Err(DnsError::NoRecords));
        assert_eq!(ask("gone.example.").await, Err(DnsError::NoRecords));
        assert_eq!(ask("round.example.").await, Err(DnsError::AliasLoop));
        Ok::<_, DnsError>(())
    });
    assert_eq!(world.finish(done), Ok(()));
    world.check_empty();
}
