//! Random streams both ways through random impairments, pollwire at one end and
//! Linux at the other.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown as LinuxShutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use pollwire::rings::local_mac;
use pollwire::rings::seqpacket::SeqPacket;
use pollwire::{ListenOptions, Net, TcpFlow, TcpListener, TcpOptions};

use super::bridge::{self, Lane, Port, Report};
use super::hosts;
use super::namespace::Skip;
use super::random::Random;
use super::streams::{Plan, Stream};

/// Real time after which a transfer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of each packet in the capture.
const SNAP: u32 = 96;

/// What went wrong at an end, if anything.
type End = Result<(), String>;

/// A plan, and what became of it: what went wrong, with the capture.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) failure: Option<(String, Vec<u8>)>,
}

/// Carries all plans out at once.
pub(crate) fn run(plans: &[Plan]) -> Result<(Vec<Done>, Report), Skip> {
    let bridged = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&bridged);
        let mut lanes = Vec::new();
        let mut ends = Vec::new();
        for &plan in plans {
            let (ready, port) = mpsc::channel();
            let (over, we_are_done) = mpsc::channel::<()>();
            let linux = scope.spawn(move || match hosts::enter_linux(hosts::LISTENER) {
                Ok(tap) => {
                    ready.send(Ok(Port::Linux(tap))).expect("awaited");
                    run_linux(&plan, &we_are_done)
                }
                Err(skip) => {
                    ready.send(Err(skip)).expect("awaited");
                    Ok(())
                }
            });
            let theirs = port.recv().expect("the thread says how it went")?;
            let (ours, wire) = SeqPacket::socket_pair().expect("descriptors");
            let device = SeqPacket::from_fd(wire, local_mac(0), 1500).expect("a socket");
            let us = scope.spawn(move || {
                let _over = over;
                hosts::run_ours(ours, plan.seed, SNAP, async |net| {
                    run_ours(net, &plan).await
                })
            });
            let ports = [Port::Ours(device), theirs];
            lanes.push(Lane::new(ports, plan.path, plan.seeds()));
            ends.push((plan, us, linux));
        }
        let bridge = scope.spawn(|| bridge::run(lanes, &bridged));
        let finished = ends.into_iter().map(|(plan, us, linux)| {
            let linux = linux.join().expect("no panic");
            let (ours, capture) = us.join().expect("no panic");
            let said = [("pollwire", ours), ("Linux", linux)]
                .into_iter()
                .filter_map(|(who, end)| Some(format!("{who}: {}", end.err()?)))
                .collect::<Vec<_>>()
                .join("; ");
            let failure = (!said.is_empty()).then_some((said, capture));
            Done { plan, failure }
        });
        let finished = finished.collect();
        bridged.store(true, Ordering::Relaxed);
        let report = bridge.join().expect("no panic in the bridge");
        Ok((finished, report))
    })
}

/// Stops the bridge, however the scope is left.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_linux(plan: &Plan, we_are_done: &Receiver<()>) -> End {
    let give_up = Instant::now() + PATIENCE;
    let flow = if plan.we_connect {
        let listener = hosts::listen().map_err(|Skip(why)| why)?;
        hosts::accept(&listener, give_up)
    } else {
        hosts::connect(hosts::CLIENT, give_up)
    };
    let outcome = thread::scope(|scope| {
        let writer = scope.spawn(|| write_linux(&flow, plan, give_up));
        let read = read_linux(&flow, plan.stream(true), give_up);
        writer.join().expect("no panic").and(read)
    });
    // Nothing is ever said: the sender goes.
    let _gone = we_are_done.recv();
    hosts::reset(flow);
    outcome
}

fn write_linux(mut flow: &TcpStream, plan: &Plan, give_up: Instant) -> End {
    let mut stream = plan.stream(false);
    let mut random = Random::new(plan.seed ^ 1);
    while stream.left > 0 {
        let most = 1 + random.next_u64() % 20_000;
        let mut part = stream.take(usize::try_from(most).expect("small"));
        while !part.is_empty() {
            match flow.write(&part) {
                Ok(count) => drop(part.drain(..count)),
                Err(error) if is_wait(&error) && Instant::now() < give_up => {}
                Err(error) => return Err(format!("write: {error}, {} left", stream.left)),
            }
        }
    }
    let shut = flow.shutdown(LinuxShutdown::Write);
    shut.map_err(|error| format!("shutdown: {error}"))
}

fn read_linux(mut flow: &TcpStream, mut stream: Stream, give_up: Instant) -> End {
    let mut buffer = vec![0; 32_768];
    loop {
        match flow.read(&mut buffer) {
            Ok(0) if stream.left > 0 => return Err(format!("{} bytes are missing", stream.left)),
            Ok(0) => return Ok(()),
            Ok(count) => stream.check(&buffer[..count])?,
            Err(error) if is_wait(&error) && Instant::now() < give_up => {}
            Err(error) => return Err(format!("read: {error}, {} left", stream.left)),
        }
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

async fn run_ours(net: Net<'_>, plan: &Plan) -> End {
    let outcome = net.timeout(PATIENCE, exchange(net, plan)).await;
    let left = net.with_stack(|stack| stack.counters().to_string());
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error}\n{left}")),
        Err(_) => Err(format!("not done after {PATIENCE:?}\n{left}")),
    }
}

async fn exchange(net: Net<'_>, plan: &Plan) -> End {
    let tell = |error: pollwire::Error| error.to_string();
    let mut flow = if plan.we_connect {
        let remote = (hosts::LISTENER, hosts::PORT).into();
        let connected = TcpFlow::connect_with(net, remote, TcpOptions::DEFAULT).await;
        connected.map_err(tell)?
    } else {
        let local = (hosts::CLIENT, hosts::PORT).into();
        let listener = TcpListener::bind_with(net, local, ListenOptions::DEFAULT).map_err(tell)?;
        listener.accept().await.map_err(tell)?
    };
    let (mut reader, mut writer) = flow.split();
    let write = async {
        let mut stream = plan.stream(true);
        let mut random = Random::new(plan.seed);
        while stream.left > 0 {
            let most = 1 + random.next_u64() % 20_000;
            let part = stream.take(usize::try_from(most).expect("small"));
            writer.write_all(&part).await.map_err(tell)?;
        }
        writer.shutdown().map_err(tell)
    };
    let read = async {
        let mut stream = plan.stream(false);
        while let Some(frame) = reader.recv().await.map_err(tell)? {
            stream.check(&frame)?;
        }
        match stream.left {
            0 => Ok(()),
            left => Err(format!("{left} bytes are missing")),
        }
    };
    let (wrote, read) = pollwire::join(write, read).await;
    wrote.and(read)?;
    flow.close().await.map_err(tell)
}
