//! What the commands share: a thread per connection, and data that can be
//! verified at any offset.

use crate::options::Options;
use crate::report::{Report, Tally};
use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Enough for one operation's frames; the buffers are on the heap.
const STACK: usize = 256 << 10;

/// When a connection is to stop.
pub(crate) struct Limit {
    until: Instant,
    left: Option<u64>,
}

impl Limit {
    /// Whether there is time, or a count, for one more operation.
    pub(crate) fn goes_on(&mut self) -> bool {
        match &mut self.left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => Instant::now() < self.until,
        }
    }
}

/// Opens every connection, then runs `work` on all at once.
pub(crate) fn run<C>(
    options: &Options,
    open: impl Fn(&Options) -> io::Result<C> + Sync,
    work: impl Fn(&Options, C, u64, Limit, &mut Tally) -> io::Result<()> + Sync,
) -> Report {
    let barrier = Barrier::new(options.connections + 1);
    let one = |number: u64| {
        let mut tally = Tally::default();
        let connection = open(options);
        // Failed ones wait as well, or the others would wait for ever.
        barrier.wait();
        let limit = Limit {
            until: Instant::now() + options.duration,
            left: options.count,
        };
        let done = connection.and_then(|c| work(options, c, number, limit, &mut tally));
        if let Err(error) = done {
            tally.failed = 1;
            tally.first_error = Some(error.to_string());
        }
        tally
    };
    let (one, mut tally) = (&one, Tally::default());
    let elapsed = thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..options.connections as u64 {
            let builder = thread::Builder::new().stack_size(STACK);
            match builder.spawn_scoped(scope, move || one(number)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tally.failed += 1;
                    tally.first_error = Some(format!("no thread for a connection: {error}"));
                    // Stands in for the missing thread.
                    scope.spawn(|| barrier.wait());
                }
            }
        }
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            match thread.join() {
                Ok(part) => tally.merge(part),
                Err(_) => tally.failed += 1,
            }
        }
        start.elapsed()
    });
    Report {
        command: options.command.name(),
        connections: options.connections,
        elapsed,
        tally,
    }
}

pub(crate) fn connect(options: &Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&options.address, options.timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(options.timeout))?;
    stream.set_write_timeout(Some(options.timeout))?;
    Ok(stream)
}

/// Fills `buffer` with the bytes of stream `seed` from `offset` on. Streams
/// and offsets differ, so data that is shifted, swapped or mixed up shows.
pub(crate) fn fill(buffer: &mut [u8], seed: u64, offset: u64) {
    for (at, byte) in (offset..).zip(buffer) {
        // One round of SplitMix64 per eight bytes of the stream.
        let mut x = (at / 8)
            .wrapping_add(seed << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *byte = (x >> (at % 8 * 8)) as u8;
    }
}

/// An error if what came back is not what was sent.
pub(crate) fn verify(got: &[u8], sent: &[u8], offset: u64) -> io::Result<()> {
    if got == sent {
        return Ok(());
    }
    let differs = got.iter().zip(sent).position(|(a, b)| a != b);
    let at = offset + differs.unwrap_or(got.len().min(sent.len())) as u64;
    Err(io::Error::other(format!(
        "wrong data came back, first at byte {at}"
    )))
}
