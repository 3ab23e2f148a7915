//! HTTP/1.1 as a client that asks once (RFC 9112).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use httparse::{EMPTY_HEADER, Response, Status, parse_chunk_size};
use sha2::{Digest, Sha256};
use url::Url;

/// The longest head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Header fields at most.
const MOST_FIELDS: usize = 128;
/// The longest line that begins a chunk, or trailer.
const LONGEST_LINE: usize = 8 * 1024;
/// The longest page that is kept to be printed.
const LONGEST_KEPT: usize = 1024 * 1024;

/// What asks for `url`.
pub(super) fn request(url: &Url) -> String {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_string(),
    };
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: pollwire\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

/// Why an answer makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its head is no HTTP.
    BadHead,
    /// Its head has no end.
    LongHead,
    /// Its length is said badly, or in two ways.
    BadLength,
    /// A chunk of it is no chunk.
    BadChunk,
    /// It ended before its end.
    Short,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadHead => "the answer is not HTTP",
            Self::LongHead => "the answer's head is too long",
            Self::BadLength => "the answer's length makes no sense",
            Self::BadChunk => "a chunk of the answer makes no sense",
            Self::Short => "the answer ended before its end",
        })
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) location: Option<String>,
    /// Bytes of the content.
    pub(super) len: u64,
    pub(super) sha256: [u8; 32],
    /// The content, when it was to be kept and is not too long.
    pub(super) kept: Option<Vec<u8>>,
}

/// How the rest of the content is told from what follows (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

/// Reads an answer as its bytes come.
#[derive(Debug)]
pub(super) struct Reader {
    framing: Framing,
    buffer: Vec<u8>,
    page: Page,
    hash: Sha256,
}

impl Reader {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            framing: Framing::Head,
            buffer: Vec::new(),
            page: Page {
                status: 0,
                content_type: None,
                location: None,
                len: 0,
                sha256: [0; 32],
                kept: keep.then(Vec::new),
            },
            hash: Sha256::new(),
        }
    }

    pub(super) fn into_page(mut self) -> Page {
        self.page.sha256 = self.hash.finalize().into();
        self.page
    }

    /// Takes more bytes; `true` once the answer is whole.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        self.buffer.extend_from_slice(bytes);
        while self.step()? {}
        Ok(self.framing == Framing::Done)
    }

    /// The connection was closed.
    ///
    /// # Errors
    /// [`Fault::Short`] when more was to come.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.framing {
            Framing::UntilClose | Framing::Done => Ok(()),
            _ => Err(Fault::Short),
        }
    }

    /// Does what the bytes at hand allow; `false` when there is nothing to do
    /// without more.
    fn step(&mut self) -> Result<bool, Fault> {
        match self.framing {
            Framing::Head => self.head(),
            Framing::Length(left) => Ok(self.content(left, Framing::Length, Framing::Done)),
            Framing::Chunk(left) => Ok(self.content(left, Framing::Chunk, Framing::ChunkEnd)),
            Framing::UntilClose => {
                let all = self.buffer.len();
                self.take_content(all);
                Ok(false)
            }
            Framing::ChunkSize => self.chunk_size(),
            Framing::ChunkEnd => match self.line()? {
                None => Ok(false),
                Some(line) if line.is_empty() => self.go_on(Framing::ChunkSize),
                Some(_) => Err(Fault::BadChunk),
            },
            Framing::Trailer => match self.line()? {
                None => Ok(false),
                Some(line) if line.is_empty() => self.go_on(Framing::Done),
                Some(_) => Ok(true),
            },
            Framing::Done => Ok(false),
        }
    }

    fn go_on(&mut self, framing: Framing) -> Result<bool, Fault> {
        self.framing = framing;
        Ok(true)
    }

    fn head(&mut self) -> Result<bool, Fault> {
        let mut fields = [EMPTY_HEADER; MOST_FIELDS];
        let mut response = Response::new(&mut fields);
        let len = match response.parse(&self.buffer) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) if self.buffer.len() > LONGEST_HEAD => return Err(Fault::LongHead),
            Ok(Status::Partial) => return Ok(false),
            Err(_) => return Err(Fault::BadHead),
        };
        let status = response.code.unwrap_or(0);
        let field = |name: &str| {
            let fields = response.headers.iter();
            let mut values = fields.filter(|field| field.name.eq_ignore_ascii_case(name));
            let value = values.next_back()?;
            Some(String::from_utf8_lossy(value.value).trim().to_string())
        };
        let framing = match status {
            // RFC 9110, 15.2: others follow an interim response.
            100..=199 => Framing::Head,
            204 | 304 => Framing::Done,
            _ => framing(field("transfer-encoding"), field("content-length"))?,
        };
        self.page.status = status;
        self.page.content_type = field("content-type");
        self.page.location = field("location");
        self.buffer.drain(..len);
        self.go_on(framing)
    }

    /// Takes content of which `left` bytes are to come.
    fn content(&mut self, left: u64, more: impl Fn(u64) -> Framing, end: Framing) -> bool {
        let count = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        self.take_content(count);
        let left = left.saturating_sub(count as u64);
        self.framing = if left == 0 { end } else { more(left) };
        left == 0
    }

    fn take_content(&mut self, count: usize) {
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        let content = core::mem::replace(&mut self.buffer, rest);
        self.page.len += content.len() as u64;
        self.hash.update(&content);
        if let Some(kept) = &mut self.page.kept {
            if kept.len() + content.len() > LONGEST_KEPT {
                self.page.kept = None;
            } else {
                kept.extend_from_slice(&content);
            }
        }
    }

    fn chunk_size(&mut self) -> Result<bool, Fault> {
        match parse_chunk_size(&self.buffer) {
            Ok(Status::Complete((len, size))) => {
                self.buffer.drain(..len);
                self.go_on(match size {
                    0 => Framing::Trailer,
                    size => Framing::Chunk(size),
                })
            }
            Ok(Status::Partial) if self.buffer.len() > LONGEST_LINE => Err(Fault::BadChunk),
            Ok(Status::Partial) => Ok(false),
            Err(_) => Err(Fault::BadChunk),
        }
    }

    /// Takes a line, without its end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            let long = self.buffer.len() > LONGEST_LINE;
            return if long { Err(Fault::BadChunk) } else { Ok(None) };
        };
        let rest = self.buffer.split_off(at + 1);
        let mut line = core::mem::replace(&mut self.buffer, rest);
        line.truncate(at);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }
}

/// RFC 9112, 6.3: chunks before a length, and without both until the end.
fn framing(encoding: Option<String>, length: Option<String>) -> Result<Framing, Fault> {
    match (encoding, length) {
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => Ok(Framing::ChunkSize),
        (Some(_), _) => Err(Fault::BadLength),
        (None, Some(length)) => match length.parse() {
            Ok(0) => Ok(Framing::Done),
            Ok(length) => Ok(Framing::Length(length)),
            Err(_) => Err(Fault::BadLength),
        },
        (None, None) => Ok(Framing::UntilClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` in pieces of every length; gives content and status.
    fn read(text: &str, closed: bool) -> Result<(String, u16), Fault> {
        let mut results = (1..=text.len()).map(|cut| {
            let mut reader = Reader::new(true);
            let mut done = false;
            for piece in text.as_bytes().chunks(cut) {
                done = reader.feed(piece)?;
            }
            if closed {
                reader.end()?;
            } else if !done {
                return Err(Fault::Short);
            }
            let page = reader.into_page();
            let content = page.kept.expect("short");
            assert_eq!(page.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
            Ok((String::from_utf8(content).expect("text"), page.status))
        });
        let first = results.next().expect("one at least");
        assert!(results.all(|other| other == first));
        first
    }

    #[test]
    fn contents_end_as_they_say() {
        for (text, closed, content) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                false,
                "hello",
            ),
            ("HTTP/1.1 404 No\r\ncontent-length:0\r\n\r\n", false, ""),
            ("HTTP/1.0 200 OK\r\n\r\nall of it", true, "all of it"),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                false,
                "x",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n\
                 5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
                false,
                "hello world",
            ),
            ("HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n", false, ""),
        ] {
            let (found, _) = read(text, closed).expect(text);
            assert_eq!(found, content);
        }
    }

    #[test]
    fn bad_answers_are_refused() {
        for (text, fault) in [
            ("SSH-2.0-OpenSSH\r\n", Fault::BadHead),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                Fault::BadLength,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                Fault::BadLength,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
                Fault::BadChunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
                Fault::BadChunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
                Fault::Short,
            ),
            ("HTTP/1.1 200", Fault::Short),
        ] {
            assert_eq!(read(text, true), Err(fault), "{text}");
        }
        let mut reader = Reader::new(false);
        let endless = [b'x'; 9000];
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n"), Ok(false));
        let field = [&b"a: "[..], &endless, b"\r\n"].concat();
        let fault = (0..20).find_map(|_| reader.feed(&field).err());
        assert_eq!(fault, Some(Fault::LongHead));
    }

    #[test]
    fn a_request_names_its_host() {
        let url = Url::parse("http://[2001:db8::1]:8080/a?b=c#d").expect("a URL");
        let text = request(&url);
        assert!(
            text.starts_with("GET /a?b=c HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n"),
            "{text}"
        );
        let url = Url::parse("https://www.example").expect("a URL");
        assert!(request(&url).starts_with("GET / HTTP/1.1\r\nHost: www.example\r\n"));
    }
}
