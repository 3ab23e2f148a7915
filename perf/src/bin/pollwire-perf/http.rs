//! `http`: GET over kept-alive connections, with pipelining.

use crate::options::Options;
use crate::report::Report;
use crate::work;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Instant;

/// Bodies above this are not from the services that this tool is for.
const MAX_BODY: usize = 64 << 20;
/// The longest line, and the most lines, of a response's head.
const MAX_HEAD: u64 = 16 << 10;

pub(crate) fn run(options: &Options) -> Report {
    work::run(
        options,
        work::connect,
        |options, stream, _, mut limit, tally| {
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
                options.path, options.address
            );
            let mut writer = stream.try_clone()?;
            let mut reader = BufReader::new(stream);
            let (mut body, mut first) = (Vec::new(), None);
            let mut sent = VecDeque::with_capacity(options.depth);
            loop {
                while sent.len() < options.depth && limit.goes_on() {
                    sent.push_back(Instant::now());
                    writer.write_all(request.as_bytes())?;
                }
                let Some(start) = sent.pop_front() else {
                    return Ok(());
                };
                read_response(&mut reader, &mut body)?;
                tally.latency.record(start.elapsed().as_nanos() as u64);
                tally.bytes += body.len() as u64;
                let first = first.get_or_insert_with(|| body.clone());
                work::verify(&body, first, 0)?;
            }
        },
    )
}

/// Reads one response with status 200 and a Content-Length.
fn read_response(reader: &mut BufReader<impl Read>, body: &mut Vec<u8>) -> io::Result<()> {
    let bad = |what: String| io::Error::other(format!("bad HTTP response: {what}"));
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let status = line.split(' ').nth(1).unwrap_or("");
    if !line.starts_with("HTTP/1.") || status != "200" {
        return Err(bad(format!("{:?}", line.trim_end())));
    }
    let mut length = None;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(bad("it ends in the head, or the head is too long".into()));
        }
        let field = line.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    match length {
        Some(length) if length <= MAX_BODY => body.resize(length, 0),
        _ => return Err(bad("no usable Content-Length".into())),
    }
    reader.read_exact(body)
}
