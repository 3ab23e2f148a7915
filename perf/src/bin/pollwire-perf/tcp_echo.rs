//! `tcp-echo`: a request, its reply, the next request.

use crate::options::Options;
use crate::report::Report;
use crate::work;
use std::io::{Read, Write};
use std::time::Instant;

pub(crate) fn run(options: &Options) -> Report {
    work::run(
        options,
        work::connect,
        |options, mut stream, seed, mut limit, tally| {
            let (mut request, mut reply) = (vec![0; options.size], vec![0; options.size]);
            let mut offset = 0;
            while limit.goes_on() {
                work::fill(&mut request, seed, offset);
                let start = Instant::now();
                stream.write_all(&request)?;
                stream.read_exact(&mut reply)?;
                tally.latency.record(start.elapsed().as_nanos() as u64);
                work::verify(&reply, &request, offset)?;
                offset += options.size as u64;
                tally.bytes = offset;
            }
            Ok(())
        },
    )
}
