//! Goodput beside Linux's own, over the same wire in the same run.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use pollwire::rings::local_mac;
use pollwire::rings::memory::Impairments;
use pollwire::rings::seqpacket::SeqPacket;
use pollwire::{Net, TcpFlow, TcpOptions};

use super::bridge::{self, Lane, Port, Report};
use super::hosts;
use super::namespace::Skip;

/// How long hosts may take to connect.
const SETUP: Duration = Duration::from_secs(60);
/// How often a host looks whether the run is over.
const TICK: Duration = Duration::from_millis(50);
/// Bytes written at a time.
const CHUNK: usize = 64 << 10;

/// One cell of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) loss: f64,
    pub(crate) rtt_ms: u64,
    pub(crate) rate_mbit: u64,
}

/// Who is at the ends of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Linux sends to Linux.
    Reference,
    /// pollwire sends to Linux.
    Sends,
    /// Linux sends to pollwire.
    Receives,
}

impl Pairing {
    pub(crate) const ALL: [Self; 3] = [Self::Reference, Self::Sends, Self::Receives];

    /// Whether the host that connects sends.
    fn client_sends(self) -> bool {
        self != Self::Receives
    }
}

/// How long, and how often at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Wires for each pairing, each with a seed of its own.
    pub(crate) lanes: u64,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
}

/// What came of a cell: Mbit/s of payload, one figure per seed.
pub(crate) struct Outcome {
    pub(crate) mbit: [Vec<f64>; 3],
    pub(crate) report: Report,
    /// What the hosts say of their connections.
    pub(crate) said: Vec<String>,
}

impl Outcome {
    /// Mbit/s over all seeds.
    pub(crate) fn mean(&self, pairing: Pairing) -> f64 {
        let figures = &self.mbit[pairing as usize];
        figures.iter().sum::<f64>() / figures.len() as f64
    }

    /// What pollwire reaches of Linux's goodput.
    pub(crate) fn share(&self, pairing: Pairing) -> f64 {
        self.mean(pairing) / self.mean(Pairing::Reference)
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (mine, more) in self.mbit.iter_mut().zip(other.mbit) {
            mine.extend(more);
        }
        self.said.extend(other.said);
        self.report = other.report;
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pairing in Pairing::ALL {
            let mut figures = self.mbit[pairing as usize].clone();
            figures.sort_by(f64::total_cmp);
            let (least, most) = (figures[0], figures[figures.len() - 1]);
            write!(
                f,
                "{pairing:?} {:.2} Mbit/s ({least:.2} to {most:.2}), ",
                self.mean(pairing)
            )?;
        }
        write!(f, "{}", self.report)
    }
}

impl Cell {
    /// Both directions: half the round trip, a queue of one bandwidth-delay
    /// product and of 64 KiB at least.
    fn impairments(&self) -> Impairments {
        let rate = self.rate_mbit * 1_000_000;
        Impairments {
            delay: Duration::from_millis(self.rtt_ms) / 2,
            loss: self.loss,
            rate: Some(rate),
            queue_limit: (rate / 8 * self.rtt_ms / 1000).max(64 << 10),
            ..Impairments::NONE
        }
    }

    /// Measures all pairings at once, each with the seeds from `seed` on.
    pub(crate) fn measure(&self, effort: &Effort, seed: u64) -> Result<Outcome, Skip> {
        let runs: Vec<Run> = (0..effort.lanes)
            .flat_map(|lane| Pairing::ALL.map(|pairing| Run::new(pairing, seed + lane)))
            .collect();
        let (done, bridged) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let _stop = Stop([&done, &bridged]);
            let mut lanes = Vec::new();
            let mut hosts = Vec::new();
            for run in &runs {
                let (ports, threads) = run.start(scope, &done);
                hosts.extend(threads);
                match ports {
                    Ok(ports) => lanes.push(Lane::new(ports, self.impairments(), run.seeds())),
                    Err(skip) => return Err(skip),
                }
            }
            let bridge = scope.spawn(|| bridge::run(lanes, &bridged));
            let received = || -> Vec<u64> {
                let count = |run: &Run| run.received.load(Ordering::Relaxed);
                runs.iter().map(count).collect()
            };
            let connected = || {
                runs.iter()
                    .all(|run| run.received.load(Ordering::Relaxed) > 0)
            };
            let setup = Instant::now();
            while !connected() && setup.elapsed() < SETUP {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(effort.warm);
            let (start, before) = (Instant::now(), received());
            thread::sleep(effort.measured);
            let (seconds, after) = (start.elapsed().as_secs_f64(), received());
            done.store(true, Ordering::Relaxed);
            let said = hosts.into_iter().map(|host| host.join().expect("no panic"));
            let said = said.collect();
            bridged.store(true, Ordering::Relaxed);
            let report = bridge.join().expect("no panic in the bridge");
            let mut mbit = [const { Vec::new() }; 3];
            for (run, (before, after)) in runs.iter().zip(before.into_iter().zip(after)) {
                let bits = (after - before) as f64 * 8.0;
                mbit[run.pairing as usize].push(bits / seconds / 1e6);
            }
            Ok(Outcome { mbit, report, said })
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            loss,
            rtt_ms,
            rate_mbit,
        } = self;
        write!(f, "{} %, {rtt_ms} ms, {rate_mbit} Mbit/s", loss * 100.0)
    }
}

/// A connection over a wire of its own.
struct Run {
    pairing: Pairing,
    seed: u64,
    /// Bytes that the receiving application has read.
    received: AtomicU64,
}

type Said<'scope> = thread::ScopedJoinHandle<'scope, String>;

impl Run {
    fn new(pairing: Pairing, seed: u64) -> Self {
        Self {
            pairing,
            seed,
            received: AtomicU64::new(0),
        }
    }

    /// Of the paths from the client and from the listener. The direction of the
    /// data has the same seed in every pairing.
    fn seeds(&self) -> [u64; 2] {
        let (data, acks) = (self.seed.wrapping_mul(2), self.seed.wrapping_mul(2) + 1);
        if self.pairing.client_sends() {
            [data, acks]
        } else {
            [acks, data]
        }
    }

    /// Starts both hosts; returns the client's end of the wire and the
    /// listener's.
    fn start<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        done: &'scope AtomicBool,
    ) -> (Result<[Port; 2], Skip>, Vec<Said<'scope>>) {
        let (ready, port) = mpsc::channel();
        let listener = scope.spawn(move || self.listen(&ready, done));
        let theirs = port.recv().expect("the thread says how it went");
        let theirs = match theirs {
            Ok(port) => port,
            Err(skip) => return (Err(skip), vec![listener]),
        };
        let (ready, port) = mpsc::channel();
        let client = if self.pairing == Pairing::Reference {
            scope.spawn(move || self.connect_linux(&ready, done))
        } else {
            let (ours, wire) = SeqPacket::socket_pair().expect("descriptors");
            let device = SeqPacket::from_fd(wire, local_mac(0), 1500).expect("a socket");
            ready.send(Ok(Port::Ours(device))).expect("awaited");
            scope.spawn(move || self.connect_ours(ours, done))
        };
        let client_port = port.recv().expect("the thread says how it went");
        (
            client_port.map(|client| [client, theirs]),
            vec![listener, client],
        )
    }

    fn listen(&self, ready: &Sender<Result<Port, Skip>>, done: &AtomicBool) -> String {
        let entered = hosts::enter_linux(hosts::LISTENER)
            .and_then(|tap| hosts::listen().map(|listener| (tap, listener)));
        match entered {
            Ok((tap, listener)) => {
                ready.send(Ok(Port::Linux(tap))).expect("awaited");
                let flow = hosts::accept(&listener, Instant::now() + SETUP);
                self.run_linux(flow, !self.pairing.client_sends(), done)
            }
            Err(skip) => {
                ready.send(Err(skip)).expect("awaited");
                String::new()
            }
        }
    }

    fn connect_linux(&self, ready: &Sender<Result<Port, Skip>>, done: &AtomicBool) -> String {
        match hosts::enter_linux(hosts::CLIENT) {
            Ok(tap) => {
                ready.send(Ok(Port::Linux(tap))).expect("awaited");
                let flow = hosts::connect(hosts::LISTENER, Instant::now() + SETUP);
                self.run_linux(flow, self.pairing.client_sends(), done)
            }
            Err(skip) => {
                ready.send(Err(skip)).expect("awaited");
                String::new()
            }
        }
    }

    /// Linux's end of the transfer.
    fn run_linux(&self, mut flow: std::net::TcpStream, sends: bool, done: &AtomicBool) -> String {
        let mut buffer = vec![7; CHUNK];
        while !done.load(Ordering::Relaxed) {
            if sends {
                // A timeout, after which there may be room.
                let _ = flow.write(&buffer);
            } else if let Ok(count) = flow.read(&mut buffer) {
                self.received.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
        let said = if sends {
            format!("Linux sent: {}", hosts::socket_statistics().trim())
        } else {
            String::new()
        };
        hosts::reset(flow);
        self.sign(said)
    }

    /// pollwire's end.
    fn connect_ours(&self, wire: OwnedFd, done: &AtomicBool) -> String {
        let sends = self.pairing.client_sends();
        let (said, _) = hosts::run_ours(wire, self.seed, 0, async |net| {
            let remote = (hosts::LISTENER, hosts::PORT).into();
            let flow = TcpFlow::connect_with(net, remote, TcpOptions::DEFAULT).await;
            let flow = flow.expect("Linux listens");
            if sends {
                send(net, &flow, done).await;
            } else {
                self.receive(net, &flow, done).await;
            }
            let said = match (sends, flow.info()) {
                (true, Ok(info)) => format!(
                    "{info:?}\n{}",
                    net.with_stack(|stack| stack.counters().to_string())
                ),
                _ => String::new(),
            };
            flow.abort();
            said
        });
        self.sign(said)
    }

    async fn receive(&self, net: Net<'_>, flow: &TcpFlow<'_>, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            match net.timeout(TICK, flow.recv()).await {
                Ok(Ok(Some(frame))) => {
                    let count = frame.len() as u64;
                    self.received.fetch_add(count, Ordering::Relaxed);
                }
                Ok(ended) => return assert_over(done, &ended),
                Err(_) => {}
            }
        }
    }

    fn sign(&self, said: String) -> String {
        if said.is_empty() {
            return said;
        }
        format!("{:?}, seed {}: {said}", self.pairing, self.seed)
    }
}

async fn send(net: Net<'_>, flow: &TcpFlow<'_>, done: &AtomicBool) {
    let chunk = [7; CHUNK];
    while !done.load(Ordering::Relaxed) {
        if let Ok(Err(error)) = net.timeout(TICK, flow.write(&chunk)).await {
            return assert_over(done, &error);
        }
    }
}

/// The connection ended: only because the other host was first to stop.
fn assert_over(done: &AtomicBool, how: &dyn fmt::Debug) {
    assert!(done.load(Ordering::Relaxed), "the connection ends: {how:?}");
}

/// Stops the threads that wait for these, however the scope is left.
struct Stop<'a>([&'a AtomicBool; 2]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        for flag in self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }
}
