//! Runs a script against the stack, in virtual time.

use std::collections::BTreeMap;
use std::fmt;
use std::task::Poll;

use pollwire::Instant;
use pollwire::wire::tcp::SYN;

use super::event::{Action, Call as Spec, Condition, Event, Opt, Packet, Script, Time};
use super::syscall::{self, Descriptors, PORT, Step};
use super::wire::{self, Flow, Segment};
use super::{parser, symbols};
use crate::call::Call;
use crate::engine::Engine;
use crate::errno::Errno;
use crate::info::LinuxInfo;
use crate::settings::Settings;

/// How far off an event may be, as packetdrill's default.
const TOLERANCE_MICROS: i64 = 4_000;
/// How long a packet that is due is waited for before the script fails.
const PATIENCE_MICROS: i64 = 120_000_000;
/// The peer's port where the script names none.
const PEER_PORT: u16 = 40_000;

/// Why a script failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the script.
    pub line: usize,
    /// What was expected and what happened.
    pub what: String,
}

impl Failure {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Failure {}

/// Runs a script.
///
/// # Errors
/// The first event that did not happen as the script says.
pub fn run(text: &str) -> Result<(), Failure> {
    let script = parser::parse(text)?;
    let mut runner = Runner::new(&script)?;
    for event in &script.events {
        runner
            .event(event)
            .map_err(|what| Failure::new(event.line, what))?;
    }
    let line = script.events.last().map_or(0, |event| event.line);
    runner.end().map_err(|what| Failure::new(line, what))
}

/// A call that waits.
struct Waiting {
    call: Call,
    spec: Spec,
    ends: Instant,
}

struct Runner {
    engine: Engine,
    tolerance: i64,
    start: Instant,
    /// When the last event was to happen, if it was an inbound packet.
    inbound_at: Option<Instant>,
    /// By the script's port of the peer; 0 where it names none.
    flows: BTreeMap<u16, Flow>,
    fds: Descriptors,
    last_fd: Option<i32>,
    waiting: Option<Waiting>,
}

type Outcome = Result<(), String>;

impl Runner {
    fn new(script: &Script) -> Result<Self, Failure> {
        let mut flags = String::new();
        let mut tolerance = TOLERANCE_MICROS;
        for (name, value) in &script.options {
            match name.as_str() {
                "so_flags" => flags = value.clone(),
                "tolerance_usecs" => {
                    let parsed = value.parse().map_err(|_| "a number expected");
                    tolerance = parsed.map_err(|what| Failure::new(1, what))?;
                }
                "ip_version" if value == "ipv4" => {}
                _ => return Err(Failure::new(1, format!("--{name}={value} is unknown"))),
            }
        }
        let mut settings = Settings::parse(&flags).map_err(|what| Failure::new(1, what))?;
        settings.local.get_or_insert(wire::OURS);
        let engine = Engine::new(settings);
        Ok(Self {
            start: engine.now(),
            engine,
            tolerance,
            inbound_at: None,
            flows: BTreeMap::new(),
            fds: Descriptors::default(),
            last_fd: None,
            waiting: None,
        })
    }

    fn event(&mut self, event: &Event) -> Outcome {
        let inbound = matches!(event.action, Action::Inbound(_));
        // Inbound packets in a row keep their distance.
        let base = match self.inbound_at.filter(|_| inbound) {
            Some(at) => at,
            None => self.engine.now(),
        };
        let base_micros = micros_between(self.start, base);
        let span = |relative: bool, from: i64, to: i64| {
            let base = if relative { base_micros } else { 0 };
            Some((base + from, base + to))
        };
        let due = match event.time {
            Time::Any => None,
            Time::At { relative, micros } => span(relative, micros, micros),
            Time::Within { relative, from, to } => span(relative, from, to),
        };
        let at = due.map_or(self.engine.now(), |(from, _)| self.instant(from));
        self.inbound_at = inbound.then_some(at);
        if let Action::Outbound(packet) = &event.action {
            return self.outbound(packet, due);
        }
        self.pass_time(at)?;
        match &event.action {
            Action::Inbound(packet) => self.inbound(packet),
            Action::Call(spec) => {
                let relative = matches!(event.time, Time::At { relative: true, .. });
                let base = if relative { base_micros } else { 0 };
                self.call(spec, base)
            }
            Action::Assert(conditions) => self.check_info(conditions),
            Action::Outbound(_) => Ok(()),
        }
    }

    fn instant(&self, micros: i64) -> Instant {
        let micros = u64::try_from(micros).unwrap_or(0);
        self.start.plus_nanos(micros * 1000)
    }

    /// Lets time pass up to `until`.
    fn pass_time(&mut self, until: Instant) -> Outcome {
        while let Some(at) = self.next_deadline().filter(|at| *at <= until) {
            self.engine.advance(at);
            self.try_waiting()?;
        }
        self.engine.advance(until);
        self.try_waiting()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let calls = self.waiting.as_ref().and_then(|it| it.call.deadline());
        let later = calls.filter(|at| *at > self.engine.now());
        match (self.engine.deadline(), later) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn inbound(&mut self, packet: &Packet) -> Outcome {
        let (peer, ours) = packet.ports.unwrap_or((0, PORT));
        let live_peer = if peer == 0 { PEER_PORT } else { peer };
        let flow = self
            .flows
            .entry(peer)
            .or_insert_with(|| Flow::new(live_peer, ours));
        let bytes = flow.build(packet);
        self.engine.inject(&bytes);
        self.try_waiting()
    }

    fn outbound(&mut self, expected: &Packet, due: Option<(i64, i64)>) -> Outcome {
        let limit = due.map_or(i64::MAX / 2, |(_, to)| to + PATIENCE_MICROS);
        let mut whole: Option<Segment> = None;
        loop {
            let (at, segment) = self.next_segment(expected, limit)?;
            if let Some((from, to)) = due {
                let micros = micros_between(self.start, at);
                if micros < from - self.tolerance || micros > to + self.tolerance {
                    return Err(format!(
                        "{} was due at {from}..{to} us and went at {micros} us",
                        show(&segment)
                    ));
                }
            }
            whole = Some(match whole {
                None => segment,
                // One line may stand for several segments.
                Some(first) if first.seq.wrapping_add(first.len) == segment.seq => Segment {
                    seq: first.seq,
                    len: first.len + segment.len,
                    ..segment
                },
                Some(_) => return Err(format!("unexpected {}", show(&segment))),
            });
            if let Some(whole) = whole.as_ref().filter(|it| it.len >= expected.len) {
                return compare(whole, expected, self.tolerance);
            }
        }
    }

    /// The next segment of the flow that is expected to send.
    fn next_segment(
        &mut self,
        expected: &Packet,
        limit: i64,
    ) -> Result<(Instant, Segment), String> {
        let limit = self.instant(limit);
        while !self.engine.has_sent() {
            match self.next_deadline().filter(|at| *at <= limit) {
                Some(at) => self.pass_time(at)?,
                None => return Err("the stack sent nothing".into()),
            }
        }
        let sent = self.engine.take_sent().ok_or("the stack sent nothing")?;
        let mut segment = wire::read(&sent.bytes)?;
        let peer = expected.ports.map_or(0, |(_, peer)| peer);
        let Some(flow) = self.flows.get_mut(&peer) else {
            return Err(format!("unexpected {}", show(&segment)));
        };
        if flow.our_port == 0 {
            flow.our_port = segment.src_port;
        }
        if (segment.src_port, segment.dst_port) != (flow.our_port, flow.peer_port) {
            return Err(format!("of another connection: {}", show(&segment)));
        }
        flow.translate(&mut segment, expected);
        Ok((sent.at, segment))
    }

    fn call(&mut self, spec: &Spec, base: i64) -> Outcome {
        if let Some(waiting) = &self.waiting {
            return Err(format!("{} waits still", waiting.spec.name));
        }
        let step = syscall::begin(&mut self.engine, &mut self.fds, spec)?;
        let begun = match &step {
            Step::Done(answer) => *answer == Err(Errno(libc::EINPROGRESS)),
            Step::Waits(_) => true,
        };
        if spec.name == "connect" && begun {
            let flow = self.flows.entry(0);
            flow.or_insert_with(|| Flow::new(PORT, 0)).renew();
        }
        let ends = self.instant(base + spec.ends.unwrap_or(0));
        match step {
            Step::Done(answer) => {
                let late = spec.ends.is_some() && self.off(ends) > self.tolerance;
                if late {
                    return Err(format!("{} did not wait", spec.name));
                }
                syscall::check(&mut self.fds, spec, answer)?;
            }
            Step::Waits(call) if spec.ends.is_some() => {
                let spec = spec.clone();
                self.waiting = Some(Waiting { call, spec, ends });
            }
            Step::Waits(_) => return Err(format!("{} waits", spec.name)),
        }
        self.note_fd(spec);
        Ok(())
    }

    /// Assertions are about the socket of the last call.
    fn note_fd(&mut self, spec: &Spec) {
        let script = match spec.name.as_str() {
            "socket" | "accept" => Some(&spec.result),
            _ => spec.arguments.first(),
        };
        let live = script
            .and_then(|expr| syscall::number(expr).ok())
            .and_then(|fd| self.fds.live(fd).ok());
        self.last_fd = live.or(self.last_fd);
    }

    /// Microseconds between now and `at`.
    fn off(&self, at: Instant) -> i64 {
        micros_between(at, self.engine.now()).abs()
    }

    /// Something happened: the call that waits may go on.
    fn try_waiting(&mut self) -> Outcome {
        let Some(mut waiting) = self.waiting.take() else {
            return Ok(());
        };
        let Poll::Ready(answer) = waiting.call.attempt(&mut self.engine) else {
            self.waiting = Some(waiting);
            return Ok(());
        };
        let Waiting { call, spec, ends } = waiting;
        if self.off(ends) > self.tolerance {
            let (now, then) = (self.engine.now(), micros_between(self.start, ends));
            let now = micros_between(self.start, now);
            return Err(format!("{} ended at {now} us, not {then} us", spec.name));
        }
        let answer = syscall::finish(&call, &spec, &self.fds, answer)?;
        syscall::check(&mut self.fds, &spec, answer)?;
        self.note_fd(&spec);
        Ok(())
    }

    fn check_info(&mut self, conditions: &[Condition]) -> Outcome {
        let fd = self.last_fd.ok_or("no socket yet")?;
        let info = self.engine.info(fd).map_err(|e| symbols::error_name(e.0))?;
        let info = LinuxInfo::new(info, false);
        for Condition {
            name,
            operator,
            value,
        } in conditions
        {
            let live = info
                .named(name)
                .ok_or_else(|| format!("{name} is unknown"))?;
            let live = i64::from(live);
            let holds = match operator.as_str() {
                "==" => live == *value,
                "!=" => live != *value,
                "<" => live < *value,
                "<=" => live <= *value,
                ">" => live > *value,
                ">=" => live >= *value,
                _ => return Err(format!("{operator} is no comparison")),
            };
            if !holds {
                return Err(format!("{name} is {live}, expected {operator} {value}"));
            }
        }
        Ok(())
    }

    /// Nothing may be left over.
    fn end(&mut self) -> Outcome {
        if let Some(waiting) = &self.waiting {
            return Err(format!("{} never returned", waiting.spec.name));
        }
        match self.engine.take_sent() {
            None => Ok(()),
            Some(sent) => {
                let segment = wire::read(&sent.bytes)?;
                Err(format!("left at the end: {}", show(&segment)))
            }
        }
    }
}

/// Microseconds from `a` to `b`.
fn micros_between(a: Instant, b: Instant) -> i64 {
    let micros = |at: Instant| i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    micros(b) - micros(a)
}

fn compare(live: &Segment, expected: &Packet, tolerance: i64) -> Outcome {
    let numbers = (live.flags, live.seq, live.len) == (expected.flags, expected.seq, expected.len);
    let ack = expected.ack.is_none_or(|ack| ack == live.ack);
    let window = expected.window.is_none_or(|window| window == live.window);
    let ecn = expected.ecn.is_none_or(|ecn| ecn == live.ecn);
    let options = expected
        .options
        .as_deref()
        .is_none_or(|options| same_options(options, &live.options, tolerance));
    if numbers && ack && window && ecn && options {
        return Ok(());
    }
    let wanted = Segment {
        src_port: live.src_port,
        dst_port: live.dst_port,
        flags: expected.flags,
        seq: expected.seq,
        ack: expected.ack.unwrap_or(live.ack),
        window: expected.window.unwrap_or(live.window),
        options: expected.options.clone().unwrap_or_default(),
        len: expected.len,
        ecn: expected.ecn.unwrap_or(live.ecn),
    };
    Err(format!(
        "got      {}\nexpected {}",
        show(live),
        show(&wanted)
    ))
}

fn same_options(expected: &[Opt], live: &[Opt], tolerance: i64) -> bool {
    let same = |(expected, live): (&Opt, &Opt)| match (expected, live) {
        (
            Opt::Timestamps { value, echo },
            Opt::Timestamps {
                value: live_value,
                echo: live_echo,
            },
        ) => {
            let off = i64::from(value.abs_diff(*live_value));
            echo == live_echo && off * 1000 <= tolerance
        }
        (expected, live) => expected == live,
    };
    expected.len() == live.len() && expected.iter().zip(live).all(same)
}

/// A segment as a script would write it.
fn show(segment: &Segment) -> String {
    use pollwire::wire::tcp::{ACK, CWR, ECE, FIN, PSH, RST, URG};
    let letters = [
        (SYN, "S"),
        (FIN, "F"),
        (RST, "R"),
        (PSH, "P"),
        (URG, "U"),
        (ECE, "E"),
        (CWR, "W"),
        (ACK, "."),
    ];
    let flags = letters.iter().filter(|(bit, _)| segment.flags & bit != 0);
    let flags: String = flags.map(|(_, letter)| *letter).collect();
    let (seq, len) = (segment.seq, segment.len);
    format!(
        "{flags} {seq}:{}({len}) ack {} win {} {:?}",
        seq.wrapping_add(len),
        segment.ack,
        segment.window,
        segment.options
    )
}
