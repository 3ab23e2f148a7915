//! HTTP/1.1 (RFC 9112): one small page, persistent connections, pipelining.
//!
//! Requests are parsed as they come, byte by byte, across frames; what is kept
//! of one is a few bytes. Answers are written into outgoing frames directly,
//! and those to pipelined requests share frames.

mod request;

use core::time::Duration;

use pollwire_core::{Error, TcpFlow};
use pollwire_rings::FrameBuf;

use request::{Method, Parser, Request};

/// How long a persistent connection may stay idle.
const IDLE: Duration = Duration::from_secs(60);

const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
<title>pollwire</title></head>\n<body><h1>pollwire</h1>\n\
<p>This page came from a unikernel, through a poll-mode TCP/IP stack.</p>\n</body>\n</html>\n";

/// What a request is answered with.
struct Answer {
    status: &'static str,
    headers: &'static str,
    body: &'static str,
    /// The connection ends behind it.
    close: bool,
}

impl Answer {
    fn new(status: &'static str, headers: &'static str, body: &'static str, close: bool) -> Self {
        Self {
            status,
            headers,
            body,
            close,
        }
    }

    fn to(request: &Request) -> Self {
        let close = !request.keep_alive;
        match (request.method, request.is_root) {
            (Method::Get, true) => Self::new("200 OK", "", PAGE, close),
            (Method::Head, true) => Self::new("200 OK", "", PAGE, close),
            (Method::Get | Method::Head, false) => {
                Self::new("404 Not Found", "", "nothing here\n", close)
            }
            (Method::Other, _) => Self::new(
                "405 Method Not Allowed",
                "Allow: GET, HEAD\r\n",
                "GET and HEAD only\n",
                close,
            ),
        }
    }
}

/// The frame under construction.
struct Output<'f, 'n> {
    flow: &'f TcpFlow<'n>,
    frame: Option<FrameBuf>,
}

impl Output<'_, '_> {
    async fn put(&mut self, text: &str) -> Result<(), Error> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => self.flow.alloc_frame().await,
            };
            let count = frame.extend_from_slice(rest);
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() {
                self.frame = Some(frame);
            } else {
                self.flow.send(frame).await?;
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: &Answer, with_body: bool) -> Result<(), Error> {
        let mut digits = [0; 20];
        self.put("HTTP/1.1 ").await?;
        self.put(answer.status).await?;
        self.put("\r\nContent-Type: text/html; charset=utf-8\r\n")
            .await?;
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

    async fn flush(&mut self) -> Result<(), Error> {
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
pub(super) async fn serve(flow: TcpFlow<'_>) -> Result<(), Error> {
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
            let (answer, with_body) = match parsed {
                Ok(request) => (Answer::to(&request), request.method != Method::Head),
                Err(bad) => (Answer::new(bad.status(), "", "", true), false),
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
