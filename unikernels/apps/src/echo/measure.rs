//! Times an echo server: hashed echo, ping-pong, bulk, a connection each.
//!
//! Says what it finds in lines that programs can read, `@pollwire what=...`
//! with keys and values; all times are in nanoseconds.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use pollwire_core::{Error, Net, Shutdown, TcpFlow, TcpOptions, join};
use pollwire_perf::Histogram;

use super::{Failure, exchange};

/// Bytes of a ping, and of its reply.
const PING: usize = 64;
/// One round of ping-pong for so many bytes in bulk.
const BYTES_PER_ROUND: u64 = 4096;
/// The hashed echo moves one of so many bytes in bulk.
const ECHO_SHARE: u64 = 8;
/// How often progress is shown in a phase.
const STEPS: u64 = 10;

/// Measures, with `length` bytes in bulk.
pub(super) async fn run(net: Net<'_>, server: SocketAddr, length: u64) -> Result<(), Failure> {
    let flow = TcpFlow::connect(net, server).await?;
    log::info!("@pollwire what=connected");
    let echoed = length.div_ceil(ECHO_SHARE);
    let intact = exchange(flow, echoed).await;
    say_intact("echo", echoed, None, intact.is_ok());
    intact?;
    ping_pong(net, server, length.div_ceil(BYTES_PER_ROUND)).await?;
    bulk(net, server, length).await
}

fn say_intact(what: &str, bytes: u64, nanos: Option<u64>, intact: bool) {
    let (nanos, intact) = (nanos.unwrap_or(0), u8::from(intact));
    log::info!("@pollwire what={what} bytes={bytes} nanos={nanos} intact={intact}");
}

/// Shows how far a phase has come, [`STEPS`] times.
struct Progress {
    phase: &'static str,
    total: u64,
    next: u64,
}

impl Progress {
    fn new(phase: &'static str, total: u64) -> Self {
        let next = total.div_ceil(STEPS);
        Self { phase, total, next }
    }

    fn at(&mut self, done: u64) {
        if done >= self.next {
            self.next = (done + self.total.div_ceil(STEPS)).min(self.total);
            let (phase, total) = (self.phase, self.total);
            log::info!("@pollwire what=progress phase={phase} done={done} total={total}");
        }
    }
}

/// Sends [`PING`] bytes and waits until they are back, again and again.
async fn ping_pong(net: Net<'_>, server: SocketAddr, rounds: u64) -> Result<(), Failure> {
    let flow = TcpFlow::connect_with(net, server, TcpOptions::DEFAULT.nodelay()).await?;
    let mut times = Box::<Histogram>::default();
    let mut progress = Progress::new("ping-pong", rounds);
    for round in 0..rounds {
        let mut frame = flow.alloc_frame().await;
        frame.set_len(PING);
        frame.fill(round.to_le_bytes()[0]);
        let start = net.now();
        flow.send(frame).await?;
        let mut left = PING;
        while left > 0 {
            let reply = flow.recv().await?.ok_or(Failure::Length(0))?;
            if reply.iter().any(|&byte| byte != round.to_le_bytes()[0]) {
                return Err(Failure::Content);
            }
            left = left.checked_sub(reply.len()).ok_or(Failure::Content)?;
        }
        times.record(net.now().nanos_since(start));
        progress.at(round + 1);
    }
    flow.close().await?;
    let [p50, p99, p999] = [500, 990, 999].map(|per_mille| times.quantile(per_mille));
    log::info!("@pollwire what=ping-pong rounds={rounds} p50_ns={p50} p99_ns={p99} p999_ns={p999}");
    Ok(())
}

/// Sends `length` bytes and compares what comes back.
async fn bulk(net: Net<'_>, server: SocketAddr, length: u64) -> Result<(), Failure> {
    let flow = TcpFlow::connect(net, server).await?;
    let pattern = Pattern::new(net);
    let start = net.now();
    let (sent, compared) = join(
        send_pattern(&flow, &pattern, length),
        compare(&flow, &pattern, length),
    )
    .await;
    let nanos = net.now().nanos_since(start);
    if compared != Err(Failure::Content) {
        sent?;
    }
    say_intact("bulk", length, Some(nanos), compared.is_ok());
    compared?;
    Ok(flow.close().await?)
}

async fn send_pattern(flow: &TcpFlow<'_>, pattern: &Pattern, length: u64) -> Result<(), Error> {
    let (mut at, mss) = (0, flow.mss()?);
    while at < length {
        let mut frame = flow.alloc_frame().await;
        let count = usize::try_from(length - at).map_or(mss, |left| left.min(mss));
        at += frame.extend_from_slice(pattern.at(at, count)) as u64;
        flow.send(frame).await?;
    }
    flow.shutdown(Shutdown::Write)
}

async fn compare(flow: &TcpFlow<'_>, pattern: &Pattern, length: u64) -> Result<(), Failure> {
    let mut progress = Progress::new("bulk", length);
    let mut at = 0;
    while let Some(frame) = flow.recv().await? {
        if frame[..] != *pattern.at(at, frame.len()) {
            return Err(Failure::Content);
        }
        at += frame.len() as u64;
        progress.at(at);
    }
    if at == length {
        Ok(())
    } else {
        Err(Failure::Length(at))
    }
}

/// A stream of random bytes that repeats itself after [`Pattern::PERIOD`].
/// Cheap to write and to compare, so that the stack is what is measured.
struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime: lost, doubled or swapped segments do not shift the stream by
    /// a multiple of it.
    const PERIOD: usize = 65_521;

    fn new(net: Net<'_>) -> Self {
        let mut bytes = vec![0; Self::PERIOD];
        net.random(&mut bytes);
        // So that no frame meets the end: one holds less than a period.
        bytes.extend_from_within(..);
        Self(bytes)
    }

    /// The `len` bytes from offset `at` of the stream on.
    fn at(&self, at: u64, len: usize) -> &[u8] {
        let start = usize::try_from(at % Self::PERIOD as u64).unwrap_or(0);
        self.0.get(start..start + len).unwrap_or_default()
    }
}
