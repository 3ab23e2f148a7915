//! An incremental parser of requests (RFC 9112, 2 to 6).

/// Longest line that is looked at; longer header lines are skipped, a longer
/// request line is refused.
const LINE: usize = 256;
/// Most bytes of request line and headers together.
const HEAD: usize = 16 * 1024;

/// The methods that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Other,
}

/// The resources that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/`
    Page,
    /// `/counters`
    Counters,
    Other,
}

impl Target {
    fn of(path: Option<&[u8]>) -> Self {
        match path {
            Some(b"/" | b"/index.html") => Self::Page,
            Some(b"/counters") => Self::Counters,
            _ => Self::Other,
        }
    }
}

/// A request whose head and body have been taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    /// The connection persists behind the answer (RFC 9112, 9.3).
    pub(super) keep_alive: bool,
}

/// Why there is no going on behind what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// No HTTP request.
    Syntax,
    /// Request line too long.
    Target,
    /// Headers too long.
    Headers,
    /// A transfer coding, which a body that nobody reads does not deserve.
    Coding,
    /// Another major version.
    Version,
}

impl Bad {
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Syntax => "400 Bad Request",
            Self::Target => "414 URI Too Long",
            Self::Headers => "431 Request Header Fields Too Large",
            Self::Coding => "501 Not Implemented",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

enum Stage {
    RequestLine,
    Headers(Request),
    /// Skips a body.
    Body(Request, u64),
}

/// Takes bytes in as they come.
pub(super) struct Parser {
    stage: Stage,
    line: [u8; LINE],
    /// Bytes of the line so far; may exceed [`LINE`].
    len: usize,
    /// Bytes of the head so far.
    head: usize,
    body: Option<u64>,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::RequestLine,
            line: [0; LINE],
            len: 0,
            head: 0,
            body: None,
        }
    }

    /// Takes bytes from the front of `input` until a request is complete.
    /// `None`: all is taken and more is needed. After `Err` the stream has no
    /// meaning any more.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Option<Result<Request, Bad>> {
        loop {
            if let Stage::Body(request, left) = &mut self.stage {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *input = input.get(count..).unwrap_or_default();
                *left -= count as u64;
                if *left > 0 {
                    return None;
                }
                let request = *request;
                *self = Self::new();
                return Some(Ok(request));
            }
            let (&byte, rest) = input.split_first()?;
            *input = rest;
            self.head += 1;
            if self.head > HEAD {
                return Some(Err(Bad::Headers));
            }
            if byte != b'\n' {
                if let Some(slot) = self.line.get_mut(self.len) {
                    *slot = byte;
                }
                self.len += 1;
                continue;
            }
            if let Err(bad) = self.line_ended() {
                return Some(Err(bad));
            }
        }
    }

    fn line_ended(&mut self) -> Result<(), Bad> {
        let len = core::mem::take(&mut self.len);
        let whole = len <= LINE;
        let line = self.line.get(..len.min(LINE)).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match &mut self.stage {
            // RFC 9112, 2.2: "a server that is expecting to receive and parse a
            // request-line SHOULD ignore at least one empty line".
            Stage::RequestLine if line.is_empty() => {}
            Stage::RequestLine if !whole => return Err(Bad::Target),
            Stage::RequestLine => self.stage = Stage::Headers(request_line(line)?),
            Stage::Headers(request) if line.is_empty() => {
                self.stage = Stage::Body(*request, self.body.take().unwrap_or(0));
            }
            Stage::Headers(request) => header(line, whole, request, &mut self.body)?,
            Stage::Body(..) => {}
        }
        Ok(())
    }
}

fn request_line(line: &[u8]) -> Result<Request, Bad> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad::Syntax);
    };
    let keep_alive = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        other if other.starts_with(b"HTTP/") => return Err(Bad::Version),
        _ => return Err(Bad::Syntax),
    };
    if method.is_empty() || target.is_empty() || !method.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Bad::Syntax);
    }
    let path = target.split(|&byte| byte == b'?').next();
    Ok(Request {
        method: match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            _ => Method::Other,
        },
        target: Target::of(path),
        keep_alive,
    })
}

fn header(
    line: &[u8],
    whole: bool,
    request: &mut Request,
    body: &mut Option<u64>,
) -> Result<(), Bad> {
    let colon = line.iter().position(|&byte| byte == b':');
    let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
        // A line that was cut may have had its colon further on.
        return if whole {
            Err(Bad::Syntax)
        } else {
            Err(Bad::Headers)
        };
    };
    // RFC 9112, 5.1: "No whitespace is allowed between the field name and colon."
    if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Err(Bad::Syntax);
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if name.eq_ignore_ascii_case(b"connection") {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                request.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                request.keep_alive = true;
            }
        }
    } else if name.eq_ignore_ascii_case(b"content-length") {
        let length = content_length(value).filter(|_| whole).ok_or(Bad::Syntax)?;
        // RFC 9112, 6.3: differing lengths are an attack on somebody.
        if body.is_some_and(|known| known != length) {
            return Err(Bad::Syntax);
        }
        *body = Some(length);
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        return Err(Bad::Coding);
    }
    Ok(())
}

fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn parse_in(pieces: usize, text: &str) -> Vec<Result<Request, Bad>> {
        let (mut parser, mut found) = (Parser::new(), Vec::new());
        for mut piece in text.as_bytes().chunks(pieces) {
            while let Some(request) = parser.feed(&mut piece) {
                let bad = request.is_err();
                found.push(request);
                if bad {
                    return found;
                }
            }
        }
        found
    }

    /// The same however the bytes are cut.
    fn parse(text: &str) -> Vec<Result<Request, Bad>> {
        let whole = parse_in(usize::MAX, text);
        for pieces in 1..text.len().min(40) {
            assert_eq!(parse_in(pieces, text), whole, "in pieces of {pieces}");
        }
        whole
    }

    fn get(target: Target, keep_alive: bool) -> Result<Request, Bad> {
        Ok(Request {
            method: Method::Get,
            target,
            keep_alive,
        })
    }

    #[test]
    fn pipelined_requests_come_one_by_one() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /x?y HTTP/1.1\r\nHost: a\r\n\
                    Connection: close\r\n\r\n\r\nGET /index.html?q HTTP/1.0\n\n";
        assert_eq!(
            parse(text),
            [
                get(Target::Page, true),
                get(Target::Other, false),
                get(Target::Page, false)
            ]
        );
    }

    #[test]
    fn bodies_are_skipped() {
        let text = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\n\r\n\
                    GET /counters HTTP/1.1\r\n\r\n";
        let post = Request {
            method: Method::Other,
            target: Target::Page,
            keep_alive: true,
        };
        assert_eq!(
            parse(text),
            [
                Ok(post),
                get(Target::Page, true),
                get(Target::Counters, true)
            ]
        );
    }

    #[test]
    fn what_is_wrong_has_its_status() {
        let long = "x".repeat(LINE);
        for (text, bad) in [
            ("hello\r\n\r\n", Bad::Syntax),
            ("GET  / HTTP/1.1\r\n\r\n", Bad::Syntax),
            ("GET / HTTP/2.0\r\n\r\n", Bad::Version),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Bad::Syntax),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Bad::Syntax),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                Bad::Syntax,
            ),
            ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", Bad::Syntax),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Bad::Coding,
            ),
            (&alloc::format!("GET /{long} HTTP/1.1\r\n\r\n"), Bad::Target),
        ] {
            assert_eq!(parse(text).last(), Some(&Err(bad)), "{text}");
        }
        let endless = alloc::format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(HEAD));
        assert_eq!(parse_in(1000, &endless), [Err(Bad::Headers)]);
    }

    #[test]
    fn long_headers_are_skipped() {
        let text = alloc::format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(3 * LINE));
        assert_eq!(parse(&text), [get(Target::Page, true)]);
    }
}
