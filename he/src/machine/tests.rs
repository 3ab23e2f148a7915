//! RFC 8305, rule by rule, in virtual time.

use super::*;
use pollwire_core::{ConnError, Error};
use std::format;
use std::string::ToString;
use std::vec;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

fn source(address: IpAddr) -> Option<IpAddr> {
    let own = match address {
        IpAddr::V4(_) => "192.0.2.250",
        IpAddr::V6(_) => "2001:db8::ff",
    };
    Some(own.parse().expect("an address"))
}

fn refused() -> Cause {
    Cause::Net(Error::Conn(ConnError::Refused))
}

/// A race, its clock, and the attempts that were begun.
struct Bench {
    machine: Machine,
    now: Instant,
    begun: Vec<(AttemptId, String, Duration)>,
    closed: Vec<AttemptId>,
    targets: Vec<(Target, String)>,
}

impl Bench {
    fn new(config: Config, ports: &[u16], history: &History) -> Self {
        let now = Instant::from_secs(100);
        Self {
            machine: Machine::new(now, config, "www.example", ports, history),
            now,
            begun: Vec::new(),
            closed: Vec::new(),
            targets: Vec::new(),
        }
    }

    fn plain() -> Self {
        Self::new(Config::DEFAULT, &[80], &History::new())
    }

    fn drain(&mut self) {
        let elapsed = self.now.since(Instant::from_secs(100));
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect { attempt, address } => {
                    self.begun.push((attempt, address.to_string(), elapsed));
                }
                Output::Close(attempt) => self.closed.push(attempt),
                Output::Resolve { target, name } => self.targets.push((target, name)),
            }
        }
    }

    fn v6(&mut self, list: &[&str]) {
        let list = ips(list);
        self.machine
            .on_addresses(self.now, Target::HOST, Family::V6, Ok(&list), source);
        self.drain();
    }

    fn v4(&mut self, list: &[&str]) {
        let list = ips(list);
        self.machine
            .on_addresses(self.now, Target::HOST, Family::V4, Ok(&list), source);
        self.drain();
    }

    fn no(&mut self, family: Family, error: DnsError) {
        self.machine
            .on_addresses(self.now, Target::HOST, family, Err(error), source);
        self.drain();
    }

    fn fail(&mut self, index: usize) {
        let attempt = self.begun[index].0;
        self.machine.on_failed(self.now, attempt, refused());
        self.drain();
    }

    fn connect(&mut self, index: usize) {
        let attempt = self.begun[index].0;
        self.machine.on_connected(self.now, attempt);
        self.drain();
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now, "deadlines lie ahead");
            self.now = due;
            self.machine.expire(due);
            self.drain();
        }
        self.now = end;
    }

    /// The attempts so far: address and milliseconds.
    fn attempts(&self) -> Vec<(&str, u128)> {
        self.begun
            .iter()
            .map(|(_, address, at)| (address.as_str(), at.as_millis()))
            .collect()
    }
}

const SIX: &str = "2001:db8::1";
const FOUR: &str = "192.0.2.1";

#[test]
fn rfc8305_3_a_positive_aaaa_answer_starts_at_once() {
    let mut bench = Bench::plain();
    bench.pass(ms(5));
    bench.v6(&[SIX]);
    assert_eq!(bench.attempts(), [("[2001:db8::1]:80", 5)]);
}

#[test]
fn rfc8305_3_a_positive_a_answer_waits_for_aaaa() {
    let mut bench = Bench::plain();
    bench.pass(ms(5));
    bench.v4(&[FOUR]);
    bench.pass(ms(49));
    assert!(bench.attempts().is_empty());
    bench.v6(&[SIX]);
    assert_eq!(bench.attempts(), [("[2001:db8::1]:80", 54)], "just in time");
}

#[test]
fn rfc8305_3_the_resolution_delay_is_50_milliseconds() {
    let mut bench = Bench::plain();
    bench.pass(ms(5));
    bench.v4(&[FOUR]);
    bench.pass(ms(1000));
    assert_eq!(bench.attempts(), [("192.0.2.1:80", 55)]);
}

#[test]
fn rfc8305_3_a_negative_aaaa_answer_ends_the_wait() {
    for error in [DnsError::NoRecords, DnsError::TimedOut] {
        let mut bench = Bench::plain();
        bench.v4(&[FOUR]);
        bench.pass(ms(10));
        bench.no(Family::V6, error);
        assert_eq!(bench.attempts(), [("192.0.2.1:80", 10)]);
        let mut bench = Bench::plain();
        bench.no(Family::V6, error);
        bench.pass(ms(10));
        bench.v4(&[FOUR]);
        assert_eq!(bench.attempts(), [("192.0.2.1:80", 10)]);
    }
}

/// RFC 8305, 3: "the client [...] incorporates" AAAA answers that come after the
/// delay into the list, and goes on with them.
#[test]
fn rfc8305_3_late_aaaa_answers_join_and_are_tried_next() {
    let mut bench = Bench::plain();
    bench.v4(&[FOUR, "192.0.2.2", "192.0.2.3"]);
    bench.pass(ms(60));
    bench.v6(&[SIX, "2001:db8::2"]);
    bench.pass(ms(1500));
    let attempts = [
        ("192.0.2.1:80", 50),
        ("[2001:db8::1]:80", 300),
        ("192.0.2.2:80", 550),
        ("[2001:db8::2]:80", 800),
        ("192.0.2.3:80", 1050),
    ];
    assert_eq!(bench.attempts(), attempts);
}

#[test]
fn rfc8305_4_addresses_are_sorted_and_families_take_turns() {
    let mut bench = Bench::plain();
    bench.v4(&[FOUR, "192.0.2.2"]);
    bench.v6(&["fd00::1", SIX, "2001:db8::2"]);
    bench.pass(ms(2000));
    let order: Vec<&str> = bench
        .attempts()
        .iter()
        .map(|(address, _)| *address)
        .collect();
    let expected = [
        "[2001:db8::1]:80",
        "192.0.2.1:80",
        "[2001:db8::2]:80",
        "192.0.2.2:80",
        "[fd00::1]:80",
    ];
    assert_eq!(order, expected);
}

#[test]
fn rfc8305_4_the_first_address_family_count_is_kept() {
    let config = Config {
        first_family_count: 2,
        ..Config::DEFAULT
    };
    let mut bench = Bench::new(config, &[80], &History::new());
    bench.v4(&[FOUR]);
    bench.v6(&[SIX, "2001:db8::2", "2001:db8::3"]);
    bench.pass(ms(2000));
    let families: String = bench
        .attempts()
        .iter()
        .map(|(address, _)| &address[..1])
        .collect();
    assert_eq!(families, "[[1[");
}

/// RFC 8305, 5: attempts begin one by one, a delay apart, and older ones go on.
#[test]
fn rfc8305_5_attempts_begin_250_milliseconds_apart() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX, "2001:db8::2"]);
    bench.no(Family::V4, DnsError::NoRecords);
    bench.pass(ms(249));
    assert_eq!(bench.attempts().len(), 1);
    bench.pass(ms(1));
    assert_eq!(bench.attempts()[1], ("[2001:db8::2]:80", 250));
    assert!(bench.closed.is_empty(), "the first one goes on");
    bench.pass(ms(100));
    bench.connect(0);
    assert_eq!(
        bench.machine.decision(),
        Some(Decision::Connected(bench.begun[0].0))
    );
}

#[test]
fn rfc8305_5_a_failure_starts_the_next_attempt_at_once() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX, "2001:db8::2"]);
    bench.v4(&[FOUR]);
    bench.pass(ms(20));
    bench.fail(0);
    assert_eq!(bench.attempts()[1..], [("192.0.2.1:80", 20)]);
    // The delay counts from there.
    bench.pass(ms(249));
    assert_eq!(bench.attempts().len(), 2);
    bench.pass(ms(1));
    assert_eq!(bench.attempts()[2], ("[2001:db8::2]:80", 270));
}

#[test]
fn rfc8305_5_the_first_to_connect_wins_and_the_others_are_closed() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX]);
    bench.v4(&[FOUR]);
    bench.pass(ms(300));
    bench.connect(1);
    assert_eq!(bench.closed, [bench.begun[0].0]);
    assert_eq!(bench.machine.deadline(), None);
    // What the loser does now is nobody's business.
    bench.connect(0);
    bench.fail(0);
    let report = bench.machine.report();
    let outcomes: Vec<&str> = report
        .attempts
        .iter()
        .map(|attempt| attempt.outcome.name())
        .collect();
    assert_eq!(outcomes, ["given-up", "connected"]);
    assert_eq!(
        report
            .winner()
            .map(|won| won.address.to_string())
            .as_deref(),
        Some("192.0.2.1:80")
    );
    assert_eq!(bench.machine.won(), Some((ips(&[FOUR])[0], ms(50))));
}

#[test]
fn rfc8305_8_delays_known_from_before_stay_within_bounds() {
    for (rtt, delay) in [(1, 100), (80, 160), (5000, 2000)] {
        let mut history = History::new();
        history.note(
            Instant::from_secs(90),
            "WWW.example",
            ips(&[SIX])[0],
            ms(rtt),
        );
        let mut bench = Bench::new(Config::DEFAULT, &[80], &history);
        bench.v6(&[SIX, "2001:db8::2"]);
        bench.pass(ms(delay - 1));
        assert_eq!(bench.attempts().len(), 1);
        bench.pass(ms(1));
        assert_eq!(bench.attempts().len(), 2);
    }
    // Whatever is configured, ten milliseconds are the least.
    let config = Config {
        attempt_delay: Duration::ZERO,
        ..Config::DEFAULT
    };
    let mut bench = Bench::new(config, &[80], &History::new());
    bench.v6(&[SIX, "2001:db8::2"]);
    bench.pass(ms(9));
    assert_eq!(bench.attempts().len(), 1);
    bench.pass(ms(1));
    assert_eq!(bench.attempts().len(), 2);
}

/// RFC 8305, 4 and RFC 6555, 4.2: what worked before goes first.
#[test]
fn the_family_and_the_address_that_worked_go_first() {
    let mut history = History::new();
    history.note(
        Instant::from_secs(90),
        "www.example",
        ips(&["192.0.2.2"])[0],
        ms(100),
    );
    let mut bench = Bench::new(Config::DEFAULT, &[80], &history);
    bench.v4(&[FOUR, "192.0.2.2"]);
    assert_eq!(
        bench.attempts(),
        [("192.0.2.2:80", 0)],
        "without waiting for AAAA"
    );
    bench.v6(&[SIX]);
    bench.pass(ms(200));
    assert_eq!(bench.attempts()[1], ("[2001:db8::1]:80", 200));
}

/// RFC 8305, 3: one family that does not resolve does not matter.
#[test]
fn one_family_may_be_missing() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX]);
    bench.no(Family::V4, DnsError::TimedOut);
    bench.fail(0);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
}

#[test]
fn a_race_is_lost_only_when_all_is_tried_and_both_lookups_are_in() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX]);
    bench.fail(0);
    assert_eq!(bench.machine.decision(), None, "A records may come");
    bench.pass(ms(400));
    bench.v4(&[FOUR]);
    assert_eq!(bench.attempts()[1], ("192.0.2.1:80", 400));
    bench.fail(1);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
    let mut bench = Bench::plain();
    bench.no(Family::V6, DnsError::NoRecords);
    bench.no(Family::V4, DnsError::NoSuchName);
    let decision = Some(Decision::NoAddress(DnsError::NoSuchName));
    assert_eq!(bench.machine.decision(), decision);
    let mut bench = Bench::plain();
    bench.no(Family::V6, DnsError::TimedOut);
    bench.no(Family::V4, DnsError::NoRecords);
    let decision = Some(Decision::NoAddress(DnsError::TimedOut));
    assert_eq!(bench.machine.decision(), decision);
}

#[test]
fn attempts_and_races_time_out() {
    let mut bench = Bench::plain();
    bench.v6(&[SIX]);
    bench.v4(&[FOUR]);
    bench.pass(ms(9999));
    assert!(bench.closed.is_empty());
    bench.pass(ms(1));
    assert_eq!(bench.closed, [bench.begun[0].0]);
    bench.pass(ms(250));
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
    let mut bench = Bench::plain();
    bench.pass(ms(29_999));
    assert_eq!(bench.machine.decision(), None);
    bench.pass(ms(1));
    assert_eq!(bench.machine.decision(), Some(Decision::TimedOut));
}

#[test]
fn every_port_of_an_address_is_tried_in_turn() {
    let mut bench = Bench::new(Config::DEFAULT, &[443, 80], &History::new());
    bench.v4(&[FOUR]);
    bench.v6(&[SIX]);
    bench.pass(ms(1000));
    let order: Vec<&str> = bench
        .attempts()
        .iter()
        .map(|(address, _)| *address)
        .collect();
    let expected = [
        "[2001:db8::1]:443",
        "[2001:db8::1]:80",
        "192.0.2.1:443",
        "192.0.2.1:80",
    ];
    assert_eq!(order, expected);
}

#[test]
fn one_family_alone_can_be_asked_for() {
    let config = Config {
        family: Some(Family::V4),
        ..Config::DEFAULT
    };
    let mut bench = Bench::new(config, &[80], &History::new());
    bench.v6(&[SIX]);
    assert!(bench.attempts().is_empty());
    bench.v4(&[FOUR]);
    assert_eq!(
        bench.attempts(),
        [("192.0.2.1:80", 0)],
        "and waits for nothing"
    );
    bench.fail(0);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
}

#[test]
fn attempts_are_bounded_in_number_and_at_once() {
    let config = Config {
        max_attempts: 5,
        max_running: 2,
        ..Config::DEFAULT
    };
    let list: Vec<String> = (1..100).map(|n| format!("2001:db8::{n:x}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let mut bench = Bench::new(config, &[80], &History::new());
    bench.no(Family::V4, DnsError::NoRecords);
    bench.v6(&list);
    bench.pass(ms(5000));
    assert_eq!(bench.attempts().len(), 2);
    for index in 0..5 {
        bench.fail(index);
    }
    assert_eq!(bench.attempts().len(), 5);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
}

#[test]
fn a_list_of_addresses_needs_no_lookups() {
    let list = ["192.0.2.1:81", "[2001:db8::1]:80", "192.0.2.1:80"];
    let list = list.map(|text| text.parse().expect("an address"));
    let now = Instant::from_secs(100);
    let machine = Machine::with_addresses(now, Config::DEFAULT, &list, source);
    let mut bench = Bench {
        machine,
        now,
        begun: vec![],
        closed: vec![],
        targets: vec![],
    };
    bench.drain();
    for index in 0..3 {
        bench.fail(index);
    }
    let order: Vec<&str> = bench
        .attempts()
        .iter()
        .map(|(address, _)| *address)
        .collect();
    assert_eq!(order, ["[2001:db8::1]:80", "192.0.2.1:81", "192.0.2.1:80"]);
    assert_eq!(bench.machine.decision(), Some(Decision::AllFailed));
    let machine = Machine::with_addresses(now, Config::DEFAULT, &[], source);
    assert_eq!(
        machine.decision(),
        Some(Decision::NoAddress(DnsError::NoRecords))
    );
}

#[test]
fn the_timeline_tells_it_all() {
    let mut bench = Bench::plain();
    bench.pass(ms(1));
    bench.v6(&[SIX, "2001:db8::2"]);
    bench.pass(ms(2));
    bench.v4(&[FOUR]);
    bench.pass(ms(10));
    bench.fail(0);
    bench.pass(ms(260));
    bench.connect(1);
    let text = bench.machine.report().to_string();
    let expected = "     1.000 ms  AAAA: 2 addresses
     1.000 ms  connecting to [2001:db8::1]:80
     3.000 ms  A: 1 address
    13.000 ms  [2001:db8::1]:80 failed: connection refused
    13.000 ms  connecting to 192.0.2.1:80
   263.000 ms  connecting to [2001:db8::2]:80
   273.000 ms  connected to 192.0.2.1:80
   273.000 ms  [2001:db8::2]:80 given up
";
    assert_eq!(text, expected);
}

mod any {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        V4(Vec<u8>),
        V6(Vec<u8>),
        No(bool),
        Fail(usize),
        Connect(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..6).prop_map(Step::V4),
            proptest::collection::vec(any::<u8>(), 1..6).prop_map(Step::V6),
            any::<bool>().prop_map(Step::No),
            (0..12_usize).prop_map(Step::Fail),
            (0..40_usize).prop_map(Step::Connect),
            (0..800_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: no address twice, never two
        /// attempts within ten milliseconds unless one failed, one winner at
        /// most, all others closed, and an end.
        #[test]
        fn any_order_of_events_keeps_the_rules(steps in proptest::collection::vec(step(), 0..40)) {
            let mut bench = Bench::plain();
            for step in steps {
                match step {
                    Step::V4(list) => {
                        let list: Vec<String> = list.iter().map(|n| format!("192.0.2.{n}")).collect();
                        bench.v4(&list.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    Step::V6(list) => {
                        let list: Vec<String> = list.iter().map(|n| format!("2001:db8::{n:x}")).collect();
                        bench.v6(&list.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    Step::No(six) => bench.no(if six { Family::V6 } else { Family::V4 }, DnsError::NoRecords),
                    Step::Fail(index) if index < bench.begun.len() => bench.fail(index),
                    Step::Connect(index) if index < bench.begun.len() => bench.connect(index),
                    Step::Pass(span) => bench.pass(ms(span)),
                    _ => {}
                }
            }
            bench.pass(Duration::from_secs(31));
            prop_assert!(bench.machine.decision().is_some());
            let mut addresses: Vec<&str> = bench.begun.iter().map(|(_, address, _)| address.as_str()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), bench.begun.len());
            let attempts = &bench.machine.report().attempts;
            let won = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Connected).count();
            prop_assert!(won <= 1);
            prop_assert!(attempts.iter().all(|attempt| !is_running(attempt)));
            let unfinished = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::GivenUp | Outcome::TimedOut)).count();
            prop_assert_eq!(unfinished, bench.closed.len());
            for pair in attempts.windows(2) {
                let apart = pair[1].started.since(pair[0].started);
                let ended = attempts.iter().any(|attempt| attempt.ended == pair[1].started && !matches!(attempt.outcome, Outcome::GivenUp));
                prop_assert!(apart >= ms(10) || ended);
            }
        }
    }
}

mod services;
