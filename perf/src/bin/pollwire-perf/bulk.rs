//! `bulk`: a long stream through an echo service, written and read at once.

use crate::options::Options;
use crate::report::{Report, Tally};
use crate::work;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Instant;

const CHUNK: usize = 64 << 10;

pub(crate) fn run(options: &Options) -> Report {
    work::run(options, work::connect, |options, stream, seed, _, tally| {
        let writer = stream.try_clone()?;
        let start = Instant::now();
        thread::scope(|scope| {
            let sending = scope.spawn(|| send(options.bytes, writer, seed));
            let received = receive(options.bytes, &stream, seed, tally);
            if received.is_err() {
                // Wakes the writer, which would wait for room.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let sent = sending.join();
            received?;
            sent.unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
        })?;
        tally.latency.record(start.elapsed().as_nanos() as u64);
        Ok(())
    })
}

fn send(bytes: u64, mut stream: TcpStream, seed: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < bytes {
        let part = &mut chunk[..CHUNK.min((bytes - offset) as usize)];
        work::fill(part, seed, offset);
        stream.write_all(part)?;
        offset += part.len() as u64;
    }
    stream.shutdown(Shutdown::Write)
}

/// Reads all that was sent, and then the end of the stream.
fn receive(bytes: u64, mut stream: &TcpStream, seed: u64, tally: &mut Tally) -> io::Result<()> {
    let (mut chunk, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let len = stream.read(&mut chunk)?;
        let offset = tally.bytes;
        if len as u64 > bytes - offset {
            return Err(io::Error::other("more came back than was sent"));
        }
        if len == 0 {
            return match offset == bytes {
                true => Ok(()),
                false => Err(io::Error::other(format!(
                    "the stream ended after {offset} of {bytes} bytes"
                ))),
            };
        }
        work::fill(&mut expected[..len], seed, offset);
        work::verify(&chunk[..len], &expected[..len], offset)?;
        tally.bytes += len as u64;
    }
}
