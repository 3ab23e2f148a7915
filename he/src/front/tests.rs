//! Two hosts in one process, a toy DNS server and listeners on one of them, in
//! virtual time.

use core::time::Duration;
use std::string::{String, ToString};
use std::vec::Vec;

use pollwire_core::{
    ConnError, Error, Instant, JoinHandle, NetCell, Runtime, Stack, TcpListener, UdpSocket,
};
use pollwire_dns::{Config as DnsConfig, DnsError};
use pollwire_rings::memory::{MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};

use super::*;
use crate::Outcome;

fn cells<'n>() -> (NetCell<'n>, NetCell<'n>, MemoryDevice, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (left, right) = pair(caps(1), caps(2));
    let cell = |last: u8, device: &MemoryDevice| {
        let cidr = std::format!("10.0.0.{last}/24")
            .parse()
            .expect("an address");
        let config = pollwire_core::Config::new(cidr, [last; 32]);
        NetCell::new(Stack::on_heap::<512, 64, 2048>(&config, device.caps()))
    };
    (cell(1, &left), cell(2, &right), left, right)
}

struct World<'n> {
    here: Runtime<'n, MemoryDevice, Wire>,
    there: Runtime<'n, MemoryDevice, Wire>,
    wire: Wire,
}

impl<'n> World<'n> {
    fn new(cells: &'n (NetCell<'n>, NetCell<'n>), left: MemoryDevice, right: MemoryDevice) -> Self {
        let wire = left.wire();
        Self {
            here: Runtime::new(&cells.0, left, wire.clone()),
            there: Runtime::new(&cells.1, right, wire.clone()),
            wire,
        }
    }

    fn turn(&mut self, end: Instant) {
        if !(self.here.turn() | self.there.turn()) {
            let ends = [self.here.deadline(), self.there.deadline()];
            let ends = ends.into_iter().chain([self.wire.next_event(), Some(end)]);
            self.wire.advance(ends.flatten().min().unwrap_or(end));
        }
    }

    fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        for _ in 0..1_000_000 {
            self.turn(Instant::FAR_FUTURE);
            if let Some(output) = task.try_take() {
                return output;
            }
        }
        panic!("the test does not end");
    }

    fn check_empty(&mut self) {
        let end = self.wire.now() + Duration::from_secs(600);
        while self.wire.now() < end {
            self.turn(end);
        }
        for net in [self.here.net(), self.there.net()] {
            net.with_stack(|stack| {
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
                assert_eq!(stack.pool().in_use(), 0, "frames are left");
            });
        }
        assert_eq!(self.here.net().task_count(), 0, "tasks are left");
    }
}

/// An HTTPS record: priority 1, the name itself, port 8443, the hint 10.0.0.2.
const SERVICE: [u8; 29] = [
    0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, 17, 0, 1, 0, 0, 3, 0, 2, 32, 251, 0, 4, 0, 4, 10, 0, 0,
    2,
];

/// Answers every A question with 10.0.0.9 and 10.0.0.2, in this order, questions
/// for HTTPS records with [`SERVICE`] if the name begins with `s`, and all others
/// `late` afterwards with nothing; there are no names in `nowhere`. Listens on the
/// ports 80 and 8443.
fn serve(net: Net<'_>, late: Duration) {
    let socket = UdpSocket::bind(net, ([10, 0, 0, 2], 53).into()).expect("free");
    let socket = alloc::rc::Rc::new(socket);
    net.spawn(async move {
        while let Ok((query, from)) = socket.recv_frame_from().await {
            let mut answer = query.to_vec();
            answer[2] |= 0x80;
            let end = answer.len() - 11;
            let is_a = answer[end - 3] == 1;
            let is_service = answer[end - 3] == 65 && answer[13].eq_ignore_ascii_case(&b's');
            let lower = query.to_ascii_lowercase();
            if lower.windows(7).any(|label| label == b"nowhere") {
                answer[3] |= 3;
            } else if is_service {
                answer[7] = 1;
                answer.splice(end..end, SERVICE);
            } else if is_a {
                answer[7] = 2;
                for last in [2, 9] {
                    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, last];
                    answer.splice(end..end, record);
                }
            }
            let socket = socket.clone();
            net.spawn(async move {
                if !is_a && !is_service {
                    net.sleep(late).await;
                }
                let _ = socket.send_to(&answer, from).await;
            })
            .detach();
        }
    })
    .detach();
    for port in [80, 8443] {
        let listener = TcpListener::bind(net, ([10, 0, 0, 2], port).into()).expect("free");
        net.spawn(async move {
            while let Ok(flow) = listener.accept().await {
                net.spawn(async move {
                    let _ = flow.close().await;
                })
                .detach();
            }
        })
        .detach();
    }
}

fn eyes(net: Net<'_>) -> HappyEyeballs<'_> {
    let server = "10.0.0.2".parse().expect("a nameserver");
    HappyEyeballs::new(Resolver::new(net, DnsConfig::new([server])))
}

fn outcomes(report: &Report) -> Vec<(String, &'static str)> {
    let attempts = report.attempts.iter();
    attempts
        .map(|attempt| (attempt.address.to_string(), attempt.outcome.name()))
        .collect()
}

#[test]
fn a_dead_address_costs_one_delay_and_nothing_the_next_time() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::from_millis(20));
    let net = world.here.net();
    let done = net.spawn(async move {
        let eyes = eyes(net);
        let first = eyes
            .connect_host("www.example", 80)
            .await
            .expect("connects");
        let second = eyes
            .connect_host("www.example", 80)
            .await
            .expect("connects");
        drop((first.flow, second.flow));
        [first.report, second.report]
    });
    let [first, second] = world.finish(done);
    let expected = [
        ("10.0.0.9:80".into(), "given-up"),
        ("10.0.0.2:80".into(), "connected"),
    ];
    assert_eq!(outcomes(&first), expected);
    // AAAA's "nothing" after 20 ms ended the wait; then one attempt delay.
    let elapsed = first.elapsed().as_millis();
    assert!((270..275).contains(&elapsed), "{first}");
    assert_eq!(outcomes(&second), [("10.0.0.2:80".into(), "connected")]);
    assert!(second.elapsed() < Duration::from_millis(25), "{second}");
    world.check_empty();
}

#[test]
fn a_late_aaaa_answer_holds_for_50_milliseconds_only() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::from_millis(700));
    let net = world.here.net();
    let done = net.spawn(async move {
        let report = eyes(net)
            .connect_host("www.example", 80)
            .await
            .expect("connects")
            .report;
        report.elapsed().as_millis()
    });
    let elapsed = world.finish(done);
    assert!((300..305).contains(&elapsed), "{elapsed}");
    world.check_empty();
}

#[test]
fn refusals_try_every_port_and_address_and_are_told() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    let net = world.here.net();
    let done = net.spawn(async move {
        let eyes = HappyEyeballs::without_names(net);
        let refused = eyes
            .connect("10.0.0.2", &[81, 82])
            .await
            .expect_err("refused");
        let single = eyes.connect("10.0.0.2", &[81]).await.expect_err("refused");
        let nowhere = eyes
            .connect("2001:db8::1", &[80])
            .await
            .expect_err("no IPv6 here");
        let nameless = eyes
            .connect("www.example", &[80])
            .await
            .expect_err("nobody to ask");
        [refused, single, nowhere, nameless]
    });
    let [refused, single, nowhere, nameless] = world.finish(done);
    assert_eq!(refused.decision, Decision::AllFailed);
    assert_eq!(refused.report.attempts.len(), 2);
    assert!(refused.report.elapsed() < Duration::from_millis(5));
    let cause = Outcome::Failed(Cause::Net(Error::Conn(ConnError::Refused)));
    assert!(
        refused
            .report
            .attempts
            .iter()
            .all(|attempt| attempt.outcome == cause)
    );
    assert_eq!(single.to_string(), "10.0.0.2:81: connection refused");
    assert_eq!(
        nowhere.to_string(),
        "[2001:db8::1]:80: no source address for that destination"
    );
    assert_eq!(nameless.decision, Decision::NoAddress(DnsError::NoServer));
    world.check_empty();
}

#[test]
fn one_of_ten_addresses_is_alive() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::ZERO);
    let net = world.here.net();
    let done = net.spawn(async move {
        let dead = (10..19_u8).map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
        let list: Vec<_> = dead.chain([([10, 0, 0, 2], 80).into()]).collect();
        let config = Config {
            max_running: 10,
            ..Config::DEFAULT
        };
        let eyes = HappyEyeballs::without_names(net).with_config(config);
        let connected = eyes.connect_ip(&list).await.expect("connects");
        drop(connected.flow);
        connected.report
    });
    let report = world.finish(done);
    // Nine delays, or less where the neighbour is known not to be there.
    assert!(
        report.elapsed() <= Duration::from_millis(9 * 250 + 5),
        "{report}"
    );
    assert_eq!(
        report.winner().map(|won| won.address),
        Some(([10, 0, 0, 2], 80).into())
    );
    world.check_empty();
}

#[test]
fn what_comes_on_top_may_fail_too() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::ZERO);
    let net = world.here.net();
    let done = net.spawn(async move {
        let list = [81, 80].map(|port| SocketAddr::from(([10, 0, 0, 2], port)));
        let eyes = HappyEyeballs::without_names(net);
        let open = |address: SocketAddr| async move {
            if address.port() == 81 {
                return Err(Cause::Above("a bad handshake".into()));
            }
            TcpFlow::connect(net, address)
                .await
                .map(|_| ())
                .map_err(Cause::Net)
        };
        eyes.race_ip(&list, open).await.expect("connects").report
    });
    let report = world.finish(done);
    assert!(
        report
            .to_string()
            .contains("10.0.0.2:81 failed: a bad handshake\n"),
        "{report}"
    );
    world.check_empty();
}

#[test]
fn a_dropped_race_leaves_nothing() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    let net = world.here.net();
    let done = net.spawn(async move {
        let eyes = HappyEyeballs::without_names(net);
        let race = eyes.connect("10.0.0.9", &[80]);
        assert!(net.timeout(Duration::from_millis(100), race).await.is_err());
    });
    world.finish(done);
    world.check_empty();
}

#[test]
fn an_https_record_tells_port_and_address() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::from_millis(700));
    let net = world.here.net();
    let done = net.spawn(async move {
        let eyes = eyes(net);
        let open = |address: SocketAddr| async move {
            let flow = TcpFlow::connect(net, address).await;
            flow.map(|_| ()).map_err(Cause::Net)
        };
        let race = async |host, alpn: &[&[u8]]| {
            let connected = eyes.race_https(host, 443, alpn, open).await;
            connected.map(|connected| connected.report)
        };
        let ours = race("svc.example", &[]).await.expect("connects");
        let none = race("www.example", &[b"h2"])
            .await
            .expect_err("no port 443");
        [ours, none.report]
    });
    let [ours, none] = world.finish(done);
    // AAAA records are late: after 50 ms it goes on without them.
    assert!(
        ours.elapsed() < Duration::from_millis(51) + Duration::from_millis(250),
        "{ours}"
    );
    let winner = ours.winner().expect("one");
    assert_eq!(winner.via, crate::Via::Service(1));
    assert_eq!(winner.address, ([10, 0, 0, 2], 8443).into());
    let text = ours.to_string();
    assert!(text.contains("HTTPS: 1 service\n"), "{text}");
    assert!(none.to_string().contains("HTTPS: no records"), "{none}");
    world.check_empty();
}

/// Of a search list, the HTTPS records of that name count whose addresses do.
#[test]
fn https_records_follow_the_search_list() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::ZERO);
    let net = world.here.net();
    let done = net.spawn(async move {
        let server = "10.0.0.2".parse().expect("a nameserver");
        let mut config = DnsConfig::new([server]);
        let domain = |text: &str| pollwire_dns::Name::from_ascii(text).expect("a name");
        config.search = Vec::from([domain("nowhere.test."), domain("example.")]);
        let eyes = HappyEyeballs::new(Resolver::new(net, config));
        let open = |address: SocketAddr| async move {
            let flow = TcpFlow::connect(net, address).await;
            flow.map(|_| ()).map_err(Cause::Net)
        };
        let found = eyes.race_https("svc", 443, &[], open).await;
        let found = found.expect("connects").report;
        // Here the records of the port are another name's, and there are none.
        let none = eyes.race_https("www", 8443, &[], open).await;
        [found, none.expect("connects").report]
    });
    let [found, none] = world.finish(done);
    let winner = found.winner().expect("one");
    assert_eq!(winner.via, crate::Via::Service(1), "{found}");
    assert_eq!(winner.address, ([10, 0, 0, 2], 8443).into());
    let https = |report: &crate::Report| {
        let lookup = report.lookups.iter();
        let mut lookup = lookup.filter(|lookup| lookup.record == pollwire_dns::RecordType::HTTPS);
        lookup.next().expect("asked").name.clone()
    };
    assert_eq!(https(&found), "svc.example.");
    assert_eq!(https(&none), "_8443._https.www.example.");
    world.check_empty();
}

#[test]
fn an_address_has_no_https_records() {
    let (a, b, left, right) = cells();
    let cells = (a, b);
    let mut world = World::new(&cells, left, right);
    serve(world.there.net(), Duration::ZERO);
    let net = world.here.net();
    let done = net.spawn(async move {
        let eyes = eyes(net);
        let open = |address: SocketAddr| async move {
            let flow = TcpFlow::connect(net, address).await;
            flow.map(|_| ()).map_err(Cause::Net)
        };
        let connected = eyes.race_https("10.0.0.2", 8443, &[], open).await;
        connected.expect("connects").report
    });
    let report = world.finish(done);
    assert!(report.elapsed() < Duration::from_millis(5), "{report}");
    assert_eq!(report.lookups.len(), 2, "{report}");
    world.check_empty();
}
