//! HTTPS records in the race: RFC 9460, and version 3 of Happy Eyeballs
//! (draft-ietf-happy-happyeyeballs-v3).

use super::*;
use pollwire_dns::Service;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn service(priority: u16, target: &str) -> Service {
    Service {
        priority,
        target: name(target),
        port: None,
        alpn: vec!["h2".into()],
        no_default_alpn: false,
        ipv4_hints: vec![],
        ipv6_hints: vec![],
    }
}

fn direct(list: Vec<Service>) -> Services {
    Services {
        owner: name("www.example."),
        aliased: false,
        list,
    }
}

const HOST: &str = "www.example.";

impl Bench {
    fn https() -> Self {
        let mut bench = Self::new(Config::DEFAULT, &[443], &History::new());
        let machine = Machine::new(
            bench.now,
            Config::DEFAULT,
            "www.example",
            &[443],
            &History::new(),
        );
        bench.machine = machine.with_services(name(HOST), &[b"http/1.1"]);
        bench
    }

    fn services(&mut self, services: &Services) {
        self.machine.on_services(self.now, Ok(services), source);
        self.drain();
    }

    fn no_services(&mut self, error: DnsError) {
        self.machine.on_services(self.now, Err(error), source);
        self.drain();
    }

    /// The lookup of one family for a name that the services lead to.
    fn found(&mut self, target: usize, family: Family, list: &[&str]) {
        let list = ips(list);
        let target = self.targets[target].0;
        self.machine
            .on_addresses(self.now, target, family, Ok(&list), source);
        self.drain();
    }

    fn order(&mut self) -> Vec<&str> {
        self.pass(ms(3000));
        self.begun.iter().map(|(_, text, _)| &**text).collect()
    }
}

#[test]
fn he3_4_2_addresses_wait_for_services_50_milliseconds() {
    let mut bench = Bench::https();
    bench.pass(ms(5));
    bench.v6(&[SIX]);
    bench.pass(ms(49));
    assert!(bench.attempts().is_empty());
    bench.pass(ms(1));
    assert_eq!(bench.attempts(), [("[2001:db8::1]:443", 55)]);
}

#[test]
fn he3_4_2_one_delay_is_for_all_that_is_missing() {
    let mut bench = Bench::https();
    bench.v4(&[FOUR]);
    bench.pass(ms(30));
    bench.no_services(DnsError::NoRecords);
    bench.pass(ms(19));
    assert!(bench.attempts().is_empty(), "AAAA may come");
    bench.pass(ms(1));
    assert_eq!(bench.attempts(), [("192.0.2.1:443", 50)]);
}

#[test]
fn he3_4_2_no_services_end_the_wait() {
    for error in [DnsError::NoRecords, DnsError::TimedOut] {
        let mut bench = Bench::https();
        bench.v6(&[SIX]);
        bench.pass(ms(10));
        bench.no_services(error);
        assert_eq!(bench.attempts(), [("[2001:db8::1]:443", 10)]);
    }
}

#[test]
fn he3_4_2_services_without_addresses_wait_for_these() {
    let mut bench = Bench::https();
    bench.services(&direct(vec![service(1, HOST)]));
    bench.pass(ms(100));
    assert!(bench.attempts().is_empty());
    bench.v6(&[SIX]);
    assert_eq!(bench.attempts(), [("[2001:db8::1]:443", 100)]);
    assert!(bench.targets.is_empty(), "nothing more to look up");
}

#[test]
fn rfc9460_7_2_the_port_of_the_record_is_used() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    bench.no(Family::V4, DnsError::NoRecords);
    let mut here = service(1, HOST);
    here.port = Some(8443);
    bench.services(&direct(vec![here]));
    assert_eq!(bench.attempts(), [("[2001:db8::1]:8443", 0)]);
    assert_eq!(bench.machine.report().attempts[0].via, Via::Service(1));
    // RFC 9460, 3: what does without records comes last.
    bench.fail(0);
    assert_eq!(bench.attempts()[1], ("[2001:db8::1]:443", 0));
    assert_eq!(bench.machine.report().attempts[1].via, Via::Host);
}

#[test]
fn he3_4_2_1_hints_stand_for_addresses_that_are_not_there_yet() {
    let mut bench = Bench::https();
    let mut there = service(1, "svc.example.");
    there.ipv6_hints = vec!["2001:db8::77".parse().expect("an address")];
    there.ipv4_hints = vec!["192.0.2.77".parse().expect("an address")];
    bench.services(&direct(vec![there]));
    assert_eq!(bench.attempts(), [("[2001:db8::77]:443", 0)], "at once");
    assert_eq!(bench.targets.len(), 1, "the addresses are asked for");
    assert_eq!(bench.targets[0].1, "svc.example.");
    bench.pass(ms(250));
    assert_eq!(bench.attempts()[1], ("192.0.2.77:443", 250));
}

#[test]
fn rfc9460_7_3_addresses_take_the_place_of_hints() {
    let mut bench = Bench::https();
    let mut there = service(1, "svc.example.");
    there.ipv4_hints = vec!["192.0.2.77".parse().expect("an address")];
    bench.services(&direct(vec![there]));
    bench.pass(ms(10));
    assert!(bench.attempts().is_empty(), "AAAA records may come");
    bench.found(0, Family::V4, &["192.0.2.8"]);
    bench.found(0, Family::V6, &["2001:db8::8"]);
    assert_eq!(bench.order(), ["[2001:db8::8]:443", "192.0.2.8:443"]);
}

#[test]
fn rfc9460_7_3_hints_stay_when_the_lookup_fails_but_not_when_there_is_nothing() {
    for (error, attempts) in [(DnsError::TimedOut, 1), (DnsError::NoRecords, 0)] {
        let mut bench = Bench::https();
        let mut there = service(1, "svc.example.");
        there.ipv4_hints = vec!["192.0.2.77".parse().expect("an address")];
        bench.services(&direct(vec![there]));
        let target = bench.targets[0].0;
        for family in [Family::V4, Family::V6] {
            bench
                .machine
                .on_addresses(bench.now, target, family, Err(error), source);
            bench.drain();
        }
        assert_eq!(bench.attempts().len(), attempts, "{error}");
    }
}

#[test]
fn rfc9460_7_3_known_addresses_make_hints_void() {
    let mut bench = Bench::https();
    bench.v4(&[FOUR]);
    bench.v6(&[SIX]);
    let mut here = service(1, HOST);
    here.ipv4_hints = vec!["192.0.2.77".parse().expect("an address")];
    bench.services(&direct(vec![here]));
    assert_eq!(bench.order(), ["[2001:db8::1]:443", "192.0.2.1:443"]);
}

/// Version 3 of Happy Eyeballs, 5.2: "SHOULD start with the group with the lowest
/// priority value", each group sorted by itself.
#[test]
fn he3_5_2_services_are_tried_by_priority() {
    let mut bench = Bench::https();
    let mut second = service(2, "b.example.");
    second.port = Some(8443);
    bench.services(&direct(vec![service(1, "a.example."), second]));
    bench.found(1, Family::V6, &["2001:db8::b"]);
    bench.found(1, Family::V4, &["192.0.2.11"]);
    bench.found(0, Family::V4, &["192.0.2.10"]);
    bench.found(0, Family::V6, &["2001:db8::a"]);
    bench.v4(&[FOUR]);
    bench.v6(&[SIX]);
    let order = [
        "[2001:db8::a]:443",
        "192.0.2.10:443",
        "[2001:db8::b]:8443",
        "192.0.2.11:8443",
    ];
    assert_eq!(bench.order(), order);
}

#[test]
fn he3_5_2_equal_priorities_are_sorted_together() {
    let mut bench = Bench::https();
    bench.services(&direct(vec![
        service(1, "a.example."),
        service(1, "b.example."),
    ]));
    bench.found(1, Family::V6, &["2001:db8::b"]);
    bench.found(1, Family::V4, &["192.0.2.11"]);
    bench.found(0, Family::V6, &["2001:db8::a"]);
    bench.found(0, Family::V4, &["192.0.2.10"]);
    bench.no(Family::V4, DnsError::NoRecords);
    bench.no(Family::V6, DnsError::NoRecords);
    let families: String = bench.order().iter().map(|text| &text[..1]).collect();
    assert_eq!(families, "[1[1");
}

#[test]
fn rfc9460_7_1_2_services_that_speak_nothing_of_ours_are_left_out() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    let mut other = service(1, "h3.example.");
    other.alpn = vec!["h3".into()];
    other.no_default_alpn = true;
    let mut ours = service(2, HOST);
    ours.port = Some(8443);
    bench.services(&direct(vec![other, ours]));
    assert!(bench.targets.is_empty());
    assert_eq!(bench.attempts(), [("[2001:db8::1]:8443", 0)]);
}

#[test]
fn rfc9460_3_the_host_itself_waits_until_its_services_have_failed() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    bench.services(&direct(vec![service(1, "svc.example.")]));
    bench.found(0, Family::V6, &["2001:db8::8"]);
    bench.found(0, Family::V4, &["192.0.2.8"]);
    bench.pass(ms(9_999));
    assert_eq!(bench.attempts().len(), 2);
    bench.pass(ms(300));
    assert_eq!(
        bench.attempts()[2],
        ("[2001:db8::1]:443", 10_250),
        "both have timed out"
    );
}

#[test]
fn rfc9460_3_lookups_that_are_never_answered_do_not_end_it_all() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    bench.pass(ms(20));
    bench.services(&direct(vec![service(1, "svc.example.")]));
    bench.pass(ms(1000));
    assert_eq!(bench.attempts(), [("[2001:db8::1]:443", 70)]);
    // What comes late joins, before the rest of the host's own.
    bench.v4(&[FOUR]);
    bench.found(0, Family::V4, &["192.0.2.8"]);
    bench.fail(0);
    assert_eq!(bench.attempts().last(), Some(&("192.0.2.8:443", 1020)));
}

#[test]
fn rfc9460_3_where_an_alias_ends_its_addresses_serve_as_well() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    let mut at = service(1, "pool.example.");
    at.port = Some(8443);
    let services = Services {
        owner: name("pool.example."),
        aliased: true,
        list: vec![at],
    };
    bench.services(&services);
    assert_eq!(bench.targets.len(), 1);
    bench.found(0, Family::V6, &["2001:db8::9"]);
    bench.found(0, Family::V4, &[]);
    bench.fail(0);
    bench.fail(1);
    let attempts = bench.machine.report().attempts.iter();
    let attempts: Vec<_> = attempts
        .map(|attempt| (attempt.address.to_string(), attempt.via))
        .collect();
    let expected = [
        ("[2001:db8::9]:8443".to_string(), Via::Service(1)),
        ("[2001:db8::9]:443".to_string(), Via::Alias),
        ("[2001:db8::1]:443".to_string(), Via::Host),
    ];
    assert_eq!(attempts, expected);
}

#[test]
fn rfc9460_2_5_2_a_cname_of_the_host_is_the_host() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    let services = Services {
        owner: name("cdn.example."),
        aliased: false,
        list: vec![service(1, "cdn.example.")],
    };
    bench.services(&services);
    assert!(bench.targets.is_empty());
    assert_eq!(bench.attempts(), [("[2001:db8::1]:443", 0)]);
}

#[test]
fn a_race_is_not_lost_while_services_may_come() {
    let mut bench = Bench::https();
    bench.v6(&[SIX]);
    bench.no(Family::V4, DnsError::NoRecords);
    bench.pass(ms(60));
    bench.fail(0);
    assert_eq!(bench.machine.decision(), None);
    let mut here = service(1, HOST);
    here.port = Some(8443);
    bench.services(&direct(vec![here]));
    assert_eq!(bench.attempts()[1], ("[2001:db8::1]:8443", 60));
    bench.fail(1);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
    let mut bench = Bench::https();
    bench.no(Family::V6, DnsError::NoSuchName);
    bench.no(Family::V4, DnsError::NoSuchName);
    assert_eq!(bench.machine.decision(), None);
    bench.no_services(DnsError::TimedOut);
    let decision = Some(Decision::NoAddress(DnsError::NoSuchName));
    assert_eq!(bench.machine.decision(), decision);
}

#[test]
fn names_to_look_up_are_bounded() {
    let mut bench = Bench::https();
    let many = (1..=16).map(|n| service(n, &format!("s{n}.example.")));
    bench.services(&direct(many.collect()));
    assert_eq!(bench.targets.len(), 7);
}

#[test]
fn one_family_alone_holds_for_services_as_well() {
    let config = Config {
        family: Some(Family::V4),
        ..Config::DEFAULT
    };
    let mut bench = Bench::https();
    let machine = Machine::new(bench.now, config, "www.example", &[443], &History::new());
    bench.machine = machine.with_services(name(HOST), &[b"http/1.1"]);
    let mut there = service(1, "svc.example.");
    there.ipv6_hints = vec!["2001:db8::77".parse().expect("an address")];
    there.ipv4_hints = vec!["192.0.2.77".parse().expect("an address")];
    bench.services(&direct(vec![there]));
    assert_eq!(bench.order(), ["192.0.2.77:443"]);
}

#[test]
fn the_timeline_tells_of_services() {
    let mut bench = Bench::https();
    bench.pass(ms(1));
    bench.v6(&[SIX]);
    let mut there = service(1, "svc.example.");
    there.port = Some(8443);
    bench.services(&direct(vec![there]));
    bench.pass(ms(2));
    bench.found(0, Family::V4, &["192.0.2.8"]);
    bench.found(0, Family::V6, &["2001:db8::8"]);
    bench.pass(ms(10));
    bench.connect(0);
    let expected = "     1.000 ms  AAAA: 1 address
     1.000 ms  HTTPS: 1 service
     3.000 ms  A of svc.example.: 1 address
     3.000 ms  AAAA of svc.example.: 1 address
     3.000 ms  connecting to [2001:db8::8]:8443, service of priority 1
    13.000 ms  connected to [2001:db8::8]:8443
";
    assert_eq!(bench.machine.report().to_string(), expected);
}

mod any {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Services(Vec<(u16, u8, Option<u16>, u8)>, bool),
        NoServices,
        Found(usize, bool, Vec<u8>),
        No(usize, bool),
        Fail(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let way = (
            1..4_u16,
            0..4_u8,
            proptest::option::of(1..4_u16),
            any::<u8>(),
        );
        let ways = proptest::collection::vec(way, 0..5);
        let list = proptest::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            (ways, any::<bool>()).prop_map(|(ways, aliased)| Step::Services(ways, aliased)),
            Just(Step::NoServices),
            (0..5_usize, any::<bool>(), list)
                .prop_map(|(at, six, list)| Step::Found(at, six, list)),
            (0..5_usize, any::<bool>()).prop_map(|(at, six)| Step::No(at, six)),
            (0..12_usize).prop_map(Step::Fail),
            (0..800_u64).prop_map(Step::Pass),
        ]
    }

    fn ways(list: &[(u16, u8, Option<u16>, u8)]) -> Vec<Service> {
        let mut ways: Vec<Service> = list
            .iter()
            .map(|&(priority, target, port, hint)| {
                let text = ["www.example.", "a.example.", "b.example.", "c.example."];
                let mut way = service(priority, text[usize::from(target)]);
                way.port = port;
                way.no_default_alpn = hint % 4 == 3;
                if hint % 2 == 1 {
                    way.ipv4_hints = vec![[192, 0, 2, hint].into()];
                }
                way
            })
            .collect();
        ways.sort_by_key(|way| way.priority);
        ways
    }

    proptest! {
        /// Whatever is answered in whatever order: no address and port twice, the
        /// host's own never beside its services, deadlines ahead, and an end.
        #[test]
        fn any_order_of_answers_keeps_the_rules(
            steps in proptest::collection::vec(step(), 0..40),
        ) {
            let mut bench = Bench::https();
            for step in steps {
                let running: Vec<Via> = bench
                    .machine
                    .report()
                    .attempts
                    .iter()
                    .filter(|attempt| is_running(attempt))
                    .map(|attempt| attempt.via)
                    .collect();
                let before = bench.begun.len();
                let mut waited = false;
                match step {
                    Step::Services(list, aliased) => {
                        let owner = if aliased { "pool.example." } else { HOST };
                        let services = Services { owner: name(owner), aliased, list: ways(&list) };
                        bench.services(&services);
                    }
                    Step::NoServices => bench.no_services(DnsError::NoRecords),
                    Step::Found(at, six, list) => {
                        let prefix = if six { "2001:db8::" } else { "192.0.2." };
                        let list: Vec<String> = list.iter().map(|n| format!("{prefix}{n}")).collect();
                        let list: Vec<&str> = list.iter().map(String::as_str).collect();
                        match (at, six) {
                            (0, true) => bench.v6(&list),
                            (0, false) => bench.v4(&list),
                            (at, six) if at <= bench.targets.len() => {
                                bench.found(at - 1, if six { Family::V6 } else { Family::V4 }, &list);
                            }
                            _ => {}
                        }
                    }
                    Step::No(0, six) => {
                        bench.no(if six { Family::V6 } else { Family::V4 }, DnsError::NoRecords);
                    }
                    Step::Fail(index) if index < bench.begun.len() => bench.fail(index),
                    Step::Pass(span) => {
                        bench.pass(ms(span));
                        waited = true;
                    }
                    _ => {}
                }
                if !waited && running.iter().any(|via| *via != Via::Host) {
                    let attempts = &bench.machine.report().attempts;
                    let still = attempts[..before]
                        .iter()
                        .any(|attempt| is_running(attempt) && attempt.via != Via::Host);
                    let begun = attempts[before..].iter().any(|attempt| attempt.via == Via::Host);
                    prop_assert!(!(still && begun));
                }
            }
            bench.pass(Duration::from_secs(31));
            prop_assert!(bench.machine.decision().is_some());
            let mut addresses: Vec<&str> = bench.begun.iter().map(|(_, address, _)| &**address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), bench.begun.len());
        }
    }
}
