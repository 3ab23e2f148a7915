//! HTTP/1.1 (RFC 9112): one small page, and what the stack has counted at
//! `/counters`; persistent connections, pipelining.
//!
//! Requests are parsed as they come, byte by byte, across frames; what is kept
//! of one is a few bytes. Answers are written into outgoing frames directly,
//! and those to pipelined requests share frames.

mod request;

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use pollwire_core::Net;
use pollwire_rings::FrameBuf;

use super::stream::Stream;
use request::{Method, Parser, Request, Target};

/// How long a persistent connection may stay idle.
const IDLE: Duration = Duration::from_secs(60);

const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
<title>pollwire</title></head>\n<body><h1>pollwire</h1>\n\
<p>This page came from a unikernel, through a poll-mode TCP/IP stack.</p>\n</body>\n</html>\n";

const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

/// What a request is answered with.
struct Answer<'a> {
    status: &'static str,
    /// Whole lines.
    headers: &'static str,
    body: &'a str,
    /// The connection ends behind it.
    close: bool,
}

impl<'a> Answer<'a> {
    /// `counters` is where the text of that page may be put.
    fn to(request: &Request, net: Net<'_>, counters: &'a mut String) -> Self {
        let (status, headers, body) = match (request.method, request.target) {
            (Method::Get | Method::Head, Target::Page) => ("200 OK", HTML, PAGE),
            (Method::Get | Method::Head, Target::Counters) => {
                *counters = counted(net);
                ("200 OK", TEXT, counters.as_str())
            }
            (Method::Get | Method::Head, Target::Other) => {
                ("404 Not Found", TEXT, "nothing here\n")
            }
            (Method::Other, _) => (
                "405 Method Not Allowed",
                "Content-Type: text/plain; charset=utf-8\r\nAllow: GET, HEAD\r\n",
                "GET and HEAD only\n",
            ),
        };
        Self {
            status,
            headers,
            body,
            close: !request.keep_alive,
        }
    }

    fn to_bad(status: &'static str) -> Self {
        Self {
            status,
            headers: "",
            body: "",
            close: true,
        }
    }
}

/// What the stack has counted and holds, a line for each.
fn counted(net: Net<'_>) -> String {
    net.with_stack(|stack| {
        let (frames, flows) = (stack.pool().in_use(), stack.flows_in_use());
        let counters = stack.counters();
        format!("frames-in-use {frames}\nflows-in-use {flows}\n{counters}")
    })
}

/// The frame under construction.
struct Output<'f, S> {
    flow: &'f S,
    frame: Option<FrameBuf>,
}

impl<'n, S: Stream<'n>> Output<'_, S> {
    async fn put(&mut self, text: &str) -> Result<(), S::Error> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => self.flow.alloc_frame().await,
            };
            let room = self.flow.frame_room().saturating_sub(frame.len());
            let part = rest.get(..room.min(rest.len())).unwrap_or_default();
            let count = frame.extend_from_slice(part);
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() {
                self.frame = Some(frame);
            } else {
                self.flow.send(frame).await?;
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: &Answer<'_>, with_body: bool) -> Result<(), S::Error> {
        let mut digits = [0; 20];
        self.put("HTTP/1.1 ").await?;
        self.put(answer.status).await?;
        self.put("\r\n").await?;
        self.put(answer.headers).await?;
        if answer.close {
            self.put("Connection: close\r\n").await?;
        }
        self.put("Content-Length: ").await?;
        self.put(decimal(answer.body.len(), &mut digits)).await?;
        self.put("\r\n\r\n").await?;
        if with_body {
            self.put(answer.body).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), S::Error> {
        match self.frame.take() {
            Some(frame) => self.flow.send(frame).await,
            None => Ok(()),
        }
    }
}

fn decimal(mut value: usize, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        #[expect(clippy::cast_possible_truncation, reason = "below 10")]
        {
            *digit = b'0' + (value % 10) as u8;
        }
        at -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    digits
        .get(at..)
        .and_then(|shown| str::from_utf8(shown).ok())
        .unwrap_or_default()
}

/// Answers requests until the peer closes, asks to close, stays silent too
/// long, or sends what is no request.
pub(super) async fn serve<'n, S: Stream<'n>>(flow: S) -> Result<(), S::Error> {
    let net = flow.net();
    let mut parser = Parser::new();
    let mut output = Output {
        flow: &flow,
        frame: None,
    };
    'connection: loop {
        let Ok(received) = net.timeout(IDLE, flow.recv()).await else {
            break;
        };
        let Some(frame) = received? else { break };
        let mut input = &frame[..];
        while let Some(parsed) = parser.feed(&mut input) {
            let mut counters = String::new();
            let (answer, with_body) = match parsed {
                Ok(request) => (
                    Answer::to(&request, net, &mut counters),
                    request.method != Method::Head,
                ),
                Err(bad) => (Answer::to_bad(bad.status()), false),
            };
            output.answer(&answer, with_body).await?;
            if answer.close {
                break 'connection;
            }
        }
        output.flush().await?;
    }
    output.flush().await?;
    flow.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let mut digits = [0; 20];
        for (value, text) in [
            (0, "0"),
            (7, "7"),
            (10, "10"),
            (4_294_967_296, "4294967296"),
        ] {
            assert_eq!(decimal(value, &mut digits), text);
        }
        assert_eq!(decimal(usize::MAX, &mut digits), "18446744073709551615");
    }
}
